//! One command line: where it ends, and what may stand in it.
//!
//! Promises that mailward and the backend agree on where a command ends (spec §4.2): a line ends at LF, one CR
//! before it is dropped, and a NUL or a CR elsewhere makes it a bad line, which never goes on.

use memchr::{memchr, memchr2};

/// What the front of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line. `text` is without its end, `length` with it.
    Whole {
        /// The line without CRLF or LF.
        text: &'a [u8],
        /// How many bytes of the input it takes up.
        length: usize,
    },
    /// A whole line that holds NUL, or a CR that is not part of its end.
    Bad {
        /// How many bytes of the input it takes up.
        length: usize,
    },
    /// No line end yet, and the limit is not passed.
    Partial,
    /// A whole line longer than the limit.
    Long {
        /// How many bytes of the input it takes up.
        length: usize,
    },
    /// No line end yet, and already longer than the limit.
    Endless,
}

/// Looks at the first line of `input`, which may be `limit` bytes long without its end.
#[must_use]
pub fn first(input: &[u8], limit: usize) -> Line<'_> {
    let Some(end) = memchr(b'\n', input) else {
        // The CR of an end that is still to come does not count.
        return if input.len() > limit + 1 { Line::Endless } else { Line::Partial };
    };
    let length = end + 1;
    let text = &input[..end];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.len() > limit {
        Line::Long { length }
    } else if memchr2(b'\0', b'\r', text).is_some() {
        Line::Bad { length }
    } else {
        Line::Whole { text, length }
    }
}

/// The first word of a line and what follows its blanks.
#[must_use]
pub fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b' ', text) {
        Some(at) => (&text[..at], trim_start(&text[at..])),
        None => (text, b""),
    }
}

/// `text` without the blanks and tabs at its front.
#[must_use]
pub fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

/// `text` without the blanks and tabs at its end.
#[must_use]
pub fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[..text.len() - blanks]
}

/// Whether a line is an HTTP request or header line, as a browser led to a mail port sends them.
#[must_use]
pub fn is_http(text: &[u8]) -> bool {
    const METHODS: [&[u8]; 8] = [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH"];
    let (verb, rest) = word(text);
    METHODS.iter().any(|method| verb.eq_ignore_ascii_case(method))
        && (rest.starts_with(b"/") || memchr::memmem::find(rest, b"HTTP/").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_lf_and_loses_one_cr() {
        assert_eq!(first(b"NOOP\r\nQUIT\r\n", 10), Line::Whole { text: b"NOOP", length: 6 });
        assert_eq!(first(b"NOOP\nQUIT\r\n", 10), Line::Whole { text: b"NOOP", length: 5 });
        assert_eq!(first(b"\r\n", 10), Line::Whole { text: b"", length: 2 });
    }

    #[test]
    fn nul_and_a_lone_cr_make_a_line_bad() {
        assert_eq!(first(b"NO\0OP\r\n", 10), Line::Bad { length: 7 });
        assert_eq!(first(b"NOOP\rQUIT\r\n", 10), Line::Bad { length: 11 });
        assert_eq!(first(b"NOOP\r\r\n", 10), Line::Bad { length: 7 });
    }

    #[test]
    fn the_limit_counts_text_alone() {
        assert_eq!(first(b"1234\r\n", 4), Line::Whole { text: b"1234", length: 6 });
        assert_eq!(first(b"1234\r", 4), Line::Partial);
        assert_eq!(first(b"12345\r\n", 4), Line::Long { length: 7 });
        assert_eq!(first(b"123456", 4), Line::Endless);
    }

    #[test]
    fn http_is_told_from_mail() {
        assert!(is_http(b"GET / HTTP/1.1"));
        assert!(is_http(b"POST /x HTTP/1.1"));
        assert!(!is_http(b"HELP"));
        assert!(!is_http(b"DELETE 1"));
    }
}
