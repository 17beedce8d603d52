//! When a certificate is renewed, when its end is near enough to be warned of, and when a failed attempt is made again.
//!
//! Chance comes in as a number (`spread`), so that the same certificate has the same moment after a restart, and many
//! certificates have many.

use std::time::{Duration, SystemTime};

/// A place in an interval, chosen by chance: 0 is its start, `u16::MAX` its end.
pub type Spread = u16;

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: SystemTime,
    /// Its last moment.
    pub until: SystemTime,
}

/// When the authority suggests to renew (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub start: SystemTime,
    /// Its last moment.
    pub end: SystemTime,
}

/// Whose failing an attempt ended by, and so how soon another may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The authority could not be reached, or had a fault of its own.
    Unreachable,
    /// The authority said no. Another try is counted against its limits: Let's Encrypt allows five failed validations
    /// of a name in an hour.
    Refused,
    /// The authority says that this was too often.
    Limited,
    /// Something on this side: a full disk, a name server that refuses the update.
    Ours,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Validity {
    /// How long it is valid in all.
    #[must_use]
    pub fn length(self) -> Duration {
        self.until.duration_since(self.from).unwrap_or_default()
    }

    /// How much of it is left.
    #[must_use]
    pub fn left(self, now: SystemTime) -> Duration {
        self.until.duration_since(now).unwrap_or_default()
    }

    /// When to renew: at a moment of the authority's window, or else `before` the end, a little spread towards the
    /// present. Of a certificate too short for `before` (more than two thirds of its life) the last third counts.
    #[must_use]
    pub fn renew_at(self, window: Option<Window>, before: Duration, spread: Spread) -> SystemTime {
        if let Some(Window { start, end }) = window {
            return start + part(end.duration_since(start).unwrap_or_default(), spread);
        }
        let length = self.length();
        let before = if before > length / 3 * 2 { length / 3 } else { before };
        (self.until - before).checked_sub(part(before / 20, spread)).unwrap_or(self.from)
    }

    /// Whether the operator is to be warned of the end: for ten days, or the last third of a shorter life.
    #[must_use]
    pub fn ends_soon(self, now: SystemTime) -> bool {
        self.left(now) < (self.length() / 3).min(10 * DAY)
    }
}

/// How long to wait after the `failures`th failure in a row, 1 being the first. `asked` is what the authority asked for
/// (Retry-After), `left` what remains of the certificate in use.
#[must_use]
pub fn wait(failing: Failing, failures: u32, asked: Option<Duration>, left: Duration, spread: Spread) -> Duration {
    let (first, longest, shortest) = match failing {
        Failing::Unreachable => (MINUTE, HOUR, MINUTE),
        // Three in the first hour, which leaves two of five to the operator's own tries.
        Failing::Refused => (10 * MINUTE, 12 * HOUR, 15 * MINUTE),
        Failing::Limited => (HOUR, 12 * HOUR, HOUR),
        Failing::Ours => (MINUTE, HOUR, MINUTE),
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(12)).min(longest);
    // Near its end a certificate is worth more tries, at a pace that the authority bears.
    let wait = if left.is_zero() { doubled } else { doubled.min((left / 8).max(shortest)) };
    let wait = wait + part(wait / 10, spread);
    // An authority that asks for more than this has more to say than a header can.
    asked.map_or(wait, |asked| wait.max(asked.min(7 * DAY)))
}

fn part(length: Duration, spread: Spread) -> Duration {
    length.mul_f64(f64::from(spread) / f64::from(Spread::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn valid_for(days: u32) -> Validity {
        Validity { from: START, until: START + days * DAY }
    }

    fn day(at: SystemTime) -> u64 {
        at.duration_since(START).unwrap().as_secs() / DAY.as_secs()
    }

    #[test]
    fn renew_before_counts_from_the_end_and_is_spread() {
        assert_eq!(day(valid_for(90).renew_at(None, 30 * DAY, 0)), 60);
        assert_eq!(day(valid_for(90).renew_at(None, 30 * DAY, Spread::MAX)), 58);
    }

    #[test]
    fn a_certificate_too_short_for_renew_before_is_renewed_in_its_last_third() {
        assert_eq!(day(valid_for(6).renew_at(None, 30 * DAY, 0)), 4);
        assert_eq!(day(valid_for(47).renew_at(None, 30 * DAY, 0)), 17);
    }

    #[test]
    fn the_authoritys_window_is_used_whole_and_wins() {
        let window = Window { start: START + 10 * DAY, end: START + 20 * DAY };
        let at = |spread| day(valid_for(90).renew_at(Some(window), 30 * DAY, spread));
        assert_eq!((at(0), at(Spread::MAX / 2), at(Spread::MAX)), (10, 14, 20));
    }

    #[test]
    fn the_end_is_near_ten_days_before_or_in_the_last_third_of_a_short_life() {
        let (long, short) = (valid_for(90), valid_for(6));
        assert!(!long.ends_soon(START + 79 * DAY));
        assert!(long.ends_soon(START + 81 * DAY));
        assert!(!short.ends_soon(START + 3 * DAY));
        assert!(short.ends_soon(START + 5 * DAY));
        assert!(short.ends_soon(START + 7 * DAY), "and after it");
    }

    #[test]
    fn waits_grow_keep_to_the_authoritys_limits_and_heed_what_it_asks() {
        let wait = |failing, failures, asked| super::wait(failing, failures, asked, 60 * DAY, 0);
        let refused: Vec<_> = (1..=8).map(|failures| wait(Failing::Refused, failures, None).as_secs() / 60).collect();
        assert_eq!(refused, [10, 20, 40, 80, 160, 320, 640, 720]);
        assert_eq!(wait(Failing::Unreachable, 1, None), MINUTE);
        assert_eq!(wait(Failing::Unreachable, u32::MAX, None), HOUR);
        assert_eq!(wait(Failing::Limited, 1, Some(2 * DAY)), 2 * DAY);
        assert_eq!(wait(Failing::Limited, 1, Some(400 * DAY)), 7 * DAY);
        assert_eq!(wait(Failing::Unreachable, 1, Some(Duration::ZERO)), MINUTE);
    }

    #[test]
    fn near_the_end_tries_come_more_often_but_never_at_a_pace_that_is_refused() {
        assert_eq!(super::wait(Failing::Refused, 8, None, 8 * HOUR, 0), HOUR);
        assert_eq!(super::wait(Failing::Refused, 8, None, MINUTE, 0), 15 * MINUTE);
        assert_eq!(super::wait(Failing::Refused, 8, None, Duration::ZERO, 0), 12 * HOUR);
    }
}
