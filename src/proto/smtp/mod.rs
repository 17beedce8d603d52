//! SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033): one family, one pair of machines.
//!
//! The grammar stands in small files (`command`, `reply`, `path`, `chunk`, `body`, `offer`), the decisions in
//! `greeter`, `filter`, `guard` and `hygiene`, and everything that mailward itself says in `words`.

mod body;
mod chunk;
mod command;
mod extensions;
mod filter;
mod greeter;
mod guard;
mod hygiene;
mod offer;
mod path;
mod probe;
mod reply;
mod trace;
mod upgrade;
mod words;
mod xclient;

#[cfg(test)]
mod tests;

pub use body::BareNewline;
pub use extensions::{Extensions, Mechanisms};
pub use filter::SmtpFilter;
pub use greeter::SmtpGreeter;
pub use guard::{DomainPattern, Guard};
pub use hygiene::{Hygiene, REFUSABLE};
pub(super) use probe::hello;
pub use probe::{Probe, Probed};
pub use reply::greeting_end;
pub use trace::{LONGEST_TRACE, Trace};
pub(super) use upgrade::answer as upgrade_answer;
pub use words::{SPOKE_FIRST, listed};
pub use xclient::Xclient;
