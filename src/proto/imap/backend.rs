//! The backend's side: what of its replies reaches the client before login (spec §4.2).

use super::filter::{ImapFilter, Kind, Reply, State};
use super::response::{self, LIMIT, Response, Status, Tagged};
use super::{capability, words};
use crate::proto::line::{self, Line};
use crate::proto::{Complaint, Ending, Flow, RefusedLogin, Violation, Wire, literal};

impl ImapFilter {
    /// Takes the backend's greeting, a whole line.
    pub(super) fn take_greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        let Line::Whole { text, .. } = line::first(greeting, LIMIT) else {
            return self.fail(Violation::Backend, wire);
        };
        match Response::parse(text) {
            Some(Response::Line) => {
                let greeting_line = self.screened(text);
                if self.greets {
                    line::write(greeting_line.as_deref().unwrap_or(text), &mut wire.to_client);
                }
                Flow::Consume(greeting.len())
            }
            Some(Response::Bye) => self.part(text, Ending::Refused, wire),
            Some(Response::Preauth) => self.fail(Violation::Preauth, wire),
            _ => self.fail(Violation::Backend, wire),
        }
    }

    /// Looks at the backend's bytes behind the greeting.
    pub(super) fn take_reply(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        if let Reply::Literal(missing) = self.reply {
            let count = missing.min(input.len());
            self.reply = if count == missing { Reply::Rest } else { Reply::Literal(missing - count) };
            return Flow::Pass(count);
        }
        match line::first(input, LIMIT) {
            Line::Partial => Flow::More,
            Line::Whole { text, length } if self.reply == Reply::Rest => self.pass_data(text, length, wire),
            Line::Whole { text, length } => self.take_line(text, length, wire),
            Line::Bad { .. } | Line::Long { .. } | Line::Endless => self.fail(Violation::Backend, wire),
        }
    }

    fn take_line(&mut self, text: &[u8], length: usize, wire: &mut Wire) -> Flow {
        let asked = matches!(self.state, State::Asked(_));
        match Response::parse(text) {
            Some(Response::Bye) if !asked => self.part(text, Ending::Closed, wire),
            _ if !asked => self.fail_unasked(wire),
            Some(Response::Continue) => self.take_continue(length, wire),
            Some(Response::Data) => self.pass_data(text, length, wire),
            Some(Response::Line) => self.pass_line(text, length, wire),
            Some(Response::Bye) => {
                self.bye = true;
                self.pass_line(text, length, wire)
            }
            Some(Response::Tagged(tagged)) => self.take_tagged(&tagged, text, length, wire),
            Some(Response::Preauth) => self.fail(Violation::Preauth, wire),
            None => self.fail(Violation::Backend, wire),
        }
    }

    /// `+`: for a literal, of which the client knows nothing, or a challenge, which is the client's.
    fn take_continue(&mut self, length: usize, wire: &mut Wire) -> Flow {
        let State::Asked(asked) = &mut self.state else { return self.fail(Violation::Backend, wire) };
        if let Some(part) = asked.rest.next() {
            wire.to_backend.extend(part);
            return Flow::Consume(length);
        }
        match &mut asked.kind {
            Kind::Authenticate { challenged: challenged @ false, .. } => {
                *challenged = true;
                Flow::Pass(length)
            }
            _ => self.fail(Violation::Backend, wire),
        }
    }

    fn take_tagged(&mut self, tagged: &Tagged, text: &[u8], length: usize, wire: &mut Wire) -> Flow {
        let State::Asked(asked) = std::mem::replace(&mut self.state, State::Idle) else {
            return self.fail_unasked(wire);
        };
        // OK to a command that the backend has not had whole is a success that nobody gave.
        let granted = tagged.status == Status::Ok;
        if asked.tag.as_bytes() != tagged.tag || (granted && !asked.rest.is_sent()) {
            return self.fail(Violation::Backend, wire);
        }
        let closes = self.bye || (granted && matches!(asked.kind, Kind::Logout));
        self.settle(asked.kind, tagged);
        if closes { self.part(text, Ending::Closed, wire) } else { self.pass_line(text, length, wire) }
    }

    /// Draws the consequences of how a command ended.
    fn settle(&mut self, kind: Kind, tagged: &Tagged) {
        let user = match kind {
            Kind::Plain | Kind::Logout => return,
            Kind::Login { user } => user,
            Kind::Authenticate { exchange, .. } => exchange.user(),
        };
        if tagged.status == Status::Ok {
            self.user = user;
            self.state = State::LoggedIn;
        } else if response::has_code(tagged.text, b"PRIVACYREQUIRED") {
            self.complaints.raise(Complaint::LoginRefusedInPlaintext);
        } else if tagged.status == Status::No && !response::has_code(tagged.text, b"UNAVAILABLE") {
            // RFC 5530 §3: UNAVAILABLE says that nobody could look.
            self.refused = Some(RefusedLogin { user });
        }
    }

    /// A line without literals.
    fn pass_line(&mut self, text: &[u8], length: usize, wire: &mut Wire) -> Flow {
        match self.screened(text) {
            Some(line) => {
                line::write(&line, &mut wire.to_client);
                Flow::Consume(length)
            }
            None => Flow::Pass(length),
        }
    }

    /// A line of data, or what follows a literal in it; it may announce one, `{n}` being the only form that a
    /// server has (RFC 9051 §4.3).
    fn pass_data(&mut self, text: &[u8], length: usize, wire: &mut Wire) -> Flow {
        self.reply = match literal::announced(text).filter(|literal| !literal.plus).map(|literal| literal.size) {
            None => Reply::Between,
            Some(Some(0)) => Reply::Rest,
            Some(Some(size)) if size <= LIMIT => Reply::Literal(size),
            Some(_) => return self.fail(Violation::Backend, wire),
        };
        Flow::Pass(length)
    }

    /// The line for the client where it holds a capability list, which is remembered.
    fn screened(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let (before, list, after) = response::around_list(text)?;
        let screened = capability::screen(list, self.logins_pass, self.leg);
        if screened.login_disabled {
            self.complaints.raise(Complaint::LoginRefusedInPlaintext);
        }
        self.offer = Some(screened.offer);
        Some([before, &screened.list, after].concat())
    }

    /// Passes the backend's last line on, and ends.
    fn part(&mut self, text: &[u8], ending: Ending, wire: &mut Wire) -> Flow {
        let line = self.screened(text);
        line::write(line.as_deref().unwrap_or(text), &mut wire.to_client);
        Flow::End(ending)
    }

    fn fail_unasked(&mut self, wire: &mut Wire) -> Flow {
        self.complaints.raise(Complaint::SpokeUnasked);
        self.fail(Violation::Backend, wire)
    }

    /// Ends the session for a fault of the backend's.
    fn fail(&mut self, violation: Violation, wire: &mut Wire) -> Flow {
        if violation == Violation::Preauth {
            self.complaints.raise(Complaint::Preauth);
        }
        self.say(words::violation(violation), wire);
        Flow::End(Ending::Backend(violation))
    }
}
