//! A mail transaction: who the message is for, and what has come of it so far.

use std::sync::Arc;

use super::command::Reply;
use crate::embedded::{
    account::Account,
    message::{Draft, Message},
    store::{Refusal, Store},
};

/// RFC 5321 §4.5.3.1.8 asks for 100 recipients at least.
const RECIPIENTS: usize = 100;

/// A mail transaction between MAIL and its end.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    recipients: Vec<Recipient>,
    chunks: Option<Incoming>,
}

#[derive(Debug)]
struct Recipient {
    name: String,
    account: Arc<Account>,
}

impl Envelope {
    /// Adds a recipient.
    pub(super) fn add(&mut self, store: &Store, name: String) -> Result<(), Reply> {
        if self.recipients.len() >= RECIPIENTS {
            return Err("452 4.5.3 too many recipients");
        }
        let account = store.account(&name).map_err(reply)?;
        if !account.has_room() {
            return Err(reply(Refusal::MailboxFull));
        }
        self.recipients.push(Recipient { name, account });
        Ok(())
    }

    /// Whether nobody was accepted.
    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }

    /// Whether a message has begun to arrive in chunks.
    pub(super) fn has_chunks(&self) -> bool {
        self.chunks.is_some()
    }

    /// The chunks so far.
    pub(super) fn chunks(&mut self, store: &Store) -> &mut Incoming {
        self.chunks.get_or_insert_with(|| Incoming::new(store))
    }

    /// Delivers what arrived in chunks.
    pub(super) fn deliver_chunks(mut self, store: &Store) -> Outcomes {
        let incoming = self.chunks.take().unwrap_or_else(|| Incoming::new(store));
        self.deliver(incoming)
    }

    /// Delivers `incoming` to every recipient and says what became of each.
    pub(super) fn deliver(self, incoming: Incoming) -> Outcomes {
        let message = incoming.keep();
        let deliver = |recipient: Recipient| {
            let kept = message.clone().and_then(|message| recipient.account.deliver(message));
            (recipient.name, kept.map_err(reply))
        };
        self.recipients.into_iter().map(deliver).collect()
    }
}

/// Each recipient's account, and whether the message is in it.
pub(super) type Outcomes = Vec<(String, Result<(), Reply>)>;

/// A message on its way in. What cannot be kept is read to its end all the same.
#[derive(Debug)]
pub(super) struct Incoming {
    draft: Draft,
    refusal: Option<Refusal>,
}

impl Incoming {
    pub(super) fn new(store: &Store) -> Self {
        Self { draft: store.draft(0), refusal: None }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.refusal.is_none() {
            self.refusal = self.draft.push(bytes).err();
        }
    }

    /// The reply to what can no longer be kept.
    pub(super) fn refusal(&self) -> Option<Reply> {
        self.refusal.map(reply)
    }

    fn keep(self) -> Result<Arc<Message>, Refusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None => {
                let length = self.draft.bytes().len();
                self.draft.keep(0..length)
            }
        }
    }
}

/// The words for what was not kept.
pub(super) fn reply(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::MessageTooLarge => "552 5.3.4 message too large",
        Refusal::StoreFull => "452 4.3.1 the mail store is full",
        Refusal::MailboxFull => "452 4.2.2 the mailbox is full",
        Refusal::HasNul => "554 5.6.0 the message holds NUL, which IMAP cannot carry",
    }
}
