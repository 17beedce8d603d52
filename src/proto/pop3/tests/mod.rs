//! What POP3 promises, rule by rule. The harness serves ManageSieve too.

mod filter;
mod greeter;
pub(in crate::proto) mod harness;
