//! The trace header in front of messages: once, at their very beginning, and counted where octets are.

use super::talk::{Talk, both, settings};
use crate::proto::{
    Connection, Filter as _, Leg, Opening, Protocol, Settings, Start,
    smtp::{Extensions, Hygiene, LONGEST_TRACE, Trace},
};

const FIELD: &str = "Received: from c.example ([192.0.2.7])\r\n\tby mw.example with ESMTP id 3-1;\r\n\tnow\r\n";

fn trace() -> Trace {
    let source = "192.0.2.7:40000".parse().unwrap();
    Trace::new(&Connection { source, destination: source, tls: None }, 3, || "now".to_owned())
}

/// A session in which a message is to have a trace.
fn session(settings: Settings, drips: bool) -> Talk {
    let verb = if settings.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
    let mut talk = Talk::inside_tls(settings, drips);
    talk.filter.trace(trace());
    talk.hello(verb, &["PIPELINING", "CHUNKING"]);
    talk
}

fn addressed(drips: bool) -> Talk {
    let mut talk = session(settings(Protocol::Smtp), drips);
    talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
    talk
}

#[test]
fn a_body_has_it_in_front() {
    both(|drips| {
        let mut talk = addressed(drips);
        talk.exchange("DATA", "354 go on");
        talk.client("Subject: x\r\n\r\nx\r\n.\r\n").backend("250 ok\r\n");
        assert_eq!(talk.asked(), format!("{FIELD}Subject: x\r\n\r\nx\r\n.\r\n"));
        talk.told();
        // The next message has its own, and one without a header is not made a part of it.
        talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok").exchange("DATA", "354 go on");
        talk.client("\tby me\r\n.\r\n").backend("250 ok\r\n");
        assert_eq!(talk.asked(), format!("{}\r\n\tby me\r\n.\r\n", FIELD.replace("3-1", "3-2")));
    });
}

#[test]
fn it_stands_in_front_of_a_body_that_is_written_anew_too() {
    both(|drips| {
        let mut talk = addressed(drips);
        talk.exchange("DATA", "354 go on");
        talk.client("\n.x\n\r\n.\r\n");
        assert_eq!(talk.asked(), format!("{FIELD}\r\n..x\r\n\r\n.\r\n"));
    });
}

#[test]
fn a_blank_at_its_end_is_seen_behind_a_stuffed_dot_and_a_nul() {
    both(|drips| {
        for (body, sent) in [(". x\r\n", ". x\r\n"), ("\0 x\r\n", " x\r\n"), (".\0\tx\r\n", "\tx\r\n")] {
            let mut talk = addressed(drips);
            talk.exchange("DATA", "354 go on");
            assert_eq!(talk.client(body).asked(), format!("{FIELD}\r\n{sent}"), "{body:?}");
        }
    });
}

#[test]
fn an_empty_body_and_a_refused_one() {
    both(|drips| {
        let mut talk = addressed(drips);
        talk.exchange("DATA", "451 later").exchange("DATA", "354 go on");
        talk.client(".\r\n");
        assert_eq!(talk.asked(), format!("{FIELD}.\r\n"));
    });
}

#[test]
fn the_first_octets_of_chunks_have_it_in_front_and_count_it() {
    both(|drips| {
        let mut talk = addressed(drips);
        let (first, blank) = (FIELD.len() + 3, FIELD.len() + 2 + 2);
        // Of nothing it is not the beginning, and the command waits for the first octet.
        assert_eq!(talk.client("BDAT 0\r\nBDAT 3\r\n").asked(), "BDAT 0\r\n");
        assert_eq!(talk.backend("250 ok\r\n").asked(), "");
        assert_eq!(talk.client("a\r\nBDAT 2 LAST\r\n\r\n").asked(), format!("BDAT {first}\r\n{FIELD}a\r\n"));
        assert_eq!(talk.backend("250 ok\r\n").asked(), "BDAT 2 LAST\r\n\r\n");
        talk.backend("250 ok\r\n").told();
        talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
        let field = FIELD.replace("3-1", "3-2");
        assert_eq!(talk.client("BDAT 2 LAST\r\n x").asked(), format!("BDAT {blank} LAST\r\n{field}\r\n x"));
        talk.backend("250 ok\r\n").told();
        talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
        let field = FIELD.replace("3-1", "3-3");
        assert_eq!(talk.client("BDAT 0 LAST\r\n").asked(), format!("BDAT {} LAST\r\n{field}", field.len()));
    });
}

#[test]
fn who_goes_on_in_plaintext_is_named_as_it_greeted_mailward() {
    let command = Some(b"EHLO c.example".to_vec());
    let opening = Opening::Hello { command, offered: Extensions::default() };
    let mut talk = Talk::begun(settings(Protocol::Smtp), Start::Opened(opening), Leg::Plaintext, "220 mx\r\n", false);
    talk.filter.trace(trace());
    talk.backend("502 what?\r\n").asked();
    talk.backend("250 mx\r\n");
    talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok").exchange("DATA", "354 go on");
    assert!(talk.client("x\r\n").asked().starts_with(&FIELD.replace("ESMTP", "SMTP")), "it was told HELO in the end");
}

#[test]
fn the_size_that_is_shown_leaves_room_for_it() {
    let hygiene = Hygiene { added: LONGEST_TRACE, ..Hygiene::default() };
    let shown = |listed: &str| {
        let mut talk = Talk::inside_tls(Settings { hygiene: hygiene.clone(), ..settings(Protocol::Smtp) }, false);
        talk.client("EHLO c.example\r\n").backend(format!("250-mx\r\n250 {listed}\r\n")).told()
    };
    assert_eq!(shown("SIZE 10240"), "250-mx\r\n250 SIZE 9216\r\n");
    assert_eq!(shown("SIZE 1000"), "250-mx\r\n250 SIZE 1\r\n");
    assert_eq!((shown("SIZE 0"), shown("SIZE")), ("250-mx\r\n250 SIZE 0\r\n".into(), "250-mx\r\n250 SIZE\r\n".into()));
}
