//! The arguments of a command as tokens (RFC 9051 §9), which is stricter than most servers are: what the backend
//! is sent must mean the same to every one of them.

use std::borrow::Cow;

use super::command::Piece;

/// One token of a command's arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// One or more blanks.
    Space,
    /// `(`
    Open,
    /// `)`
    Close,
    /// A bare word.
    Atom(&'a [u8]),
    /// What stands between two quotes, still escaped.
    Quoted(&'a [u8]),
    /// A literal; `plus`: `{n+}`.
    Literal { bytes: &'a [u8], plus: bool },
}

impl<'a> Token<'a> {
    /// What an atom, a quoted string or a literal stands for.
    pub(super) fn value(&self) -> Option<Cow<'a, [u8]>> {
        match *self {
            Self::Atom(bytes) | Self::Literal { bytes, .. } => Some(Cow::Borrowed(bytes)),
            Self::Quoted(escaped) => Some(unescape(escaped)),
            Self::Space | Self::Open | Self::Close => None,
        }
    }
}

/// A backslash stands for the byte behind it.
fn unescape(escaped: &[u8]) -> Cow<'_, [u8]> {
    if !escaped.contains(&b'\\') {
        return Cow::Borrowed(escaped);
    }
    let mut value = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        value.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    Cow::Owned(value)
}

/// The tokens of a command's arguments, without blanks at the end; `None` where they break the grammar.
pub(super) fn tokens(pieces: &[Piece]) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => scan(text, &mut tokens)?,
            Piece::Literal { bytes, plus } => tokens.push(Token::Literal { bytes, plus: *plus }),
        }
    }
    if tokens.last() == Some(&Token::Space) {
        tokens.pop();
    }
    Some(tokens)
}

fn scan<'a>(mut text: &'a [u8], tokens: &mut Vec<Token<'a>>) -> Option<()> {
    while let Some(&first) = text.first() {
        let (token, length) = match first {
            b' ' => (Token::Space, text.iter().take_while(|byte| **byte == b' ').count()),
            b'(' => (Token::Open, 1),
            b')' => (Token::Close, 1),
            b'"' => quoted(text)?,
            _ => atom(text)?,
        };
        tokens.push(token);
        text = &text[length..];
    }
    Some(())
}

/// A quoted string at the front of `text`, and its length with both quotes.
fn quoted(text: &[u8]) -> Option<(Token<'_>, usize)> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some((Token::Quoted(&text[1..at]), at + 1)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A bare word at the front of `text`. Wider than the RFC's, because people log in by hand as `DOMAIN\name`, but
/// without anything that could begin another token, a brace among them.
fn atom(text: &[u8]) -> Option<(Token<'_>, usize)> {
    let length = text.iter().take_while(|byte| !matches!(byte, b' ' | b'(' | b')' | b'"')).count();
    let word = &text[..length];
    let good = !word.iter().any(|byte| *byte == b'{' || byte.is_ascii_control());
    good.then_some((Token::Atom(word), length))
}

/// The arguments where they are words and strings with blanks between them, and nothing else.
pub(super) fn strings(pieces: &[Piece]) -> Option<Vec<Token<'_>>> {
    let words = separated(&tokens(pieces)?)?;
    words.iter().all(|token| token.value().is_some()).then_some(words)
}

/// The tokens that stand between blanks; `None` where two of them touch.
pub(super) fn separated<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let tokens = tokens.strip_prefix(&[Token::Space]).unwrap_or(tokens);
    let tokens = tokens.strip_suffix(&[Token::Space]).unwrap_or(tokens);
    let apart = tokens.iter().skip(1).step_by(2).all(|token| *token == Token::Space);
    apart.then(|| tokens.iter().step_by(2).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &[u8]) -> Vec<Piece> {
        vec![Piece::Text(text.to_vec())]
    }

    fn values(pieces: &[Piece]) -> Option<Vec<Vec<u8>>> {
        Some(strings(pieces)?.iter().filter_map(Token::value).map(Cow::into_owned).collect())
    }

    #[test]
    fn words_and_strings_are_told_apart() {
        assert_eq!(values(&text(b"")), Some(vec![]));
        assert_eq!(values(&text(b"tim  pass  ")), Some(vec![b"tim".to_vec(), b"pass".to_vec()]));
        assert_eq!(
            values(&text(br#""a \"b\" \\c" DOM\tim"#)),
            Some(vec![b"a \"b\" \\c".to_vec(), b"DOM\\tim".to_vec()])
        );
    }

    #[test]
    fn a_literal_is_a_string_if_blanks_stand_around_it() {
        let literal = || Piece::Literal { bytes: b"a b".to_vec(), plus: true };
        let with = |before: &[u8], after: &[u8]| {
            values(&[Piece::Text(before.to_vec()), literal(), Piece::Text(after.to_vec())]).is_some()
        };
        assert!(with(b"", b" x"));
        assert!(with(b"x ", b""));
        assert!(!with(b"x", b""));
        assert!(!with(b"", b"x"));
        assert!(!with(b"\"", b"\""));
    }

    #[test]
    fn what_another_parser_could_read_otherwise_is_refused() {
        for bad in
            [&b"\"open"[..], b"\"open\\\"", b"\"a\"\"b\"", b"a\"b\"", b"(a)", b"a{3}", b"{3}x", b"a\tb", b"a\x7f"]
        {
            assert_eq!(values(&text(bad)), None, "{bad:?}");
        }
    }
}
