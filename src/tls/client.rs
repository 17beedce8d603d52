//! mailward as the client of a backend: what the backend has to show, what is shown to it, and what a handshake that came
//! to nothing is called in the log.
//!
//! Promises that whoever shows neither a chain to a known root, for the right name, nor a pinned key gets nothing but
//! alerts. The dates and the name of a pinned certificate do not count: its key is known.

use std::{
    fmt::{self, Display},
    io,
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, OtherError,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    certificate::{self_issued, sha256},
    key_schedule,
    proof::{Judge, Proven},
    roots::{roots, roots_with_system},
    table::read_texts,
};
use crate::{config::BackendTls, telemetry::Told};

/// mailward's side of TLS with one backend in one snapshot. Sessions of the backend's are resumed within it.
#[derive(Debug)]
pub struct ClientSide {
    /// What its handshakes negotiate.
    pub config: Arc<ClientConfig>,
    /// Whether TLS begins with the first byte, and not after STARTTLS.
    pub implicit: bool,
    name: Option<ServerName<'static>>,
}

impl ClientSide {
    /// As a backend's table says. Files are read now; `ca` are those of `server.ca`.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a system without roots.
    pub fn new(tls: &BackendTls, ca: &[PathBuf]) -> Result<Self, String> {
        let provider = Arc::new(key_schedule::provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier(tls, ca, provider)?);
        let config = match &tls.own {
            Some((cert, key)) => {
                let own = read_texts(cert, key, SystemTime::now())?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key)))
            }
            None => builder.with_no_client_auth(),
        };
        let name = tls.name.as_deref().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        Ok(Self { config: Arc::new(config), implicit: tls.implicit, name })
    }

    /// Whom to ask for at an address that is known by `name`: whom the configuration names, or else that.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<ServerName<'static>> {
        self.name.clone().or_else(|| ServerName::try_from(name.to_owned()).ok())
    }
}

fn verifier(
    tls: &BackendTls,
    ca: &[PathBuf],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if !tls.pins.is_empty() {
        let algorithms = provider.signature_verification_algorithms;
        return Ok(Arc::new(Proven { judge: Pinned(tls.pins.clone()), algorithms }));
    }
    let roots = tls.ca.as_ref().map_or_else(|| roots_with_system(ca), |files| roots(files))?;
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(Arc::new(Chained(chain.map_err(|error| error.to_string())?)))
}

/// Takes a certificate by its key.
#[derive(Debug)]
struct Pinned(Vec<[u8; 32]>);

/// Takes a certificate by its chain and name, and tells a self-signed one from one of an authority that is not known.
#[derive(Debug)]
struct Chained(Arc<WebPkiServerVerifier>);

/// A certificate that is not taken, for what rustls has no word.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("self-signed")]
    SelfSigned(Digest),
    #[error("another key than the pinned one")]
    WrongKey(Digest),
}

/// The SHA-256 of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest([u8; 32]);

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Unfit {
    fn error(self) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let parsed = X509Certificate::from_der(certificate).map(|(_, parsed)| parsed);
    parsed.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

impl Judge for Pinned {
    fn judge(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let found = sha256(parse(certificate)?.public_key().raw);
        if self.0.contains(&found) { Ok(()) } else { Err(Unfit::WrongKey(Digest(found)).error()) }
    }
}

impl ServerCertVerifier for Chained {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(certificate, between, name, ocsp, now);
        verified.map_err(|error| match (&error, parse(certificate)) {
            // An authority's own certificate is no server's for webpki, which has only a general word for that.
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)),
                Ok(certificate),
            ) if self_issued(&certificate) => Unfit::SelfSigned(Digest(sha256(certificate.public_key().raw))).error(),
            _ => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Why there is no TLS with a backend, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFault {
    /// What happened.
    pub what: String,
    /// What the operator can do about it.
    pub right: String,
}

impl ClientFault {
    /// What happened, and what can be done.
    pub fn new(what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { what: what.into(), right: right.into() }
    }

    /// Reads it off the error that a handshake, or what followed it, ended with.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(error)) => Self::of_certificate(error),
            Some(Error::AlertReceived(alert)) => Self::of_alert(*alert),
            Some(Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => Self::new("it answers with something that is no TLS", "is tls.mode the one that this port wants?"),
            Some(error @ Error::PeerIncompatible(_)) => {
                Self::new(format!("it has no TLS in common with mailward: {error}"), "TLS 1.2 or newer is needed")
            }
            Some(error) => Self::new(format!("the handshake failed: {error}"), "its own log may say more"),
            None => Self::new(format!("the handshake failed: {error}"), "is tls.mode the one that this port wants?"),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as C;
        const RENEW: &str = "renew it at the backend; or name its key in tls.pin, and dates no longer count";
        match error {
            C::Expired | C::ExpiredContext { .. } => Self::new("its certificate has expired", RENEW),
            C::NotValidYet | C::NotValidYetContext { .. } => {
                Self::new("its certificate is not valid yet", "is the clock of this machine right?")
            }
            C::NotValidForNameContext { expected, presented } => Self::wrong_name(&expected.to_str(), presented),
            // The latter: an authority has the name of a known one, and not its key.
            C::UnknownIssuer | C::BadSignature => Self::new(
                "its certificate comes from an authority that is not known",
                "name that authority's certificate in tls.ca",
            ),
            C::Other(OtherError(other)) => match other.downcast_ref() {
                Some(Unfit::SelfSigned(key)) => Self::new(
                    "its certificate is self-signed",
                    format!("if its key is the right one, name it: tls.pin = \"{key}\""),
                ),
                Some(Unfit::WrongKey(key)) => Self::new(
                    format!("it does not have the pinned key, but {key}"),
                    "if it was given another one on purpose, name that in tls.pin",
                ),
                None => Self::new(format!("its certificate cannot be used: {other}"), "name its key in tls.pin"),
            },
            other => Self::new(format!("its certificate cannot be used: {other}"), "name its key in tls.pin"),
        }
    }

    fn wrong_name(expected: &str, presented: &[String]) -> Self {
        let names = names_in(presented).join(", ");
        let what = format!("its certificate is not for {expected}");
        if names.is_empty() {
            // RFC 9525 §2: names in the subject do not count.
            return Self::new(what + ", and has no names at all", "name its key in tls.pin");
        }
        Self::new(format!("{what}, but for {}", Told(&names)), "write the name that it is for in tls.name")
    }

    fn of_alert(alert: AlertDescription) -> Self {
        use AlertDescription as A;
        let own = "name a certificate that it accepts in tls.cert and tls.private-key";
        match alert {
            A::CertificateRequired => Self::new("it wants a certificate of mailward's", own),
            A::BadCertificate
            | A::UnknownCA
            | A::CertificateUnknown
            | A::CertificateExpired
            | A::CertificateRevoked
            | A::UnsupportedCertificate
            | A::AccessDenied => Self::new(format!("it does not take the certificate of mailward's ({alert:?})"), own),
            A::ProtocolVersion | A::HandshakeFailure | A::InsufficientSecurity => Self::new(
                format!("it has no TLS in common with mailward ({alert:?}), or wants a certificate"),
                "TLS 1.2 or newer is needed; its own log may say more",
            ),
            A::UnrecognisedName => {
                Self::new("it does not know the name it was asked for", "write the name that it has in tls.name")
            }
            _ => Self::new(format!("it broke the handshake off ({alert:?})"), "its own log may say more"),
        }
    }
}

/// The names of a certificate out of rustls' list, which has them as `DnsName("mail.internal")`.
pub(super) fn names_in(presented: &[String]) -> Vec<String> {
    presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name).to_owned()).collect()
}

impl Display for ClientFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.right)
    }
}
