//! SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033): one family, one pair of machines.

mod extensions;
mod filter;
mod greeter;
mod guard;

pub use extensions::Extensions;
pub use filter::{SmtpFilter, greeting_end};
pub use greeter::SmtpGreeter;
pub use guard::{DomainPattern, Guard};
