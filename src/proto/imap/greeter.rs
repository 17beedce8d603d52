//! IMAP before TLS: the whole server until STARTTLS (spec §4.1).
//!
//! Promises that no password is ever asked for: a literal gets its `+` in ID alone. Refuses what IMAP knows with
//! `NO [PRIVACYREQUIRED]` (RFC 5530 §3), all else with BAD. RFC 9051 §6.1, §6.2.1; RFC 2971.

use std::sync::Arc;

use super::command::{Command, Fault, Head, Tag, Verb};
use super::intake::{Intake, Taken};
use super::permit::{Permit, Plus};
use super::{arguments, id, words};
use crate::proto::line::Line;
use crate::proto::tally::Tally;
use crate::proto::{Farewell, Greeter, Input, Opening, Outcome, Settings, Step, Violation};

/// Which literals are taken: those of an ID, which holds no secret.
const PERMIT: Permit = Permit { login: false, id: true, language: false, plus: Plus::Never };

/// The server that a client meets before TLS.
pub struct ImapGreeter {
    settings: Arc<Settings>,
    intake: Intake,
    tally: Tally,
}

/// What a command gets.
enum Answer {
    /// These untagged lines, and OK.
    Done(String),
    /// `* BYE`, OK, and the end.
    Goodbye,
    /// OK and TLS, if nothing stands behind the command.
    StartTls,
    /// This status and text.
    Refused(&'static str, &'static str),
}

impl ImapGreeter {
    /// A greeter that has said nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { intake: Intake::new(settings.limits), tally: Tally::default(), settings }
    }

    fn capabilities(&self) -> &'static str {
        if self.settings.permits_plaintext_login() {
            "CAPABILITY IMAP4rev1 ID STARTTLS"
        } else {
            "CAPABILITY IMAP4rev1 ID STARTTLS LOGINDISABLED"
        }
    }

    /// Whether the command at the front is one for the backend, which is to have it whole.
    fn goes_on_in_plaintext(&self, input: &[u8]) -> bool {
        if !self.settings.permits_plaintext_login() || !self.intake.is_between_commands() {
            return false;
        }
        let Line::Whole { text, .. } = self.intake.first_line(input) else { return false };
        let Head { tag, verb, .. } = Head::parse(text);
        tag.is_some() && verb.is_for_the_backend()
    }

    fn advance(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        while !input.peek().is_empty() {
            if self.goes_on_in_plaintext(input.peek()) {
                return Ok(Step::Done(Outcome::Plaintext(Opening::Nothing)));
            }
            match self.intake.take(input.peek(), &PERMIT) {
                Taken::More => break,
                Taken::Used(count) => input.consume(count),
                Taken::Prompt(count) => {
                    input.consume(count);
                    output.extend_from_slice(words::PROMPT);
                }
                Taken::Command(count, command) => {
                    input.consume(count);
                    let step = self.answer(&command, input, output)?;
                    if step != Step::More {
                        return Ok(step);
                    }
                }
                Taken::Break(violation) => return Err(violation),
            }
        }
        Ok(Step::More)
    }

    fn answer(&mut self, command: &Command, rest: &Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        self.tally.command(&self.settings.limits)?;
        let tag = command.tag.as_ref();
        match self.decide(command) {
            Answer::Done(data) => {
                output.extend_from_slice(data.as_bytes());
                words::reply(output, tag, "OK", "completed");
            }
            Answer::Goodbye => {
                words::reply(output, None, "BYE", "closing the connection");
                words::reply(output, tag, "OK", "LOGOUT completed");
                return Ok(Step::Done(Outcome::Closed));
            }
            Answer::StartTls => return start_tls(tag, rest, output),
            Answer::Refused(status, text) => {
                words::reply(output, tag, status, text);
                self.tally.error(&self.settings.limits)?;
            }
        }
        Ok(Step::More)
    }

    fn decide(&self, command: &Command) -> Answer {
        match command.fault {
            Some(fault @ (Fault::Tag | Fault::Byte | Fault::Line)) => Answer::Refused("BAD", fault.text()),
            _ if command.verb.is_for_the_backend() => Answer::Refused("NO", "[PRIVACYREQUIRED] STARTTLS comes first"),
            Some(fault) => Answer::Refused("BAD", fault.text()),
            None => self.obey(command),
        }
    }

    fn obey(&self, command: &Command) -> Answer {
        let bare = arguments::strings(&command.pieces).is_some_and(|strings| strings.is_empty());
        match command.verb {
            Verb::Id if id::rebuild(&command.pieces).is_some() => Answer::Done("* ID NIL\r\n".to_owned()),
            Verb::Capability if bare => Answer::Done(format!("* {}\r\n", self.capabilities())),
            Verb::Noop if bare => Answer::Done(String::new()),
            Verb::Logout if bare => Answer::Goodbye,
            Verb::Starttls if bare => Answer::StartTls,
            Verb::Unknown => Answer::Refused("BAD", "unknown command"),
            _ => Answer::Refused("BAD", "wrong arguments"),
        }
    }
}

/// RFC 9051 §6.2.1: TLS begins right behind the CRLF of the reply. What a client sent before it had that reply
/// was either put there by somebody else, or meant for nobody.
fn start_tls(tag: Option<&Tag>, rest: &Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
    match rest.emptied() {
        Some(emptied) => {
            words::reply(output, tag, "OK", "begin TLS now");
            Ok(Step::Done(Outcome::StartTls(emptied)))
        }
        None => {
            words::reply(output, tag, "BAD", "nothing may follow STARTTLS");
            Err(Violation::InjectedBeforeTls)
        }
    }
}

impl Greeter for ImapGreeter {
    fn greet(&mut self, output: &mut Vec<u8>) {
        let (list, host) = (self.capabilities(), &self.settings.hostname);
        words::reply(output, None, "OK", &format!("[{list}] {host} ready"));
    }

    fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        self.advance(input, output).inspect_err(|violation| output.extend_from_slice(words::violation(*violation)))
    }

    fn farewell(&self, farewell: Farewell, output: &mut Vec<u8>) {
        output.extend_from_slice(words::farewell(farewell));
    }
}
