//! The connection of a client, as a backend is told of it.

use std::{borrow::Cow, net::SocketAddr};

/// How a client's leg is secured, as far as that decides what the client is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Not at all.
    Plaintext,
    /// By TLS.
    Tls,
    /// By TLS, with a certificate of the client's that was verified, and the backend has been told of the name in it.
    Certified,
}

impl Leg {
    /// Whether it is TLS.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        !matches!(self, Self::Plaintext)
    }
}

/// A client's connection.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The address that it connected to.
    pub destination: SocketAddr,
    /// What was negotiated, where the connection has TLS.
    pub tls: Option<Encryption<'a>>,
}

/// What was negotiated with a client. Texts that are empty are left out.
#[derive(Clone, Debug)]
pub struct Encryption<'a> {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'a str,
    /// The suite, by its name in IANA's registry.
    pub cipher: Cow<'a, str>,
    /// The key exchange group.
    pub group: &'a str,
    /// The name that the client asked for.
    pub server_name: &'a str,
    /// The application protocol that was agreed on.
    pub application: &'a str,
    /// The name in the client's certificate, where that was verified.
    pub client: Option<&'a str>,
}
