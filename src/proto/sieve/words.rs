//! What mailward itself says to a ManageSieve client.

use crate::proto::{Farewell, Violation, line};

/// The longest string that is written between quotes (RFC 5804 §4).
const LONGEST_QUOTED: usize = 1024;

/// Writes a string, between quotes where that is possible, else as a literal.
pub(super) fn string(text: &[u8], output: &mut Vec<u8>) {
    if text.len() > LONGEST_QUOTED || text.iter().any(u8::is_ascii_control) {
        line::write(format!("{{{}}}", text.len()).as_bytes(), output);
        output.extend_from_slice(text);
        return;
    }
    output.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            output.push(b'\\');
        }
        output.push(*byte);
    }
    output.push(b'"');
}

/// The words for a client that mailward takes leave of.
pub(super) fn farewell(farewell: Farewell) -> &'static [u8] {
    match farewell {
        Farewell::Busy => b"BYE (TRYLATER) \"Too many connections, try again later\"",
        Farewell::BackendDown => b"BYE (TRYLATER) \"The mail server is not available, try again later\"",
        Farewell::BackendLost => b"BYE (TRYLATER) \"The mail server was lost, try again later\"",
        Farewell::NoCertificate => b"BYE (TRYLATER) \"TLS is not possible yet, try again later\"",
        Farewell::Timeout => b"BYE \"Too slow, goodbye\"",
        Farewell::Draining => b"BYE (TRYLATER) \"Going down, try again later\"",
    }
}

/// The last words for a client that broke the protocol or a limit.
pub(super) fn violation(violation: Violation) -> &'static [u8] {
    match violation {
        Violation::InjectedBeforeTls => b"NO \"Nothing may follow STARTTLS before TLS, goodbye\"",
        Violation::LineTooLong => b"BYE \"Line too long\"",
        Violation::LiteralTooLong => b"BYE \"Literal too long\"",
        Violation::TooManyCommands => b"BYE \"Too many commands\"",
        Violation::TooManyErrors => b"BYE \"Too many errors\"",
        Violation::HttpRequest => b"BYE \"This is not a web server\"",
        // The others cannot come up in ManageSieve.
        _ => b"BYE \"Goodbye\"",
    }
}
