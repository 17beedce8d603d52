//! What changes a mailbox: STORE, COPY, MOVE, EXPUNGE, CLOSE, APPEND (RFC 3501 §6.3.11, §6.4; RFC 4315; RFC 6851).

use std::{io, num::NonZeroU32};

use imap_codec::imap_types::{
    core::Vec1,
    fetch::MessageDataItem,
    flag::{Flag, StoreResponse, StoreType},
    mailbox::Mailbox,
    response::{Code, Data},
    sequence::SequenceSet,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Session, State,
    answer::Answer,
    framing::Append,
    numbers::{Numbers, uid_set},
    select::chosen,
    view::{Numbering, View, sequence_number},
    words::{self, folder_name},
};
use crate::embedded::{
    account::Account,
    flags::Flags,
    folder::New,
    folders::{Copied, FolderError},
    store::{Refusal, now},
};

/// What STORE does to the flags.
pub(super) struct Marking {
    pub(super) kind: StoreType,
    pub(super) response: StoreResponse,
    pub(super) flags: Vec<Flag<'static>>,
    pub(super) uid: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn store(&mut self, account: &Account, set: &SequenceSet, marking: Marking) -> io::Result<Answer> {
        let State::Selected(_, view) = &mut self.state else { return Ok(Answer::bad("nothing is selected")) };
        if view.is_read_only() {
            return Ok(read_only());
        }
        let positions = chosen(view, set, marking.uid);
        let marked = account.change(|folders| {
            let named = words::stored(&marking.flags, folders.keywords_mut())?;
            let Some(folder) = folders.known(view.folder()) else { return Some(Vec::new()) };
            let mark = |at: usize| {
                let uid = view.slots().get(at)?.uid;
                Some((at, uid, folder.mark(uid, |flags| marked(flags, &marking.kind, named))?))
            };
            Some(positions.into_iter().filter_map(mark).collect())
        });
        let Some(marked) = marked else { return Ok(Answer::no("too many keywords").with_name("LIMIT")) };
        marked.iter().for_each(|&(_, uid, flags)| view.note(uid, flags));
        let keywords = account.look(|folders| (view.new_keywords(folders), folders.keywords().names().to_vec()));
        self.tell_marked(marking, marked, keywords).await?;
        Ok(Answer::ok("stored"))
    }

    async fn tell_marked(
        &mut self,
        marking: Marking,
        marked: Vec<(usize, NonZeroU32, Flags)>,
        (new_keywords, keywords): (Option<Data<'static>>, Vec<String>),
    ) -> io::Result<()> {
        if let Some(data) = new_keywords {
            self.tell(data).await?;
        }
        if marking.response == StoreResponse::Silent {
            return Ok(());
        }
        for (at, uid, flags) in marked {
            let State::Selected(_, view) = &self.state else { break };
            let recent = view.slots().get(at).is_some_and(|slot| slot.recent);
            let Some(seq) = sequence_number(at) else { break };
            let flags = MessageDataItem::Flags(words::fetched(flags, recent, &keywords));
            // RFC 3501 §6.4.8: an answer to UID STORE says the identifier.
            let items = marking.uid.then_some(MessageDataItem::Uid(uid)).into_iter().chain([flags]);
            self.tell(Data::Fetch { seq, items: Vec1::unvalidated(items.collect()) }).await?;
        }
        Ok(())
    }

    /// MOVE: COPY, with COPYUID said before the messages go (RFC 6851 §4.3), then they go.
    pub(super) async fn move_messages(
        &mut self,
        account: &Account,
        set: &SequenceSet,
        mailbox: &Mailbox<'_>,
        uid: bool,
    ) -> io::Result<Answer> {
        let State::Selected(_, view) = &mut self.state else { return Ok(Answer::bad("nothing is selected")) };
        if view.is_read_only() {
            return Ok(read_only());
        }
        let copied = match copy_messages(account, view, set, mailbox, uid) {
            Ok(copied) => copied,
            Err(answer) => return Ok(answer),
        };
        let folder = view.folder();
        account.change(|folders| {
            if let Some(folder) = folders.known(folder) {
                folder.remove(|entry| copied.source.binary_search(&entry.uid).is_ok());
            }
        });
        if let Some(code) = copy_uid(&copied) {
            self.finish(None, Answer::ok("moved").with(code)).await?;
        }
        self.catch_up(Numbering::MayChange).await?;
        Ok(Answer::ok("moved"))
    }

    pub(super) async fn append(&mut self, append: Append) -> io::Result<()> {
        self.catch_up(Numbering::Held).await?;
        let Append { tag, mailbox, flags, date, message } = append;
        let account = match &self.state {
            State::Anonymous => None,
            State::Authenticated(user) | State::Selected(user, _) => Some(user.account.clone()),
        };
        let answer = match (account, message) {
            (None, _) => Answer::bad("log in first"),
            (_, Err(refusal)) => refusal.into(),
            (Some(account), Ok(message)) => {
                let received = date.unwrap_or_else(now);
                add(&account, &mailbox, &flags, |flags| New { flags, received, message })
            }
        };
        self.catch_up(Numbering::MayChange).await?;
        self.finish(Some(tag), answer).await
    }
}

fn add(account: &Account, mailbox: &Mailbox<'_>, words: &[Flag<'_>], new: impl FnOnce(Flags) -> New) -> Answer {
    let Some(name) = folder_name(mailbox) else { return FolderError::BadName.into() };
    account.change(|folders| {
        if folders.named(&name).is_none() {
            // RFC 3501 §6.3.11: so that the client may create it.
            return Answer::no("no such mailbox").with(Code::TryCreate);
        }
        let Some(flags) = words::stored(words, folders.keywords_mut()) else {
            return Answer::no("too many keywords").with_name("LIMIT");
        };
        match folders.add(&name, new(flags)) {
            Ok((uid_validity, uid)) => Answer::ok("appended").with(Code::AppendUid { uid_validity, uid }),
            Err(refusal) => refusal.into(),
        }
    })
}

/// COPY.
pub(super) fn copy(account: &Account, view: &View, set: &SequenceSet, mailbox: &Mailbox<'_>, uid: bool) -> Answer {
    match copy_messages(account, view, set, mailbox, uid) {
        Ok(copied) => Answer::ok("copied").with(copy_uid(&copied)),
        Err(answer) => answer,
    }
}

fn copy_messages(
    account: &Account,
    view: &View,
    set: &SequenceSet,
    mailbox: &Mailbox<'_>,
    uid: bool,
) -> Result<Copied, Answer> {
    let name = folder_name(mailbox).ok_or(FolderError::BadName)?;
    let slots = chosen(view, set, uid).into_iter().filter_map(|at| view.slots().get(at));
    let uids: Vec<_> = slots.map(|slot| slot.uid).collect();
    let copied = account.change(|folders| folders.copy(view.folder(), &uids, &name));
    let missing = || Answer::no("no such mailbox").with(Code::TryCreate);
    copied.ok_or_else(missing)?.map_err(|refusal: Refusal| refusal.into())
}

/// RFC 4315 §3: nothing is said if nothing was copied.
fn copy_uid(copied: &Copied) -> Option<Code<'static>> {
    let (source, destination) = uid_set(&copied.source).zip(uid_set(&copied.destination))?;
    Some(Code::CopyUid { uid_validity: copied.validity, source, destination })
}

/// EXPUNGE, or UID EXPUNGE of `only` these.
pub(super) fn expunge(account: &Account, view: &View, only: Option<&SequenceSet>) -> Answer {
    if view.is_read_only() {
        return read_only();
    }
    let only = only.map(|set| Numbers::new(set, view.last_uid()));
    account.change(|folders| {
        if let Some(folder) = folders.known(view.folder()) {
            folder.remove(|entry| {
                let is_meant = only.as_ref().is_none_or(|only| only.contains(entry.uid.get()));
                entry.flags.contains(Flags::DELETED) && is_meant
            });
        }
    });
    Answer::ok("expunged")
}

/// CLOSE removes what is deleted and says nothing of it (RFC 3501 §6.4.2).
pub(super) fn close(account: &Account, view: &View) {
    if !view.is_read_only() {
        expunge(account, view, None);
    }
}

fn marked(flags: Flags, kind: &StoreType, named: Flags) -> Flags {
    match kind {
        StoreType::Replace => named,
        StoreType::Add => flags.with(named),
        StoreType::Remove => flags.without(named),
    }
}

fn read_only() -> Answer {
    Answer::no("the mailbox is open for reading only").with_name("NOPERM")
}
