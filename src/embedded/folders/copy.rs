//! Messages from one folder into another (COPY, MOVE).

use std::num::NonZeroU32;

use super::Folders;
use crate::embedded::{
    folder::{Entry, New},
    store::Refusal,
};

/// What COPY and MOVE did: the new folder's UIDVALIDITY, and old and new identifiers in order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::embedded) struct Copied {
    pub(in crate::embedded) validity: NonZeroU32,
    pub(in crate::embedded) source: Vec<NonZeroU32>,
    pub(in crate::embedded) destination: Vec<NonZeroU32>,
}

impl Folders {
    /// Copies messages into the folder `to`, all or none; `None`: there is no such folder.
    pub(in crate::embedded) fn copy(
        &mut self,
        from: NonZeroU32,
        uids: &[NonZeroU32],
        to: &str,
    ) -> Option<Result<Copied, Refusal>> {
        let news = self.copies(from, uids);
        let target = self.folders.get_mut(to)?;
        let mut copied = Copied { validity: target.validity(), source: Vec::new(), destination: Vec::new() };
        if !target.has_room(news.len(), &self.resources.capacity) {
            return Some(Err(Refusal::MailboxFull));
        }
        let before = target.next_uid();
        for (uid, new) in news {
            match target.add(new, &self.resources.budget, &self.resources.capacity) {
                Ok(added) => copied.destination.push(added),
                Err(refusal) => {
                    // RFC 3501 §6.4.7: as it was before the attempt.
                    target.remove(|entry| entry.uid >= before);
                    return Some(Err(refusal));
                }
            }
            copied.source.push(uid);
        }
        Some(Ok(copied))
    }

    fn copies(&mut self, from: NonZeroU32, uids: &[NonZeroU32]) -> Vec<(NonZeroU32, New)> {
        let entries = self.known(from).map(|folder| folder.entries()).unwrap_or_default();
        let chosen = entries.iter().filter(|entry| uids.binary_search(&entry.uid).is_ok());
        let copy = |entry: &Entry| New {
            flags: entry.flags,
            received: entry.received.clone(),
            message: entry.message.clone(),
        };
        chosen.map(|entry| (entry.uid, copy(entry))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{
        folders::{
            INBOX,
            tests::{folders, new},
        },
        store::Capacity,
    };

    #[test]
    fn copy_is_all_or_none() {
        let mut folders = folders(Capacity { messages: 3, ..Capacity::default() });
        folders.create("to").unwrap();
        let (from, first) = folders.add(INBOX, new(b"one")).unwrap();
        let (_, second) = folders.add(INBOX, new(b"two")).unwrap();
        assert!(folders.copy(from, &[first], "nowhere").is_none());
        let copied = folders.copy(from, &[first, second], "to").unwrap().unwrap();
        assert_eq!((copied.source.len(), copied.destination.len()), (2, 2));
        assert_eq!(folders.copy(from, &[first, second], "to"), Some(Err(Refusal::MailboxFull)));
        assert_eq!(folders.named("to").unwrap().entries().len(), 2);
    }
}
