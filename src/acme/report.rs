//! What the operator is told of a certificate that is kept fresh.

use serde::{Deserialize, Serialize};

/// One certificate of `[acme.<id>]`: its state beyond what the certificate itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The table's name.
    pub id: String,
    /// Which of its keys: `ecdsa-p256`, `ecdsa-p384`, `rsa-2048`.
    pub key_type: String,
    /// The names asked for.
    pub domains: Vec<String>,
    /// When something is done next, in seconds since 1970; `None` while it is being done.
    pub next: Option<u64>,
    /// What is done, or will be, and why, in plain words.
    pub why: String,
    /// Why the last attempt failed, if it did, in plain words.
    pub last_error: Option<String>,
    /// The SHA-256 of the next key's public half (as in TLSA `3 1 1`), in hexadecimal, where one was made ready.
    pub next_key: Option<String>,
}
