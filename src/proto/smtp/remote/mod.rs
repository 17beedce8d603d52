//! The client that talks to a recipient's server: from its greeting to its reply to the end of a message.
//!
//! Promises that every reply is known by its command, and nothing that was not asked for is taken for one; that nothing
//! said before TLS counts inside it (RFC 3207 §4.2); that only what may stand together in a group goes out together
//! (RFC 2920 §3.1), and DATA behind the replies that decide whether it makes sense. A second EHLO is said inside TLS
//! alone. CHUNKING is not made use of.

mod offered;
mod stuffing;

use std::{collections::VecDeque, fmt};

pub use offered::Offered;
use stuffing::Stuffing;

use super::{Answer, Mail, Mailbox, Obstacle, reply::Reply};
use crate::proto::{Emptied, Input};

/// How many commands may wait for their replies: more might fill both directions (RFC 2920 §3.1).
const MOST: usize = 100;

/// How this client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it calls itself.
    pub hostname: String,
    /// Whether a server that does not know EHLO is greeted with HELO; never inside TLS.
    pub helo: bool,
    /// Whether a message that may have 8 bits goes to a server without 8BITMIME, as it is.
    pub eight_bit: bool,
}

/// One conversation, from the client's side.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    secured: bool,
    /// Whether EHLO or HELO was taken.
    welcome: bool,
    offered: Offered,
    /// Commands that are not written yet.
    queue: VecDeque<(Asked, String)>,
    /// Commands that are, and have no reply.
    outstanding: VecDeque<Asked>,
    mail: Sender,
    accepted: usize,
    message: Option<Stuffing>,
    /// The server's last word: no other reply will come.
    parting: Option<Answer>,
    /// The first line of its greeting.
    greeting: Option<String>,
    /// What it calls itself.
    name: Option<String>,
}

/// What the server is to reply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// The connection.
    Greeting,
    /// EHLO.
    Hello,
    /// HELO.
    OldHello,
    /// STARTTLS.
    StartTls,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// The end of the message.
    Message,
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
}

/// What it is, as the log has it.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the greeting",
            Self::Hello => "the answer to EHLO",
            Self::OldHello => "the answer to HELO",
            Self::StartTls => "the answer to STARTTLS",
            Self::Mail => "the answer to MAIL",
            Self::Recipient => "the answer to RCPT",
            Self::Data => "the answer to DATA",
            Self::Message => "the answer to the message",
            Self::Reset => "the answer to RSET",
            Self::Quit => "the answer to QUIT",
        })
    }
}

/// What the server came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It has said what it offers, and waits for a command: [`Remote::offered`].
    Ready,
    /// It waits for the handshake, and has said nothing beyond that. Then [`Remote::secured`].
    StartTls(Emptied),
    /// It refuses to go on, or one of STARTTLS, DATA and RSET.
    Refused {
        /// What it has refused.
        at: Asked,
        /// Its words.
        answer: Answer,
    },
    /// The reply to the next of the recipients, in their order. Where the sender was refused it is the reply to MAIL.
    Recipient(Answer),
    /// It waits for the message.
    GoAhead,
    /// The reply to the whole message.
    Verdict(Answer),
    /// It ends the conversation in reply to nothing: 421, or a refusal in the middle of the message. No end of the
    /// message may follow.
    Parting(Answer),
    /// It was taken leave of.
    Left,
}

/// How a server breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Breach {
    /// What it says is no reply, or one that does not end.
    #[error("not a reply of SMTP")]
    Malformed,
    /// It replies to what it was not asked.
    #[error("a reply to nothing")]
    Unasked,
    /// Its reply cannot be one to this.
    #[error("an impossible reply: {1} to {0:?}")]
    Impossible(Asked, u16),
    /// It, or somebody in between, sent more than the reply to STARTTLS.
    #[error("bytes behind the reply to STARTTLS")]
    InjectedBeforeTls,
}

/// How the transaction at the server stands.
#[derive(Debug, Default, PartialEq, Eq)]
enum Sender {
    /// There is none.
    #[default]
    None,
    /// MAIL goes out with the first recipient.
    Due(String),
    /// MAIL is in the queue, or out.
    Asked,
    Accepted,
    Refused(Answer),
    /// It came to nothing, and the server may still have some of it.
    Spoilt,
}

impl Remote {
    /// A conversation of which nothing was said yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            secured: false,
            welcome: false,
            offered: Offered::default(),
            queue: VecDeque::new(),
            outstanding: VecDeque::from([Asked::Greeting]),
            mail: Sender::None,
            accepted: 0,
            message: None,
            parting: None,
            greeting: None,
            name: None,
        }
    }

    /// Uses up replies in `input`, up to one that comes to something, and writes what can be said now to `output`.
    /// `None`: more of the server's bytes are needed. To be called until then before the next command.
    ///
    /// # Errors
    /// [`Breach`], with which the conversation is over.
    pub fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Option<Event>, Breach> {
        loop {
            if let Some(event) = self.settle() {
                return Ok(Some(event));
            }
            let Some(reply) = Reply::first(input.peek()).map_err(|_| Breach::Malformed)? else { return Ok(None) };
            let (length, answer, offered) = (reply.length(), Answer::from_reply(&reply), Offered::listed_in(&reply));
            input.consume(length);
            let event = self.replied(answer, offered, input)?;
            self.flush(output);
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// What the server offers, as it said last: nothing before [`Event::Ready`].
    #[must_use]
    pub const fn offered(&self) -> &Offered {
        &self.offered
    }

    /// The first line of the server's greeting, also of one that refuses.
    #[must_use]
    pub fn greeting(&self) -> Option<&str> {
        self.greeting.as_deref()
    }

    /// What the server calls itself, in its greeting or its answer to EHLO.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What the server is to reply to next; `None` where it waits.
    #[must_use]
    pub fn awaits(&self) -> Option<Asked> {
        self.outstanding.front().copied()
    }

    /// Whether the message may have arrived, should the conversation break now: its end is sent, and nothing is known.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.awaits() == Some(Asked::Message)
    }

    /// Whether another message can follow: every command has its reply, and the server stays.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let answered = self.outstanding.is_empty() && self.queue.is_empty();
        self.welcome && answered && self.message.is_none() && self.parting.is_none()
    }

    /// Asks for TLS, if it is offered; whether it is.
    pub fn start_tls(&mut self, output: &mut Vec<u8>) -> bool {
        if self.offered.start_tls {
            self.ask(Asked::StartTls, "STARTTLS\r\n".to_owned(), output);
        }
        self.offered.start_tls
    }

    /// Goes on inside TLS. RFC 3207 §4.2: what was learnt before is forgotten, and asked for again.
    pub fn secured(&mut self, output: &mut Vec<u8>) {
        (self.secured, self.welcome) = (true, false);
        self.offered = Offered::default();
        self.queue.push_back(self.hello());
        self.flush(output);
    }

    /// Begins a transaction; MAIL goes out with the first recipient. What is left of another is reset.
    ///
    /// # Errors
    /// What keeps the message from this server: it is the reply to each of its recipients.
    pub fn begin(&mut self, mail: &Mail) -> Result<(), Obstacle> {
        if let Some(obstacle) = mail.obstacle(&self.offered, self.settings.eight_bit, self.secured) {
            return Err(obstacle);
        }
        self.forget();
        self.mail = Sender::Due(mail.command(&self.offered));
        Ok(())
    }

    /// Asks for a recipient; [`Event::Recipient`] is the reply.
    pub fn recipient(&mut self, mailbox: &Mailbox, output: &mut Vec<u8>) {
        if let Sender::Due(command) = &mut self.mail {
            let command = std::mem::take(command);
            self.mail = Sender::Asked;
            self.queue.push_back((Asked::Mail, command));
        }
        self.ask(Asked::Recipient, format!("RCPT TO:<{}>\r\n", mailbox.address()), output);
    }

    /// Asks to send the message, once all recipients have their replies: [`Event::GoAhead`], or a refusal.
    pub fn data(&mut self, output: &mut Vec<u8>) {
        self.ask(Asked::Data, "DATA\r\n".to_owned(), output);
    }

    /// Writes octets of the message, as they are: they are stuffed here. Nothing is written before [`Event::GoAhead`].
    pub fn message(&mut self, octets: &[u8], output: &mut Vec<u8>) {
        if let Some(message) = &mut self.message {
            message.write(octets, output);
        }
    }

    /// Ends the message; [`Event::Verdict`] is the reply. A conversation that is dropped without has sent no message.
    pub fn end(&mut self, output: &mut Vec<u8>) {
        if let Some(message) = self.message.take() {
            message.finish(output);
            self.outstanding.push_back(Asked::Message);
        }
    }

    /// Gives the transaction up before its message.
    pub fn reset(&mut self, output: &mut Vec<u8>) {
        self.forget();
        self.flush(output);
    }

    /// Takes leave; [`Event::Left`] is the reply, for which nobody has to wait.
    pub fn quit(&mut self, output: &mut Vec<u8>) {
        self.ask(Asked::Quit, "QUIT\r\n".to_owned(), output);
    }

    fn ask(&mut self, asked: Asked, command: String, output: &mut Vec<u8>) {
        self.queue.push_back((asked, command));
        self.flush(output);
    }

    fn hello(&self) -> (Asked, String) {
        (Asked::Hello, format!("EHLO {}\r\n", self.settings.hostname))
    }

    /// Has the server forget a transaction of which it knows.
    fn forget(&mut self) {
        if !matches!(self.mail, Sender::None | Sender::Due(_)) {
            self.queue.push_back((Asked::Reset, "RSET\r\n".to_owned()));
        }
        (self.mail, self.accepted) = (Sender::None, 0);
    }

    /// Writes what may go out now.
    fn flush(&mut self, output: &mut Vec<u8>) {
        while self.parting.is_none() && self.message.is_none() {
            let Some((asked, _)) = self.queue.front() else { return };
            if self.is_refused(*asked) || !self.may_follow(*asked) {
                return;
            }
            let Some((asked, command)) = self.queue.pop_front() else { return };
            output.extend_from_slice(command.as_bytes());
            self.outstanding.push_back(asked);
        }
    }

    /// RFC 2920 §3.1: whether a command may go out behind those that have no reply yet.
    fn may_follow(&self, asked: Asked) -> bool {
        use Asked::{Mail, Quit, Recipient, Reset};
        let groups = |asked: &Asked| matches!(asked, Mail | Recipient | Reset);
        match self.outstanding.back() {
            None => true,
            // DATA could follow too, but is not worth a message to nobody.
            Some(last) => {
                let fits = groups(last) && (groups(&asked) || asked == Quit);
                fits && self.offered.extensions.pipelining && self.outstanding.len() < MOST
            }
        }
    }

    /// Whether the replies so far make a command pointless.
    fn is_refused(&self, asked: Asked) -> bool {
        match asked {
            Asked::Recipient => matches!(self.mail, Sender::Refused(_)),
            Asked::Data => self.outstanding.is_empty() && self.accepted == 0,
            _ => false,
        }
    }

    /// Replies to commands that will have none of the server's.
    fn settle(&mut self) -> Option<Event> {
        while let Some(answer) = self.parting.clone() {
            let written = self.outstanding.pop_front();
            let asked = written.or_else(|| self.queue.pop_front().map(|(asked, _)| asked))?;
            if let Some(event) = self.refuse(asked, answer) {
                return Some(event);
            }
        }
        let asked = self.queue.front().map(|(asked, _)| *asked)?;
        if !self.outstanding.is_empty() || !self.is_refused(asked) {
            return None;
        }
        self.queue.pop_front();
        match &self.mail {
            Sender::Refused(answer) if asked == Asked::Recipient => Some(Event::Recipient(answer.clone())),
            _ => Some(Event::Refused { at: asked, answer: Answer::new(554, (5, 1), "No valid recipients") }),
        }
    }

    /// What a reply comes to.
    fn replied(&mut self, answer: Answer, offered: Offered, input: &Input) -> Result<Option<Event>, Breach> {
        if answer.code() == 421 {
            self.parting = Some(answer.clone());
        }
        let Some(asked) = self.outstanding.pop_front() else { return self.unasked(answer).map(Some) };
        check(asked, answer.code())?;
        if asked == Asked::Greeting {
            self.greeting = Some(format!("{} {}", answer.code(), answer.first_line()));
        }
        if answer.code() / 100 > 3 {
            return Ok(self.refuse(asked, answer));
        }
        if matches!(asked, Asked::Greeting | Asked::Hello | Asked::OldHello) {
            self.name = answer.first_line().split_ascii_whitespace().next().map(str::to_owned).or(self.name.take());
        }
        match asked {
            // RFC 5321 §4.3.1: it waits for EHLO then, and what is there already cannot be the answer to that.
            Asked::Greeting if !input.peek().is_empty() => Err(Breach::Unasked),
            Asked::Greeting => {
                self.queue.push_back(self.hello());
                Ok(None)
            }
            Asked::Hello | Asked::OldHello => {
                self.offered = if asked == Asked::Hello { offered } else { Offered::default() };
                self.welcome = true;
                // RFC 3207 §4.2: inside TLS it is not to be had again.
                self.offered.start_tls &= !self.secured;
                Ok(Some(Event::Ready))
            }
            // RFC 3207 §6
            Asked::StartTls => {
                input.emptied().map(|emptied| Some(Event::StartTls(emptied))).ok_or(Breach::InjectedBeforeTls)
            }
            Asked::Mail => {
                self.mail = Sender::Accepted;
                Ok(None)
            }
            Asked::Recipient => Ok(Some(self.recipient_replied(answer))),
            Asked::Data => {
                self.message = Some(Stuffing::new());
                Ok(Some(Event::GoAhead))
            }
            Asked::Message => {
                (self.mail, self.accepted) = (Sender::None, 0);
                Ok(Some(Event::Verdict(answer)))
            }
            Asked::Reset => Ok(None),
            Asked::Quit => Ok(Some(Event::Left)),
        }
    }

    fn recipient_replied(&mut self, answer: Answer) -> Event {
        if let Sender::Refused(reason) = &self.mail {
            return Event::Recipient(reason.clone());
        }
        self.accepted += usize::from(answer.is_positive());
        Event::Recipient(answer)
    }

    /// What a refusal comes to.
    fn refuse(&mut self, asked: Asked, answer: Answer) -> Option<Event> {
        match asked {
            // RFC 5321 §3.2: the command is not known, as opposed to the client.
            Asked::Hello if self.settings.helo && !self.secured && (500..=504).contains(&answer.code()) => {
                self.queue.push_back((Asked::OldHello, format!("HELO {}\r\n", self.settings.hostname)));
                None
            }
            Asked::Mail => {
                self.mail = Sender::Refused(answer);
                None
            }
            Asked::Recipient => Some(self.recipient_replied(answer)),
            Asked::Data => {
                self.mail = Sender::Spoilt;
                Some(Event::Refused { at: asked, answer })
            }
            Asked::Message => {
                (self.mail, self.accepted) = (Sender::None, 0);
                Some(Event::Verdict(answer))
            }
            Asked::Quit => Some(Event::Left),
            Asked::Greeting | Asked::Hello | Asked::OldHello | Asked::StartTls | Asked::Reset => {
                Some(Event::Refused { at: asked, answer })
            }
        }
    }

    /// What a reply comes to that nothing was asked for.
    fn unasked(&mut self, answer: Answer) -> Result<Event, Breach> {
        let refuses_message = self.message.is_some() && answer.code() / 100 > 3;
        if answer.code() != 421 && !refuses_message {
            return Err(Breach::Unasked);
        }
        self.parting = Some(answer.clone());
        self.message = None;
        Ok(Event::Parting(answer))
    }
}

/// A reply that is taken for another's could make a delivery of a refusal.
fn check(asked: Asked, code: u16) -> Result<(), Breach> {
    let fits = match (asked, code / 100) {
        (_, 4 | 5) => true,
        // RFC 5321 §4.1.1.4
        (Asked::Data, _) => code == 354,
        // RFC 3207 §4
        (Asked::StartTls, _) => code == 220,
        (_, class) => class == 2,
    };
    if fits { Ok(()) } else { Err(Breach::Impossible(asked, code)) }
}
