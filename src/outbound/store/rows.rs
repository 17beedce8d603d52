//! What the tables hold, and who goes first where room is short.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{secret::LENGTH, table::Row};
use crate::policy::{
    history::{self, Failures, Standing, TOLERANCE},
    mta_sts::{Held, Known},
};

/// How long answers are remembered: no sender that is well lets a message wait for longer between two attempts.
pub const ANSWERS_KEPT: Duration = Duration::from_secs(48 * 60 * 60);

/// For how many messages of one sender to one recipient.
const ANSWERS: usize = 8;

/// No policy that was written in good faith is as long.
const LONG_POLICY: usize = 8 << 10;

/// For how long a fetch that failed is remembered where no policy is held: longer than any pause.
const FAILED_FETCH: Duration = Duration::from_secs(24 * 60 * 60);

/// The answers for one envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answers(Vec<Answer>);

/// The answer to one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    /// The name of its body, in base64.
    body: String,
    /// The reply, sealed, in base64.
    reply: String,
    at: SystemTime,
}

impl Answers {
    /// With this answer too, in place of an older one for the same message.
    pub(super) fn with(self, body: [u8; LENGTH], reply: &[u8], now: SystemTime) -> Self {
        let mut answers = self.without(body);
        answers.0.push(Answer { body: BASE64_STANDARD.encode(body), reply: BASE64_STANDARD.encode(reply), at: now });
        let too_many = answers.0.len().saturating_sub(ANSWERS);
        answers.0.drain(..too_many);
        answers
    }

    /// Without the one for this message.
    pub(super) fn without(mut self, body: [u8; LENGTH]) -> Self {
        let body = BASE64_STANDARD.encode(body);
        self.0.retain(|answer| answer.body != body);
        self
    }

    /// The sealed reply to this message.
    pub(super) fn to(&self, body: [u8; LENGTH], now: SystemTime) -> Option<Vec<u8>> {
        let body = BASE64_STANDARD.encode(body);
        let answer = self.0.iter().find(|answer| answer.body == body && !answer.is_over(now))?;
        answer.sealed()
    }

    /// All sealed replies.
    pub(super) fn all(&self, now: SystemTime) -> Vec<Vec<u8>> {
        self.0.iter().filter(|answer| !answer.is_over(now)).filter_map(Answer::sealed).collect()
    }

    /// Itself, unless there is none.
    pub(super) fn kept(self) -> Option<Self> {
        (!self.0.is_empty()).then_some(self)
    }
}

impl Answer {
    fn is_over(&self, now: SystemTime) -> bool {
        history::is_over(self.at, ANSWERS_KEPT, now)
    }

    fn sealed(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.reply).ok()
    }
}

impl Row for Answers {
    const ROOM: usize = 8 << 20;

    fn is_over(&self, now: SystemTime) -> bool {
        self.0.iter().all(|answer| answer.is_over(now))
    }

    fn worth(&self) -> (u8, SystemTime) {
        (0, self.0.last().map_or(SystemTime::UNIX_EPOCH, |answer| answer.at))
    }

    fn size(&self) -> usize {
        self.0.iter().map(|answer| size_of::<Answer>() + answer.body.len() + answer.reply.len()).sum()
    }
}

impl Row for Failures {
    const ROOM: usize = 8 << 20;

    fn is_over(&self, now: SystemTime) -> bool {
        self.is_over(now)
    }

    fn worth(&self) -> (u8, SystemTime) {
        (0, self.last())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

impl Row for Standing {
    const ROOM: usize = 4 << 20;

    fn is_over(&self, now: SystemTime) -> bool {
        self.is_over(now)
    }

    fn worth(&self) -> (u8, SystemTime) {
        (0, self.last())
    }

    fn size(&self) -> usize {
        // A node of the map, which is as large for one level as for all.
        size_of::<Self>() + 256
    }
}

impl Row for Known {
    const ROOM: usize = 8 << 20;

    fn is_over(&self, now: SystemTime) -> bool {
        let is_past = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since >= FAILED_FETCH);
        self.live(now).is_none() && self.failed.as_ref().is_none_or(|failed| is_past(failed.at))
    }

    /// Who can make us look up domains of his own fills the table with those: he is not to drive out others with long policies.
    fn worth(&self) -> (u8, SystemTime) {
        match (&self.held, &self.failed) {
            (Some(held), _) => (if self.size() > LONG_POLICY { 1 } else { 2 }, held.fetched),
            (None, Some(failed)) => (0, failed.at),
            (None, None) => (0, SystemTime::UNIX_EPOCH),
        }
    }

    fn size(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| size_of::<String>() + text.len()).sum::<usize>();
        let held =
            self.held.as_ref().map_or(0, |held| held.id.len() + texts(&held.policy.lines) + texts(&held.policy.mx));
        size_of::<Self>() + held + self.failed.as_ref().map_or(0, |failed| failed.why.len())
    }
}

/// What two processes knew of a policy: the newest of both.
pub(super) fn newest(one: Known, other: Known) -> Known {
    let used = [&one.held, &other.held].into_iter().flatten().map(|held| held.used).max();
    let held = [one.held, other.held].into_iter().flatten().max_by_key(|held| held.fetched);
    let held = held.map(|held| Held { used: used.unwrap_or(held.used), ..held });
    let failed = [one.failed, other.failed].into_iter().flatten().max_by_key(|failed| failed.at);
    // A fetch that failed before the one that did not says nothing any more.
    let failed = failed.filter(|failed| held.as_ref().is_none_or(|held| held.fetched <= failed.at));
    Known { held, failed }
}

/// Takes a time far in the future for now, so that a policy which a clock that was wrong has dated does not apply for ever, and
/// is not lost either.
pub(super) fn believe(known: &mut Known, now: SystemTime) -> bool {
    let is_ahead = |at: SystemTime| at.duration_since(now).is_ok_and(|ahead| ahead > TOLERANCE);
    let held = known.held.iter_mut().flat_map(|held| [&mut held.fetched, &mut held.used]);
    let times = held.chain(known.failed.iter_mut().map(|failed| &mut failed.at));
    let wrong: Vec<_> = times.filter(|at| is_ahead(**at)).collect();
    let is_wrong = !wrong.is_empty();
    wrong.into_iter().for_each(|at| *at = now);
    is_wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::mta_sts::{Failed, Mode, Policy};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000 + seconds)
    }

    fn held(id: &str, fetched: u64, line: usize) -> Held {
        let policy = Policy {
            mode: Mode::Enforce,
            mx: vec!["mx.example".into()],
            max_age: Duration::from_secs(1000),
            lines: vec!["x".repeat(line)],
        };
        Held { id: id.into(), policy, fetched: at(fetched), used: at(fetched) }
    }

    fn failed(seconds: u64) -> Failed {
        Failed { id: None, at: at(seconds), times: 1, why: "404".into() }
    }

    #[test]
    fn answers_are_those_to_the_last_messages_of_two_days() {
        let two_days = 48 * 60 * 60;
        let answers = Answers::default().with([1; LENGTH], b"one", at(0)).with([2; LENGTH], b"two", at(10));
        assert_eq!(answers.to([1; LENGTH], at(two_days - 1)).unwrap(), b"one");
        assert_eq!(answers.to([1; LENGTH], at(two_days)), None);
        assert_eq!(answers.all(at(two_days)), [b"two"]);
        assert!(!answers.is_over(at(two_days)) && answers.is_over(at(two_days + 10)));
        let again = answers.with([1; LENGTH], b"again", at(20));
        assert_eq!(again.all(at(20)), [b"two".to_vec(), b"again".to_vec()]);
        let left = again.without([2; LENGTH]);
        assert_eq!(left.all(at(20)), [b"again"]);
        assert_eq!(left.without([1; LENGTH]).kept(), None);
        let many = (0..20).fold(Answers::default(), |answers, number| answers.with([number; LENGTH], &[number], at(0)));
        assert_eq!(many.all(at(0)), (12..20).map(|number| vec![number]).collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_of_what_two_processes_knew_counts() {
        let old = Known { held: Some(held("1", 0, 1)), failed: None };
        let only_failed = Known { held: None, failed: Some(failed(10)) };
        assert_eq!(
            newest(old.clone(), only_failed.clone()),
            Known { held: old.held.clone(), failed: Some(failed(10)) }
        );
        let new = Known { held: Some(held("2", 20, 1)), failed: None };
        assert_eq!(newest(old.clone(), new.clone()), new);
        assert_eq!(newest(new.clone(), old.clone()), new);
        assert_eq!(newest(new.clone(), only_failed), new);
        let used = Known { held: old.held.clone().map(|held| Held { used: at(30), ..held }), failed: None };
        assert_eq!(newest(new.clone(), used).held.map(|held| (held.id, held.used)), Some(("2".to_owned(), at(30))));
    }

    #[test]
    fn a_policy_from_the_future_is_one_from_now() {
        let mut known = Known { held: Some(held("1", 1000, 1)), failed: Some(failed(2000)) };
        assert!(believe(&mut known, at(500)));
        let held = known.held.as_ref().unwrap();
        assert_eq!((held.fetched, held.used, known.failed.as_ref().unwrap().at), (at(500), at(500), at(500)));
        assert!(!believe(&mut known, at(440)) && !believe(&mut known, at(600)));
    }

    #[test]
    fn failures_go_before_long_policies_and_those_before_others() {
        let nothing = Known { held: None, failed: Some(failed(100)) };
        let long = Known { held: Some(held("1", 50, LONG_POLICY)), failed: None };
        let old = Known { held: Some(held("1", 0, 100)), failed: None };
        let new = Known { held: Some(held("1", 10, 100)), failed: None };
        assert!(nothing.worth() < long.worth() && long.worth() < old.worth() && old.worth() < new.worth());
    }

    #[test]
    fn a_policy_that_expired_is_forgotten_and_a_failed_fetch_after_a_day() {
        let day = 24 * 60 * 60;
        let known = Known { held: Some(held("1", 0, 1)), failed: None };
        assert!(!known.is_over(at(999)) && known.is_over(at(1000)));
        let known = Known { held: known.held, failed: Some(failed(10)) };
        assert!(!known.is_over(at(day)) && known.is_over(at(day + 10)));
    }
}
