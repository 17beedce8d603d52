//! A message as it stands behind DATA (RFC 5321 §4.5.2).
//!
//! Promises that a server which ends a line at CRLF alone finds the one end of the message where it is, however the
//! octets come. What other servers take for line ends is for `bare-newline` to keep out.

use memchr::memmem;

/// A message under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuffing {
    place: Place,
}

/// What the next octet stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A line end, or nothing.
    Front,
    /// A CR.
    Return,
    Text,
}

impl Stuffing {
    /// A message of which nothing was written yet.
    pub(super) const fn new() -> Self {
        Self { place: Place::Front }
    }

    /// Writes the next octets.
    pub(super) fn write(&mut self, octets: &[u8], output: &mut Vec<u8>) {
        let Some(last) = octets.last() else { return };
        let begins_line = match self.place {
            Place::Front => octets.starts_with(b".").then_some(0),
            Place::Return => octets.starts_with(b"\n.").then_some(1),
            Place::Text => None,
        };
        let ends_line = octets.ends_with(b"\r\n") || (self.place == Place::Return && octets == b"\n");
        let mut written = 0;
        for dot in begins_line.into_iter().chain(memmem::find_iter(octets, b"\r\n.").map(|at| at + 2)) {
            output.extend_from_slice(&octets[written..dot]);
            output.push(b'.');
            written = dot;
        }
        output.extend_from_slice(&octets[written..]);
        self.place = match last {
            _ if ends_line => Place::Front,
            b'\r' => Place::Return,
            _ => Place::Text,
        };
    }

    /// Writes the end. A last line without its end gets one, since the message would go on with the dot otherwise.
    pub(super) fn finish(self, output: &mut Vec<u8>) {
        output.extend_from_slice(if self.place == Place::Front { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(message: &[u8]) -> String {
        let mut results: Vec<_> = (0..=message.len()).map(|at| stuffed_in([&message[..at], &message[at..]])).collect();
        results.push(stuffed_in(message.chunks(1)));
        results.dedup();
        assert_eq!(results.len(), 1, "the same at every cut: {}", message.escape_ascii());
        results.remove(0)
    }

    fn stuffed_in<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let (mut stuffing, mut output) = (Stuffing::new(), Vec::new());
        pieces.into_iter().for_each(|piece| stuffing.write(piece, &mut output));
        stuffing.finish(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn s2_dots_at_the_front_of_lines_are_doubled() {
        for (message, written) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n.\r\n.a\r\nb.\r\n", "...\r\n..\r\n..a\r\nb.\r\n.\r\n"),
            ("\r\n\r\n.\r\n", "\r\n\r\n..\r\n.\r\n"),
            ("\n.\r.\r\r\n.\n", "\n.\r.\r\r\n..\n\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(message.as_bytes()), written, "{message:?}");
        }
    }
}
