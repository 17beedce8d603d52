//! What the TLSA records of a host come to (RFC 7672 §2.1.1, §2.2).
//!
//! Promises that only an answer that DNSSEC vouches for says anything, and that a lookup which failed says neither yes nor no.

use std::fmt;

use super::record::{Record, Tlsa, Unusable, strongest};
use crate::policy::answer::{Answer, LookupError, Security};

/// What was asked about the TLSA records of a host, and what came of it.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Nothing was asked.
    Not(NotAsked),
    /// There is an answer.
    Answered {
        /// The base domain: the name under which `_25._tcp` was asked for (RFC 7672 §2.2.3).
        base: String,
        /// What there is.
        answer: Answer<Tlsa>,
    },
    /// There is none.
    Failed {
        /// The base domain.
        base: String,
        /// Why not.
        error: LookupError,
    },
}

/// Why nobody asked for TLSA records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// The strategy says so.
    Disabled,
    /// An address in brackets has no name to ask for.
    Literal,
    /// DNSSEC vouches neither for the host's addresses nor for its alias (RFC 7672 §2.2.2).
    InsecureAddress,
    /// There is no resolver whose word on DNSSEC can be believed.
    Unbelieved,
}

/// What the TLSA records of a host come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dane {
    /// There is no DANE here.
    Absent(Absence),
    /// TLS, and a certificate that matches one of these.
    Usable(Records),
    /// TLS, with any certificate: there are records, and none can be used (RFC 7672 §2.2).
    Unusable {
        /// Where they are.
        base: String,
        /// What is there, and why it cannot be used.
        found: Vec<(Tlsa, Unusable)>,
    },
    /// Nobody knows: the host cannot be used now (RFC 7672 §2.1.2).
    Failed {
        /// Where they would be.
        base: String,
        /// Why not.
        error: LookupError,
    },
}

/// Why there is no DANE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nobody asked.
    NotAsked(NotAsked),
    /// DNSSEC does not vouch for the answer, whatever it says.
    Insecure,
    /// There are no records, for which DNSSEC vouches.
    NoRecords,
}

/// Records of which one must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The base domain, which is the name to ask the server for (RFC 7672 §8.1).
    pub base: String,
    /// All, as they were published.
    pub published: Vec<Tlsa>,
    /// Those that count; at least one.
    pub used: Vec<Record>,
}

impl Dane {
    /// What an answer comes to.
    #[must_use]
    pub fn of(asked: Asked) -> Self {
        let (base, answer) = match asked {
            Asked::Not(why) => return Self::Absent(Absence::NotAsked(why)),
            Asked::Failed { base, error } => return Self::Failed { base, error },
            Asked::Answered { base, answer } => (base, answer),
        };
        match answer.security {
            Security::Insecure => Self::Absent(Absence::Insecure),
            Security::Secure if answer.records.is_empty() => Self::Absent(Absence::NoRecords),
            Security::Secure => Self::of_records(base, answer.records),
        }
    }

    fn of_records(base: String, published: Vec<Tlsa>) -> Self {
        let (mut usable, mut unusable) = (Vec::new(), Vec::new());
        for record in &published {
            match record.usable() {
                Ok(record) => usable.push(record),
                Err(why) => unusable.push((record.clone(), why)),
            }
        }
        if usable.is_empty() {
            return Self::Unusable { base, found: unusable };
        }
        Self::Usable(Records { base, published, used: strongest(usable) })
    }

    /// The records of which one must match, if there are any.
    #[must_use]
    pub fn records(&self) -> Option<&Records> {
        match self {
            Self::Usable(records) => Some(records),
            _ => None,
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked(NotAsked::Disabled) => "the strategy leaves DANE out",
            Self::NotAsked(NotAsked::Literal) => "an address has no TLSA records",
            Self::NotAsked(NotAsked::InsecureAddress) => "DNSSEC does not vouch for its addresses",
            Self::NotAsked(NotAsked::Unbelieved) => "there is no resolver that validates",
            Self::Insecure => "DNSSEC does not vouch for its TLSA records",
            Self::NoRecords => "it has no TLSA records",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::answer::Existence;
    use std::time::Duration;

    fn tlsa(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
        Tlsa { usage, selector, matching, data: vec![7; length] }
    }

    fn answered(records: Vec<Tlsa>, security: Security) -> Dane {
        let existence = if records.is_empty() { Existence::NoData } else { Existence::Records };
        let answer = Answer { records, existence, security, aliases: Vec::new(), ttl: Duration::from_secs(60) };
        Dane::of(Asked::Answered { base: "mx.example".into(), answer })
    }

    #[test]
    fn d1_insecure_and_proven_absent_are_no_error_and_everything_else_is() {
        let good = || vec![tlsa(3, 1, 1, 32)];
        assert!(matches!(answered(good(), Security::Secure), Dane::Usable(_)));
        assert_eq!(answered(good(), Security::Insecure), Dane::Absent(Absence::Insecure));
        assert_eq!(answered(Vec::new(), Security::Secure), Dane::Absent(Absence::NoRecords));
        assert_eq!(answered(Vec::new(), Security::Insecure), Dane::Absent(Absence::Insecure));
        let errors = [
            LookupError::Bogus { ede: None },
            LookupError::ServerFailure { ede: None },
            LookupError::Refused,
            LookupError::Timeout,
            LookupError::Malformed { what: "cut off" },
            LookupError::Unreachable { why: "refused".into() },
        ];
        for error in errors {
            let state = Dane::of(Asked::Failed { base: "mx.example".into(), error: error.clone() });
            assert_eq!(state, Dane::Failed { base: "mx.example".into(), error });
        }
    }

    #[test]
    fn d12_one_usable_record_makes_all_of_it_count() {
        let Dane::Usable(records) = answered(vec![tlsa(1, 1, 1, 32), tlsa(3, 1, 1, 32)], Security::Secure) else {
            panic!("one can be used");
        };
        assert_eq!((records.published.len(), records.used.len()), (2, 1));
        assert_eq!(records.base, "mx.example");
    }

    #[test]
    fn d13_records_of_which_none_can_be_used_are_not_the_same_as_none() {
        let Dane::Unusable { found, .. } = answered(vec![tlsa(1, 1, 1, 32), tlsa(3, 1, 1, 16)], Security::Secure)
        else {
            panic!("none can be used");
        };
        let why: Vec<_> = found.into_iter().map(|(_, why)| why).collect();
        assert_eq!(why, [Unusable::Usage(1), Unusable::Length { found: 16, right: 32 }]);
    }

    #[test]
    fn d20_a_malformed_stronger_digest_outdoes_nothing() {
        let state = answered(vec![tlsa(3, 1, 1, 32), tlsa(3, 1, 2, 32)], Security::Secure);
        assert_eq!(state.records().unwrap().used.len(), 1);
        let state = answered(vec![tlsa(3, 1, 1, 32), tlsa(3, 1, 2, 64)], Security::Secure);
        let used = &state.records().unwrap().used;
        assert!(used.len() == 1 && used[0].to_string().starts_with("3 1 2 "), "{used:?}");
    }

    #[test]
    fn d24_an_address_has_no_dane() {
        let state = Dane::of(Asked::Not(NotAsked::Literal));
        assert_eq!(state, Dane::Absent(Absence::NotAsked(NotAsked::Literal)));
    }

    #[test]
    fn d8_nobody_asks_where_the_addresses_are_insecure() {
        let state = Dane::of(Asked::Not(NotAsked::InsecureAddress));
        assert_eq!(state, Dane::Absent(Absence::NotAsked(NotAsked::InsecureAddress)));
    }
}
