//! Bytes in, decisions out: what mailward knows of the mail protocols.
//!
//! Nothing here owns a socket, a clock or a task. Each protocol has two machines:
//!
//! - a [`Greeter`], which is the whole server until TLS is up (spec §4.1), and is dropped there;
//! - a [`Filter`], which stands between the client and the backend inside TLS (spec §4.2) and says of each
//!   run of bytes whether it goes on unchanged, is replaced, or waits.
//!
//! Both are driven by the same three callers: the sockets (`net`), the transcript tests and the fuzzers.

use std::{fmt, sync::Arc};

mod before_tls;
mod complaint;
mod connection;
mod ending;
#[cfg(test)]
mod harness;
pub mod imap;
mod input;
mod inside_tls;
mod introduction;
pub mod line;
mod literal;
pub mod pop3;
pub mod proxy_header;
pub mod sasl;
pub mod sieve;
pub mod smtp;
pub mod tally;
pub mod upgrade;

pub use before_tls::{Greeter, Opening, Outcome, Step};
pub use complaint::Complaint;
pub use connection::{Connection, Encryption, Leg};
pub use ending::{Ending, Farewell, Violation};
pub use input::{Emptied, Input};
pub use inside_tls::{Filter, Flow, Phase, RefusedLogin, Start, Wire};
pub use introduction::{Introduced, Introduction};

/// The longest reply of a backend that is taken, greetings and lists included, in bytes.
const LONGEST_REPLY: usize = 64 * 1024;

/// The protocol that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// SMTP between mail servers (RFC 5321), port 25.
    Smtp,
    /// Message submission (RFC 6409), ports 587 and 465.
    Submission,
    /// LMTP (RFC 2033), port 24.
    Lmtp,
    /// IMAP (RFC 3501, RFC 9051), ports 143 and 993.
    Imap,
    /// POP3 (RFC 1939), ports 110 and 995.
    Pop3,
    /// ManageSieve (RFC 5804), port 4190.
    ManageSieve,
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Smtp, Self::Submission, Self::Lmtp, Self::Imap, Self::Pop3, Self::ManageSieve];

    /// The name used in the configuration and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::ManageSieve => "managesieve",
        }
    }

    /// Whether it carries messages to the backend: SMTP and its family.
    #[must_use]
    pub const fn carries_mail(self) -> bool {
        matches!(self, Self::Smtp | Self::Submission | Self::Lmtp)
    }

    /// Whether a password is what a session of this protocol begins with.
    #[must_use]
    pub const fn has_login(self) -> bool {
        matches!(self, Self::Submission | Self::Imap | Self::Pop3 | Self::ManageSieve)
    }

    /// The usual port of a session that begins in clear.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Lmtp => 24,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::ManageSieve => 4190,
        }
    }

    /// The backend's port where the configuration names none, and the session begins with TLS if it is `implicit`.
    #[must_use]
    pub const fn backend_port(self, implicit: bool) -> u16 {
        match self {
            Self::Smtp | Self::Submission if implicit => 465,
            Self::Imap if implicit => 993,
            Self::Pop3 if implicit => 995,
            _ => self.default_port(),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bounds on what a peer may send before it is logged in (spec §3.5). All in bytes or counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `limit.line`: one command line, without its line end.
    pub line: usize,
    /// `limit.auth`: one line of a SASL exchange.
    pub auth: usize,
    /// `limit.literal`: one literal before login.
    pub literal: usize,
    /// `limit.commands`: commands before TLS, and before login.
    pub commands: usize,
    /// `limit.errors`: refused or unknown commands before TLS, and before login.
    pub errors: usize,
    /// `limit.discard`: bytes read and thrown away to stay in step (a refused BDAT, the rest of a body).
    pub discard: u64,
}

/// How long the backend's greeting is: `Ok(None)` while it is incomplete.
///
/// # Errors
/// [`Violation::Backend`] where it cannot become a greeting of this protocol, or grows beyond 64 KiB.
pub fn greeting_end(protocol: Protocol, input: &[u8]) -> Result<Option<usize>, Violation> {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => smtp::greeting_end(input),
        Protocol::Imap => imap::greeting_end(input),
        Protocol::Pop3 => pop3::greeting_end(input),
        Protocol::ManageSieve => sieve::greeting_end(input),
    }
}

/// What a client says that has nothing else to say.
#[must_use]
pub const fn leave(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp | Protocol::Pop3 => b"QUIT\r\n",
        Protocol::Imap => b"q LOGOUT\r\n",
        Protocol::ManageSieve => b"LOGOUT\r\n",
    }
}

/// What a greeter or filter is told of its listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which protocol: smtp, submission and lmtp share their machines.
    pub protocol: Protocol,
    /// `server.hostname`: greeting and replies.
    pub hostname: String,
    /// `tls.require`: nothing but TLS lets the client get on.
    pub require: bool,
    /// `plaintext-auth`: passwords may be said without TLS.
    pub plaintext_auth: bool,
    /// `backend.<id>.tls.*`: the backend is never spoken to but in TLS, once it has shown who it is.
    pub backend_tls: bool,
    /// The bounds in force.
    pub limits: Limits,
    /// Who may send mail to whom through this listener (SMTP and submission).
    pub guard: smtp::Guard,
    /// What of a message, an offer or a command does not reach the backend (SMTP, submission and LMTP).
    pub hygiene: smtp::Hygiene,
}

impl Settings {
    /// Whether this listener lets a client log in without TLS (IMAP, POP3 and ManageSieve).
    fn permits_plaintext_login(&self) -> bool {
        self.plaintext_auth && !self.require
    }
}

/// The greeter of a listener's protocol.
#[must_use]
pub fn greeter(settings: &Arc<Settings>) -> Box<dyn Greeter> {
    let settings = settings.clone();
    match settings.protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => Box::new(smtp::SmtpGreeter::new(settings)),
        Protocol::Imap => Box::new(imap::ImapGreeter::new(settings)),
        Protocol::Pop3 => Box::new(pop3::Pop3Greeter::new(settings)),
        Protocol::ManageSieve => Box::new(sieve::SieveGreeter::new(settings)),
    }
}

/// The filter of a listener's protocol, for a client whose leg is this.
#[must_use]
pub fn filter(settings: &Arc<Settings>, start: Start, leg: Leg) -> Box<dyn Filter> {
    let settings = settings.clone();
    match settings.protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => Box::new(smtp::SmtpFilter::new(settings, start, leg)),
        Protocol::Imap => Box::new(imap::ImapFilter::new(settings, start, leg)),
        Protocol::Pop3 => Box::new(pop3::Pop3Filter::new(settings, start, leg)),
        Protocol::ManageSieve => Box::new(sieve::SieveFilter::new(settings, start, leg)),
    }
}

/// Writes the words for a client that is refused before any session exists (over `max-connections`, or
/// every backend address known to be down), in place of the greeting.
pub fn refuse(settings: &Settings, farewell: Farewell, output: &mut Vec<u8>) {
    greeter(&Arc::new(settings.clone())).farewell(farewell, output);
}
