//! Certificates from ACME authorities (RFC 8555), asked for, proved and kept fresh.
//!
//! [`Keepers`] hold one `keeper` for each certificate: it decides (`policy::renewal`), opens the `account`, fulfils an
//! `order` with its `challenge`s, and writes what is issued to the `cache`. From there it is picked up like any other
//! certificate file, so that there is one way for a certificate into force, also for one that another process on the same
//! cache has got.

mod account;
mod answers;
mod cache;
mod chain;
mod challenge;
mod client;
pub mod dns;
mod fault;
mod keeper;
mod keepers;
mod key;
mod order;
mod report;

pub use answers::{Answers, Tokens};
pub use keepers::Keepers;
pub use report::Report;

/// What authorities see as the client (RFC 8555 §6.1).
const USER_AGENT: &str = concat!("mailward/", env!("CARGO_PKG_VERSION"));

/// What the operator asks of the certificates that are kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Get a certificate now, whenever the next was due and however long to wait after a failure.
    Renew {
        /// The table's name, or it and the kind of key: `main/rsa-2048`.
        name: String,
        /// Change to the key that was made ready.
        next_key: bool,
    },
    /// Make the key ready that the next roll-over will change to.
    NextKey {
        /// As in [`Self::Renew`].
        name: String,
    },
}
