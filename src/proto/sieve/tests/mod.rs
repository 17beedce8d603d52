//! What ManageSieve promises, rule by rule.

mod filter;
mod greeter;
