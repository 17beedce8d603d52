//! What was said of late, so that the recipients of one message, and its further hosts, cost no question each.
//!
//! Promises that nothing is kept longer than it holds, that the whole stays within a fixed size, whoever chooses the
//! names, and that what outlives a change of trust is not in it. Errors are never kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::question::{Question, Said};

/// How long anything is kept at most: the resolver has a memory of its own, and who has emptied that wants to see it.
const LONGEST: Duration = Duration::from_secs(300);

/// How many bytes of replies a generation has.
const GENERATION: usize = 4 << 20;

/// What an entry costs besides its reply, roughly.
const OVERHEAD: usize = 512;

/// Two generations: when the young one is full, it becomes the old one, and what was old is forgotten.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Question, Kept>,
    old: HashMap<Question, Kept>,
    size: usize,
    /// How often everything was forgotten.
    epoch: usize,
}

#[derive(Debug)]
struct Kept {
    said: Arc<Said>,
    until: Instant,
}

impl Memory {
    /// What was said to this question, and how long that still holds.
    pub(super) fn recall(&self, question: &Question) -> Option<(Arc<Said>, Duration)> {
        let generations = self.lock();
        let kept = generations.young.get(question).or_else(|| generations.old.get(question))?;
        let left = kept.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| (kept.said.clone(), left))
    }

    /// What [`Self::keep`] is told: it is another once everything was forgotten.
    pub(super) fn epoch(&self) -> usize {
        self.lock().epoch
    }

    /// Keeps what was said since `epoch`, for as long as it holds.
    pub(super) fn keep(&self, epoch: usize, question: Question, said: Said, time: Duration) {
        let mut generations = self.lock();
        if time.is_zero() || generations.epoch != epoch {
            return;
        }
        let size = said.reply.as_slice().len() + OVERHEAD;
        if generations.size + size > GENERATION {
            generations.old = std::mem::take(&mut generations.young);
            generations.size = 0;
        }
        generations.size += size;
        let kept = Kept { said: Arc::new(said), until: Instant::now() + time.min(LONGEST) };
        generations.young.insert(question, kept);
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        let mut generations = self.lock();
        *generations = Generations { epoch: generations.epoch + 1, ..Generations::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::base::{MessageBuilder, Rtype, iana::Rcode};
    use tokio::time::advance;

    use super::{super::question::Wanted, *};

    fn question(number: usize) -> Question {
        Question::new(&format!("host{number}.example"), Rtype::A).unwrap()
    }

    fn said(question: &Question) -> Said {
        let reply =
            MessageBuilder::new_vec().start_answer(&question.compose(1, Wanted::Nothing), Rcode::NOERROR).unwrap();
        Said { reply: reply.into_message(), is_believed: false }
    }

    fn keep(memory: &Memory, number: usize, seconds: u64) {
        memory.keep(memory.epoch(), question(number), said(&question(number)), Duration::from_secs(seconds));
    }

    fn left(memory: &Memory, number: usize) -> Option<u64> {
        memory.recall(&question(number)).map(|(_, left)| left.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_kept_as_long_as_it_holds_and_five_minutes_at_most() {
        let memory = Memory::default();
        for (number, seconds) in [(0, 0), (1, 1), (2, 100), (3, 86_400)] {
            keep(&memory, number, seconds);
        }
        assert_eq!([0, 1, 2, 3].map(|number| left(&memory, number)), [None, Some(1), Some(100), Some(300)]);
        advance(Duration::from_secs(1)).await;
        assert_eq!([1, 2].map(|number| left(&memory, number)), [None, Some(99)]);
        advance(Duration::from_secs(299)).await;
        assert_eq!([2, 3].map(|number| left(&memory, number)), [None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_grow_beyond_its_size_and_keeps_the_latest() {
        let memory = Memory::default();
        let fits = GENERATION / OVERHEAD;
        for number in 0..3 * fits {
            keep(&memory, number, 300);
        }
        let generations = memory.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * fits, "bounded");
        drop(generations);
        assert_eq!((left(&memory, 0), left(&memory, 3 * fits - 1)), (None, Some(300)));
        let before = memory.epoch();
        memory.forget();
        assert_eq!(left(&memory, 3 * fits - 1), None);
        memory.keep(before, question(0), said(&question(0)), LONGEST);
        assert_eq!(left(&memory, 0), None, "it was asked before all was forgotten");
    }
}
