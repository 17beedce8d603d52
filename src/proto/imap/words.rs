//! What mailward says in IMAP of its own accord.

use super::command::Tag;
use crate::proto::{Farewell, Violation};

/// What a client is asked for its literal with.
pub(super) const PROMPT: &[u8] = b"+ OK\r\n";

/// `TAG STATUS TEXT`; `*` where there is no tag that may be said back.
pub(super) fn reply(output: &mut Vec<u8>, tag: Option<&Tag>, status: &str, text: &str) {
    output.extend_from_slice(tag.map_or(b"*", Tag::as_bytes));
    output.extend_from_slice(format!(" {status} {text}\r\n").as_bytes());
}

/// The words for a farewell (RFC 9051 §7.1.5; the code: RFC 5530 §3).
pub(super) fn farewell(farewell: Farewell) -> &'static [u8] {
    match farewell {
        Farewell::Busy => b"* BYE [UNAVAILABLE] too many connections, try again later\r\n",
        Farewell::BackendDown => b"* BYE [UNAVAILABLE] the mail server cannot be reached, try again later\r\n",
        Farewell::BackendLost => b"* BYE [UNAVAILABLE] the connection to the mail server was lost\r\n",
        Farewell::NoCertificate => b"* BYE [UNAVAILABLE] TLS is not possible yet, try again later\r\n",
        Farewell::Timeout => b"* BYE autologout, idle for too long\r\n",
        Farewell::Draining => b"* BYE [UNAVAILABLE] the service is restarting, try again\r\n",
    }
}

/// The last words to a client that broke a rule.
pub(super) fn violation(violation: Violation) -> &'static [u8] {
    match violation {
        Violation::InjectedBeforeTls => b"* BYE nothing may follow STARTTLS\r\n",
        Violation::LineTooLong => b"* BYE line too long\r\n",
        Violation::LiteralTooLong => b"* BYE literal too long\r\n",
        Violation::TooManyCommands => b"* BYE too many commands\r\n",
        Violation::TooManyErrors => b"* BYE too many errors\r\n",
        Violation::TooMuchDiscarded => b"* BYE too much was refused\r\n",
        Violation::HttpRequest => b"* BYE this is not a web server\r\n",
        // The others are the backend's, or cannot come up in IMAP.
        _ => farewell(Farewell::BackendLost),
    }
}
