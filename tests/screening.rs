//! What comes before the greeting of an smtp listener: who speaks first is sent away, and may be banned for it.

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use support::{Fake, Gateway, Talk, plain};

/// Who is in a hurry.
const ROGUE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// Who is not.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
/// Who may be.
const EXEMPT: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

/// An smtp listener that waits for so long before it greets.
fn waiting(patience: &str, server: &str) -> Gateway {
    Gateway::builder()
        .server(&format!("{server}\nexempt-networks = \"127.0.9.0/24\""))
        .listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
        .with("smtp", &format!("pregreet = \"{patience}\""))
        .start()
}

#[test]
fn who_speaks_before_the_greeting_is_refused_and_banned_in_the_end() {
    let gateway = waiting("30s", "auto-ban.abuse.rate = \"1/1h\"");
    for _ in 0..2 {
        let mut talk = Talk::from(ROGUE, gateway.address("smtp"));
        talk.send("EHLO spam.example\r\n").reply("554 5.5.1");
        talk.closes();
    }
    assert_eq!(gateway.session("smtp", "violation")["reason"], "spoke-before-greeting");
    let line = gateway.log_line("the ban", |line| line["message"] == "client banned");
    assert_eq!((&line["address"], &line["reason"]), (&"127.0.0.7".into(), &"abuse".into()));
    assert_eq!(Talk::from(ROGUE, gateway.address("smtp")).heard(), "");
    // Whoever is exempt need not wait, and is greeted though it spoke.
    let mut talk = Talk::from(EXEMPT, gateway.address("smtp"));
    talk.send("EHLO monitor.example\r\n").reply("220");
    talk.reply("250");
}

#[test]
fn who_waits_is_greeted_after_the_time_and_served_as_ever() {
    let gateway = waiting("700ms", "");
    let began = Instant::now();
    let mut talk = Talk::from(OTHER, gateway.address("smtp"));
    plain::greet("smtp", &mut talk);
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    plain::start_tls("smtp", &mut talk);
    let mut talk = talk.tls(gateway.authority.roots());
    plain::log_in("smtp", &mut talk);
    talk.ask("QUIT", "221");
    drop(Talk::from(OTHER, gateway.address("smtp")));
    assert_eq!(gateway.session("smtp", "client-lost")["reason"], "before-tls");
}

#[test]
fn the_wait_comes_also_before_a_backends_own_greeting() {
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
        .with("smtp", "pregreet = \"30s\"\ntls.enable = false")
        .start();
    let mut talk = Talk::from(ROGUE, gateway.address("smtp"));
    talk.send("EHLO spam.example\r\n").reply("554 5.5.1");
    talk.closes();
}
