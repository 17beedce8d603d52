//! Certificates from ACME authorities (RFC 8555), asked for, proved and kept fresh.
//!
//! What is issued is written to the cache and picked up from there like any other certificate file, so that there is
//! one way for a certificate into force, also for one that another process on the same cache has got.

mod answers;
mod report;

pub use answers::{Answers, Tokens};
pub use report::Report;
