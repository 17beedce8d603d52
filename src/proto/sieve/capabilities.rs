//! What a ManageSieve backend offers, as far as a client may hear of it (spec §4.2).
//!
//! Promises that the backend's live list is the truth: lines are only taken out, never added (RFC 5804 §1.7).

use super::syntax::{Token, token};
use super::words;
use crate::proto::{Leg, sasl};

/// A list of capabilities, filtered.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    /// The lines for the client, as they are sent.
    pub(super) lines: Vec<u8>,
    /// The mechanisms that the client is shown.
    pub(super) mechanisms: Vec<Vec<u8>>,
}

impl Capabilities {
    /// Filters the lines of a backend's list for a client whose leg is this.
    pub(super) fn filter(list: &[&[u8]], leg: Leg) -> Self {
        let mut capabilities = Self::default();
        for line in list {
            capabilities.take(line, leg);
        }
        capabilities
    }

    fn take(&mut self, line: &[u8], leg: Leg) {
        let mut rest = line.trim_ascii_end();
        let Ok(Some(Token::Text(name))) = token(&mut rest) else { return };
        match name.to_ascii_uppercase().as_slice() {
            b"STARTTLS" | b"UNAUTHENTICATE" | [b'X', ..] => {}
            b"SASL" => self.take_mechanisms(rest, leg),
            _ => self.lines.extend_from_slice(line),
        }
    }

    fn take_mechanisms(&mut self, mut rest: &[u8], leg: Leg) {
        if let Ok(Some(Token::Text(list))) = token(&mut rest) {
            self.mechanisms.extend(sasl::passing(&list, leg).map(<[u8]>::to_vec));
        }
        self.lines.extend_from_slice(b"\"SASL\" ");
        words::string(&self.mechanisms.join(&b' '), &mut self.lines);
        self.lines.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &[&[u8]]) -> String {
        String::from_utf8(Capabilities::filter(list, Leg::Tls).lines).unwrap()
    }

    #[test]
    fn what_ends_here_is_taken_out() {
        let list: [&[u8]; 6] = [
            b"\"IMPLEMENTATION\" \"x\"\r\n",
            b"\"StartTLS\"\r\n",
            b"\"UNAUTHENTICATE\"\r\n",
            b"\"XCLIENT\" \"ADDR\"\r\n",
            b"{8}\r\nstarttls\r\n",
            b"\"VERSION\" \"1.0\"\r\n",
        ];
        assert_eq!(shown(&list), "\"IMPLEMENTATION\" \"x\"\r\n\"VERSION\" \"1.0\"\r\n");
    }

    #[test]
    fn mechanisms_that_cannot_work_are_taken_out() {
        assert_eq!(shown(&[b"\"sasl\" \"PLAIN EXTERNAL SCRAM-SHA-1-PLUS\"\r\n"]), "\"SASL\" \"PLAIN\"\r\n");
        assert_eq!(shown(&[b"\"SASL\" {8}\r\nEXTERNAL\r\n"]), "\"SASL\" \"\"\r\n");
        assert_eq!(shown(&[b"\"SASL\"\r\n"]), "\"SASL\" \"\"\r\n");
    }

    #[test]
    fn other_lines_cross_byte_for_byte() {
        let line: &[u8] = b"\"SIEVE\" {9}\r\nfileinto \r\n";
        assert_eq!(shown(&[line]).as_bytes(), line);
    }

    #[test]
    fn escapes_do_not_hide_a_name() {
        assert_eq!(shown(&[b"\"\\STARTTLS\"\r\n", b"\"START\\TLS\"\r\n"]), "");
    }
}
