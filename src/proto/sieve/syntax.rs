//! The words and strings of a ManageSieve line (RFC 5804 §4), on both sides.
//!
//! Promises that a string ends where the grammar says: a quoted one at its first unescaped quote and before any
//! line end, a literal after as many octets as it announced. Whatever is neither is no token at all.

use crate::proto::line;
use crate::proto::literal::announced;

/// A string or a bare word of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An atom, a number, a parenthesis: whatever is not a string.
    Word(&'a [u8]),
    /// What a string says.
    Text(Vec<u8>),
}

/// A string without an end, or one that holds what it must not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes the first token off the front of `rest`; `None` if nothing but blanks is left.
///
/// A literal may be announced with `+` or without, since the direction is the caller's to know.
pub(super) fn token<'a>(rest: &mut &'a [u8]) -> Result<Option<Token<'a>>, Malformed> {
    *rest = line::trim_start(rest);
    match rest.first() {
        None => Ok(None),
        Some(b'"') => quoted(rest).map(|text| Some(Token::Text(text))),
        Some(b'{') => literal(rest).map(|text| Some(Token::Text(text))),
        Some(_) => Ok(Some(Token::Word(word(rest)))),
    }
}

/// A command's name in upper case, and what stands behind it.
pub(super) fn verb(mut command: &[u8]) -> (Vec<u8>, &[u8]) {
    let verb = word(&mut command).to_ascii_uppercase();
    (verb, command)
}

/// The strings that `rest` consists of, at most `most`.
pub(super) fn strings(mut rest: &[u8], most: usize) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut strings = Vec::new();
    while let Some(token) = token(&mut rest)? {
        match token {
            Token::Text(text) if strings.len() < most => strings.push(text),
            _ => return Err(Malformed),
        }
    }
    Ok(strings)
}

fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    *rest = behind;
    word
}

fn quoted(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut text = Vec::new();
    let mut bytes = rest.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                *rest = &rest[at + 1..];
                return Ok(text);
            }
            b'\r' | b'\n' | b'\0' => break,
            // RFC 5804 §4: only a quote and a backslash can be escaped; others are taken as they are.
            b'\\' => match bytes.next() {
                Some((_, byte)) if !matches!(byte, b'\r' | b'\n' | b'\0') => text.push(*byte),
                _ => break,
            },
            byte => text.push(*byte),
        }
    }
    Err(Malformed)
}

fn literal(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Malformed)?;
    let line = line::without_end(&rest[..=end]);
    // The reader counts by the end of a line; here the whole of it must be the announcement, so that no server can
    // read another length.
    let announced = announced(line).filter(|literal| literal.length == line.len());
    let length = announced.and_then(|literal| literal.size).ok_or(Malformed)?;
    let text = rest[end + 1..].get(..length).ok_or(Malformed)?.to_vec();
    *rest = &rest[end + 1 + length..];
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        strings(line, usize::MAX)
    }

    #[test]
    fn escapes_stand_for_the_byte_behind_them() {
        assert_eq!(all(br#""a\"b" "c\\" "\d""#), Ok(vec![b"a\"b".to_vec(), b"c\\".to_vec(), b"d".to_vec()]));
    }

    #[test]
    fn an_escaped_quote_does_not_end_a_string() {
        assert_eq!(all(br#""a\""#), Err(Malformed));
        assert_eq!(all(br#""a\\""#), Ok(vec![b"a\\".to_vec()]));
        assert_eq!(all(br#""a\"#), Err(Malformed));
    }

    #[test]
    fn no_line_end_stands_in_a_quoted_string() {
        assert_eq!(all(b"\"a\r\nb\""), Err(Malformed));
        assert_eq!(all(b"\"a\\\r\nb\""), Err(Malformed));
        assert_eq!(all(b"\"a\0b\""), Err(Malformed));
    }

    #[test]
    fn a_literal_is_as_long_as_it_says() {
        assert_eq!(all(b"{3+}\r\na\"b \"c\""), Ok(vec![b"a\"b".to_vec(), b"c".to_vec()]));
        assert_eq!(all(b"{0}\r\n"), Ok(vec![Vec::new()]));
        assert_eq!(all(b"{4+}\r\nabc"), Err(Malformed));
        assert_eq!(all(b"{99999999999999999999999+}\r\nabc"), Err(Malformed));
        assert_eq!(all(b"{3 }\r\nabc"), Err(Malformed));
        assert_eq!(all(b"{junk{3+}\r\nabc"), Err(Malformed));
        assert_eq!(all(b"{3+}\r\na \t \t"), Ok(vec![b"a \t".to_vec()]));
    }

    #[test]
    fn words_are_not_strings() {
        assert_eq!(all(b"\"a\" b"), Err(Malformed));
        assert_eq!(strings(b"\"a\" \"b\"", 1), Err(Malformed));
        let mut rest: &[u8] = b"OK (TAG";
        assert_eq!(token(&mut rest), Ok(Some(Token::Word(b"OK"))));
        assert_eq!(token(&mut rest), Ok(Some(Token::Word(b"(TAG"))));
        assert_eq!(token(&mut rest), Ok(None));
    }
}
