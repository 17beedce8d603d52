//! The issuers that TLSA records of usage 2 name, and whether a chain holds under one (RFC 7671 §5.2).
//!
//! Promises that an anchor which is a certificate is held to what every other issuer of the chain is held to: that it is an
//! authority, within its dates, for servers, and not too far up. A bare key from DNS has none of this (RFC 7671 §5.2.3); but
//! where the server sends the certificate with that key, the certificate counts.
//!
//! Refuses a leaf that is marked as an authority, as webpki does everywhere; of an issuer with a critical extension that webpki
//! does not know, only all of it can be matched, and not its key.

use std::cell::Cell;

use rustls::pki_types::{CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::{
    asn1_rs::Header,
    prelude::{FromDer, X509Certificate},
};

use super::dane::{constrains, fingerprints};
use crate::policy::{
    certificate::Untrusted,
    dane::{Data, Record, Records, Selector, Usage},
};

/// An issuer that a record names.
pub(super) struct Anchor<'a> {
    record: &'a Record,
    trust: TrustAnchor<'static>,
    certificate: Option<CertificateDer<'a>>,
}

/// Under what a chain holds.
pub(super) enum Under<'a> {
    /// Under the issuer that this record names.
    Anchor(&'a Record),
    /// No issuer that is named has signed anything of it.
    Nothing,
    /// One has, and it does not hold.
    Fault(Untrusted),
}

/// The issuers that records name: of those that the server sends, or out of the record itself.
pub(super) fn named<'a>(
    records: &'a Records,
    leaf: &CertificateDer<'_>,
    issuers: &'a [CertificateDer<'a>],
) -> Vec<Anchor<'a>> {
    let shown: Vec<_> = issuers.iter().map(|issuer| (issuer, fingerprints(issuer))).collect();
    let mut anchors = Vec::new();
    for record in records.used.iter().filter(|record| record.usage == Usage::Anchor) {
        let sent: Vec<_> = shown.iter().filter(|(_, shown)| record.is_of(shown)).map(|(issuer, _)| *issuer).collect();
        match (&record.data, record.selector) {
            _ if !sent.is_empty() => {
                anchors.extend(sent.into_iter().filter_map(|issuer| of_certificate(record, issuer)))
            }
            (Data::Full(der), Selector::Certificate) => anchors.extend(of_certificate(record, der.as_slice())),
            (Data::Full(der), Selector::Key) => anchors.extend(of_key(record, der, leaf, issuers)),
            _ => {}
        }
    }
    anchors
}

fn of_certificate<'a>(record: &'a Record, der: &'a [u8]) -> Option<Anchor<'a>> {
    let certificate = CertificateDer::from(der);
    let trust = anchor_from_trusted_cert(&certificate).ok()?.to_owned();
    Some(Anchor { record, trust, certificate: Some(certificate) })
}

/// A bare key may have any name: that of whoever has issued one of the chain.
fn of_key<'a>(
    record: &'a Record,
    key: &[u8],
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
) -> Vec<Anchor<'a>> {
    // As everywhere in an anchor, without the tag and the length in front.
    let Ok((key, _)) = Header::from_der(key) else { return Vec::new() };
    let chain = std::iter::once(leaf).chain(issuers);
    let mut subjects: Vec<_> = chain
        .filter_map(|certificate| EndEntityCert::try_from(certificate).ok().map(|parsed| parsed.issuer().to_vec()))
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    let anchor = |subject: Vec<u8>| Anchor {
        record,
        trust: TrustAnchor {
            subject: Der::from(subject),
            subject_public_key_info: Der::from(key.to_vec()),
            name_constraints: None,
        },
        certificate: None,
    };
    subjects.into_iter().map(anchor).collect()
}

/// Whether there is a path from the leaf to an anchor.
pub(super) fn verify<'a>(
    anchors: &[Anchor<'a>],
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Under<'a> {
    let trusts: Vec<_> = anchors.iter().map(|anchor| anchor.trust.clone()).collect();
    let parsed = match EndEntityCert::try_from(leaf) {
        Ok(parsed) => parsed,
        Err(error) => return Under::Fault(Untrusted::NotTrusted(error.to_string())),
    };
    let (holds, unfit) = (Cell::new(None), Cell::new(None));
    let check = |path: &VerifiedPath<'_>| {
        let below = path.intermediate_certificates().count();
        for anchor in anchors.iter().filter(|anchor| anchor.trust == *path.anchor()) {
            match anchor.fault(below, now) {
                None => {
                    holds.set(Some(anchor.record));
                    return Ok(());
                }
                Some(fault) => unfit.set(Some(fault)),
            }
        }
        Err(webpki::Error::UnknownIssuer)
    };
    let path = parsed.verify_for_usage(algorithms, &trusts, issuers, now, KeyUsage::server_auth(), None, Some(&check));
    match (path, holds.take(), unfit.take()) {
        (Ok(_), Some(record), _) => Under::Anchor(record),
        (_, _, Some(fault)) => Under::Fault(fault),
        (Err(error), ..) => of_error(&error, anchors),
        (Ok(_), None, None) => Under::Nothing,
    }
}

impl Anchor<'_> {
    /// Whether it may issue for some names only.
    pub(super) fn constrains(&self) -> bool {
        self.certificate.as_ref().is_some_and(constrains)
    }

    /// What is wrong with an anchor that is a certificate, with so many issuers between it and the leaf.
    fn fault(&self, below: usize, now: UnixTime) -> Option<Untrusted> {
        let not_trusted = |what: &str| Some(Untrusted::NotTrusted(what.to_owned()));
        let certificate = self.certificate.as_ref()?;
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return not_trusted("the issuer's certificate cannot be read");
        };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if parsed.validity().not_after.timestamp() < now {
            return Some(Untrusted::Expired);
        }
        if now < parsed.validity().not_before.timestamp() {
            return Some(Untrusted::NotYetValid);
        }
        let Ok(Some(constraints)) = parsed.basic_constraints() else {
            return not_trusted("the issuer is no authority");
        };
        if !constraints.value.ca {
            return not_trusted("the issuer is no authority");
        }
        let most = constraints.value.path_len_constraint.and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| below > most) {
            return not_trusted("the chain is longer than the issuer permits");
        }
        match parsed.extended_key_usage() {
            Ok(None) => None,
            Ok(Some(usage)) if usage.value.server_auth || usage.value.any => None,
            _ => not_trusted("the issuer may not issue certificates for servers"),
        }
    }
}

/// Without an anchor that is a certificate of the chain, a chain that leads nowhere is no fault of an issuer's.
fn of_error<'a>(error: &webpki::Error, anchors: &[Anchor<'_>]) -> Under<'a> {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer | E::InvalidSignatureForPublicKey
            if anchors.iter().all(|anchor| anchor.certificate.is_none()) =>
        {
            Under::Nothing
        }
        E::CertExpired { .. } | E::InvalidCertValidity => Under::Fault(Untrusted::Expired),
        E::CertNotValidYet { .. } => Under::Fault(Untrusted::NotYetValid),
        other => Under::Fault(Untrusted::NotTrusted(other.to_string())),
    }
}
