//! One account: its folders behind one lock, and the bell that wakes whoever watches them.
//!
//! The lock is never held across an await: both ways in take a closure.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{
    budget::Reservation,
    flags::Flags,
    folder::New,
    folders::{Folders, INBOX},
    message::Message,
    store::{Refusal, Resources, now},
};

/// A user's folders.
#[derive(Debug)]
pub(super) struct Account {
    folders: Mutex<Folders>,
    changed: watch::Sender<()>,
    _paid: Reservation,
}

impl Account {
    /// An account with an empty INBOX.
    pub(super) fn new(resources: Arc<Resources>, paid: Reservation) -> Result<Self, Refusal> {
        let folders = Mutex::new(Folders::new(resources)?);
        Ok(Self { folders, changed: watch::Sender::new(()), _paid: paid })
    }

    /// Looks at the folders.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Folders) -> T) -> T {
        look(&self.folders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the folders, and wakes everybody who watches them.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Folders) -> T) -> T {
        let changed = self.update(change);
        self.changed.send_replace(());
        changed
    }

    /// Changes what concerns nobody else (who was told what is recent).
    pub(super) fn update<T>(&self, update: impl FnOnce(&mut Folders) -> T) -> T {
        update(&mut self.folders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A receiver that is told of every change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Puts a message into the INBOX.
    pub(super) fn deliver(&self, message: Arc<Message>) -> Result<(), Refusal> {
        let new = New { flags: Flags::default(), received: now(), message };
        self.change(|folders| folders.add(INBOX, new)).map(|_| ())
    }

    /// Whether the INBOX would take one message more.
    pub(super) fn has_room(&self) -> bool {
        self.look(|folders| folders.has_room(INBOX))
    }
}
