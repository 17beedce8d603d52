//! The clocks of a relayed session: which deadline holds at each moment (spec §3.5).

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{Relay, Side, Stage};
use crate::proto::Phase;

/// What holds for one session.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    /// What holds for all of its kind.
    pub limits: &'a Limits,
    /// When the login must be through.
    pub login: Instant,
}

/// How long each wait may take, and how much may be held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A whole line, from the last reply.
    pub command: Duration,
    /// Both directions silent.
    pub idle: Duration,
    /// The backend's answer to the end of a message.
    pub data_end: Duration,
    /// Both directions silent after one side has ended its sending.
    pub half_close: Duration,
    /// When stopping: how long both directions must be silent before a session that is copied blindly is
    /// closed. `None`: it may finish.
    pub drain_silence: Option<Duration>,
    /// The most bytes that a filter may want to see at once; a backstop behind its own limits.
    pub held: usize,
}

/// How long a session has to be silent for its client's side to rest: not in the middle of a dialogue, and long before the hours of
/// silence that a client of IMAP spends.
pub(super) const REST: Duration = Duration::from_millis(500);

impl<C, B> Relay<'_, C, B>
where
    C: Side,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// When the session has to be looked at, whatever happens before.
    pub(super) fn alarm(&self) -> Instant {
        let deadline = self.deadline();
        if self.rests { deadline } else { deadline.min(self.last_activity + REST) }
    }

    /// When something has to be done if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        match (self.ending, self.stage) {
            (Some((_, by)), _) => by,
            (None, Stage::Draining) => self.due().min(self.leave()),
            (None, _) => self.due(),
        }
    }

    /// When the wait that the session is in has lasted too long.
    fn due(&self) -> Instant {
        let Some(filter) = &self.filter else { return self.last_activity + self.idle() };
        let due = match filter.phase() {
            Phase::Command => self.last_reply + self.pace.limits.command,
            Phase::Transfer => self.last_activity + self.idle(),
            Phase::DataEnd => self.last_activity + self.pace.limits.data_end,
        };
        if filter.awaits_login() { due.min(self.pace.login) } else { due }
    }

    fn idle(&self) -> Duration {
        if self.up.source_ended || self.down.source_ended {
            self.pace.limits.half_close.min(self.pace.limits.idle)
        } else {
            self.pace.limits.idle
        }
    }

    /// When a session that is copied blindly has been silent for long enough to be closed by a stopping process.
    fn leave(&self) -> Instant {
        // A side that has not taken yet what is due to it is in the middle of a transfer, however slow.
        let quiet = self.up.is_written() && self.down.is_written();
        match (self.pace.limits.drain_silence, &self.filter) {
            (Some(silence), None) if quiet => self.last_activity + silence,
            _ => self.due(),
        }
    }

    /// Whether the session is closed because it was silent while mailward is stopping.
    pub(super) fn drains_by_silence(&self) -> bool {
        self.stage == Stage::Draining
            && self.pace.limits.drain_silence.is_some_and(|silence| self.last_activity + silence <= Instant::now())
    }
}
