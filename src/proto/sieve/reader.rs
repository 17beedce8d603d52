//! The client's side of ManageSieve: where a command ends.
//!
//! A command is a line, or several with literals between them (`{n+}`, RFC 5804 §4). Promises that the octets of
//! a literal are counted and never taken for a command, whatever becomes of the command they belong to, and that
//! mailward and the backend agree on where a command ends. Refuses NUL, CR and other control characters outside
//! literals, and `{n}`, which only servers may send.

use crate::proto::Violation;
use crate::proto::line;
use crate::proto::literal::{self, Announcement};

/// How much of a line that is too long is kept, to see whether it announces a literal: that, and CRLF.
const TAIL: usize = literal::LONGEST + 2;

/// The bounds of one command, all in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Its lines together, without line ends and literals.
    pub(super) line: usize,
    /// Its literals together.
    pub(super) literal: usize,
    /// What is kept of it; a longer one can only be refused.
    pub(super) kept: usize,
    /// Its lines together, where they are thrown away because they are too long.
    pub(super) discarded: usize,
}

/// Takes up the client's bytes until a command is complete.
#[derive(Debug, Default)]
pub(super) struct Reader {
    lines: line::Reader,
    command: Command,
    /// How many octets of a literal are still to come.
    left: usize,
    tail: Vec<u8>,
}

/// What is there of a command.
#[derive(Debug, Default)]
struct Command {
    /// Its lines and literals, with CRLF between them but not behind the last.
    bytes: Vec<u8>,
    /// The lines' bytes so far.
    line: usize,
    /// The literals' bytes so far.
    literal: usize,
    flawed: bool,
}

/// What [`Reader::read`] makes of the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// More bytes are needed; nothing was taken up.
    Partial,
    /// So many bytes were taken up, and the command goes on.
    Taken(usize),
    /// So many bytes were taken up, and this command, without its last line end, is complete.
    Whole(usize, Vec<u8>),
    /// So many bytes were taken up, and a command is complete that cannot be understood or is too long.
    Flawed(usize),
    /// A bound was passed from which there is no way back into step.
    Over(Violation),
}

impl Reader {
    /// Whether the next byte is the first one of a command.
    pub(super) fn is_fresh(&self) -> bool {
        self.command.bytes.is_empty() && !self.command.flawed && self.left == 0
    }

    /// What is there of a command that is not complete; nothing if it is flawed.
    pub(super) fn command(&self) -> &[u8] {
        &self.command.bytes
    }

    /// Looks at the front of `input`, which is not empty.
    pub(super) fn read(&mut self, input: &[u8], bounds: &Bounds) -> Read {
        if self.left > 0 {
            return self.read_literal(input, bounds);
        }
        let limit = bounds.line.saturating_sub(self.command.line);
        match self.lines.read(input, limit, bounds.discarded) {
            line::Read::Partial => Read::Partial,
            line::Read::Endless => Read::Over(Violation::LineTooLong),
            line::Read::Skipped { length } => {
                self.skip(&input[..length]);
                Read::Taken(length)
            }
            line::Read::Long { length } => {
                self.skip(&input[..length]);
                let tail = std::mem::take(&mut self.tail);
                self.end_line(line::without_end(&tail), length, bounds)
            }
            line::Read::Bad { length } => {
                self.command.flawed = true;
                self.command.line += length;
                self.end_line(line::without_end(&input[..length]), length, bounds)
            }
            line::Read::Whole { text, length } => {
                self.command.flawed |= line::has_control(text);
                self.command.line += text.len();
                self.command.keep(text, bounds);
                self.end_line(text, length, bounds)
            }
        }
    }

    fn read_literal(&mut self, input: &[u8], bounds: &Bounds) -> Read {
        let length = self.left.min(input.len());
        self.left -= length;
        self.command.keep(&input[..length], bounds);
        Read::Taken(length)
    }

    /// Goes on behind a line: with the literal that it announces, or with the next command.
    fn end_line(&mut self, text: &[u8], length: usize, bounds: &Bounds) -> Read {
        if self.command.line > bounds.discarded {
            return Read::Over(Violation::LineTooLong);
        }
        match literal::announced(text) {
            Some(literal) if literal.plus => return self.begin_literal(literal, length, bounds),
            Some(_) => self.command.flawed = true,
            None => {}
        }
        let command = std::mem::take(&mut self.command);
        if command.flawed { Read::Flawed(length) } else { Read::Whole(length, command.bytes) }
    }

    fn begin_literal(&mut self, literal: Announcement, length: usize, bounds: &Bounds) -> Read {
        let room = bounds.literal.saturating_sub(self.command.literal);
        let Some(size) = literal.size.filter(|size| *size <= room) else {
            return Read::Over(Violation::LiteralTooLong);
        };
        self.left = size;
        self.command.literal += size;
        self.command.keep(b"\r\n", bounds);
        Read::Taken(length)
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.command.flawed = true;
        self.command.line += bytes.len();
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }
}

impl Command {
    fn keep(&mut self, bytes: &[u8], bounds: &Bounds) {
        if self.flawed || self.bytes.len() + bytes.len() > bounds.kept {
            self.flawed = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { line: 20, literal: 30, kept: 60, discarded: 50 };

    /// What the reader says of `input` in pieces that end at `ends`.
    fn outcomes(input: &[u8], ends: impl IntoIterator<Item = usize>) -> Vec<Result<Vec<u8>, Option<Violation>>> {
        let (mut reader, mut outcomes, mut at) = (Reader::default(), Vec::new(), 0);
        for end in ends {
            while at < end {
                match reader.read(&input[at..end], &BOUNDS) {
                    Read::Partial => break,
                    Read::Taken(length) => at += length,
                    Read::Whole(length, command) => {
                        outcomes.push(Ok(command));
                        at += length;
                    }
                    Read::Flawed(length) => {
                        outcomes.push(Err(None));
                        at += length;
                    }
                    Read::Over(violation) => {
                        outcomes.push(Err(Some(violation)));
                        return outcomes;
                    }
                }
            }
        }
        outcomes
    }

    /// The same, once it was seen that it does not depend on how the input arrives.
    fn read(input: &[u8]) -> Vec<Result<Vec<u8>, Option<Violation>>> {
        let whole = outcomes(input, [input.len()]);
        assert_eq!(outcomes(input, 1..=input.len()), whole, "byte by byte");
        for cut in 1..input.len() {
            assert_eq!(outcomes(input, [cut, input.len()]), whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn a_literal_belongs_to_its_command() {
        let commands = read(b"NOOP {6+}\r\na\r\nb\r\n\r\nLOGOUT\n");
        assert_eq!(commands, [Ok(b"NOOP {6+}\r\na\r\nb\r\n".to_vec()), Ok(b"LOGOUT".to_vec())]);
    }

    #[test]
    fn the_literal_of_a_flawed_command_is_no_command() {
        assert_eq!(read(b"A\x01 {8+}\r\nLOGOUT\r\n\r\nNOOP\r\n"), [Err(None), Ok(b"NOOP".to_vec())]);
        assert_eq!(read(b"\"A {8+}\r\nLOGOUT\r\n\r\nNOOP\r\n").len(), 2);
        assert_eq!(read(b"A\0 {8+}\r\nLOGOUT\r\n\r\nNOOP\r\n"), [Err(None), Ok(b"NOOP".to_vec())]);
    }

    #[test]
    fn the_literal_of_a_line_too_long_is_no_command() {
        let input = b"AUTHENTICATE \"0123456789\" {8+}\r\nLOGOUT\r\n\r\nNOOP\r\n";
        assert_eq!(read(input), [Err(None), Ok(b"NOOP".to_vec())]);
    }

    #[test]
    fn what_a_flawed_line_announces_stands_at_its_very_end() {
        for end in [" \r\n", "\r\r\n"] {
            assert_eq!(
                read(format!("A\0 {{8+}}{end}NOOP\r\n").as_bytes()),
                [Err(None), Ok(b"NOOP".to_vec())],
                "{end:?}"
            );
        }
        let long = format!("{} {{8+}} \r\nNOOP\r\n", "A".repeat(BOUNDS.line));
        assert_eq!(read(long.as_bytes()), [Err(None), Ok(b"NOOP".to_vec())]);
    }

    #[test]
    fn a_client_must_not_announce_as_a_server_does() {
        assert_eq!(read(b"NOOP {4}\r\nNOOP\r\n"), [Err(None), Ok(b"NOOP".to_vec())]);
    }

    #[test]
    fn literals_are_bounded_one_by_one_and_together() {
        assert_eq!(read(b"A {31+}\r\n"), [Err(Some(Violation::LiteralTooLong))]);
        assert_eq!(read(b"A {99999999999999999999999999+}\r\n"), [Err(Some(Violation::LiteralTooLong))]);
        assert_eq!(read(b"A {9+}\r\n123456789 {22+}\r\n"), [Err(Some(Violation::LiteralTooLong))]);
    }

    #[test]
    fn a_command_of_many_lines_is_as_long_as_they_are_together() {
        let input = [b"{0+}\r\n".repeat(6), b"\r\nNOOP\r\n".to_vec()].concat();
        assert_eq!(read(&input), [Err(None), Ok(b"NOOP".to_vec())]);
        assert_eq!(read(&b"{0+}\r\n".repeat(4)), []);
    }

    #[test]
    fn a_command_of_endless_lines_ends_it_all() {
        assert_eq!(read(&b"{0+}\r\n".repeat(100)), [Err(Some(Violation::LineTooLong))]);
        assert_eq!(read(&b"\0 {0+}\r\n".repeat(100)), [Err(Some(Violation::LineTooLong))]);
    }

    #[test]
    fn an_endless_line_ends_it_all() {
        assert_eq!(read(&[b'x'; 60]), [Err(Some(Violation::LineTooLong))]);
    }

    #[test]
    fn nothing_of_a_flawed_command_is_held() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(b"A\0 {9+}\r\n", &BOUNDS), Read::Taken(9));
        assert!(!reader.is_fresh());
        assert_eq!(reader.read(b"12345", &BOUNDS), Read::Taken(5));
        assert!(reader.command.bytes.is_empty());
    }
}
