//! Who makes room where all places of a listener are taken (`timeout.crowded`): of those that have not come to their backend
//! yet, the one that came first, once it has had its time.
//!
//! Promises that a crowd of clients which only wait keeps nobody out, and that whoever has come to a backend stays.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The sessions of a listener that have not come to their backend, those that came first in front.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    sessions: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// That a session waits; over when this is dropped.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    number: u64,
    displaced: Arc<Notify>,
}

impl Crowd {
    /// Notes a session that begins to wait.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> Seat {
        let displaced = Arc::new(Notify::new());
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.sessions.insert(number, (Instant::now(), displaced.clone()));
        Seat { crowd: self.clone(), number, displaced }
    }

    /// Has the session end that waits longest, if that is at least for `patience`; says whether there is one.
    pub(super) fn displace(&self, patience: Duration) -> bool {
        let mut waiting = self.lock();
        let Some(first) = waiting.sessions.first_entry().filter(|first| first.get().0.elapsed() >= patience) else {
            return false;
        };
        let (_, displaced) = first.remove();
        displaced.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Ready when the session has to make room.
    pub(super) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.lock().sessions.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_goes_first_and_nobody_before_his_time_or_after_he_got_on() {
        let crowd = Arc::new(Crowd::default());
        let (first, second, third) = (crowd.join(), crowd.join(), crowd.join());
        assert!(!crowd.displace(Duration::from_secs(60)), "nobody has had his time");
        drop(second);
        assert!(crowd.displace(Duration::ZERO));
        first.displaced().await;
        assert!(crowd.displace(Duration::ZERO));
        third.displaced().await;
        assert!(!crowd.displace(Duration::ZERO), "nobody is left");
        drop((first, third));
        assert!(crowd.lock().sessions.is_empty());
    }
}
