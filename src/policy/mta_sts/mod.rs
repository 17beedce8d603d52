//! MTA-STS, the sender's side: which policy a domain has, and what follows from it (RFC 8461).
//!
//! Promises that a policy once held applies until it expires, whatever DNS or the policy's host say meanwhile (§3.1, §3.3);
//! that nothing but a well-formed record makes anybody ask for a policy, and nothing but a well-formed policy is one.

mod cache;
mod fault;
mod policy;
mod record;
mod standing;

pub use cache::{Failed, Held, Known, Plan};
pub use fault::Fault;
pub use policy::{Invalid, LONGEST_AGE, Mode, Policy};
pub use record::{Published, published};
pub use standing::{Standing, Unasked};
