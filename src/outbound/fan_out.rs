//! One message for several servers where the protocol has one reply for all of them (SMTP): what is said when they are not of one mind.
//!
//! Promises that nobody gets the message twice, and that nobody is refused for another's sake, nor for another message's: where servers
//! differ, the sender is told to come again, and then each recipient is told what its own server has said. Whoever has the message is
//! accepted and left out; whoever was refused is told so behind the message, in a transaction of its own (452 has the sender part
//! them), since at RCPT it is not known yet which message comes: it is only told by its sender, its recipient and the size that MAIL
//! names. If the message turns out to be another one, its sender is told to come again; nothing is remembered of it then.

use std::{net::IpAddr, time::SystemTime};

use super::{
    ending::Ending,
    store::{BodyDigest, Envelope, Store},
};
use crate::{
    policy::strategy::LastError,
    proto::smtp::{Answer, Mail, Mailbox, Obstacle},
};

/// What is remembered of messages about which servers were not of one mind.
#[derive(Clone, Debug)]
pub(super) struct FanOut {
    store: Store,
    client: IpAddr,
}

impl FanOut {
    pub(super) const fn new(store: Store, client: IpAddr) -> Self {
        Self { store, client }
    }

    /// What the server of a recipient has said to the message that this may be.
    pub(super) fn recall(&self, mail: &Mail, recipient: &Mailbox) -> Option<Ending> {
        let sender = key(mail);
        let envelope = self.envelope(&sender, recipient);
        self.store.recall_all(&envelope, SystemTime::now()).pop().as_ref().map(Ending::remembered)
    }

    /// What it has said to the message that this is; where that is another one, it was not asked.
    pub(super) fn recall_exactly(&self, mail: &Mail, recipient: &Mailbox, body: &BodyDigest) -> Ending {
        let sender = key(mail);
        let envelope = self.envelope(&sender, recipient);
        let found = self.store.recall(&envelope, body, SystemTime::now());
        found.as_ref().map_or_else(not_asked, Ending::remembered)
    }

    /// Forgets what it has said: it was told.
    pub(super) fn forget(&self, mail: &Mail, recipient: &Mailbox) {
        self.store.forget_all(&self.envelope(&key(mail), recipient), SystemTime::now());
    }

    /// The one reply for all.
    pub(super) async fn reply(&self, mail: &Mail, endings: &[(&Mailbox, &Ending)], body: &BodyDigest) -> Answer {
        let Some((_, first)) = endings.first() else { return Obstacle::Broken.answer("") };
        let class = |ending: &Ending| ending.answer.code() / 100;
        if endings.iter().all(|(_, ending)| class(ending) == class(first)) {
            return first.answer.clone();
        }
        let sender = key(mail);
        let finals = endings.iter().filter(|(_, ending)| !ending.answer.is_temporary());
        let answers: Vec<_> =
            finals.map(|(mailbox, ending)| (self.envelope(&sender, mailbox), ending.reply())).collect();
        self.store.remember(&answers, body, SystemTime::now()).await;
        Obstacle::Divided.answer("")
    }

    fn envelope<'a>(&self, sender: &'a str, recipient: &'a Mailbox) -> Envelope<'a> {
        Envelope { client: self.client, sender, recipient: recipient.address() }
    }
}

/// What stands for the sender: no address has a blank without quotation marks.
fn key(mail: &Mail) -> String {
    let sender = mail.sender.as_ref().map(Mailbox::address).unwrap_or_default();
    format!("{sender} SIZE={}", mail.size.unwrap_or_default())
}

fn not_asked() -> Ending {
    Ending { answer: Obstacle::Divided.answer("another message was expected"), last_error: LastError::None }
}
