//! How long carrying a message may take, step by step.
//!
//! Promises that a sender is answered before it gives up: RFC 5321 §4.5.3.2 has it wait 5 minutes for the answer to RCPT, 2 for
//! that to DATA and 10 for that to the end of the message, and in each there is time left for the way back.

use std::time::Duration;

use crate::proto::smtp::remote::Asked;

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// For connecting to one address.
    pub connect: Duration,
    /// For a server's greeting, and for its answer to EHLO.
    pub greeting: Duration,
    /// For the answer to MAIL, and to RCPT.
    pub recipient: Duration,
    /// For the answer to DATA.
    pub data: Duration,
    /// For a stretch of the message to be taken, and for the next one to come.
    pub block: Duration,
    /// For the answer to the end of the message.
    pub message: Duration,
    /// For all that comes before the answer to the first recipient of a domain: lookups, policies, and every host.
    pub reach: Duration,
    /// For a place where too many sessions are under way already.
    pub place: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(15),
            greeting: seconds(30),
            recipient: seconds(60),
            data: seconds(60),
            block: seconds(120),
            message: seconds(570),
            reach: seconds(240),
            place: seconds(30),
        }
    }
}

impl Times {
    /// How long a server may take for the answer to this; STARTTLS has `tls`.
    #[must_use]
    pub const fn of(&self, asked: Asked, tls: Duration) -> Duration {
        match asked {
            Asked::Greeting | Asked::Hello | Asked::OldHello => self.greeting,
            Asked::StartTls => tls,
            Asked::Mail | Asked::Recipient | Asked::Reset => self.recipient,
            Asked::Data => self.data,
            Asked::Message => self.message,
            Asked::Quit => FAREWELL,
        }
    }
}

/// How long anybody waits for the answer to QUIT.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);
