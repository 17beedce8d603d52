//! One TLSA record, and whether it can be used.
//!
//! Promises that what is used can match something: RFC 7672 §3.1.3, RFC 6698 §4.1 (usage, selector and matching type known, a
//! digest of its length, whole data that is a certificate or a key); that of digests the strongest counts (RFC 7671 §9).

use std::fmt;

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

/// A TLSA record as it was published (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// A record that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which certificate of the chain it is about.
    pub usage: Usage,
    /// Which part of it.
    pub selector: Selector,
    /// What that must be.
    pub data: Data,
}

/// Certificate usage, as far as SMTP has it (RFC 7672 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// DANE-TA(2): one that issued the server's.
    Anchor,
    /// DANE-EE(3): the server's own.
    Leaf,
}

/// Which part of a certificate is matched (RFC 6698 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Cert(0): all of it.
    Certificate,
    /// SPKI(1): its SubjectPublicKeyInfo.
    Key,
}

/// What the selected part must be (RFC 6698 §2.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Full(0): this.
    Full(Vec<u8>),
    /// SHA2-256(1): something with this digest.
    Sha256([u8; 32]),
    /// SHA2-512(2): something with this digest.
    Sha512([u8; 64]),
}

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// PKIX-TA(0) and PKIX-EE(1) are not for SMTP, the others are not assigned.
    #[error("usage {0} is not for SMTP")]
    Usage(u8),
    /// An unknown selector.
    #[error("selector {0} is unknown")]
    Selector(u8),
    /// An unknown matching type.
    #[error("matching type {0} is unknown")]
    Matching(u8),
    /// A digest of the wrong length.
    #[error("a digest of {found} octets, and not of {right}")]
    Length {
        /// How long it is.
        found: usize,
        /// How long it would be.
        right: usize,
    },
    /// Data that is neither a certificate nor a key.
    #[error("its data is not what its selector says")]
    Unreadable,
}

impl Tlsa {
    /// The record, if it can be used.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn usable(&self) -> Result<Record, Unusable> {
        // RFC 7672 §3.1.3: clients treat usages 0 and 1 as unusable.
        let usage = match self.usage {
            2 => Usage::Anchor,
            3 => Usage::Leaf,
            other => return Err(Unusable::Usage(other)),
        };
        let selector = match self.selector {
            0 => Selector::Certificate,
            1 => Selector::Key,
            other => return Err(Unusable::Selector(other)),
        };
        let data = match self.matching {
            0 if is_whole(selector, &self.data) => Data::Full(self.data.clone()),
            0 => return Err(Unusable::Unreadable),
            1 => Data::Sha256(digest(&self.data)?),
            2 => Data::Sha512(digest(&self.data)?),
            other => return Err(Unusable::Matching(other)),
        };
        Ok(Record { usage, selector, data })
    }
}

fn digest<const LENGTH: usize>(data: &[u8]) -> Result<[u8; LENGTH], Unusable> {
    data.try_into().map_err(|_| Unusable::Length { found: data.len(), right: LENGTH })
}

fn is_whole(selector: Selector, data: &[u8]) -> bool {
    match selector {
        Selector::Certificate => X509Certificate::from_der(data).is_ok_and(|(rest, _)| rest.is_empty()),
        Selector::Key => SubjectPublicKeyInfo::from_der(data).is_ok_and(|(rest, _)| rest.is_empty()),
    }
}

/// The records that count (RFC 7671 §9): of each usage and selector those with whole data, and of digests only the
/// strongest kind, so that a weak one that was broken helps nobody.
#[must_use]
pub fn strongest(records: Vec<Record>) -> Vec<Record> {
    let outdone = |record: &Record| {
        matches!(record.data, Data::Sha256(_))
            && records.iter().any(|other| other.is_alike(record) && matches!(other.data, Data::Sha512(_)))
    };
    let counts: Vec<bool> = records.iter().map(|record| !outdone(record)).collect();
    records.into_iter().zip(counts).filter_map(|(record, counts)| counts.then_some(record)).collect()
}

impl Record {
    fn is_alike(&self, other: &Self) -> bool {
        (self.usage, self.selector) == (other.usage, other.selector)
    }
}

/// `3 1 1 HEX`, in the notation of RFC 8460 §4.4 for `policy-string`.
impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        hexadecimal(f, &self.data)
    }
}

/// As [`Tlsa`], whole data being shortened.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = match self.usage {
            Usage::Anchor => 2,
            Usage::Leaf => 3,
        };
        let selector = match self.selector {
            Selector::Certificate => 0,
            Selector::Key => 1,
        };
        match &self.data {
            Data::Full(data) => write!(f, "{usage} {selector} 0 ({} octets)", data.len()),
            Data::Sha256(digest) => {
                write!(f, "{usage} {selector} 1 ")?;
                hexadecimal(f, digest)
            }
            Data::Sha512(digest) => {
                write!(f, "{usage} {selector} 2 ")?;
                hexadecimal(f, digest)
            }
        }
    }
}

fn hexadecimal(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlsa(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
        Tlsa { usage, selector, matching, data: vec![7; length] }
    }

    /// An Ed25519 key (RFC 8410 §4), all zero.
    fn key() -> Vec<u8> {
        [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &[0; 32]].concat()
    }

    #[test]
    fn d14_and_row_63_a_record_is_usable_if_every_field_is_known_and_its_data_fits() {
        let cases = [
            ((0, 0, 1, 32), Err(Unusable::Usage(0))),
            ((1, 1, 1, 32), Err(Unusable::Usage(1))),
            ((4, 1, 1, 32), Err(Unusable::Usage(4))),
            ((255, 1, 1, 32), Err(Unusable::Usage(255))),
            ((3, 2, 1, 32), Err(Unusable::Selector(2))),
            ((3, 255, 1, 32), Err(Unusable::Selector(255))),
            ((3, 1, 3, 32), Err(Unusable::Matching(3))),
            ((3, 1, 255, 32), Err(Unusable::Matching(255))),
            ((3, 1, 1, 16), Err(Unusable::Length { found: 16, right: 32 })),
            ((3, 1, 1, 0), Err(Unusable::Length { found: 0, right: 32 })),
            ((3, 1, 1, 33), Err(Unusable::Length { found: 33, right: 32 })),
            ((2, 0, 1, 64), Err(Unusable::Length { found: 64, right: 32 })),
            ((2, 0, 2, 32), Err(Unusable::Length { found: 32, right: 64 })),
            ((3, 0, 0, 100), Err(Unusable::Unreadable)),
            ((2, 1, 0, 44), Err(Unusable::Unreadable)),
            ((3, 1, 0, 0), Err(Unusable::Unreadable)),
            ((3, 1, 1, 32), Ok((Usage::Leaf, Selector::Key, Data::Sha256([7; 32])))),
            ((3, 0, 2, 64), Ok((Usage::Leaf, Selector::Certificate, Data::Sha512([7; 64])))),
            ((2, 0, 1, 32), Ok((Usage::Anchor, Selector::Certificate, Data::Sha256([7; 32])))),
            ((2, 1, 2, 64), Ok((Usage::Anchor, Selector::Key, Data::Sha512([7; 64])))),
        ];
        for ((usage, selector, matching, length), right) in cases {
            let right = right.map(|(usage, selector, data)| Record { usage, selector, data });
            assert_eq!(
                tlsa(usage, selector, matching, length).usable(),
                right,
                "{usage} {selector} {matching} {length}"
            );
        }
    }

    #[test]
    fn d14_whole_data_must_be_all_of_what_the_selector_says() {
        let of = |selector, data| Tlsa { usage: 2, selector, matching: 0, data }.usable();
        assert!(of(1, key()).is_ok());
        assert_eq!(of(0, key()), Err(Unusable::Unreadable), "a key is no certificate");
        assert_eq!(of(1, [key(), vec![0]].concat()), Err(Unusable::Unreadable), "with something behind it");
        assert_eq!(of(1, key()[..40].to_vec()), Err(Unusable::Unreadable), "cut off");
    }

    #[test]
    fn d20_of_digests_the_strongest_of_each_usage_and_selector_counts_beside_whole_data() {
        let record = |usage, selector, data| Record { usage, selector, data };
        let (weak, strong) = (Data::Sha256([1; 32]), Data::Sha512([2; 64]));
        let all = vec![
            record(Usage::Leaf, Selector::Key, weak.clone()),
            record(Usage::Leaf, Selector::Key, strong.clone()),
            record(Usage::Leaf, Selector::Key, Data::Full(key())),
            record(Usage::Leaf, Selector::Certificate, weak.clone()),
            record(Usage::Anchor, Selector::Key, weak),
            record(Usage::Anchor, Selector::Certificate, strong),
        ];
        assert_eq!(strongest(all.clone()), all[1..]);
    }

    #[test]
    fn a_record_is_shown_as_it_stands_in_a_zone() {
        let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0xab, 0xcd] };
        assert_eq!(record.to_string(), "3 1 1 abcd");
    }
}
