//! The key schedule of TLS 1.3 (RFC 8446 §7.1), by rustls over aws-lc's HMAC.
//!
//! rustls' own way with aws-lc extracts a secret anew for each key that is derived from it, and hashes its key each time. Here each
//! secret is extracted once and its key is hashed once, so that a handshake takes about half the hashing. The keys are the same
//! (RFC 5869), and whatever else the suites are is left as it is.

use aws_lc_rs::hmac;
use rustls::{
    CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        CryptoProvider, aws_lc_rs as provided,
        hmac::{Hmac, Key, Tag},
        tls13::HkdfUsingHmac,
    },
};

static AES_128_GCM_SHA256: Tls13CipherSuite = over(&provided::cipher_suite::TLS13_AES_128_GCM_SHA256, &SHA256);
static AES_256_GCM_SHA384: Tls13CipherSuite = over(&provided::cipher_suite::TLS13_AES_256_GCM_SHA384, &SHA384);
static CHACHA20_POLY1305_SHA256: Tls13CipherSuite =
    over(&provided::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &SHA256);

static SHA256: HkdfUsingHmac<'static> = HkdfUsingHmac(&Hash(hmac::HMAC_SHA256));
static SHA384: HkdfUsingHmac<'static> = HkdfUsingHmac(&Hash(hmac::HMAC_SHA384));

/// The cryptography that everything here does TLS with.
pub(super) fn provider() -> CryptoProvider {
    let provider = provided::default_provider();
    CryptoProvider { cipher_suites: provider.cipher_suites.into_iter().map(ours).collect(), ..provider }
}

/// The same suite with this key schedule; those of TLS 1.2 have another.
pub(super) fn ours(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let all = [&AES_128_GCM_SHA256, &AES_256_GCM_SHA384, &CHACHA20_POLY1305_SHA256];
    let same = all.into_iter().find(|ours| ours.common.suite == suite.suite());
    same.map_or(suite, SupportedCipherSuite::Tls13)
}

const fn over(suite: &SupportedCipherSuite, hkdf: &'static HkdfUsingHmac<'static>) -> Tls13CipherSuite {
    let SupportedCipherSuite::Tls13(suite) = suite else { panic!("not of TLS 1.3") };
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } = suite.common;
    Tls13CipherSuite {
        common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
        hkdf_provider: hkdf,
        aead_alg: suite.aead_alg,
        quic: None,
    }
}

/// HMAC with this hash.
struct Hash(hmac::Algorithm);

impl Hmac for Hash {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(Keyed(hmac::Key::new(self.0, key)))
    }

    fn hash_output_len(&self) -> usize {
        self.0.tag_len()
    }
}

/// A key that is hashed already.
struct Keyed(hmac::Key);

impl Key for Keyed {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        [first].iter().chain(middle).chain([&last]).for_each(|bytes| context.update(bytes));
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().tag_len()
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::tls13::{Hkdf, OkmBlock};

    use super::*;

    fn hkdf(suite: SupportedCipherSuite) -> &'static dyn Hkdf {
        suite.tls13().expect("of TLS 1.3").hkdf_provider
    }

    #[test]
    fn all_suites_of_tls_1_3_are_ours_and_none_is_lost() {
        let (provided, ours) = (provided::default_provider().cipher_suites, provider().cipher_suites);
        let names = |suites: &[SupportedCipherSuite]| suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&provided));
        for (ours, theirs) in ours.into_iter().zip(provided) {
            let Some((ours, theirs)) = ours.tls13().zip(theirs.tls13()) else { continue };
            assert!(!std::ptr::eq(ours, theirs));
            assert_eq!(ours.common.confidentiality_limit, theirs.common.confidentiality_limit);
            assert_eq!(ours.common.hash_provider.algorithm(), theirs.common.hash_provider.algorithm());
        }
    }

    #[test]
    fn every_key_is_the_one_that_rustls_derives() {
        let secret = [7; 48];
        for theirs in provided::default_provider().cipher_suites {
            let Some(length) = theirs.tls13().map(|suite| suite.common.hash_provider.output_len()) else { continue };
            let (ours, theirs) = (hkdf(ours(theirs)), hkdf(theirs));
            let okm = OkmBlock::new(&secret[..length]);
            let expanders = |hkdf: &dyn Hkdf| {
                let salts = [None, Some(&b"salt"[..]), Some(&secret[..length]), Some(&[9; 200])];
                let zero = salts.map(|salt| hkdf.extract_from_zero_ikm(salt));
                let given = salts.map(|salt| hkdf.extract_from_secret(salt, &secret));
                zero.into_iter().chain(given).chain([hkdf.expander_for_okm(&okm)])
            };
            for (ours, theirs) in expanders(ours).zip(expanders(theirs)) {
                assert_eq!(ours.hash_len(), theirs.hash_len());
                let infos: [&[&[u8]]; 3] = [&[], &[b"a"], &[&[0, 32], b"tls13 ", b"key", &secret]];
                for info in infos {
                    assert_eq!(ours.expand_block(info).as_ref(), theirs.expand_block(info).as_ref());
                    for length in [1, 12, 16, 32, 48, 200, 255 * ours.hash_len(), 255 * ours.hash_len() + 1] {
                        let (mut one, mut other) = (vec![0; length], vec![0; length]);
                        let fits = ours.expand_slice(info, &mut one).is_ok();
                        assert_eq!(fits, theirs.expand_slice(info, &mut other).is_ok(), "{length}");
                        assert_eq!(fits, length <= 255 * ours.hash_len());
                        assert_eq!(one, other);
                    }
                }
            }
            assert_eq!(ours.hmac_sign(&okm, b"finished").as_ref(), theirs.hmac_sign(&okm, b"finished").as_ref());
        }
    }
}
