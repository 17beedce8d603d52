//! IMAP between client and backend, until the login (spec §4.2).
//!
//! One command at a time is with the backend, so that a reply is never ambiguous: what a client pipelines waits.
//! `client` reads the commands, `backend` the replies; after the one that grants the login, both directions are
//! copied blindly.

use std::sync::Arc;

use super::capability::Offer;
use super::command::Tag;
use super::intake::Intake;
use super::outgoing::Outgoing;
use super::words;
use crate::proto::complaint::Complaints;
use crate::proto::sasl::Exchange;
use crate::proto::tally::Tally;
use crate::proto::{
    Complaint, Ending, Farewell, Filter, Flow, Leg, Phase, RefusedLogin, Settings, Start, Violation, Wire,
};

/// What stands between client and backend.
pub struct ImapFilter {
    pub(super) settings: Arc<Settings>,
    /// Whether the client gets the backend's greeting.
    pub(super) greets: bool,
    pub(super) leg: Leg,
    /// Whether passwords may pass on it.
    pub(super) logins_pass: bool,
    pub(super) intake: Intake,
    pub(super) tally: Tally,
    /// The backend's list as the client was sent it, or would have been; `None` before there was one.
    pub(super) offer: Option<Offer>,
    pub(super) state: State,
    pub(super) reply: Reply,
    /// The backend has said BYE: nobody is owed a word any more.
    pub(super) bye: bool,
    /// The client's last bytes were the beginning of a line.
    pub(super) half_a_line: bool,
    pub(super) user: Option<String>,
    pub(super) refused: Option<RefusedLogin>,
    pub(super) complaints: Complaints,
}

/// Whose turn it is.
pub(super) enum State {
    /// The client's, with its next command.
    Idle,
    /// The backend's, with its answer to this; or the client's, with a response to a challenge.
    Asked(Asked),
    /// Nobody's here.
    LoggedIn,
}

/// A command that is with the backend. It may hold a password, so nothing here can be printed.
pub(super) struct Asked {
    pub(super) tag: Tag,
    pub(super) kind: Kind,
    pub(super) rest: Outgoing,
}

/// What the command may come to.
pub(super) enum Kind {
    /// Nothing that matters here.
    Plain,
    Logout,
    Login {
        user: Option<String>,
    },
    Authenticate {
        exchange: Exchange,
        /// The backend's challenge is with the client.
        challenged: bool,
    },
}

/// Where in a response the backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Before one.
    Between,
    /// So many bytes (at least one) of a literal are to come.
    Literal(usize),
    /// The line behind a literal.
    Rest,
}

impl ImapFilter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, start: Start, leg: Leg) -> Self {
        Self {
            leg,
            greets: start == Start::Greeting,
            logins_pass: leg.is_encrypted() || settings.plaintext_auth,
            intake: Intake::new(settings.limits),
            settings,
            tally: Tally::default(),
            offer: None,
            state: State::Idle,
            reply: Reply::Between,
            bye: false,
            half_a_line: false,
            user: None,
            refused: None,
            complaints: Complaints::default(),
        }
    }

    /// Ends the session for a client's fault.
    pub(super) fn break_off(&self, violation: Violation, wire: &mut Wire) -> Flow {
        self.say(words::violation(violation), wire);
        Flow::End(Ending::Client(violation))
    }

    fn is_challenged(&self) -> bool {
        matches!(&self.state, State::Asked(Asked { kind: Kind::Authenticate { challenged: true, .. }, .. }))
    }

    /// Says `words` if the client would take them now for what they are; says whether it would.
    pub(super) fn say(&self, words: &[u8], wire: &mut Wire) -> bool {
        let sayable = !self.bye && self.reply == Reply::Between && !self.steps_aside();
        if sayable {
            wire.to_client.extend_from_slice(words);
        }
        sayable
    }
}

impl Filter for ImapFilter {
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        self.take_greeting(greeting, wire)
    }

    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let flow = match self.state {
            State::Idle => self.take_command(input, wire),
            State::Asked(_) if self.is_challenged() => self.take_response(input, wire),
            State::Asked(_) => Flow::Wait,
            State::LoggedIn => Flow::Pass(input.len()),
        };
        self.half_a_line = flow == Flow::More;
        flow
    }

    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        match self.state {
            State::LoggedIn => Flow::Pass(input.len()),
            _ => self.take_reply(input, wire),
        }
    }

    fn client_ended(&mut self) -> bool {
        !self.half_a_line && self.intake.is_between_commands()
    }

    fn backend_lost(&mut self, wire: &mut Wire) -> Flow {
        if self.bye {
            return Flow::End(Ending::Closed);
        }
        self.farewell(Farewell::BackendLost, wire);
        Flow::End(Ending::BackendLost)
    }

    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool {
        self.say(words::farewell(farewell), wire)
    }

    fn phase(&self) -> Phase {
        if matches!(self.state, State::Idle) || self.is_challenged() { Phase::Command } else { Phase::Transfer }
    }

    fn steps_aside(&self) -> bool {
        matches!(self.state, State::LoggedIn)
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn refused_login(&mut self) -> Option<RefusedLogin> {
        self.refused.take()
    }

    fn complaint(&mut self) -> Option<Complaint> {
        self.complaints.take()
    }
}
