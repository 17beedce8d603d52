//! What a POP3 client asks before its login: passed, refused, or sent on as something else.

use super::{Asked, Pop3Filter, State, dismiss};
use crate::proto::sasl::{self, Exchange};
use crate::proto::{Ending, Limits, Violation, Wire, line};

/// How long the line at the front of `input` may be: an initial response may be as long as a SASL line.
pub(in crate::proto::pop3) fn command_limit(input: &[u8], limits: &Limits) -> usize {
    let is_auth = input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
    if is_auth { limits.auth.max(limits.line) } else { limits.line }
}

impl Pop3Filter {
    /// Takes a whole line of the client.
    pub(super) fn take_line(&mut self, text: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Challenged(mut exchange) => {
                exchange.respond(text);
                self.ask(text, Asked::Exchange(exchange), wire);
                Ok(())
            }
            State::Refused(refusal) => {
                line::write(&refusal, &mut wire.to_client);
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
        if !self.offered.permits(mechanism, self.leg) {
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
        line::write(text, &mut wire.to_backend);
        self.state = State::Asked(asked);
    }

    /// Answers a line that cannot go on. In an exchange the backend is still waiting for one: it gets the
    /// cancellation (RFC 5034 §4), and the client the backend's reply to it.
    pub(super) fn refuse(&mut self, why: &str, wire: &mut Wire) -> Result<(), Ending> {
        self.tally.error(&self.settings.limits).map_err(|violation| dismiss(violation, wire))?;
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Challenged(exchange) => self.ask(b"*", Asked::Exchange(exchange), wire),
            State::Refused(refusal) => {
                line::write(&refusal, &mut wire.to_client);
                return Err(Ending::Refused);
            }
            state => {
                line::write(format!("-ERR {why}").as_bytes(), &mut wire.to_client);
                self.state = state;
            }
        }
        Ok(())
    }
}
