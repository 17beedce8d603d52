//! BDAT (RFC 3030): octets are counted, never read.

use super::talk::{LIMITS, Talk, both, settings};
use crate::proto::{
    Ending, Filter as _, Phase, Protocol, Settings, Violation,
    smtp::{Guard, Hygiene},
};

fn session(protocol: Protocol, extensions: &[&str], drips: bool) -> Talk {
    let mut talk = Talk::inside_tls(settings(protocol), drips);
    talk.hello(if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" }, extensions);
    talk
}

/// The same, with a message that has a recipient.
fn addressed(extensions: &[&str], drips: bool) -> Talk {
    let mut talk = session(Protocol::Smtp, extensions, drips);
    talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
    talk.asked();
    talk.told();
    talk
}

#[test]
fn octets_without_a_recipient_go_nowhere() {
    both(|drips| {
        let mut talk = session(Protocol::Smtp, &["PIPELINING", "CHUNKING"], drips);
        assert_eq!(talk.client("BDAT 6 LAST\r\nQUIT\r\n").asked(), "");
        assert!(talk.told().starts_with("503 5.5.1 "));
        // It is not known before the reply to RCPT has come.
        talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 6 LAST\r\nQUIT\r\n");
        assert_eq!(talk.asked(), "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
        assert_eq!(talk.backend("250 ok\r\n550 no\r\n").asked(), "");
        assert!(talk.told().ends_with("550 no\r\n503 5.5.1 No valid recipients\r\n"));
        talk.client("RCPT TO:<c@d>\r\nBDAT 6 LAST\r\nQUIT\r\n").backend("250 ok\r\n");
        assert_eq!(talk.asked(), "RCPT TO:<c@d>\r\nBDAT 6 LAST\r\nQUIT\r\n");
    });
}

#[test]
fn octets_cross_byte_for_byte() {
    both(|drips| {
        let mut talk = addressed(&["PIPELINING", "CHUNKING"], drips);
        let (one, two) = ("BDAT 14\r\nQUIT\n\r\n.\r\n\0\rxx", "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
        assert_eq!(talk.client([one, two].concat()).asked(), one);
        assert_eq!((talk.backend("250 one\r\n").told().as_str(), talk.asked().as_str()), ("250 one\r\n", two));
        assert_eq!(talk.filter.phase(), Phase::DataEnd);
        assert_eq!(talk.backend("250 two\r\n250 ok\r\n").told(), "250 two\r\n250 ok\r\n");
        assert_eq!((talk.filter.phase(), talk.ending), (Phase::Command, None));
    });
}

#[test]
fn a_chunk_that_waits_is_counted_once() {
    let guard = Guard { require_auth: true, ..Guard::default() };
    let mut talk = Talk::inside_tls(Settings { guard, ..settings(Protocol::Submission) }, false);
    talk.hello("EHLO", &["PIPELINING", "CHUNKING", "AUTH PLAIN"]);
    let resets = LIMITS.commands - 3;
    talk.client(format!("{}BDAT 0\r\nNOOP\r\n", "RSET\r\n".repeat(resets)));
    for _ in 0..resets {
        talk.backend("250 ok\r\n");
    }
    assert!(talk.told().ends_with("250 ok\r\n503 5.5.1 No valid recipients\r\n"));
    assert_eq!((talk.ending, talk.asked().ends_with("RSET\r\nNOOP\r\n")), (None, true));
}

#[test]
fn a_size_goes_on_in_one_form() {
    both(|drips| {
        let mut talk = addressed(&["PIPELINING", "CHUNKING"], drips);
        assert_eq!(talk.client("bdat  0003   last\nabcNOOP\n").asked(), "BDAT 3 LAST\r\nabcNOOP\r\n");
        let mut talk = addressed(&["PIPELINING", "CHUNKING"], drips);
        assert_eq!(talk.client("BDAT 0 LAST\r\n").asked(), "BDAT 0 LAST\r\n");
    });
}

#[test]
fn hidden_chunks_are_thrown_away_whole() {
    both(|drips| {
        let mut talk = session(Protocol::Smtp, &["PIPELINING"], drips);
        talk.client("BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\nNOOP\r\n");
        assert_eq!(talk.asked(), "NOOP\r\n");
        let told = talk.told();
        assert_eq!(told.matches("502 5.5.1 ").count(), 2, "{told}");
        assert_eq!(told.lines().count(), 2);
    });
}

#[test]
fn hidden_chunks_are_bounded() {
    let mut talk = session(Protocol::Smtp, &[], false);
    talk.client(format!("BDAT {}\r\n", LIMITS.discard + 1));
    assert_eq!(talk.ending, Some(Ending::Client(Violation::TooMuchDiscarded)));
    let mut talk = session(Protocol::Smtp, &[], false);
    talk.client("BDAT 18446744073709551615\r\n");
    assert_eq!(talk.ending, Some(Ending::Client(Violation::TooMuchDiscarded)));
}

#[test]
fn a_chunk_of_unknown_size_ends_the_session() {
    for argument in ["", " x", " -1", " 18446744073709551616", " LAST", " 1x", " 0x10"] {
        for extensions in [["CHUNKING"].as_slice(), &[]] {
            let mut talk = session(Protocol::Smtp, extensions, false);
            assert!(talk.client(format!("BDAT{argument}\r\nQUIT\r\n")).told().starts_with("501 5.5.4 "), "{argument}");
            assert_eq!(talk.ending, Some(Ending::Client(Violation::BadLength)));
            assert_eq!(talk.asked(), "");
        }
    }
}

#[test]
fn a_chunk_of_known_size_is_refused_in_step() {
    both(|drips| {
        let mut talk = session(Protocol::Smtp, &["CHUNKING"], drips);
        assert!(talk.client("BDAT 6 FIRST\r\nQUIT\r\nNOOP\r\n").told().starts_with("501 5.5.4 "));
        assert_eq!(talk.asked(), "NOOP\r\n");
    });
}

#[test]
fn lmtp_answers_the_last_chunk_once_for_each_recipient() {
    both(|drips| {
        let mut talk = session(Protocol::Lmtp, &["PIPELINING", "CHUNKING"], drips);
        talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nxBDAT 1 LAST\r\nyNOOP\r\n");
        talk.backend("250 mail\r\n250 one\r\n250 two\r\n").backend("250 chunk\r\n").backend("250 first\r\n");
        assert_eq!(talk.filter.phase(), Phase::DataEnd);
        talk.backend("250 second\r\n");
        assert_eq!(talk.filter.phase(), Phase::Transfer, "NOOP is still to be answered");
        assert_eq!(talk.backend("250 noop\r\n").filter.phase(), Phase::Command);
    });
}

#[test]
fn nothing_of_a_message_goes_on_behind_a_refused_chunk() {
    both(|drips| {
        let mut talk = addressed(&["PIPELINING", "CHUNKING"], drips);
        assert_eq!(talk.client("BDAT 1\r\nx").asked(), "BDAT 1\r\nx");
        talk.backend("452 full\r\n").told();
        assert_eq!(talk.client("BDAT 6 LAST\r\nQUIT\r\n").asked(), "");
        assert_eq!(talk.told(), "503 5.5.1 No valid recipients\r\n");
        talk.exchange("RSET", "250 ok");
    });
}

/// Whoever refuses a chunk may take the octets of the next for commands.
#[test]
fn a_chunk_waits_for_the_reply_to_the_one_before() {
    for protocol in [Protocol::Smtp, Protocol::Lmtp] {
        both(|drips| {
            let mut talk = session(protocol, &["PIPELINING", "CHUNKING"], drips);
            talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nxBDAT 6 LAST\r\nQUIT\r\n");
            talk.backend("250 mail\r\n250 one\r\n250 two\r\n");
            assert!(talk.asked().ends_with("BDAT 1\r\nx"));
            assert!(talk.backend("452 full\r\n").told().ends_with("452 full\r\n503 5.5.1 No valid recipients\r\n"));
            assert_eq!((talk.filter.phase(), talk.asked().as_str()), (Phase::Command, ""));
            talk.exchange("RSET", "250 ok");
        });
    }
}

/// Exim takes a size of 32 bits, and what follows for commands.
#[test]
fn no_size_goes_on_that_a_server_may_read_otherwise() {
    for size in [1_u64 << 31, (1 << 32) + 5, 1 << 63] {
        let mut talk = addressed(&["CHUNKING"], false);
        talk.client(format!("BDAT {size} LAST\r\n12345MAIL FROM:<a@b>\r\n"));
        assert_eq!((talk.asked().as_str(), talk.ending), ("", Some(Ending::Client(Violation::TooMuchDiscarded))));
    }
}

/// Exim refuses all but RSET behind them, and takes the octets of the next chunk for commands.
#[test]
fn no_other_command_goes_on_between_the_chunks_of_a_message() {
    let commands =
        ["VRFY a", "HELP", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "EHLO c", "HELO c", "ETRN a", "AUTH PLAIN"];
    for (command, first) in commands.iter().zip(["BDAT 1\r\nx", "BDAT 0\r\n"].iter().cycle()) {
        both(|drips| {
            let mut talk = addressed(&["PIPELINING", "CHUNKING", "ETRN", "AUTH PLAIN"], drips);
            assert_eq!(talk.client(format!("{first}{command}\r\nNOOP\r\n")).asked(), *first);
            let told = talk.backend("250 ok\r\n").told();
            assert!(told.starts_with("250 ok\r\n503 5.5.1 Bad") && told.ends_with("250 2.0.0 OK\r\n"), "{told}");
            assert_eq!(talk.client("BDAT 2 LAST\r\nyz").asked(), "BDAT 2 LAST\r\nyz");
            talk.backend("250 ok\r\n").told();
            talk.exchange("VRFY a", "252 perhaps");
        });
    }
}

#[test]
fn a_message_that_is_given_up_makes_room_for_the_next() {
    both(|drips| {
        let mut talk = addressed(&["PIPELINING", "CHUNKING"], drips);
        let next = "RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n";
        assert_eq!(
            talk.client(format!("BDAT 1\r\nx{next}BDAT 6 LAST\r\nQUIT\r\n")).asked(),
            format!("BDAT 1\r\nx{next}")
        );
        assert_eq!(talk.backend("250 ok\r\n250 ok\r\n250 ok\r\n").asked(), "");
        assert_eq!(talk.backend("250 ok\r\n").asked(), "BDAT 6 LAST\r\nQUIT\r\n");
    });
}

/// Exim answers in the middle, and takes the rest for commands.
#[test]
fn nothing_goes_on_of_a_chunk_that_is_refused_in_the_middle() {
    let mut talk = addressed(&["CHUNKING"], false);
    talk.client("BDAT 20 LAST\r\n1234567890");
    let told = talk.backend("552 too much\r\n").told();
    assert!(told.starts_with("552 too much\r\n421 "), "{told}");
    assert_eq!(talk.ending, Some(Ending::Backend(Violation::Backend)));
    let mut talk = addressed(&["CHUNKING"], false);
    talk.client("BDAT 20 LAST\r\n1234567890");
    assert!(talk.backend("250 fine\r\n").told().starts_with("451 "), "nobody can have it yet");
}

#[test]
fn chunks_beyond_the_size_that_the_backend_names_go_nowhere() {
    both(|drips| {
        for size in ["SIZE 10", "size  10 "] {
            let mut talk = addressed(&["CHUNKING", size], drips);
            assert_eq!(talk.client("BDAT 6\r\n123456").asked(), "BDAT 6\r\n123456");
            let told = talk.backend("250 ok\r\n").client("BDAT 5 LAST\r\n78901RSET\r\n").told();
            assert!(told.contains("552 5.3.4 Message too large"), "{told}");
            assert!(talk.cut && talk.asked().is_empty());
        }
    });
}

#[test]
fn a_message_without_one_of_its_chunks_is_none() {
    both(|drips| {
        for (first, bad) in [("BDAT 3\r\nabc", "BDAT 3 X\r\ndef"), ("", "BDAT 3 X\r\ndef")] {
            let mut talk = addressed(&["PIPELINING", "CHUNKING"], drips);
            talk.client(first).asked();
            let answers = if first.is_empty() { "" } else { "250 ok\r\n" };
            assert!(talk.backend(answers).client(bad).told().contains("501 5.5.4 "));
            assert_eq!(talk.client("BDAT 3 LAST\r\nghi").told(), "503 5.5.1 No valid recipients\r\n");
            assert!(talk.client("RCPT TO:<c@d>\r\n").told().starts_with("503 5.5.1 "));
            assert_eq!(talk.asked(), "");
            talk.exchange("RSET", "250 ok").exchange("MAIL FROM:<a@b>", "250 ok");
        }
    });
}

#[test]
fn a_client_that_goes_away_in_a_chunk_leaves_no_end() {
    let mut talk = addressed(&["CHUNKING"], false);
    assert!(!talk.client("BDAT 5 LAST\r\nabcd").filter.client_ended());
}

/// A session whose messages may have 10 octets, with a message that has a recipient.
fn limited(protocol: Protocol, drips: bool) -> Talk {
    let hygiene = Hygiene { largest: Some(10), ..Hygiene::default() };
    let mut talk = Talk::inside_tls(Settings { hygiene, ..settings(protocol) }, drips);
    talk.hello(if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" }, &["PIPELINING", "CHUNKING"]);
    talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok").exchange("RCPT TO:<c@d>", "250 ok");
    talk
}

#[test]
fn chunks_beyond_the_limit_in_all_get_no_end() {
    both(|drips| {
        let mut talk = limited(Protocol::Smtp, drips);
        let asked = talk.client("BDAT 6\r\n123456BDAT 5 LAST\r\n78901RSET\r\n").asked();
        assert_eq!(asked, "BDAT 6\r\n123456", "the first is answered before the backend goes");
        assert_eq!((talk.cut, talk.told().as_str()), (false, ""));
        let told = talk.backend("250 chunk\r\n").told();
        assert!(told.starts_with("250 chunk\r\n552 5.3.4 Message too large\r\n421 4.3.2 "), "{told}");
        assert!(talk.cut && talk.asked().is_empty());
        assert_eq!(talk.ending, Some(Ending::Client(Violation::MessageTooLarge)));
    });
}

#[test]
fn each_message_has_the_whole_limit() {
    both(|drips| {
        let mut talk = limited(Protocol::Smtp, drips);
        for _ in 0..2 {
            talk.client("BDAT 10 LAST\r\n1234567890").backend("250 ok\r\n");
            talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n").backend("250 ok\r\n250 ok\r\n");
        }
        talk.client("BDAT 10\r\n1234567890RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
        talk.backend("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n").told();
        talk.asked();
        assert_eq!(talk.client("BDAT 10 LAST\r\n1234567890").asked(), "BDAT 10 LAST\r\n1234567890");
        assert!(!talk.cut);
    });
}

#[test]
fn a_last_chunk_beyond_the_limit_is_refused_for_each_recipient_in_lmtp() {
    for (last, replies) in [("", 1), (" LAST", 2)] {
        let mut talk = limited(Protocol::Lmtp, false);
        assert_eq!(talk.client(format!("BDAT 11{last}\r\n12345678901")).told().matches("552 5.3.4 ").count(), replies);
    }
}

#[test]
fn a_chunk_that_the_operator_hides_is_thrown_away_whole() {
    both(|drips| {
        let hygiene = Hygiene { hidden: vec!["CHUNKING".into()], ..Hygiene::default() };
        let mut talk = Talk::inside_tls(Settings { hygiene, ..settings(Protocol::Smtp) }, drips);
        talk.hello("EHLO", &["PIPELINING", "CHUNKING", "BINARYMIME"]);
        talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
        assert!(talk.client("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").told().starts_with("502 5.5.1 "));
        assert_eq!(talk.asked(), "NOOP\r\n");
    });
}
