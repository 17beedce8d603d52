//! The client's ID command (RFC 2971), written anew without what a backend would believe of a proxy.
//!
//! Dovecot and others take the client's address from fields like `x-originating-ip` when the connection comes
//! from a trusted address, which mailward's is. No field that begins with `x-` passes.

use std::borrow::Cow;

use super::arguments::{Token, separated, tokens};
use super::command::Piece;

/// RFC 2971 §3.3: how many fields a client may send.
const MOST_FIELDS: usize = 30;
/// RFC 2971 §3.3: a field's name, in bytes.
const LONGEST_NAME: usize = 30;
/// RFC 2971 §3.3: a field's value, in bytes.
const LONGEST_VALUE: usize = 1024;

/// What stands behind `ID` in the command for the backend; `None` where the client's breaks the grammar.
pub(super) fn rebuild(pieces: &[Piece]) -> Option<Vec<u8>> {
    let tokens = tokens(pieces)?;
    let fields = match tokens.as_slice() {
        [Token::Atom(nil)] if nil.eq_ignore_ascii_case(b"NIL") => Vec::new(),
        [Token::Open, inner @ .., Token::Close] => fields(inner)?,
        _ => return None,
    };
    let kept: Vec<_> = fields.into_iter().filter_map(|(name, value)| written(&name, value.as_deref())).collect();
    if kept.is_empty() {
        return Some(b"NIL".to_vec());
    }
    Some([b"(", kept.join(&b' ').as_slice(), b")"].concat())
}

/// A field's name, and its value unless that is NIL.
type Field = (Vec<u8>, Option<Vec<u8>>);

fn fields(tokens: &[Token]) -> Option<Vec<Field>> {
    let words = separated(tokens)?;
    if words.len() % 2 != 0 || words.len() > 2 * MOST_FIELDS {
        return None;
    }
    words.chunks_exact(2).map(|pair| Some((string(&pair[0])?, nstring(&pair[1])?))).collect()
}

fn string(token: &Token) -> Option<Vec<u8>> {
    match token {
        Token::Quoted(_) | Token::Literal { .. } => token.value().map(Cow::into_owned),
        _ => None,
    }
}

fn nstring(token: &Token) -> Option<Option<Vec<u8>>> {
    match token {
        Token::Atom(nil) if nil.eq_ignore_ascii_case(b"NIL") => Some(None),
        token => string(token).map(Some),
    }
}

/// The field as the backend is sent it, if it is.
fn written(name: &[u8], value: Option<&[u8]>) -> Option<Vec<u8>> {
    let trimmed = name.trim_ascii();
    let reserved = trimmed.len() >= 2 && trimmed[..2].eq_ignore_ascii_case(b"x-");
    if reserved || name.len() > LONGEST_NAME || value.is_some_and(|value| value.len() > LONGEST_VALUE) {
        return None;
    }
    let value = match value {
        Some(value) => quote(value)?,
        None => b"NIL".to_vec(),
    };
    Some([quote(name)?.as_slice(), b" ", &value].concat())
}

/// `value` as a quoted string, if it can be one.
pub(super) fn quote(value: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = vec![b'"'];
    for &byte in value {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', byte]),
            b' '..=b'~' => quoted.push(byte),
            _ => return None,
        }
    }
    quoted.push(b'"');
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuilt(text: &str) -> Option<String> {
        rebuild(&[Piece::Text(text.as_bytes().to_vec())]).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn fields_pass_as_quoted_strings() {
        assert_eq!(rebuilt(r#"("name" "a\"b" "version" nil)"#).unwrap(), r#"("name" "a\"b" "version" NIL)"#);
        assert_eq!(rebuilt(r#"( "name"  "x" )"#).unwrap(), r#"("name" "x")"#);
        assert_eq!(rebuilt("nil").unwrap(), "NIL");
        assert_eq!(rebuilt("()").unwrap(), "NIL");
        assert_eq!(rebuilt("( )").unwrap(), "NIL");
    }

    #[test]
    fn a_literal_becomes_a_quoted_string_or_is_left_out() {
        let field = |value: &[u8]| {
            let value = Piece::Literal { bytes: value.to_vec(), plus: false };
            rebuild(&[Piece::Text(b"(\"a\" \"b\" \"os\" ".to_vec()), value, Piece::Text(b")".to_vec())]).unwrap()
        };
        assert_eq!(field(br#"q"\"#), br#"("a" "b" "os" "q\"\\")"#);
        assert_eq!(field(b"x\r\na2 ID (\"x-originating-ip\" \"::1\")"), br#"("a" "b")"#);
        assert_eq!(field(&[b'v'; LONGEST_VALUE + 1]), br#"("a" "b")"#);
    }

    #[test]
    fn what_a_backend_believes_of_a_proxy_is_taken_out() {
        assert_eq!(rebuilt(r#"("X-Originating-IP" "::1" "name" "x" "x-session-id" NIL)"#).unwrap(), r#"("name" "x")"#);
        assert_eq!(rebuilt(r#"("\x-originating-ip" "::1")"#).unwrap(), "NIL");
        assert_eq!(rebuilt(r#"(" x-originating-ip" "::1")"#).unwrap(), "NIL");
    }

    #[test]
    fn what_is_no_list_of_pairs_is_refused() {
        for bad in ["", "(", ")", "(\"a\")", "(\"a\" \"b\" )x", "((\"a\" \"b\"))", "(a \"b\")", "(\"a\" b)", "NIL NIL"]
        {
            assert_eq!(rebuilt(bad), None, "{bad}");
        }
        for bad in ["(\"a\"\"b\")", "(\"a\" (\"b\"))", "(NIL \"b\")", "\"a\" \"b\"", "(\"a\" \"b\" \"c\")"] {
            assert_eq!(rebuilt(bad), None, "{bad}");
        }
        assert_eq!(rebuilt(&"(".repeat(5000)), None);
    }

    #[test]
    fn thirty_fields_pass_and_one_more_does_not() {
        let list = |count| format!("({})", vec![r#""a" "b""#; count].join(" "));
        assert_eq!(rebuilt(&list(30)), Some(list(30)));
        assert_eq!(rebuilt(&list(31)), None);
    }
}
