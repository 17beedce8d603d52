//! Where a client connects, and what it must insist on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS after the protocol's STARTTLS or STLS; the client fails where that is not offered.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

/// A server as a client knows it. With TLS every client here checks the certificate against the one authority it is given and
/// against the name.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// What protects the connection.
    pub security: Security,
    /// The server's name, sent as SNI and demanded of its certificate.
    pub name: String,
    /// The authority's certificate, a PEM file. Empty without TLS.
    pub ca: PathBuf,
}

impl Target {
    /// A server without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, security: Security::Plain, name: address.ip().to_string(), ca: PathBuf::new() }
    }

    /// A server that is asked for STARTTLS.
    pub fn starttls(address: SocketAddr, name: &str, ca: &Path) -> Self {
        Self { address, security: Security::StartTls, name: name.into(), ca: ca.into() }
    }

    /// A server that speaks TLS from the first byte.
    pub fn implicit(address: SocketAddr, name: &str, ca: &Path) -> Self {
        Self { security: Security::Implicit, ..Self::starttls(address, name, ca) }
    }

    /// The address without its port.
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The port as text.
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// The authority's file as text.
    pub fn authority(&self) -> String {
        self.ca.display().to_string()
    }
}
