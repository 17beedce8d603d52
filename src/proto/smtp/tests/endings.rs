//! A backend that is lost, misbehaves or leaves, and farewells: what the client is owed, and not more.

use super::talk::{LIMITS, Talk, both, settings};
use crate::proto::{Ending, Farewell, Filter as _, Protocol, Violation, Wire};

fn session(protocol: Protocol, drips: bool) -> Talk {
    let mut talk = Talk::inside_tls(settings(protocol), drips);
    talk.hello(if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" }, &["PIPELINING", "CHUNKING"]);
    talk
}

fn with_recipients(protocol: Protocol, count: usize, drips: bool) -> Talk {
    let mut talk = session(protocol, drips);
    talk.exchange("MAIL FROM:<a@b>", "250 ok");
    for _ in 0..count {
        talk.exchange("RCPT TO:<a@b>", "250 ok");
    }
    talk
}

fn codes(told: &str) -> Vec<String> {
    told.lines().map(|line| line[..9].to_owned()).collect()
}

#[test]
fn a_backend_lost_between_commands_is_421() {
    let mut talk = session(Protocol::Smtp, false);
    assert_eq!(codes(&talk.lose_backend().told()), ["421 4.3.2"]);
    assert_eq!(talk.ending, Some(Ending::BackendLost));
    let mut talk = session(Protocol::Smtp, false);
    talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
    assert_eq!(codes(&talk.lose_backend().told()), ["421 4.3.2"]);
}

#[test]
fn a_backend_lost_in_a_body_is_451_at_its_end() {
    both(|drips| {
        let mut talk = with_recipients(Protocol::Smtp, 2, drips);
        talk.exchange("DATA", "354 go").client("one\r\n.").lose_backend();
        assert_eq!((talk.told().as_str(), talk.ending), ("", None));
        talk.client("two\nthree\n.\n\r\n.\r\n");
        assert_eq!(codes(&talk.told()), ["451 4.4.2", "421 4.3.2"]);
        assert_eq!(talk.ending, Some(Ending::BackendLost));
    });
}

#[test]
fn a_backend_lost_between_the_parts_of_an_end_is_lost_in_the_body() {
    let mut talk = with_recipients(Protocol::Smtp, 1, false);
    talk.exchange("DATA", "354 go").client("one\r\n.\r").lose_backend();
    assert_eq!(codes(&talk.client("\n").told()), ["451 4.4.2", "421 4.3.2"]);
}

#[test]
fn the_rest_of_a_lost_body_is_bounded() {
    both(|drips| {
        let mut talk = with_recipients(Protocol::Smtp, 1, drips);
        talk.exchange("DATA", "354 go").client("one").lose_backend();
        talk.client(vec![b'x'; usize::try_from(LIMITS.discard).unwrap() + 1]);
        assert_eq!(talk.ending, Some(Ending::Client(Violation::TooMuchDiscarded)));
        assert_eq!(codes(&talk.told()), ["451 4.4.2", "421 4.3.2"]);
    });
}

#[test]
fn a_backend_lost_behind_the_end_of_a_message_is_451() {
    let mut talk = with_recipients(Protocol::Smtp, 2, false);
    talk.exchange("DATA", "354 go").client("x\r\n.\r\n");
    assert_eq!(codes(&talk.lose_backend().told()), ["451 4.4.2", "421 4.3.2"]);
    let mut talk = with_recipients(Protocol::Smtp, 2, false);
    talk.client("BDAT 1 LAST\r\nx");
    assert_eq!(codes(&talk.lose_backend().told()), ["451 4.4.2", "421 4.3.2"]);
}

#[test]
fn lmtp_gives_451_for_each_recipient_not_answered() {
    let mut talk = with_recipients(Protocol::Lmtp, 3, false);
    talk.exchange("DATA", "354 go").client("x\r\n.\r\nBOGUS\r\nNOOP\r\n").backend("250 one\r\n").told();
    assert_eq!(codes(&talk.lose_backend().told()), ["451 4.4.2", "451 4.4.2", "502 5.5.1", "421 4.3.2"]);
    let mut talk = with_recipients(Protocol::Lmtp, 2, false);
    talk.client("BDAT 4 LAST\r\nx").lose_backend();
    assert_eq!(talk.told(), "");
    assert_eq!(codes(&talk.client("yzz").told()), ["451 4.4.2", "451 4.4.2", "421 4.3.2"]);
}

#[test]
fn a_chunk_of_a_lost_backend_is_read_to_its_end() {
    both(|drips| {
        let mut talk = with_recipients(Protocol::Smtp, 1, drips);
        talk.client("BDAT 10\r\nabc").lose_backend();
        assert_eq!(talk.client("defg").ending, None);
        assert_eq!(codes(&talk.client("hij").told()), ["451 4.4.2", "421 4.3.2"]);
        assert_eq!(talk.ending, Some(Ending::BackendLost));
    });
}

#[test]
fn a_backend_that_left_in_good_order_was_not_lost() {
    let mut talk = session(Protocol::Smtp, false);
    talk.exchange("NOOP", "421 4.3.2 shutting down");
    assert_eq!(talk.lose_backend().told(), "");
    assert_eq!(talk.ending, Some(Ending::Closed));
    let mut talk = session(Protocol::Smtp, false);
    assert_eq!(talk.client("QUIT\r\n").lose_backend().told(), "221 2.0.0 Bye\r\n");
    assert_eq!(talk.ending, Some(Ending::Closed));
}

#[test]
fn a_farewell_of_the_backend_is_passed_on() {
    both(|drips| {
        let mut talk = session(Protocol::Smtp, drips);
        assert_eq!(talk.backend("421 4.3.2 bye\r\n").told(), "421 4.3.2 bye\r\n");
        assert_eq!(talk.ending, Some(Ending::Closed));
    });
}

#[test]
fn garbage_from_the_backend_ends_the_session() {
    both(|drips| {
        let mut talk = session(Protocol::Smtp, drips);
        assert_eq!(codes(&talk.client("NOOP\r\n").backend("ok then\r\n").told()), ["421 4.3.2"]);
        assert_eq!(talk.ending, Some(Ending::Backend(Violation::Backend)));
    });
}

#[test]
fn one_reply_too_many_never_reaches_the_client() {
    both(|drips| {
        let mut talk = session(Protocol::Smtp, drips);
        talk.client("NOOP\r\n");
        let told = talk.backend("250 ok\r\n250 injected\r\n").told();
        assert!(told.starts_with("250 ok\r\n421 4.3.2 ") && !told.contains("injected"), "{told}");
    });
}

#[test]
fn draining_waits_for_what_is_under_way() {
    let mut wire = Wire::default();
    let mut talk = session(Protocol::Smtp, false);
    assert!(talk.filter.farewell(Farewell::Draining, &mut wire));
    assert!(wire.to_client.starts_with(b"421 4.3.2 "));
    talk.client("NOOP\r\n");
    assert!(!talk.filter.farewell(Farewell::Draining, &mut Wire::default()));
    talk.backend("250 ok\r\n").told();
    talk.asked();
    talk.exchange("DATA", "354 go");
    assert!(!talk.client("x").filter.farewell(Farewell::Draining, &mut Wire::default()));
}

#[test]
fn a_slow_client_is_told_wherever_it_stopped() {
    let mut wire = Wire::default();
    let mut talk = with_recipients(Protocol::Smtp, 1, false);
    talk.exchange("DATA", "354 go").client("x");
    assert!(talk.filter.farewell(Farewell::Timeout, &mut wire));
    assert!(wire.to_client.starts_with(b"421 4.4.2 "));
}
