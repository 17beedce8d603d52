//! What a listener negotiates: its versions, suites and groups, its application protocols, and what a failed
//! handshake is called in the log.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, Error, InvalidMessage, PeerIncompatible, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{cipher_suite, kx_group},
    },
    server::{
        NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    version,
};

use super::{ACME_TLS, CertStore, Challenges, ClientCertificates, KeyKind, challenges::Validated, key_schedule};
use crate::{
    config::{Cipher, Group, Tls, TlsVersion},
    proto::Protocol,
};

/// A listener's side of TLS in one snapshot.
#[derive(Debug)]
pub struct ServerSide {
    /// What its handshakes negotiate.
    pub config: Arc<ServerConfig>,
    /// The same for an authority that validates a name, where everybody else has to show a certificate.
    pub validation: Option<Arc<ServerConfig>>,
    /// What it asks of its clients' certificates; `None`: it asks for none.
    pub clients: Option<ClientCertificates>,
    /// The certificates that they choose from.
    pub certificates: Arc<CertStore>,
    /// How long each may take.
    pub timeout: Duration,
}

impl ServerSide {
    /// For a listener that knows these application protocols. With `challenges`, authorities can validate names there
    /// (RFC 8737), unless it knows no protocol: an empty list stands for no check at all, and an offer of theirs is
    /// then passed over like any other.
    ///
    /// # Errors
    /// Where rustls finds no way to serve TLS with what is left enabled.
    pub fn new(
        tls: &Tls,
        applications: &[&[u8]],
        certificates: Arc<CertStore>,
        challenges: Option<Arc<Challenges>>,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Self, Error> {
        let challenges = challenges.filter(|_| !applications.is_empty());
        // The last, so that whoever offers it beside another protocol is not taken for an authority.
        let known = applications.iter().copied().chain(challenges.is_some().then_some(ACME_TLS));
        let alpn = known.map(<[u8]>::to_vec).collect();
        let is_validated = challenges.is_some();
        let resolver: Arc<dyn ResolvesServerCert> = match challenges {
            Some(challenges) => Arc::new(Validated::new(certificates.clone(), challenges)),
            None => certificates.clone(),
        };
        let provider = Arc::new(provider(tls));
        let make = |alpn, verifier| server_config(tls, &provider, alpn, resolver.clone(), tickets.clone(), verifier);
        let nobody_asked = WebPkiClientVerifier::no_client_auth();
        let clients = tls.client.as_ref().map(|auth| ClientCertificates::new(auth, provider.clone())).transpose()?;
        let asked = clients.as_ref().map_or_else(|| nobody_asked.clone(), ClientCertificates::asked);
        // RFC 8737: an authority shows no certificate of its own.
        let validation = (is_validated && asked.client_auth_mandatory())
            .then(|| make(vec![ACME_TLS.to_vec()], nobody_asked.clone()).map(Arc::new))
            .transpose()?;
        let config = Arc::new(make(alpn, asked)?);
        Ok(Self { config, validation, clients, certificates, timeout: tls.timeout })
    }
}

fn server_config(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    alpn: Vec<Vec<u8>>,
    resolver: Arc<dyn ResolvesServerCert>,
    tickets: Arc<dyn ProducesTickets>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, Error> {
    let versions: Vec<&'static SupportedProtocolVersion> = tls.versions.iter().copied().map(version_of).collect();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.ignore_client_order = tls.ignore_client_order;
    config.alpn_protocols = alpn;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    config.send_tls13_tickets = 1;
    // Records behind the handshake are ours (`tls::record`).
    config.enable_secret_extraction = true;
    // RFC 8446 §8: early data can be replayed, and a mail command must not be.
    config.max_early_data_size = 0;
    Ok(config)
}

/// Whether a listener has a suite left that a key of this kind can be used with.
#[must_use]
pub fn can_serve(tls: &Tls, kind: KeyKind) -> bool {
    use Cipher as C;
    tls.ciphers.iter().any(|cipher| match cipher {
        C::Tls13Aes256 | C::Tls13Aes128 | C::Tls13ChaCha20 => true,
        C::EcdsaAes256 | C::EcdsaAes128 | C::EcdsaChaCha20 => kind == KeyKind::Ecdsa,
        C::RsaAes256 | C::RsaAes128 | C::RsaChaCha20 => kind == KeyKind::Rsa,
    })
}

/// The suites of `tls.ciphers` alone: a suite of a version that is not enabled would make rustls prefer a
/// certificate that the enabled ones cannot use.
fn provider(tls: &Tls) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: tls.ciphers.iter().copied().map(suite_of).map(key_schedule::ours).collect(),
        kx_groups: tls.groups.iter().copied().map(group_of).collect(),
        ..key_schedule::provider()
    }
}

/// The application protocols that a client of a mail listener may ask for (IANA's registry; `smtp` and `esmtp` are in
/// use without being in it). LMTP has none, so there an offer is ignored.
#[must_use]
pub const fn applications(protocol: Protocol) -> &'static [&'static [u8]] {
    match protocol {
        Protocol::Smtp | Protocol::Submission => &[b"smtp", b"esmtp"],
        Protocol::Lmtp => &[],
        Protocol::Imap => &[b"imap"],
        Protocol::Pop3 => &[b"pop3"],
        Protocol::ManageSieve => &[b"managesieve"],
    }
}

fn version_of(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::Tls13 => &version::TLS13,
        TlsVersion::Tls12 => &version::TLS12,
    }
}

fn suite_of(cipher: Cipher) -> SupportedCipherSuite {
    match cipher {
        Cipher::Tls13Aes256 => cipher_suite::TLS13_AES_256_GCM_SHA384,
        Cipher::Tls13Aes128 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Cipher::Tls13ChaCha20 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        Cipher::EcdsaAes256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdsaAes128 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdsaChaCha20 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Cipher::RsaAes256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Cipher::RsaAes128 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Cipher::RsaChaCha20 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group_of(group: Group) -> &'static dyn SupportedKxGroup {
    match group {
        Group::X25519MlKem768 => kx_group::X25519MLKEM768,
        Group::X25519 => kx_group::X25519,
        Group::Secp256r1 => kx_group::SECP256R1,
        Group::Secp384r1 => kx_group::SECP384R1,
    }
}

/// Why a handshake failed, as a fixed word for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// The client has no TLS version that the listener has.
    NoCommonVersion,
    /// No suite in common (with the certificates there are).
    NoCommonCipher,
    /// No group in common.
    NoCommonGroup,
    /// No certificate that the client can verify, or none for its name.
    NoCertificate,
    /// The client asked for another protocol (ALPN).
    WrongApplication,
    /// What came was not TLS.
    NotTls,
    /// The client did not like our certificate.
    CertificateRefused,
    /// The client has shown no certificate, where it has to.
    NoClientCertificate,
    /// The client's certificate cannot be verified.
    BadClientCertificate,
    /// The client sent an alert.
    Alert,
    /// The connection ended within the handshake.
    Truncated,
    /// The client broke the protocol.
    Broken,
}

impl HandshakeFault {
    /// Reads it off the error that a handshake ended with, and the newest version that the client offered (of
    /// [`super::offered_version`]).
    #[must_use]
    pub fn of(error: &io::Error, offered: &str) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            // rustls looks at extensions that only TLS 1.2 demands before it looks at the version.
            Some(_) if matches!(offered, "TLSv1.1" | "TLSv1.0" | "SSLv3") => Self::NoCommonVersion,
            Some(error) => Self::of_tls(error),
            None => Self::Truncated,
        }
    }

    fn of_tls(error: &Error) -> Self {
        use PeerIncompatible as Peer;
        match error {
            Error::PeerIncompatible(
                Peer::Tls12NotOffered
                | Peer::Tls12NotOfferedOrEnabled
                | Peer::Tls13RequiredForQuic
                | Peer::SupportedVersionsExtensionRequired,
            ) => Self::NoCommonVersion,
            Error::PeerIncompatible(Peer::NoCipherSuitesInCommon) => Self::NoCommonCipher,
            Error::PeerIncompatible(
                Peer::NoKxGroupsInCommon | Peer::NoEcPointFormatsInCommon | Peer::NamedGroupsExtensionRequired,
            ) => Self::NoCommonGroup,
            Error::PeerIncompatible(Peer::NoSignatureSchemesInCommon) => Self::NoCertificate,
            Error::General(text) if text.contains("no server certificate chain resolved") => Self::NoCertificate,
            Error::NoCertificatesPresented => Self::NoClientCertificate,
            Error::InvalidCertificate(_) => Self::BadClientCertificate,
            Error::NoApplicationProtocol => Self::WrongApplication,
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                Self::NotTls
            }
            Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnsupportedCertificate,
            ) => Self::CertificateRefused,
            Error::AlertReceived(_) => Self::Alert,
            _ => Self::Broken,
        }
    }

    /// The word.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoCommonVersion => "no-common-tls-version",
            Self::NoCommonCipher => "no-common-cipher",
            Self::NoCommonGroup => "no-common-group",
            Self::NoCertificate => "no-fitting-certificate",
            Self::WrongApplication => "alpn-of-another-protocol",
            Self::NotTls => "not-tls",
            Self::CertificateRefused => "certificate-refused-by-client",
            Self::NoClientCertificate => "no-client-certificate",
            Self::BadClientCertificate => "client-certificate-not-verified",
            Self::Alert => "alert-from-client",
            Self::Truncated => "ended-within-handshake",
            Self::Broken => "broken-handshake",
        }
    }
}
