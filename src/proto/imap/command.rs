//! A command: its tag, its verb, its arguments (RFC 9051 §2.2.1, §9).
//!
//! A tag that breaks the grammar is never kept, so it can never be said back to anybody.

use crate::proto::line;

/// The longest tag that is accepted, in bytes. The RFC names no bound; clients use fewer than 20.
const LONGEST_TAG: usize = 128;

/// A tag that obeys the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(Vec<u8>);

impl Tag {
    /// The tag, unless it is empty, too long, or holds a byte that no tag may hold.
    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        let good = (1..=LONGEST_TAG).contains(&word.len()) && word.iter().copied().all(is_tag_byte);
        good.then(|| Self(word.to_vec()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// RFC 9051 §9: `tag = 1*<any ASTRING-CHAR except "+">`.
fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b'+')
}

/// What a command asks for, as far as it matters before login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Capability,
    Noop,
    Logout,
    Starttls,
    Login,
    Authenticate,
    /// RFC 2971.
    Id,
    /// RFC 5255 §3.2.
    Language,
    /// A command of IMAP or of a known extension that has no place before login.
    Later,
    /// Nothing that IMAP knows; vendors' `X` commands among them.
    Unknown,
}

/// The commands that a client may only give after login.
const LATER: &str = "\
    APPEND CANCELUPDATE CHECK CLOSE COMPARATOR COMPRESS CONTEXT CONVERSIONS CONVERT COPY CREATE DELETE \
    DELETEACL ENABLE ESEARCH EXAMINE EXPUNGE FETCH GENURLAUTH GETACL GETMETADATA GETQUOTA GETQUOTAROOT IDLE \
    LIST LISTRIGHTS LSUB MOVE MYRIGHTS NAMESPACE NOTIFY RENAME REPLACE RESETKEY SEARCH SELECT SETACL \
    SETMETADATA SETQUOTA SORT STATUS STORE SUBSCRIBE THREAD UID UNAUTHENTICATE UNSELECT UNSUBSCRIBE URLFETCH";

impl Verb {
    fn of(word: &[u8]) -> Self {
        match word.to_ascii_uppercase().as_slice() {
            b"CAPABILITY" => Self::Capability,
            b"NOOP" => Self::Noop,
            b"LOGOUT" => Self::Logout,
            b"STARTTLS" => Self::Starttls,
            b"LOGIN" => Self::Login,
            b"AUTHENTICATE" => Self::Authenticate,
            b"ID" => Self::Id,
            b"LANGUAGE" => Self::Language,
            word if LATER.split(' ').any(|later| later.as_bytes() == word) => Self::Later,
            _ => Self::Unknown,
        }
    }

    /// Whether only a backend can answer it, for which mailward wants TLS first.
    pub(super) fn is_for_the_backend(self) -> bool {
        matches!(self, Self::Login | Self::Authenticate | Self::Language | Self::Later)
    }
}

/// The first line of a command, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// `None`: the line does not begin with a tag.
    pub(super) tag: Option<Tag>,
    pub(super) verb: Verb,
    /// What follows the verb and its blanks.
    pub(super) arguments: &'a [u8],
}

impl<'a> Head<'a> {
    /// Takes the first line of a command apart; every line is one, if only a bad one.
    pub(super) fn parse(text: &'a [u8]) -> Self {
        let (tag, rest) = line::word(text);
        let (verb, arguments) = line::word(rest);
        Self { tag: Tag::parse(tag), verb: Verb::of(line::trim_end(verb)), arguments }
    }
}

/// A whole command. It may hold a password, so nothing here can be printed.
pub(super) struct Command {
    /// `None`: it did not begin with a tag, and [`Fault::Tag`] is its fault, if no other.
    pub(super) tag: Option<Tag>,
    pub(super) verb: Verb,
    /// What follows the verb; empty where there is a fault.
    pub(super) pieces: Vec<Piece>,
    /// Why it must not be obeyed.
    pub(super) fault: Option<Fault>,
}

/// A part of a command's arguments.
pub(super) enum Piece {
    /// Text of a line, without the announcement at its end.
    Text(Vec<u8>),
    /// A literal; `plus`: sent without waiting.
    Literal { bytes: Vec<u8>, plus: bool },
}

/// What is wrong with the form of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Tag,
    /// NUL, or CR elsewhere than before LF.
    Byte,
    Line,
    /// A literal where this command has none.
    Literal,
    /// `{n+}` without LITERAL+ or LITERAL- having been offered.
    Plus,
    /// `~{n}`, which no command before login has (RFC 3516).
    Binary,
    /// Over `limit.literal`.
    Size,
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Tag => "a command begins with a tag",
            Self::Byte => "a line may not hold NUL or a lone CR",
            Self::Line => "line too long",
            Self::Literal => "no literal is taken here",
            Self::Plus => "non-synchronizing literals are not offered",
            Self::Binary => "no binary literal is taken here",
            Self::Size => "literal too long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_at_its_blanks() {
        let head = Head::parse(b"a.1 login  tim \"x\"");
        assert_eq!(head.tag, Tag::parse(b"a.1"));
        assert_eq!(head.verb, Verb::Login);
        assert_eq!(head.arguments, b"tim \"x\"");
        assert_eq!(Head::parse(b"a1").verb, Verb::Unknown);
    }

    #[test]
    fn a_tag_holds_nothing_that_could_be_taken_for_something_else() {
        for good in [&b"a"[..], b"A001", b"1.2-3_x", b"]", &[b'a'; LONGEST_TAG]] {
            assert!(Tag::parse(good).is_some(), "{good:?}");
        }
        let too_long = [b'a'; LONGEST_TAG + 1];
        for bad in [&b""[..], b"*", b"+", b"a+", b"a*", b"a\x1b[0m", b"a\0", b"\xc3\xa4", b"a{3}", b"a\"", &too_long] {
            assert_eq!(Tag::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_verb_is_known_in_any_case_and_a_vendors_is_not() {
        assert_eq!(Verb::of(b"StartTLS"), Verb::Starttls);
        assert_eq!(Verb::of(b"select"), Verb::Later);
        assert_eq!(Verb::of(b"Unauthenticate"), Verb::Later);
        assert_eq!(Verb::of(b"XCLIENT"), Verb::Unknown);
        assert_eq!(Verb::of(b""), Verb::Unknown);
    }
}
