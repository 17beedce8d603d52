//! A sender's messages on their way: for each transaction the servers of its recipients, and what comes of it for each of them.
//!
//! Promises that the sender is told of success only by what a server has said to the whole message; that a message whose end was sent, and
//! whose answer may not have come back to the sender, is not sent again when the very same comes again, but answered with what the server
//! has said (RFC 1047: the sender of a duplicate is innocent); that a connection is used again for the same domain alone, and under the
//! same verdict.

use std::{
    future::poll_fn,
    net::IpAddr,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::time::timeout;

use super::{
    ending::Ending,
    fan_out::FanOut,
    lane::Lane,
    means::Means,
    reach::{Errand, Reached, reach},
    receipt::Receipt,
    record,
    store::{BodyDigest, Envelope, Reply},
};
use crate::{
    policy::strategy::LastError,
    proto::smtp::{Answer, Mail, Mailbox, Obstacle, Place},
};

/// How long connections wait for the sender's next message.
pub(super) const KEPT: Duration = Duration::from_secs(5);

/// The messages of one session.
pub(super) struct Carriage {
    means: Arc<Means>,
    /// The number of the session.
    session: u64,
    listener: String,
    client: IpAddr,
    manner: Manner,
    fan_out: FanOut,
    /// The servers of this transaction.
    lanes: Vec<Lane>,
    /// Domains that could not be reached in this transaction: they are not tried for each of their recipients.
    unreached: Vec<(String, Ending)>,
    /// The recipients that were accepted, in their order, each with the place of its lane. Without, it has the message, if it is
    /// the one that is expected.
    recipients: Vec<(Mailbox, Option<usize>)>,
    /// Its one recipient was refused, if the message is the one that is expected: that is told without any other.
    tells_refusal: bool,
    /// What the message was so far, as it came.
    body: Context,
    size: u64,
    began: Instant,
    /// Servers that wait for another message.
    kept: Vec<Lane>,
    /// What the sender was told last, and may not have heard.
    told: Option<Receipt>,
}

/// What becomes of a message with several recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Each has a reply of its own (LMTP).
    OneByOne,
    /// One reply for all, who are in one domain (SMTP).
    OneDomain,
    /// One reply for all, wherever they are.
    FanOut,
}

/// Does something for all lanes at once.
async fn all<'l, F: Future<Output = ()>>(lanes: &'l mut [Lane], work: impl FnMut(&'l mut Lane) -> F) {
    let mut under_way: Vec<_> = lanes.iter_mut().map(work).map(Box::pin).collect();
    poll_fn(|cx| {
        under_way.retain_mut(|work| work.as_mut().poll(cx).is_pending());
        if under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether a failure says that another recipient of the domain would fare no better.
fn is_of_the_domain(error: LastError) -> bool {
    matches!(error, LastError::Connection | LastError::Timeout | LastError::Dns | LastError::Concurrency)
}

/// The sender of a transaction, as far as it matters here.
fn address(mail: &Mail) -> &str {
    mail.sender.as_ref().map(Mailbox::address).unwrap_or_default()
}

impl Carriage {
    /// For a session that has sent nothing yet.
    pub(super) fn new(means: Arc<Means>, session: u64, listener: &str, client: IpAddr, manner: Manner) -> Self {
        let fan_out = FanOut::new(means.store.clone(), client);
        Self {
            means,
            session,
            listener: listener.to_owned(),
            client,
            manner,
            fan_out,
            lanes: Vec::new(),
            unreached: Vec::new(),
            recipients: Vec::new(),
            tells_refusal: false,
            body: Context::new(&SHA256),
            size: 0,
            began: Instant::now(),
            kept: Vec::new(),
            told: None,
        }
    }

    /// What is said to a recipient: what a server of its domain says, or why there is none.
    pub(super) async fn recipient(&mut self, mail: &Mail, mailbox: &Mailbox) -> Answer {
        let domain = match mailbox.place() {
            Place::Domain(name) => name.clone(),
            Place::Host(IpAddr::V4(ip)) => format!("[{ip}]"),
            Place::Host(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
            Place::Here => return Obstacle::BadRecipient.answer(""),
        };
        if self.tells_refusal {
            return Obstacle::TooManyRecipients.answer("");
        }
        if self.manner != Manner::OneByOne
            && let Some(ending) = self.fan_out.recall(mail, mailbox)
        {
            return self.remembered(mailbox, &ending);
        }
        let (means, listener) = (self.means.clone(), self.listener.clone());
        let errand = Errand {
            session: self.session,
            listener: &listener,
            sender: address(mail),
            sender_domain: mail.sender.as_ref().and_then(Mailbox::domain).unwrap_or_default(),
            recipient: mailbox.address(),
            domain: &domain,
            require_tls: mail.require_tls,
        };
        let limit = means.queue.timeouts.total;
        let ending = match timeout(limit, self.ask(&means, &errand, mail, mailbox)).await {
            Ok(Ok(ending) | Err(ending)) => ending,
            Err(_) => self.out_of_time(&means, &domain, limit),
        };
        self.note(errand.sender, mailbox.address(), &ending);
        ending.answer
    }

    /// What is said to a recipient whose server has answered already, if the message is the one that is expected.
    fn remembered(&mut self, mailbox: &Mailbox, ending: &Ending) -> Answer {
        if ending.answer.is_positive() {
            self.recipients.push((mailbox.clone(), None));
            return ending.answer.clone();
        }
        if !self.recipients.is_empty() {
            return Obstacle::TooManyRecipients.answer("");
        }
        self.recipients.push((mailbox.clone(), None));
        self.tells_refusal = true;
        Answer::told(250, "2.1.5 OK")
    }

    /// The sender waits no longer. Whoever has not answered is not asked any more.
    fn out_of_time(&mut self, means: &Means, domain: &str, limit: Duration) -> Ending {
        let answer = Obstacle::Unreachable.answer(&format!("{domain}: no answer within {} s", limit.as_secs_f32()));
        let ending = Ending { answer, last_error: LastError::Timeout };
        self.lanes.iter_mut().filter(|lane| lane.is_waiting()).for_each(|lane| drop(lane.end(ending.clone())));
        means.store.domain_failed(domain, LastError::Timeout, SystemTime::now());
        ending
    }

    async fn ask(
        &mut self,
        means: &Means,
        errand: &Errand<'_>,
        mail: &Mail,
        mailbox: &Mailbox,
    ) -> Result<Ending, Ending> {
        let mut place = match self.lane_for(means, errand) {
            Some(place) => place,
            None => self.open(means, errand).await?,
        };
        let mut ending = self.lanes[place].recipient(mail, mailbox).await;
        let lane = &self.lanes[place];
        if lane.ending().is_some() && lane.is_used() && lane.accepted() == 0 {
            // It was left while it waited: that says nothing of this message.
            let reached = self.reach(means, errand).await?;
            self.lanes[place] = Lane::new(errand.domain.to_owned(), reached);
            ending = self.lanes[place].recipient(mail, mailbox).await;
        } else if lane.is_full && !ending.answer.is_positive() && self.manner != Manner::OneDomain {
            place = self.open(means, errand).await?;
            ending = self.lanes[place].recipient(mail, mailbox).await;
        }
        if ending.answer.is_positive() {
            self.recipients.push((mailbox.clone(), Some(place)));
        }
        Ok(ending)
    }

    /// The lane of this transaction that goes the same way.
    fn lane_for(&self, means: &Means, errand: &Errand<'_>) -> Option<usize> {
        let suits = |lane: &Lane| lane.domain == errand.domain && lane.is_open() && lane.reached.suits(means, errand);
        self.lanes.iter().position(suits)
    }

    /// A further lane.
    async fn open(&mut self, means: &Means, errand: &Errand<'_>) -> Result<usize, Ending> {
        if self.manner == Manner::OneDomain {
            if self.recipients.iter().any(|(_, place)| place.is_some()) {
                return Err(self.no_further(errand.domain));
            }
            // Servers that have accepted nobody are none of the transaction's.
            self.part();
        }
        let lane = match self.take_kept(means, errand) {
            Some(lane) => lane,
            None => Lane::new(errand.domain.to_owned(), self.reach(means, errand).await?),
        };
        self.lanes.push(lane);
        Ok(self.lanes.len() - 1)
    }

    /// Finds a server for a recipient whose domain has not proven out of reach in this transaction.
    async fn reach(&mut self, means: &Means, errand: &Errand<'_>) -> Result<Reached, Ending> {
        if let Some((_, ending)) = self.unreached.iter().find(|(domain, _)| domain == errand.domain) {
            return Err(ending.clone());
        }
        let reached = reach(means, errand).await;
        match &reached {
            // What has to do with TLS is for the strategy of each recipient to say.
            Err(ending) if is_of_the_domain(ending.last_error) => {
                self.unreached.push((errand.domain.to_owned(), ending.clone()));
            }
            _ => {}
        }
        reached
    }

    /// Why a transaction for one domain has no further lane.
    fn no_further(&self, domain: &str) -> Ending {
        let own = self.lanes.iter().find(|lane| lane.domain == domain);
        match own.and_then(Lane::ending) {
            Some(ending) => ending.clone(),
            None => {
                let is_full = own.is_some_and(|lane| lane.is_full);
                let obstacle = if is_full { Obstacle::TooManyRecipients } else { Obstacle::OtherDomain };
                Ending { answer: obstacle.answer(""), last_error: LastError::None }
            }
        }
    }

    fn take_kept(&mut self, means: &Means, errand: &Errand<'_>) -> Option<Lane> {
        let suits =
            |lane: &mut Lane| lane.domain == errand.domain && lane.may_be_kept() && lane.reached.suits(means, errand);
        let place = self.kept.iter_mut().position(suits)?;
        Some(self.kept.swap_remove(place))
    }

    /// The message is about to come: whether any server takes it; otherwise what the sender is told.
    ///
    /// # Errors
    /// The refusal.
    pub(super) async fn data(&mut self, mail: &Mail) -> Result<(), Answer> {
        (self.body, self.size, self.began) = (Context::new(&SHA256), 0, Instant::now());
        all(&mut self.lanes, Lane::data).await;
        let ending = |(_, place): &(Mailbox, Option<usize>)| self.lanes[(*place)?].ending().cloned();
        let Some(endings) = self.recipients.iter().map(ending).collect::<Option<Vec<_>>>() else { return Ok(()) };
        let Some(first) = endings.first().filter(|first| endings.iter().all(|other| other.answer == first.answer))
        else {
            // Each recipient has an answer of its own, for which the message has to come.
            return Ok(());
        };
        self.conclude(mail, &endings);
        Err(first.answer.clone())
    }

    /// A stretch of the message, as it came and as it goes on.
    pub(super) async fn carry(&mut self, came: &[u8], octets: &[u8]) {
        self.body.update(came);
        self.size += octets.len() as u64;
        if let [lane] = &mut self.lanes[..] {
            return lane.carry(octets).await;
        }
        all(&mut self.lanes, |lane| lane.carry(octets)).await;
    }

    /// The transaction has come to nothing, or the message is refused: no server has it.
    pub(super) fn abandon(&mut self) {
        self.unreached.clear();
        self.put_by();
    }

    /// The message has come whole. The answers to it, one for each recipient, or one for all.
    pub(super) async fn end(&mut self, mail: &Mail) -> Vec<Answer> {
        let digest = std::mem::replace(&mut self.body, Context::new(&SHA256)).finish();
        let mut body = BodyDigest::default();
        body.copy_from_slice(digest.as_ref());
        let remembered = self.recall(address(mail), &body);
        all(&mut self.lanes, Lane::finish).await;
        let endings = self.endings(mail, &body, &remembered);
        let without_lane = self.recipients.iter().filter(|(_, place)| place.is_none());
        without_lane.for_each(|(mailbox, _)| self.fan_out.forget(mail, mailbox));
        let answers = match self.manner {
            Manner::OneByOne => endings.iter().map(|ending| ending.answer.clone()).collect(),
            Manner::OneDomain | Manner::FanOut => {
                let all = self.recipients.iter().map(|(mailbox, _)| mailbox);
                vec![self.fan_out.reply(mail, &all.zip(&endings).collect::<Vec<_>>(), &body).await]
            }
        };
        if answers.iter().any(Answer::is_positive) {
            let mailboxes = self.recipients.iter().map(|(mailbox, _)| mailbox);
            self.told = Receipt::new(self.client, address(mail), mailboxes.zip(&endings), body);
        }
        self.conclude(mail, &endings);
        answers
    }

    /// Notes how the transaction has ended for each recipient.
    fn conclude(&mut self, mail: &Mail, endings: &[Ending]) {
        self.tell(endings);
        for ((mailbox, _), ending) in self.recipients.iter().zip(endings) {
            match ending.answer.is_positive() {
                true => self.means.store.pair_succeeded(address(mail), mailbox.address(), SystemTime::now()),
                false => self.note(address(mail), mailbox.address(), ending),
            }
        }
        self.unreached.clear();
        self.put_by();
    }

    /// What servers have said to this very message before; those lanes on which some have, and some have not, send it to nobody: whoever
    /// still needs it comes again without the others.
    fn recall(&mut self, sender: &str, body: &BodyDigest) -> Vec<Option<Reply>> {
        let now = SystemTime::now();
        let recall = |(mailbox, place): &(Mailbox, Option<usize>)| {
            (*place)?;
            let envelope = Envelope { client: self.client, sender, recipient: mailbox.address() };
            self.means.store.recall(&envelope, body, now)
        };
        let remembered: Vec<_> = self.recipients.iter().map(recall).collect();
        for ((_, place), reply) in self.recipients.iter().zip(&remembered) {
            if let (Some(place), Some(_)) = (place, reply) {
                let ending = Ending { answer: Obstacle::Divided.answer(""), last_error: LastError::None };
                self.lanes[*place].end(ending);
            }
        }
        remembered
    }

    fn endings(&self, mail: &Mail, body: &BodyDigest, remembered: &[Option<Reply>]) -> Vec<Ending> {
        let ending = |((mailbox, place), reply): (&(Mailbox, Option<usize>), &Option<Reply>)| match (place, reply) {
            (None, _) => self.fan_out.recall_exactly(mail, mailbox, body),
            (_, Some(reply)) => Ending::remembered(reply),
            (Some(place), None) => self.lanes[*place]
                .ending()
                .cloned()
                .unwrap_or_else(|| Ending { answer: Obstacle::Broken.answer(""), last_error: LastError::Io }),
        };
        self.recipients.iter().zip(remembered).map(ending).collect()
    }

    /// Remembers what came of an attempt, unless it was a success: of one alone the end of the message tells.
    fn note(&self, sender: &str, recipient: &str, ending: &Ending) {
        let now = SystemTime::now();
        match ending.last_error {
            _ if ending.answer.is_permanent() => self.means.store.pair_succeeded(sender, recipient, now),
            LastError::None => {}
            error => self.means.store.pair_failed(sender, recipient, error, now),
        }
    }

    /// One line in the log for each server.
    fn tell(&self, endings: &[Ending]) {
        let now = SystemTime::now();
        for (at, lane) in self.lanes.iter().enumerate() {
            let mut own = self.recipients.iter().zip(endings).filter(|((_, place), _)| *place == Some(at)).peekable();
            let Some((_, ending)) = own.peek() else { continue };
            // Of one that is told from memory nothing is learnt of the server.
            let is_taken = lane.ending().is_some_and(|ending| ending.answer.is_positive());
            if is_taken {
                self.means.store.domain_succeeded(&lane.domain, lane.reached.assurance, now);
                self.means.store.host_succeeded(&lane.reached.mx, lane.reached.assurance, now);
            }
            let outcome = match (is_taken, ending.answer.is_positive()) {
                (true, _) => "delivered",
                (false, true) => "delivered-before",
                (false, false) => "not-delivered",
            };
            record::carried(self.session, lane, self.size, self.began, outcome, ending);
        }
    }

    /// The sender has heard what it was told last.
    pub(super) fn confirm(&mut self) {
        if let Some(receipt) = self.told.take() {
            receipt.heard(&self.means.store);
        }
    }

    /// Whether it is not known yet if the sender has heard what it was told.
    pub(super) const fn awaits_receipt(&self) -> bool {
        self.told.is_some()
    }

    /// It may not have.
    pub(super) async fn doubt(&mut self) {
        if let Some(receipt) = self.told.take() {
            receipt.doubted(&self.means.store, self.session).await;
        }
    }

    /// Whether servers wait for another message.
    pub(super) fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Lets servers go that wait for another message. Nobody waits for their leave.
    pub(super) fn let_go(&mut self) {
        self.kept.drain(..).for_each(|lane| drop(tokio::spawn(lane.reached.conversation.leave())));
    }

    /// Ends the transaction. Servers that can take another message are kept for it, all others are dropped.
    fn put_by(&mut self) {
        self.recipients.clear();
        self.tells_refusal = false;
        self.part();
    }

    fn part(&mut self) {
        for mut lane in self.lanes.drain(..) {
            lane.renew();
            if lane.may_be_kept() {
                self.kept.push(lane);
            }
        }
    }
}
