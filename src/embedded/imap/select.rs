//! A mailbox is opened, read and searched: SELECT, EXAMINE, FETCH, SEARCH (RFC 3501 §6.3.1, §6.4).

use std::io;

use imap_codec::imap_types::{
    core::Charset,
    fetch::MacroOrMessageDataItemNames,
    mailbox::Mailbox,
    response::{Code, Data},
    search::SearchKey,
    sequence::SequenceSet,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
};

use super::{
    Session, State,
    answer::Answer,
    fetch::Wanted,
    numbers::Numbers,
    search::{self, Test},
    view::{Access, Slot, View, sequence_number},
    words,
};
use crate::embedded::{account::Account, flags::Flags, folders::FolderError};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn select(
        &mut self,
        account: &Account,
        mailbox: &Mailbox<'_>,
        access: Access,
    ) -> io::Result<Answer> {
        // RFC 3501 §6.3.1: the mailbox that was selected is not any more, whatever comes of this.
        self.unselect();
        let Some(name) = words::folder_name(mailbox) else { return Ok(FolderError::BadName.into()) };
        let opened = account.update(|folders| {
            let keywords = folders.keywords().names().to_vec();
            let folder = folders.named_mut(&name)?;
            Some((View::open(folder, access, keywords.len()), folder.next_uid(), keywords))
        });
        let Some((view, next_uid, keywords)) = opened else { return Ok(FolderError::Missing.into()) };
        self.tell(Data::Flags(words::known(&keywords))).await?;
        self.tell(Data::Exists(view.count())).await?;
        self.tell(Data::Recent(view.recent())).await?;
        let unseen = view.slots().iter().position(|slot| !slot.flags.contains(Flags::SEEN)).and_then(sequence_number);
        let permanent = if access == Access::ReadOnly { Vec::new() } else { words::permanent(&keywords) };
        let codes = [Code::UidValidity(view.folder()), Code::UidNext(next_uid), Code::PermanentFlags(permanent)];
        for code in unseen.map(Code::Unseen).into_iter().chain(codes) {
            self.finish(None, Answer::ok("noted").with(code)).await?;
        }
        self.enter(view);
        let code = if access == Access::ReadOnly { Code::ReadOnly } else { Code::ReadWrite };
        Ok(Answer::ok("selected").with(code))
    }

    fn enter(&mut self, view: View) {
        self.state = match std::mem::replace(&mut self.state, State::Anonymous) {
            State::Authenticated(user) | State::Selected(user, _) => State::Selected(user, view),
            State::Anonymous => State::Anonymous,
        };
    }

    pub(super) fn unselect(&mut self) -> Answer {
        self.state = match std::mem::replace(&mut self.state, State::Anonymous) {
            State::Selected(user, _) => State::Authenticated(user),
            other => other,
        };
        Answer::ok("nothing is selected")
    }

    pub(super) async fn fetch(
        &mut self,
        account: &Account,
        set: &SequenceSet,
        names: MacroOrMessageDataItemNames<'static>,
        uid: bool,
    ) -> io::Result<Answer> {
        let State::Selected(_, view) = &self.state else { return Ok(Answer::bad("nothing is selected")) };
        let Some(wanted) = Wanted::new(names, uid) else { return Ok(Answer::bad("BINARY is not offered")) };
        let keywords = account.look(|folders| folders.keywords().names().to_vec());
        let marks = wanted.marks_seen() && !view.is_read_only();
        for at in chosen(view, set, uid) {
            let is_marked = marks && self.mark_seen(account, at);
            let State::Selected(_, view) = &self.state else { break };
            let Some((seq, slot)) = sequence_number(at).zip(view.slots().get(at).cloned()) else { continue };
            if let Some(data) = wanted.of(seq, &slot, &keywords, is_marked) {
                self.tell(data).await?;
            }
            yield_now().await;
        }
        Ok(Answer::ok("fetched"))
    }

    /// Says whether the message was unseen.
    fn mark_seen(&mut self, account: &Account, at: usize) -> bool {
        let State::Selected(_, view) = &mut self.state else { return false };
        let Some(Slot { uid, flags, .. }) = view.slots().get(at) else { return false };
        if flags.contains(Flags::SEEN) {
            return false;
        }
        let (uid, folder) = (*uid, view.folder());
        let marked = account.change(|folders| folders.known(folder)?.mark(uid, |flags| flags.with(Flags::SEEN)));
        marked.map(|flags| view.note(uid, flags)).is_some()
    }

    pub(super) async fn search(
        &mut self,
        account: &Account,
        charset: Option<Charset<'static>>,
        keys: &[SearchKey<'static>],
        uid: bool,
    ) -> io::Result<Answer> {
        let State::Selected(_, view) = &self.state else { return Ok(Answer::bad("nothing is selected")) };
        if charset.is_some_and(|charset| !search::is_known(&charset)) {
            let code = Code::BadCharset { allowed: Charset::try_from("UTF-8").into_iter().collect() };
            return Ok(Answer::no("UTF-8 is what is understood").with(code));
        }
        let test = account.look(|folders| Test::new(keys, view, folders));
        let mut found = Vec::new();
        for (at, slot) in view.slots().iter().enumerate() {
            let Some(seq) = sequence_number(at) else { break };
            if test.passes(seq.get(), slot) {
                found.push(if uid { slot.uid } else { seq });
            }
            yield_now().await;
        }
        self.tell(Data::Search(found)).await?;
        Ok(Answer::ok("searched"))
    }
}

/// The positions of the messages that a sequence set means.
pub(super) fn chosen(view: &View, set: &SequenceSet, uid: bool) -> Vec<usize> {
    let numbers = Numbers::new(set, if uid { view.last_uid() } else { view.count() });
    let is_chosen = |at: usize, slot: &Slot| {
        if uid {
            numbers.contains(slot.uid.get())
        } else {
            sequence_number(at).is_some_and(|seq| numbers.contains(seq.get()))
        }
    };
    view.slots().iter().enumerate().filter(|(at, slot)| is_chosen(*at, slot)).map(|(at, _)| at).collect()
}
