//! What a ManageSieve client asks before its login: passed, refused, or sent on as something else.

use super::{Asked, SieveFilter, State, dismiss};
use crate::proto::sasl::{self, Exchange};
use crate::proto::sieve::reader::Bounds;
use crate::proto::sieve::syntax;
use crate::proto::{Ending, Violation, Wire, line};

/// Whether a line begins with AUTHENTICATE and a blank.
pub(in crate::proto::sieve) fn authenticates(text: &[u8]) -> bool {
    const VERB: &[u8] = b"AUTHENTICATE ";
    text.get(..VERB.len()).is_some_and(|verb| verb.eq_ignore_ascii_case(VERB))
}

impl SieveFilter {
    /// How long what is at the front of `input` may be: a SASL string may be longer than other commands.
    pub(super) fn bounds(&self, input: &[u8]) -> Bounds {
        let limits = &self.settings.limits;
        let first_line = if self.reader.is_fresh() { input } else { self.reader.command() };
        let is_sasl = matches!(self.state, State::Challenged(_)) || authenticates(first_line);
        let (line, literal) =
            if is_sasl { (limits.auth.max(limits.line), limits.auth) } else { (limits.line, limits.literal) };
        Bounds { line, literal, kept: line.saturating_add(literal), discarded: limits.auth }
    }

    /// Takes a whole command or response of the client.
    pub(super) fn take_command(&mut self, command: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        if let State::Challenged(_) = self.state {
            return self.respond(command, wire);
        }
        self.tally.command(&self.settings.limits).map_err(|violation| dismiss(violation, wire))?;
        let (verb, arguments) = syntax::verb(command);
        let asked = match verb.as_slice() {
            b"AUTHENTICATE" => return self.authenticate(arguments, command, wire),
            b"CAPABILITY" => syntax::strings(arguments, 0).map(|_| Asked::Capabilities),
            b"NOOP" => syntax::strings(arguments, 1).map(|_| Asked::Noop),
            b"LOGOUT" => syntax::strings(arguments, 0).map(|_| Asked::Logout),
            b"STARTTLS" => return self.refuse("STARTTLS is not possible now", wire),
            _ if line::is_http(command) => return Err(dismiss(Violation::HttpRequest, wire)),
            _ => return self.refuse("Log in first", wire),
        };
        match asked {
            Ok(asked) => {
                self.ask(command, asked, wire);
                Ok(())
            }
            Err(_) => self.refuse("These arguments do not fit the command", wire),
        }
    }

    fn authenticate(&mut self, arguments: &[u8], command: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        let arguments = syntax::strings(arguments, 2).unwrap_or_default();
        let Some((mechanism, initial)) = arguments.split_first() else {
            return self.refuse("AUTHENTICATE takes a mechanism and a response", wire);
        };
        if !self.permits(mechanism) {
            return self.refuse("Unknown mechanism", wire);
        }
        let mut exchange = Exchange::new(mechanism);
        initial.iter().for_each(|response| exchange.respond(response));
        self.ask(command, Asked::Exchange(exchange), wire);
        Ok(())
    }

    /// Whether the client may use a mechanism: hidden is also refused.
    fn permits(&self, mechanism: &[u8]) -> bool {
        let listed = |list: &Vec<Vec<u8>>| list.iter().any(|name| name.eq_ignore_ascii_case(mechanism));
        sasl::may_be_asked_for(mechanism, self.leg) && self.offered.as_ref().is_none_or(listed)
    }

    /// Takes the client's answer to a challenge: one string, `"*"` to cancel.
    fn respond(&mut self, command: &[u8], wire: &mut Wire) -> Result<(), Ending> {
        let Some(response) = syntax::strings(command, 1).ok().and_then(|mut strings| strings.pop()) else {
            return self.refuse("A response is one string", wire);
        };
        if let State::Challenged(mut exchange) = std::mem::replace(&mut self.state, State::Ready) {
            exchange.respond(&response);
            self.ask(command, Asked::Exchange(exchange), wire);
        }
        Ok(())
    }

    /// Sends the backend a command, and holds the client's next one back until it is answered.
    fn ask(&mut self, command: &[u8], asked: Asked, wire: &mut Wire) {
        line::write(command, &mut wire.to_backend);
        self.state = State::Asked(asked);
    }

    /// Answers a command that cannot go on. In an exchange the backend is still waiting for a string: it gets the
    /// cancellation (RFC 5804 §2.1), and the client the backend's reply to it.
    pub(super) fn refuse(&mut self, why: &str, wire: &mut Wire) -> Result<(), Ending> {
        self.tally.error(&self.settings.limits).map_err(|violation| dismiss(violation, wire))?;
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Challenged(exchange) => self.ask(b"\"*\"", Asked::Exchange(exchange), wire),
            state => {
                line::write(format!("NO \"{why}\"").as_bytes(), &mut wire.to_client);
                self.state = state;
            }
        }
        Ok(())
    }
}
