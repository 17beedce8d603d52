//! `tls.timeout` is for the whole handshake, however a client spends it, and ends nobody else's.

mod support;

use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use support::{Gateway, NAME, SClient, Talk, client_hello};

/// Short where a client wastes it, and longer where it has to be in time.
const LIMIT: Duration = Duration::from_millis(300);
const LONGER: Duration = Duration::from_secs(2);

/// What a noisy machine may add.
const PATIENCE: Duration = Duration::from_secs(8);

fn gateway(limit: Duration) -> Gateway {
    Gateway::builder()
        .server(&format!("[server.tls]\ntimeout = \"{}ms\"", limit.as_millis()))
        .implicit("imaps", "imap", "embedded")
        .listener("smtp", "smtp", "embedded")
        .listener("imap", "imap", "embedded")
        .listener("pop3", "pop3", "embedded")
        .start()
}

/// A client that has got to where the handshake should begin: what its listener says, what it says, and the answer.
fn at_handshake(address: SocketAddr, protocol: &str) -> Talk {
    let mut talk = Talk::to(address);
    match protocol {
        "smtp" => {
            talk.reply("220");
            talk.ask("STARTTLS", "220");
        }
        "imap" => {
            talk.expect("* OK");
            talk.ask("a STARTTLS", "a OK");
        }
        "pop3" => {
            talk.expect("+OK");
            talk.ask("STLS", "+OK");
        }
        _ => {}
    }
    talk
}

/// Lets `act` waste the time and asserts that it was stopped at the limit, with nothing said to it beyond TLS.
fn ends_at_the_limit(gateway: &Gateway, listener: &str, act: impl FnOnce(&mut Talk)) {
    let number =
        gateway.log().iter().filter(|line| line["message"] == "session" && line["listener"] == listener).count();
    let address = gateway.address(listener);
    let begun = Instant::now();
    let mut talk = at_handshake(address, listener);
    act(&mut talk);
    talk.closes();
    let took = begun.elapsed();
    assert!(took >= LIMIT.mul_f32(0.8) && took < PATIENCE, "{listener}: {took:?}");
    let session = gateway.nth_session(listener, number);
    assert_eq!((&session["outcome"], &session["reason"]), (&"timeout".into(), &"handshake".into()), "{session}");
    assert_eq!((&session["tls"], &session["backend"]), (&"".into(), &"".into()), "{session}");
}

#[test]
fn a_client_that_says_nothing_is_closed_at_the_limit_on_an_implicit_port_and_after_starttls() {
    let gateway = gateway(LIMIT);
    for listener in ["imaps", "smtp", "imap", "pop3"] {
        ends_at_the_limit(&gateway, listener, |_| {});
    }
}

#[test]
fn half_a_clienthello_is_closed_at_the_limit() {
    let gateway = gateway(LIMIT);
    let hello = client_hello(NAME);
    for listener in ["imaps", "smtp"] {
        for part in [1, 5, 6, hello.len() / 2, hello.len() - 1] {
            ends_at_the_limit(&gateway, listener, |talk| drop(talk.try_send(&hello[..part])));
        }
    }
}

#[test]
fn a_client_that_answers_nothing_after_the_servers_flight_is_closed_at_the_limit() {
    let gateway = gateway(LONGER);
    for listener in ["imaps", "smtp"] {
        let number =
            gateway.log().iter().filter(|line| line["listener"] == listener && line["message"] == "session").count();
        let address = gateway.address(listener);
        let begun = Instant::now();
        let mut talk = at_handshake(address, listener);
        talk.send(client_hello(NAME));
        let flight = talk.rest();
        assert!(flight.len() > 100 && flight[0] == 22, "the server's flight: {} bytes", flight.len());
        let took = begun.elapsed();
        assert!(took >= LONGER.mul_f32(0.8) && took < PATIENCE, "{took:?}");
        assert_eq!(gateway.nth_session(listener, number)["outcome"], "timeout");
    }
}

#[test]
fn one_byte_at_a_time_does_not_move_the_limit() {
    let gateway = gateway(LIMIT);
    let hello = client_hello(NAME);
    for listener in ["imaps", "smtp"] {
        ends_at_the_limit(&gateway, listener, |talk| {
            // Each wait of 20 ms for an answer that does not come is the pace: the whole would take far longer than the limit.
            talk.socket().set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
            for byte in &hello {
                let closed = match std::io::Read::read(&mut talk.socket(), &mut [0]) {
                    Ok(_) => true,
                    Err(error) => {
                        !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
                    }
                };
                if closed || talk.try_send([*byte]).is_err() {
                    break;
                }
            }
            talk.socket().set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        });
    }
}

#[test]
fn a_session_that_is_up_outlives_the_handshakes_limit() {
    let gateway = gateway(LONGER);
    let mut talk = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    talk.expect("* OK");
    // Another client's time-out is the clock: it began later and ended by the same limit.
    for _ in 0..2 {
        ends_at_the_limit(&gateway, "imaps", |_| {});
    }
    talk.ask("a NOOP", "a OK");
}

#[test]
fn stalled_handshakes_keep_nobody_else_waiting() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    let stalled: Vec<_> = (0..50)
        .map(|_| {
            let mut talk = Talk::to(gateway.address("imaps"));
            talk.send(&client_hello(NAME)[..50]);
            talk
        })
        .collect();
    let begun = Instant::now();
    SClient::at(&gateway.implicit("imaps"), "imap").handshake();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(stalled);
}

#[test]
fn a_client_that_goes_away_within_the_handshake_is_noticed_at_once() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    let hello = client_hello(NAME);
    for (number, part) in [0, 1, 100, hello.len()].into_iter().enumerate() {
        let mut talk = Talk::to(gateway.address("imaps"));
        talk.send(&hello[..part]);
        talk.socket().shutdown(Shutdown::Write).expect("a connection");
        talk.rest();
        // The limit is a minute here.
        let session = gateway.nth_session("imaps", number);
        let seen = (&session["outcome"], &session["reason"]);
        assert_eq!(seen, (&"tls-failed".into(), &"ended-within-handshake".into()), "after {part} bytes: {session}");
        assert!(session["ms"].as_u64().is_some_and(|ms| ms < 20_000), "{session}");
    }
}
