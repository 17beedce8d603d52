//! SMTP, submission and LMTP inside TLS, or in permitted plaintext: what stands between client and backend.
//!
//! Promises that mailward knows of every byte from the client whether it is command, body or octets of BDAT, and of
//! every reply which command it answers; that what goes on is what was judged; and that no reply of our own comes
//! out of turn. The parts: [`client`] judges commands, [`message`] carries and throws away bodies, [`login`] follows
//! AUTH, [`backend`] takes the replies, [`expected`] holds their order, [`parting`] what the client is owed at an end.

use std::sync::Arc;

use self::{
    expected::{Expected, Reaction},
    login::Login,
    message::Mode,
};
use super::{Extensions, Trace, command::Command, offer::Offer, trace::Way, words, words::say};
use crate::proto::{
    Complaint, Ending, Farewell, Filter, Flow, Leg, Opening, Phase, Protocol, RefusedLogin, Settings, Start, Violation,
    Wire, complaint::Complaints, line, tally::Tally,
};

mod backend;
mod client;
mod expected;
mod login;
mod message;
mod parting;

/// What stands between client and backend.
pub struct SmtpFilter {
    settings: Arc<Settings>,
    leg: Leg,
    start: Start,
    mode: Mode,
    reader: line::Reader,
    expected: Expected,
    /// What the client was sent.
    offer: Offer,
    /// What the client was offered in plaintext and the backend has not.
    missing: Extensions,
    /// Whether the backend takes several commands at once.
    pipelining: bool,
    login: Login,
    tally: Tally,
    /// How many bytes were thrown away.
    discarded: u64,
    /// Whether the backend has accepted a MAIL: from there a client's mistakes are no longer counted.
    mail_accepted: bool,
    complaints: Complaints,
    /// Whether some of what the backend said before the end of a message is still to be looked at. It answers nothing
    /// that stands behind that end.
    spoke_early: bool,
    /// Whether the backend's last reply was its own farewell.
    backend_left: bool,
    /// What each message begins with, if anything.
    trace: Option<Box<Trace>>,
}

impl SmtpFilter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, start: Start, leg: Leg) -> Self {
        Self {
            settings,
            leg,
            start,
            mode: Mode::Command,
            reader: line::Reader::default(),
            expected: Expected::default(),
            offer: Offer::default(),
            missing: Extensions::default(),
            pipelining: false,
            login: Login::default(),
            tally: Tally::default(),
            discarded: 0,
            mail_accepted: false,
            complaints: Complaints::default(),
            spoke_early: false,
            backend_left: false,
            trace: None,
        }
    }

    fn is_lmtp(&self) -> bool {
        self.settings.protocol == Protocol::Lmtp
    }

    /// Whether the client's leg permits a password.
    fn takes_passwords(&self) -> bool {
        self.leg.is_encrypted() || self.settings.plaintext_auth
    }

    /// Sends a reply of our own in its turn.
    fn reply(&mut self, reply: &'static str, wire: &mut Wire) {
        if self.expected.is_empty() {
            say(reply, &mut wire.to_client);
        } else {
            self.expected.push(Reaction::Local(reply));
        }
    }

    /// What goes in front of a message that begins with the octet `first`.
    fn traced(&mut self, first: Option<&u8>) -> Vec<u8> {
        let way =
            Way { hostname: &self.settings.hostname, is_lmtp: self.is_lmtp(), is_authenticated: self.login.accepted() };
        self.trace.as_mut().and_then(|trace| trace.take(first, way)).unwrap_or_default()
    }

    /// Notes bytes as thrown away; `false` where that passes the limit.
    fn may_discard(&mut self, count: u64) -> bool {
        self.discarded = self.discarded.saturating_add(count);
        self.discarded <= self.settings.limits.discard
    }
}

/// Ends the session for the client's fault.
fn expel(violation: Violation, wire: &mut Wire) -> Flow {
    say(words::violation(violation), &mut wire.to_client);
    Flow::End(Ending::Client(violation))
}

impl Filter for SmtpFilter {
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        self.greeted(greeting, wire)
    }

    fn trace(&mut self, mut trace: Trace) {
        if let Some((Some(command), _)) = self.opening() {
            Command::parse(command).iter().for_each(|hello| trace.note(hello));
        }
        self.trace = Some(Box::new(trace));
    }

    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        match self.mode {
            Mode::Command => self.command_line(input, wire),
            Mode::Held => Flow::Wait,
            Mode::Exchange => self.response_line(input, wire),
            Mode::Body(body) => self.carry_body(body, input, wire),
            Mode::Chunk(left) => self.carry_chunk(left, input),
            Mode::Unwanted { left, reply } => self.discard_chunk(left, reply, input, wire),
            Mode::Lost { rest, cause } => self.discard(rest, cause, input, wire),
            Mode::Refusing(_) | Mode::Parting(_) => self.last_command(input, wire),
        }
    }

    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        self.replied(input, wire)
    }

    fn client_ended(&mut self) -> bool {
        // RFC 5321 §4.1.1.4: without its end a message is none, and no server shall take it for one.
        !matches!(self.mode, Mode::Body(_) | Mode::Chunk(_) | Mode::Exchange)
    }

    fn backend_lost(&mut self, wire: &mut Wire) -> Flow {
        self.lost(wire)
    }

    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool {
        // Whoever is cut off for another reason takes a 421 for the answer to what is under way, rightly.
        let sayable = farewell != Farewell::Draining || self.is_between_commands();
        if sayable {
            say(words::farewell(farewell), &mut wire.to_client);
        }
        sayable
    }

    fn phase(&self) -> Phase {
        match self.mode {
            Mode::Exchange | Mode::Refusing(_) | Mode::Parting(_) => Phase::Command,
            Mode::Command | Mode::Held if self.expected.holds_verdict() => Phase::DataEnd,
            Mode::Command if self.expected.is_empty() => Phase::Command,
            _ => Phase::Transfer,
        }
    }

    fn awaits_login(&self) -> bool {
        self.settings.protocol == Protocol::Submission && self.settings.guard.require_auth && !self.login.accepted()
    }

    fn steps_aside(&self) -> bool {
        // Until the end somebody has to know what is a command and what is a message.
        false
    }

    fn user(&self) -> Option<&str> {
        self.login.user()
    }

    fn refused_login(&mut self) -> Option<RefusedLogin> {
        self.login.take_refused()
    }

    fn complaint(&mut self) -> Option<Complaint> {
        self.complaints.take()
    }
}

impl SmtpFilter {
    /// Whether nothing is under way: no body, no exchange, no reply owed.
    fn is_between_commands(&self) -> bool {
        self.expected.is_empty() && matches!(self.mode, Mode::Command | Mode::Refusing(_) | Mode::Parting(_))
    }

    /// What the client said in plaintext, where the session goes on with it.
    fn opening(&self) -> Option<(&Option<Vec<u8>>, Extensions)> {
        match &self.start {
            Start::Opened(Opening::Hello { command, offered }) => Some((command, *offered)),
            Start::Opened(Opening::Nothing) | Start::Greeting | Start::Greeted => None,
        }
    }
}
