//! What a sender was told last, and may not have heard (RFC 1047: the sender of a duplicate is innocent).

use std::{net::IpAddr, time::SystemTime};

use super::{
    ending::Ending,
    store::{BodyDigest, Envelope, Reply, Store},
};
use crate::proto::smtp::Mailbox;

/// The good answers to a message.
#[derive(Debug)]
pub(super) struct Receipt {
    client: IpAddr,
    sender: String,
    /// For each recipient that has the message.
    answers: Vec<(String, Reply)>,
    body: BodyDigest,
}

impl Receipt {
    /// For a message; `None` where no recipient has it.
    pub(super) fn new<'e>(
        client: IpAddr,
        sender: &str,
        endings: impl Iterator<Item = (&'e Mailbox, &'e Ending)>,
        body: BodyDigest,
    ) -> Option<Self> {
        let successes = endings.filter(|(_, ending)| ending.answer.is_positive());
        let answers: Vec<_> =
            successes.map(|(mailbox, ending)| (mailbox.address().to_owned(), ending.reply())).collect();
        (!answers.is_empty()).then(|| Self { client, sender: sender.to_owned(), answers, body })
    }

    /// The sender has heard it: what it sends from now on is another message, be it the same.
    pub(super) fn heard(self, store: &Store) {
        let now = SystemTime::now();
        for (recipient, _) in &self.answers {
            store.forget(&self.envelope(recipient), &self.body, now);
        }
    }

    /// It may not have: when the very same message comes again, it is told once more. `session` is the number of the sender's.
    pub(super) async fn doubted(self, store: &Store, session: u64) {
        let answers: Vec<_> =
            self.answers.iter().map(|(recipient, reply)| (self.envelope(recipient), reply.clone())).collect();
        let kept = store.remember(&answers, &self.body, SystemTime::now()).await;
        tracing::info!(
            session,
            recipients = answers.len(),
            kept = ?kept,
            "the sender may not have heard that its message was delivered"
        );
    }

    fn envelope<'a>(&'a self, recipient: &'a str) -> Envelope<'a> {
        Envelope { client: self.client, sender: &self.sender, recipient }
    }
}
