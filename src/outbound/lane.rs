//! One server's part in a transaction: what it says of its recipients, and of the message.
//!
//! Promises that each recipient which the server has accepted has exactly one ending, and that the end of the message is sent once, or
//! not at all: a lane that is dropped before has sent no message.

use std::time::{Duration, Instant};

use super::{conversation::Broken, ending::Ending, reach::Reached};
use crate::proto::smtp::{
    Mail, Mailbox, Obstacle,
    remote::{Asked, Event},
};

/// How many messages go over one connection.
const MOST_MESSAGES: u32 = 100;

/// How long a connection is kept in all.
const LONGEST: Duration = Duration::from_secs(300);

/// One server in a transaction.
#[derive(Debug)]
pub(super) struct Lane {
    /// Where it takes mail to: a domain, or an address in brackets.
    pub(super) domain: String,
    pub(super) reached: Reached,
    /// Since when it is there.
    since: Instant,
    /// How many messages it has taken, or refused.
    messages: u32,
    begun: bool,
    accepted: usize,
    /// Whether it takes no more recipients of this message.
    pub(super) is_full: bool,
    state: State,
}

/// How far it is with the message.
#[derive(Debug)]
enum State {
    Envelope,
    Message,
    Over(Ending),
}

impl Lane {
    /// A server that has taken nothing yet.
    pub(super) fn new(domain: String, reached: Reached) -> Self {
        let (since, state) = (Instant::now(), State::Envelope);
        Self { domain, reached, since, messages: 0, begun: false, accepted: 0, is_full: false, state }
    }

    /// Whether it was there before this transaction.
    pub(super) const fn is_used(&self) -> bool {
        self.messages > 0
    }

    /// Whether it takes further recipients, as far as is known.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Envelope) && !self.is_full
    }

    /// Whether it owes an answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.reached.conversation.remote.awaits().is_some()
    }

    /// How many recipients it has accepted.
    pub(super) const fn accepted(&self) -> usize {
        self.accepted
    }

    /// Whether another message can go over it.
    pub(super) fn may_be_kept(&mut self) -> bool {
        let most = self.reached.conversation.remote.offered().most_transactions.unwrap_or(MOST_MESSAGES);
        self.messages < most.min(MOST_MESSAGES)
            && self.since.elapsed() < LONGEST
            && self.reached.conversation.remote.is_reusable()
            && self.reached.conversation.is_quiet()
    }

    /// Makes it as one that has no message: it is for the next one.
    pub(super) fn renew(&mut self) {
        self.messages += 1;
        (self.begun, self.accepted, self.is_full, self.state) = (false, 0, false, State::Envelope);
    }

    /// Asks the server for a recipient of the message that `mail` begins. It is over with a server that breaks off.
    pub(super) async fn recipient(&mut self, mail: &Mail, mailbox: &Mailbox) -> Ending {
        let mx = self.reached.mx.clone();
        if !self.begun {
            if let Err(obstacle) = self.reached.conversation.remote.begin(mail) {
                return Ending::kept_from(obstacle, &mx);
            }
            self.begun = true;
        }
        self.reached.conversation.say(|remote, output| remote.recipient(mailbox, output));
        match self.reached.conversation.next().await {
            Ok(Event::Recipient(answer)) => {
                self.accepted += usize::from(answer.is_positive());
                let most =
                    self.reached.conversation.remote.offered().most_recipients.map_or(usize::MAX, |most| most as usize);
                // RFC 5321 §4.5.3.1.10
                let is_refused = answer.code() == 452 && answer.status() == "4.5.3";
                self.is_full = self.accepted > 0 && (is_refused || self.accepted >= most);
                if answer.code() == 421 {
                    self.state = State::Over(Ending::said(&answer, &mx));
                }
                Ending::said(&answer, &mx)
            }
            Ok(Event::Parting(answer) | Event::Refused { answer, .. }) => self.end(Ending::said(&answer, &mx)),
            Ok(_) => self.end(Ending::broken(Obstacle::Broken, &mx, &Broken::Closed(Some(Asked::Recipient)))),
            Err(broken) => self.end(Ending::broken(Obstacle::Broken, &mx, &broken)),
        }
    }

    /// Notes how it ends.
    pub(super) fn end(&mut self, ending: Ending) -> Ending {
        self.state = State::Over(ending.clone());
        ending
    }

    /// Whether the message goes to it.
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Message)
    }

    /// How it has ended, if it has.
    pub(super) const fn ending(&self) -> Option<&Ending> {
        if let State::Over(ending) = &self.state { Some(ending) } else { None }
    }

    /// Asks the server to take the message, and waits for what it says to that.
    pub(super) async fn data(&mut self) {
        if self.accepted == 0 || !matches!(self.state, State::Envelope) {
            return;
        }
        self.reached.conversation.say(|remote, output| remote.data(output));
        match self.reached.conversation.next().await {
            Ok(Event::GoAhead) => self.state = State::Message,
            Ok(event) => self.interrupted(event),
            Err(broken) => self.break_off(Obstacle::Broken, &broken),
        }
    }

    /// Sends octets of the message.
    pub(super) async fn carry(&mut self, octets: &[u8]) {
        if self.is_under_way() {
            match self.reached.conversation.carry(octets).await {
                Ok(None) => {}
                Ok(Some(event)) => self.interrupted(event),
                Err(broken) => self.break_off(Obstacle::Broken, &broken),
            }
        }
    }

    /// Sends the end of the message, and waits for what the server says to it.
    pub(super) async fn finish(&mut self) {
        if !self.is_under_way() {
            return;
        }
        match self.reached.conversation.finish().await {
            Ok(None) => {}
            Ok(Some(event)) => return self.interrupted(event),
            Err(broken) => return self.break_off(Obstacle::Broken, &broken),
        }
        match self.reached.conversation.next().await {
            Ok(Event::Verdict(answer)) => {
                let ending = Ending::said(&answer, &self.reached.mx);
                self.state = State::Over(ending);
            }
            Ok(_) => self.break_off(Obstacle::OutcomeUnknown, &Broken::Closed(Some(Asked::Message))),
            Err(broken) => self.break_off(Obstacle::OutcomeUnknown, &broken),
        }
    }

    /// The server has said something in place of going on.
    fn interrupted(&mut self, event: Event) {
        let ending = match event {
            Event::Refused { answer, .. } | Event::Parting(answer) | Event::Verdict(answer)
                if !answer.is_positive() =>
            {
                Ending::said(&answer, &self.reached.mx)
            }
            _ => Ending::broken(Obstacle::Broken, &self.reached.mx, &Broken::Closed(None)),
        };
        self.state = State::Over(ending);
    }

    fn break_off(&mut self, obstacle: Obstacle, broken: &Broken) {
        let ending = Ending::broken(obstacle, &self.reached.mx, broken);
        self.state = State::Over(ending);
    }
}
