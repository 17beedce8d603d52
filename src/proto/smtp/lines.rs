//! Command lines, one after the other, with over-long ones swallowed in bounded memory.
//!
//! Promises the same answer however the bytes were split into reads: a line beyond the limit is refused once, when
//! its end has come, and a line beyond [`SWALLOWED`] limits ends the session.

use memchr::memchr;

use crate::proto::line::{self, Line};

/// How many times its limit a line may be long before it is taken for an attack.
const SWALLOWED: usize = 16;

/// What the front of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line without NUL and lone CR. `length` is with its end.
    Whole { text: &'a [u8], length: usize },
    /// The end, of this length, of a line that is too long or holds what cannot stand in one.
    Refused { length: usize },
    /// Some bytes (at least one) of an over-long line, to be thrown away.
    Swallowed { length: usize },
    /// No line end yet.
    Partial,
    /// A line without an end in sight.
    Endless,
}

/// The lines of one peer.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How much more of the over-long line that is being swallowed there may be.
    patience: Option<usize>,
}

impl Lines {
    /// Looks at the front of `input`; what it calls swallowed must be used up.
    pub(super) fn next<'a>(&mut self, input: &'a [u8], limit: usize) -> Next<'a> {
        if input.is_empty() {
            return Next::Partial;
        }
        if let Some(patience) = self.patience {
            return self.swallow(input, patience);
        }
        match line::first(input, limit) {
            Line::Whole { text, length } => Next::Whole { text, length },
            Line::Bad { length } => Next::Refused { length },
            Line::Partial => Next::Partial,
            Line::Long { .. } | Line::Endless => self.swallow(input, limit.saturating_mul(SWALLOWED)),
        }
    }

    fn swallow<'a>(&mut self, input: &[u8], patience: usize) -> Next<'a> {
        let end = memchr(b'\n', input);
        let length = end.map_or(input.len(), |end| end + 1);
        self.patience = patience.checked_sub(length).filter(|_| end.is_none());
        match end {
            _ if length > patience => Next::Endless,
            None => Next::Swallowed { length },
            Some(_) => Next::Refused { length },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `bytes` when they arrive in pieces of `size`, driven as a filter drives it.
    fn outcomes(bytes: &[u8], size: usize) -> Vec<String> {
        let (mut lines, mut held, mut seen) = (Lines::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            held.extend_from_slice(piece);
            while !held.is_empty() {
                let used = match lines.next(&held, 4) {
                    Next::Whole { text, length } => {
                        seen.push(String::from_utf8_lossy(text).into_owned());
                        length
                    }
                    Next::Refused { length } => {
                        seen.push("refused".into());
                        length
                    }
                    Next::Swallowed { length } => length,
                    Next::Partial => break,
                    Next::Endless => {
                        seen.push("endless".into());
                        return seen;
                    }
                };
                held.drain(..used);
            }
        }
        seen
    }

    #[test]
    fn nothing_is_swallowed_of_nothing() {
        let mut lines = Lines::default();
        assert_eq!(lines.next(b"1234567", 4), Next::Swallowed { length: 7 });
        assert_eq!(lines.next(b"", 4), Next::Partial);
        assert_eq!(lines.next(b"8\n", 4), Next::Refused { length: 2 });
    }

    #[test]
    fn the_answer_does_not_depend_on_how_the_bytes_were_split() {
        let input =
            [b"NOOP\r\n12345\r\nRSET\n".as_slice(), &[b'x'; 60], b"\r\nQUIT\r\n", &[b'y'; 70], b"\r\n"].concat();
        let expected = ["NOOP", "refused", "RSET", "refused", "QUIT", "endless"];
        for size in 1..=input.len() {
            assert_eq!(outcomes(&input, size), expected, "pieces of {size}");
        }
    }
}
