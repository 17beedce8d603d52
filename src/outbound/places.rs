//! How many sessions there may be at once with the servers of a domain, with one address, and with all.
//!
//! Promises that whoever waits for a place gets one or is told in time, and that what is counted is what is there: a place is free
//! again when it is dropped. The counts outlive reloads; the limits are those of the snapshot that asks.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All sessions.
    All,
    /// Those for a recipient domain.
    Domain(String),
    /// Those with one address.
    Host(IpAddr),
}

/// Behind "20 sessions".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("are under way"),
            Self::Domain(name) => write!(f, "for {name} are under way"),
            Self::Host(ip) => write!(f, "with {ip} are under way"),
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Places {
    taken: Mutex<HashMap<Kind, usize>>,
    freed: Notify,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    kind: Kind,
}

impl Places {
    /// Takes one of `most` places; waits for one for so long.
    pub async fn take(self: &Arc<Self>, kind: Kind, most: usize, patience: Duration) -> Option<Place> {
        let waited = timeout(patience, async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                // Whoever leaves between the look and the wait is heard.
                freed.as_mut().enable();
                if self.try_take(&kind, most) {
                    return;
                }
                freed.await;
            }
        });
        waited.await.ok().map(|()| Place { places: self.clone(), kind })
    }

    fn try_take(&self, kind: &Kind, most: usize) -> bool {
        let mut taken = self.lock();
        let count = taken.get(kind).copied().unwrap_or(0);
        if count < most {
            taken.insert(kind.clone(), count + 1);
        }
        count < most
    }

    fn leave(&self, kind: &Kind) {
        let mut taken = self.lock();
        match taken.get_mut(kind) {
            Some(count) if *count > 1 => *count -= 1,
            // What is not counted takes no room.
            _ => drop(taken.remove(kind)),
        }
        drop(taken);
        self.freed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(&self.kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Kind {
        Kind::Domain("example.org".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_and_not_for_ever() {
        let places = Arc::new(Places::default());
        let patience = Duration::from_secs(30);
        let first = places.take(domain(), 1, patience).await.unwrap();
        assert!(places.take(domain(), 1, patience).await.is_none());
        assert!(places.take(Kind::Host([192, 0, 2, 1].into()), 1, patience).await.is_some(), "each kind has its own");
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take(domain(), 1, patience).await.is_some() }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(first);
        assert!(waiting.await.unwrap());
        assert!(places.lock().is_empty(), "what is free leaves nothing behind");
    }
}
