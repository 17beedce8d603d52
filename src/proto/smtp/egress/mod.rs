//! The server that the sender's side talks to (SMTP and LMTP): what is to be carried to the recipients' servers comes in
//! here, and is answered with what those say.
//!
//! Promises one thing to decide at a time, in the client's order, and every reply in that order (RFC 2920 §3.2); that a
//! transaction is decided on only where it is in order; and that a message has exactly one end, which the client has
//! said: one that is refused, or whose client goes away, has none. What it offers is fixed before any recipient's server
//! is known, so that nothing is on the list which others would have to keep (DSN, CHUNKING).

mod commands;
mod header;
mod message;

use std::{borrow::Cow, sync::Arc};

pub use header::Loops;
pub use message::MessageFault;
use message::{Message, Rules, Stretch};

use super::{
    Answer, BareNewline, Mail, Mailbox, Trace,
    chunk::Unwanted,
    command,
    trace::Way,
    words::{self, say},
};
use crate::proto::{
    Emptied, Farewell, Input, Leg, Limits, Protocol, Violation,
    line::{self, Read},
    tally::Tally,
};

/// What an egress listener is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// [`Protocol::Lmtp`], or else SMTP.
    pub protocol: Protocol,
    /// `server.hostname`: greeting, replies and trace.
    pub hostname: String,
    /// The bounds in force. Commands and errors are counted anew behind each message.
    pub limits: Limits,
    /// `limit.message`: the octets of one message.
    pub largest: Option<u64>,
    /// What becomes of a bare LF or CR.
    pub bare_newline: BareNewline,
    /// Whether SMTPUTF8 is offered.
    pub smtp_utf8: bool,
    /// The most recipients of one message (RFC 5321 §4.5.3.1.8: not less than 100).
    pub recipients: usize,
    /// Whether all recipients of a message have to be in one domain (SMTP).
    pub one_domain: bool,
    /// Whether a session in clear can have TLS.
    pub tls: Tls,
    /// Whether REQUIRETLS is offered inside TLS.
    pub require_tls: bool,
    /// When a message is taken for one that goes round in circles.
    pub loops: Loops,
}

/// Whether STARTTLS is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Off,
    /// It is the client's choice.
    Optional,
    /// There is no mail without.
    Required,
}

/// One session, from the server's side.
#[derive(Debug)]
pub struct Egress {
    settings: Arc<Settings>,
    leg: Leg,
    reader: line::Reader,
    tally: Tally,
    discarded: u64,
    unwanted: Option<Unwanted>,
    trace: Option<Trace>,
    greeted: Greeted,
    transaction: Option<Transaction>,
    state: State,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Demand {
    /// More of the client's bytes are needed.
    More,
    /// What was demanded before is not answered yet, and nothing is looked at before that.
    Pending,
    /// May this recipient have the message? [`Egress::answer`] with what is to be said.
    Recipient(Mailbox),
    /// The message is about to come, for all that were accepted: [`Egress::go_ahead`], or [`Egress::answer`] with a
    /// refusal, which ends the transaction.
    Data,
    /// A message is coming: its octets are had from [`Egress::message`].
    Message,
    /// The transaction, of which a recipient had been demanded, came to nothing: RSET, or a new greeting.
    Abandoned,
    /// The client waits for the handshake, and has sent nothing beyond its wish for it. Another machine goes on inside
    /// TLS, without a greeting; a transaction came to nothing.
    StartTls(Emptied),
    /// The client has taken its leave and was answered; a transaction came to nothing.
    Closed,
}

/// A stretch of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// How many bytes of the input are used up.
    pub length: usize,
    /// The octets that go on, as they are in the message: without stuffing. They may be none.
    pub octets: Cow<'a, [u8]>,
    /// How the message goes on.
    pub course: Course,
}

/// How a message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// There is more to come.
    On,
    /// The client has ended it, and waits for the replies that [`Egress::owed`] counts: [`Egress::answer`] for each, in the
    /// order of the recipients.
    Ended,
    /// It is refused, and nobody may take what went on for a message. The rest is read and thrown away.
    Refused(MessageFault),
    /// The refused message is over, and was answered.
    Over,
}

/// What the client has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeted {
    Nothing,
    /// HELO.
    Basic,
    /// EHLO or LHLO.
    Extended,
}

/// A message's envelope so far.
#[derive(Debug)]
struct Transaction {
    mail: Mail,
    /// Recipients that were demanded, and those of them that were accepted.
    demanded: usize,
    accepted: usize,
}

#[derive(Debug)]
enum State {
    /// Nothing but a greeting that refuses, and QUIT.
    Away,
    Commands,
    /// A recipient is demanded.
    Recipient,
    /// DATA is demanded.
    Data,
    Message(Message),
    /// A message is refused and has not ended.
    Refused(Message, MessageFault),
    /// So many replies to the message are owed.
    Verdicts(usize),
}

/// What a command comes to.
enum Outcome {
    /// This, and the next command.
    Reply(&'static str),
    /// A reply that counts as an error.
    Refusal(&'static str),
    /// Nothing is said here and now.
    Silence,
    Demand(Demand),
}

impl Egress {
    /// A session that begins in clear or inside TLS. Where it began in clear and goes on inside TLS, the machine from
    /// before is dropped, and this one does not greet (RFC 3207 §4.2).
    #[must_use]
    pub fn new(settings: Arc<Settings>, leg: Leg) -> Self {
        Self {
            settings,
            leg,
            reader: line::Reader::default(),
            tally: Tally::default(),
            discarded: 0,
            unwanted: None,
            trace: None,
            greeted: Greeted::Nothing,
            transaction: None,
            state: State::Commands,
        }
    }

    /// A session with a client that may not send mail here. RFC 5321 §3.1: it hears so in place of the greeting, and again
    /// until it takes its leave.
    #[must_use]
    pub fn turning_away(settings: Arc<Settings>) -> Self {
        Self { state: State::Away, ..Self::new(settings, Leg::Plaintext) }
    }

    /// Begins every message with a trace of the session, from before the first command on.
    pub fn trace(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// Writes the greeting, once, before anything is read.
    pub fn greet(&self, output: &mut Vec<u8>) {
        let kind = if self.is_lmtp() { "LMTP" } else { "ESMTP" };
        match self.state {
            State::Away => say(words::TURNED_AWAY, output),
            _ => say(&format!("220 {} {kind}\r\n", self.settings.hostname), output),
        }
    }

    /// Uses up whole commands of `input`, up to one that is to be decided, and writes the replies to `output`.
    ///
    /// # Errors
    /// A [`Violation`] ends the session once `output` (which then holds the last words) is sent.
    pub fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Demand, Violation> {
        self.advance(input, output).inspect_err(|violation| say(words::violation(*violation), output))
    }

    /// Gives the reply that the machine waits for: to a recipient, the refusal of DATA, or one of those to a message.
    /// A reply that nobody waits for is not said.
    pub fn answer(&mut self, answer: &Answer, output: &mut Vec<u8>) {
        match self.state {
            State::Recipient => {
                if let Some(transaction) = self.transaction.as_mut().filter(|_| answer.is_positive()) {
                    transaction.accepted += 1;
                }
                self.state = State::Commands;
            }
            State::Data => self.conclude(),
            State::Verdicts(1) => self.conclude(),
            State::Verdicts(left) => self.state = State::Verdicts(left - 1),
            _ => return,
        }
        answer.write(output);
    }

    /// Lets the message come that [`Demand::Data`] is about.
    pub fn go_ahead(&mut self, output: &mut Vec<u8>) {
        if matches!(self.state, State::Data) {
            if let Some(trace) = &mut self.trace {
                trace.begin();
            }
            self.state = State::Message(Message::new());
            say(words::GO_AHEAD, output);
        }
    }

    /// Looks at the next bytes of the message; `None` where more of them are needed. The end of the client's connection
    /// is no end of the message: there is none but [`Course::Ended`].
    ///
    /// # Errors
    /// [`Violation::TooMuchDiscarded`], where too much of a refused message would have to be read. What it is owed is
    /// in `output`.
    pub fn message<'a>(&mut self, input: &'a [u8], output: &mut Vec<u8>) -> Result<Option<Piece<'a>>, Violation> {
        match &mut self.state {
            State::Message(message) => {
                let rules = Rules {
                    bare_newline: self.settings.bare_newline,
                    largest: self.settings.largest,
                    loops: &self.settings.loops,
                };
                match message.take(input, rules) {
                    Ok(None) => Ok(None),
                    Ok(Some(stretch)) => Ok(Some(self.carry(stretch))),
                    Err(fault) => Ok(Some(self.refuse_message(fault))),
                }
            }
            State::Refused(message, fault) => {
                let ((length, ended), fault) = (message.skip(input), *fault);
                self.discard(length, ended, fault, output)
            }
            _ => Ok(None),
        }
    }

    /// How many replies the message that has ended is still owed: one, or in LMTP one for each recipient that was
    /// accepted (RFC 2033 §4.2).
    #[must_use]
    pub const fn owed(&self) -> usize {
        if let State::Verdicts(left) = self.state { left } else { 0 }
    }

    /// The transaction's sender and its parameters, from MAIL to the last reply to the message.
    #[must_use]
    pub fn mail(&self) -> Option<&Mail> {
        self.transaction.as_ref().map(|transaction| &transaction.mail)
    }

    /// Writes the protocol's words for `farewell`.
    pub fn farewell(&self, farewell: Farewell, output: &mut Vec<u8>) {
        say(words::farewell(farewell), output);
    }

    fn is_lmtp(&self) -> bool {
        self.settings.protocol == Protocol::Lmtp
    }

    fn advance(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Demand, Violation> {
        loop {
            match self.state {
                State::Away | State::Commands => {}
                State::Message(_) | State::Refused(..) => return Ok(Demand::Message),
                State::Recipient | State::Data | State::Verdicts(_) => return Ok(Demand::Pending),
            }
            let Some(outcome) = self.take(input, output)? else { return Ok(Demand::More) };
            match outcome {
                Outcome::Silence => {}
                Outcome::Reply(reply) => say(reply, output),
                Outcome::Refusal(reply) => {
                    self.tally.error(&self.settings.limits)?;
                    say(reply, output);
                }
                Outcome::Demand(demand) => return Ok(demand),
            }
        }
    }

    /// Uses up the front of the input; `None` where more of it is needed.
    fn take(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Option<Outcome>, Violation> {
        if let Some(unwanted) = &mut self.unwanted {
            let reply = unwanted.discard(input).then_some(unwanted.reply);
            self.unwanted.take_if(|_| reply.is_some());
            return Ok(reply.map(Outcome::Refusal));
        }
        let (limits, front) = (&self.settings.limits, input.peek());
        let (text, length) = match self.reader.read(front, limits.line, command::bound(limits)) {
            Read::Whole { text, length } => (text.to_vec(), length),
            Read::Partial => return Ok(None),
            Read::Endless => return Err(Violation::LineTooLong),
            Read::Skipped { length } => {
                input.consume(length);
                return Ok(Some(Outcome::Silence));
            }
            Read::Bad { length } | Read::Long { length } => {
                input.consume(length);
                return Ok(Some(Outcome::Refusal(words::BAD_LINE)));
            }
        };
        input.consume(length);
        self.command(&text, input, output).map(Some)
    }

    /// The transaction is over, and its last reply is about to be said.
    fn conclude(&mut self) {
        (self.state, self.transaction) = (State::Commands, None);
        (self.tally, self.discarded) = (Tally::default(), 0);
    }

    fn count_discarded(&mut self, length: u64) -> Result<(), Violation> {
        self.discarded = self.discarded.saturating_add(length);
        if self.discarded > self.settings.limits.discard { Err(Violation::TooMuchDiscarded) } else { Ok(()) }
    }

    /// A stretch of the message goes on, behind the trace if it is the first.
    fn carry<'a>(&mut self, stretch: Stretch<'a>) -> Piece<'a> {
        let Stretch { length, octets, ended } = stretch;
        if ended {
            self.state = State::Verdicts(self.verdicts());
        }
        let course = if ended { Course::Ended } else { Course::On };
        // Where all of it was left out there is no beginning yet.
        let front = if octets.is_empty() && !ended { None } else { self.traced(octets.first()) };
        let octets = match front {
            Some(mut front) => {
                front.extend_from_slice(&octets);
                Cow::Owned(front)
            }
            None => octets,
        };
        Piece { length, octets, course }
    }

    /// The trace of a message that begins with `first`, if it has none yet.
    fn traced(&mut self, first: Option<&u8>) -> Option<Vec<u8>> {
        let way = Way { hostname: &self.settings.hostname, is_lmtp: self.is_lmtp(), is_authenticated: false };
        self.trace.as_mut()?.take(first, way)
    }

    fn verdicts(&self) -> usize {
        let accepted = self.transaction.as_ref().map_or(0, |transaction| transaction.accepted);
        if self.is_lmtp() { accepted.max(1) } else { 1 }
    }

    /// Nothing is used up: the same bytes are looked at again for the client's end alone.
    fn refuse_message<'a>(&mut self, fault: MessageFault) -> Piece<'a> {
        if let State::Message(message) = std::mem::replace(&mut self.state, State::Commands) {
            self.state = State::Refused(message, fault);
        }
        Piece { length: 0, octets: Cow::Borrowed(&[]), course: Course::Refused(fault) }
    }

    fn discard<'a>(
        &mut self,
        length: usize,
        ended: bool,
        fault: MessageFault,
        output: &mut Vec<u8>,
    ) -> Result<Option<Piece<'a>>, Violation> {
        if length == 0 {
            return Ok(None);
        }
        let within_limit = self.count_discarded(length as u64);
        if ended || within_limit.is_err() {
            (0..self.verdicts()).for_each(|_| say(fault.reply(), output));
            self.conclude();
        }
        if let Err(violation) = within_limit {
            say(words::violation(violation), output);
            return Err(violation);
        }
        let course = if ended { Course::Over } else { Course::On };
        Ok(Some(Piece { length, octets: Cow::Borrowed(&[]), course }))
    }
}
