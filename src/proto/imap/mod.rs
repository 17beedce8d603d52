//! IMAP (RFC 3501, RFC 9051).
//!
//! The client's side is read by `intake`, one whole command at a time, literals included, and nothing of a
//! command goes on before all of it was understood: what the backend is sent is written anew by `outgoing`, so
//! the two cannot disagree on where it ends. `greeter` answers commands before TLS; inside it, `filter` joins
//! `client` (what a command may do) and `backend` (what a reply becomes) until the login.

mod arguments;
mod backend;
mod capability;
mod client;
mod command;
mod filter;
mod greeter;
mod greeting;
mod id;
mod intake;
mod introduction;
mod outgoing;
mod permit;
mod response;
mod upgrade;
mod words;

#[cfg(test)]
mod tests;

pub use filter::ImapFilter;
pub use greeter::ImapGreeter;
pub use greeting::greeting_end;
pub use introduction::Identification;
pub(super) use upgrade::{STARTTLS, answer as upgrade_answer};
