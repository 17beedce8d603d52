//! ManageSieve inside TLS, until the login (spec §4.2).
//!
//! Promises that one command at a time is with the backend, that only whole commands and whole replies cross, and
//! that the reply that completes the login is the last thing looked at. Passes AUTHENTICATE, CAPABILITY, NOOP and
//! LOGOUT (RFC 5804 §2); refuses everything else, and the mechanisms that the client was not shown.

mod commands;
mod replies;

use std::sync::Arc;

pub(super) use commands::authenticates;

use super::reader::{Read, Reader};
use super::reply::{self, Status};
use super::words;
use crate::proto::complaint::Complaints;
use crate::proto::sasl::Exchange;
use crate::proto::tally::Tally;
use crate::proto::{
    Complaint, Ending, Farewell, Filter, Flow, Leg, Phase, RefusedLogin, Settings, Start, Violation, Wire, line,
};

/// What stands between client and backend.
pub struct SieveFilter {
    settings: Arc<Settings>,
    start: Start,
    leg: Leg,
    state: State,
    reader: Reader,
    tally: Tally,
    /// The mechanisms in the last list that the client was sent.
    offered: Option<Vec<Vec<u8>>>,
    refused: Option<RefusedLogin>,
    complaints: Complaints,
}

/// Whose turn it is.
enum State {
    /// The client's: nothing is under way.
    Ready,
    /// The backend's: it was sent this.
    Asked(Asked),
    /// The client's: its next string answers the backend's challenge.
    Challenged(Exchange),
    /// Nobody's: the rest is not looked at.
    LoggedIn(Option<String>),
}

/// A command that the backend has not answered yet.
enum Asked {
    /// CAPABILITY.
    Capabilities,
    /// AUTHENTICATE, or a response to a challenge.
    Exchange(Exchange),
    /// LOGOUT.
    Logout,
    /// NOOP.
    Noop,
}

impl SieveFilter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, start: Start, leg: Leg) -> Self {
        Self {
            settings,
            start,
            leg,
            state: State::Ready,
            reader: Reader::default(),
            tally: Tally::default(),
            offered: None,
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

impl Filter for SieveFilter {
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        match reply::first(greeting) {
            Ok(Some(reply)) if reply.status != Status::Positive => return replies::pass_refusal(&reply, wire),
            // RFC 5804 §2.2: the list is sent again once TLS is up. In plaintext the client has had mailward's.
            Ok(Some(reply)) if matches!(self.start, Start::Opened(_)) => _ = self.learn(&reply),
            Ok(Some(reply)) => {
                if let Err(ending) = self.show(&reply, wire) {
                    return Flow::End(ending);
                }
            }
            Ok(None) | Err(_) => return Flow::End(break_off(wire)),
        }
        Flow::Consume(greeting.len())
    }

    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        match self.state {
            State::LoggedIn(_) => return Flow::Pass(input.len()),
            State::Asked(_) => return Flow::Wait,
            State::Ready | State::Challenged(_) => {}
        }
        let bounds = self.bounds(input);
        match self.reader.read(input, &bounds) {
            Read::Partial => Flow::More,
            Read::Taken(length) => Flow::Consume(length),
            Read::Whole(length, command) => Flow::used(length, self.take_command(&command, wire)),
            Read::Flawed(length) => Flow::used(length, self.refuse("Too long, or not a command", wire)),
            Read::Over(violation) => Flow::End(dismiss(violation, wire)),
        }
    }

    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Asked(asked) => self.take_reply(asked, input, wire),
            state @ State::LoggedIn(_) => {
                self.state = state;
                Flow::Pass(input.len())
            }
            state @ (State::Ready | State::Challenged(_)) => {
                self.state = state;
                self.take_unasked(input, wire)
            }
        }
    }

    fn client_ended(&mut self) -> bool {
        // Only whole commands go on, so that the backend is never in the middle of one.
        true
    }

    fn backend_lost(&mut self, wire: &mut Wire) -> Flow {
        self.farewell(Farewell::BackendLost, wire);
        Flow::End(Ending::BackendLost)
    }

    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool {
        if self.steps_aside() {
            return false;
        }
        line::write(words::farewell(farewell), &mut wire.to_client);
        true
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Ready | State::Challenged(_) => Phase::Command,
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
