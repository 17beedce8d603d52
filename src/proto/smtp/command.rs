//! A command line taken apart (RFC 5321 §4.1.1).
//!
//! Refuses control bytes, and a verb that is anything but letters, digits and hyphens up to the first blank: what one
//! server might still take for a command and another not, never goes on.

use crate::proto::{Limits, line};

/// The commands that this program knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    Auth,
    StartTls,
    Other,
}

impl Verb {
    const KNOWN: [(&'static [u8], Self); 15] = [
        (b"EHLO", Self::Ehlo),
        (b"HELO", Self::Helo),
        (b"LHLO", Self::Lhlo),
        (b"MAIL", Self::Mail),
        (b"RCPT", Self::Rcpt),
        (b"DATA", Self::Data),
        (b"BDAT", Self::Bdat),
        (b"RSET", Self::Rset),
        (b"NOOP", Self::Noop),
        (b"QUIT", Self::Quit),
        (b"VRFY", Self::Vrfy),
        (b"EXPN", Self::Expn),
        (b"HELP", Self::Help),
        (b"AUTH", Self::Auth),
        (b"STARTTLS", Self::StartTls),
    ];

    fn named(word: &[u8]) -> Self {
        Self::KNOWN.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map_or(Self::Other, |(_, verb)| *verb)
    }
}

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// Which it is.
    pub(super) verb: Verb,
    /// The verb as it was written.
    pub(super) word: &'a [u8],
    /// What follows it, without the blanks around.
    pub(super) argument: &'a [u8],
}

impl<'a> Command<'a> {
    /// Takes a line apart; `None` where it is no command.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        if text.iter().any(u8::is_ascii_control) {
            return None;
        }
        let (word, rest) = line::word(text);
        let sane = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        sane.then(|| Self { verb: Verb::named(word), word, argument: line::trim_end(rest) })
    }
}

/// How long the line at the front of `input` may be.
pub(super) fn limit(input: &[u8], limits: &Limits) -> usize {
    // RFC 4954 §4: an initial response is as long as any other line of the exchange.
    let authenticates = input.get(..5).is_some_and(|front| front.eq_ignore_ascii_case(b"AUTH "));
    if authenticates { limits.line.max(limits.auth) } else { limits.line }
}

/// How long a line may be that is thrown away because it is too long, before it is taken for an attack.
pub(super) fn bound(limits: &Limits) -> usize {
    limits.line.saturating_mul(16).max(limits.auth)
}

/// What follows `FROM:` or `TO:` in the argument of MAIL or RCPT, without blanks in front.
pub(super) fn behind_keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = argument.split_at_checked(keyword.len())?;
    front.eq_ignore_ascii_case(keyword).then(|| line::trim_start(rest))
}

/// Whether `name` can be what a client calls itself: one word. What it means is the backend's to judge.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_known_in_any_case() {
        let command = Command::parse(b"starttls  ").unwrap();
        assert_eq!((command.verb, command.argument), (Verb::StartTls, b"".as_slice()));
        let command = Command::parse(b"RCPT   TO:<a@b> ").unwrap();
        assert_eq!((command.verb, command.argument), (Verb::Rcpt, b"TO:<a@b>".as_slice()));
        assert_eq!(Command::parse(b"XCLIENT ADDR=1.2.3.4").unwrap().verb, Verb::Other);
        assert_eq!(Command::parse(b"RCPTX TO:<a@b>").unwrap().verb, Verb::Other);
    }

    #[test]
    fn what_only_looks_like_a_command_is_none() {
        for text in ["", " RCPT TO:<a@b>", "RCPT\tTO:<a@b>", "RCPT:TO:<a@b>", "NOOP \x1b[2J", "N\u{f6}OP", "\x7f"] {
            assert_eq!(Command::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn keywords_stand_directly_before_their_colon() {
        assert_eq!(behind_keyword(b"to: <a@b>", b"TO:"), Some(b"<a@b>".as_slice()));
        assert_eq!(behind_keyword(b"TO :<a@b>", b"TO:"), None);
        assert_eq!(behind_keyword(b"T", b"TO:"), None);
    }

    #[test]
    fn only_a_sasl_line_may_be_longer() {
        let limits = Limits { line: 10, auth: 30, literal: 0, commands: 0, errors: 0, discard: 0 };
        assert_eq!(limit(b"auth PLAIN", &limits), 30);
        assert_eq!(limit(b"AUTHX", &limits), 10);
        assert_eq!(limit(b"MAIL", &limits), 10);
    }
}
