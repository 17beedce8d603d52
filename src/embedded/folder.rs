//! One folder: messages in the order of their unique identifiers (RFC 3501 §2.3.1).
//!
//! Promises that identifiers only grow and are never used twice, and that every change raises the version.

use std::{num::NonZeroU32, sync::Arc};

use imap_codec::imap_types::datetime::DateTime;

use super::{
    budget::{Budget, Reservation},
    flags::Flags,
    message::Message,
    store::{Capacity, Refusal},
};

/// What one message costs besides its bytes.
const ENTRY_COST: usize = 256;

/// An ordered set of messages.
#[derive(Debug)]
pub(super) struct Folder {
    validity: NonZeroU32,
    next_uid: NonZeroU32,
    first_recent: NonZeroU32,
    version: u64,
    entries: Vec<Entry>,
    _paid: Reservation,
}

/// A message in a folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) uid: NonZeroU32,
    pub(super) flags: Flags,
    pub(super) received: DateTime,
    pub(super) message: Arc<Message>,
    _paid: Reservation,
}

impl Folder {
    /// An empty folder. `validity` is its UIDVALIDITY, and its identity in this store.
    pub(super) fn new(validity: NonZeroU32, paid: Reservation) -> Self {
        let first = NonZeroU32::MIN;
        Self { validity, next_uid: first, first_recent: first, version: 0, entries: Vec::new(), _paid: paid }
    }

    pub(super) fn validity(&self) -> NonZeroU32 {
        self.validity
    }

    /// The identifier that the next message will have.
    pub(super) fn next_uid(&self) -> NonZeroU32 {
        self.next_uid
    }

    /// The first identifier that no session has been told of as recent.
    pub(super) fn first_recent(&self) -> NonZeroU32 {
        self.first_recent
    }

    /// A session was told of all there is as recent; no other will be (RFC 3501 §2.3.2).
    pub(super) fn claim_recent(&mut self) {
        self.first_recent = self.next_uid;
    }

    /// Grows with every change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The messages by ascending identifier.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether `more` messages would fit.
    pub(super) fn has_room(&self, more: usize, capacity: &Capacity) -> bool {
        self.entries.len().saturating_add(more) <= capacity.messages
    }

    /// Adds a message and says what its identifier is.
    pub(super) fn add(&mut self, new: New, budget: &Arc<Budget>, capacity: &Capacity) -> Result<NonZeroU32, Refusal> {
        let uid = self.next_uid;
        let next = uid.checked_add(1).ok_or(Refusal::MailboxFull)?;
        if !self.has_room(1, capacity) {
            return Err(Refusal::MailboxFull);
        }
        let paid = budget.take(ENTRY_COST).ok_or(Refusal::StoreFull)?;
        let New { flags, received, message } = new;
        self.entries.push(Entry { uid, flags, received, message, _paid: paid });
        self.next_uid = next;
        self.version += 1;
        Ok(uid)
    }

    /// Gives the message `uid` other flags; says whether it is there.
    pub(super) fn mark(&mut self, uid: NonZeroU32, change: impl FnOnce(Flags) -> Flags) -> Option<Flags> {
        let at = self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok()?;
        let entry = self.entries.get_mut(at)?;
        entry.flags = change(entry.flags);
        self.version += 1;
        Some(entry.flags)
    }

    /// Removes the messages that `is_gone` says.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&Entry) -> bool) {
        self.entries.retain(|entry| !is_gone(entry));
        self.version += 1;
    }

    /// Takes over all messages of `other`, with new identifiers (RENAME of INBOX).
    pub(super) fn take_all(&mut self, other: &mut Self) {
        for mut entry in other.entries.drain(..) {
            let Some(next) = self.next_uid.checked_add(1) else { break };
            entry.uid = self.next_uid;
            self.next_uid = next;
            self.entries.push(entry);
        }
        self.version += 1;
        other.version += 1;
    }
}

/// A message for [`Folder::add`].
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) flags: Flags,
    pub(super) received: DateTime,
    pub(super) message: Arc<Message>,
}
