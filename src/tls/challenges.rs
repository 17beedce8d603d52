//! Certificates that prove to an authority that a name is ours: tls-alpn-01 (RFC 8737).
//!
//! They outlive snapshots, so that a reload in the middle of an order changes nothing, and they are shown only to a
//! client that offers `acme-tls/1` and nothing else.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::CertStore;

/// The application protocol of a validation connection (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates of all challenges that are pending, by name in lower case.
#[derive(Debug, Default)]
pub struct Challenges {
    pending: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

/// Why a challenge certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the certificate for the challenge cannot be made: {0}")]
pub struct ChallengeError(String);

impl Challenges {
    /// Answers for `domain` from now on. `digest` is the SHA-256 of the key authorization (RFC 8737 §3).
    ///
    /// # Errors
    /// Where `domain` cannot stand in a certificate.
    pub fn present(&self, domain: &str, digest: &[u8]) -> Result<(), ChallengeError> {
        let certificate = Arc::new(make(domain, digest).map_err(ChallengeError)?);
        self.pending.rcu(|pending| {
            let mut pending = HashMap::clone(pending);
            pending.insert(domain.to_ascii_lowercase(), certificate.clone());
            pending
        });
        Ok(())
    }

    /// Answers for `domain` no longer.
    pub fn withdraw(&self, domain: &str) {
        self.pending.rcu(|pending| {
            let mut pending = HashMap::clone(pending);
            pending.remove(&domain.to_ascii_lowercase());
            pending
        });
    }

    /// The certificate for a name that is just being validated.
    pub(super) fn find(&self, domain: &str) -> Option<Arc<CertifiedKey>> {
        self.pending.load().get(&domain.to_ascii_lowercase()).cloned()
    }
}

/// What a listener shows where authorities can validate names: to them the certificate for the challenge, which nobody
/// else sees, and to everybody else the certificates in force, which they do not see.
#[derive(Debug)]
pub(super) struct Validated {
    certificates: Arc<CertStore>,
    challenges: Arc<Challenges>,
}

impl Validated {
    pub(super) fn new(certificates: Arc<CertStore>, challenges: Arc<Challenges>) -> Self {
        Self { certificates, challenges }
    }
}

impl ResolvesServerCert for Validated {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737 §3: a validation connection offers this protocol alone, and the name.
        if hello.alpn().is_some_and(|offered| offered.eq([ACME_TLS])) {
            return self.challenges.find(hello.server_name()?);
        }
        self.certificates.resolve(hello)
    }
}

fn make(domain: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params = CertificateParams::new([domain.to_owned()]).map_err(|error| error.to_string())?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_ecdsa_type(&der).map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests;
