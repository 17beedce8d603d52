//! DANE for SMTP: what was asked about a host's TLSA records (RFC 6698, RFC 7672).

use super::answer::{Answer, LookupError};

/// A TLSA record as it was published (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What was asked about the TLSA records of a host, and what came of it.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Nothing was asked.
    Not(NotAsked),
    /// There is an answer.
    Answered {
        /// The base domain: the name under which `_25._tcp` was asked for (RFC 7672 §2.2.2).
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
