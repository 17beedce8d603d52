//! What mailward itself says to a POP3 client.

use crate::proto::{Farewell, Violation};

/// The words for a client that mailward takes leave of.
pub(super) fn farewell(farewell: Farewell) -> &'static [u8] {
    match farewell {
        // RFC 3206: SYS/TEMP says that the same may succeed later, so the password is not asked for again.
        Farewell::Busy => b"-ERR [SYS/TEMP] Too many connections, try again later",
        Farewell::BackendDown => b"-ERR [SYS/TEMP] The mail server is not available, try again later",
        Farewell::BackendLost => b"-ERR [SYS/TEMP] The mail server was lost, try again later",
        Farewell::NoCertificate => b"-ERR [SYS/TEMP] TLS is not possible yet, try again later",
        Farewell::Timeout => b"-ERR Too slow, goodbye",
        Farewell::Draining => b"-ERR [SYS/TEMP] Going down, try again later",
    }
}

/// The last words for a client that broke the protocol or a limit.
pub(super) fn violation(violation: Violation) -> &'static [u8] {
    match violation {
        Violation::InjectedBeforeTls => b"-ERR Nothing may follow STLS before TLS, goodbye",
        Violation::LineTooLong => b"-ERR Line too long, goodbye",
        Violation::TooManyCommands => b"-ERR Too many commands, goodbye",
        Violation::TooManyErrors => b"-ERR Too many errors, goodbye",
        Violation::HttpRequest => b"-ERR This is not a web server, goodbye",
        // The others cannot come up in POP3.
        _ => b"-ERR Goodbye",
    }
}
