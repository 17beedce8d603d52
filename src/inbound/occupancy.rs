//! How many sessions a listener has, so that the place of a session is sure before it is accepted (spec §3.5).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Connections beyond `max-connections` that are answered with a refusal at once; more wait in the kernel's queue.
pub const RESERVE: usize = 64;

/// The count of one listener, over all its addresses, workers and reloads.
#[derive(Debug, Default)]
pub struct Occupancy {
    sessions: AtomicUsize,
    refusals: AtomicUsize,
    freed: Notify,
}

/// What an accepted connection gets.
#[derive(Debug)]
pub enum Place {
    /// A session.
    Session(Slot),
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

    /// Whether there is a place for a connection now. If not, waits until one is free before it says so: ask again.
    pub async fn room(&self, max: usize) -> bool {
        let freed = self.freed.notified();
        if self.sessions() < max || self.refusals.load(Ordering::Relaxed) < RESERVE {
            return true;
        }
        freed.await;
        false
    }

    /// Takes a place, while there are fewer than `max` sessions a session's.
    #[must_use]
    pub fn enter(self: &Arc<Self>, max: usize) -> Place {
        if take(&self.sessions, max) {
            Place::Session(Slot { occupancy: self.clone(), refusal: false })
        } else if take(&self.refusals, RESERVE) {
            Place::Refusal(Slot { occupancy: self.clone(), refusal: true })
        } else {
            Place::None
        }
    }
}

fn take(count: &AtomicUsize, max: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < max).then_some(now + 1)).is_ok()
}

impl Drop for Slot {
    fn drop(&mut self) {
        let count = if self.refusal { &self.occupancy.refusals } else { &self.occupancy.sessions };
        count.fetch_sub(1, Ordering::Relaxed);
        self.occupancy.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_then_refusals_then_nothing() {
        let occupancy = Arc::new(Occupancy::default());
        let first = occupancy.enter(1);
        assert!(matches!(first, Place::Session(_)));
        let refusals: Vec<_> = (0..RESERVE).map(|_| occupancy.enter(1)).collect();
        assert!(refusals.iter().all(|place| matches!(place, Place::Refusal(_))));
        assert!(matches!(occupancy.enter(1), Place::None));
        drop(first);
        assert!(matches!(occupancy.enter(1), Place::Session(_)));
    }
}
