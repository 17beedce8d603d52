//! What the operator is told of a certificate that is kept fresh.

use serde::{Deserialize, Serialize};

use super::{cache::Cache, key};
use crate::config::{Acme, Config, KeyType};

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

impl Report {
    /// What the caches hold of every certificate that `config` asks for, while nobody keeps them.
    #[must_use]
    pub fn at_rest(config: &Config) -> Vec<Self> {
        let of = |table| move |key_type: &KeyType| Self::of_cache(table, *key_type);
        config.acme.values().flat_map(|table| table.key_types.iter().map(of(table))).collect()
    }

    fn of_cache(table: &Acme, key_type: KeyType) -> Self {
        let cache = Cache::new(table);
        Self {
            id: table.id.clone(),
            key_type: key_type.name().to_owned(),
            domains: table.domains.clone(),
            next: None,
            why: "nothing while mailward does not run".to_owned(),
            last_error: cache.state(key_type).last_error,
            next_key: key::known_next(key_type, &cache).map(|key| key::digest_of(&key)),
        }
    }
}
