//! The client's side: which commands pass before login, and in which form (spec §4.2).

use std::ops::RangeInclusive;

use super::arguments::{self, Token};
use super::capability::Offer;
use super::command::{Command, Fault, Tag, Verb};
use super::filter::{Asked, ImapFilter, Kind, State};
use super::intake::Taken;
use super::outgoing::Outgoing;
use super::permit::{Permit, Plus};
use super::{id, words};
use crate::proto::line::{self, Line};
use crate::proto::sasl::{self, Exchange};
use crate::proto::{Flow, Violation, Wire};

/// What the client is answered in the backend's place.
#[derive(Debug)]
struct Refusal(&'static str, &'static str);

const WRONG_ARGUMENTS: Refusal = Refusal("BAD", "wrong arguments");
const NOT_OFFERED: Refusal = Refusal("BAD", "not offered");
const PRIVACY_REQUIRED: Refusal = Refusal("NO", "[PRIVACYREQUIRED] not without TLS");

impl ImapFilter {
    /// Looks at the client's bytes where a command is expected.
    pub(super) fn take_command(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        match self.intake.take(input, &self.permit()) {
            Taken::More => Flow::More,
            Taken::Used(count) => Flow::Consume(count),
            Taken::Prompt(count) => {
                wire.to_client.extend_from_slice(words::PROMPT);
                Flow::Consume(count)
            }
            Taken::Command(count, command) => match self.take_whole(&command, wire) {
                Ok(()) => Flow::Consume(count),
                Err(violation) => self.break_off(violation, wire),
            },
            Taken::Break(violation) => self.break_off(violation, wire),
        }
    }

    /// Which literals may come: none where the command would be refused anyway.
    fn permit(&self) -> Permit {
        Permit {
            login: self.logins_pass,
            id: self.offers(|offer| offer.id),
            language: self.offers(|offer| offer.language),
            plus: self.offer.as_ref().map_or(Plus::Never, |offer| offer.plus),
        }
    }

    fn take_whole(&mut self, command: &Command, wire: &mut Wire) -> Result<(), Violation> {
        self.tally.command(&self.settings.limits)?;
        match self.judge(command) {
            Ok(mut asked) => {
                wire.to_backend.extend(asked.rest.next().unwrap_or_default());
                self.state = State::Asked(asked);
                Ok(())
            }
            Err(Refusal(status, text)) => {
                words::reply(&mut wire.to_client, command.tag.as_ref(), status, text);
                self.tally.error(&self.settings.limits)
            }
        }
    }

    /// What goes on to the backend, if anything.
    fn judge(&self, command: &Command) -> Result<Asked, Refusal> {
        let faulty = |fault: Fault| Refusal("BAD", fault.text());
        command.fault.map_or(Ok(()), |fault| Err(faulty(fault)))?;
        let tag = command.tag.clone().ok_or(faulty(Fault::Tag))?;
        let words = || arguments::strings(&command.pieces).ok_or(WRONG_ARGUMENTS);
        match command.verb {
            Verb::Capability => counted(tag, "CAPABILITY", &words()?, 0..=0, Kind::Plain),
            Verb::Noop => counted(tag, "NOOP", &words()?, 0..=0, Kind::Plain),
            Verb::Logout => counted(tag, "LOGOUT", &words()?, 0..=0, Kind::Logout),
            Verb::Language if self.offers(|offer| offer.language) => {
                counted(tag, "LANGUAGE", &words()?, 0..=30, Kind::Plain)
            }
            Verb::Login | Verb::Authenticate if !self.logins_pass => Err(PRIVACY_REQUIRED),
            Verb::Login => login(tag, &words()?),
            Verb::Authenticate => self.authenticate(tag, &words()?),
            Verb::Id if self.offers(|offer| offer.id) => {
                let list = id::rebuild(&command.pieces).ok_or(WRONG_ARGUMENTS)?;
                Ok(ask(tag, "ID", &[Token::Atom(&list)], Kind::Plain))
            }
            Verb::Id | Verb::Language | Verb::Starttls => Err(NOT_OFFERED),
            Verb::Later => Err(Refusal("BAD", "log in first")),
            Verb::Unknown => Err(Refusal("BAD", "unknown command")),
        }
    }

    fn offers(&self, what: impl Fn(&Offer) -> bool) -> bool {
        self.offer.as_ref().is_some_and(what)
    }

    fn authenticate(&self, tag: Tag, words: &[Token]) -> Result<Asked, Refusal> {
        let (mechanism, initial) = match words {
            [Token::Atom(mechanism)] => (*mechanism, None),
            [Token::Atom(mechanism), Token::Atom(initial)] if is_base64(initial) => (*mechanism, Some(*initial)),
            _ => return Err(WRONG_ARGUMENTS),
        };
        // A client that was sent no list knows none; the backend has the say then.
        let listed = self.offer.as_ref().is_none_or(|offer| offer.has_mechanism(mechanism));
        if !listed || !sasl::may_be_asked_for(mechanism, self.leg) {
            return Err(Refusal("NO", "this mechanism is not offered"));
        }
        if initial.is_some() && !self.offers(|offer| offer.initial_response) {
            return Err(Refusal("BAD", "an initial response is not offered"));
        }
        let mut exchange = Exchange::new(mechanism);
        initial.into_iter().for_each(|response| exchange.respond(response));
        Ok(ask(tag, "AUTHENTICATE", words, Kind::Authenticate { exchange, challenged: false }))
    }

    /// Looks at the client's bytes where a response to a challenge is expected.
    pub(super) fn take_response(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let limits = self.settings.limits;
        let (response, length) = match line::first(input, limits.auth) {
            Line::Partial => return Flow::More,
            Line::Whole { text, length } if is_base64(text) || text == b"*" => (Some(text), length),
            Line::Whole { length, .. } | Line::Bad { length } => (None, length),
            Line::Long { .. } | Line::Endless => return self.break_off(Violation::LineTooLong, wire),
        };
        let counted = self.tally.command(&limits).and_then(|()| match response {
            Some(_) => Ok(()),
            None => self.tally.error(&limits),
        });
        match counted {
            Ok(()) => {
                // RFC 9051 §6.2.2: what is no response cancels the exchange, and the answer to that is the backend's.
                self.respond(response.unwrap_or(b"*"), wire);
                Flow::Consume(length)
            }
            Err(violation) => self.break_off(violation, wire),
        }
    }

    fn respond(&mut self, response: &[u8], wire: &mut Wire) {
        line::write(response, &mut wire.to_backend);
        if let State::Asked(Asked { kind: Kind::Authenticate { exchange, challenged }, .. }) = &mut self.state {
            *challenged = false;
            exchange.respond(response);
        }
    }
}

fn ask(tag: Tag, verb: &str, words: &[Token], kind: Kind) -> Asked {
    Asked { rest: Outgoing::new(&tag, verb, words), tag, kind }
}

fn counted(tag: Tag, verb: &str, words: &[Token], count: RangeInclusive<usize>, kind: Kind) -> Result<Asked, Refusal> {
    if count.contains(&words.len()) { Ok(ask(tag, verb, words, kind)) } else { Err(WRONG_ARGUMENTS) }
}

fn login(tag: Tag, words: &[Token]) -> Result<Asked, Refusal> {
    let user = words.first().and_then(Token::value).and_then(|name| sasl::bounded_name(&name));
    counted(tag, "LOGIN", words, 2..=2, Kind::Login { user })
}

/// RFC 4648 §4 as RFC 9051 §9 has it; an empty response, and `=` for an empty initial one (RFC 4959 §3), too.
fn is_base64(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}
