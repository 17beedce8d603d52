//! One command line: where it ends, and what may stand in it.
//!
//! Promises that mailward and the backend agree on where a command ends (spec §4.2): a line ends at LF, one CR
//! before it is dropped, and a NUL or a CR elsewhere makes it a bad line, which never goes on.

use memchr::{memchr, memchr2};

/// Reads lines one at a time, and throws the rest of one that is too long away as it arrives, so that the
/// session stays in step without holding it.
#[derive(Debug, Default)]
pub struct Reader {
    /// How much of a line that is too long is thrown away already.
    skipped: usize,
}

/// What [`Reader::read`] makes of the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// See [`Line::Whole`].
    Whole {
        /// The line without CRLF or LF.
        text: &'a [u8],
        /// How many bytes of the input it takes up.
        length: usize,
    },
    /// See [`Line::Bad`].
    Bad {
        /// How many bytes of the input it takes up.
        length: usize,
    },
    /// See [`Line::Partial`].
    Partial,
    /// Bytes of a line that is too long and has not ended yet: they are to be thrown away.
    Skipped {
        /// How many bytes of the input.
        length: usize,
    },
    /// The last bytes of a line that was too long: it can be refused now.
    Long {
        /// How many bytes of the input.
        length: usize,
    },
    /// More would have to be thrown away than is permitted.
    Endless,
}

impl Reader {
    /// Looks at the front of `input`: a line may be `limit` bytes long without its end, and one that is longer
    /// is thrown away if it is no more than `bound` bytes with its end.
    pub fn read<'a>(&mut self, input: &'a [u8], limit: usize, bound: usize) -> Read<'a> {
        // Of nothing, nothing can be thrown away.
        if self.skipped > 0 && !input.is_empty() {
            return self.skip(input, bound);
        }
        match first(input, limit) {
            Line::Whole { text, length } => Read::Whole { text, length },
            Line::Bad { length } => Read::Bad { length },
            Line::Partial => Read::Partial,
            Line::Long { .. } | Line::Endless => self.skip(input, bound),
        }
    }

    fn skip<'a>(&mut self, input: &'a [u8], bound: usize) -> Read<'a> {
        let end = memchr(b'\n', input).map(|at| at + 1);
        let length = end.unwrap_or(input.len());
        self.skipped = self.skipped.saturating_add(length);
        if self.skipped > bound {
            Read::Endless
        } else if end.is_some() {
            self.skipped = 0;
            Read::Long { length }
        } else {
            Read::Skipped { length }
        }
    }
}

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
        return if input.len() > limit.saturating_add(1) { Line::Endless } else { Line::Partial };
    };
    let length = end + 1;
    let text = without_end(&input[..length]);
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

/// `line` without the LF at its end and one CR before it.
#[must_use]
pub fn without_end(line: &[u8]) -> &[u8] {
    let Some(text) = line.strip_suffix(b"\n") else { return line };
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Writes a line and its CRLF.
pub fn write(text: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(text);
    output.extend_from_slice(b"\r\n");
}

/// Whether a line holds a control character other than a tab: no mail command needs one.
#[must_use]
pub fn has_control(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// Whether a line is an HTTP request line, with which a browser led to a mail port begins.
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

    /// What comes of `bytes` when they arrive in pieces of `size`, and what is not used up is shown again.
    fn outcomes(bytes: &[u8], size: usize) -> Vec<String> {
        let (mut reader, mut held, mut seen) = (Reader::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            held.extend_from_slice(piece);
            while !held.is_empty() {
                let (word, used) = match reader.read(&held, 4, 64) {
                    Read::Whole { text, length } => (String::from_utf8_lossy(text).into_owned(), length),
                    Read::Bad { length } => ("bad".into(), length),
                    Read::Long { length } => ("long".into(), length),
                    Read::Skipped { length } => (String::new(), length),
                    Read::Partial => break,
                    Read::Endless => {
                        seen.push("endless".into());
                        return seen;
                    }
                };
                held.drain(..used);
                seen.extend(Some(word).filter(|word| !word.is_empty()));
            }
        }
        seen
    }

    #[test]
    fn what_is_read_does_not_depend_on_how_the_bytes_arrive() {
        let input =
            [b"NOOP\r\n12345\r\nA\0B\nRSET\n".as_slice(), &[b'x'; 60], b"\r\nQUIT\r\n", &[b'y'; 70], b"\r\n"].concat();
        let expected = ["NOOP", "long", "bad", "RSET", "long", "QUIT", "endless"];
        for size in 1..=input.len() {
            assert_eq!(outcomes(&input, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn nothing_is_thrown_away_of_nothing() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(b"1234567", 4, 20), Read::Skipped { length: 7 });
        assert_eq!(reader.read(b"", 4, 20), Read::Partial);
        assert_eq!(reader.read(b"8\n", 4, 20), Read::Long { length: 2 });
    }

    #[test]
    fn an_endless_line_is_not_read_for_ever() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(b"123456", 4, 12), Read::Skipped { length: 6 });
        assert_eq!(reader.read(b"123456", 4, 12), Read::Skipped { length: 6 });
        assert_eq!(reader.read(b"\n", 4, 12), Read::Endless);
        assert_eq!(Reader::default().read(b"123456789012\n", 4, 12), Read::Endless);
    }

    #[test]
    fn tabs_are_the_only_controls_that_pass() {
        assert!(!has_control(b"PASS a\tb \xc3\xa4"));
        assert!(has_control(b"USER \x1b[0m"));
        assert!(has_control(b"USER a\x7f"));
    }

    #[test]
    fn http_is_told_from_mail() {
        assert!(is_http(b"GET / HTTP/1.1"));
        assert!(is_http(b"POST /x HTTP/1.1"));
        assert!(!is_http(b"HELP"));
        assert!(!is_http(b"DELETE 1"));
    }
}
