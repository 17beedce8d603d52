//! DATA: where a body ends, and that nothing else ends it.

use super::talk::{Talk, both, settings};
use crate::proto::{
    Complaint, Ending, Filter as _, Phase, Protocol, Settings, Violation,
    smtp::{
        BareNewline, Hygiene,
        body::{Body, Taken},
    },
};

/// A session in which the body is next.
fn in_data(protocol: Protocol, recipients: usize, drips: bool) -> Talk {
    in_data_of(settings(protocol), recipients, drips)
}

/// The same, where bare newlines are not normalized.
fn with_newlines(bare_newline: BareNewline, drips: bool) -> Talk {
    in_data_of(hygienic(Protocol::Smtp, Hygiene { bare_newline, ..Hygiene::default() }), 1, drips)
}

fn hygienic(protocol: Protocol, hygiene: Hygiene) -> Settings {
    Settings { hygiene, ..settings(protocol) }
}

fn in_data_of(settings: Settings, recipients: usize, drips: bool) -> Talk {
    let protocol = settings.protocol;
    let mut talk = Talk::inside_tls(settings, drips);
    talk.hello(if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" }, &["PIPELINING"]);
    talk.exchange("MAIL FROM:<a@b>", "250 2.1.0 ok");
    for _ in 0..recipients {
        talk.exchange("RCPT TO:<a@b>", "250 2.1.5 ok");
    }
    talk.exchange("DATA", "354 go on");
    talk
}

/// What each form that some server somewhere takes for the end of a message is made of (VU#302671).
const SMUGGLING: [&str; 18] = [
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
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\n\0.\0\r\n",
    "\n\0\0..\0\n",
];

#[test]
fn a_message_crosses_byte_for_byte() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        let body = b"Subject: x\r\n\r\n..stuffed\r\n.x\r\n\xff\0 8 bit\r\n\r\n. \r\nx\0\r\nend\r\n.\r\n".as_slice();
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
    for inner in ["\r\n..\r\n", "\r\n. \r\n", "\r\n.x\r\n", "\r\nx.\r\n"] {
        let mut talk = in_data(Protocol::Smtp, 1, false);
        talk.client(format!("x{inner}MAIL FROM:<evil@b>\r\n"));
        assert_eq!(talk.filter.phase(), Phase::Transfer, "{inner:?}");
        assert_eq!(talk.ending, None);
    }
}

#[test]
fn a_refused_form_neither_ends_a_message_nor_lets_one_pass() {
    for form in SMUGGLING {
        let input = format!("one{form}MAIL FROM:<evil@b>\r\nDATA\r\ntwo\r\n.\r\nNOOP\r\n");
        for split in 0..=input.len() {
            let mut talk = with_newlines(BareNewline::Reject, false);
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
fn a_cr_goes_on_with_its_lf_and_a_dot_with_what_follows_it() {
    let mut talk = with_newlines(BareNewline::Reject, false);
    assert_eq!(talk.client("x\r\n.\r").asked(), "x\r\n");
    assert_eq!(talk.client("MAIL").asked(), "");
    for bare_newline in BareNewline::ALL {
        let mut talk = with_newlines(bare_newline, false);
        assert_eq!(talk.client("x\r").asked(), "x");
        assert_eq!(talk.client("\n.").asked(), "\r\n");
        assert_eq!(talk.client("\r").asked(), "");
        assert_eq!(talk.client("\n").asked(), ".\r\n");
    }
}

#[test]
fn a_refused_message_is_refused_where_the_client_ends_it() {
    both(|drips| {
        let mut talk = with_newlines(BareNewline::Reject, drips);
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
    let reject = Hygiene { bare_newline: BareNewline::Reject, ..Hygiene::default() };
    let mut talk = in_data_of(hygienic(Protocol::Lmtp, reject), 3, false);
    assert_eq!(talk.client("one\ntwo\r\n.\r\n").told().matches("550 5.6.11 ").count(), 3);
}

#[test]
fn a_refused_message_without_an_end_is_bounded() {
    both(|drips| {
        let mut talk = with_newlines(BareNewline::Reject, drips);
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

/// The plainest reading of the rules, over a whole body: how long it is, its end included, and the message in it.
fn reference(body: &[u8]) -> Option<(usize, Vec<u8>)> {
    let ends = |at: &usize| body[*at..].starts_with(b".\r\n") && (*at == 0 || body[..*at].ends_with(b"\r\n"));
    let end = (0..body.len()).find(ends)?;
    let mut message = Vec::new();
    for line in unstuffed(&body[..end]) {
        for text in line.split(|byte| b"\r\n".contains(byte)) {
            let nuls = text.iter().take_while(|byte| **byte == 0).count();
            message.extend_from_slice(&text[nuls..]);
            message.extend_from_slice(b"\r\n");
        }
    }
    Some((end + 3, message))
}

/// RFC 5321 §4.5.2: the lines that a receiver makes of a body.
fn unstuffed(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(body, b"\r\n").into_iter().map(|line| line.strip_prefix(b".").unwrap_or(line))
}

/// The lines of a text that is nothing, or ends in `end`.
fn lines<'t>(mut text: &'t [u8], end: &[u8]) -> Vec<&'t [u8]> {
    let mut lines = Vec::new();
    while let Some(at) = text.windows(end.len()).position(|window| window == end) {
        lines.push(&text[..at]);
        text = &text[at + end.len()..];
    }
    lines
}

/// What a body that arrives in these pieces becomes, and how long it is, if it ends.
fn taken(pieces: &[&[u8]], bare: BareNewline) -> (Option<usize>, Vec<u8>) {
    let (mut body, mut held, mut used, mut sent) = (Body::new(), Vec::new(), 0, Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let Taken { length, instead, ended } = body.take(&held, bare).unwrap();
        let bytes: Vec<u8> = held.drain(..length).collect();
        used += length;
        sent.extend(instead.unwrap_or(bytes));
        if ended {
            return (Some(used), sent);
        }
    }
    (None, sent)
}

#[test]
fn normalizing_does_what_the_plain_rules_do() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    const PIECES: [&[u8]; 11] =
        [b"\r\n", b"\r\n", b"\r\n", b".", b".", b"x", b"some text", b"x\0", b"\r", b"\n", b"\0"];
    let message = |body: &[u8]| unstuffed(body).flat_map(|line| [line, b"\r\n"].concat()).collect::<Vec<u8>>();
    let (mut ends, mut changes) = (0, 0);
    for _ in 0..4000 {
        // Few of them with faults, so that many get as far as their end.
        let kinds = if random(4) == 0 { 11 } else { 7 };
        let body: Vec<u8> = (0..random(24)).flat_map(|_| PIECES[random(kinds) as usize].to_vec()).collect();
        let expected = reference(&body);
        let clean = kinds == 7;
        ends += usize::from(expected.is_some());
        for split in 0..=body.len() {
            let pieces = [&body[..split], &body[split..]];
            let (end, sent) = taken(&pieces, BareNewline::Normalize);
            assert_eq!(end, expected.as_ref().map(|(end, _)| *end), "{body:?} at {split}");
            if let Some((end, normal)) = &expected {
                let front = sent.strip_suffix(b".\r\n").unwrap();
                assert_eq!(message(front), *normal, "{body:?} at {split}");
                assert_eq!(reference(&sent).map(|(end, _)| end), Some(sent.len()), "{body:?} at {split}");
                assert!(!clean || sent == body[..*end], "{body:?} at {split}");
                changes += usize::from(sent != body[..*end]);
            }
            assert_eq!(taken(&pieces, BareNewline::Pass).0, end, "{body:?} at {split}");
        }
    }
    assert!(ends > 100 && changes > 100, "the inputs hardly ever end, or need no change: {ends}, {changes}");
}

#[test]
fn what_comes_at_once_is_the_same_as_in_pieces_that_are_looked_at_line_by_line() {
    const ODD: [&str; 6] = ["\r\n.x", "\r\n..\r\n", "\r\n\r\n", "\r\n. ", "\0", "\r\n.\r\n"];
    for line in ["a line of text with \0 in it\r\n", "x\r\n", "\r\n"] {
        let lines = line.repeat(500 / line.len());
        for odd in SMUGGLING.into_iter().chain(ODD) {
            for before in 0..300 {
                let body = [&lines[..before], odd, &lines, "x\r\n.\r\n"].concat();
                let pieces: Vec<_> = body.as_bytes().chunks(100).collect();
                for bare in [BareNewline::Normalize, BareNewline::Pass] {
                    assert_eq!(taken(&[body.as_bytes()], bare), taken(&pieces, bare), "{line:?} {before} {odd:?}");
                }
            }
        }
    }
}

#[test]
fn a_body_with_proper_line_ends_is_never_copied() {
    let lines = b"..stuffed\r\n\r\n.a line of text with \0 in it\r\n".repeat(1000);
    let body = [&lines, b".\r\n".as_slice()].concat();
    for bare in BareNewline::ALL {
        let (mut state, mut at) = (Body::new(), 0);
        for end in (at..=body.len()).step_by(997).chain([body.len()]) {
            let Taken { length, instead, ended } = state.take(&body[at..end], bare).unwrap();
            assert_eq!((instead, ended), (None, end == body.len()), "{bare:?} at {at}");
            at += length;
        }
        assert_eq!(at, body.len());
    }
}

#[test]
fn no_form_is_an_end_at_any_server() {
    for form in SMUGGLING {
        let input = format!("one{form}MAIL FROM:<evil@b>\r\n.\r\nNOOP\r\n");
        for split in 0..=input.len() {
            let mut talk = in_data(Protocol::Smtp, 1, false);
            let asked = talk.client(&input[..split]).client(&input[split..]).asked();
            let body = asked.strip_suffix("\r\n.\r\nNOOP\r\n").unwrap_or_else(|| panic!("{form:?}: {asked:?}"));
            assert!(!body.replace("\r\n", "").contains(['\r', '\n']), "{form:?} at {split}: {asked:?}");
            let without_nuls = body.replace('\0', "");
            assert!(without_nuls.split("\r\n").all(|line| line != "."), "{form:?} at {split}: {asked:?}");
            assert_eq!(talk.ending, None);
        }
    }
}

#[test]
fn the_dot_of_a_bare_line_is_a_dot_of_the_message() {
    both(|drips| {
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        assert_eq!(talk.client("one\n.\n.two\r\n..three\r\n.\r\n").asked(), "one\r\n..\r\n..two\r\n..three\r\n.\r\n");
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        let stuffing = "..\n.\r.\0x\r\n.four\r\n.\r\n";
        assert_eq!(talk.client(stuffing).asked(), "..\r\n..\r\n..\0x\r\n.four\r\n.\r\n");
        let mut talk = in_data(Protocol::Smtp, 1, drips);
        assert_eq!(talk.client(".\n\r\n.\0.\r\n.\r\n").asked(), "\r\n\r\n..\r\n.\r\n");
    });
}

#[test]
fn what_is_passed_crosses_byte_for_byte() {
    for form in SMUGGLING {
        both(|drips| {
            let mut talk = with_newlines(BareNewline::Pass, drips);
            let input = format!("one{form}two\r\n.\r\nNOOP\r\n");
            assert_eq!(talk.client(&input).asked(), input);
            assert_eq!(talk.backend("250 ok\r\n250 ok\r\n").told(), "250 ok\r\n250 ok\r\n");
        });
    }
}

#[test]
fn skipping_ends_at_the_clients_own_end_alone() {
    for form in SMUGGLING {
        let input = format!("one{form}two\r\n.\r\nthree");
        let end = input.len() - "three".len();
        for split in 0..end {
            let mut body = Body::new();
            let first = body.skip(&input.as_bytes()[..split]);
            assert!(!first.ended, "{form:?} at {split}");
            let second = body.skip(&input.as_bytes()[first.length..]);
            assert_eq!((second.ended, first.length + second.length), (true, end), "{form:?} at {split}");
        }
    }
}

fn limited(largest: u64) -> Hygiene {
    Hygiene { largest: Some(largest), ..Hygiene::default() }
}

#[test]
fn a_body_beyond_the_limit_gets_no_end_and_is_told_so_at_its_own() {
    both(|drips| {
        let mut talk = in_data_of(hygienic(Protocol::Smtp, limited(10)), 1, drips);
        let asked = talk.client("..2345678\r\n.\r\nRSET\r\n").asked();
        assert_eq!(asked, "..2345678\r\n.\r\nRSET\r\n", "neither stuffing nor the end counts");
        for body in ["..23456789\r\n.\r\n", "123456789\n.\r\n.\r\n"] {
            let mut talk = in_data_of(hygienic(Protocol::Smtp, limited(10)), 1, drips);
            assert_eq!(talk.client(body).told(), "552 5.3.4 Message too large\r\n", "{body:?}");
            assert!(talk.cut && !talk.asked().ends_with(".\r\n"), "{body:?}");
            assert!(talk.client("RSET\r\n").told().starts_with("421 4.3.2 "));
            assert_eq!(talk.ending, Some(Ending::Client(Violation::MessageTooLarge)));
        }
    });
}

#[test]
fn lmtp_refuses_a_message_beyond_the_limit_for_each_recipient() {
    let mut talk = in_data_of(hygienic(Protocol::Lmtp, limited(10)), 3, false);
    assert_eq!(talk.client("one two three\r\n.\r\n").told().matches("552 5.3.4 ").count(), 3);
}
