//! An address that mail is carried to or comes from (RFC 5321 §4.1.2, RFC 6531 §3.3), and where that is.
//!
//! Promises that the domain is a name that can be asked for: lower-case A-labels (RFC 5890) within the lengths of DNS.
//! The address itself stays as its client wrote it, but for a source route, which RFC 5321 appendix C wants ignored. A
//! local part is the business of the domain alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::path;

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    address: String,
    place: Place,
}

/// Where a mailbox is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a domain: its name in lower-case A-labels, without the trailing dot.
    Domain(String),
    /// On the host with this address (RFC 5321 §4.1.3).
    Host(IpAddr),
    /// `<postmaster>` without a domain: on the server that is spoken to (RFC 5321 §4.5.1).
    Here,
}

impl Mailbox {
    /// Reads what stands between the brackets of a path.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let address = without_route(path)?;
        if address.chars().any(char::is_control) {
            return None;
        }
        let (_, rest) = match address.strip_prefix('"') {
            Some(quoted) => path::quoted_local(quoted)?,
            None => path::dotted_local(address)?,
        };
        let place = match rest.strip_prefix('@') {
            Some(domain) => place(domain)?,
            None if rest.is_empty() && address.eq_ignore_ascii_case("postmaster") => Place::Here,
            None => return None,
        };
        Some(Self { address: address.to_owned(), place })
    }

    /// The address as its client wrote it, without brackets and route.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The name of its domain, if it is in one.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match &self.place {
            Place::Domain(name) => Some(name),
            Place::Host(_) | Place::Here => None,
        }
    }
}

/// RFC 5321 §4.1.2: `@one.example,@two.example:` may stand in front of an address.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, address) = path.split_once(':')?;
    route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(|hop| place(hop).is_some())).then_some(address)
}

fn place(domain: &str) -> Option<Place> {
    match domain.strip_prefix('[') {
        Some(literal) => host(literal.strip_suffix(']')?).map(Place::Host),
        None => name(domain).map(Place::Domain),
    }
}

/// RFC 5321 §4.1.3: an address literal without its brackets. Of the general ones none is registered.
fn host(literal: &str) -> Option<IpAddr> {
    match literal.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => literal.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// RFC 5891 §5: the name that is asked for.
fn name(domain: &str) -> Option<String> {
    let ascii = if domain.is_ascii() { domain.to_ascii_lowercase() } else { idna::domain_to_ascii(domain).ok()? };
    is_name(&ascii).then_some(ascii)
}

/// RFC 1035 §2.3.4; underscores are in use.
fn is_name(name: &str) -> bool {
    let sane = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(path: &str) -> Option<String> {
        Mailbox::parse(path)?.domain().map(str::to_owned)
    }

    #[test]
    fn the_domain_is_a_name_to_ask_for() {
        for (path, name) in [
            ("a@example.org", "example.org"),
            ("a.b+c@EXAMPLE.Org", "example.org"),
            ("..a.@example.org", "example.org"),
            ("a%b!c@example.org", "example.org"),
            ("\"a b\\\"c@d>\"@example.org", "example.org"),
            ("a@localhost", "localhost"),
            ("a@_x.example.org", "_x.example.org"),
            ("@one.example,@[192.0.2.1]:a@example.org", "example.org"),
            ("a@xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("j\u{f6}rg@B\u{fc}cher.example", "xn--bcher-kva.example"),
            ("a@\u{4f8b}\u{3002}example", "xn--fsq.example"),
        ] {
            assert_eq!(domain(path).as_deref(), Some(name), "{path}");
        }
    }

    #[test]
    fn a_mailbox_may_be_on_a_host_or_here() {
        let place = |path: &str| Mailbox::parse(path).map(|mailbox| mailbox.place);
        assert_eq!(place("a@[192.0.2.1]"), Some(Place::Host("192.0.2.1".parse().unwrap())));
        assert_eq!(place("a@[ipv6:2001:db8::1]"), Some(Place::Host("2001:db8::1".parse().unwrap())));
        assert_eq!(place("PostMaster"), Some(Place::Here));
    }

    #[test]
    fn the_address_stays_as_it_was_written() {
        for (path, address) in
            [("@a.example:B@Example.Org", "B@Example.Org"), ("\"x\"@\u{fc}.example", "\"x\"@\u{fc}.example")]
        {
            assert_eq!(Mailbox::parse(path).unwrap().address(), address);
        }
    }

    #[test]
    fn what_leads_nowhere_is_none() {
        let long = format!("a@{}example", "x.".repeat(127));
        let label = format!("a@{}.example", "x".repeat(64));
        for path in [
            "",
            "a",
            "@",
            "a@",
            "@example.org",
            "a@example.org.",
            "a@.example.org",
            "a@exa mple.org",
            "a b@example.org",
            "a@b@example.org",
            "\"a@example.org",
            "\"a\"b@example.org",
            "\"postmaster\"",
            "a@[192.0.2.256]",
            "a@[2001:db8::1]",
            "a@[x:y]",
            "a@[192.0.2.1",
            "@a.example",
            "@a.example:",
            "@a b:c@d.example",
            "@a.example,b.example:c@d.example",
            "a@exam\u{ad}ple\u{202e}.org",
            "\"a\r\nb\"@example.org",
            "a@x,y",
            &long,
            &label,
        ] {
            assert_eq!(Mailbox::parse(path), None, "{path}");
        }
    }
}
