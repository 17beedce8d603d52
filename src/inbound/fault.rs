//! What of a session's end is held against its client (`auto-ban`).
//!
//! Promises that nothing counts which may be our own failing or an honest client's age: a certificate that the client does
//! not trust, a version or cipher that it has not. A failed handshake never counts on `smtp`: old mail servers try TLS, fail,
//! and deliver without it.

use super::{
    record::{Ended, Outcome},
    screening::SPOKE_FIRST,
};
use crate::{policy::bans::Fault, proto::Violation, tls::HandshakeFault};

/// Rules that are broken on purpose, or by what is no mail client at all.
const ABUSE: [Violation; 7] = [
    Violation::InjectedBeforeTls,
    Violation::LineTooLong,
    Violation::LiteralTooLong,
    Violation::TooManyCommands,
    Violation::TooManyErrors,
    Violation::HttpRequest,
    Violation::BadLength,
];

/// Handshakes that no honest client is known for.
const SCAN: [HandshakeFault; 4] =
    [HandshakeFault::NotTls, HandshakeFault::Truncated, HandshakeFault::Broken, HandshakeFault::WrongApplication];

/// The fault in how a session of `protocol` ended, if there is one.
pub(super) fn of(ended: Ended, protocol: &str) -> Option<Fault> {
    let Ended(outcome, reason) = ended;
    let is_scan = match outcome {
        Outcome::Violation if ABUSE.iter().any(|violation| violation.reason() == reason) => return Some(Fault::Abuse),
        Outcome::Violation if reason == SPOKE_FIRST => return Some(Fault::Abuse),
        Outcome::Timeout if reason == "before-tls" => return Some(Fault::Loiter),
        Outcome::Violation => reason == "tls-to-starttls-port",
        Outcome::Timeout => reason == "handshake",
        Outcome::TlsFailed => SCAN.iter().any(|fault| fault.reason() == reason),
        _ => false,
    };
    (is_scan && protocol != "smtp").then_some(Fault::Scan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_the_clients_own_and_no_handshake_counts_on_smtp() {
        let table = [
            (Outcome::Violation, "http-request", Some(Fault::Abuse), Some(Fault::Abuse)),
            (Outcome::Violation, "bytes-behind-starttls", Some(Fault::Abuse), Some(Fault::Abuse)),
            (Outcome::Violation, "too-many-errors", Some(Fault::Abuse), Some(Fault::Abuse)),
            (Outcome::Violation, "spoke-before-greeting", Some(Fault::Abuse), Some(Fault::Abuse)),
            // Of a message, which an honest server may pass on.
            (Outcome::Violation, "bare-newline", None, None),
            (Outcome::Violation, "bad-proxy-header", None, None),
            (Outcome::Violation, "tls-to-starttls-port", Some(Fault::Scan), None),
            (Outcome::Timeout, "before-tls", Some(Fault::Loiter), Some(Fault::Loiter)),
            (Outcome::Timeout, "handshake", Some(Fault::Scan), None),
            (Outcome::Timeout, "", None, None),
            (Outcome::TlsFailed, HandshakeFault::Truncated.reason(), Some(Fault::Scan), None),
            (Outcome::TlsFailed, HandshakeFault::NotTls.reason(), Some(Fault::Scan), None),
            (Outcome::TlsFailed, HandshakeFault::NoCommonVersion.reason(), None, None),
            (Outcome::TlsFailed, HandshakeFault::CertificateRefused.reason(), None, None),
            (Outcome::TlsFailed, HandshakeFault::NoCertificate.reason(), None, None),
            (Outcome::TlsFailed, "no-certificate-yet", None, None),
            (Outcome::BackendDown, "", None, None),
            (Outcome::ClientLost, "before-tls", None, None),
            (Outcome::Limited, "client-connections", None, None),
            // Whoever is listed is known already.
            (Outcome::Limited, "listed", None, None),
            (Outcome::Ok, "", None, None),
        ];
        for (outcome, reason, on_imap, on_smtp) in table {
            assert_eq!(of(Ended(outcome, reason), "imap"), on_imap, "{outcome:?} {reason}");
            assert_eq!(of(Ended(outcome, reason), "smtp"), on_smtp, "{outcome:?} {reason}");
        }
    }
}
