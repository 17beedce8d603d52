//! DATA: where a body ends, and that nothing else ends it.

use super::talk::{Talk, both, settings};
use crate::proto::{
    Complaint, Ending, Filter as _, Phase, Protocol, Violation,
    smtp::body::{Body, Scan},
};

/// A session in which the body is next.
fn in_data(protocol: Protocol, recipients: usize, drips: bool) -> Talk {
    let mut talk = Talk::inside_tls(settings(protocol), drips);
    talk.hello(if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" }, &["PIPELINING"]);
    talk.exchange("MAIL FROM:<a@b>", "250 2.1.0 ok");
    for _ in 0..recipients {
        talk.exchange("RCPT TO:<a@b>", "250 2.1.5 ok");
    }
    talk.exchange("DATA", "354 go on");
    talk
}

/// What each form that some server somewhere takes for the end of a message is made of (VU#302671).
const SMUGGLING: [&str; 14] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r.\r\n",
    "\n.\r",
    "\r.\n",
    "\r\r\n.\r\r\n",
    "\r\n\r.\r\n",
    "\r\n.\r\r\n",
    "\n\n.\r\n",
    "\r\n.\n\r\n",
    "\r\n.\r\0\n",
];

#[test]
fn a_message_crosses_byte_for_byte() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        let body = b"Subject: x\r\n\r\n..stuffed\r\n.x\r\n\xff\0 8 bit\r\n\r\n. \r\nend\r\n.\r\n".as_slice();
        assert_eq!(talk.client(body).asked(), String::from_utf8_lossy(body));
        assert_eq!(talk.filter.phase(), Phase::DataEnd);
        assert_eq!(talk.backend("250 2.0.0 taken\r\n").told(), "250 2.0.0 taken\r\n");
        assert_eq!(talk.filter.phase(), Phase::Command);
        talk.exchange("MAIL FROM:<a@b>", "250 2.1.0 ok");
    });
}

#[test]
fn an_empty_message_is_a_dot_alone() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        assert_eq!(talk.client(".\r\nNOOP\r\n").asked(), ".\r\nNOOP\r\n");
        assert_eq!(talk.backend("250 ok\r\n250 ok\r\n").told(), "250 ok\r\n250 ok\r\n");
    });
}

#[test]
fn look_alikes_of_the_end_that_hold_no_bare_newline_are_body() {
    for inner in ["\r\n.\0\r\n", "\r\n\0.\r\n", "\r\n..\r\n", "\r\n. \r\n"] {
        let mut talk = in_data(Protocol::Smtp, 1, false);
        talk.client(format!("x{inner}MAIL FROM:<evil@b>\r\n"));
        assert_eq!(talk.filter.phase(), Phase::Transfer, "{inner:?}");
        assert_eq!(talk.ending, None);
    }
}

#[test]
fn no_bare_newline_ends_a_message_or_lets_one_pass() {
    for form in SMUGGLING {
        let input = format!("one{form}MAIL FROM:<evil@b>\r\nDATA\r\ntwo\r\n.\r\nNOOP\r\n");
        for split in 0..=input.len() {
            let mut talk = in_data(Protocol::Smtp, 1, false);
            talk.client(&input[..split]).client(&input[split..]);
            let passed = talk.asked();
            assert!(passed.len() <= 3 + form.len() && input.starts_with(&passed), "{form:?} at {split}: {passed:?}");
            assert!(talk.cut, "{form:?} at {split}");
            let told = talk.told();
            assert!(told.starts_with("550 5.6.11 ") && told.contains("\r\n421 4.3.2 "), "{form:?}: {told}");
            assert_eq!(told.lines().count(), 2);
            assert_eq!(talk.ending, Some(Ending::Client(Violation::BareNewline)));
        }
    }
}

#[test]
fn a_cr_goes_on_with_its_lf_or_not_at_all() {
    let mut talk = in_data(Protocol::Smtp, 1, false);
    assert_eq!(talk.client("x\r\n.\r").asked(), "x\r\n.");
    assert_eq!(talk.client("MAIL").asked(), "");
    let mut talk = in_data(Protocol::Smtp, 1, false);
    assert_eq!(talk.client("x\r").asked(), "x");
    assert_eq!(talk.client("\n.\r").asked(), "\r\n.");
    assert_eq!(talk.client("\n").asked(), "\r\n");
}

#[test]
fn a_refused_message_is_refused_where_the_client_ends_it() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        assert_eq!(talk.client("one\ntwo\n.\nthree").told(), "");
        assert_eq!(talk.filter.phase(), Phase::Transfer);
        assert!(talk.client("\r\n.\r\n").told().starts_with("550 5.6.11 "));
        assert_eq!((talk.ending, talk.filter.phase()), (None, Phase::Command));
        assert_eq!(talk.client("QUIT\r\n").told(), "221 2.0.0 Bye\r\n");
        assert_eq!(talk.ending, Some(Ending::Client(Violation::BareNewline)));
    });
}

#[test]
fn lmtp_refuses_a_message_for_each_recipient() {
    let mut talk = in_data(Protocol::Lmtp, 3, false);
    assert_eq!(talk.client("one\ntwo\r\n.\r\n").told().matches("550 5.6.11 ").count(), 3);
}

#[test]
fn a_refused_message_without_an_end_is_bounded() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        talk.client([b"\n".as_slice(), &[b'x'; 1001]].concat());
        assert_eq!(talk.ending, Some(Ending::Client(Violation::TooMuchDiscarded)));
        assert!(talk.told().starts_with("550 5.6.11 "));
    });
}

#[test]
fn a_refused_data_is_followed_by_commands() {
    let mut talk = Talk::inside_tls(settings(Protocol::Smtp), false);
    talk.hello("EHLO", &["PIPELINING"]);
    assert_eq!(talk.client("DATA\r\nNOOP\r\n").asked(), "DATA\r\n", "nothing is read behind DATA");
    assert_eq!(talk.backend("554 no recipients\r\n").told(), "554 no recipients\r\n");
    assert_eq!(talk.asked(), "NOOP\r\n");
}

#[test]
fn an_early_verdict_waits_for_the_end_of_the_message() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        assert_eq!(talk.client("one\r\n").backend("552 5.3.4 too big\r\n").told(), "");
        assert_eq!(talk.client("two\r\n.\r\n").told(), "552 5.3.4 too big\r\n");
    });
}

#[test]
fn what_is_said_before_the_end_of_a_message_answers_nothing_behind_it() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        talk.client("one\r\n").backend("552 5.3.4 too big\r\n250 2.1.0 forged\r\n");
        assert_eq!(talk.client("two\r\n.\r\nMAIL FROM:<a@b>\r\nBOGUS\r\n").asked(), "one\r\ntwo\r\n.\r\n");
        let told = talk.told();
        assert!(told.starts_with("552 5.3.4 too big\r\n421 4.3.2 ") && told.lines().count() == 2, "{told}");
        assert_eq!(talk.ending, Some(Ending::Backend(Violation::Backend)));
        assert_eq!(talk.complaint(), Some(Complaint::SpokeUnasked));
    });
}

#[test]
fn a_reply_begun_before_the_end_of_a_message_is_waited_for() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        talk.client("one\r\n").backend("552 5.3.4 too big\r\n421 4.3.2 ");
        assert_eq!(talk.client("two\r\n.\r\nNOOP\r\n").asked(), "one\r\ntwo\r\n.\r\n");
        assert_eq!(talk.told(), "552 5.3.4 too big\r\n");
        assert_eq!(talk.backend("closing\r\n").told(), "421 4.3.2 closing\r\n");
        assert_eq!((talk.ending, talk.asked()), (Some(Ending::Closed), String::new()));
    });
}

#[test]
fn commands_behind_an_early_verdict_go_on_once_it_is_passed_on() {
    both(|drips| {
        let mut talk = in_data(Protocol::Lmtp, 2, drips);
        talk.client("one\r\n").backend("552 5.3.4 too big\r\n");
        assert_eq!(talk.client("two\r\n.\r\nNOOP\r\n").asked(), "one\r\ntwo\r\n.\r\nNOOP\r\n");
        assert_eq!(talk.backend("552 too big\r\n250 ok\r\n").told(), "552 5.3.4 too big\r\n552 too big\r\n250 ok\r\n");
    });
}

#[test]
fn a_success_before_the_end_of_the_message_is_a_violation() {
    let mut talk = in_data(Protocol::Smtp, 1, false);
    assert!(talk.client("one\r\n").backend("250 taken\r\n").told().starts_with("421 4.3.2 "));
    assert_eq!(talk.ending, Some(Ending::Backend(Violation::Backend)));
}

#[test]
fn a_client_that_goes_away_in_a_body_leaves_no_end() {
    let mut talk = in_data(Protocol::Smtp, 1, false);
    assert!(!talk.client("one\r\n.").filter.client_ended());
    assert!(talk.client("\r\n").filter.client_ended());
}

#[test]
fn lmtp_answers_a_message_once_for_each_recipient() {
    both(|drips| {
        let mut talk = in_data(Protocol::Lmtp, 2, drips);
        talk.client("x\r\n.\r\nBOGUS\r\n");
        assert_eq!(talk.backend("250 one\r\n").told(), "250 one\r\n");
        assert_eq!(talk.filter.phase(), Phase::DataEnd);
        let told = talk.backend("451-two\r\n451 two\r\n").told();
        assert!(told.starts_with("451-two\r\n451 two\r\n502 5.5.1 "), "our own reply waits for its turn: {told}");
        assert_eq!(talk.filter.phase(), Phase::Command);
    });
}

#[test]
fn lmtp_recipients_are_forgotten_with_their_message() {
    for forget in ["RSET", "MAIL FROM:<c@d>"] {
        let mut talk = in_data(Protocol::Lmtp, 2, false);
        talk.client("x\r\n.\r\n").backend("250 one\r\n250 two\r\n");
        talk.told();
        talk.asked();
        talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
        talk.exchange("RCPT TO:<c@b>", "250 ok").exchange(forget, "250 ok");
        talk.exchange("RCPT TO:<a@b>", "550 no").exchange("DATA", "354 go");
        talk.client(".\r\n").backend("554 nobody\r\n");
        assert_eq!(talk.filter.phase(), Phase::Command, "one reply where nobody was accepted");
    }
}

/// The plainest reading of the rules, one byte at a time over the whole body.
fn reference(body: &[u8]) -> Scan {
    for at in 0..body.len() {
        let before = |count: usize| at.checked_sub(count).map(|at| body[at]);
        match body[at] {
            b'\n' if before(1) != Some(b'\r') => return Scan::Bare(at + 1),
            b'\n' if before(2) == Some(b'.') && (at == 2 || (before(4), before(3)) == (Some(b'\r'), Some(b'\n'))) => {
                return Scan::End(at + 1);
            }
            byte if byte != b'\n' && before(1) == Some(b'\r') => return Scan::Bare(at),
            _ => {}
        }
    }
    Scan::All
}

/// The same by [`Body::scan`] on `first` and `second` one after the other.
fn scanned(first: &[u8], second: &[u8]) -> Scan {
    let mut body = Body::new();
    match body.scan(first) {
        Scan::All => match body.scan(second) {
            Scan::All => Scan::All,
            Scan::End(length) => Scan::End(first.len() + length),
            Scan::Bare(length) => Scan::Bare(first.len() + length),
        },
        scan => scan,
    }
}

#[test]
fn scanning_finds_what_the_plain_rules_find() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    const PIECES: [&[u8]; 9] = [b"\r\n", b"\r\n", b"\r\n", b".", b".", b"x", b"some text", b"\r", b"\n"];
    let mut ends = 0;
    for _ in 0..4000 {
        // Few of them with bare newlines, so that many get as far as their end.
        let kinds = if random(4) == 0 { 9 } else { 7 };
        let body: Vec<u8> = (0..random(24)).flat_map(|_| PIECES[random(kinds) as usize].to_vec()).collect();
        let expected = reference(&body);
        ends += usize::from(matches!(expected, Scan::End(_)));
        for split in 0..=body.len() {
            assert_eq!(scanned(&body[..split], &body[split..]), expected, "{body:?} at {split}");
        }
    }
    assert!(ends > 100, "the inputs hardly ever end: {ends}");
}

#[test]
fn skipping_ends_at_the_clients_own_end_alone() {
    for form in SMUGGLING {
        let input = format!("one{form}two\r\n.\r\nthree");
        let end = input.len() - "three".len();
        for split in 0..end {
            let mut body = Body::new();
            assert_eq!(body.skip(&input.as_bytes()[..split]), None, "{form:?} at {split}");
            assert_eq!(body.skip(&input.as_bytes()[split..]), Some(end - split), "{form:?} at {split}");
        }
    }
}
