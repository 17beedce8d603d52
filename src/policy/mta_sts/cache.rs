//! What is held of a domain's policy, and what is to be done about it now.
//!
//! Promises: a policy that is held applies until it expires, whether or not its record is still there (RFC 8461 §3.1, §3.3);
//! it is fetched anew about daily, long before it expires, and at once where the record says that there is another (§3.3, §10.2),
//! also without a message, for half a year after the last one, and expires by itself after that;
//! a fetch that failed is not repeated for five minutes at least (§3.3), unless the record says that there is another policy.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    policy::{Mode, Policy},
    record::Published,
};
use crate::policy::renewal::Spread;

/// What is known of a domain's policy between two messages; it is kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The policy that was fetched last; it may have expired.
    pub held: Option<Held>,
    /// The failures since.
    pub failed: Option<Failed>,
}

/// A policy that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The id that its record had.
    pub id: String,
    /// It.
    pub policy: Policy,
    /// When it was fetched.
    pub fetched: SystemTime,
    /// When a message last needed it, or one before it, to a day.
    pub used: SystemTime,
}

/// Fetches that failed, one after the other, whatever the record said: whoever forges records hides none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The id of the record at the last of them; `None` where there was no record.
    pub id: Option<String>,
    /// When the last of them was.
    pub at: SystemTime,
    /// How many.
    pub times: u32,
    /// Why the last of them failed.
    pub why: String,
}

/// What is to be done for a message that is on its way now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// There is no policy.
    Nothing,
    /// This one applies.
    Use(&'a Held),
    /// This one applies, and it is time to fetch it anew beside.
    Refresh(&'a Held),
    /// Fetch it first; if that fails, the one that is held applies, or none.
    Fetch {
        /// What is held, and has not expired.
        held: Option<&'a Held>,
    },
    /// It has just been tried in vain: the one that is held applies, or none.
    BackOff {
        /// What is held, and has not expired.
        held: Option<&'a Held>,
        /// When it may be tried again.
        until: SystemTime,
    },
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// RFC 8461 §3.3: senders wait five minutes or longer.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// How long they wait at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How long policies are fetched anew that no message needs.
const UNUSED: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// After so many failures somebody should know.
const REPEATED: u32 = 3;

impl Known {
    /// What to do at `now`, the record saying what it says. `spread` is a number of the domain's own, so that not all policies
    /// are fetched anew at once.
    #[must_use]
    pub fn plan(&self, published: &Published, now: SystemTime, spread: Spread) -> Plan<'_> {
        let held = self.live(now);
        let pause = self.failed.as_ref().filter(|failed| now < failed.until() && failed.at <= now + MINUTE);
        match (published, held) {
            (Published::Id(id), held) if held.is_none_or(|held| held.id != *id) => {
                // A new id is a new chance.
                match pause.filter(|failed| failed.id.as_ref() == Some(id)) {
                    Some(failed) => Plan::BackOff { held, until: failed.until() },
                    None => Plan::Fetch { held },
                }
            }
            (_, Some(held)) if held.is_due(now, spread) && pause.is_none() => Plan::Refresh(held),
            (_, Some(held)) => Plan::Use(held),
            (_, None) => Plan::Nothing,
        }
    }

    /// The policy that is held, if it has not expired.
    #[must_use]
    pub fn live(&self, now: SystemTime) -> Option<&Held> {
        self.held.as_ref().filter(|held| now < held.expires())
    }

    /// Whether the policy that is held should be fetched anew at `now` although no message needs it. One that may be held for less
    /// than a day is not: whoever has such would have us ask without end.
    #[must_use]
    pub fn wants_refresh(&self, now: SystemTime, spread: Spread) -> bool {
        let is_worth_it = self.live(now).is_some_and(|held| {
            let unused = now.duration_since(held.used).unwrap_or_default();
            held.policy.max_age >= DAY && unused < UNUSED
        });
        is_worth_it && matches!(self.plan(&Published::Nothing, now, spread), Plan::Refresh(_))
    }

    /// Whether no message has needed the policy that is held for a day, but for the one that does at `now`.
    #[must_use]
    pub fn is_first_use(&self, now: SystemTime) -> bool {
        self.held.as_ref().is_some_and(|held| now.duration_since(held.used).is_ok_and(|since| since >= DAY))
    }

    /// What is known after a message has needed the policy at `now`.
    #[must_use]
    pub fn used(self, now: SystemTime) -> Self {
        Self { held: self.held.map(|held| Held { used: now, ..held }), ..self }
    }

    /// What is known after a policy was fetched at `now`. `published` is what the record said before; where it said nothing, the
    /// id stays.
    #[must_use]
    pub fn fetched(self, policy: Policy, published: &Published, now: SystemTime) -> Self {
        let used = self.held.as_ref().map_or(now, |held| held.used);
        let id = match (published, self.held) {
            (Published::Id(id), _) => id.clone(),
            (_, held) => held.map(|held| held.id).unwrap_or_default(),
        };
        Self { held: Some(Held { id, policy, fetched: now, used }), failed: None }
    }

    /// What is known after a fetch failed at `now`.
    #[must_use]
    pub fn failed(self, why: String, published: &Published, now: SystemTime) -> Self {
        let id = match published {
            Published::Id(id) => Some(id.clone()),
            _ => None,
        };
        let times = self.failed.map_or(0, |failed| failed.times);
        Self { held: self.held, failed: Some(Failed { id, at: now, times: times.saturating_add(1), why }) }
    }

    /// Whether somebody should be told that a policy which is in force cannot be fetched anew: it will expire, and with it the
    /// protection (RFC 8461 §10.2).
    #[must_use]
    pub fn is_alarming(&self, now: SystemTime) -> bool {
        let in_force = self.live(now).is_some_and(|held| held.policy.mode != Mode::None);
        in_force && self.failed.as_ref().is_some_and(|failed| failed.times >= REPEATED)
    }
}

impl<'a> Plan<'a> {
    /// The policy that is held, and has not expired.
    #[must_use]
    pub fn held(self) -> Option<&'a Held> {
        match self {
            Self::Nothing => None,
            Self::Use(held) | Self::Refresh(held) => Some(held),
            Self::Fetch { held } | Self::BackOff { held, .. } => held,
        }
    }
}

impl Held {
    /// When it ceases to apply.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        // What was read from a disk may hold any number.
        self.fetched.checked_add(self.policy.max_age).unwrap_or(self.fetched)
    }

    /// Somewhere between three quarters of a day and a day, or of half its life where that is shorter.
    fn is_due(&self, now: SystemTime, spread: Spread) -> bool {
        let longest = DAY.min(self.policy.max_age / 2);
        let early = longest.mul_f64(f64::from(spread) / f64::from(Spread::MAX) / 4.0);
        now.duration_since(self.fetched).unwrap_or_default() >= longest - early
    }
}

impl Failed {
    fn until(&self) -> SystemTime {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.times.saturating_sub(1).min(8));
        self.at.checked_add(doubled.min(LONGEST_PAUSE)).unwrap_or(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::answer::LookupError;

    const START: SystemTime = SystemTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn policy(mode: Mode, max_age: Duration) -> Policy {
        Policy { mode, mx: vec!["mx.example".into()], max_age, lines: Vec::new() }
    }

    fn id(id: &str) -> Published {
        Published::Id(id.into())
    }

    fn unknown() -> Published {
        Published::Unknown(LookupError::Timeout)
    }

    /// A policy with the id 1, fetched at the start, that may be held for a week.
    fn holding() -> Known {
        Known::default().fetched(policy(Mode::Enforce, 7 * DAY), &id("1"), START)
    }

    #[test]
    fn m3_a_record_that_is_gone_or_broken_takes_no_policy_away() {
        let known = holding();
        for gone in [Published::Nothing, unknown()] {
            assert_eq!(known.plan(&gone, START + HOUR, 0), Plan::Use(known.held.as_ref().unwrap()), "{gone:?}");
            let refreshed = known.plan(&gone, START + 2 * DAY, 0);
            assert_eq!(refreshed, Plan::Refresh(known.held.as_ref().unwrap()), "{gone:?}");
            assert_eq!(known.plan(&gone, START + 7 * DAY, 0), Plan::Nothing, "{gone:?}: it has expired");
        }
    }

    #[test]
    fn m6_a_fetch_that_failed_is_not_repeated_for_five_minutes() {
        let failed = Known::default().failed("404".into(), &id("1"), START);
        let plan = |seconds| failed.plan(&id("1"), START + Duration::from_secs(seconds), 0);
        assert_eq!(plan(0), Plan::BackOff { held: None, until: START + 5 * MINUTE });
        assert_eq!(plan(299), Plan::BackOff { held: None, until: START + 5 * MINUTE });
        assert_eq!(plan(300), Plan::Fetch { held: None });
        assert_eq!(failed.plan(&id("2"), START, 0), Plan::Fetch { held: None }, "another policy is another chance");
    }

    #[test]
    fn m6_pauses_grow_up_to_an_hour_and_end_with_a_success() {
        let mut known = Known::default();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            known = known.failed("timeout".into(), &id("1"), START);
            let Plan::BackOff { until, .. } = known.plan(&id("1"), START, 0) else { panic!("it has just failed") };
            pauses.push(until.duration_since(START).unwrap().as_secs() / 60);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        let known = known.fetched(policy(Mode::Enforce, DAY), &id("1"), START);
        assert_eq!(known.failed, None);
    }

    #[test]
    fn m6_a_clock_that_was_set_back_does_not_stop_fetches() {
        let known = Known::default().failed("timeout".into(), &id("1"), START + 365 * DAY);
        assert_eq!(known.plan(&id("1"), START, 0), Plan::Fetch { held: None });
    }

    #[test]
    fn m7_a_policy_applies_until_it_expires_although_no_newer_one_can_be_got() {
        let known = holding().failed("refused".into(), &id("2"), START + DAY);
        let held = known.held.as_ref();
        assert!(matches!(known.plan(&id("2"), START + DAY, 0), Plan::BackOff { held: found, .. } if found == held));
        assert_eq!(known.plan(&id("2"), START + 2 * DAY, 0), Plan::Fetch { held });
        assert_eq!(known.plan(&id("2"), START + 7 * DAY, 0), Plan::Fetch { held: None });
    }

    #[test]
    fn m7_what_is_held_survives_being_written_and_read() {
        let known = holding().failed("refused".into(), &unknown(), START + DAY);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Known>(&text).unwrap(), known);
    }

    #[test]
    fn m8_a_policy_is_fetched_anew_within_a_day_at_a_moment_of_its_own() {
        let known = holding();
        let first = |spread| {
            (0..48).find(|hour| matches!(known.plan(&id("1"), START + *hour * HOUR, spread), Plan::Refresh(_)))
        };
        assert_eq!(first(0), Some(24));
        assert_eq!(first(Spread::MAX), Some(18));
        assert_eq!(known.plan(&id("1"), START + HOUR, 0), Plan::Use(known.held.as_ref().unwrap()));
        let short = Known::default().fetched(policy(Mode::Enforce, HOUR), &id("1"), START);
        assert!(matches!(short.plan(&id("1"), START + 29 * MINUTE, 0), Plan::Use(_)));
        assert!(matches!(short.plan(&id("1"), START + 30 * MINUTE, 0), Plan::Refresh(_)), "well before it expires");
    }

    #[test]
    fn m8_a_new_id_is_fetched_at_once_and_what_is_held_waits_beside() {
        let known = holding();
        assert_eq!(known.plan(&id("2"), START + MINUTE, 0), Plan::Fetch { held: known.held.as_ref() });
        let newer = known.fetched(policy(Mode::None, DAY), &id("2"), START + MINUTE);
        let Plan::Use(held) = newer.plan(&id("2"), START + 2 * MINUTE, 0) else { panic!("it is the newest") };
        assert_eq!((&*held.id, held.policy.mode), ("2", Mode::None));
    }

    #[test]
    fn m8_repeated_failures_are_told_unless_the_mode_is_none() {
        let fail = |mut known: Known, times| {
            for _ in 0..times {
                known = known.failed("refused".into(), &id("1"), START + DAY);
            }
            known
        };
        assert!(!fail(holding(), 2).is_alarming(START + DAY));
        assert!(fail(holding(), 3).is_alarming(START + DAY));
        assert!(!fail(holding(), 3).is_alarming(START + 8 * DAY), "nothing is in force any more");
        let none = Known::default().fetched(policy(Mode::None, 7 * DAY), &id("1"), START);
        assert!(!fail(none, 3).is_alarming(START + DAY));
    }

    #[test]
    fn m8_a_refresh_without_a_record_keeps_the_id_and_backs_off_too() {
        let known = holding().failed("refused".into(), &Published::Nothing, START + DAY);
        assert!(matches!(known.plan(&Published::Nothing, START + DAY, 0), Plan::Use(_)));
        assert!(matches!(known.plan(&Published::Nothing, START + DAY + 5 * MINUTE, 0), Plan::Refresh(_)));
        let again = known.fetched(policy(Mode::Enforce, 7 * DAY), &Published::Nothing, START + 2 * DAY);
        assert_eq!(again.held.unwrap().id, "1");
    }

    #[test]
    fn m8_it_is_fetched_anew_without_a_message_where_it_is_due_and_that_is_worth_it() {
        let known = holding();
        assert!(
            !known.wants_refresh(START + 17 * HOUR, Spread::MAX) && known.wants_refresh(START + 18 * HOUR, Spread::MAX)
        );
        assert!(!known.wants_refresh(START + 7 * DAY, 0), "it has expired");
        let failed = known.failed("404".into(), &id("1"), START + DAY);
        assert!(!failed.wants_refresh(START + DAY, 0) && failed.wants_refresh(START + DAY + 5 * MINUTE, 0));
        let of = |max_age| Known::default().fetched(policy(Mode::Enforce, max_age), &id("1"), START);
        assert!(of(DAY).wants_refresh(START + 12 * HOUR, 0));
        assert!(!of(DAY - MINUTE).wants_refresh(START + 23 * HOUR, 0));
        assert!(!Known::default().wants_refresh(START, 0));
    }

    #[test]
    fn m8_half_a_year_after_the_last_message_it_is_left_to_expire() {
        let year = 365 * DAY;
        let fetch = |known: Known, day| known.fetched(policy(Mode::Enforce, year), &id("1"), START + day * DAY);
        let kept = (0..180).fold(Known::default(), fetch);
        assert!(kept.wants_refresh(START + 180 * DAY - MINUTE, Spread::MAX));
        assert!(!kept.wants_refresh(START + 180 * DAY, Spread::MAX));
        assert!(kept.live(START + 400 * DAY).is_some() && kept.live(START + 179 * DAY + year).is_none());
        assert!(kept.is_first_use(START + 180 * DAY));
        let used = kept.used(START + 180 * DAY);
        assert!(used.wants_refresh(START + 181 * DAY, 0));
        assert!(!used.is_first_use(START + 181 * DAY - MINUTE), "once a day is enough");
        assert!(!used.is_first_use(START), "nor where the clock was set back");
        assert!(!Known::default().is_first_use(START));
    }

    #[test]
    fn without_a_record_and_without_a_policy_nobody_asks_for_one() {
        assert_eq!(Known::default().plan(&Published::Nothing, START, 0), Plan::Nothing);
        assert_eq!(Known::default().plan(&unknown(), START, 0), Plan::Nothing);
        assert_eq!(Known::default().plan(&id("1"), START, 0), Plan::Fetch { held: None });
    }
}
