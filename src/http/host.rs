//! The field that says which host a request is for (RFC 9110 §7.2), taken apart strictly: what it names goes into a URL
//! that we send.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::is_host_name;

/// The name, or the address as a URL has it, without the port; `None` for whatever is neither.
pub(super) fn name(field: &str) -> Option<&str> {
    let end = match field.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => field.find(':').unwrap_or(field.len()),
    };
    let (name, port) = field.split_at(end);
    // A name may end in the root's dot.
    let name = name.strip_suffix('.').unwrap_or(name);
    (is_port(port) && is_host(name)).then_some(name)
}

/// RFC 3986 §3.2.3: the colon may be there without digits.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    text.is_empty() || (digits.len() < text.len() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_host(name: &str) -> bool {
    if let Some(literal) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok();
    }
    // Clients take whatever ends in a number for an address, and only the plain notation means the same to all.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.starts_with("0X") || last.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { name.parse::<Ipv4Addr>().is_ok() } else { is_host_name(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_an_address_is_taken_and_its_port_dropped() {
        for (field, expected) in [
            ("mx.example.org", "mx.example.org"),
            ("MX.example.org:80", "MX.example.org"),
            ("mx.example.org:", "mx.example.org"),
            ("mx.example.org.:8080", "mx.example.org"),
            ("localhost", "localhost"),
            ("3com", "3com"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
        ] {
            assert_eq!(name(field), Some(expected), "{field}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        for field in [
            "",
            ":80",
            ".",
            "mx..example.org",
            "mx.example.org..",
            "-mx.example.org",
            "evil.example/mx.example.org",
            "mx.example.org/../",
            "user@mx.example.org",
            "user:80@mx.example.org",
            "mx.example.org:80@evil.example",
            "mx.example.org:+80",
            "mx.example.org:80:80",
            "mx.example.org\r\nX: y",
            "mx.example.org ",
            "mx example",
            "mx.example.org?",
            "mx.example.org#",
            "mx.example.org\\evil.example",
            "mx%2eexample.org",
            "1.2.3",
            "1.2.3.4.5",
            "0x7f.1",
            "1.0x2",
            "192.0.2.1..",
            "2001:db8::1",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[2001:db8::1%eth0]",
            "[192.0.2.1]",
            "[mx.example.org]",
            "[]",
            "grüße.example",
            &"a".repeat(64),
            &["a"; 200].join("."),
        ] {
            assert_eq!(name(field), None, "{field}");
        }
    }
}
