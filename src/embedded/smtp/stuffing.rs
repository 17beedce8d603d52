//! The body of DATA without its dot stuffing (RFC 5321 §4.5.2).
//!
//! Promises that CRLF.CRLF alone ends it: a bare CR or LF begins no line, so nothing between can be taken for an
//! end. What comes out is what the client had before it stuffed it, whatever the pieces it arrives in.

use memchr::memchr;

/// Reads a body piece by piece.
#[derive(Debug, Default)]
pub(super) struct Unstuffing(State);

/// What the bytes so far end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    LineStart,
    Text,
    Cr,
    Dot,
    DotCr,
    End,
}

impl Unstuffing {
    /// Appends to `output` what `input` holds of the body. Says how much of `input` belongs to it, and whether
    /// this was the end.
    pub(super) fn feed(&mut self, input: &[u8], output: &mut Vec<u8>) -> (usize, bool) {
        let mut used = 0;
        while self.0 != State::End && used < input.len() {
            let rest = &input[used..];
            let run = if self.0 == State::Text { memchr(b'\r', rest).unwrap_or(rest.len()) } else { 0 };
            output.extend_from_slice(&rest[..run]);
            used += run;
            if let Some(&byte) = rest.get(run) {
                self.step(byte, output);
                used += 1;
            }
        }
        (used, self.0 == State::End)
    }

    fn step(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.0 = match (self.0, byte) {
            (State::LineStart, b'.') => State::Dot,
            (State::Dot, b'\r') => State::DotCr,
            (State::DotCr, b'\n') => State::End,
            (before, byte) => {
                if before == State::DotCr {
                    output.push(b'\r');
                }
                output.push(byte);
                match (before, byte) {
                    (_, b'\r') => State::Cr,
                    (State::Cr, b'\n') => State::LineStart,
                    _ => State::Text,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, however the input is cut in two, and what is left over.
    fn unstuffed(input: &[u8]) -> (Vec<u8>, Vec<u8>, bool) {
        let mut results: Vec<_> = (0..=input.len()).map(|cut| cut_at(input, cut)).collect();
        results.dedup();
        assert_eq!(results.len(), 1, "the same at every cut");
        results.remove(0)
    }

    fn cut_at(input: &[u8], cut: usize) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut unstuffing, mut output) = (Unstuffing::default(), Vec::new());
        let (first, _) = unstuffing.feed(&input[..cut], &mut output);
        let (second, end) = unstuffing.feed(&input[first..], &mut output);
        (output, input[first + second..].to_vec(), end)
    }

    #[test]
    fn only_a_dot_alone_between_crlfs_ends_a_body() {
        let ended = |body: &[u8], rest: &[u8]| (body.to_vec(), rest.to_vec(), true);
        let open = |body: &[u8]| (body.to_vec(), Vec::new(), false);
        assert_eq!(unstuffed(b".\r\nQUIT\r\n"), ended(b"", b"QUIT\r\n"));
        assert_eq!(unstuffed(b"a\r\n.\r\n"), ended(b"a\r\n", b""));
        assert_eq!(unstuffed(b"a\n.\n"), open(b"a\n.\n"));
        assert_eq!(unstuffed(b"a\n.\r\n"), open(b"a\n.\r\n"));
        assert_eq!(unstuffed(b"a\r.\r\n"), open(b"a\r.\r\n"));
        assert_eq!(unstuffed(b"a\r\n.\n"), open(b"a\r\n\n"));
        assert_eq!(unstuffed(b"a\r\n.\rb"), open(b"a\r\n\rb"));
        assert_eq!(unstuffed(b"a\r\n.\r\r\n.\r\n"), ended(b"a\r\n\r\r\n", b""));
    }

    #[test]
    fn one_dot_is_taken_from_the_front_of_a_line() {
        assert_eq!(unstuffed(b"..\r\n...a\r\nb.\r\n.\r\n").0, b".\r\n..a\r\nb.\r\n");
        assert_eq!(unstuffed(b"\r\n\r\n..\r\n.\r\n").0, b"\r\n\r\n.\r\n");
    }
}
