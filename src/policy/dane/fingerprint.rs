//! A presented certificate as TLSA records see it.
//!
//! The digests are made where the cryptography lives (`src/tls`); here is what they are compared with.

use super::record::{Data, Record, Selector};

/// The parts of one certificate that a record may select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// All of it.
    pub certificate: Selected,
    /// Its SubjectPublicKeyInfo, as it stands there and not encoded anew; `None` where none can be read.
    pub key: Option<Selected>,
}

/// A part of a certificate, whole and digested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// In DER.
    pub whole: Vec<u8>,
    /// SHA2-256 of that.
    pub sha256: [u8; 32],
    /// SHA2-512 of that.
    pub sha512: [u8; 64],
}

impl Record {
    /// Whether its data is that of this certificate. Whether it is about this certificate, the usage says.
    #[must_use]
    pub fn is_of(&self, shown: &Fingerprints) -> bool {
        let selected = match self.selector {
            Selector::Certificate => Some(&shown.certificate),
            Selector::Key => shown.key.as_ref(),
        };
        selected.is_some_and(|selected| match &self.data {
            Data::Full(data) => *data == selected.whole,
            Data::Sha256(digest) => *digest == selected.sha256,
            Data::Sha512(digest) => *digest == selected.sha512,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::dane::Usage;

    fn selected(mark: u8) -> Selected {
        Selected { whole: vec![mark; 3], sha256: [mark; 32], sha512: [mark; 64] }
    }

    #[test]
    fn a_record_looks_at_the_part_it_selects_and_at_nothing_else() {
        let shown = Fingerprints { certificate: selected(1), key: Some(selected(2)) };
        let parts = [(Selector::Certificate, 1), (Selector::Key, 2)];
        for (selector, right) in parts {
            for mark in [1, 2] {
                for data in [Data::Full(vec![mark; 3]), Data::Sha256([mark; 32]), Data::Sha512([mark; 64])] {
                    let record = Record { usage: Usage::Leaf, selector, data };
                    assert_eq!(record.is_of(&shown), mark == right, "{record}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_matches_nothing() {
        let shown = Fingerprints { certificate: selected(1), key: None };
        let record = Record { usage: Usage::Leaf, selector: Selector::Key, data: Data::Sha256([1; 32]) };
        assert!(!record.is_of(&shown));
    }
}
