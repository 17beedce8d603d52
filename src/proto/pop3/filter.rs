//! POP3 inside TLS, until the login (spec §4.2).
//!
//! Promises that one command at a time is with the backend, that only whole commands and whole replies cross, and
//! that the reply that completes the login is the last thing looked at. Passes USER, PASS, APOP, AUTH, CAPA, QUIT,
//! NOOP, UTF8 and LANG; refuses everything else, and the mechanisms that the client was not shown.

use std::sync::Arc;

use super::capabilities::{Capabilities, Offered};
use super::reply::{self, Reply, Status};
use super::words;
use crate::proto::line::{self, Read};
use crate::proto::sasl::{self, Exchange};
use crate::proto::tally::Tally;
use crate::proto::{Complaint, Ending, Farewell, Filter, Flow, Limits, Phase, Settings, Start, Violation, Wire};

/// What stands between client and backend.
pub struct Pop3Filter {
    settings: Arc<Settings>,
    start: Start,
    state: State,
    reader: line::Reader,
    tally: Tally,
    /// Whether the client has seen the timestamp that APOP needs.
    timestamp: bool,
    offered: Offered,
    /// Who was named in the last accepted USER.
    named: Option<String>,
    complaint: Option<Complaint>,
    complained: bool,
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
    /// LANG without a language (RFC 6856 §3.2).
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

/// How long the line at the front of `input` may be: an initial response may be as long as a SASL line.
pub(super) fn command_limit(input: &[u8], limits: &Limits) -> usize {
    let is_auth = input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
    if is_auth { limits.auth.max(limits.line) } else { limits.line }
}

impl Pop3Filter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, start: Start, _encrypted: bool) -> Self {
        Self {
            settings,
            start,
            state: State::Ready,
            reader: line::Reader::default(),
            tally: Tally::default(),
            timestamp: false,
            offered: Offered::default(),
            named: None,
            complaint: None,
            complained: false,
        }
    }

    /// Takes a whole line of the client.
    fn take_line(&mut self, text: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Challenged(mut exchange) => {
                exchange.respond(text);
                self.ask(text, Asked::Exchange(exchange), wire);
                Ok(())
            }
            State::Refused(refusal) => {
                words::line(&refusal, &mut wire.to_client);
                Err(Ending::Refused)
            }
            State::Ready => self.take_command(text, wire),
            state @ (State::Asked(_) | State::LoggedIn(_)) => {
                self.state = state;
                Ok(())
            }
        }
    }

    fn take_command(&mut self, text: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        self.tally.command(&self.settings.limits).map_err(|violation| dismiss(violation, wire))?;
        let (verb, argument) = line::word(text);
        let asked = match verb.to_ascii_uppercase().as_slice() {
            b"USER" => Asked::User(sasl::bounded_name(argument)),
            b"PASS" => Asked::Login(self.named.take()),
            b"APOP" if self.timestamp => Asked::Login(sasl::bounded_name(line::word(argument).0)),
            b"APOP" => return self.refuse("APOP is not possible here", wire),
            b"AUTH" => return self.authenticate(line::trim_end(argument), text, wire),
            b"CAPA" => Asked::Capabilities,
            b"LANG" if line::trim_end(argument).is_empty() => Asked::Languages,
            b"NOOP" | b"UTF8" | b"LANG" => Asked::Other,
            b"QUIT" => Asked::Quit,
            b"STLS" => return self.refuse("STLS is not possible now", wire),
            _ if line::is_http(text) => return Err(dismiss(Violation::HttpRequest, wire)),
            _ => return self.refuse("Unknown command", wire),
        };
        self.ask(text, asked, wire);
        Ok(())
    }

    fn authenticate(&mut self, argument: &[u8], text: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        let (mechanism, initial) = line::word(argument);
        if mechanism.is_empty() {
            self.ask(b"AUTH", Asked::Mechanisms, wire);
            return Ok(());
        }
        if !self.offered.permits(mechanism) {
            return self.refuse("Unknown mechanism", wire);
        }
        let mut exchange = Exchange::new(mechanism);
        if !initial.is_empty() {
            exchange.respond(initial);
        }
        self.ask(text, Asked::Exchange(exchange), wire);
        Ok(())
    }

    /// Sends the backend a line, and holds the client's next one back until it is answered.
    fn ask(&mut self, text: &[u8], asked: Asked, wire: &mut Wire) {
        words::line(text, &mut wire.to_backend);
        self.state = State::Asked(asked);
    }

    /// Answers a line that cannot go on. In an exchange the backend is still waiting for one: it gets the
    /// cancellation (RFC 5034 §4), and the client the backend's reply to it.
    fn refuse(&mut self, why: &str, wire: &mut Wire) -> Result<(), Ending> {
        self.tally.error(&self.settings.limits).map_err(|violation| dismiss(violation, wire))?;
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Challenged(exchange) => self.ask(b"*", Asked::Exchange(exchange), wire),
            State::Refused(refusal) => {
                words::line(&refusal, &mut wire.to_client);
                return Err(Ending::Refused);
            }
            state => {
                words::line(format!("-ERR {why}").as_bytes(), &mut wire.to_client);
                self.state = state;
            }
        }
        Ok(())
    }

    /// Takes the backend's reply to what it was asked.
    fn take_reply(&mut self, asked: Asked, reply: &Reply<'_>, wire: &mut Wire) -> Result<(), Ending> {
        if reply.status == Status::Challenge && !matches!(asked, Asked::Exchange(_)) {
            return Err(break_off(wire));
        }
        words::line(reply.text, &mut wire.to_client);
        match (asked, reply.status) {
            (Asked::Quit, _) => return Err(Ending::Closed),
            (Asked::Exchange(exchange), Status::Challenge) => self.state = State::Challenged(exchange),
            (Asked::Exchange(exchange), Status::Positive) => self.state = State::LoggedIn(exchange.user()),
            (Asked::Login(user), Status::Positive) => self.state = State::LoggedIn(user),
            (Asked::User(user), Status::Positive) => self.named = user,
            (Asked::User(_) | Asked::Login(_) | Asked::Exchange(_), _) if reply::wants_tls(reply.text) => {
                self.complain(Complaint::LoginRefusedInPlaintext);
            }
            (asked, _) => self.take_list(&asked, reply.list, wire),
        }
        Ok(())
    }

    /// Sends on what is left of a list, if the reply has one.
    fn take_list(&mut self, asked: &Asked, list: Option<&[u8]>, wire: &mut Wire) {
        let Some(list) = list else { return };
        match asked {
            Asked::Capabilities => self.show_capabilities(list, wire),
            Asked::Mechanisms => {
                let mechanisms = reply::mechanisms(list);
                mechanisms.iter().for_each(|mechanism| words::line(mechanism, &mut wire.to_client));
                self.offered.by_auth = Some(mechanisms);
            }
            _ => reply::lines(list).for_each(|text| words::line(text, &mut wire.to_client)),
        }
        words::line(b".", &mut wire.to_client);
    }

    fn show_capabilities(&mut self, list: &[u8], wire: &mut Wire) {
        let capabilities = Capabilities::filter(list);
        wire.to_client.extend_from_slice(&capabilities.lines);
        self.offered.by_capa = capabilities.mechanisms;
        if !capabilities.login {
            self.complain(Complaint::LoginRefusedInPlaintext);
        }
    }

    fn complain(&mut self, complaint: Complaint) {
        if !std::mem::replace(&mut self.complained, true) {
            self.complaint = Some(complaint);
        }
    }
}

/// Tells the client that the backend cannot be followed any more.
fn break_off(wire: &mut Wire) -> Ending {
    words::line(words::farewell(Farewell::BackendLost), &mut wire.to_client);
    Ending::Backend(Violation::Backend)
}

/// Writes the last words for a client that broke the protocol or a limit.
fn dismiss(violation: Violation, wire: &mut Wire) -> Ending {
    words::line(words::violation(violation), &mut wire.to_client);
    Ending::Client(violation)
}

/// The front of an input is used up, and the session may have come to its end by that.
fn used(length: usize, taken: Result<(), Ending>) -> Flow {
    taken.map_or_else(Flow::End, |()| Flow::Consume(length))
}

impl Filter for Pop3Filter {
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        match reply::first(greeting, false) {
            Ok(Some(Reply { status: Status::Positive, text, .. })) => {
                if self.start == Start::Greeting {
                    self.timestamp = reply::has_timestamp(text);
                    words::line(&reply::without_xclient(text), &mut wire.to_client);
                }
                Flow::Consume(greeting.len())
            }
            Ok(Some(Reply { status: Status::Negative, text, .. })) if self.start == Start::Greeting => {
                words::line(text, &mut wire.to_client);
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
            Read::Long { length } => used(length, self.refuse("Line too long", wire)),
            Read::Whole { text, length } if !line::has_control(text) => used(length, self.take_line(text, wire)),
            Read::Whole { length, .. } | Read::Bad { length } => {
                used(length, self.refuse("Control characters cannot be part of a command", wire))
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
                self.complain(Complaint::SpokeUnasked);
                return Flow::End(break_off(wire));
            }
        };
        match reply::first(input, asked.lists()) {
            Ok(Some(reply)) => used(reply.length, self.take_reply(asked, &reply, wire)),
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
                words::line(words::farewell(Farewell::BackendLost), &mut wire.to_client);
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
        words::line(words::farewell(farewell), &mut wire.to_client);
        true
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Ready | State::Challenged(_) | State::Refused(_) => Phase::Command,
            State::Asked(_) | State::LoggedIn(_) => Phase::Transfer,
        }
    }

    fn awaits_login(&self) -> bool {
        !self.steps_aside()
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

    fn complaint(&mut self) -> Option<Complaint> {
        self.complaint.take()
    }
}
