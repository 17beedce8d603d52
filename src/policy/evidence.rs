//! What a server has proven in a handshake, as a verdict and a report want to know it.
//!
//! Promises nothing by itself: `src/tls` fills it in, and hands out the permission to send beside it.

use crate::policy::{certificate::Untrusted, dane::Record};

/// What the certificate of a server that has proven to have its key is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether it comes from a known root and is for the host; the name that it is for.
    pub pkix: Result<String, Untrusted>,
    /// Whether it matches one of the TLSA records that can be used; `None` where there are none.
    pub dane: Option<Result<Matched, Mismatch>>,
}

/// A TLSA record that a certificate matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Which.
    pub record: Record,
    /// Of the reference names the one that the certificate is for; `None` under usage 3, where names do not count.
    pub name: Option<String>,
}

/// Why a certificate matches no TLSA record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// None is of this chain.
    #[error("the certificate matches none of the TLSA records")]
    NoMatch,
    /// One names an issuer, and the certificate does not hold under it.
    #[error("a TLSA record names an issuer, but {0}")]
    Untrusted(Untrusted),
}
