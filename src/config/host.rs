//! Names and addresses of hosts as a configuration writes them.
//!
//! A host name is one that can be looked up and said in EHLO (RFC 5321 §4.1.2), with '_' allowed, since container
//! networks have it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::{IpNet, Ipv4Net};

use super::word::Refusal;

/// One `address` of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `IP:port`, `[IP]:port`, or without the port.
    Ip(IpAddr, Option<u16>),
    /// `name:port` or `name`, resolved at each dial.
    Name(String, Option<u16>),
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `embedded`: the built-in mail store.
    Embedded,
}

impl Address {
    /// The port to dial, if the address has one: its own, or else this one.
    #[must_use]
    pub fn port(&self, default: u16) -> Option<u16> {
        match self {
            Self::Ip(_, port) | Self::Name(_, port) => Some(port.unwrap_or(default)),
            Self::Unix(_) | Self::Embedded => None,
        }
    }

    /// The address with the port it is dialled at, as the configuration would write it.
    #[must_use]
    pub fn resolved(&self, default: u16) -> Self {
        match self {
            Self::Ip(ip, _) => Self::Ip(*ip, self.port(default)),
            Self::Name(name, _) => Self::Name(name.clone(), self.port(default)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip, Some(port)) => SocketAddr::new(*ip, *port).fmt(f),
            Self::Ip(ip, None) => ip.fmt(f),
            Self::Name(name, Some(port)) => write!(f, "{name}:{port}"),
            Self::Name(name, None) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Embedded => f.write_str("embedded"),
        }
    }
}

const ADDRESSES: &str = "write \"10.0.0.5:25\", \"[2001:db8::5]:25\", \"name:25\" (the port may be left out), \
                         \"unix:PATH\" or \"embedded\"";

/// Reads a backend's address; a relative unix path is taken from `base`.
pub(super) fn parse_address(text: &str, base: &Path) -> Result<Address, Refusal> {
    if text == "embedded" {
        Ok(Address::Embedded)
    } else if let Some(path) = text.strip_prefix("unix:") {
        unix(path, base)
    } else {
        internet(text)
    }
}

fn unix(path: &str, base: &Path) -> Result<Address, Refusal> {
    if path.is_empty() {
        return Err(Refusal::new("is not the path of a socket", "write unix:PATH"));
    }
    parse_socket(path, base).map(Address::Unix)
}

/// Reads the path of a unix socket; a relative one is taken from `base`.
pub(super) fn parse_socket(path: &str, base: &Path) -> Result<PathBuf, Refusal> {
    let path = base.join(path);
    // sockaddr_un has room for 107 bytes and a NUL.
    if path.as_os_str().len() > 107 {
        return Err(Refusal::new("is too long for the path of a socket", "107 bytes at most, the directory included"));
    }
    Ok(path)
}

fn internet(text: &str) -> Result<Address, Refusal> {
    let refusal = || Refusal::new("is not an address", ADDRESSES);
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(ip) = bracketed.unwrap_or(text).parse() {
        return ip_address(ip, None);
    }
    match text.parse() {
        Ok(SocketAddr::V6(address)) if address.scope_id() != 0 => return Err(refusal()),
        Ok(address) => return ip_address(address.ip(), Some(address.port())),
        Err(_) => {}
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(parse_port(port).ok_or_else(refusal)?)),
        None => (text, None),
    };
    // RFC 3696 §2: a name whose last label is all digits would be an address.
    let numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric || !is_host_name(name) { Err(refusal()) } else { Ok(Address::Name(name.to_ascii_lowercase(), port)) }
}

fn ip_address(ip: IpAddr, port: Option<u16>) -> Result<Address, Refusal> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || port == Some(0) {
        return Err(Refusal::new("cannot be connected to", ADDRESSES));
    }
    Ok(Address::Ip(ip, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// Reads an entry of `bind`.
pub(super) fn parse_bind(text: &str) -> Result<SocketAddr, Refusal> {
    let address: SocketAddr = text.parse().map_err(|_| bind_refusal(text))?;
    let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
    // A link-local address is nothing without its scope.
    Ok(if plain.ip() == address.ip() { address } else { plain })
}

fn bind_refusal(text: &str) -> Refusal {
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Refusal::new("has no port", "write \"192.0.2.1:25\", or \"[::]:25\" for all addresses of the machine");
    }
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    // What a macro stands for may be in `text`, and must not be in the answer.
    let what = if parse_port(port).is_some() { "names no IP address" } else { "is not an IP address with a port" };
    Refusal::new(what, "write \"192.0.2.1:25\", or \"[::]:25\" for all addresses of the machine")
}

/// Reads the address of a resolver, port 53 where none is given.
pub(super) fn parse_name_server(text: &str) -> Result<SocketAddr, Refusal> {
    let right = "write the address of a resolver: \"127.0.0.1\", \"127.0.0.1:53\" or \"[2001:db8::53]:53\"";
    let host = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    let server = host.or_else(|_| text.parse()).map_err(|_| Refusal::new("is not an IP address", right))?;
    if server.ip().is_unspecified() || server.ip().is_multicast() || server.port() == 0 {
        return Err(Refusal::new("cannot be asked", right));
    }
    Ok(SocketAddr::new(server.ip().to_canonical(), server.port()))
}

/// Reads an address of this machine that connections can come from.
pub(super) fn parse_source(text: &str) -> Result<IpAddr, Refusal> {
    let right = "write an address of this machine: \"192.0.2.1\" or \"2001:db8::1\"";
    let ip = text.parse::<IpAddr>().map_err(|_| Refusal::new("is not an IP address", right))?.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(Refusal::new("cannot be connected from", right));
    }
    Ok(ip)
}

/// Reads a network, or the address of a single host. One of mapped addresses means the IPv4 addresses that it maps, since
/// a peer's address is unmapped before it is looked at.
pub(super) fn parse_network(text: &str) -> Result<IpNet, Refusal> {
    let right = "write \"10.0.0.0/8\", \"2001:db8::/32\", or the address of one host";
    let host = text.parse::<IpAddr>().map(IpNet::from);
    let network = unmapped(host.or_else(|_| text.parse()).map_err(|_| Refusal::new("is not a network", right))?);
    if network.addr() != network.network() {
        let what = "has bits set behind the length of its prefix";
        return Err(Refusal::new(what, format!("write \"{}\"", network.trunc())));
    }
    Ok(network)
}

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    let length = six.prefix_len().checked_sub(96);
    let four = six.addr().to_ipv4_mapped().zip(length).and_then(|(ip, length)| Ipv4Net::new(ip, length).ok());
    four.map_or(network, IpNet::V4)
}

/// Whether `name` can be a host's: labels of letters, digits, '-' and '_', in all at most 253 bytes.
pub fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| is_label(label, |letter| letter.is_ascii_alphanumeric()))
}

/// Whether `name` can be the domain of a mail address; other alphabets are allowed (RFC 6531 §3.3).
pub(super) fn is_domain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| is_label(label, char::is_alphanumeric))
}

fn is_label(label: &str, is_letter: impl Fn(char) -> bool) -> bool {
    let edges = label.starts_with('-') || label.ends_with('-');
    (1..=63).contains(&label.len()) && !edges && label.chars().all(|c| is_letter(c) || matches!(c, '-' | '_'))
}

/// Reads `hostname`: a host name, or an address in brackets (RFC 5321 §4.1.3) where there is none.
pub(super) fn parse_hostname(text: &str) -> Result<String, Refusal> {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = literal.and_then(|text| text.strip_prefix("IPv6:").unwrap_or(text).parse::<IpAddr>().ok());
    if ip.is_some() || is_host_name(text) {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "is not a host name",
        "write a name of letters, digits, '-' and '.', such as \"mail.example.org\"",
    ))
}

/// Reads a name for a certificate: a host name, a wildcard, or an IP address.
pub(super) fn parse_certificate_name(text: &str) -> Result<String, Refusal> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if is_host_name(name) || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Refusal::new(
        "is not a name for a certificate",
        "write \"mail.example.org\", \"*.example.org\" or an IP address",
    ))
}

/// Reads an entry of `rcpt-domains`, in lower case.
pub(super) fn parse_domain_pattern(text: &str) -> Result<String, Refusal> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text == "*" || is_domain(name) {
        return Ok(text.to_lowercase());
    }
    Err(Refusal::new("is not a domain", "write \"example.org\", \"*.example.org\" for all below it, or \"*\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_one_and_its_addresses_are_unmapped() {
        let of = |text| parse_network(text).map(|network| network.to_string());
        assert_eq!(of("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(of("192.0.2.1").as_deref(), Ok("192.0.2.1/32"));
        assert_eq!(of("2001:DB8::/32").as_deref(), Ok("2001:db8::/32"));
        assert_eq!(of("::ffff:10.0.0.0/104").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(of("::ffff:192.0.2.1").as_deref(), Ok("192.0.2.1/32"));
        assert_eq!(of("::/0").as_deref(), Ok("::/0"));
        for wrong in ["", "10.0.0.0/33", "10/8", "10.0.0.1/8", "2001:db8::1/32", "::ffff:10.0.0.1/104", "localhost"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_is_an_address_of_one_machine() {
        let of = |text: &str| parse_source(text).map(|ip| ip.to_string());
        assert_eq!(of("192.0.2.1").as_deref(), Ok("192.0.2.1"));
        assert_eq!(of("2001:DB8::1").as_deref(), Ok("2001:db8::1"));
        assert_eq!(of("::ffff:192.0.2.1").as_deref(), Ok("192.0.2.1"));
        for wrong in ["", "localhost", "192.0.2.1:25", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_server_is_an_address_with_or_without_a_port() {
        let of = |text: &str| parse_name_server(text).map(|server| server.to_string());
        assert_eq!(of("127.0.0.1").as_deref(), Ok("127.0.0.1:53"));
        assert_eq!(of("192.0.2.1:5353").as_deref(), Ok("192.0.2.1:5353"));
        assert_eq!(of("2001:db8::53").as_deref(), Ok("[2001:db8::53]:53"));
        assert_eq!(of("[2001:db8::53]:5353").as_deref(), Ok("[2001:db8::53]:5353"));
        assert_eq!(of("::ffff:127.0.0.1").as_deref(), Ok("127.0.0.1:53"));
        for wrong in ["", "localhost", "localhost:53", "127.0.0.1:", "127.0.0.1:0", "0.0.0.0", "[::]:53", "224.0.0.1"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
