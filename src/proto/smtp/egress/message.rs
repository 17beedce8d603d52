//! A message on its way out: from what stands behind DATA to its own octets.
//!
//! Promises the octets that the client had before it stuffed its lines (RFC 5321 §4.5.2), with one trace field in front
//! (§4.4) and nothing else changed but what `bare-newline` says; that only the client's own CRLF.CRLF is the end; and that
//! a refusal comes before the end, so that nobody takes a part for the whole.

use std::borrow::Cow;

use memchr::memmem;

use super::header::{Header, Loops};
use crate::proto::smtp::{
    body::{BareNewline, Body, Taken},
    words,
};

/// Why a message is refused on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// A bare LF or CR in it, or a NUL at the front of a line, where that is not mended.
    BareNewline,
    /// It passed `limit.message`.
    TooLarge,
    /// It has been here before.
    Loop,
}

impl MessageFault {
    /// A fixed word for the log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BareNewline => "bare-newline",
            Self::TooLarge => "message-too-large",
            Self::Loop => "loop",
        }
    }

    /// The reply to the message.
    pub(super) const fn reply(self) -> &'static str {
        match self {
            // RFC 5321 §2.3.8
            Self::BareNewline => words::BARE_NEWLINE,
            Self::TooLarge => words::TOO_LARGE,
            Self::Loop => words::LOOP,
        }
    }
}

/// What a message may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) bare_newline: BareNewline,
    pub(super) largest: Option<u64>,
    pub(super) loops: &'a Loops,
}

/// The next stretch of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch<'a> {
    /// How many bytes of the input it takes up.
    pub(super) length: usize,
    /// The message's octets in them.
    pub(super) octets: Cow<'a, [u8]>,
    /// Whether the message ends with them.
    pub(super) ended: bool,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Message {
    body: Body,
    header: Header,
    /// The octets of the message so far.
    octets: u64,
    /// Whether the next octet is the first of a line.
    at_front: bool,
}

impl Message {
    /// The message behind DATA.
    pub(super) fn new() -> Self {
        Self { body: Body::new(), header: Header::default(), octets: 0, at_front: true }
    }

    /// Looks at the next bytes; `None` where more of them are needed. Of several faults the first one counts, however the
    /// bytes come.
    pub(super) fn take<'a>(&mut self, input: &'a [u8], rules: Rules<'_>) -> Result<Option<Stretch<'a>>, MessageFault> {
        let before = self.body;
        let stretch = self.read(input, rules)?;
        if let Some(fault) = stretch.as_ref().and_then(|stretch| self.fault(&stretch.octets, rules)) {
            // What looks for the end alone begins where this began.
            self.body = before;
            return Err(fault);
        }
        Ok(stretch)
    }

    fn read<'a>(&mut self, input: &'a [u8], rules: Rules<'_>) -> Result<Option<Stretch<'a>>, MessageFault> {
        let before = self.body;
        let Some(taken) = self.body.take(input, rules.bare_newline) else {
            self.body = before;
            let clean = before.clean_front(input);
            return if clean == 0 { Err(MessageFault::BareNewline) } else { self.read(&input[..clean], rules) };
        };
        let Taken { length, instead, ended } = taken;
        if length == 0 {
            return Ok(None);
        }
        let octets = self.unstuff(instead.map_or(Cow::Borrowed(&input[..length]), Cow::Owned), ended);
        Ok(Some(Stretch { length, octets, ended }))
    }

    /// What is wrong with the next octets.
    fn fault(&mut self, octets: &[u8], rules: Rules<'_>) -> Option<MessageFault> {
        // RFC 1870 §5: the octets of the message, CRLFs included, stuffing and its end not.
        let room = rules.largest.map_or(u64::MAX, |largest| largest.saturating_sub(self.octets));
        self.octets += octets.len() as u64;
        match self.header.look(octets, rules.loops) {
            Some(seen) if seen as u64 <= room => Some(MessageFault::Loop),
            _ => (octets.len() as u64 > room).then_some(MessageFault::TooLarge),
        }
    }

    /// Throws the next bytes of a refused message away: how many, and whether it ends with them.
    pub(super) fn skip(&mut self, input: &[u8]) -> (usize, bool) {
        let Taken { length, ended, .. } = self.body.skip(input);
        (length, ended)
    }

    /// Takes the stuffing away. Neither a CRLF nor a dot at the front of a line and what follows it are ever parted.
    fn unstuff<'a>(&mut self, stuffed: Cow<'a, [u8]>, ended: bool) -> Cow<'a, [u8]> {
        let was_at_front = self.at_front;
        // Where all of it was left out, the place is the same.
        if !stuffed.is_empty() {
            self.at_front = stuffed.ends_with(b"\r\n");
        }
        let length = stuffed.len() - if ended { b".\r\n".len() } else { 0 };
        let text = &stuffed[..length];
        let first = (was_at_front && text.starts_with(b".")).then_some(0);
        let mut dots = first.into_iter().chain(memmem::find_iter(text, b"\r\n.").map(|at| at + 2)).peekable();
        if dots.peek().is_none() {
            return shortened(stuffed, length);
        }
        let (mut plain, mut kept) = (Vec::with_capacity(length), 0);
        for dot in dots {
            plain.extend_from_slice(&text[kept..dot]);
            kept = dot + 1;
        }
        plain.extend_from_slice(&text[kept..]);
        Cow::Owned(plain)
    }
}

fn shortened(bytes: Cow<'_, [u8]>, length: usize) -> Cow<'_, [u8]> {
    match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..length]),
        Cow::Owned(mut bytes) => {
            bytes.truncate(length);
            Cow::Owned(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loops() -> Loops {
        Loops { received: 50, own: 2, token: "t0k3n".to_owned() }
    }

    /// The message and what is left of the input, whatever the reads; `None` where it is refused or does not end.
    fn read(input: &[u8], bare_newline: BareNewline, largest: Option<u64>) -> Option<(Vec<u8>, usize)> {
        let mut results: Vec<_> = (0..=input.len()).map(|cut| read_cut(input, cut, bare_newline, largest)).collect();
        results.dedup();
        assert_eq!(results.len(), 1, "the same at every cut: {}", input.escape_ascii());
        results.remove(0)
    }

    fn read_cut(input: &[u8], cut: usize, bare_newline: BareNewline, largest: Option<u64>) -> Option<(Vec<u8>, usize)> {
        let (mut message, mut octets, mut used) = (Message::new(), Vec::new(), 0);
        let (loops, reads) = (loops(), [cut, input.len()]);
        for end in reads {
            while let Some(stretch) =
                message.take(&input[used..end], Rules { bare_newline, largest, loops: &loops }).ok()?
            {
                used += stretch.length;
                octets.extend_from_slice(&stretch.octets);
                if stretch.ended {
                    return Some((octets, input.len() - used));
                }
            }
        }
        None
    }

    fn normalized(input: &str) -> Option<String> {
        let (octets, left) = read(input.as_bytes(), BareNewline::Normalize, None)?;
        assert_eq!(left, 0);
        Some(String::from_utf8(octets).unwrap())
    }

    #[test]
    fn s2_stuffing_is_taken_away_and_nothing_else() {
        for (sent, message) in [
            (".\r\n", ""),
            ("a\r\n.\r\n", "a\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
            ("...a\r\n.b\r\n\r\n..c\r\n.\r\n", "..a\r\nb\r\n\r\n.c\r\n"),
            ("a.\r\nb..c\r\n.\r\n", "a.\r\nb..c\r\n"),
            ("\r\n\r\n.\r\n", "\r\n\r\n"),
        ] {
            assert_eq!(normalized(sent).as_deref(), Some(message), "{sent:?}");
        }
    }

    #[test]
    fn s2_nothing_that_looks_like_an_end_is_one() {
        for end in
            ["\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\r\n.\r\r\n", "\r\n\0.\r\n", "\n\0.\0\n"]
        {
            let sent = format!("a{end}MAIL FROM:<x@y>\r\n.\r\n");
            let message = normalized(&sent).unwrap_or_else(|| panic!("no end: {sent:?}"));
            assert!(message.ends_with("MAIL FROM:<x@y>\r\n"), "{sent:?}");
            let (newlines, lines) = (message.matches(['\r', '\n']).count(), message.matches("\r\n").count());
            assert_eq!(newlines, 2 * lines, "{sent:?} became {message:?}");
            assert_eq!(read(sent.as_bytes(), BareNewline::Reject, None), None, "{sent:?}");
            let (passed, left) = read(sent.as_bytes(), BareNewline::Pass, None).unwrap();
            assert!(left == 0 && passed.ends_with(b"MAIL FROM:<x@y>\r\n"), "{sent:?}");
        }
    }

    #[test]
    fn a_body_without_its_end_is_no_message() {
        for sent in ["", "a\r\n", "a\r\n.", "a\r\n.\r", "a\n.\n", "a.\r\n", ".a\r\n..\r\n"] {
            assert_eq!(normalized(sent), None, "{sent:?}");
        }
    }

    #[test]
    fn the_size_is_that_of_the_message() {
        let read = |largest| read(b"..a\r\nbc\r\n.\r\nQUIT\r\n", BareNewline::Normalize, Some(largest));
        assert_eq!(read(8), Some((b".a\r\nbc\r\n".to_vec(), 6)));
        assert_eq!(read(7), None);
    }

    #[test]
    fn the_first_of_several_faults_counts() {
        let fault = |sent: &str, largest| {
            let loops = Loops { received: 0, ..loops() };
            let rules = Rules { bare_newline: BareNewline::Reject, largest: Some(largest), loops: &loops };
            let found = |reads: Vec<&[u8]>| {
                let (mut message, mut input) = (Message::new(), Vec::new());
                reads.into_iter().find_map(|read| {
                    input.extend_from_slice(read);
                    loop {
                        match message.take(&input, rules) {
                            Ok(None) => return None,
                            Ok(Some(Stretch { length, .. })) => drop(input.drain(..length)),
                            Err(fault) => return Some(fault),
                        }
                    }
                })
            };
            let whole = found(vec![sent.as_bytes()]);
            assert_eq!(found(sent.as_bytes().chunks(1).collect()), whole, "{sent:?}");
            whole
        };
        let sent = "Received: x\r\na\nb\r\n.\r\n";
        assert_eq!(fault(sent, 13), Some(MessageFault::Loop));
        assert_eq!(fault(sent, 12), Some(MessageFault::TooLarge));
        assert_eq!(fault("Received; x\r\na\nb\r\n.\r\n", 14), Some(MessageFault::BareNewline));
        assert_eq!(fault("Received; x\r\na\nb\r\n.\r\n", 13), Some(MessageFault::TooLarge));
    }

    #[test]
    fn what_needs_no_change_is_not_copied() {
        let (mut message, loops) = (Message::new(), loops());
        let rules = Rules { bare_newline: BareNewline::Normalize, largest: None, loops: &loops };
        for input in [&b"Subject: x\r\n\r\na.b\r\n"[..], b"c\r\n.\r\n"] {
            let stretch = message.take(input, rules).unwrap().unwrap();
            assert!(matches!(stretch.octets, Cow::Borrowed(_)), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn s4_a_loop_is_refused_before_the_end() {
        let (mut message, loops) = (Message::new(), loops());
        let rules = Rules { bare_newline: BareNewline::Normalize, largest: None, loops: &loops };
        let sent = format!("{}\r\nx\r\n.\r\n", "Received: by x id t0k3n.1-1\r\n".repeat(2));
        assert_eq!(message.take(sent.as_bytes(), rules), Err(MessageFault::Loop));
        assert_eq!(message.skip(sent.as_bytes()), (sent.len(), true));
        assert!(MessageFault::Loop.reply().starts_with("554 5.4.6 "));
    }
}
