//! One line of the backend's, as far as a gateway has to understand it (RFC 9051 §7).

use memchr::memchr;

use crate::proto::line;

/// The longest line, and the longest literal, that a backend may send before login, in bytes.
pub(super) const LIMIT: usize = 64 * 1024;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response<'a> {
    /// `+ …`; Exchange sends `+` alone.
    Continue,
    /// `* BYE …`
    Bye,
    /// `* PREAUTH …`
    Preauth,
    /// `* OK …`, `* CAPABILITY …`: a line without literals.
    Line,
    /// `* …`, which may have literals.
    Data,
    /// The answer to a command.
    Tagged(Tagged<'a>),
}

/// The answer to a command, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tagged<'a> {
    pub(super) tag: &'a [u8],
    pub(super) status: Status,
    /// What follows the status and its blank.
    pub(super) text: &'a [u8],
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bad,
}

impl<'a> Response<'a> {
    /// Reads a line; `None`: it is nothing that IMAP knows.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        if text.starts_with(b"+") {
            return Some(Self::Continue);
        }
        let (tag, rest) = line::word(text);
        let (word, text) = line::word(rest);
        if tag == b"*" {
            return (!word.is_empty()).then(|| Self::untagged(word));
        }
        (!tag.is_empty()).then_some(())?;
        Some(Self::Tagged(Tagged { tag, status: status(word)?, text }))
    }

    fn untagged(word: &[u8]) -> Self {
        match word.to_ascii_uppercase().as_slice() {
            b"BYE" => Self::Bye,
            b"PREAUTH" => Self::Preauth,
            b"OK" | b"NO" | b"BAD" | b"CAPABILITY" => Self::Line,
            _ => Self::Data,
        }
    }
}

fn status(word: &[u8]) -> Option<Status> {
    match word.to_ascii_uppercase().as_slice() {
        b"OK" => Some(Status::Ok),
        b"NO" => Some(Status::No),
        b"BAD" => Some(Status::Bad),
        _ => None,
    }
}

/// The response code at the front of a status's text, as far as its name (RFC 9051 §7.1).
pub(super) fn has_code(text: &[u8], name: &[u8]) -> bool {
    code_arguments(text, name).is_some()
}

/// What follows `[NAME`, up to the end of the line.
fn code_arguments<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, arguments) = text.strip_prefix(b"[")?.split_at_checked(name.len())?;
    let ends = matches!(arguments.first(), None | Some(b' ' | b']'));
    (ends && found.eq_ignore_ascii_case(name)).then_some(arguments)
}

/// A line with a capability list, cut into what stands before the list, the list, and what stands behind it:
/// a CAPABILITY response, or a status with that response code.
pub(super) fn around_list(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (_, rest) = line::word(text);
    let (word, rest) = line::word(rest);
    let (from, length) = match word.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => (rest, rest.len()),
        b"OK" | b"NO" | b"BAD" | b"BYE" => {
            let from = code_arguments(rest, b"CAPABILITY")?;
            (from, memchr(b']', from).unwrap_or(from.len()))
        }
        _ => return None,
    };
    let (before, from) = text.split_at(text.len() - from.len());
    let (list, after) = from.split_at(length);
    Some((line::trim_end(before), list, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(Response::parse(b"+"), Some(Response::Continue));
        assert_eq!(Response::parse(b"+ idling"), Some(Response::Continue));
        assert_eq!(Response::parse(b"* bye x"), Some(Response::Bye));
        assert_eq!(Response::parse(b"* PREAUTH"), Some(Response::Preauth));
        assert_eq!(Response::parse(b"* OK {3}"), Some(Response::Line));
        assert_eq!(Response::parse(b"* CAPABILITY A {3}"), Some(Response::Line));
        assert_eq!(Response::parse(b"* ID NIL"), Some(Response::Data));
        let tagged = Response::Tagged(Tagged { tag: b"a1", status: Status::No, text: b"[X] y" });
        assert_eq!(Response::parse(b"a1 no [X] y"), Some(tagged));
    }

    #[test]
    fn what_is_no_response_is_none() {
        for bad in [&b""[..], b"*", b"* ", b"a1", b"a1 DONE", b" OK x", b"*OK"] {
            assert_eq!(Response::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_list_is_found_wherever_it_can_stand() {
        let around = |text: &str| {
            let (before, list, after) = around_list(text.as_bytes())?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            Some((text(before), text(list), text(after)))
        };
        let expect = |before: &str, list: &str, after: &str| Some((before.into(), list.into(), after.into()));
        assert_eq!(around("* CAPABILITY A B"), expect("* CAPABILITY", "A B", ""));
        assert_eq!(around("*  capability  A"), expect("*  capability", "A", ""));
        assert_eq!(around("* OK [Capability A B] hi [x]"), expect("* OK [Capability", " A B", "] hi [x]"));
        assert_eq!(around("a1 OK [CAPABILITY A"), expect("a1 OK [CAPABILITY", " A", ""));
        assert_eq!(around("a1 NO [CAPABILITY] x"), expect("a1 NO [CAPABILITY", "", "] x"));
        for none in ["* OK hi", "* OK [CAPABILITYX A]", "* OK x [CAPABILITY A]", "* ID NIL", "*"] {
            assert_eq!(around(none), None, "{none}");
        }
    }

    #[test]
    fn a_code_is_compared_as_a_whole() {
        assert!(has_code(b"[privacyrequired] x", b"PRIVACYREQUIRED"));
        assert!(!has_code(b"[PRIVACYREQUIREDX] x", b"PRIVACYREQUIRED"));
        assert!(!has_code(b"PRIVACYREQUIRED", b"PRIVACYREQUIRED"));
    }
}
