//! Backends that are lost in a session (spec §4.3): what the client is owed at each point, and no more.

use std::time::{Duration, Instant};

use crate::support::{DIALECTS, Dialect, Fake, Gateway, Talk, dialect};
use crate::{LATEST, greeting, implicit, in_front_of, reset};

/// How a backend goes: by FIN or by a reset.
const GOING: [fn(&Talk); 2] = [|_| {}, reset];

/// A gateway in front of backends of one protocol that say these replies, one to each command, and are gone then.
fn leaving(dialect: &'static Dialect, replies: &'static [&'static str], go: fn(&Talk)) -> Gateway {
    let fake = Fake::start(move |mut talk, _| {
        let _ = talk.try_send(greeting(dialect));
        for reply in replies {
            if talk.some().is_empty() || talk.try_send(reply).is_err() {
                return;
            }
        }
        if replies.is_empty() {
            // A reset would take a greeting that is not read yet with it.
            talk.taken();
        } else {
            // The command behind the last reply has come.
            talk.some();
        }
        go(&talk);
    });
    in_front_of(Gateway::builder(), dialect, fake.address()).start()
}

#[test]
fn a_backend_that_goes_behind_its_greeting_leaves_words_and_an_orderly_end() {
    for dialect in &DIALECTS {
        for go in GOING {
            let gateway = leaving(dialect, &[], go);
            let mut entered = crate::knock(dialect, &gateway);
            entered.until(dialect.welcome);
            let mut upgraded = dialect.starttls(&gateway, dialect.protocol);
            if dialect.protocol == "managesieve" {
                upgraded.until("OK");
            }
            for talk in [&mut entered, &mut upgraded] {
                let _ = talk.try_send(if dialect.hello.0.is_empty() { dialect.noop.0 } else { dialect.hello.0 });
                talk.expect(dialect.lost);
                talk.closes_in_order();
            }
            gateway.session(dialect.protocol, "backend-lost");
        }
    }
}

/// The replies to what comes before the login.
fn before_login(dialect: &Dialect) -> &'static [&'static str] {
    if dialect.carries_mail() { &["250-x\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n"] } else { &[] }
}

#[test]
fn a_backend_that_goes_in_a_login_leaves_words_that_do_not_sound_like_a_wrong_password() {
    for dialect in DIALECTS.iter().filter(|dialect| !dialect.login.0.is_empty()) {
        for go in GOING {
            let fake = Fake::start(move |mut talk, _| {
                let _ = talk.try_send(greeting(dialect));
                for reply in before_login(dialect) {
                    talk.some();
                    let _ = talk.try_send(reply);
                }
                talk.some();
                go(&talk);
            });
            let gateway = in_front_of(Gateway::builder(), dialect, fake.address()).start();
            let mut talk = dialect.enter(&gateway, &implicit(dialect));
            let line = talk.send(dialect.login.0).line();
            assert!(line.starts_with(dialect.lost), "{}: {line:?}", dialect.protocol);
            talk.closes_in_order();
            assert_eq!(gateway.session(&implicit(dialect), "backend-lost")["user"], "");
        }
    }
}

const HELLO: &str = "250-x\r\n250-CHUNKING\r\n250 SIZE\r\n";

#[test]
fn a_backend_that_goes_between_commands_leaves_421() {
    for protocol in ["smtp", "lmtp"] {
        for go in GOING {
            let gateway = leaving(dialect(protocol), &[HELLO, "250 fine\r\n"], go);
            let mut talk = dialect(protocol).enter(&gateway, &implicit(dialect(protocol)));
            talk.ask("MAIL FROM:<bob@example.net>", "250 fine");
            talk.ask("RCPT TO:<alice@example.org>", "421 4.3.2");
            talk.closes_in_order();
        }
    }
}

/// Up to the message of a client with two accepted recipients and one that is not.
fn transaction(dialect: &Dialect, gateway: &Gateway) -> Talk {
    let mut talk = dialect.enter(gateway, &implicit(dialect));
    talk.ask("MAIL FROM:<bob@example.net>", "250");
    talk.ask("RCPT TO:<alice@example.org>", "250");
    talk.ask("RCPT TO:<nobody@example.org>", "550");
    talk.ask("RCPT TO:<carol@example.org>", "250");
    talk
}

/// How far a backend goes with a message before it is gone, or silent.
struct Part {
    /// What it says when the message is whole.
    verdict: &'static str,
    /// Bytes of the message that it reads before that; `None`: up to the final dot.
    reads: Option<usize>,
    go: fn(&Talk),
}

/// A gateway in front of a backend that takes part in one transaction so far.
fn taking(dialect: &'static Dialect, server: &str, part: Part) -> Gateway {
    let fake = Fake::start(move |mut talk, _| {
        let _ = talk.try_send(greeting(dialect));
        for reply in [HELLO, "250 fine\r\n", "250 fine\r\n", "550 nobody\r\n", "250 fine\r\n", "354 go on\r\n"] {
            talk.line();
            let _ = talk.try_send(reply);
        }
        match part.reads {
            Some(bytes) => _ = talk.bytes(bytes),
            None => while !matches!(talk.line().as_str(), ".\r\n" | "") {},
        }
        let _ = talk.try_send(part.verdict);
        (part.go)(&talk);
    });
    in_front_of(Gateway::builder().server(server), dialect, fake.address()).start()
}

/// The rest of a session whose message was lost: so many unknown fates, then the end.
#[track_caller]
fn assert_unknown(talk: &mut Talk, count: usize) {
    for _ in 0..count {
        talk.expect("451 4.4.2");
    }
    talk.expect("421 4.3.2");
    talk.closes_in_order();
}

fn recipients(dialect: &Dialect) -> usize {
    if dialect.protocol == "lmtp" { 2 } else { 1 }
}

#[test]
fn a_backend_that_goes_in_a_message_leaves_451_when_the_client_has_sent_it_all() {
    for protocol in ["smtp", "lmtp"] {
        for go in GOING {
            let dialect = dialect(protocol);
            let gateway = taking(dialect, "", Part { verdict: "", reads: Some(10), go });
            let mut talk = transaction(dialect, &gateway);
            talk.ask("DATA", "354");
            let line = "a line of a message that nobody will ever read\r\n".repeat(1000);
            for _ in 0..100 {
                talk.send(&line);
            }
            talk.send("..\r\n\r\n.\r\n");
            assert_unknown(&mut talk, recipients(dialect));
            gateway.session(&implicit(dialect), "backend-lost");
        }
    }
}

#[test]
fn the_rest_of_a_lost_message_is_read_within_a_limit() {
    let gateway =
        taking(dialect("smtp"), "limit.discard = 100000", Part { verdict: "", reads: Some(10), go: GOING[0] });
    let mut talk = transaction(dialect("smtp"), &gateway);
    talk.ask("DATA", "354");
    while talk.try_send("more of it\r\n".repeat(1000)).is_ok() {}
    assert_eq!(gateway.session("smtps", "violation")["reason"], "too-much-discarded");
}

#[test]
fn a_backend_that_goes_behind_the_final_dot_leaves_451() {
    for protocol in ["smtp", "lmtp"] {
        for go in GOING {
            let dialect = dialect(protocol);
            let gateway = taking(dialect, "", Part { verdict: "", reads: None, go });
            let mut talk = transaction(dialect, &gateway);
            talk.ask("DATA", "354");
            talk.send("Subject: lost\r\n\r\nlost\r\n.\r\n");
            assert_unknown(&mut talk, recipients(dialect));
        }
    }
}

#[test]
fn lmtp_keeps_what_the_backend_said_of_one_recipient_and_says_451_for_the_other() {
    let lmtp = dialect("lmtp");
    let gateway = taking(lmtp, "", Part { verdict: "250 2.0.0 alice\r\n", reads: None, go: GOING[0] });
    let mut talk = transaction(lmtp, &gateway);
    talk.ask("DATA", "354");
    talk.send("one of two\r\n.\r\n").expect("250 2.0.0 alice");
    assert_unknown(&mut talk, 1);
}

#[test]
fn half_a_verdict_is_none() {
    let gateway = taking(dialect("smtp"), "", Part { verdict: "250 2.0.0 tak", reads: None, go: GOING[0] });
    let mut talk = transaction(dialect("smtp"), &gateway);
    talk.ask("DATA", "354");
    talk.send("half a verdict\r\n.\r\n");
    assert_unknown(&mut talk, 1);
}

#[test]
fn a_backend_that_is_silent_behind_the_final_dot_leaves_451_at_its_deadline() {
    for protocol in ["smtp", "lmtp"] {
        let dialect = dialect(protocol);
        let silent = Part { verdict: "", reads: None, go: |_| std::thread::park() };
        let gateway = taking(dialect, "timeout.data-end = \"600ms\"", silent);
        let mut talk = transaction(dialect, &gateway);
        talk.ask("DATA", "354");
        let begun = Instant::now();
        talk.send("unanswered\r\n.\r\n");
        assert_unknown(&mut talk, recipients(dialect));
        assert!((Duration::from_millis(500)..LATEST).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_backend_that_goes_behind_bdat_last_leaves_451() {
    for protocol in ["smtp", "lmtp"] {
        for octets in [4, 40] {
            let dialect = dialect(protocol);
            let fake = Fake::start(move |mut talk, _| {
                let _ = talk.try_send(greeting(dialect));
                for reply in [HELLO, "250 fine\r\n", "250 fine\r\n", "550 nobody\r\n", "250 fine\r\n"] {
                    talk.line();
                    let _ = talk.try_send(reply);
                }
                talk.line();
                // Gone in the octets, or behind them.
                talk.bytes(octets);
            });
            let gateway = in_front_of(Gateway::builder(), dialect, fake.address()).start();
            let mut talk = transaction(dialect, &gateway);
            talk.send("BDAT 40 LAST\r\n0123456789");
            talk.taken().send("012345678901234567890123456789");
            assert_unknown(&mut talk, recipients(dialect));
        }
    }
}

#[test]
fn a_success_that_nobody_asked_for_is_not_passed_on() {
    let early = Part { verdict: "250 2.0.0 taken already\r\n", reads: Some(10), go: |_| std::thread::park() };
    let gateway = taking(dialect("smtp"), "", early);
    let mut talk = transaction(dialect("smtp"), &gateway);
    talk.ask("DATA", "354");
    talk.send("half of a message\r\n");
    let line = talk.line();
    assert!(line.starts_with("421 "), "{line:?}");
    assert!(talk.closes_with_notify());
}
