//! The body of a message behind DATA: where it ends (RFC 5321 §4.1.1.4), at the speed of memchr.
//!
//! Promises that only CRLF.CRLF ends it. A bare LF or CR is reported and never taken for a line end: what one server
//! calls the end of a message and another does not is how mail is smuggled (VU#302671).

use memchr::memchr2;

/// What a stretch of a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// Nothing but body; a CR at its end is undecided yet.
    All,
    /// The body ends with the first so many bytes, its own end included.
    End(usize),
    /// A bare newline: the first so many bytes (none, if it is a CR that came before) reach up to it, itself
    /// included. Scanning may go on behind it, where only the client's own CRLF.CRLF ends the body.
    Bare(usize),
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At its start: behind a CRLF, or the DATA command's own.
    Start,
    /// Behind a dot at its start.
    Dot,
    /// Behind a dot at its start and a CR.
    DotCr,
    /// Anywhere else.
    Text,
    /// Anywhere else, behind a CR.
    Cr,
}

/// A body under way. Knows no more of the bytes it has seen than a [`Place`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    place: Place,
}

impl Body {
    /// The body behind a DATA command.
    pub(super) const fn new() -> Self {
        Self { place: Place::Start }
    }

    /// Looks at the next bytes.
    pub(super) fn scan(&mut self, input: &[u8]) -> Scan {
        let mut at = 0;
        while at < input.len() {
            if self.place == Place::Text {
                // Most bytes of a message are seen only by this search.
                match memchr2(b'\r', b'\n', &input[at..]) {
                    Some(distance) => at += distance,
                    None => return Scan::All,
                }
            }
            match self.advance(input[at]) {
                Advance::On => at += 1,
                Advance::End => return Scan::End(at + 1),
                Advance::BareLf => return Scan::Bare(at + 1),
                Advance::BareCr => return Scan::Bare(at),
            }
        }
        Scan::All
    }

    /// Looks at the next bytes of a body that is not to be had anyway: where it ends, bare newlines or not.
    pub(super) fn skip(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            match self.scan(&input[at..]) {
                Scan::All => return None,
                Scan::End(length) => return Some(at + length),
                Scan::Bare(length) => at += length,
            }
        }
    }

    fn advance(&mut self, byte: u8) -> Advance {
        let (place, advance) = match (self.place, byte) {
            (Place::DotCr, b'\n') => (Place::Start, Advance::End),
            (Place::Cr, b'\n') => (Place::Start, Advance::On),
            // The byte behind a bare CR is not used up: it is looked at anew, in the middle of a line.
            (Place::DotCr | Place::Cr, _) => (Place::Text, Advance::BareCr),
            (_, b'\n') => (Place::Text, Advance::BareLf),
            (Place::Start, b'.') => (Place::Dot, Advance::On),
            (Place::Dot, b'\r') => (Place::DotCr, Advance::On),
            (_, b'\r') => (Place::Cr, Advance::On),
            _ => (Place::Text, Advance::On),
        };
        self.place = place;
        advance
    }
}

enum Advance {
    On,
    End,
    BareLf,
    BareCr,
}
