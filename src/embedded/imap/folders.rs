//! Mailboxes by name: LIST, LSUB, STATUS, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE (RFC 3501 §6.3).

use std::io;

use imap_codec::imap_types::{
    core::{IString, QuotedChar},
    extensions::namespace::Namespace,
    flag::FlagNameAttribute,
    mailbox::{ListMailbox, Mailbox},
    response::Data,
    status::{StatusDataItem, StatusDataItemName},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Session, answer::Answer, pattern, view::number, words::folder_name};
use crate::embedded::{
    account::Account,
    flags::Flags,
    folder::Folder,
    folders::{DELIMITER, FolderError},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn list(
        &mut self,
        account: &Account,
        reference: &Mailbox<'_>,
        wildcard: &ListMailbox<'_>,
    ) -> io::Result<Answer> {
        let Some(pattern) = wanted(reference, wildcard) else { return Ok(not_text()) };
        if wildcard_is_empty(wildcard) {
            // RFC 3501 §6.3.8: an empty name asks for the delimiter.
            return self
                .tell_names(vec![String::new()], |mailbox| listed(vec![FlagNameAttribute::Noselect], mailbox))
                .await;
        }
        let names = account.look(|folders| fitting(folders.names(), &pattern));
        self.tell_names(names, |mailbox| listed(Vec::new(), mailbox)).await
    }

    pub(super) async fn lsub(
        &mut self,
        account: &Account,
        reference: &Mailbox<'_>,
        wildcard: &ListMailbox<'_>,
    ) -> io::Result<Answer> {
        let Some(pattern) = wanted(reference, wildcard) else { return Ok(not_text()) };
        let names = account.look(|folders| fitting(folders.subscriptions(), &pattern));
        let subscribed = |mailbox| Data::Lsub { items: Vec::new(), delimiter: delimiter(), mailbox };
        self.tell_names(names, subscribed).await
    }

    async fn tell_names(
        &mut self,
        names: Vec<String>,
        data: impl Fn(Mailbox<'static>) -> Data<'static>,
    ) -> io::Result<Answer> {
        for name in names {
            if let Ok(mailbox) = Mailbox::try_from(name) {
                self.tell(data(mailbox)).await?;
            }
        }
        Ok(Answer::ok("that is all"))
    }

    pub(super) async fn status(
        &mut self,
        account: &Account,
        mailbox: Mailbox<'static>,
        names: &[StatusDataItemName],
    ) -> io::Result<Answer> {
        let Some(name) = folder_name(&mailbox) else { return Ok(not_text()) };
        let items = account.look(|folders| folders.named(&name).map(|folder| status_items(folder, names)));
        let Some(items) = items else { return Ok(FolderError::Missing.into()) };
        self.tell(Data::Status { mailbox, items: items.into() }).await?;
        Ok(Answer::ok("that is all"))
    }

    pub(super) async fn namespace(&mut self) -> io::Result<Answer> {
        let personal = IString::try_from("").map(|prefix| vec![Namespace::new(prefix, delimiter())]);
        let (other, shared) = (Vec::new(), Vec::new());
        self.tell(Data::Namespace { personal: personal.unwrap_or_default(), other, shared }).await?;
        Ok(Answer::ok("that is all"))
    }
}

pub(super) fn create(account: &Account, mailbox: &Mailbox<'_>) -> Answer {
    with_name(mailbox, |name| account.change(|folders| folders.create(name)))
}

pub(super) fn delete(account: &Account, mailbox: &Mailbox<'_>) -> Answer {
    with_name(mailbox, |name| account.change(|folders| folders.delete(name)))
}

pub(super) fn rename(account: &Account, from: &Mailbox<'_>, to: &Mailbox<'_>) -> Answer {
    let Some(to) = folder_name(to) else { return not_text() };
    with_name(from, |from| account.change(|folders| folders.rename(from, &to)))
}

pub(super) fn subscribe(account: &Account, mailbox: &Mailbox<'_>) -> Answer {
    with_name(mailbox, |name| account.update(|folders| folders.subscribe(name)))
}

pub(super) fn unsubscribe(account: &Account, mailbox: &Mailbox<'_>) -> Answer {
    with_name(mailbox, |name| {
        account.update(|folders| folders.unsubscribe(name));
        Ok(())
    })
}

fn with_name(mailbox: &Mailbox<'_>, act: impl FnOnce(&str) -> Result<(), FolderError>) -> Answer {
    let Some(name) = folder_name(mailbox) else { return not_text() };
    act(&name).map_or_else(Answer::from, |()| Answer::ok("done"))
}

fn not_text() -> Answer {
    FolderError::BadName.into()
}

fn wildcard_is_empty(wildcard: &ListMailbox<'_>) -> bool {
    wildcard_bytes(wildcard).is_empty()
}

fn wildcard_bytes<'w>(wildcard: &'w ListMailbox<'_>) -> &'w [u8] {
    match wildcard {
        ListMailbox::Token(token) => token.as_ref(),
        ListMailbox::String(string) => string.as_ref(),
    }
}

/// Reference and pattern in one (RFC 3501 §6.3.8), INBOX in its one spelling.
fn wanted(reference: &Mailbox<'_>, wildcard: &ListMailbox<'_>) -> Option<String> {
    let reference = match reference {
        Mailbox::Inbox => "INBOX",
        Mailbox::Other(other) => std::str::from_utf8(other.as_ref()).ok()?,
    };
    let pattern = format!("{reference}{}", std::str::from_utf8(wildcard_bytes(wildcard)).ok()?);
    folder_name(&Mailbox::try_from(pattern).ok()?)
}

fn fitting<'n>(names: impl Iterator<Item = &'n str>, wanted: &str) -> Vec<String> {
    names.filter(|name| pattern::matches(wanted, name)).map(str::to_owned).collect()
}

fn listed(items: Vec<FlagNameAttribute<'static>>, mailbox: Mailbox<'static>) -> Data<'static> {
    Data::List { items, delimiter: delimiter(), mailbox }
}

fn delimiter() -> Option<QuotedChar> {
    QuotedChar::try_from(DELIMITER).ok()
}

fn status_items(folder: &Folder, names: &[StatusDataItemName]) -> Vec<StatusDataItem> {
    let count =
        |wanted: &dyn Fn(Flags) -> bool| number(folder.entries().iter().filter(|entry| wanted(entry.flags)).count());
    let item = |name: &StatusDataItemName| match name {
        StatusDataItemName::Messages => Some(StatusDataItem::Messages(number(folder.entries().len()))),
        StatusDataItemName::Recent => Some(StatusDataItem::Recent(recent(folder))),
        StatusDataItemName::UidNext => Some(StatusDataItem::UidNext(folder.next_uid())),
        StatusDataItemName::UidValidity => Some(StatusDataItem::UidValidity(folder.validity())),
        StatusDataItemName::Unseen => Some(StatusDataItem::Unseen(count(&|flags| !flags.contains(Flags::SEEN)))),
        StatusDataItemName::Deleted => Some(StatusDataItem::Deleted(count(&|flags| flags.contains(Flags::DELETED)))),
        // QUOTA is not offered (RFC 9208 §4.1.4).
        StatusDataItemName::DeletedStorage => None,
    };
    names.iter().filter_map(item).collect()
}

fn recent(folder: &Folder) -> u32 {
    number(folder.entries().iter().filter(|entry| entry.uid >= folder.first_recent()).count())
}
