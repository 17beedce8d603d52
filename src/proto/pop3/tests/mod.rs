//! What POP3 promises, rule by rule.

mod filter;
mod greeter;
