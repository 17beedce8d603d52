//! Stopping: nobody new, everybody's words, nothing lost that was under way, exit code 0 (spec §5).

mod support;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{Fake, Gateway, GatewayBuilder, Talk, eventually, plain};

/// A gateway with each protocol twice: `imap` with STARTTLS, `imap-tls` with TLS from the first byte.
fn gateway(drain: &str) -> Gateway {
    let mut builder = Gateway::builder().server(&format!("drain = \"{drain}\""));
    for protocol in plain::PROTOCOLS {
        let backend = Fake::start(move |talk, _| plain::serve(protocol, talk));
        builder = both(builder, protocol, backend.address());
    }
    builder.start()
}

fn both(builder: GatewayBuilder, protocol: &str, backend: SocketAddr) -> GatewayBuilder {
    builder.listener(protocol, protocol, backend).implicit(&format!("{protocol}-tls"), protocol, backend)
}

/// A session in TLS that has logged in, or for SMTP and LMTP said its hello.
fn session(gateway: &Gateway, protocol: &str) -> Talk {
    let mut talk = Talk::to(gateway.address(&format!("{protocol}-tls"))).tls(gateway.authority.roots());
    plain::greet(protocol, &mut talk);
    plain::log_in(protocol, &mut talk);
    talk
}

/// The first word that each protocol has for a client that is sent away.
fn farewell(protocol: &str) -> &'static str {
    match protocol {
        "imap" => "* BYE [UNAVAILABLE]",
        "pop3" => "-ERR [SYS/TEMP]",
        "managesieve" => "BYE (TRYLATER)",
        _ => "421 4.3.2",
    }
}

/// Sends the signal and waits until the process has taken note.
fn stop(gateway: &Gateway, signal: &str) {
    gateway.signal(signal);
    gateway.log_line("the stop to begin", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("stopping: no new sessions"))
    });
}

#[track_caller]
fn refuses_newcomers(gateway: &Gateway, listener: &str) {
    let address = gateway.address(listener);
    let refused = eventually(|| TcpStream::connect(address).is_err().then_some(()));
    assert!(refused.is_some(), "{listener} still takes connections");
}

#[test]
fn clients_before_tls_and_before_the_login_are_told_in_their_protocols_words() {
    for signal in ["TERM", "INT"] {
        let mut gateway = gateway("50s");
        let mut early = plain::PROTOCOLS.map(|protocol| {
            let mut talk = Talk::to(gateway.address(protocol));
            plain::greet(protocol, &mut talk);
            (protocol, talk)
        });
        let mut in_tls = plain::PROTOCOLS.map(|protocol| {
            let address = gateway.address(&format!("{protocol}-tls"));
            let mut talk = Talk::to(address).tls(gateway.authority.roots());
            plain::greet(protocol, &mut talk);
            (protocol, talk)
        });
        stop(&gateway, signal);
        for (protocol, talk) in early.iter_mut().chain(&mut in_tls) {
            talk.expect(farewell(protocol));
            talk.closes();
        }
        drop((early, in_tls));
        assert_eq!(gateway.ended(), Some(0), "{signal}");
        gateway.session("imap", "drained");
        gateway.session("imap-tls", "drained");
    }
}

#[test]
fn smtp_and_lmtp_sessions_finish_their_message_and_are_sent_away_between_commands() {
    let mut gateway = gateway("50s");
    let mut between = session(&gateway, "submission");
    let mut sending = ["smtp", "lmtp"].map(|protocol| {
        let mut talk = session(&gateway, protocol);
        talk.ask("MAIL FROM:<a@example.net>", "250");
        talk.ask("RCPT TO:<ann@example.org>", "250");
        talk.ask("DATA", "354");
        talk.send("Subject: half\r\n\r\nfirst line\r\n");
        talk
    });
    stop(&gateway, "TERM");
    between.expect("421 4.3.2");
    assert!(between.closes_with_notify());
    refuses_newcomers(&gateway, "smtp");
    assert!(gateway.runs(), "two messages are under way");
    for talk in &mut sending {
        talk.ask("second line\r\n.", "250");
        talk.expect("421 4.3.2");
        assert!(talk.closes_with_notify());
    }
    drop(sending);
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn logged_in_imap_and_sieve_sessions_are_closed_when_both_directions_were_silent_for_a_second() {
    let mut gateway = gateway("50s");
    let mut idle = ["imap", "managesieve"].map(|protocol| session(&gateway, protocol));
    let mut busy = session(&gateway, "imap");
    let began = Instant::now();
    stop(&gateway, "TERM");
    // One that goes on talking is not silent.
    while began.elapsed() < Duration::from_millis(1_500) {
        plain::nothing("imap", &mut busy);
    }
    for talk in &mut idle {
        assert!(talk.closes_with_notify(), "nothing is said, and TLS ends as it should");
    }
    plain::nothing("imap", &mut busy);
    assert!(busy.closes_with_notify());
    assert!(began.elapsed() >= Duration::from_millis(2_500), "{:?}", began.elapsed());
    drop((idle, busy));
    assert_eq!(gateway.ended(), Some(0));
    for listener in ["imap-tls", "managesieve-tls"] {
        assert_eq!(gateway.session(listener, "drained")["user"], "ann");
    }
}

#[test]
fn an_imap_transfer_that_is_under_way_finishes() {
    const LENGTH: usize = 16 << 20;
    let mut gateway = gateway("50s");
    let (mut idle, mut reader) = (session(&gateway, "imap"), session(&gateway, "imap"));
    reader.send(format!("f FETCH {LENGTH}\r\n")).expect("* 1 FETCH");
    stop(&gateway, "TERM");
    // When this one is gone the other was silent for a second, too: its client reads nothing.
    assert!(idle.closes_with_notify());
    assert_eq!(reader.bytes(LENGTH).len(), LENGTH);
    reader.expect(")");
    reader.expect("f OK");
    assert!(reader.closes_with_notify());
    drop((idle, reader));
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn a_pop3_session_may_finish() {
    let mut gateway = gateway("50s");
    let (mut idle, mut pop3) = (session(&gateway, "imap"), session(&gateway, "pop3"));
    stop(&gateway, "TERM");
    assert!(idle.closes_with_notify());
    pop3.ask("NOOP", "+OK");
    pop3.ask("QUIT", "+OK");
    assert!(pop3.closes_with_notify());
    drop((idle, pop3));
    assert_eq!(gateway.ended(), Some(0));
    gateway.session("pop3-tls", "ok");
}

#[test]
fn when_the_time_for_draining_is_over_the_rest_is_closed() {
    let mut gateway = gateway("700ms");
    let mut pop3 = session(&gateway, "pop3");
    let mut sending = session(&gateway, "smtp");
    sending.ask("MAIL FROM:<a@example.net>", "250");
    sending.ask("RCPT TO:<ann@example.org>", "250");
    sending.ask("DATA", "354");
    let began = Instant::now();
    stop(&gateway, "TERM");
    assert!(pop3.closes_with_notify());
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    assert!(sending.closes_with_notify());
    assert_eq!(gateway.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    gateway.session("pop3-tls", "drained");
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let mut gateway = gateway("10m");
        let mut pop3 = session(&gateway, "pop3");
        stop(&gateway, first);
        plain::nothing("pop3", &mut pop3);
        let began = Instant::now();
        gateway.signal(second);
        assert_eq!(gateway.ended(), Some(0), "{first} {second}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        pop3.rest();
    }
}

#[test]
fn a_process_without_sessions_stops_at_once() {
    let mut gateway = gateway("10m");
    let began = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_stalled_handshake_does_not_hold_up_the_end() {
    let mut gateway = gateway("500ms");
    let mut stalled = Talk::to(gateway.address("imap-tls"));
    stalled.send([0x16, 0x03, 0x01, 0x02, 0x00]);
    stop(&gateway, "TERM");
    assert_eq!(gateway.ended(), Some(0));
    stalled.rest();
}
