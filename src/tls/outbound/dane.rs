//! A presented chain against TLSA records (RFC 7672 §3, RFC 7671 §5).
//!
//! Promises: one record that matches is enough, whatever the others are (§3.1); under usage 3 the leaf's key or whole is all
//! that counts, neither its names nor its dates (RFC 7671 §5.1); under usage 2 an issuer is meant, never the leaf, and the chain
//! below it must hold like any other and the leaf be for one of the reference names (RFC 7671 §5.2).

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::anchors::{self, Anchor, Under};
use crate::policy::{
    certificate::Untrusted,
    dane::{Fingerprints, Records, Selected, Usage},
    evidence::{Matched, Mismatch},
    names::covers,
};

/// How many of the certificates behind the leaf are looked at; whoever sends more wants to be a burden.
const LONGEST_CHAIN: usize = 16;

/// Whether the chain, the leaf in front, matches one of the records. `names` are the reference names under usage 2.
pub(super) fn hold_against(
    records: &Records,
    names: &[String],
    chain: &[CertificateDer<'_>],
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<Matched, Mismatch> {
    let Some((leaf, issuers)) = chain.split_first() else { return Err(Mismatch::NoMatch) };
    let shown = fingerprints(leaf);
    let of_leaf = records.used.iter().find(|record| record.usage == Usage::Leaf && record.is_of(&shown));
    if let Some(record) = of_leaf {
        return Ok(Matched { record: record.clone(), name: None });
    }
    let issuers = &issuers[..issuers.len().min(LONGEST_CHAIN)];
    let anchors = anchors::named(records, leaf, issuers);
    if anchors.is_empty() {
        return Err(Mismatch::NoMatch);
    }
    let record = match anchors::verify(&anchors, leaf, issuers, now, algorithms) {
        Under::Anchor(record) => record.clone(),
        // A key that signs nothing of this chain does not belong to it.
        Under::Nothing => return Err(Mismatch::NoMatch),
        Under::Fault(untrusted) => return Err(Mismatch::Untrusted(untrusted)),
    };
    let is_constrained = issuers.iter().any(constrains) || anchors.iter().any(Anchor::constrains);
    let presented = identities(leaf, is_constrained);
    match names.iter().find(|name| presented.iter().any(|pattern| covers(pattern, name))) {
        Some(name) => Ok(Matched { record, name: Some(name.clone()) }),
        None => Err(Mismatch::Untrusted(Untrusted::WrongName { expected: names.to_vec(), presented })),
    }
}

/// What records are held against. The key is read by the parser that the handshake's signature is checked with: the key that
/// matches is the one that was proven, however odd the certificate.
pub(super) fn fingerprints(certificate: &CertificateDer<'_>) -> Fingerprints {
    let parsed = EndEntityCert::try_from(certificate).ok();
    let key = parsed.map(|parsed| selected(parsed.subject_public_key_info().as_ref()));
    Fingerprints { certificate: selected(certificate), key }
}

fn selected(der: &[u8]) -> Selected {
    let (mut sha256, mut sha512) = ([0; 32], [0; 64]);
    sha256.copy_from_slice(digest(&SHA256, der).as_ref());
    sha512.copy_from_slice(digest(&SHA512, der).as_ref());
    Selected { whole: der.to_vec(), sha256, sha512 }
}

/// RFC 7672 §3.2.3: the DNS names, and only where there are none the common name; not below an issuer that is constrained to
/// some names, since a common name is held against no constraint.
fn identities(leaf: &CertificateDer<'_>, is_constrained: bool) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let names = match parsed.subject_alternative_name() {
        Ok(Some(names)) => dns_names(&names.value.general_names),
        Ok(None) => Vec::new(),
        Err(_) => return Vec::new(),
    };
    if !names.is_empty() || is_constrained {
        return names;
    }
    parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect()
}

fn dns_names(names: &[GeneralName<'_>]) -> Vec<String> {
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

/// Whether an issuer may issue for some names only (RFC 5280 §4.2.1.10), or that cannot be read.
pub(super) fn constrains(issuer: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(issuer).map_or(true, |(_, parsed)| !matches!(parsed.name_constraints(), Ok(None)))
}
