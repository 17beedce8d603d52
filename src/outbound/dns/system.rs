//! The resolvers of the system (`/etc/resolv.conf`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Server;

/// Where the system names its resolvers.
pub const FILE: &str = "/etc/resolv.conf";

/// As many as the C library asks.
const MOST: usize = 3;

const PORT: u16 = 53;

/// Reads the file's text. Trusted are all of them where it says `options trust-ad`, as the C library has it, and
/// otherwise those on loopback. Without any it is the one of this machine.
#[must_use]
pub fn servers(text: &str) -> Vec<Server> {
    let (mut addresses, mut trusts) = (Vec::new(), false);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            // One with a zone (`fe80::1%eth0`) is left out: it is none of this machine.
            Some("nameserver") => addresses.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
            Some("options") => trusts |= words.any(|word| word == "trust-ad"),
            _ => {}
        }
    }
    if addresses.is_empty() {
        addresses.push(Ipv4Addr::LOCALHOST.into());
    }
    addresses.truncate(MOST);
    addresses.into_iter().map(|ip| Server::new(SocketAddr::new(ip, PORT), trusts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, bool)> {
        servers(text).iter().map(|server| (server.address.to_string(), server.is_trusted)).collect()
    }

    #[test]
    fn trusted_are_those_on_loopback_and_all_where_it_says_so() {
        let text =
            "# by hand\nsearch example.org\nnameserver 127.0.0.53\n nameserver\t192.0.2.1 # far\nnameserver ::1\n";
        let some = [("127.0.0.53:53", true), ("192.0.2.1:53", false), ("[::1]:53", true)];
        assert_eq!(read(text), some.map(|(address, trusted)| (address.to_owned(), trusted)));
        let all = read(&format!("{text}options edns0 trust-ad\n"));
        assert_eq!(all, some.map(|(address, _)| (address.to_owned(), true)));
    }

    #[test]
    fn without_one_it_is_the_machines_own_and_beyond_three_nobody_looks() {
        for text in ["", "search example.org\n", ";nameserver 192.0.2.1\n", "nameserver fe80::1%eth0\nnameserver\n"] {
            assert_eq!(read(text), [("127.0.0.1:53".to_owned(), true)], "{text}");
        }
        assert_eq!(read(&"nameserver 192.0.2.1\n".repeat(5)).len(), MOST);
    }
}
