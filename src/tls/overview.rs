//! What the operator is told of the certificates in force.

use std::{path::PathBuf, time::SystemTime};

use super::KeyKind;

/// One certificate in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The table that it comes from: `certificate.<id>` or `acme.<id>`.
    pub table: String,
    /// The file with its chain; `None` where it stands in the configuration itself.
    pub file: Option<PathBuf>,
    /// The names of its SAN, in lower case.
    pub names: Vec<String>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The end of its validity.
    pub not_after: SystemTime,
    /// Which kind of key it has.
    pub kind: KeyKind,
    /// The SHA-256 of its public key, as in TLSA `3 1 1` (RFC 6698 §2.1).
    pub public_key: [u8; 32],
}
