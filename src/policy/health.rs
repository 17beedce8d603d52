//! Whether an address of a backend is fit for a session: what its failures and answers come to.
//!
//! An address that fails is left out for a while, longer with each failure in a row and never for more than half a
//! minute. After that one session at a time tries it, so that nobody waits beside it, and a server that comes back is
//! not run over. Once it answers it is fit; with a slow start, for a growing share of the sessions.

use std::time::{Duration, Instant};

/// A part of a whole: [`WHOLE`] is all of it.
pub type Share = u16;

/// All of it.
pub const WHOLE: Share = Share::MAX;

/// How long an address is left out after its first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// How long it is left out at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The share with which a slow start begins: enough that somebody comes.
const LEAST_SHARE: Share = WHOLE / 64;

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing bad, or it answers again.
    Up {
        /// When it came back, if it was down before.
        since: Option<Instant>,
    },
    /// It failed.
    Down {
        /// How often in a row.
        failures: u32,
        /// Until when it is left out.
        until: Instant,
        /// Whether somebody is finding out whether it is back.
        on_trial: bool,
    },
}

/// What an address may be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Sessions: this share of what its weight says.
    Fit(Share),
    /// One session, which finds out.
    Due,
    /// Nothing.
    Out,
}

impl Default for Health {
    fn default() -> Self {
        Self::Up { since: None }
    }
}

impl Health {
    /// What the address may be used for at `now`. With a slow start it takes so long until it has its whole share.
    #[must_use]
    pub fn standing(self, now: Instant, slow_start: Option<Duration>) -> Standing {
        match self {
            Self::Up { since } => Standing::Fit(match since.zip(slow_start) {
                Some((since, whole)) => share(now.saturating_duration_since(since), whole),
                None => WHOLE,
            }),
            Self::Down { on_trial: false, until, .. } if until <= now => Standing::Due,
            Self::Down { .. } => Standing::Out,
        }
    }

    /// Somebody finds out whether it is back.
    #[must_use]
    pub fn tried(self) -> Self {
        match self {
            Self::Down { failures, until, .. } => Self::Down { failures, until, on_trial: true },
            up @ Self::Up { .. } => up,
        }
    }

    /// Whoever was finding out has given up before there was an answer: the next one may try.
    #[must_use]
    pub fn untried(self) -> Self {
        match self {
            Self::Down { failures, until, .. } => Self::Down { failures, until, on_trial: false },
            up @ Self::Up { .. } => up,
        }
    }

    /// It failed at `now`, in a trial or not. Of many sessions that were begun before the first of them failed, that
    /// one counts.
    #[must_use]
    pub fn failed(self, now: Instant, in_trial: bool) -> Self {
        let failures = match self {
            Self::Up { .. } => 1,
            Self::Down { failures, .. } if in_trial => failures.saturating_add(1),
            known @ Self::Down { .. } => return known,
        };
        Self::Down { failures, until: now + pause(failures), on_trial: false }
    }

    /// It answered at `now`.
    #[must_use]
    pub fn answered(self, now: Instant) -> Self {
        match self {
            Self::Down { .. } => Self::Up { since: Some(now) },
            up @ Self::Up { .. } => up,
        }
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_PAUSE)
}

fn share(elapsed: Duration, whole: Duration) -> Share {
    let grown = elapsed.as_secs_f64() / whole.as_secs_f64() * f64::from(WHOLE);
    // Beyond the whole the conversion stays at the greatest number.
    (grown as Share).max(LEAST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses: Vec<_> = (1..=7).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn one_tries_at_a_time_and_an_answer_ends_it() {
        let now = Instant::now();
        let down = Health::default().failed(now, false);
        assert_eq!(down.standing(now, None), Standing::Out);
        let later = now + FIRST_PAUSE;
        assert_eq!(down.standing(later, None), Standing::Due);
        assert_eq!(down.tried().standing(later, None), Standing::Out);
        assert_eq!(down.tried().untried().standing(later, None), Standing::Due);
        assert_eq!(down.tried().answered(later).standing(later, None), Standing::Fit(WHOLE));
        let again = down.tried().failed(later, true);
        assert_eq!(again, Health::Down { failures: 2, until: later + 2 * FIRST_PAUSE, on_trial: false });
    }

    #[test]
    fn of_many_that_fail_together_one_counts() {
        let now = Instant::now();
        let down = Health::default().failed(now, false);
        assert_eq!(down.failed(now + SECOND, false), down);
        assert_eq!(down.tried().failed(now + SECOND, false), down.tried(), "and a trial goes on");
    }

    #[test]
    fn a_slow_start_follows_a_failure_and_nothing_else() {
        let now = Instant::now();
        let slow = Some(10 * SECOND);
        assert_eq!(Health::default().standing(now, slow), Standing::Fit(WHOLE));
        let back = Health::default().failed(now, false).answered(now);
        let share = |seconds| match back.standing(now + seconds * SECOND, slow) {
            Standing::Fit(share) => share,
            other => panic!("{other:?}"),
        };
        assert_eq!(share(0), LEAST_SHARE);
        assert_eq!(share(5), WHOLE / 2);
        assert_eq!((share(10), share(1000)), (WHOLE, WHOLE));
        assert_eq!(back.answered(now + 3 * SECOND), back, "its start is not put off by further answers");
    }
}
