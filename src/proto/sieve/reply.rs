//! The backend's side of ManageSieve: where a reply ends, and what it says.
//!
//! Promises that a reply is looked at as a whole, literals included: any number of lines that begin with a
//! string, then one that begins with OK, NO or BYE (RFC 5804 §1.2, §4). Refuses what is neither, and what is longer
//! than [`LONGEST_REPLY`].

use super::syntax::{Token, token};
use crate::proto::line::{self, Line};
use crate::proto::literal;
use crate::proto::{LONGEST_REPLY, Violation};

/// A whole reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    /// The lines before the last, as they are.
    pub(super) list: Vec<&'a [u8]>,
    pub(super) status: Status,
    /// The last line, as it is.
    pub(super) last: &'a [u8],
    /// How many bytes of the input the reply takes up.
    pub(super) length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// `OK`.
    Positive,
    /// `NO`.
    Negative,
    /// `BYE`.
    Farewell,
}

/// One line of a reply, with the literals in it and its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// The line as it is.
    pub(super) bytes: &'a [u8],
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The line begins with a string: a capability or a challenge.
    Text,
    /// The line ends the reply.
    Status(Status),
}

/// The first line of a reply in `input`, `None` while it is incomplete.
pub(super) fn first_item(input: &[u8]) -> Result<Option<Item<'_>>, Violation> {
    let Some(length) = item_end(input)? else { return Ok(None) };
    let bytes = &input[..length];
    Ok(Some(Item { bytes, kind: kind(bytes).ok_or(Violation::Backend)? }))
}

/// The first reply in `input`, `None` while it is incomplete.
pub(super) fn first(input: &[u8]) -> Result<Option<Reply<'_>>, Violation> {
    let (mut list, mut at) = (Vec::new(), 0);
    while let Some(item) = first_item(&input[at..])? {
        at += item.bytes.len();
        match item.kind {
            Kind::Text => list.push(item.bytes),
            Kind::Status(status) => return Ok(Some(Reply { list, status, last: item.bytes, length: at })),
        }
        if at > LONGEST_REPLY {
            break;
        }
    }
    if input.len() > LONGEST_REPLY { Err(Violation::Backend) } else { Ok(None) }
}

/// Whether a refusal says that the backend wants TLS on its own leg (RFC 5804 §1.3).
pub(super) fn wants_tls(last: &[u8]) -> bool {
    has_code(last, b"(ENCRYPT-NEEDED")
}

/// Whether a refusal says that another time may be better (RFC 5804 §1.3).
pub(super) fn is_temporary(last: &[u8]) -> bool {
    has_code(last, b"(TRYLATER")
}

fn has_code(last: &[u8], name: &[u8]) -> bool {
    let mut rest = line::without_end(last);
    let (_status, code) = (token(&mut rest), token(&mut rest));
    matches!(code, Ok(Some(Token::Word(code))) if code.to_ascii_uppercase().starts_with(name))
}

/// How long the backend's greeting is: see [`crate::proto::greeting_end`].
///
/// # Errors
/// See there.
pub fn greeting_end(input: &[u8]) -> Result<Option<usize>, Violation> {
    Ok(first(input)?.map(|greeting| greeting.length))
}

/// Where the line at the front ends, behind the literals that it announces.
fn item_end(input: &[u8]) -> Result<Option<usize>, Violation> {
    let mut at = 0;
    while at < input.len() {
        let (text, length) = match line::first(&input[at..], LONGEST_REPLY) {
            Line::Whole { text, length } => (text, length),
            Line::Partial => break,
            Line::Bad { .. } | Line::Long { .. } | Line::Endless => return Err(Violation::Backend),
        };
        at += length;
        let Some(literal) = literal::announced(text) else { return Ok(Some(at)) };
        at = at.saturating_add(literal.size.unwrap_or(usize::MAX));
        if at > LONGEST_REPLY {
            return Err(Violation::Backend);
        }
    }
    Ok(None)
}

fn kind(item: &[u8]) -> Option<Kind> {
    let mut rest = line::without_end(item);
    match token(&mut rest).ok()?? {
        Token::Text(_) => Some(Kind::Text),
        Token::Word(word) => match word.to_ascii_uppercase().as_slice() {
            b"OK" => Some(Kind::Status(Status::Positive)),
            b"NO" => Some(Kind::Status(Status::Negative)),
            b"BYE" => Some(Kind::Status(Status::Farewell)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_with_its_status() {
        let input = b"\"SASL\" \"PLAIN\"\r\nOK \"done\"\r\nOK";
        let reply = first(input).unwrap().unwrap();
        assert_eq!(reply.list, [b"\"SASL\" \"PLAIN\"\r\n"]);
        assert_eq!((reply.status, reply.last), (Status::Positive, b"OK \"done\"\r\n".as_slice()));
        assert_eq!(reply.length, input.len() - 2);
    }

    #[test]
    fn what_looks_like_a_status_in_a_literal_is_none() {
        let input = b"{8}\r\nA\r\nOK\r\n \"x\"\r\nNO {4}\r\nOK\r\n\r\n";
        let reply = first(input).unwrap().unwrap();
        assert_eq!((reply.list.len(), reply.status, reply.length), (1, Status::Negative, input.len()));
        for cut in 0..input.len() {
            assert_eq!(first(&input[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn statuses_are_words_in_any_case() {
        assert_eq!(first(b"ok\r\n").unwrap().unwrap().status, Status::Positive);
        assert_eq!(first(b"Bye (TRYLATER)\n").unwrap().unwrap().status, Status::Farewell);
        assert_eq!(first(b"OKAY\r\n"), Err(Violation::Backend));
    }

    #[test]
    fn what_is_not_manage_sieve_is_refused() {
        for input in [b"220 smtp\r\n".as_slice(), b"\"open\r\n", b"\r\n", b"O\rK\r\n", b"OK \0\r\n", b"{65536}\r\n"] {
            assert_eq!(first(input), Err(Violation::Backend), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn a_greeting_is_bounded() {
        let line = b"\"X\" \"0123456789\"\r\n";
        assert_eq!(greeting_end(&line.repeat(100)), Ok(None));
        assert_eq!(greeting_end(&line.repeat(LONGEST_REPLY / line.len() + 1)), Err(Violation::Backend));
        assert_eq!(greeting_end(&[b'"'; LONGEST_REPLY + 2]), Err(Violation::Backend));
    }

    #[test]
    fn the_code_tells_that_tls_is_wanted() {
        assert!(wants_tls(b"NO (ENCRYPT-NEEDED) \"no\"\r\n"));
        assert!(!wants_tls(b"NO \"(ENCRYPT-NEEDED)\"\r\n"));
        assert!(!wants_tls(b"NO (AUTH-TOO-WEAK)\r\n"));
    }
}
