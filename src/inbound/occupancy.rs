//! How many sessions a listener has, so that the place of a session is sure before it is accepted (spec §3.5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use super::crowd::{Crowd, Seat};

/// Connections beyond `max-connections` that are answered with a refusal at once; more wait in the kernel's queue.
pub const RESERVE: usize = 64;

/// The count of one listener, over all its addresses, workers and reloads.
#[derive(Debug, Default)]
pub struct Occupancy {
    sessions: AtomicUsize,
    refusals: AtomicUsize,
    /// Sessions that were told to make room, and others in the place of some that have ended since.
    leaving: AtomicUsize,
    crowd: Arc<Crowd>,
    freed: Notify,
}

/// What an accepted connection gets.
#[derive(Debug)]
pub enum Place {
    /// A session, and where others may take its place, that it waits for a backend.
    Session(Slot, Option<Seat>),
    /// A short refusal in the protocol's words.
    Refusal(Slot),
    /// Nothing: others took the last places meanwhile. It is closed without a word: one would need a place too.
    None,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Slot {
    occupancy: Arc<Occupancy>,
    refusal: bool,
}

impl Occupancy {
    /// Sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Comes once a place is free, or there may be more of them, from now on.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Has whoever waits for a place ask again: another number may be permitted now.
    pub fn look_again(&self) {
        self.freed.notify_waiters();
    }

    /// Whether there is a place for a connection now. Where too many are about to make room, some of them are waited for: the next client
    /// would be refused. Other workers may let in a few meanwhile.
    #[must_use]
    pub fn has_room(&self, max: usize) -> bool {
        let (leaving, refusals) = (self.leaving.load(Ordering::Relaxed), self.refusals.load(Ordering::Relaxed));
        self.sessions() < max || (leaving < most_leaving(max) - RESERVE / 2 && refusals < RESERVE)
    }

    /// Takes a place: a session's while there are fewer than `max`, or one that waits for its backend for longer than
    /// `crowded` makes room.
    #[must_use]
    pub fn enter(self: &Arc<Self>, max: usize, crowded: Option<Duration>) -> Place {
        if take(&self.sessions, max) || crowded.is_some_and(|patience| self.squeeze_in(max, patience)) {
            let slot = Slot { occupancy: self.clone(), refusal: false };
            Place::Session(slot, crowded.map(|_| self.crowd.join()))
        } else {
            self.refusal().map_or(Place::None, Place::Refusal)
        }
    }

    /// Takes a place beyond `max` for as long as whoever makes room needs to be gone.
    fn squeeze_in(&self, max: usize, patience: Duration) -> bool {
        if !take(&self.sessions, max + most_leaving(max)) {
            return false;
        }
        if self.crowd.displace(patience) {
            self.leaving.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Takes a place for a short refusal.
    #[must_use]
    pub fn refusal(self: &Arc<Self>) -> Option<Slot> {
        take(&self.refusals, RESERVE).then(|| Slot { occupancy: self.clone(), refusal: true })
    }
}

/// How many may be about to make room at once: enough for none to be waited for as long as the workers keep up. Whoever waits has
/// one of the two sockets that are reckoned for a session, and so has who takes its place.
const fn most_leaving(max: usize) -> usize {
    RESERVE + max / 16
}

fn take(count: &AtomicUsize, max: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < max).then_some(now + 1)).is_ok()
}

impl Drop for Slot {
    fn drop(&mut self) {
        let count = if self.refusal { &self.occupancy.refusals } else { &self.occupancy.sessions };
        count.fetch_sub(1, Ordering::Relaxed);
        if !self.refusal {
            // Most often nobody was told to leave.
            let one_less = |now: usize| now.checked_sub(1);
            let _ = self.occupancy.leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
        self.occupancy.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn sessions_then_refusals_then_nothing() {
        let occupancy = Arc::new(Occupancy::default());
        let first = occupancy.enter(1, None);
        assert!(matches!(first, Place::Session(_, None)));
        let refusals: Vec<_> = (0..RESERVE).map(|_| occupancy.enter(1, None)).collect();
        assert!(refusals.iter().all(|place| matches!(place, Place::Refusal(_))));
        assert!(matches!(occupancy.enter(1, None), Place::None));
        drop(first);
        assert!(matches!(occupancy.enter(1, None), Place::Session(..)));
    }

    /// Nobody is about to make room where a reload has lowered the limit: to wait for that would leave clients without a word.
    #[test]
    fn beyond_a_limit_that_was_lowered_clients_are_refused() {
        let occupancy = Arc::new(Occupancy::default());
        let _before: Vec<_> = (0..4 * RESERVE).map(|_| occupancy.enter(4 * RESERVE, None)).collect();
        assert!(occupancy.has_room(1) && matches!(occupancy.enter(1, None), Place::Refusal(_)));
        let _refusals: Vec<_> = (0..RESERVE).map(|_| occupancy.enter(1, None)).collect();
        assert!(!occupancy.has_room(1));
    }

    #[tokio::test]
    async fn whoever_waits_asks_again_once_a_reload_may_have_given_places() {
        let occupancy = Arc::new(Occupancy::default());
        let _all: Vec<_> = (0..=RESERVE).map(|_| occupancy.enter(1, None)).collect();
        let freed = occupancy.freed();
        assert!(!occupancy.has_room(1) && occupancy.has_room(2));
        // In between: whoever has asked already is not to miss it.
        occupancy.look_again();
        assert!(timeout(Duration::from_secs(10), freed).await.is_ok());
    }

    #[test]
    fn where_one_waits_too_long_the_next_takes_its_place() {
        let occupancy = Arc::new(Occupancy::default());
        let (short, long) = (Some(Duration::ZERO), Some(Duration::from_secs(60)));
        let Place::Session(slot, seat) = occupancy.enter(1, short) else { panic!("there was a place") };
        assert!(matches!(occupancy.enter(1, long), Place::Refusal(_)));
        assert_eq!(occupancy.sessions(), 1);
        let next = occupancy.enter(1, short);
        assert!(matches!(next, Place::Session(_, Some(_))));
        drop((slot, seat));
        assert_eq!(occupancy.sessions(), 1);
        let Place::Session(_, seat) = next else { panic!("checked above") };
        // It has come to its backend.
        drop(seat);
        assert!(matches!(occupancy.enter(1, short), Place::Refusal(_)));
    }

    #[test]
    fn where_many_make_room_at_once_the_next_waits_until_they_are_gone() {
        let occupancy = Arc::new(Occupancy::default());
        let enter = || occupancy.enter(RESERVE, Some(Duration::ZERO));
        let before: Vec<_> = (0..RESERVE).map(|_| enter()).collect();
        let mut after = Vec::new();
        while occupancy.has_room(RESERVE) {
            after.push(enter());
        }
        assert_eq!(after.len(), most_leaving(RESERVE) - RESERVE / 2);
        // Another worker had asked before.
        after.push(enter());
        assert!(after.iter().all(|place| matches!(place, Place::Session(..))));
        drop(before);
        assert!(occupancy.has_room(RESERVE));
    }
}
