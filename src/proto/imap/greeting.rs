//! The backend's greeting: one line, `* OK`, `* BYE` or `* PREAUTH` (RFC 9051 §7.1).

use super::response::{LIMIT, Response};
use crate::proto::Violation;
use crate::proto::line::{self, Line};

/// How long the backend's greeting is: see [`crate::proto::greeting_end`].
///
/// # Errors
/// See there.
pub fn greeting_end(input: &[u8]) -> Result<Option<usize>, Violation> {
    match line::first(input, LIMIT) {
        Line::Partial if b"* ".iter().zip(input).all(|(expected, byte)| expected == byte) => Ok(None),
        Line::Whole { text, length } if is_greeting(text) => Ok(Some(length)),
        _ => Err(Violation::Backend),
    }
}

fn is_greeting(text: &[u8]) -> bool {
    let ok = line::word(line::word(text).1).0.eq_ignore_ascii_case(b"OK");
    match Response::parse(text) {
        Some(Response::Bye | Response::Preauth) => true,
        Some(Response::Line) => ok,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_one_line() {
        assert_eq!(greeting_end(b"* OK hi\r\n* BYE\r\n"), Ok(Some(9)));
        assert_eq!(greeting_end(b"* ok\n"), Ok(Some(5)));
        assert_eq!(greeting_end(b"* BYE no\r\n"), Ok(Some(10)));
        assert_eq!(greeting_end(b"* PREAUTH x\r\n"), Ok(Some(13)));
        for partial in [&b""[..], b"*", b"* ", b"* OK hi", b"* OK hi\r"] {
            assert_eq!(greeting_end(partial), Ok(None), "{partial:?}");
        }
    }

    #[test]
    fn another_protocols_greeting_is_none() {
        for bad in [&b"2"[..], b"+OK\r\n", b"*x", b"* NO x\r\n", b"* CAPABILITY A\r\n", b"a OK\r\n", b"* OK \0\r\n"] {
            assert_eq!(greeting_end(bad), Err(Violation::Backend), "{bad:?}");
        }
        let endless = [b"* OK ".as_slice(), &vec![b'x'; LIMIT]].concat();
        assert_eq!(greeting_end(&endless), Err(Violation::Backend));
    }
}
