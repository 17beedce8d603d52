//! Text to values: `proxy.toml` becomes a [`Config`] that needs no further check of its own.
//!
//! `file` walks the document with every key's position, `resolve` applies defaults and overrides and the rules
//! between fields, `error` says where, what, and what would be right. Certificates and keys are named here and
//! read by `tls`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::proto::{Limits, Protocol, smtp::Guard};

mod error;

pub use error::{Position, Problem, Problems, Severity};

/// All that the file says, after defaults and overrides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[server.listener.<id>]`, by id.
    pub listeners: BTreeMap<String, Listener>,
    /// `[certificate.<id>]`, by id.
    pub certificates: BTreeMap<String, Certificate>,
    /// `[backend.<id>]`, by id.
    pub backends: BTreeMap<String, Arc<Backend>>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// `hostname`: greeting and EHLO name; default: the machine's name.
    pub hostname: String,
    /// `workers`: threads that carry sessions; already the number of cores where the file says 0.
    pub workers: usize,
    /// `drain`: how long running sessions may go on after SIGTERM.
    pub drain: Duration,
    /// `limit.handshakes`: TLS handshakes under way at once, in all.
    pub handshakes: usize,
}

/// `[server.listener.<id>]` with the defaults of `[server]` and `[server.tls]` applied.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `bind`.
    pub bind: Vec<SocketAddr>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `backend`: the id, which exists.
    pub backend: String,
    /// `tls.*`; `None` where `tls.enable = false`.
    pub tls: Option<Tls>,
    /// `tls.require`.
    pub require: bool,
    /// `plaintext-auth`.
    pub plaintext_auth: bool,
    /// `max-connections`.
    pub max_connections: usize,
    /// `timeout.*`.
    pub timeouts: Timeouts,
    /// `limit.*`.
    pub limits: Limits,
    /// `require-auth` and `rcpt-domains`.
    pub guard: Guard,
}

/// `server.tls.*` as they hold for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `implicit`: TLS from the first byte.
    pub implicit: bool,
    /// `timeout`: the whole handshake.
    pub timeout: Duration,
    /// The versions that are left after `disable-protocols`; never empty.
    pub versions: Vec<TlsVersion>,
    /// The suites of those versions that are left after `disable-ciphers`, in our order; never empty.
    pub ciphers: Vec<Cipher>,
    /// The groups that are left after `disable-groups`, in our order; never empty.
    pub groups: Vec<Group>,
    /// `ignore-client-order`.
    pub ignore_client_order: bool,
}

/// A TLS version, by the name of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// `TLSv1.3` (RFC 8446).
    Tls13,
    /// `TLSv1.2` (RFC 5246).
    Tls12,
}

/// A cipher suite, by the name of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// `TLS13_AES_256_GCM_SHA384`
    Tls13Aes256,
    /// `TLS13_AES_128_GCM_SHA256`
    Tls13Aes128,
    /// `TLS13_CHACHA20_POLY1305_SHA256`
    Tls13ChaCha20,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`
    EcdsaAes256,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`
    EcdsaAes128,
    /// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256`
    EcdsaChaCha20,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`
    RsaAes256,
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`
    RsaAes128,
    /// `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`
    RsaChaCha20,
}

/// A key exchange group, by the name of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// `X25519MLKEM768`
    X25519MlKem768,
    /// `X25519`
    X25519,
    /// `SECP256R1`
    Secp256r1,
    /// `SECP384R1`
    Secp384r1,
}

/// `timeout.*` of a listener (spec §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `command`: a whole line, from the last reply.
    pub command: Duration,
    /// `login`: from accept to the accepted login.
    pub login: Duration,
    /// `idle`: both directions silent.
    pub idle: Duration,
    /// `data-end`: the backend's answer to the final dot.
    pub data_end: Duration,
    /// `half-close`: both directions silent after one side has ended its sending.
    pub half_close: Duration,
}

/// `[certificate.<id>]`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// Where chain and key come from.
    pub source: CertificateSource,
    /// `default`: used without SNI and for a name that no certificate has.
    pub default: bool,
}

/// Where a certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// `cert` and `private-key`.
    Pair {
        /// The chain, leaf first, as PEM.
        cert: Text,
        /// The key, as PEM.
        private_key: Text,
    },
    /// `directory`: every pair below it.
    Directory(PathBuf),
    /// `self-signed`: made by mailward for these names and kept below the file's `certs/`.
    SelfSigned(Vec<String>),
}

/// A text that may hold `%{file:PATH}%` and `%{env:NAME}%`, so that it can be read anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the file says.
    pub template: String,
    /// What a relative PATH is relative to.
    pub base: PathBuf,
    /// Where it stands in the file.
    pub at: Position,
}

/// `[backend.<id>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `address`: tried in order.
    pub addresses: Vec<Address>,
    /// `timeout.connect`: for one address.
    pub connect_timeout: Duration,
    /// `timeout.greeting`: the whole greeting.
    pub greeting_timeout: Duration,
}

/// One `address` of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `IP:port`, `[IP]:port`, or without the port.
    Ip(std::net::IpAddr, Option<u16>),
    /// `name:port` or `name`, resolved at each dial.
    Name(String, Option<u16>),
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `embedded`: the built-in mail store.
    Embedded,
}
