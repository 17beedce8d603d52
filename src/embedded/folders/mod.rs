//! The folders of one account by name (RFC 3501 §5.1), its subscriptions and its keywords.
//!
//! `/` separates levels. INBOX always exists, in any spelling. A folder's superiors are made with it, and it is not
//! deleted before its inferiors are.

mod copy;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

pub(super) use copy::Copied;

use super::{
    folder::{Folder, New},
    keywords::Keywords,
    store::{Refusal, Resources},
};

/// The name of the folder that mail comes into.
pub(super) const INBOX: &str = "INBOX";
/// What separates the levels of a name.
pub(super) const DELIMITER: char = '/';

const NAME_LIMIT: usize = 200;
const FOLDER_COST: usize = 1024;

/// Folders by name.
#[derive(Debug)]
pub(super) struct Folders {
    resources: Arc<Resources>,
    folders: BTreeMap<String, Folder>,
    subscribed: BTreeSet<String>,
    keywords: Keywords,
}

/// Why a folder could not be made, renamed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FolderError {
    Missing,
    Exists,
    /// INBOX can be neither deleted nor made.
    Inbox,
    HasInferiors,
    BadName,
    TooMany,
}

impl Folders {
    /// An INBOX, subscribed to, and nothing else.
    pub(super) fn new(resources: Arc<Resources>) -> Result<Self, Refusal> {
        let inbox = Folder::new(resources.validity(), resources.reserve(FOLDER_COST)?);
        let folders = BTreeMap::from([(INBOX.to_owned(), inbox)]);
        let subscribed = BTreeSet::from([INBOX.to_owned()]);
        Ok(Self { resources, folders, subscribed, keywords: Keywords::default() })
    }

    /// All names in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(String::as_str)
    }

    /// All names subscribed to, in order.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &str> {
        self.subscribed.iter().map(String::as_str)
    }

    /// The folder of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Folder> {
        self.folders.get(name)
    }

    /// The folder of this name, to be opened.
    pub(super) fn named_mut(&mut self, name: &str) -> Option<&mut Folder> {
        self.folders.get_mut(name)
    }

    /// The folder of this UIDVALIDITY, whatever it is called by now.
    pub(super) fn known(&mut self, validity: NonZeroU32) -> Option<&mut Folder> {
        self.folders.values_mut().find(|folder| folder.validity() == validity)
    }

    /// Whether the folder `name` would take one message more.
    pub(super) fn has_room(&self, name: &str) -> bool {
        self.named(name).is_some_and(|folder| folder.has_room(1, &self.resources.capacity))
    }

    /// Adds a message; says the folder's UIDVALIDITY and the message's identifier.
    pub(super) fn add(&mut self, name: &str, new: New) -> Result<(NonZeroU32, NonZeroU32), Refusal> {
        let folder = self.folders.get_mut(name).ok_or(Refusal::MailboxFull)?;
        let uid = folder.add(new, &self.resources.budget, &self.resources.capacity)?;
        Ok((folder.validity(), uid))
    }

    /// Makes a folder and its superiors.
    pub(super) fn create(&mut self, name: &str) -> Result<(), FolderError> {
        let name = name.strip_suffix(DELIMITER).unwrap_or(name);
        check_name(name)?;
        if self.folders.contains_key(name) {
            return Err(if name == INBOX { FolderError::Inbox } else { FolderError::Exists });
        }
        let superiors = name.match_indices(DELIMITER).map(|(at, _)| &name[..at]);
        for each in superiors.chain([name]) {
            self.create_one(each)?;
        }
        Ok(())
    }

    fn create_one(&mut self, name: &str) -> Result<(), FolderError> {
        if self.folders.contains_key(name) {
            return Ok(());
        }
        if self.folders.len() >= self.resources.capacity.folders {
            return Err(FolderError::TooMany);
        }
        let paid = self.resources.reserve(FOLDER_COST).map_err(|_| FolderError::TooMany)?;
        self.folders.insert(name.to_owned(), Folder::new(self.resources.validity(), paid));
        Ok(())
    }

    /// Deletes a folder with its messages.
    pub(super) fn delete(&mut self, name: &str) -> Result<(), FolderError> {
        if name == INBOX {
            return Err(FolderError::Inbox);
        }
        if !self.folders.contains_key(name) {
            return Err(FolderError::Missing);
        }
        if self.inferiors(name).next().is_some() {
            return Err(FolderError::HasInferiors);
        }
        self.folders.remove(name);
        Ok(())
    }

    /// Gives a folder and its inferiors another name. Of INBOX only the messages move (RFC 3501 §6.3.5).
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), FolderError> {
        if !self.folders.contains_key(from) {
            return Err(FolderError::Missing);
        }
        if to.strip_prefix(from).is_some_and(|rest| rest.starts_with(DELIMITER)) {
            return Err(FolderError::BadName);
        }
        let moved = self.new_names(from, to)?;
        self.create(to)?;
        if from == INBOX {
            return self.empty_inbox_into(to);
        }
        for (old, new) in moved {
            if let Some(folder) = self.folders.remove(&old) {
                self.folders.insert(new, folder);
            }
        }
        Ok(())
    }

    /// What the folder and its inferiors are called now, and what they will be called.
    fn new_names(&self, from: &str, to: &str) -> Result<Vec<(String, String)>, FolderError> {
        let names = [from].into_iter().chain(self.inferiors(from));
        let moved: Vec<_> = names.map(|old| (old.to_owned(), format!("{to}{}", &old[from.len()..]))).collect();
        for (_, new) in &moved {
            check_name(new)?;
            if self.folders.contains_key(new) {
                return Err(FolderError::Exists);
            }
        }
        Ok(moved)
    }

    fn empty_inbox_into(&mut self, to: &str) -> Result<(), FolderError> {
        let mut target = self.folders.remove(to).ok_or(FolderError::Missing)?;
        if let Some(inbox) = self.folders.get_mut(INBOX) {
            target.take_all(inbox);
        }
        self.folders.insert(to.to_owned(), target);
        Ok(())
    }

    fn inferiors<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.names().filter(move |other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with(DELIMITER)))
    }

    /// Subscribes to a name, which need not exist (RFC 3501 §6.3.6).
    pub(super) fn subscribe(&mut self, name: &str) -> Result<(), FolderError> {
        check_name(name)?;
        if self.subscribed.len() >= self.resources.capacity.folders && !self.subscribed.contains(name) {
            return Err(FolderError::TooMany);
        }
        self.subscribed.insert(name.to_owned());
        Ok(())
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, name: &str) {
        self.subscribed.remove(name);
    }

    /// The account's keywords.
    pub(super) fn keywords(&self) -> &Keywords {
        &self.keywords
    }

    /// The account's keywords, to be added to.
    pub(super) fn keywords_mut(&mut self) -> &mut Keywords {
        &mut self.keywords
    }
}

fn check_name(name: &str) -> Result<(), FolderError> {
    let levels = name.split(DELIMITER).all(|level| !level.is_empty());
    let characters = name.chars().all(|character| !character.is_control() && !matches!(character, '%' | '*'));
    (levels && characters && name.len() <= NAME_LIMIT).then_some(()).ok_or(FolderError::BadName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{
        budget::Budget,
        flags::Flags,
        message::Draft,
        store::{Capacity, now},
    };

    pub(super) fn folders(capacity: Capacity) -> Folders {
        Folders::new(Arc::new(Resources::new(capacity))).unwrap()
    }

    pub(super) fn new(text: &[u8]) -> New {
        let budget = Budget::new(text.len());
        let mut draft = Draft::new(budget.nothing(), text.len(), 0);
        draft.push(text).unwrap();
        New { flags: Flags::SEEN, received: now(), message: draft.keep(0..text.len()).unwrap() }
    }

    fn names(folders: &Folders) -> Vec<&str> {
        folders.names().collect()
    }

    #[test]
    fn superiors_are_made_and_inferiors_protect_them() {
        let mut folders = folders(Capacity::default());
        assert_eq!(folders.create("a/b/"), Ok(()));
        assert_eq!(names(&folders), ["INBOX", "a", "a/b"]);
        assert_eq!(folders.create("a"), Err(FolderError::Exists));
        assert_eq!(folders.delete("a"), Err(FolderError::HasInferiors));
        assert_eq!(folders.delete("a/b"), Ok(()));
        assert_eq!(folders.delete("a"), Ok(()));
        assert_eq!(folders.delete("a"), Err(FolderError::Missing));
        assert_eq!(folders.delete("INBOX"), Err(FolderError::Inbox));
        for bad in ["", "/a", "a//b", "a*", "a%b", "a\tb", &"x".repeat(201)] {
            assert_eq!(folders.create(bad), Err(FolderError::BadName), "{bad:?}");
        }
    }

    #[test]
    fn rename_takes_inferiors_along_and_keeps_identifiers() {
        let mut folders = folders(Capacity::default());
        folders.create("a/b").unwrap();
        folders.create("c").unwrap();
        let (validity, uid) = folders.add("a/b", new(b"x")).unwrap();
        assert_eq!(folders.rename("a", "c"), Err(FolderError::Exists));
        assert_eq!(folders.rename("a", "a/d"), Err(FolderError::BadName));
        assert_eq!(folders.rename("a", "d/e"), Ok(()));
        assert_eq!(names(&folders), ["INBOX", "c", "d", "d/e", "d/e/b"]);
        let moved = folders.named("d/e/b").unwrap();
        assert_eq!((moved.validity(), moved.entries()[0].uid), (validity, uid));
    }

    #[test]
    fn rename_of_inbox_moves_its_messages_alone() {
        let mut folders = folders(Capacity::default());
        folders.create("INBOX/sub").unwrap();
        folders.add(INBOX, new(b"x")).unwrap();
        assert_eq!(folders.rename(INBOX, "old"), Ok(()));
        assert_eq!(names(&folders), ["INBOX", "INBOX/sub", "old"]);
        assert!(folders.named(INBOX).unwrap().entries().is_empty());
        assert_eq!(folders.named("old").unwrap().entries().len(), 1);
    }

    #[test]
    fn folders_and_subscriptions_are_bounded() {
        let mut folders = folders(Capacity { folders: 3, ..Capacity::default() });
        assert_eq!(folders.create("a/b/c"), Err(FolderError::TooMany));
        assert_eq!(folders.subscribe("x"), Ok(()));
        assert_eq!(folders.subscribe("y"), Ok(()));
        assert_eq!(folders.subscribe("z"), Err(FolderError::TooMany));
        assert_eq!(folders.subscribe("x"), Ok(()));
    }
}
