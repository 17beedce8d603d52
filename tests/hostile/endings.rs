//! Ends: half a close, a cut line, and close_notify (spec §4.4). A cut is never the end of a message.

use std::net::Shutdown;
use std::sync::{Mutex, mpsc};

use crate::support::{DIALECTS, Dialect, Fake, Gateway, Talk, dialect};
use crate::{World, implicit, world};

/// The replies of a backend to the client's hello, its login, and NOOP.
fn replies(dialect: &Dialect) -> [&'static str; 3] {
    match dialect.protocol {
        "imap" => ["", "l OK welcome\r\n", "n OK done\r\n"],
        "pop3" => ["", "+OK welcome\r\n", "+OK done\r\n"],
        "managesieve" => ["", "OK \"welcome\"\r\n", "OK \"done\"\r\n"],
        "submission" => ["250-x\r\n250 AUTH PLAIN\r\n", "235 2.7.0 welcome\r\n", "250 2.0.0 done\r\n"],
        _ => ["250-x\r\n250 SIZE\r\n", "", "250 2.0.0 done\r\n"],
    }
}

fn greeting(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" => "* OK [CAPABILITY IMAP4rev1] ready\r\n",
        "pop3" => "+OK ready\r\n",
        "managesieve" => "\"SASL\" \"PLAIN\"\r\nOK \"ready\"\r\n",
        _ => "220 ready\r\n",
    }
}

/// Takes the part of a backend up to the login.
fn let_in(dialect: &Dialect, talk: &mut Talk, login: bool) {
    talk.send(greeting(dialect));
    let [hello, welcome, _] = replies(dialect);
    for reply in [hello, if login { welcome } else { "" }] {
        if !reply.is_empty() {
            talk.line();
            talk.send(reply);
        }
    }
}

#[test]
fn a_client_that_has_ended_its_sending_still_gets_its_answers() {
    for dialect in &DIALECTS {
        for login in [false, true] {
            let fake = Fake::start(move |mut talk, _| {
                let_in(dialect, &mut talk, login);
                // The answer is given when the client's end has been passed on, and not before.
                assert_eq!(talk.rest(), dialect.noop.0.as_bytes());
                talk.send(replies(dialect)[2]);
            });
            let gateway = Gateway::builder().implicit("any", dialect.protocol, fake.address()).start();
            let mut talk = if login { dialect.log_in(&gateway, "any") } else { dialect.enter(&gateway, "any") };
            talk.send(dialect.noop.0).end_sending();
            talk.expect(dialect.noop.1);
            assert!(talk.closes_with_notify(), "{}", dialect.protocol);
        }
    }
}

#[test]
fn a_backend_that_has_ended_its_sending_still_gets_what_the_client_says() {
    for dialect in DIALECTS.iter().filter(|dialect| !dialect.carries_mail()) {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let fake = Fake::start(move |mut talk, _| {
            let_in(dialect, &mut talk, true);
            talk.send("the last of it\r\n");
            talk.socket().shutdown(Shutdown::Write).expect("a half-close");
            let _ = tell.lock().expect("one connection").send(talk.rest());
        });
        let gateway = Gateway::builder().implicit("any", dialect.protocol, fake.address()).start();
        let mut talk = dialect.log_in(&gateway, "any");
        talk.expect("the last of it");
        assert!(talk.closes_with_notify());
        talk.send("what the client still says\r\n").end_sending();
        assert_eq!(told.recv().expect("the backend heard it"), b"what the client still says\r\n");
        gateway.session("any", "ok");
    }
}

/// A transaction up to where the message begins.
fn transaction(dialect: &Dialect, gateway: &Gateway) -> Talk {
    let mut talk = dialect.log_in(gateway, &implicit(dialect));
    talk.ask("MAIL FROM:<bob@example.net>", "250");
    talk.ask("RCPT TO:<alice@example.org>", "250");
    talk
}

/// Three ways to go: a bare FIN, close_notify and FIN, and everything at once.
const WAYS: [fn(&mut Talk); 3] =
    [|talk| _ = talk.socket().shutdown(Shutdown::Write), |talk| talk.end_sending(), |talk| talk.cut()];

#[test]
fn a_client_that_goes_away_in_a_message_has_sent_none() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        for way in WAYS {
            for body in ["Subject: half\r\n\r\nhalf a mess", "half\r\n", "half\r\n.", "half\r\n.\r", ".", ".\r", ""] {
                let mut talk = transaction(dialect, gateway);
                talk.ask("DATA", "354");
                talk.send(body);
                way(&mut talk);
            }
            for (chunk, octets) in [("BDAT 100", "half"), ("BDAT 100 LAST", "half"), ("BDAT 1 LAST", "")] {
                let mut talk = transaction(dialect, gateway);
                talk.send(format!("{chunk}\r\n{octets}"));
                way(&mut talk);
            }
        }
        let heard = witness.heard();
        assert_eq!(witness.messages(), 0, "{}: {heard}", dialect.protocol);
        assert!(!heard.contains("\r\n.\r\n"), "{}: {heard}", dialect.protocol);
        gateway.session(&implicit(dialect), "client-lost");
        let mut talk = transaction(dialect, gateway);
        talk.ask("DATA", "354");
        talk.ask("whole\r\n.", "250");
        drop(talk);
        assert_eq!(witness.messages(), 1, "{}", dialect.protocol);
    }
}

#[test]
fn a_line_that_is_cut_without_close_notify_is_cut_at_the_backend_too() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends {
        for way in WAYS {
            let mut talk = dialect.log_in(gateway, &implicit(dialect));
            dialect.ask(&mut talk, dialect.noop);
            way(&mut talk);
            // Dropped only when the backend has heard of it.
            witness.heard();
            drop(talk);
        }
        let mut next = dialect.log_in(gateway, &implicit(dialect));
        dialect.ask(&mut next, dialect.quit);
    }
}

#[test]
fn every_orderly_end_has_close_notify() {
    let World { gateway, backends } = &world("limit.errors = 1");
    for (dialect, _) in backends {
        for mut talk in [dialect.upgrade(gateway, dialect.protocol), dialect.enter(gateway, &implicit(dialect))] {
            dialect.ask(&mut talk, dialect.quit);
            talk.closes_in_order();
        }
        let mut logged_in = dialect.log_in(gateway, &implicit(dialect));
        dialect.ask(&mut logged_in, dialect.quit);
        logged_in.closes_in_order();
        let mut expelled = dialect.enter(gateway, &implicit(dialect));
        expelled.send("GET / HTTP/1.1\r\n");
        assert!(expelled.closes_with_notify(), "{}", dialect.protocol);
    }
}

#[test]
fn close_notify_comes_where_the_backend_goes_away_behind_a_login_and_nothing_else() {
    for protocol in ["imap", "pop3", "managesieve"] {
        let dialect = dialect(protocol);
        let fake = Fake::start(move |mut talk, _| {
            let_in(dialect, &mut talk, true);
            talk.line();
        });
        let gateway = Gateway::builder().implicit("any", protocol, fake.address()).start();
        let mut talk = dialect.log_in(&gateway, "any");
        talk.send(dialect.noop.0).closes_in_order();
    }
}
