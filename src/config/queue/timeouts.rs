//! `queue.timeout.*`: how long a server may take, step by step.
//!
//! None may be longer than its default: a sender waits 5 minutes for the answer to RCPT, 2 for that to DATA, 3 for a stretch of the
//! message and 10 for the answer to its end (RFC 5321 §4.5.3.2), and there has to be time left for the way back.

use std::time::Duration;

use crate::config::{section::Section, setting::Setting};

/// How long the servers of recipients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueTimeouts {
    /// `connect`: for connecting to one address.
    pub connect: Duration,
    /// `greeting`: for a server's greeting, and for its answer to EHLO.
    pub greeting: Duration,
    /// `rcpt`: for the answer to MAIL, and to RCPT.
    pub rcpt: Duration,
    /// `data`: for the answer to DATA.
    pub data: Duration,
    /// `block`: for a stretch of the message to come, and to be taken.
    pub block: Duration,
    /// `data-end`: for the answer to the end of the message.
    pub data_end: Duration,
    /// `place`: for a place where too many sessions are under way.
    pub place: Duration,
    /// `total`: for all that comes before the answer to a recipient: lookups, policies, every server.
    pub total: Duration,
}

/// What the file says, in the order of [`QueueTimeouts::all`].
pub(in crate::config) type TimeoutKeys = [Setting<Duration>; 8];

impl Default for QueueTimeouts {
    fn default() -> Self {
        Self::LONGEST
    }
}

impl QueueTimeouts {
    /// The defaults, and the most that each can be.
    pub const LONGEST: Self = Self {
        connect: Duration::from_secs(15),
        greeting: Duration::from_secs(30),
        rcpt: Duration::from_secs(60),
        data: Duration::from_secs(60),
        block: Duration::from_secs(120),
        data_end: Duration::from_secs(570),
        place: Duration::from_secs(30),
        total: Duration::from_secs(240),
    };

    /// Each with its name, in the order of time.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, Duration); 8] {
        [
            ("connect", self.connect),
            ("greeting", self.greeting),
            ("rcpt", self.rcpt),
            ("data", self.data),
            ("block", self.block),
            ("data-end", self.data_end),
            ("place", self.place),
            ("total", self.total),
        ]
    }

    /// Reads the keys.
    pub(super) fn read(table: &mut Section<'_, '_>) -> TimeoutKeys {
        Self::LONGEST.all().map(|(name, _)| table.duration(name))
    }

    /// What holds.
    pub(super) fn resolve(keys: &TimeoutKeys) -> Self {
        let longest = Self::LONGEST.all();
        let at = |place: usize| keys[place].value_or(longest[place].1).min(longest[place].1);
        Self {
            connect: at(0),
            greeting: at(1),
            rcpt: at(2),
            data: at(3),
            block: at(4),
            data_end: at(5),
            place: at(6),
            total: at(7),
        }
    }
}
