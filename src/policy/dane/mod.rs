//! DANE for SMTP: what TLSA records demand, and what fulfils it (RFC 7672, RFC 7671, RFC 6698).
//!
//! Promises: usages 0 and 1 demand nothing (RFC 7672 §3.1.3); what cannot be looked up is a failure, and never no record
//! (§2.1); once one record can be used, only a certificate that matches one will do (§2.2).

mod fingerprint;
mod record;
mod reference;
mod state;

pub use fingerprint::{Fingerprints, Selected};
pub use record::{Data, Record, Selector, Tlsa, Unusable, Usage, strongest};
pub use reference::{MxOf, NextHop, reference_names};
pub use state::{Absence, Asked, Dane, NotAsked, Records};
