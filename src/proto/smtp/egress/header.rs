//! The header section of a message on its way out, looked through for a loop (RFC 5321 §6.3).
//!
//! Promises to hold no more of it than the front of one line, whatever comes.

use memchr::{memchr, memmem};

/// What makes a message one that goes round in circles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loops {
    /// More `Received` fields than this.
    pub received: usize,
    /// So many of them, or more, with the token of this very gateway.
    pub own: usize,
    /// The token: up to 64 letters and digits that no other gateway has. Empty: none is looked for.
    pub token: String,
}

/// As much of a line as is looked at. A field of our own is shorter.
const FRONT: usize = 1024;

/// The header section so far.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// The front of the line under way.
    line: Vec<u8>,
    field: Field,
    received: usize,
    own: usize,
    over: bool,
}

/// The field that the line under way may go on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    #[default]
    Other,
    Received,
    /// With the token in it already.
    Own,
}

impl Header {
    /// Looks at the next octets of the message: how many of them it takes to know that it goes round in circles, if it does.
    pub(super) fn look(&mut self, octets: &[u8], loops: &Loops) -> Option<usize> {
        let mut seen = 0;
        while !self.over && seen < octets.len() {
            let end = memchr(b'\n', &octets[seen..]).map(|at| seen + at + 1);
            let line = &octets[seen..end.unwrap_or(octets.len())];
            let room = FRONT.saturating_sub(self.line.len());
            self.line.extend_from_slice(&line[..line.len().min(room)]);
            if end.is_some() {
                self.judge(&loops.token);
            }
            seen += line.len();
            if self.received > loops.received || (self.own > 0 && self.own >= loops.own) {
                return Some(seen);
            }
        }
        None
    }

    /// Judges a whole line.
    fn judge(&mut self, token: &str) {
        let line = std::mem::take(&mut self.line);
        match line.as_slice() {
            [b'\n', ..] | [b'\r', b'\n', ..] => self.over = true,
            // RFC 5322 §2.2.3
            [b' ' | b'\t', ..] => {}
            line => self.begin(line),
        }
        if self.field == Field::Received && !token.is_empty() && memmem::find(&line, token.as_bytes()).is_some() {
            self.field = Field::Own;
            self.own += 1;
        }
    }

    fn begin(&mut self, line: &[u8]) {
        // RFC 5322 §4.5: blanks may stand in front of the colon.
        let name = memchr(b':', line).map(|at| line[..at].trim_ascii_end());
        let is_received = name.is_some_and(|name| name.eq_ignore_ascii_case(b"Received"));
        self.received += usize::from(is_received);
        self.field = if is_received { Field::Received } else { Field::Other };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_round(message: &str) -> bool {
        let loops = Loops { received: 3, own: 2, token: "t0k3n".to_owned() };
        let whole = Header::default().look(message.as_bytes(), &loops);
        let mut header = Header::default();
        let found = message.bytes().position(|byte| header.look(&[byte], &loops).is_some());
        assert_eq!(found.map(|at| at + 1), whole, "byte by byte: {message:?}");
        whole.is_some()
    }

    #[test]
    fn s4_a_loop_is_known_by_received_fields() {
        assert!(!goes_round(&"Received: x\r\n".repeat(3)));
        assert!(goes_round(&"rEceived : x\r\n".repeat(4)));
        assert!(!goes_round(&format!("{}\r\nReceived: x\r\n", "Received: x\r\n".repeat(3))), "in the body");
        assert!(!goes_round(&"Received-SPF: x\r\n Received: x\r\n".repeat(4)), "others' fields");
    }

    #[test]
    fn s4_a_loop_is_known_by_our_own_token() {
        let own = "Received: from x\r\n\tby mw with LMTP id t0k3n.1-1;\r\n\tt0k3n\r\n";
        assert!(!goes_round(own), "once is no loop, however often it is said");
        assert!(goes_round(&format!("{own}X: y\r\n{own}")));
        assert!(!goes_round(&format!("{own}X: t0k3n\r\n t0k3n\r\n")), "others' fields");
        assert!(!goes_round(&format!("{own}Received: {}t0k3n\r\n", "x".repeat(FRONT))), "beyond our own length");
    }

    #[test]
    fn an_endless_line_is_not_held() {
        let (mut header, loops) = (Header::default(), Loops { received: 3, own: 2, token: String::new() });
        (0..1000).for_each(|_| assert_eq!(header.look(&[b'x'; 1000], &loops), None));
        assert!(header.line.len() <= FRONT);
        assert_eq!(header.look(b"\r\nReceived: x\r\nReceived: x\r\n", &loops), None, "no token is in every field");
    }
}
