//! The keys of certificates: made, read, named by the digest that a TLSA record holds, and asked to be certified.

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, SignatureAlgorithm,
};

use super::{cache::Cache, fault::Fault};
use crate::config::{Acme, KeyType};

/// The key that the next order is for: one that was set aside for it, or the one in use where keys are reused, or a new
/// one. It is in the cache before this returns, so that no certificate can ever be without its key.
pub(super) fn for_order(settings: &Acme, key_type: KeyType, cache: &Cache) -> Result<KeyPair, Fault> {
    let set_aside = cache.order_key(key_type);
    let in_use = if settings.reuse_key { cache.key(key_type) } else { None };
    // One that is broken, or of another kind, is as good as none.
    let known = [set_aside, in_use].into_iter().flatten().find_map(|pem| read(&pem, key_type));
    match known {
        Some(key) => Ok(key),
        None => {
            let key = make(key_type)?;
            cache.keep_order_key(key_type, &key.serialize_pem())?;
            Ok(key)
        }
    }
}

/// The key that a roll-over will change to, made now if there is none.
pub(super) fn next(key_type: KeyType, cache: &Cache) -> Result<KeyPair, Fault> {
    cache.prepare()?;
    if let Some(key) = known_next(key_type, cache) {
        return Ok(key);
    }
    let key = make(key_type)?;
    cache.keep_next_key(key_type, &key.serialize_pem())?;
    Ok(key)
}

/// The key that a roll-over will change to, if there is one.
pub(super) fn known_next(key_type: KeyType, cache: &Cache) -> Option<KeyPair> {
    cache.next_key(key_type).and_then(|pem| read(&pem, key_type))
}

/// The SHA-256 of the public half, in hexadecimal: what a TLSA record `3 1 1` holds (RFC 6698 §2.1).
pub(super) fn digest_of(key: &KeyPair) -> String {
    sha256_in_hex(&key.subject_public_key_info())
}

/// The SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub(super) fn sha256_in_hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The request to certify `key` for all names, in DER.
pub(super) fn request(settings: &Acme, key: &KeyPair) -> Result<Vec<u8>, Fault> {
    let params = CertificateParams::new(settings.domains.clone()).map(|mut params| {
        // RFC 8555 §7.4: the names are those of the SAN; authorities refuse or drop anything else.
        params.distinguished_name = DistinguishedName::new();
        params
    });
    let request = params.and_then(|params| params.serialize_request(key));
    request.map(|request| request.der().to_vec()).map_err(|error| Fault::ours(format!("the request: {error}")))
}

fn make(key_type: KeyType) -> Result<KeyPair, Fault> {
    KeyPair::generate_for(algorithm(key_type)).map_err(|error| Fault::ours(format!("a new key: {error}")))
}

fn read(pem: &str, key_type: KeyType) -> Option<KeyPair> {
    KeyPair::from_pem(pem).ok().filter(|key| key.is_compatible(algorithm(key_type)))
}

fn algorithm(key_type: KeyType) -> &'static SignatureAlgorithm {
    match key_type {
        KeyType::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
        // 2048 bits are the default of the library, and what the name says.
        KeyType::Rsa2048 => &PKCS_RSA_SHA256,
    }
}
