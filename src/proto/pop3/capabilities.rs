//! What a POP3 backend offers, as far as a client may hear of it (spec §4.2).
//!
//! Promises that the backend's live list is the truth: lines are only taken out, never added (RFC 2449 §5).

use super::reply::lines;
use crate::proto::{Leg, line, sasl};

/// A reply to CAPA, filtered.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    /// The lines for the client, as they are sent.
    pub(super) lines: Vec<u8>,
    /// The mechanisms that the client is shown; `None` where the backend has no SASL line.
    pub(super) mechanisms: Option<Vec<Vec<u8>>>,
    /// Whether there is a way to log in at all.
    pub(super) login: bool,
}

impl Capabilities {
    /// Filters the lines of a backend's reply for a client whose leg is this.
    pub(super) fn filter(list: &[u8], leg: Leg) -> Self {
        let mut capabilities = Self::default();
        for line in lines(list) {
            capabilities.take(line, leg);
        }
        capabilities
    }

    fn take(&mut self, text: &[u8], leg: Leg) {
        // RFC 1939 §3: a line that begins with a dot is sent with another one before it.
        let (name, arguments) = keyword(text.strip_prefix(b".").unwrap_or(text));
        match name.to_ascii_uppercase().as_slice() {
            b"STLS" | [b'X', ..] => {}
            b"SASL" => self.take_mechanisms(arguments, leg),
            name => {
                self.login |= name == b"USER";
                line::write(text, &mut self.lines);
            }
        }
    }

    fn take_mechanisms(&mut self, arguments: &[u8], leg: Leg) {
        let mechanisms: Vec<Vec<u8>> = sasl::passing(arguments, leg).map(<[u8]>::to_vec).collect();
        if !mechanisms.is_empty() {
            self.login = true;
            line::write(&[b"SASL ", mechanisms.join(&b' ').as_slice()].concat(), &mut self.lines);
        }
        self.mechanisms.get_or_insert_default().extend(mechanisms);
    }
}

/// A capability's name and what stands behind it. Tabs are not the RFC's, but must not hide a name from the filter.
fn keyword(text: &[u8]) -> (&[u8], &[u8]) {
    let text = line::trim_start(text);
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    text.split_at(end)
}

/// The mechanisms that the client was shown, by either of the two ways to ask.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// In the SASL line of the last reply to CAPA.
    pub(super) by_capa: Option<Vec<Vec<u8>>>,
    /// In the last reply to a bare AUTH.
    pub(super) by_auth: Option<Vec<Vec<u8>>>,
}

impl Offered {
    /// Whether a client may use a mechanism: hidden is also refused. A client that was shown no list may try.
    pub(super) fn permits(&self, mechanism: &[u8], leg: Leg) -> bool {
        let mut listed = self.by_capa.iter().chain(&self.by_auth).flatten();
        let no_list = self.by_capa.is_none() && self.by_auth.is_none();
        sasl::may_be_asked_for(mechanism, leg) && (no_list || listed.any(|name| name.eq_ignore_ascii_case(mechanism)))
    }
}
