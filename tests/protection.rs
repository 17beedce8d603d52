//! What one client may have, and all together: who is refused, how, and who beside them is not.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use support::{Fake, Gateway, Talk, eventually, plain};

/// Who is too much.
const CROWD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// Who is not.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
/// Who may do anything.
const EXEMPT: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

fn fake(protocol: &'static str) -> SocketAddr {
    Fake::start(move |talk, _| plain::serve(protocol, talk)).address()
}

/// An smtp, an imap with TLS from the first byte, and an http listener, with these limits.
fn gateway(limits: &str) -> Gateway {
    Gateway::builder()
        .server(&format!("{limits}\nexempt-networks = \"127.0.9.0/24\""))
        .listener("smtp", "smtp", fake("smtp"))
        .implicit("imaps", "imap", fake("imap"))
        .http("web")
        .start()
}

/// A client of the smtp listener that is greeted.
#[track_caller]
fn greeted(gateway: &Gateway, source: Ipv4Addr) -> Talk {
    let mut talk = Talk::from(source, gateway.address("smtp"));
    talk.reply("220");
    talk
}

#[test]
fn a_client_with_too_many_connections_is_told_and_another_is_served() {
    let gateway = gateway("limit.client-connections = 3");
    let mut held = vec![greeted(&gateway, CROWD), greeted(&gateway, CROWD)];
    held.push(Talk::from(CROWD, gateway.address("imaps")).tls(gateway.authority.roots()));
    let mut refused = Talk::from(CROWD, gateway.address("smtp"));
    refused.reply("421 4.3.2");
    refused.closes();
    Talk::from(CROWD, gateway.address("imaps")).closes();
    Talk::from(CROWD, gateway.address("web")).expect("HTTP/1.1 503");
    for listener in ["smtp", "imaps", "web"] {
        assert_eq!(gateway.session(listener, "limited")["reason"], "client-connections");
    }
    greeted(&gateway, OTHER);
    let exempt: Vec<_> = (0..5).map(|_| greeted(&gateway, EXEMPT)).collect();
    drop((held, exempt));
    let again = eventually(|| Talk::from(CROWD, gateway.address("smtp")).heard().starts_with("220").then_some(()));
    assert!(again.is_some(), "the places did not come back");
}

#[test]
fn a_flood_is_refused_without_a_word_and_one_line_tells_of_it() {
    let gateway = gateway("limit.client-connection-rate = \"5/1h\"");
    let address = gateway.address("smtp");
    let began = Instant::now();
    let lines: Vec<_> = (0..200).map(|_| Talk::from(CROWD, address).heard()).collect();
    let took = began.elapsed();
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!(count("220"), 5);
    // Twenty are told at once, and as many in each second.
    let (told, seconds) = (count("421 4.3.2"), usize::try_from(took.as_secs()).expect("a short time"));
    assert!((20..=20 * (seconds + 2)).contains(&told), "{told} in {took:?}");
    assert_eq!(lines.iter().filter(|line| line.is_empty()).count(), 195 - told);
    let summary = gateway.log_line("a line about the flood", |line| line["reason"] == "client-connection-rate");
    assert!(summary["address"] == "127.0.0.7" || summary["peer"].is_string(), "{summary}");
    greeted(&gateway, OTHER);
}

#[test]
fn all_clients_together_have_a_limit_that_a_refused_one_does_not_use_up() {
    let gateway = gateway("limit.client-connection-rate = \"2/1h\"\nlimit.connection-rate = \"4/1h\"");
    let lines: Vec<_> = (0..10).map(|_| Talk::from(CROWD, gateway.address("smtp")).heard()).collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("220")).count(), 2);
    for last in [8, 9] {
        greeted(&gateway, Ipv4Addr::new(127, 0, 0, last));
    }
    Talk::from(Ipv4Addr::new(127, 0, 0, 10), gateway.address("smtp")).reply("421 4.3.2");
    greeted(&gateway, EXEMPT);
}

#[test]
fn a_client_that_stalls_its_handshakes_has_no_more_of_them_and_others_shake_hands() {
    let gateway = gateway("limit.client-handshakes = 2\nlimit.handshakes = 3");
    let address = gateway.address("imaps");
    let begun = |source| {
        let mut talk = Talk::from(source, address);
        // One that is refused may be closed by now.
        let _ = talk.try_send(b"\x16\x03\x01\x02");
        talk
    };
    let stalled = [begun(CROWD), begun(CROWD)];
    let refused = || gateway.count(|line| line["outcome"] == "limited" && line["reason"] == "client-handshakes");
    let mut more = Vec::new();
    let third = eventually(|| {
        more.push(begun(CROWD));
        (refused() > 0).then_some(())
    });
    assert!(third.is_some(), "it may begin as many as it likes");
    Talk::from(OTHER, address).tls(gateway.authority.roots()).expect("* OK");
    drop((stalled, more));
    let again = eventually(|| Talk::from(CROWD, address).try_tls(trusting(&gateway)).ok().map(drop));
    assert!(again.is_some(), "its handshakes did not come back");
}

fn trusting(gateway: &Gateway) -> std::sync::Arc<rustls::ClientConfig> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    config.expect("versions").with_root_certificates(gateway.authority.roots()).with_no_client_auth().into()
}

#[test]
fn handshakes_in_a_time_are_limited_by_client_and_in_all() {
    let gateway = gateway("limit.client-handshake-rate = \"2/1h\"\nlimit.handshake-rate = \"3/1h\"");
    let shakes = |source| Talk::from(source, gateway.address("imaps")).try_tls(trusting(&gateway)).is_ok();
    assert_eq!([shakes(CROWD), shakes(CROWD), shakes(CROWD)], [true, true, false]);
    assert_eq!([shakes(OTHER), shakes(OTHER), shakes(EXEMPT)], [true, false, true]);
    for reason in ["client-handshake-rate", "handshake-rate"] {
        gateway.log_line(reason, |line| line["outcome"] == "limited" && line["reason"] == reason);
    }
}

#[test]
fn behind_a_proxy_the_client_counts_and_the_proxy_never() {
    let gateway = Gateway::builder()
        .server("proxy.trusted-networks = \"127.0.0.1\"\nlimit.client-connections = 1")
        .listener("smtp", "smtp", fake("smtp"))
        .start();
    let come = |header: &str| {
        let mut talk = Talk::to(gateway.address("smtp"));
        talk.send(header);
        let line = talk.heard();
        (talk, line)
    };
    let of = |last: u8| come(&format!("PROXY TCP4 192.0.2.{last} 192.0.2.1 40000 25\r\n"));
    let held: Vec<_> = (1..5).map(of).chain((0..4).map(|_| come("PROXY UNKNOWN\r\n"))).collect();
    assert!(held.iter().all(|(_, line)| line.starts_with("220")));
    assert_eq!(of(1).1, "");
    let refused = gateway.session("smtp", "limited");
    assert_eq!((&refused["reason"], &refused["peer"]), (&"client-connections".into(), &"192.0.2.1:40000".into()));
    drop(held);
    assert!(eventually(|| of(1).1.starts_with("220").then_some(())).is_some(), "its place did not come back");
}
