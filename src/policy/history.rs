//! What attempts to send mail have come to, and for how long that is remembered.
//!
//! Promises: attempts within [`ROUND`] of one that counts count with it, so that a sender with many messages, or a hasty one, is
//! no further in its rules than one that waits; failures are forgotten after [`LONGEST`], those that had to do with TLS
//! [`BROKEN_TLS`] after the last of them, since whoever is in the way can make them; that mail went through in clear does not
//! show that TLS works. A time that lies in the future was told by a clock that was wrong, and counts for nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{strategy::LastError, verdict::Assurance};

/// How far apart attempts must be to count each.
pub const ROUND: Duration = Duration::from_secs(60);

/// How long failures are remembered: no sender tries a message for longer.
pub const LONGEST: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// How long it is remembered that TLS did not work.
pub const BROKEN_TLS: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is remembered how much was known of a server.
pub const FLOOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How far ahead of us a time may be that is believed.
pub const TOLERANCE: Duration = Duration::from_secs(60);

/// Attempts that failed, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    count: u32,
    last_error: LastError,
    first: SystemTime,
    counted: SystemTime,
    last: SystemTime,
}

/// What is remembered of a recipient's domain, or of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Since the last attempt that did not fail.
    failures: Option<Failures>,
    /// The last failure that had to do with TLS, until TLS has worked again.
    broken_tls: Option<(LastError, SystemTime)>,
    succeeded: Option<SystemTime>,
    /// When it was last seen how much was known.
    seen: BTreeMap<Assurance, SystemTime>,
}

/// What the rules are told: of a pair of addresses `retry_num` and `last_error`, of a domain `domain_failures` and
/// `domain_last_error`, of a host `mx_last_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// How many attempts have failed since the last that did not.
    pub failures: u64,
    /// How the last of them did; of a domain or host also that TLS did not work of late, although mail went through in clear.
    pub last_error: LastError,
    /// When mail last went through; not known of a pair, which is forgotten then.
    pub succeeded: Option<SystemTime>,
    /// The most that was known of the server within [`FLOOR`]; not known of a pair.
    pub best: Option<Assurance>,
}

impl Past {
    /// Of what nothing is remembered.
    pub const NONE: Self = Self { failures: 0, last_error: LastError::None, succeeded: None, best: None };
}

impl Failures {
    /// After one more failure at `now`; `before` is what was remembered.
    #[must_use]
    pub fn after(before: Option<Self>, error: LastError, now: SystemTime) -> Self {
        match before.filter(|before| !before.is_over(now)) {
            None => Self { count: 1, last_error: error, first: now, counted: now, last: now },
            Some(before) if since(before.counted, now) < ROUND => Self { last_error: error, last: now, ..before },
            Some(before) => {
                Self { count: before.count.saturating_add(1), last_error: error, counted: now, last: now, ..before }
            }
        }
    }

    /// Whether they are to be forgotten.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        is_over(self.first, LONGEST, now)
            || (has_to_do_with_tls(self.last_error) && is_over(self.last, BROKEN_TLS, now))
    }

    /// What the rules are told of a pair of addresses.
    #[must_use]
    pub fn past(&self, now: SystemTime) -> Past {
        if self.is_over(now) {
            return Past::NONE;
        }
        Past { failures: self.count.into(), last_error: self.last_error, ..Past::NONE }
    }

    /// The moment of the last of them.
    #[must_use]
    pub const fn last(&self) -> SystemTime {
        self.last
    }
}

impl Standing {
    /// After a failure at `now`.
    #[must_use]
    pub fn failed(self, error: LastError, now: SystemTime) -> Self {
        let broken_tls = if has_to_do_with_tls(error) { Some((error, now)) } else { self.broken_tls };
        Self { failures: Some(Failures::after(self.failures, error, now)), broken_tls, ..self }
    }

    /// After mail went through at `now`, with so much known of the server.
    #[must_use]
    pub fn succeeded(mut self, assurance: Assurance, now: SystemTime) -> Self {
        if assurance > Assurance::Clear {
            self.broken_tls = None;
        }
        self.seen.insert(assurance, now);
        Self { failures: None, succeeded: Some(now), ..self }
    }

    /// What the rules are told.
    #[must_use]
    pub fn past(&self, now: SystemTime) -> Past {
        let past = self.failures.as_ref().map_or(Past::NONE, |failures| failures.past(now));
        let mark = self.broken_tls.filter(|(_, at)| past.failures == 0 && !is_over(*at, BROKEN_TLS, now));
        Past {
            failures: past.failures,
            last_error: mark.map_or(past.last_error, |(error, _)| error),
            succeeded: self.succeeded.filter(|at| !is_over(*at, FLOOR, now)),
            best: self.seen.iter().rev().find(|(_, at)| !is_over(**at, FLOOR, now)).map(|(level, _)| *level),
        }
    }

    /// Whether it is to be forgotten: nothing would be told.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.past(now) == Past::NONE
    }

    /// The moment of the last attempt.
    #[must_use]
    pub fn last(&self) -> SystemTime {
        let failed = self.failures.as_ref().map(|failures| failures.last);
        failed.max(self.succeeded).max(self.broken_tls.map(|(_, at)| at)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Whether what happened at `at` is to be forgotten after so long.
#[must_use]
pub fn is_over(at: SystemTime, after: Duration, now: SystemTime) -> bool {
    since(at, now) >= after || at.duration_since(now).is_ok_and(|ahead| ahead > TOLERANCE)
}

fn since(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

/// What whoever is on the way to a host can bring about by breaking its TLS.
const fn has_to_do_with_tls(error: LastError) -> bool {
    matches!(error, LastError::Tls | LastError::Dane | LastError::MtaSts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60;
    const DAY: u64 = 24 * HOUR;
    const START: u64 = 1000 * DAY;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START + seconds)
    }

    fn failures(times: &[(u64, LastError)]) -> Failures {
        let step = |before, (seconds, error): &(u64, LastError)| Some(Failures::after(before, *error, at(*seconds)));
        times.iter().fold(None, step).unwrap()
    }

    fn told(past: Past) -> (u64, LastError) {
        (past.failures, past.last_error)
    }

    #[test]
    fn attempts_count_once_a_minute_and_the_last_error_is_told() {
        use LastError::{Connection, Dns, Io};
        for (times, expected) in [
            (&[(0, Dns)][..], (1, Dns)),
            (&[(0, Dns), (59, Io)], (1, Io)),
            (&[(0, Dns), (60, Io)], (2, Io)),
            (&[(0, Dns), (30, Io), (59, Dns)], (1, Dns)),
            (&[(0, Dns), (30, Io), (60, Connection)], (2, Connection)),
            (&[(0, Dns), (40, Io), (80, Io), (120, Io)], (2, Io)),
            (&[(0, Dns), (300, Io), (900, Io), (2100, Io)], (4, Io)),
            // A clock that goes back a little.
            (&[(10, Dns), (5, Io)], (1, Io)),
        ] {
            let last = times.last().unwrap().0;
            assert_eq!(told(failures(times).past(at(last))), expected, "{times:?}");
        }
    }

    #[test]
    fn failures_are_forgotten_six_days_after_the_first_and_a_day_after_the_last_that_had_to_do_with_tls() {
        for (error, hours) in [
            (LastError::Dns, 144),
            (LastError::Connection, 144),
            (LastError::UnexpectedReply, 144),
            (LastError::Timeout, 144),
            (LastError::Tls, 24),
            (LastError::Dane, 24),
            (LastError::MtaSts, 24),
        ] {
            let failures = failures(&[(0, error)]);
            assert!(!failures.is_over(at(hours * HOUR - 1)), "{error:?}");
            assert!(failures.is_over(at(hours * HOUR)), "{error:?}");
            assert_eq!(failures.past(at(hours * HOUR)), Past::NONE);
        }
        let daily: Vec<_> = (0..6).map(|day| (day * DAY, LastError::Dns)).collect();
        assert_eq!(told(failures(&daily).past(at(6 * DAY - 1))), (6, LastError::Dns));
        assert_eq!(failures(&daily).past(at(6 * DAY)), Past::NONE);
        let next = Failures::after(Some(failures(&daily)), LastError::Io, at(6 * DAY));
        assert_eq!(told(next.past(at(6 * DAY))), (1, LastError::Io), "what comes then is the first again");
        let tls = failures(&[(0, LastError::Tls), (20 * HOUR, LastError::Tls)]);
        assert_eq!(told(tls.past(at(30 * HOUR))), (2, LastError::Tls), "each renews it");
    }

    #[test]
    fn a_time_far_in_the_future_is_disbelieved() {
        let failures = failures(&[(0, LastError::Dns)]);
        let before = |seconds| at(0) - Duration::from_secs(seconds);
        assert!(!failures.is_over(before(60)));
        assert!(failures.is_over(before(61)));
        let standing = Standing::default().succeeded(Assurance::Verified, at(0));
        assert!(!standing.is_over(before(60)));
        assert!(standing.is_over(before(61)));
        assert_eq!(
            told(Failures::after(Some(failures), LastError::Io, before(DAY)).past(before(DAY))),
            (1, LastError::Io)
        );
    }

    #[test]
    fn a_domain_counts_its_failures_until_mail_goes_through() {
        let failing = [0, 600, 1800]
            .iter()
            .fold(Standing::default(), |known, after| known.failed(LastError::Connection, at(*after)));
        assert_eq!(told(failing.past(at(1800))), (3, LastError::Connection));
        let well = failing.succeeded(Assurance::Clear, at(2000));
        assert_eq!(told(well.past(at(2000))), (0, LastError::None));
        assert_eq!(well.past(at(2000)).succeeded, Some(at(2000)));
        assert_eq!(told(well.failed(LastError::Io, at(2001)).past(at(2001))), (1, LastError::Io));
    }

    #[test]
    fn broken_tls_is_remembered_for_a_day_unless_tls_works() {
        let broken = Standing::default().failed(LastError::Tls, at(0));
        for (assurance, expected) in [
            (Assurance::Clear, LastError::Tls),
            (Assurance::Encrypted, LastError::None),
            (Assurance::Trusted, LastError::None),
            (Assurance::Verified, LastError::None),
        ] {
            let after = broken.clone().succeeded(assurance, at(60));
            assert_eq!(told(after.past(at(DAY - 1))), (0, expected), "{assurance:?}");
            assert_eq!(told(after.past(at(DAY))), (0, LastError::None), "{assurance:?}: clear text does not renew it");
        }
        let other = broken.failed(LastError::Dns, at(HOUR));
        assert_eq!(told(other.past(at(HOUR))), (2, LastError::Dns));
        assert_eq!(told(other.succeeded(Assurance::Clear, at(2 * HOUR)).past(at(2 * HOUR))), (0, LastError::Tls));
    }

    #[test]
    fn the_most_that_was_known_is_told_for_thirty_days() {
        let standing = Standing::default()
            .succeeded(Assurance::Verified, at(0))
            .succeeded(Assurance::Encrypted, at(10 * DAY))
            .succeeded(Assurance::Clear, at(20 * DAY));
        for (day, expected) in [
            (20, Some(Assurance::Verified)),
            (29, Some(Assurance::Verified)),
            (30, Some(Assurance::Encrypted)),
            (39, Some(Assurance::Encrypted)),
            (40, Some(Assurance::Clear)),
            (50, None),
        ] {
            assert_eq!(standing.past(at(day * DAY)).best, expected, "day {day}");
        }
        assert!(!standing.is_over(at(50 * DAY - 1)) && standing.is_over(at(50 * DAY)));
        let failing = standing.failed(LastError::Tls, at(20 * DAY + 1));
        assert_eq!(failing.past(at(21 * DAY)).best, Some(Assurance::Verified), "no failure lowers it");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let standing = Standing::default()
            .succeeded(Assurance::Trusted, at(0))
            .failed(LastError::MtaSts, at(100))
            .failed(LastError::UnexpectedReply, at(200));
        let text = serde_json::to_string(&standing).unwrap();
        assert_eq!(serde_json::from_str::<Standing>(&text).unwrap(), standing, "{text}");
    }
}
