//! Who is shown which certificate: exact name, then a wildcard one label up, then the default (spec §3.2).
//!
//! The map behind [`CertStore`] is swapped whole, while handshakes run, and no TLS configuration is touched by it.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    NamedGroup, SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{KeyKind, Loaded};

/// All certificates of one state of the configuration, by name.
#[derive(Debug, Default)]
pub struct Certificates {
    by_name: HashMap<String, Vec<Loaded>>,
    default: Vec<Loaded>,
}

impl Certificates {
    /// Sorts certificates by their names; those marked are the default too. Of two for the same name, the ECDSA
    /// one is tried first, and of two of the same kind the one that is valid longer.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = (Loaded, bool)>) -> Self {
        let mut certificates = Self::default();
        for (loaded, default) in all {
            if default {
                certificates.default.push(loaded.clone());
            }
            for name in &loaded.names {
                certificates.by_name.entry(name.clone()).or_default().push(loaded.clone());
            }
        }
        certificates.by_name.values_mut().for_each(|same| prefer(same));
        prefer(&mut certificates.default);
        certificates
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.default.is_empty()
    }

    /// The key kinds there are for each name, the default's last under `None`.
    pub fn kinds(&self) -> impl Iterator<Item = (Option<&str>, Vec<KeyKind>)> {
        let kinds = |same: &[Loaded]| same.iter().map(|loaded| loaded.kind).collect();
        let named = self.by_name.iter().map(move |(name, same)| (Some(name.as_str()), kinds(same)));
        let default = (!self.default.is_empty()).then(|| (None, kinds(&self.default)));
        named.chain(default)
    }

    /// The certificate for a server name and a client's abilities. Where the client can verify none, one that does
    /// not fit: the handshake then fails for the reason that there is (no cipher, no scheme in common) and not for
    /// want of a certificate.
    fn find(&self, name: Option<&str>, client: Abilities<'_>) -> Option<Arc<CertifiedKey>> {
        let found = name.and_then(|name| self.named(name, client)).or_else(|| client.first_fitting(&self.default));
        found.or_else(|| self.default.first().map(|loaded| loaded.key.clone()))
    }

    fn named(&self, name: &str, client: Abilities<'_>) -> Option<Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.by_name.get(&name).and_then(|same| client.first_fitting(same));
        exact.or_else(|| {
            // RFC 9525 §6.3: a wildcard stands for exactly one label.
            let (_, parent) = name.split_once('.')?;
            client.first_fitting(self.by_name.get(&format!("*.{parent}"))?)
        })
    }
}

/// What a client can verify.
#[derive(Clone, Copy, Debug)]
struct Abilities<'a> {
    /// The signature schemes that it knows.
    schemes: &'a [SignatureScheme],
    /// The curves that a certificate's key may be on, where the client limits them.
    curves: Option<&'a [NamedGroup]>,
}

impl<'a> Abilities<'a> {
    fn of(hello: &'a ClientHello<'_>) -> Self {
        // RFC 8422 §5.1: up to TLS 1.2 the groups limit the certificate's curve too; RFC 8446 §4.2.7 ended that.
        let is_old = !hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13);
        Self { schemes: hello.signature_schemes(), curves: hello.named_groups().filter(|_| is_old) }
    }

    /// The first whose key can sign in a scheme that the client knows, on a curve that it knows if there is one.
    /// Without this look, a client limited to one kind of key would be handed the other and fail.
    fn first_fitting(self, same: &[Loaded]) -> Option<Arc<CertifiedKey>> {
        let signs = |loaded: &&Loaded| loaded.key.key.choose_scheme(self.schemes).is_some();
        let best = same.iter().filter(signs).find(|loaded| self.knows_curve(loaded));
        best.or_else(|| same.iter().find(signs)).map(|loaded| loaded.key.clone())
    }

    fn knows_curve(self, loaded: &Loaded) -> bool {
        let curve = CURVES.iter().find(|(scheme, _)| loaded.key.key.choose_scheme(&[*scheme]).is_some());
        self.curves.is_none_or(|known| curve.is_none_or(|(_, curve)| known.contains(curve)))
    }
}

/// The curve of a key that signs in a scheme.
const CURVES: [(SignatureScheme, NamedGroup); 3] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, NamedGroup::secp256r1),
    (SignatureScheme::ECDSA_NISTP384_SHA384, NamedGroup::secp384r1),
    (SignatureScheme::ECDSA_NISTP521_SHA512, NamedGroup::secp521r1),
];

fn prefer(same: &mut [Loaded]) {
    same.sort_by(|a, b| a.kind.cmp(&b.kind).then(b.not_after.cmp(&a.not_after)));
}

/// The certificates in force, for the handshakes of every listener.
#[derive(Debug)]
pub struct CertStore {
    current: ArcSwap<Certificates>,
}

impl CertStore {
    /// A store that serves `certificates`.
    #[must_use]
    pub fn new(certificates: Certificates) -> Self {
        Self { current: ArcSwap::from_pointee(certificates) }
    }

    /// Whether there is none yet, so that listeners with TLS have to wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.load().is_empty()
    }

    /// Serves `certificates` from the next handshake on.
    pub fn swap(&self, certificates: Certificates) {
        self.current.store(Arc::new(certificates));
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().find(hello.server_name(), Abilities::of(&hello))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificate;
    use std::time::SystemTime;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

    const fn knows(schemes: &[SignatureScheme]) -> Abilities<'_> {
        Abilities { schemes, curves: None }
    }

    fn loaded(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> Loaded {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        certificate::load(&certificate.pem(), &key.serialize_pem(), SystemTime::now()).unwrap()
    }

    fn ecdsa(names: &[&str]) -> Loaded {
        loaded(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    #[test]
    fn exact_then_wildcard_one_label_up_then_default() {
        let (exact, wild, default) =
            (ecdsa(&["mx.example.org"]), ecdsa(&["*.example.org"]), ecdsa(&["fallback.example"]));
        let store = Certificates::new([(exact.clone(), false), (wild.clone(), false), (default.clone(), true)]);
        let found = |name| store.find(name, knows(&[ECDSA])).unwrap();
        assert!(Arc::ptr_eq(&found(Some("MX.Example.ORG")), &exact.key));
        assert!(Arc::ptr_eq(&found(Some("imap.example.org")), &wild.key));
        assert!(Arc::ptr_eq(&found(Some("a.b.example.org")), &default.key));
        assert!(Arc::ptr_eq(&found(Some("example.org")), &default.key));
        assert!(Arc::ptr_eq(&found(Some("x.mx.example.org")), &default.key));
        assert!(Arc::ptr_eq(&found(None), &default.key));
    }

    #[test]
    fn the_clients_abilities_choose_between_rsa_and_ecdsa() {
        let (small, old) = (ecdsa(&["mx.example.org"]), loaded(&["mx.example.org"], &rcgen::PKCS_RSA_SHA256));
        let store = Certificates::new([(old.clone(), true), (small.clone(), true)]);
        let name = Some("mx.example.org");
        assert!(Arc::ptr_eq(&store.find(name, knows(&[RSA, ECDSA])).unwrap(), &small.key));
        assert!(Arc::ptr_eq(&store.find(name, knows(&[RSA])).unwrap(), &old.key));
        assert!(Arc::ptr_eq(&store.find(None, knows(&[RSA])).unwrap(), &old.key));
        assert!(
            store.find(name, knows(&[SignatureScheme::ED448])).is_some(),
            "for the handshake to fail by its own reason"
        );
    }

    #[test]
    fn a_client_that_does_not_know_the_keys_curve_gets_the_rsa_certificate_if_there_is_one() {
        let (small, old) = (ecdsa(&["mx.example.org"]), loaded(&["mx.example.org"], &rcgen::PKCS_RSA_SHA256));
        let name = Some("mx.example.org");
        let both = [RSA, ECDSA];
        let client = |curves| Abilities { schemes: &both, curves: Some(curves) };
        let store = Certificates::new([(old.clone(), true), (small.clone(), true)]);
        assert!(Arc::ptr_eq(&store.find(name, client(&[NamedGroup::X25519])).unwrap(), &old.key));
        let found = store.find(name, client(&[NamedGroup::X25519, NamedGroup::secp256r1]));
        assert!(Arc::ptr_eq(&found.unwrap(), &small.key));
        let alone = Certificates::new([(small.clone(), true)]);
        assert!(Arc::ptr_eq(&alone.find(name, client(&[NamedGroup::X25519])).unwrap(), &small.key));
    }

    #[test]
    fn without_a_default_an_unknown_name_finds_nothing() {
        let store = Certificates::new([(ecdsa(&["a.example"]), false)]);
        assert!(store.find(Some("b.example"), knows(&[ECDSA])).is_none());
        assert!(!store.is_empty());
    }
}
