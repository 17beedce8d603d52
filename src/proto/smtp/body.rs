//! The body of a message behind DATA: where it ends (RFC 5321 §4.1.1.4), at the speed of memory, and what becomes of
//! what only looks like its end.
//!
//! Promises that only the client's own CRLF.CRLF ends it. A bare LF or CR, and a NUL at the front of a line, are never
//! taken for a part of an end: what one server calls the end of a message and another does not is how mail is smuggled
//! (VU#302671). A dot at the front of a line, and a CR, are only looked at together with what follows them.

use memchr::memchr2;

/// What becomes of a message with a bare LF or CR in it, or a NUL at the front of a line (`bare-newline`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewline {
    /// A bare newline becomes CRLF, the NULs are left out, and what follows is stuffed.
    #[default]
    Normalize,
    /// The message is refused.
    Reject,
    /// It goes on byte for byte.
    Pass,
}

impl BareNewline {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Normalize, Self::Reject, Self::Pass];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normalize => "normalize",
            Self::Reject => "reject",
            Self::Pass => "pass",
        }
    }
}

/// What becomes of a stretch of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// So many bytes are used up; of the rest more is needed.
    pub(super) length: usize,
    /// What goes on in their place, where they do not go on as they are.
    pub(super) instead: Option<Vec<u8>>,
    /// Whether the body ends with them.
    pub(super) ended: bool,
}

/// A body under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    place: Place,
    /// The bytes that went on, and those of them that are no part of the message.
    sent: u64,
    framing: u64,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At its front: behind a CRLF, or the DATA command's own. A dot is the client's stuffing, or the end.
    Front,
    /// Behind a bare newline, or a NUL at a front. A dot is part of the message, and what a server that takes these for
    /// line ends would look at.
    Broken,
    /// Anywhere else.
    Text,
}

/// What a stretch holds.
enum Scan {
    /// The first so many bytes are body; of the rest more is needed.
    Text(usize),
    /// The body ends with the first so many bytes, its own end included.
    End(usize),
    /// The first `text` bytes are body; those from there to `length` are the fault.
    Fault { text: usize, length: usize, fault: Fault },
}

/// What a server could take for a part of an end.
#[derive(Clone, Copy)]
enum Fault {
    /// A bare LF or CR, with the dot of the client's stuffing if it stands behind one.
    Newline,
    /// A NUL at the front of a line, likewise: there are servers that skip them.
    Nul,
    /// No bytes: in front of a dot at the front of what is no line of the client's.
    Unstuffed,
}

impl Fault {
    /// What goes on in its place.
    const fn mended(self) -> &'static [u8] {
        match self {
            Self::Newline => b"\r\n",
            Self::Nul => b"",
            Self::Unstuffed => b".",
        }
    }
}

impl Body {
    /// The body behind a DATA command.
    pub(super) const fn new() -> Self {
        Self { place: Place::Front, sent: 0, framing: 0 }
    }

    /// RFC 1870 §5: the octets of the message so far, CRLFs included, stuffing and its end not.
    pub(super) const fn size(&self) -> u64 {
        self.sent - self.framing
    }

    /// Looks at the next bytes; `None` where they make the message one that is refused.
    pub(super) fn take(&mut self, input: &[u8], bare: BareNewline) -> Option<Taken> {
        let taken = match bare {
            BareNewline::Normalize => self.normalize(input),
            BareNewline::Reject => self.insist(input)?,
            BareNewline::Pass => self.skip(input),
        };
        self.sent += taken.instead.as_ref().map_or(taken.length, Vec::len) as u64;
        Some(taken)
    }

    /// Nothing is copied before the first fault.
    fn normalize(&mut self, input: &[u8]) -> Taken {
        let (mut at, mut instead) = (0, None::<Vec<u8>>);
        loop {
            let rest = &input[at..];
            let (text, ended) = match self.scan(rest) {
                Scan::Text(text) => (text, false),
                Scan::End(text) => (text, true),
                Scan::Fault { text, length, fault } => {
                    let output = instead.get_or_insert_default();
                    output.extend_from_slice(&rest[..text]);
                    output.extend_from_slice(fault.mended());
                    self.framing += u64::from(matches!(fault, Fault::Unstuffed));
                    at += length;
                    continue;
                }
            };
            if let Some(output) = &mut instead {
                output.extend_from_slice(&rest[..text]);
            }
            return Taken { length: at + text, instead, ended };
        }
    }

    fn insist(&mut self, input: &[u8]) -> Option<Taken> {
        match self.scan(input) {
            Scan::Text(length) => Some(Taken { length, instead: None, ended: false }),
            Scan::End(length) => Some(Taken { length, instead: None, ended: true }),
            Scan::Fault { .. } => None,
        }
    }

    /// How many of the next bytes stand before the first that makes a refused message of it.
    pub(super) fn clean_front(mut self, input: &[u8]) -> usize {
        match self.scan(input) {
            Scan::Text(length) | Scan::End(length) | Scan::Fault { text: length, .. } => length,
        }
    }

    /// Looks at the next bytes for the body's end alone.
    pub(super) fn skip(&mut self, input: &[u8]) -> Taken {
        let mut at = 0;
        loop {
            let (length, ended) = match self.scan(&input[at..]) {
                Scan::Text(length) => (length, false),
                Scan::End(length) => (length, true),
                Scan::Fault { length, .. } => {
                    at += length;
                    continue;
                }
            };
            return Taken { length: at + length, instead: None, ended };
        }
    }

    /// Looks at the next bytes up to the first fault.
    fn scan(&mut self, input: &[u8]) -> Scan {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match (self.place, rest) {
                (Place::Front, [] | b"." | b".\r") | (Place::Broken, []) => return Scan::Text(at),
                (Place::Front, [b'.', b'\r', b'\n', ..]) => {
                    self.framing += 3;
                    return Scan::End(at + 3);
                }
                // RFC 5321 §4.5.2: a dot with anything behind it is stuffing, and goes where that goes.
                (Place::Front, [b'.', b'\n', ..] | [b'.', b'\r', _, ..]) => return self.fault(at, 2, Fault::Newline),
                (Place::Front, [b'.', 0, ..]) => return self.fault(at, 2, Fault::Nul),
                (Place::Front | Place::Broken, [0, ..]) => return self.fault(at, 1, Fault::Nul),
                (Place::Broken, [b'.', ..]) => return self.fault(at, 0, Fault::Unstuffed),
                (Place::Front, [b'.', ..]) => {
                    self.framing += 1;
                    at += 1;
                }
                _ => {}
            }
            self.place = Place::Text;
            let lines = harmless(&input[at..]);
            at += lines;
            if input[at - lines..at].ends_with(b"\n") {
                self.place = Place::Front;
                continue;
            }
            let Some(distance) = memchr2(b'\r', b'\n', &input[at..]) else { return Scan::Text(input.len()) };
            at += distance;
            match &input[at..] {
                b"\r" => return Scan::Text(at),
                [b'\r', b'\n', ..] => at += 2,
                _ => return self.fault(at, 1, Fault::Newline),
            }
            self.place = Place::Front;
        }
    }

    fn fault(&mut self, text: usize, bytes: usize, fault: Fault) -> Scan {
        self.place = if matches!(fault, Fault::Unstuffed) { Place::Text } else { Place::Broken };
        Scan::Fault { text, length: text + bytes, fault }
    }
}

/// How many bytes are looked at together. The compiler makes of the look a few instructions for each 16 of them.
const BLOCK: usize = 128;

/// How many of the next bytes, which stand behind text, are lines and text that nothing has to be done about. Most of a message
/// is seen only here. It never ends between CR and LF.
#[inline(never)] // Among the branches of the scan the compiler makes less of the loop.
fn harmless(input: &[u8]) -> usize {
    // An LF behind text is bare. Every other byte is looked at together with the one before it.
    let Some((_, next)) = input.split_first().filter(|(first, _)| **first != b'\n') else { return 0 };
    let (blocks, next) = (input.as_chunks::<BLOCK>().0, next.as_chunks::<BLOCK>().0);
    let length = BLOCK * blocks.iter().zip(next).take_while(|(block, next)| is_harmless(block, next)).count();
    length - usize::from(input[..length].ends_with(b"\r"))
}

fn is_harmless(block: &[u8; BLOCK], next: &[u8; BLOCK]) -> bool {
    !(0..BLOCK).fold(false, |found, at| found | needs_a_look(block[at], next[at]))
}

/// Whether there is a bare CR or LF, or the front of a line that begins with a dot or a NUL, between a byte and the next one.
const fn needs_a_look(byte: u8, next: u8) -> bool {
    // Without a branch, or it is no longer a few instructions for many bytes.
    let bare = (byte == b'\r') != (next == b'\n');
    let front = (byte == b'\n') & ((next == b'.') | (next == 0));
    bare | front
}
