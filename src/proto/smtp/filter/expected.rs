//! The replies that are still to come, in the order of the commands.
//!
//! Promises that every reply of the backend is known by its command, and that a reply of our own waits for those
//! before it. RFC 5321 §2.1: a server answers every command once; LMTP answers a message once for each recipient
//! it accepted (RFC 2033 §4.2), which is only known when the replies to RCPT have come.

use std::collections::VecDeque;

/// How many replies may be outstanding before the client's next command waits.
const MOST: usize = 100;

/// What is to be done at a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing: pass it on.
    Pass,
    /// To the EHLO or HELO that we sent for a plaintext client: it has its reply already.
    Opening,
    /// To EHLO or LHLO: filter it.
    Offer,
    /// To HELO.
    Hello,
    /// To MAIL.
    Mail,
    /// To RCPT.
    Recipient,
    /// To RSET.
    Reset,
    /// To DATA: the message follows or not.
    Data,
    /// To the end of a message: the final dot, or BDAT LAST.
    Verdict,
    /// To any other BDAT.
    Chunk,
    /// To AUTH, or a line of its exchange.
    Login,
    /// To QUIT.
    Quit,
    /// Our own reply, in its turn.
    Local(&'static str),
}

impl Reaction {
    /// Whether a reply with this code can be the one to its command. A reply that was taken for another's could
    /// grant a login that nobody had, or make a message of commands.
    pub(super) const fn permits(self, code: u16) -> bool {
        match (self, code / 100) {
            // RFC 5321 §4.1.1.4: 354, or a refusal.
            (Self::Data, 2 | 3) => code == 354,
            // RFC 4954 §4: 334 goes on, 235 has succeeded.
            (Self::Login, 2 | 3) => matches!(code, 235 | 334),
            // RFC 5321 §4.2.1: 3yz waits for more, which no other command has.
            (_, class) => class != 3,
        }
    }
}

/// The queue, and what it takes to know how long a reply to a message is.
#[derive(Debug, Default)]
pub(super) struct Expected {
    queue: VecDeque<Reaction>,
    /// The recipients accepted for the message that is next to be answered.
    accepted: usize,
    /// How many of its replies have come.
    answered: usize,
    /// How many octets of it went by BDAT.
    octets: u64,
    /// Whether it goes by BDAT and has not come to its end.
    chunked: bool,
}

impl Expected {
    /// Whether every command has its reply.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether another command would be one too many.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= MOST
    }

    /// Whether the fate of a message is among what is to come.
    pub(super) fn holds_verdict(&self) -> bool {
        self.queue.contains(&Reaction::Verdict)
    }

    /// Whether the message that is to follow has recipients; `None` while a reply is to come that decides it.
    pub(super) fn has_recipients(&self) -> Option<bool> {
        let undecided = self.queue.iter().any(|reaction| {
            use Reaction::{Chunk, Hello, Mail, Offer, Recipient, Reset, Verdict};
            matches!(reaction, Hello | Mail | Offer | Recipient | Reset | Chunk | Verdict)
        });
        (!undecided).then_some(self.accepted > 0)
    }

    /// Notes a reply as the last to come.
    pub(super) fn push(&mut self, reaction: Reaction) {
        self.queue.push_back(reaction);
    }

    /// The reply that comes next.
    pub(super) fn next(&self) -> Option<Reaction> {
        self.queue.front().copied()
    }

    /// Takes note that it has come, whole: to a message, one of them.
    pub(super) fn answered(&mut self, lmtp: bool) {
        if self.next() == Some(Reaction::Verdict) {
            self.answered += 1;
            if self.answered < self.verdicts(lmtp) {
                return;
            }
            self.forget_recipients();
        }
        self.queue.pop_front();
    }

    /// Takes a reply of our own whose turn has come.
    pub(super) fn pop_local(&mut self) -> Option<&'static str> {
        let Some(Reaction::Local(reply)) = self.next() else { return None };
        self.queue.pop_front();
        Some(reply)
    }

    /// Counts an accepted recipient.
    pub(super) fn accept_recipient(&mut self) {
        self.accepted = self.accepted.saturating_add(1);
    }

    /// Begins a message without recipients.
    pub(super) fn forget_recipients(&mut self) {
        (self.accepted, self.answered, self.octets) = (0, 0, 0);
    }

    /// Notes a BDAT of so many octets that goes on.
    pub(super) fn chunk(&mut self, octets: u64, last: bool) {
        self.octets = self.octets.saturating_add(octets);
        self.chunked = !last;
        self.push(if last { Reaction::Verdict } else { Reaction::Chunk });
    }

    /// A BDAT of the message was refused here: without its octets the rest is none.
    pub(super) fn spoil(&mut self) {
        self.forget_recipients();
        self.chunked = true;
    }

    /// Notes that a RSET goes on.
    pub(super) fn reset(&mut self) {
        self.chunked = false;
        self.push(Reaction::Reset);
    }

    /// Whether a message has begun by BDAT, and neither ended nor been given up. RFC 3030 §2 has nothing between its chunks; Exim refuses
    /// all but RSET behind anything else, and then takes the octets of a further BDAT for commands.
    pub(super) const fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// The octets of the message that went by BDAT so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// RFC 2033 §4.2: where no recipient was accepted there is still one reply.
    fn verdicts(&self, lmtp: bool) -> usize {
        if lmtp { self.accepted.max(1) } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fitting_reply_is_taken() {
        assert!(Reaction::Data.permits(354) && Reaction::Data.permits(554));
        assert!(!Reaction::Data.permits(250) && !Reaction::Data.permits(334));
        assert!(Reaction::Login.permits(235) && Reaction::Login.permits(334) && Reaction::Login.permits(535));
        assert!(!Reaction::Login.permits(250) && !Reaction::Login.permits(354));
        assert!(Reaction::Pass.permits(250) && Reaction::Verdict.permits(452));
        assert!(!Reaction::Pass.permits(334) && !Reaction::Verdict.permits(353));
    }

    #[test]
    fn an_lmtp_message_is_answered_once_for_each_recipient() {
        let mut expected = Expected::default();
        expected.accept_recipient();
        expected.accept_recipient();
        expected.push(Reaction::Verdict);
        expected.push(Reaction::Pass);
        expected.answered(true);
        assert_eq!(expected.next(), Some(Reaction::Verdict));
        expected.answered(true);
        assert_eq!(expected.next(), Some(Reaction::Pass));
    }

    #[test]
    fn an_smtp_message_is_answered_once() {
        let mut expected = Expected::default();
        expected.accept_recipient();
        expected.accept_recipient();
        expected.push(Reaction::Verdict);
        expected.answered(false);
        assert!(expected.is_empty());
    }
}
