//! POP3 (RFC 1939).

mod filter;
mod greeter;

pub use filter::{Pop3Filter, greeting_end};
pub use greeter::Pop3Greeter;
