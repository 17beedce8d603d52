//! How often something may happen: so many times within a span of time.
//!
//! A bucket of tokens: as many as the rate says may come at once, and they come back evenly over its time. What is kept
//! of one is a single number.

use std::{fmt, time::Duration};

/// A moment, as the time since a clock was started.
pub type Moment = Duration;

/// So many within a time; neither is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

/// As the configuration writes it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let length = self.per.as_millis();
        match UNITS.iter().find(|(unit, _)| length >= *unit && length.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}/{}{name}", self.count, length / unit),
            None => write!(f, "{}/{length}ms", self.count),
        }
    }
}

/// What is left of a rate: the moment at which nothing will be missing from it any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(Moment);

impl Bucket {
    /// Takes one, if one is left at `now`.
    pub fn take(&mut self, rate: Rate, now: Moment) -> bool {
        let each = rate.per / rate.count;
        let full = self.0.max(now) + each;
        // A rate that was lowered by a reload must not hold a client for the old one's time.
        let is_left = full <= now + rate.per;
        if is_left {
            self.0 = full;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 3, per: Duration::from_secs(30) };

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn so_many_come_at_once_and_then_evenly() {
        let mut bucket = Bucket::default();
        let taken: Vec<_> = (0..5).map(|_| bucket.take(RATE, at(100))).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(!bucket.take(RATE, at(109)));
        assert!(bucket.take(RATE, at(110)));
        assert!(!bucket.take(RATE, at(111)));
        // What was not used for long is there again, and no more.
        let taken: Vec<_> = (0..4).map(|_| bucket.take(RATE, at(1000))).collect();
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn a_refusal_costs_nothing_more() {
        let mut bucket = Bucket::default();
        for _ in 0..100 {
            bucket.take(RATE, at(0));
        }
        assert!(bucket.take(RATE, at(10)));
    }

    #[test]
    fn the_largest_rate_loses_no_token_to_rounding() {
        let rate = Rate { count: 1_000_000, per: Duration::from_millis(1) };
        let mut bucket = Bucket::default();
        assert!((0..1_000_000).all(|_| bucket.take(rate, at(0))));
        assert!(!bucket.take(rate, at(0)));
    }

    #[test]
    fn it_is_written_as_the_configuration_has_it() {
        let spell = |count, milliseconds| Rate { count, per: Duration::from_millis(milliseconds) }.to_string();
        assert_eq!(spell(100, 86_400_000), "100/1d");
        assert_eq!(spell(5, 90_000), "5/90s");
        assert_eq!(spell(5, 1500), "5/1500ms");
    }
}
