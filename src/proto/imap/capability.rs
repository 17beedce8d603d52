//! What a backend's capability list becomes, and what the client may therefore use.
//!
//! Taken out (spec §4.2): STARTTLS, mechanisms that cannot pass a gateway, UNAUTHENTICATE (RFC 8437), commands
//! by which a proxy is believed, and LOGINDISABLED, which speaks of a plaintext leg that is not the client's.
//! Nothing is added, and what stays keeps its order.

use super::permit::Plus;
use crate::proto::{Leg, sasl};

/// What the backend offers of the things that mailward has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// LITERAL+ or LITERAL- (RFC 7888).
    pub(super) plus: Plus,
    /// SASL-IR (RFC 4959).
    pub(super) initial_response: bool,
    /// ID (RFC 2971).
    pub(super) id: bool,
    /// LANGUAGE (RFC 5255).
    pub(super) language: bool,
    mechanisms: Vec<Vec<u8>>,
}

impl Offer {
    /// Whether `AUTH=mechanism` is on the list.
    pub(super) fn has_mechanism(&self, mechanism: &[u8]) -> bool {
        self.mechanisms.iter().any(|offered| offered.eq_ignore_ascii_case(mechanism))
    }

    fn note(&mut self, word: &[u8]) {
        match word.to_ascii_uppercase().as_slice() {
            b"LITERAL+" => self.plus = Plus::Any,
            // RFC 9051 Appendix E: part of IMAP4rev2, like SASL-IR.
            b"IMAP4REV2" => (self.plus, self.initial_response) = (self.plus.or_small(), true),
            b"LITERAL-" => self.plus = self.plus.or_small(),
            b"SASL-IR" => self.initial_response = true,
            b"ID" => self.id = true,
            b"LANGUAGE" => self.language = true,
            other => self.mechanisms.extend(other.strip_prefix(b"AUTH=").map(<[u8]>::to_vec)),
        }
    }
}

/// A list after it was looked through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Screened {
    /// The list for the client, a blank before each word.
    pub(super) list: Vec<u8>,
    /// What stands on it.
    pub(super) offer: Offer,
    /// LOGINDISABLED stood on the backend's.
    pub(super) login_disabled: bool,
}

/// Looks through a list for a client whose leg is this. `logins_pass`: it may log in, whatever the backend says of its
/// own leg.
pub(super) fn screen(list: &[u8], logins_pass: bool, leg: Leg) -> Screened {
    let mut screened =
        Screened { list: Vec::with_capacity(list.len()), offer: Offer::default(), login_disabled: false };
    for word in list.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()) {
        let login_disabled = word.eq_ignore_ascii_case(b"LOGINDISABLED");
        screened.login_disabled |= login_disabled;
        if is_hidden(word, leg) || (login_disabled && logins_pass) {
            continue;
        }
        screened.list.push(b' ');
        screened.list.extend_from_slice(word);
        screened.offer.note(word);
    }
    screened
}

fn is_hidden(word: &[u8], leg: Leg) -> bool {
    const HIDDEN: [&[u8]; 4] = [b"STARTTLS", b"UNAUTHENTICATE", b"XCLIENT", b"XFORWARD"];
    match word.split_at_checked(5) {
        Some((auth, mechanism)) if auth.eq_ignore_ascii_case(b"AUTH=") => !sasl::passes(mechanism, leg),
        _ => HIDDEN.iter().any(|hidden| word.eq_ignore_ascii_case(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(list: &str) -> String {
        String::from_utf8(screen(list.as_bytes(), true, Leg::Tls).list).unwrap()
    }

    #[test]
    fn what_cannot_pass_is_taken_out_in_any_case_and_the_rest_keeps_its_order() {
        assert_eq!(
            list(
                "IMAP4rev1 StartTLS AUTH=PLAIN auth=scram-sha-256-plus AUTH=External IDLE unauthenticate LoginDisabled X-GM"
            ),
            " IMAP4rev1 AUTH=PLAIN IDLE X-GM"
        );
        assert_eq!(list("  ID   XCLIENT  AUTH=SCRAM-SHA-256 "), " ID AUTH=SCRAM-SHA-256");
        assert_eq!(list("AUTH=GSSAPI AUTH= URL-PARTIAL XLIST"), " AUTH=GSSAPI AUTH= URL-PARTIAL XLIST");
        assert_eq!(list("STARTTLS"), "");
    }

    #[test]
    fn a_client_with_a_certificate_is_offered_to_log_in_by_it() {
        let screened = screen(b"IMAP4rev1 AUTH=External AUTH=SCRAM-SHA-256-PLUS", true, Leg::Certified);
        assert_eq!(screened.list, b" IMAP4rev1 AUTH=External");
        assert!(screened.offer.has_mechanism(b"EXTERNAL"));
    }

    #[test]
    fn logindisabled_is_noticed_and_stays_where_no_login_passes() {
        assert!(screen(b"IMAP4rev1 logindisabled", true, Leg::Tls).login_disabled);
        assert_eq!(screen(b"IMAP4rev1 logindisabled", false, Leg::Plaintext).list, b" IMAP4rev1 logindisabled");
        assert!(!screen(b"IMAP4rev1", true, Leg::Tls).login_disabled);
    }

    #[test]
    fn the_offer_is_what_stands_on_the_list() {
        let offer = screen(b"IMAP4rev1 LITERAL- sasl-ir Id AUTH=plain AUTH=EXTERNAL", true, Leg::Tls).offer;
        assert_eq!((offer.plus, offer.initial_response, offer.id, offer.language), (Plus::Small, true, true, false));
        assert!(offer.has_mechanism(b"PLAIN"));
        assert!(!offer.has_mechanism(b"EXTERNAL"));
        assert_eq!(screen(b"LITERAL+ LITERAL- IMAP4rev2", true, Leg::Tls).offer.plus, Plus::Any);
        assert_eq!(screen(b"IMAP4rev2", true, Leg::Tls).offer.plus, Plus::Small);
        assert_eq!(screen(b"IMAP4rev1", true, Leg::Tls).offer, Offer::default());
    }
}
