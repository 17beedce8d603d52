//! The backend's replies (RFC 5321 §4.2): where one ends, and what its lines say.
//!
//! Lines may end in a bare LF and be without text; they may not differ in their code, since then nobody could say
//! which of them the client goes by.

use memchr::memchr;

use crate::proto::{LONGEST_REPLY, Violation, line};

/// One whole reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    /// The three digits.
    pub(super) code: u16,
    bytes: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Finds the reply at the front of `input`; `None` while it is incomplete.
    pub(super) fn first(input: &'a [u8]) -> Result<Option<Self>, Violation> {
        let (mut end, mut code) = (0, None);
        while let Some(length) = memchr(b'\n', &input[end..]) {
            let text = line::without_end(&input[end..=end + length]);
            end += length + 1;
            let (line_code, last) = parse_line(text).ok_or(Violation::Backend)?;
            if *code.get_or_insert(line_code) != line_code || end > LONGEST_REPLY {
                return Err(Violation::Backend);
            }
            if last {
                return Ok(Some(Self { code: line_code, bytes: &input[..end] }));
            }
        }
        incomplete(input, end)
    }

    /// How many bytes it takes up.
    pub(super) const fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The first digit: 2 success, 3 go on, 4 temporary and 5 permanent failure.
    pub(super) const fn class(&self) -> u16 {
        self.code / 100
    }

    /// Its first line, with the code.
    pub(super) fn first_line(&self) -> &'a [u8] {
        self.bytes.split_inclusive(|byte| *byte == b'\n').next().map(line::without_end).unwrap_or_default()
    }

    /// The text of each line, behind the code.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line::without_end(line).get(4..).unwrap_or_default())
    }

    /// Whether it can go on to a client as it is: whole line ends, and no control bytes.
    pub(super) fn is_clean(&self) -> bool {
        self.bytes.split_inclusive(|byte| *byte == b'\n').all(|line| {
            line.strip_suffix(b"\r\n").is_some_and(|text| text.len() >= 4 && !text.iter().copied().any(is_unfit))
        })
    }

    /// Writes it the way [`Self::is_clean`] wants it.
    pub(super) fn write(&self, output: &mut Vec<u8>) {
        write_lines(self.code, self.texts(), output);
    }
}

/// How long the backend's greeting is: see [`crate::proto::greeting_end`].
///
/// # Errors
/// [`Violation::Backend`] where it cannot become a reply, or grows beyond 64 KiB.
pub fn greeting_end(input: &[u8]) -> Result<Option<usize>, Violation> {
    Ok(Reply::first(input)?.map(|reply| reply.length()))
}

/// Writes a reply of these lines, without the control bytes in them.
pub(super) fn write_lines<'a>(code: u16, texts: impl Iterator<Item = &'a [u8]>, output: &mut Vec<u8>) {
    let mut texts = texts.peekable();
    while let Some(text) = texts.next() {
        let mark = if texts.peek().is_some() { '-' } else { ' ' };
        output.extend_from_slice(format!("{code}{mark}").as_bytes());
        output.extend(text.iter().copied().filter(|byte| !is_unfit(*byte)));
        output.extend_from_slice(b"\r\n");
    }
}

/// The code of a line, and whether it is the last of its reply.
fn parse_line(line: &[u8]) -> Option<(u16, bool)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let well_formed = matches!(digits[0], b'2'..=b'5') && digits.iter().all(u8::is_ascii_digit);
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
    match rest.first() {
        None | Some(b' ') if well_formed => Some((code, true)),
        Some(b'-') if well_formed => Some((code, false)),
        _ => None,
    }
}

/// Garbage is recognized by the first bytes of an incomplete line already.
fn incomplete<'a>(input: &[u8], end: usize) -> Result<Option<Reply<'a>>, Violation> {
    let front = &input[end..];
    let plausible = front.iter().take(3).all(|byte| byte.is_ascii_digit() || matches!(byte, b'\r'));
    if plausible && input.len() <= LONGEST_REPLY { Ok(None) } else { Err(Violation::Backend) }
}

/// RFC 5321 §4.2: the text of a reply is made of printable characters, blanks and tabs.
fn is_unfit(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(input: &str) -> Result<Option<(u16, usize)>, Violation> {
        Ok(Reply::first(input.as_bytes())?.map(|reply| (reply.code, reply.length())))
    }

    #[test]
    fn a_reply_ends_at_its_last_line() {
        assert_eq!(first("250 OK\r\n250 next\r\n"), Ok(Some((250, 8))));
        assert_eq!(first("250-one\r\n250-two\n250 three\r\nrest"), Ok(Some((250, 28))));
        assert_eq!(first("354\r\n"), Ok(Some((354, 5))));
        assert_eq!(first("250-one\r\n250-t"), Ok(None));
        assert_eq!(first(""), Ok(None));
    }

    #[test]
    fn garbage_is_a_violation_as_soon_as_it_shows() {
        for input in ["* OK", "25x OK\r\n", "+OK\r\n", "250_OK\r\n", "25\r\n", "\r\n", "\n", "150 x\r\n", "650 x\r\n"] {
            assert_eq!(first(input), Err(Violation::Backend), "{input:?}");
        }
        assert_eq!(first("354-go\r\n250 no\r\n"), Err(Violation::Backend), "two codes in one reply");
    }

    #[test]
    fn an_endless_reply_is_a_violation() {
        assert_eq!(first(&"250-x\r\n".repeat(10_000)), Err(Violation::Backend));
        assert_eq!(first(&format!("250 {}", "x".repeat(LONGEST_REPLY))), Err(Violation::Backend));
    }

    #[test]
    fn an_unfit_reply_is_written_anew() {
        let reply = Reply::first(b"250-one\x1b[2J\r\n250-\ttwo\n250\r\n").unwrap().unwrap();
        assert!(!reply.is_clean());
        let mut output = Vec::new();
        reply.write(&mut output);
        assert_eq!(String::from_utf8(output).unwrap(), "250-one[2J\r\n250-\ttwo\r\n250 \r\n");
        assert!(Reply::first(b"250-one\r\n250 two\r\n").unwrap().unwrap().is_clean());
    }
}
