//! POP3 inside TLS, until the login (spec §4.2).
//!
//! Promises that one command at a time is with the backend, that only whole commands and whole replies cross, and
//! that the reply that completes the login is the last thing looked at. Passes USER, PASS, APOP, AUTH, CAPA, QUIT,
//! NOOP, UTF8 and LANG; refuses everything else, and the mechanisms that the client was not shown.

mod commands;
mod replies;

use std::sync::Arc;

pub(super) use commands::command_limit;

use super::capabilities::Offered;
use super::reply::{self, Reply, Status};
use super::words;
use crate::proto::complaint::Complaints;
use crate::proto::line::{self, Read};
use crate::proto::sasl::Exchange;
use crate::proto::tally::Tally;
use crate::proto::{
    Complaint, Ending, Farewell, Filter, Flow, Leg, Phase, RefusedLogin, Settings, Start, Violation, Wire,
};

/// What stands between client and backend.
pub struct Pop3Filter {
    settings: Arc<Settings>,
    start: Start,
    leg: Leg,
    state: State,
    reader: line::Reader,
    tally: Tally,
    /// Whether the client has seen the timestamp that APOP needs.
    timestamp: bool,
    offered: Offered,
    /// Who was named in the last accepted USER.
    named: Option<String>,
    refused: Option<RefusedLogin>,
    complaints: Complaints,
}

/// Whose turn it is.
enum State {
    /// The client's: nothing is under way.
    Ready,
    /// The backend's: it was sent this.
    Asked(Asked),
    /// The client's: its next line answers the backend's challenge.
    Challenged(Exchange),
    /// The client's: the backend's refusal, kept here, is the reply to its first command.
    Refused(Vec<u8>),
    /// Nobody's: the rest is not looked at.
    LoggedIn(Option<String>),
}

/// A command that the backend has not answered yet.
enum Asked {
    /// CAPA.
    Capabilities,
    /// AUTH without a mechanism.
    Mechanisms,
    /// LANG without a language (RFC 6856).
    Languages,
    /// USER, and whom it names.
    User(Option<String>),
    /// PASS or APOP, and whose login it completes.
    Login(Option<String>),
    /// AUTH with a mechanism, or a response to a challenge.
    Exchange(Exchange),
    /// QUIT.
    Quit,
    /// A command whose reply is one line and changes nothing here.
    Other,
}

impl Asked {
    /// Whether more lines follow a positive reply.
    fn lists(&self) -> bool {
        matches!(self, Self::Capabilities | Self::Mechanisms | Self::Languages)
    }
}

impl Pop3Filter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, start: Start, leg: Leg) -> Self {
        Self {
            settings,
            start,
            leg,
            state: State::Ready,
            reader: line::Reader::default(),
            tally: Tally::default(),
            timestamp: false,
            offered: Offered::default(),
            named: None,
            refused: None,
            complaints: Complaints::default(),
        }
    }
}

/// Tells the client that the backend cannot be followed any more.
fn break_off(wire: &mut Wire) -> Ending {
    line::write(words::farewell(Farewell::BackendLost), &mut wire.to_client);
    Ending::Backend(Violation::Backend)
}

/// Writes the last words for a client that broke the protocol or a limit.
fn dismiss(violation: Violation, wire: &mut Wire) -> Ending {
    line::write(words::violation(violation), &mut wire.to_client);
    Ending::Client(violation)
}

impl Filter for Pop3Filter {
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        match reply::first(greeting, false) {
            Ok(Some(Reply { status: Status::Positive, text, .. })) => {
                if self.start == Start::Greeting {
                    self.timestamp = reply::has_timestamp(text);
                    line::write(&reply::without_xclient(text), &mut wire.to_client);
                }
                Flow::Consume(greeting.len())
            }
            Ok(Some(Reply { status: Status::Negative, text, .. })) if self.start == Start::Greeting => {
                line::write(text, &mut wire.to_client);
                Flow::End(Ending::Refused)
            }
            Ok(Some(Reply { status: Status::Negative, text, .. })) => {
                self.state = State::Refused(text.to_vec());
                Flow::Consume(greeting.len())
            }
            _ => Flow::End(break_off(wire)),
        }
    }

    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let limits = &self.settings.limits;
        let limit = match self.state {
            State::LoggedIn(_) => return Flow::Pass(input.len()),
            State::Asked(_) => return Flow::Wait,
            State::Challenged(_) => limits.auth,
            State::Ready | State::Refused(_) => command_limit(input, limits),
        };
        match self.reader.read(input, limit, limits.auth) {
            Read::Partial => Flow::More,
            Read::Skipped { length } => Flow::Consume(length),
            Read::Endless => Flow::End(dismiss(Violation::LineTooLong, wire)),
            Read::Long { length } => Flow::used(length, self.refuse("Line too long", wire)),
            Read::Whole { text, length } if !line::has_control(text) => Flow::used(length, self.take_line(text, wire)),
            Read::Whole { length, .. } | Read::Bad { length } => {
                Flow::used(length, self.refuse("Control characters cannot be part of a command", wire))
            }
        }
    }

    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let asked = match std::mem::replace(&mut self.state, State::Ready) {
            State::Asked(asked) => asked,
            state @ State::Refused(_) => {
                self.state = state;
                return Flow::Consume(input.len());
            }
            state @ State::LoggedIn(_) => {
                self.state = state;
                return Flow::Pass(input.len());
            }
            State::Ready | State::Challenged(_) => {
                self.complaints.raise(Complaint::SpokeUnasked);
                return Flow::End(break_off(wire));
            }
        };
        match reply::first(input, asked.lists()) {
            Ok(Some(reply)) => Flow::used(reply.length, self.take_reply(asked, &reply, wire)),
            Ok(None) => {
                self.state = State::Asked(asked);
                Flow::More
            }
            Err(_) => Flow::End(break_off(wire)),
        }
    }

    fn client_ended(&mut self) -> bool {
        // Only whole lines go on, so that the backend is never in the middle of one.
        true
    }

    fn backend_lost(&mut self, wire: &mut Wire) -> Flow {
        match self.state {
            State::Refused(_) => return Flow::More,
            State::LoggedIn(_) => {}
            State::Ready | State::Asked(_) | State::Challenged(_) => {
                line::write(words::farewell(Farewell::BackendLost), &mut wire.to_client);
            }
        }
        Flow::End(Ending::BackendLost)
    }

    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool {
        let farewell = match (farewell, &self.state) {
            (_, State::LoggedIn(_)) => return false,
            // What comes now is taken for the reply to a password: it must not sound like a wrong one.
            (Farewell::Timeout, State::Asked(_)) => Farewell::BackendLost,
            _ => farewell,
        };
        line::write(words::farewell(farewell), &mut wire.to_client);
        true
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Ready | State::Challenged(_) | State::Refused(_) => Phase::Command,
            State::Asked(_) | State::LoggedIn(_) => Phase::Transfer,
        }
    }

    fn steps_aside(&self) -> bool {
        matches!(self.state, State::LoggedIn(_))
    }

    fn user(&self) -> Option<&str> {
        match &self.state {
            State::LoggedIn(user) => user.as_deref(),
            _ => None,
        }
    }

    fn refused_login(&mut self) -> Option<RefusedLogin> {
        self.refused.take()
    }

    fn complaint(&mut self) -> Option<Complaint> {
        self.complaints.take()
    }
}
