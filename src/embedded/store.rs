//! The whole store: accounts by name, and the bounds that hold for all of them together.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::Utc;
use imap_codec::imap_types::datetime::DateTime;
use thiserror::Error;

use super::{
    account::Account,
    budget::{Budget, Reservation},
    message::Draft,
};

/// What an account costs before it holds anything.
const ACCOUNT_COST: usize = 4096;

/// Bounds of a store. The defaults let a newcomer try anything and a mistake do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of everything that is kept, and of messages on their way in: 256 MiB.
    pub bytes: usize,
    /// Bytes of one message: 64 MiB.
    pub message: usize,
    /// Messages in one folder: 10,000.
    pub messages: usize,
    /// Folders in one account: 100.
    pub folders: usize,
    /// Accounts: 1,000.
    pub accounts: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { bytes: 256 << 20, message: 64 << 20, messages: 10_000, folders: 100, accounts: 1000 }
    }
}

/// The mail store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hostname: String,
    resources: Arc<Resources>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

impl Store {
    /// An empty store that greets as `hostname`.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self::with_capacity(hostname, Capacity::default())
    }

    /// An empty store with other bounds.
    #[must_use]
    pub fn with_capacity(hostname: impl Into<String>, capacity: Capacity) -> Self {
        let hostname = hostname.into();
        let resources = Arc::new(Resources::new(capacity));
        Self { shared: Arc::new(Shared { hostname, resources, accounts: Mutex::default() }) }
    }

    pub(super) fn hostname(&self) -> &str {
        &self.shared.hostname
    }

    pub(super) fn capacity(&self) -> &Capacity {
        &self.shared.resources.capacity
    }

    /// The account `name`, made if need be.
    pub(super) fn account(&self, name: &str) -> Result<Arc<Account>, Refusal> {
        let mut accounts = self.shared.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(name) {
            return Ok(account.clone());
        }
        if accounts.len() >= self.capacity().accounts {
            return Err(Refusal::StoreFull);
        }
        let paid = self.shared.resources.reserve(ACCOUNT_COST)?;
        let account = Arc::new(Account::new(self.shared.resources.clone(), paid)?);
        accounts.insert(name.to_owned(), account.clone());
        Ok(account)
    }

    /// An empty message that may grow to the size limit and `free` bytes besides, which are paid for only when
    /// they are kept.
    pub(super) fn draft(&self, free: usize) -> Draft {
        let limit = self.capacity().message.saturating_add(free);
        Draft::new(self.shared.resources.budget.nothing(), limit, free)
    }
}

/// What accounts and folders draw on.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) capacity: Capacity,
    pub(super) budget: Arc<Budget>,
    next_validity: AtomicU32,
}

impl Resources {
    pub(super) fn new(capacity: Capacity) -> Self {
        let budget = Budget::new(capacity.bytes);
        // RFC 3501 §2.3.1.1: a client that remembers a message of the last run must see that it is gone.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let next_validity = AtomicU32::new(u32::try_from(started).unwrap_or(1));
        Self { capacity, budget, next_validity }
    }

    pub(super) fn reserve(&self, bytes: usize) -> Result<Reservation, Refusal> {
        self.budget.take(bytes).ok_or(Refusal::StoreFull)
    }

    /// An UIDVALIDITY that no folder of this store has had.
    pub(super) fn validity(&self) -> NonZeroU32 {
        NonZeroU32::new(self.next_validity.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }
}

/// Why something was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// Larger than [`Capacity::message`].
    #[error("message too large")]
    MessageTooLarge,
    /// [`Capacity::bytes`] or [`Capacity::accounts`] is used up.
    #[error("the mail store is full")]
    StoreFull,
    /// [`Capacity::messages`] is used up.
    #[error("the mailbox is full")]
    MailboxFull,
    /// It holds NUL, which an IMAP4rev1 literal cannot carry (RFC 3501 §4.3).
    #[error("message holds NUL")]
    HasNul,
}

/// The time at which a message comes in, in whole seconds of UTC.
pub(super) fn now() -> DateTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::<Utc>::from_timestamp(seconds, 0));
    let epoch = chrono::DateTime::<Utc>::UNIX_EPOCH;
    let representable = time.map(|time| time.fixed_offset()).and_then(|time| DateTime::try_from(time).ok());
    representable.unwrap_or_else(|| DateTime::unvalidated(epoch.fixed_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_bounded_in_number() {
        let store = Store::with_capacity("host", Capacity { accounts: 2, ..Capacity::default() });
        assert!(store.account("ann").is_ok());
        assert!(store.account("bob").is_ok());
        assert!(store.account("ann").is_ok());
        assert_eq!(store.account("eve").unwrap_err(), Refusal::StoreFull);
    }

    #[test]
    fn a_store_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<Store>();
    }
}
