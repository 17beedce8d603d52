//! One certificate with its key: that they fit, in which order the chain is sent, and for which names it stands.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::{
    SignatureAlgorithm,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::pem::{self, PemError};
use crate::config::KeyType;

/// What kind of key a certificate has; clients differ in which they can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// ECDSA on P-256, P-384 or P-521; also Ed25519: TLS 1.2 has the same suites for both (RFC 8422 §5.10).
    Ecdsa,
    /// RSA.
    Rsa,
}

impl From<KeyType> for KeyKind {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::EcdsaP256 | KeyType::EcdsaP384 => Self::Ecdsa,
            KeyType::Rsa2048 => Self::Rsa,
        }
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
        })
    }
}

/// A certificate that can be served.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The chain, leaf first, and the key.
    pub key: Arc<CertifiedKey>,
    /// Which kind of key it is.
    pub kind: KeyKind,
    /// The DNS names of the SAN, in lower case.
    pub names: Vec<String>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The beginning of its validity.
    pub not_before: SystemTime,
    /// The end of its validity.
    pub not_after: SystemTime,
    /// The SHA-256 of its public key (SubjectPublicKeyInfo), as in TLSA `3 1 1`.
    pub public_key: [u8; 32],
    /// What the operator should know: expired, repaired, nameless.
    pub warnings: Vec<String>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain's PEM.
    #[error("certificate: {0}")]
    Chain(PemError),
    /// The key's PEM.
    #[error("private key: {0}")]
    Key(PemError),
    /// A certificate that cannot be parsed.
    #[error("certificate number {0} of the chain is broken; expected X.509 in DER inside PEM")]
    Broken(usize),
    /// A key of a kind that cannot be used.
    #[error("the private key cannot be used ({0}); expected RSA of 2048 to 8192 bits, ECDSA or Ed25519")]
    UnusableKey(String),
    /// The key belongs to another certificate.
    #[error("the private key does not fit the certificate for {names}; expected the key it was issued for")]
    Mismatch {
        /// The names of the first certificate.
        names: String,
    },
}

/// Makes a certificate from the PEM of its chain and the PEM of its key.
///
/// A chain in the wrong order, with its root, or with certificates that do not belong to it, is repaired, with
/// a warning.
///
/// # Errors
/// [`CertificateError`].
pub fn load(chain: &str, key: &str, now: SystemTime) -> Result<Loaded, CertificateError> {
    let ders = pem::certificates(chain).map_err(CertificateError::Chain)?;
    let key = pem::private_key(key).map_err(CertificateError::Key)?;
    let key = any_supported_type(&key).map_err(|error| CertificateError::UnusableKey(error.to_string()))?;
    let parsed = parse(&ders)?;

    let Some(leaf) = position_of_leaf(&parsed, key.as_ref()) else {
        return Err(CertificateError::Mismatch { names: shown(&names(&parsed[0])) });
    };
    let mut warnings = Vec::new();
    let order = order(&parsed, leaf, &mut warnings);
    check_validity(&parsed[leaf], now, &mut warnings);
    let names = names(&parsed[leaf]);
    if names.is_empty() {
        warnings.push("it has no subject alternative name, so no client will accept it for a name".to_owned());
    }
    Ok(Loaded {
        kind: kind(key.as_ref()),
        names,
        issuer: parsed[leaf].issuer().to_string(),
        not_before: parsed[leaf].validity().not_before.to_datetime().into(),
        not_after: parsed[leaf].validity().not_after.to_datetime().into(),
        public_key: sha256(parsed[leaf].public_key().raw),
        warnings,
        key: Arc::new(CertifiedKey::new(order.into_iter().map(|at| ders[at].clone()).collect(), key)),
    })
}

fn parse<'a>(ders: &'a [CertificateDer<'static>]) -> Result<Vec<X509Certificate<'a>>, CertificateError> {
    ders.iter()
        .enumerate()
        .map(|(at, der)| match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Ok(certificate),
            Err(_) => Err(CertificateError::Broken(at + 1)),
        })
        .collect()
}

/// The certificate whose public key is the private key's.
fn position_of_leaf(parsed: &[X509Certificate<'_>], key: &dyn SigningKey) -> Option<usize> {
    let public = key.public_key()?;
    parsed.iter().position(|certificate| certificate.public_key().raw == public.as_ref())
}

/// The places of the chain's certificates, each the issuer of the one before it, without the root.
fn order(parsed: &[X509Certificate<'_>], leaf: usize, warnings: &mut Vec<String>) -> Vec<usize> {
    let mut order = vec![leaf];
    let mut rooted = false;
    while let Some(next) = issuer_of(parsed, &order) {
        if self_issued(&parsed[next]) {
            rooted = true;
            break;
        }
        order.push(next);
    }
    if rooted {
        warnings.push("its chain includes the root, which is left out: clients have it".to_owned());
    }
    if !order.iter().copied().eq(0..order.len()) {
        warnings.push("its chain is in the wrong order, which is repaired".to_owned());
    }
    let strangers = parsed.len() - order.len() - usize::from(rooted);
    if strangers > 0 {
        warnings.push(format!("its chain holds {strangers} certificate(s) that do not belong to it, left out"));
    }
    order
}

/// The place of the certificate that issued the last of `order`, if it is not in it yet.
fn issuer_of(parsed: &[X509Certificate<'_>], order: &[usize]) -> Option<usize> {
    let last = &parsed[*order.last()?];
    if self_issued(last) {
        return None;
    }
    (0..parsed.len()).find(|at| !order.contains(at) && parsed[*at].subject() == last.issuer())
}

pub(super) fn self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject() == certificate.issuer()
}

fn check_validity(leaf: &X509Certificate<'_>, now: SystemTime, warnings: &mut Vec<String>) {
    let (from, until): (SystemTime, SystemTime) =
        (leaf.validity().not_before.to_datetime().into(), leaf.validity().not_after.to_datetime().into());
    if until < now {
        warnings.push(format!("it expired on {}", leaf.validity().not_after));
    } else if now < from {
        warnings.push(format!("it is not valid before {}", leaf.validity().not_before));
    }
}

/// The names of the SAN; the common name stands for nothing (RFC 9525 §6.1).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
            _ => None,
        })
        .collect()
}

/// RFC 5280 §4.2.1.6: four octets, or sixteen.
fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

fn kind(key: &dyn SigningKey) -> KeyKind {
    match key.algorithm() {
        SignatureAlgorithm::RSA => KeyKind::Rsa,
        _ => KeyKind::Ecdsa,
    }
}

fn shown(names: &[String]) -> String {
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    struct Chain {
        root: String,
        middle: String,
        leaf: String,
        key: String,
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn chain() -> Chain {
        let (root_key, middle_key, key) =
            (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_params = authority("root");
        let root = root_params.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root_params, root_key);
        let middle_params = authority("middle");
        let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap();
        let middle_issuer = Issuer::new(middle_params, middle_key);
        let mut leaf = CertificateParams::new(vec!["MX.example.org".to_owned(), "*.example.org".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, "leaf");
        let leaf = leaf.signed_by(&key, &middle_issuer).unwrap();
        Chain { root: root.pem(), middle: middle.pem(), leaf: leaf.pem(), key: key.serialize_pem() }
    }

    #[test]
    fn a_proper_chain_is_kept_and_its_names_are_lower_case() {
        let chain = chain();
        let loaded = load(&[chain.leaf, chain.middle].concat(), &chain.key, SystemTime::now()).unwrap();
        assert_eq!(loaded.names, ["mx.example.org", "*.example.org"]);
        assert_eq!(loaded.key.cert.len(), 2);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.kind, KeyKind::Ecdsa);
    }

    #[test]
    fn order_root_and_strangers_are_repaired_with_a_warning() {
        let chain = chain();
        let stranger = self::chain().middle;
        let proper = load(&[&*chain.leaf, &chain.middle].concat(), &chain.key, SystemTime::now()).unwrap();
        let mixed = [&*chain.root, &chain.middle, &chain.leaf].concat();
        let repaired = load(&mixed, &chain.key, SystemTime::now()).unwrap();
        assert_eq!(repaired.key.cert, proper.key.cert);
        assert_eq!(repaired.warnings.len(), 2, "{:?}", repaired.warnings);
        let foreign = load(&[&*chain.leaf, &stranger].concat(), &chain.key, SystemTime::now()).unwrap();
        assert!(foreign.key.cert.len() <= 2);
    }

    #[test]
    fn a_foreign_key_is_an_error_that_names_the_certificate() {
        let error = load(&chain().leaf, &chain().key, SystemTime::now()).unwrap_err();
        assert!(error.to_string().contains("does not fit the certificate for mx.example.org"), "{error}");
    }

    #[test]
    fn an_expired_certificate_is_served_with_a_warning() {
        let chain = chain();
        let later = SystemTime::now() + std::time::Duration::from_secs(10_000 * 366 * 86_400);
        let loaded = load(&chain.leaf, &chain.key, later).unwrap();
        assert!(loaded.warnings[0].contains("expired"), "{:?}", loaded.warnings);
    }
}
