//! The way into TLS, and what must not come along (RFC 9051 §6.2.1).

use super::*;
use crate::proto::Outcome;

const GRANTED: &str = "a OK begin TLS now\r\n";
const REFUSED: &str = "a BAD nothing may follow STARTTLS\r\n* BYE nothing may follow STARTTLS\r\n";

fn is_start_tls(end: Option<&Result<Step, Violation>>) -> bool {
    matches!(end, Some(Ok(Step::Done(Outcome::StartTls(_)))))
}

#[test]
fn starttls_alone_is_granted() {
    for command in ["a STARTTLS\r\n", "a starttls \t \r\n", "a StartTLS\n"] {
        let (said, end) = greeted(settings(), command);
        assert_eq!(said, GRANTED);
        assert!(is_start_tls(end.as_ref()), "{command:?}");
    }
}

#[test]
fn starttls_with_an_argument_is_bad() {
    for command in ["a STARTTLS now\r\n", "a STARTTLS {3}\r\n", "a STARTTLS \"\"\r\n"] {
        let (said, end) = greeted(settings(), command);
        assert!(said.starts_with("a BAD ") && end.is_none(), "{command}");
    }
    assert_eq!(greeted(settings(), "a STARTTLS {3+}\r\nfoo\r\n").0, "a BAD no literal is taken here\r\n");
}

#[test]
fn starttls_without_a_tag_is_bad() {
    let (said, end) = greeted(settings(), "* STARTTLS\r\n");
    assert_eq!((said.as_str(), end), ("* BAD a command begins with a tag\r\n", None));
}

#[test]
fn anything_behind_starttls_ends_the_session() {
    for injected in ["b LOGIN tim x\r\n", "b LOG", "\r\n", "\n", " ", "\0", "\x16\x03\x01\x02\0\x01"] {
        let (said, end) = greeted(settings(), format!("a STARTTLS\r\n{injected}"));
        assert_eq!((said.as_str(), end), (REFUSED, Some(Err(Violation::InjectedBeforeTls))), "{injected:?}");
    }
}

#[test]
fn an_injection_is_noticed_wherever_the_reads_are_cut() {
    let bytes = b"0 NOOP\r\na STARTTLS\r\nb CAPABILITY\r\n";
    let end_of_command = 20;
    for cut in 1..bytes.len() {
        let mut hall = Hall::new(settings());
        hall.read(&bytes[..cut]);
        hall.read(&bytes[cut..]);
        let said = hall.said();
        if cut == end_of_command {
            // The injected bytes come when nobody reads this dialogue any more: TLS gets them.
            assert!(is_start_tls(hall.end.as_ref()));
            assert!(hall.input.peek().is_empty());
            assert_eq!(said, format!("0 OK completed\r\n{GRANTED}"));
        } else {
            assert_eq!(hall.end, Some(Err(Violation::InjectedBeforeTls)), "cut at {cut}");
            assert_eq!(said, format!("0 OK completed\r\n{REFUSED}"));
        }
    }
}

#[test]
fn the_bytes_of_a_literal_start_no_tls() {
    let (said, end) = greeted(settings(), "a LOGIN {12+}\r\nb STARTTLS\r\n x\r\nc NOOP\r\n");
    assert_eq!(said, "a NO [PRIVACYREQUIRED] STARTTLS comes first\r\nc OK completed\r\n");
    assert_eq!(end, None);
}
