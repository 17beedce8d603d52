//! ManageSieve (RFC 5804).

mod filter;
mod greeter;

pub use filter::{SieveFilter, greeting_end};
pub use greeter::SieveGreeter;
