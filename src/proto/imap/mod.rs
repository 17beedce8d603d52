//! IMAP (RFC 3501, RFC 9051).

mod filter;
mod greeter;

pub use filter::{ImapFilter, greeting_end};
pub use greeter::ImapGreeter;
