//! The names of TLS versions, cipher suites and groups, and what is left of them for one listener.

use std::{path::PathBuf, time::Duration};

/// `server.tls.*` as they hold for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `implicit`: TLS from the first byte.
    pub implicit: bool,
    /// `timeout`: the whole handshake.
    pub timeout: Duration,
    /// The versions that are left after `disable-protocols` and have a cipher left; never empty.
    pub versions: Vec<TlsVersion>,
    /// The suites of those versions that are left after `disable-ciphers`, in our order; never empty.
    pub ciphers: Vec<Cipher>,
    /// The groups that are left after `disable-groups`, in our order; never empty.
    pub groups: Vec<Group>,
    /// `ignore-client-order`.
    pub ignore_client_order: bool,
    /// `client-auth` and `client-ca`; `None` where clients are not asked for a certificate.
    pub client: Option<ClientAuth>,
}

/// How clients are asked for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// `client-ca`: PEM files with the roots that it may come from.
    pub ca: Vec<PathBuf>,
    /// `client-auth = "require"`: whoever shows none that can be verified is not served.
    pub required: bool,
}

/// `client-auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificates {
    /// Nobody is asked.
    None,
    /// Who shows none that can be verified is served like anybody.
    Optional,
    /// Who shows none that can be verified is not served.
    Require,
}

impl ClientCertificates {
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Optional, Self::Require];

    /// The name used in the configuration.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Require => "require",
        }
    }
}

/// A TLS version, by the name of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// `TLSv1.3` (RFC 8446).
    Tls13,
    /// `TLSv1.2` (RFC 5246).
    Tls12,
}

impl TlsVersion {
    /// Every version, the newest first.
    pub const ALL: [Self; 2] = [Self::Tls13, Self::Tls12];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls13 => "TLSv1.3",
            Self::Tls12 => "TLSv1.2",
        }
    }
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

impl Cipher {
    /// Every suite, in our order.
    pub const ALL: [Self; 9] = [
        Self::Tls13Aes256,
        Self::Tls13Aes128,
        Self::Tls13ChaCha20,
        Self::EcdsaAes256,
        Self::EcdsaAes128,
        Self::EcdsaChaCha20,
        Self::RsaAes256,
        Self::RsaAes128,
        Self::RsaChaCha20,
    ];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls13Aes256 => "TLS13_AES_256_GCM_SHA384",
            Self::Tls13Aes128 => "TLS13_AES_128_GCM_SHA256",
            Self::Tls13ChaCha20 => "TLS13_CHACHA20_POLY1305_SHA256",
            Self::EcdsaAes256 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::EcdsaAes128 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdsaChaCha20 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Self::RsaAes256 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::RsaAes128 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::RsaChaCha20 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        }
    }

    /// The one version that has the suite.
    #[must_use]
    pub const fn version(self) -> TlsVersion {
        match self {
            Self::Tls13Aes256 | Self::Tls13Aes128 | Self::Tls13ChaCha20 => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        }
    }
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

impl Group {
    /// Every group, in our order.
    pub const ALL: [Self; 4] = [Self::X25519MlKem768, Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "X25519",
            Self::Secp256r1 => "SECP256R1",
            Self::Secp384r1 => "SECP384R1",
        }
    }

    /// Whether `version` has the group: the hybrid one came with TLS 1.3.
    #[must_use]
    pub const fn is_usable_in(self, version: TlsVersion) -> bool {
        !matches!((self, version), (Self::X25519MlKem768, TlsVersion::Tls12))
    }
}
