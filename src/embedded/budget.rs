//! The memory that the whole store may take up, shared by everything that is kept or on its way in.
//!
//! Promises that no more bytes are reserved at any time than there were to begin with, and that a reservation is
//! given back when its holder is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What is left of the store's memory.
#[derive(Debug)]
pub(super) struct Budget {
    free: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes`.
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(bytes) })
    }

    /// Takes `bytes` out of it, if there are so many.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        self.withdraw(bytes).then(|| Reservation { budget: self.clone(), bytes })
    }

    /// A reservation that has yet to grow.
    pub(super) fn nothing(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    fn withdraw(&self, bytes: usize) -> bool {
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes)).is_ok()
    }
}

/// A share of a [`Budget`].
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Makes it `bytes` in all, larger or smaller; says whether there was room.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.budget.withdraw(bytes - self.bytes) {
            return false;
        }
        self.budget.free.fetch_add(self.bytes.saturating_sub(bytes), Ordering::AcqRel);
        self.bytes = bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_when_its_holder_is_dropped() {
        let budget = Budget::new(10);
        let mut first = budget.take(6).unwrap();
        assert!(budget.take(5).is_none());
        assert!(first.resize(10));
        assert!(!first.resize(11));
        assert!(first.resize(2));
        assert!(budget.take(8).is_some());
        drop(first);
        assert!(budget.take(10).is_some());
    }
}
