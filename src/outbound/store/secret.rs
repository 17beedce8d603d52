//! Names for what must not be told: keyed hashes of addresses and messages, and replies that only an address opens.
//!
//! The key is in the same file as what it protects. A file that is read by somebody tells nothing by itself: not who wrote to
//! whom, nor what; only who has the key can try whether an address that he knows stands there.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};

/// The length of a key and of a digest, in octets.
pub(super) const LENGTH: usize = 32;

/// The key of a file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret([u8; LENGTH]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    pub(super) fn new() -> Self {
        let mut key = [0; LENGTH];
        // Without random numbers no TLS session would have come to be; a key of zeros would still be one.
        let _ = aws_lc_rs::rand::fill(&mut key);
        Self(key)
    }

    /// The one that a file has.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name for these parts, of use for one `purpose`.
    pub(super) fn digest(&self, purpose: &str, parts: &[&[u8]]) -> [u8; LENGTH] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        for part in [purpose.as_bytes()].iter().chain(parts) {
            // No two lists of parts are the same string of octets.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; LENGTH];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Seals `clear` for who knows these parts.
    pub(super) fn seal(&self, parts: &[&[u8]], clear: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = clear.to_vec();
        let nonce = self.lock(parts)?.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What was sealed for who knows these parts.
    pub(super) fn open(&self, parts: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.lock(parts)?.open_in_place(nonce, Aad::empty(), &mut sealed).ok().map(|clear| clear.to_vec())
    }

    fn lock(&self, parts: &[&[u8]]) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.digest("seal", parts)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_key_purpose_and_parts() {
        let secret = Secret::of(&[1; LENGTH]).unwrap();
        let name = secret.digest("pair", &[b"ab", b"c"]);
        assert_eq!(name, secret.clone().digest("pair", &[b"ab", b"c"]));
        assert_ne!(name, secret.digest("pair", &[b"a", b"bc"]));
        assert_ne!(name, secret.digest("pair", &[b"abc"]));
        assert_ne!(name, secret.digest("answer", &[b"ab", b"c"]));
        assert_ne!(name, Secret::new().digest("pair", &[b"ab", b"c"]));
        assert_eq!(Secret::of(&[1; LENGTH - 1]), None);
    }

    #[test]
    fn what_is_sealed_opens_to_who_knows_the_parts() {
        let secret = Secret::new();
        let sealed = secret.seal(&[b"a", b"b"], b"550 no such user").unwrap();
        assert_eq!(secret.open(&[b"a", b"b"], &sealed).unwrap(), b"550 no such user");
        assert_eq!(secret.open(&[b"a", b"c"], &sealed), None);
        assert_eq!(Secret::new().open(&[b"a", b"b"], &sealed), None);
        assert_eq!(secret.open(&[b"a", b"b"], &sealed[..sealed.len() - 1]), None);
        assert_eq!(secret.open(&[b"a", b"b"], b"short"), None);
        assert!(!String::from_utf8_lossy(&sealed).contains("user"));
    }
}
