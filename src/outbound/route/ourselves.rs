//! Which hosts are this very server: mail must not be sent round in a circle.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::config::Config;

/// What this server is called, and where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ourselves {
    /// Names in lower case.
    pub names: Vec<String>,
    /// The sockets of all listeners.
    pub sockets: Vec<SocketAddr>,
}

impl Ourselves {
    /// As mail could come back to it, over a listener that takes any.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mail = config.listeners.values().flat_map(|listener| &listener.bind);
        let sockets = mail.chain(config.relays.values().flat_map(|relay| &relay.bind)).copied().collect();
        Self { names: vec![config.server.hostname.clone()], sockets }
    }

    /// Whether this is one of our names.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }

    /// Whether a connection there would come to us.
    #[must_use]
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        let at = |ours: &SocketAddr| {
            let same = ours.ip().to_canonical() == address.ip().to_canonical();
            // A listener for all addresses of the machine has those of the other family too, if it is one of version 6.
            ours.port() == address.port() && (same || ours.ip().is_unspecified() && is_of_this_machine(address.ip()))
        };
        self.sockets.iter().any(at)
    }
}

/// The kernel lets a socket have no address of another machine.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_for_all_addresses_is_at_each_of_them_and_no_other() {
        let at = |socket: &str, address: &str| {
            let ourselves = Ourselves { names: vec![], sockets: vec![socket.parse().unwrap()] };
            ourselves.listens_at(address.parse().unwrap())
        };
        for (socket, address) in
            [("192.0.2.1:25", "192.0.2.1:25"), ("0.0.0.0:25", "127.0.0.9:25"), ("[::]:25", "127.0.0.9:25")]
        {
            assert!(at(socket, address), "{socket} {address}");
        }
        for (socket, address) in
            [("192.0.2.1:25", "192.0.2.1:26"), ("192.0.2.1:25", "192.0.2.2:25"), ("0.0.0.0:25", "192.0.2.1:25")]
        {
            assert!(!at(socket, address), "{socket} {address}");
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        let ourselves = Ourselves { names: vec!["mail.example.org".into()], sockets: vec![] };
        assert!(ourselves.is_called("Mail.example.ORG") && !ourselves.is_called("example.org"));
    }
}
