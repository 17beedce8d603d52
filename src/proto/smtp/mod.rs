//! SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033): one family, one pair of machines.
//!
//! The grammar stands in small files (`command`, `reply`, `path`, `chunk`, `body`, `offer`), the decisions in
//! `greeter`, `filter`, `guard` and `hygiene`, and everything that mailward itself says in `words`.
//!
//! Outbound there are two conversations: `egress` is the server that a sender talks to, `remote` the client that talks to
//! the recipient's server. Between them go an `envelope` of `mailbox`es, the octets of a message, and each `answer`; an
//! `obstacle` is an answer of our own.

mod answer;
mod body;
mod chunk;
mod command;
pub mod egress;
mod envelope;
mod extensions;
mod filter;
mod greeter;
mod guard;
mod hygiene;
mod mailbox;
mod obstacle;
mod offer;
mod path;
mod probe;
pub mod remote;
mod reply;
mod trace;
mod upgrade;
mod words;
mod xclient;

#[cfg(test)]
mod tests;

pub use answer::{Answer, in_brackets};
pub use body::BareNewline;
pub use egress::Egress;
pub use envelope::Mail;
pub use extensions::{Extensions, Mechanisms};
pub use filter::SmtpFilter;
pub use greeter::SmtpGreeter;
pub use guard::{DomainPattern, Guard};
pub use hygiene::{Hygiene, REFUSABLE};
pub use mailbox::{Mailbox, Place};
pub use obstacle::Obstacle;
pub(super) use probe::hello;
pub use probe::{Probe, Probed};
pub use remote::Remote;
pub use reply::greeting_end;
pub use trace::{LONGEST_TRACE, Trace};
pub(super) use upgrade::answer as upgrade_answer;
pub use words::{SPOKE_FIRST, listed};
pub use xclient::Xclient;
