//! A mailbox as one session knows it: the message numbers it was told (RFC 3501 §2.3.1.2, §5.2).
//!
//! Promises that a message keeps its number until the client was told otherwise. A message that another session
//! removed can still be fetched until then.

use std::{num::NonZeroU32, sync::Arc};

use imap_codec::imap_types::{core::Vec1, datetime::DateTime, fetch::MessageDataItem, response::Data};

use super::words;
use crate::embedded::{
    flags::Flags,
    folder::{Entry, Folder},
    folders::Folders,
    message::Message,
};

/// A selected mailbox.
#[derive(Debug)]
pub(super) struct View {
    folder: NonZeroU32,
    access: Access,
    version: u64,
    keywords: usize,
    slots: Vec<Slot>,
}

/// Whether SELECT or EXAMINE opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    ReadOnly,
}

/// Whether numbers may change now (RFC 3501 §7.4.1: not while FETCH, STORE or SEARCH is answered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    MayChange,
    Held,
}

/// A message under a number.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) uid: NonZeroU32,
    pub(super) flags: Flags,
    pub(super) recent: bool,
    pub(super) received: DateTime,
    pub(super) message: Arc<Message>,
    gone: bool,
}

impl View {
    /// Opens `folder`; `keywords` is how many the account has.
    pub(super) fn open(folder: &mut Folder, access: Access, keywords: usize) -> Self {
        let mut view =
            Self { folder: folder.validity(), access, version: folder.version(), keywords, slots: Vec::new() };
        view.add_new(folder);
        view
    }

    /// The folder's UIDVALIDITY, by which the store knows it.
    pub(super) fn folder(&self) -> NonZeroU32 {
        self.folder
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.access == Access::ReadOnly
    }

    /// The messages in the order of their numbers.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// How many messages there are.
    pub(super) fn count(&self) -> u32 {
        number(self.slots.len())
    }

    /// How many of them are recent.
    pub(super) fn recent(&self) -> u32 {
        number(self.slots.iter().filter(|slot| slot.recent).count())
    }

    /// The last identifier, zero if there is none.
    pub(super) fn last_uid(&self) -> u32 {
        self.slots.last().map_or(0, |slot| slot.uid.get())
    }

    /// Notes flags that the client is told of, or has asked not to be told of.
    pub(super) fn note(&mut self, uid: NonZeroU32, flags: Flags) {
        if let Ok(at) = self.slots.binary_search_by_key(&uid, |slot| slot.uid)
            && let Some(slot) = self.slots.get_mut(at)
        {
            slot.flags = flags;
        }
    }

    /// The flags that there are by now, if the client has yet to hear of one.
    pub(super) fn new_keywords(&mut self, folders: &Folders) -> Option<Data<'static>> {
        let known = folders.keywords().names().len();
        let is_news = std::mem::replace(&mut self.keywords, known) != known;
        is_news.then(|| Data::Flags(words::known(folders.keywords().names())))
    }

    /// Takes over what has changed, and says what the client is to be told.
    pub(super) fn refresh(&mut self, folders: &mut Folders, numbering: Numbering) -> Vec<Data<'static>> {
        let mut news: Vec<_> = self.new_keywords(folders).into_iter().collect();
        let keywords = folders.keywords().names().to_vec();
        let Some(folder) = folders.known(self.folder) else {
            self.slots.iter_mut().for_each(|slot| slot.gone = true);
            news.extend(self.drop_gone(numbering));
            return news;
        };
        if folder.version() == self.version {
            return news;
        }
        let changed = self.compare(folder.entries());
        news.extend(self.drop_gone(numbering));
        news.extend(self.changed_flags(&changed, &keywords));
        if self.add_new(folder) {
            news.extend([Data::Exists(self.count()), Data::Recent(self.recent())]);
        }
        if self.slots.iter().all(|slot| !slot.gone) {
            self.version = folder.version();
        }
        news
    }

    /// Marks what is gone, takes over flags, and says whose have changed.
    fn compare(&mut self, entries: &[Entry]) -> Vec<NonZeroU32> {
        let mut changed = Vec::new();
        let mut entries = entries.iter().peekable();
        for slot in &mut self.slots {
            while entries.next_if(|entry| entry.uid < slot.uid).is_some() {}
            match entries.next_if(|entry| entry.uid == slot.uid) {
                Some(entry) if entry.flags != slot.flags => {
                    slot.flags = entry.flags;
                    changed.push(slot.uid);
                }
                Some(_) => {}
                None => slot.gone = true,
            }
        }
        changed
    }

    /// Removes what is gone, the last first, so that each number is right when it is said.
    fn drop_gone(&mut self, numbering: Numbering) -> Vec<Data<'static>> {
        if numbering == Numbering::Held {
            return Vec::new();
        }
        let gone = self.slots.iter().enumerate().rev().filter(|(_, slot)| slot.gone);
        let told = gone.filter_map(|(at, _)| sequence_number(at)).map(Data::Expunge).collect();
        self.slots.retain(|slot| !slot.gone);
        told
    }

    fn changed_flags(&self, changed: &[NonZeroU32], keywords: &[String]) -> Vec<Data<'static>> {
        let numbered = self.slots.iter().enumerate().filter(|(_, slot)| changed.binary_search(&slot.uid).is_ok());
        let told = numbered.filter_map(|(at, slot)| {
            let flags = MessageDataItem::Flags(words::fetched(slot.flags, slot.recent, keywords));
            let items = Vec1::unvalidated(vec![MessageDataItem::Uid(slot.uid), flags]);
            Some(Data::Fetch { seq: sequence_number(at)?, items })
        });
        told.collect()
    }

    /// Takes over messages behind the last one that is known; says whether there were any.
    fn add_new(&mut self, folder: &mut Folder) -> bool {
        let known = self.last_uid();
        let first_recent = folder.first_recent();
        let fresh = folder.entries().iter().filter(|entry| entry.uid.get() > known);
        let before = self.slots.len();
        self.slots.extend(fresh.map(|entry| Slot {
            uid: entry.uid,
            flags: entry.flags,
            recent: entry.uid >= first_recent,
            received: entry.received.clone(),
            message: entry.message.clone(),
            gone: false,
        }));
        if self.access == Access::ReadWrite {
            folder.claim_recent();
        }
        self.slots.len() > before
    }
}

/// The message number of a position.
pub(super) fn sequence_number(at: usize) -> Option<NonZeroU32> {
    u32::try_from(at).ok()?.checked_add(1).and_then(NonZeroU32::new)
}

/// A count as the protocol has it; the store's bounds are far below.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
