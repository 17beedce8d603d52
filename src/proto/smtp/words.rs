//! Everything that mailward itself says in SMTP and LMTP, with enhanced codes throughout (RFC 3463).

use std::net::IpAddr;

use crate::proto::{Farewell, Violation};

pub(super) const OK: &str = "250 2.0.0 OK\r\n";
pub(super) const SENDER_OK: &str = "250 2.1.0 OK\r\n";
pub(super) const GO_AHEAD: &str = "354 End the message with a dot on a line of its own\r\n";
pub(super) const BYE: &str = "221 2.0.0 Bye\r\n";
pub(super) const READY_FOR_TLS: &str = "220 2.0.0 Ready to start TLS\r\n";
pub(super) const HELP: &str = "214 2.0.0 See RFC 5321\r\n";
pub(super) const CANNOT_VERIFY: &str = "252 2.5.0 Cannot verify, but will take a message and try to deliver it\r\n";

pub(super) const UNKNOWN_COMMAND: &str = "500 5.5.1 Command not recognized\r\n";
pub(super) const BAD_LINE: &str = "500 5.5.2 Line too long, or with characters that cannot stand in a command\r\n";
pub(super) const BAD_NAME: &str = "501 5.5.4 A name or address of the client is needed\r\n";
pub(super) const BAD_ARGUMENT: &str = "501 5.5.4 Syntax error in parameters\r\n";
pub(super) const NO_ARGUMENT: &str = "501 5.5.4 No parameters allowed\r\n";
pub(super) const BAD_SENDER: &str = "501 5.1.7 Syntax error in the sender's address\r\n";
pub(super) const BAD_RECIPIENT: &str = "501 5.1.3 Syntax error in the recipient's address\r\n";
pub(super) const NOT_OFFERED: &str = "502 5.5.1 Command not offered\r\n";
pub(super) const BAD_SEQUENCE: &str = "503 5.5.1 Bad sequence of commands\r\n";
pub(super) const NO_RECIPIENTS: &str = "503 5.5.1 No valid recipients\r\n";
pub(super) const NO_STARTTLS: &str = "503 5.5.1 STARTTLS is not possible now\r\n";
pub(super) const NO_MECHANISM: &str = "504 5.5.4 Authentication mechanism not offered\r\n";
pub(super) const NEEDS_TLS: &str = "530 5.7.0 Must issue a STARTTLS command first\r\n";
pub(super) const NEEDS_LOGIN: &str = "530 5.7.0 Authentication required\r\n";
pub(super) const NEEDS_ENCRYPTION: &str = "538 5.7.11 Encryption required for authentication\r\n";
pub(super) const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Too many recipients\r\n";
pub(super) const BARE_NEWLINE: &str = "550 5.6.11 Message refused: a bare LF or CR in it, or a NUL before a line\r\n";
pub(super) const TOO_LARGE: &str = "552 5.3.4 Message too large\r\n";
pub(super) const NO_UTF8: &str = "553 5.6.7 Letters beyond ASCII need SMTPUTF8, which is not offered\r\n";
pub(super) const NO_RELAY: &str = "554 5.7.1 Relay access denied\r\n";
pub(super) const TURNED_AWAY: &str = "554 5.7.1 This server takes mail from permitted networks only\r\n";
pub(super) const LOOP: &str = "554 5.4.6 The message goes round in circles\r\n";
pub(super) const NOBODY: &str = "554 5.5.1 No valid recipients\r\n";
pub(super) const NO_PARAMETER: &str = "555 5.5.4 Parameter not offered\r\n";

/// For a client that speaks before it is greeted (RFC 5321 §3.1).
pub const SPOKE_FIRST: &str = "554 5.5.1 A client waits for the greeting, closing\r\n";

/// For a client that is on the block list `zone`, in place of the greeting: which address, and where to ask why.
#[must_use]
pub fn listed(client: IpAddr, zone: &str) -> String {
    format!("554 5.7.1 The client [{}] is on the block list {zone}, closing\r\n", client.to_canonical())
}

pub(super) const CLOSING: &str = "421 4.3.2 Connection to the mail server lost, closing\r\n";
pub(super) const UNAVAILABLE: &str = "421 4.3.2 Mail server not available, try again later\r\n";
pub(super) const EXTENSION_GONE: &str = "421 4.3.2 An extension offered before is not available, try again later\r\n";
pub(super) const OUTCOME_UNKNOWN: &str = "451 4.4.2 Connection to the mail server lost, try again later\r\n";

/// The words for `farewell`; nobody is ever sent away with a permanent error.
pub(super) const fn farewell(farewell: Farewell) -> &'static str {
    match farewell {
        Farewell::Busy => "421 4.3.2 Too many connections, try again later\r\n",
        Farewell::BackendDown => UNAVAILABLE,
        Farewell::BackendLost => CLOSING,
        Farewell::NoCertificate => "421 4.3.2 TLS is not possible yet, try again later\r\n",
        Farewell::Timeout => "421 4.4.2 Timeout, closing\r\n",
        Farewell::Draining => "421 4.3.2 Service is shutting down, try again later\r\n",
    }
}

/// The last words for a client that broke the protocol or a limit.
pub(super) const fn violation(violation: Violation) -> &'static str {
    match violation {
        Violation::InjectedBeforeTls => "503 5.5.1 Nothing may follow STARTTLS before the handshake\r\n",
        Violation::LineTooLong => BAD_LINE,
        Violation::TooManyCommands => "421 4.7.0 Too many commands, closing\r\n",
        Violation::TooManyErrors => "421 4.7.0 Too many errors, closing\r\n",
        Violation::HttpRequest => "421 4.7.0 This is a mail server, closing\r\n",
        Violation::TooMuchDiscarded => "421 4.7.0 Too much unwanted data, closing\r\n",
        Violation::BadLength => BAD_ARGUMENT,
        // The others are the backend's, or have had their reply.
        _ => CLOSING,
    }
}

/// The reply to a message that is refused on its way.
pub(super) const fn refusal(violation: Violation) -> &'static str {
    match violation {
        // RFC 1870 §6.3
        Violation::MessageTooLarge => TOO_LARGE,
        // RFC 5321 §2.3.8: CR and LF stand in a message only together.
        _ => BARE_NEWLINE,
    }
}

/// Appends a reply to what goes to the client.
pub(super) fn say(words: &str, output: &mut Vec<u8>) {
    output.extend_from_slice(words.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_farewell_is_a_temporary_one() {
        for cause in [
            Farewell::Busy,
            Farewell::BackendDown,
            Farewell::BackendLost,
            Farewell::NoCertificate,
            Farewell::Timeout,
            Farewell::Draining,
        ] {
            let words = farewell(cause);
            assert!(words.starts_with("421 4.") && words.ends_with("\r\n"), "{words}");
        }
    }
}
