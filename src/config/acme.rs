//! `[acme.<id>]`: a certificate that is asked for, and kept fresh, from an ACME authority (RFC 8555).

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use super::Position;

mod table;
mod words;

pub(super) use table::{AcmeTable, read};
pub(super) use words::{ChallengeName, ProviderName};

/// `[acme.<id>]`. Writing one accepts the authority's terms of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `directory`: the URL of the authority's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// `contact`: each a URL, `mailto:` added where none is given.
    pub contact: Vec<String>,
    /// `domains`: the names of the certificate, in lower case; `*.` begins a wildcard. Never empty.
    pub domains: Vec<String>,
    /// `cache`: the directory of account keys, certificates and their keys.
    pub cache: PathBuf,
    /// `challenge`, with what it needs.
    pub challenge: Challenge,
    /// `key-type`: a certificate is kept for each. Never empty.
    pub key_types: Vec<KeyType>,
    /// `reuse-key`: a renewed certificate has the key of the one before it.
    pub reuse_key: bool,
    /// `renew-before`: how long before its end a certificate is renewed, where the authority does not say (RFC 9773).
    pub renew_before: Duration,
    /// `eab.*`: the account that the authority knows already (RFC 8555 §7.3.4).
    pub binding: Option<Binding>,
    /// `profile`: which of the authority's kinds of certificate.
    pub profile: Option<String>,
    /// `ca`: PEM files with further roots that the directory's own certificate may come from.
    pub ca: Vec<PathBuf>,
    /// `preferred-chain`: the common name of the root that the chain shall lead to, where there are several.
    pub preferred_chain: Option<String>,
    /// `default`: used without SNI and for a name that no certificate has. Also where it is the only table about
    /// certificates.
    pub default: bool,
}

/// `eab.*`: an external account binding.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// `eab.kid`.
    pub kid: String,
    /// `eab.hmac-key`, decoded.
    pub hmac_key: Vec<u8>,
}

/// The kind of key that a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// `ecdsa-p256`, the default.
    EcdsaP256,
    /// `ecdsa-p384`.
    EcdsaP384,
    /// `rsa-2048`.
    Rsa2048,
}

/// How the authority is shown that a name is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// `tls-alpn-01`: by a certificate on a listener with implicit TLS (RFC 8737), the default.
    TlsAlpn01,
    /// `http-01`: by a listener with `protocol = "http"` (RFC 8555 §8.3).
    Http01,
    /// `dns-01`: by a TXT record (RFC 8555 §8.4).
    Dns01(Dns01),
}

/// What `challenge = "dns-01"` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns01 {
    /// `provider`, with what it needs.
    pub provider: DnsProvider,
    /// `polling-interval`: between two looks whether the record can be seen.
    pub polling_interval: Duration,
    /// `propagation-timeout`: how long the record may take to be seen.
    pub propagation_timeout: Duration,
}

/// Who writes the TXT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsProvider {
    /// `rfc2136-tsig`: a name server that takes dynamic updates.
    Rfc2136(Rfc2136),
    /// `exec`: a command of the operator's.
    Exec(Exec),
}

/// A name server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945).
#[derive(Clone, PartialEq, Eq)]
pub struct Rfc2136 {
    /// `host` and `port`.
    pub server: SocketAddr,
    /// `protocol = "tcp"`; else UDP, and TCP where a reply does not fit.
    pub tcp: bool,
    /// `origin`: the zone; found by asking for its SOA record where absent.
    pub origin: Option<String>,
    /// `ttl` of the record.
    pub ttl: Duration,
    /// `timeout` of one request.
    pub timeout: Duration,
    /// `key`: the name of the TSIG key.
    pub key: String,
    /// `tsig-algorithm`.
    pub algorithm: TsigAlgorithm,
    /// `secret`, decoded.
    pub secret: Vec<u8>,
}

/// The algorithm of a TSIG key (RFC 8945 §6): those that are still to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha1`: old, but RFC 8945 still has every server know it.
    HmacSha1,
    /// `hmac-sha256`.
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

/// A command that writes and removes TXT records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// `command`: the program and its first arguments.
    pub command: Vec<String>,
    /// `timeout` of one call.
    pub timeout: Duration,
}

impl TsigAlgorithm {
    /// Every algorithm, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The name in the configuration, and in the DNS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

impl KeyType {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048];

    /// The name in the configuration, and of the files in the cache.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Acme {
    /// The directory of this table's files in the cache.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.cache.join(&self.id)
    }

    /// Where the certificate for a kind of key is kept: one PEM file with the key and then the chain, so that the two
    /// can never be of different ages.
    #[must_use]
    pub fn file(&self, key_type: KeyType) -> PathBuf {
        self.folder().join(format!("{key_type}.pem"))
    }
}

/// The key must not reach a log.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The secret must not reach a log.
impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136").field("server", &self.server).field("key", &self.key).finish_non_exhaustive()
    }
}
