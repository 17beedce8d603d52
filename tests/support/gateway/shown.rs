//! The certificate that a client is shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{ClientConfig, RootCertStore};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::talk::Talk;

/// What stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of its public key, in hexadecimal: the data of a TLSA record `3 1 1`.
    pub key: String,
    /// The names, sorted.
    pub names: Vec<String>,
    /// When it ends.
    pub until: SystemTime,
}

impl Shown {
    /// What a client that trusts these roots and wants [`NAME`](super::NAME) is shown on a connection where TLS is to begin;
    /// `None` where the handshake fails.
    pub fn on(talk: Talk, roots: &Arc<RootCertStore>) -> Option<Self> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        talk.try_tls(Arc::new(config)).ok().map(|talk| Self::by(&talk))
    }

    /// What was shown on this connection.
    pub fn by(talk: &Talk) -> Self {
        Self::from_der(&talk.connection().peer_certificates().expect("a certificate")[0])
    }

    /// What stands in this certificate.
    pub fn from_der(der: &[u8]) -> Self {
        let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
        let names = certificate.subject_alternative_name().ok().flatten().expect("names");
        let mut names: Vec<_> = names.value.general_names.iter().map(name_of).collect();
        names.sort();
        let until = certificate.validity().not_after.timestamp();
        Self {
            serial: hexadecimal(certificate.raw_serial()),
            key: hexadecimal(digest(&SHA256, certificate.public_key().raw).as_ref()),
            names,
            until: SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(until).expect("after 1970")),
        }
    }
}

fn name_of(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        other => other.to_string(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
