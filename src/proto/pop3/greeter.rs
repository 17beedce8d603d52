//! POP3 before TLS: the whole server until STLS (spec §4.1).
//!
//! Promises that no password is asked for, that no backend is needed, and that TLS begins with nothing left of
//! what came before it. Answers CAPA, NOOP, QUIT and STLS (RFC 2595 §4); refuses everything else. The greeting
//! has no timestamp, so that no client tries APOP in clear.

use std::sync::Arc;

use super::words;
use crate::proto::line::{self, Read};
use crate::proto::tally::Tally;
use crate::proto::{Farewell, Greeter, Input, Opening, Outcome, Settings, Step, Violation};

/// The server that a client meets before TLS.
pub struct Pop3Greeter {
    settings: Arc<Settings>,
    reader: line::Reader,
    tally: Tally,
}

impl Pop3Greeter {
    /// A greeter that has said nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, reader: line::Reader::default(), tally: Tally::default() }
    }

    /// How long the line at the front of `input` may be: a login that goes on to the backend is measured there.
    fn limit(&self, input: &[u8]) -> usize {
        let limits = &self.settings.limits;
        if self.settings.permits_plaintext_login() { super::filter::command_limit(input, limits) } else { limits.line }
    }

    fn advance(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        while !input.peek().is_empty() {
            let limit = self.limit(input.peek());
            let bound = self.settings.limits.auth;
            match self.reader.read(input.peek(), limit, bound) {
                Read::Partial => break,
                Read::Endless => return Err(Violation::LineTooLong),
                Read::Skipped { length } => input.consume(length),
                Read::Long { length } => {
                    input.consume(length);
                    self.refuse("Line too long", output)?;
                }
                Read::Bad { length } => {
                    input.consume(length);
                    self.refuse("NUL and CR cannot be part of a command", output)?;
                }
                Read::Whole { text, length } => {
                    let command = Command::parse(text);
                    if command == Command::Login && self.settings.permits_plaintext_login() {
                        return Ok(Step::Done(Outcome::Plaintext(Opening::Nothing)));
                    }
                    input.consume(length);
                    if let Some(outcome) = self.answer(command, input, output)? {
                        return Ok(Step::Done(outcome));
                    }
                }
            }
        }
        Ok(Step::More)
    }

    /// Answers a command that was taken from the front of `input`.
    fn answer(&mut self, command: Command, input: &Input, output: &mut Vec<u8>) -> Result<Option<Outcome>, Violation> {
        self.tally.command(&self.settings.limits)?;
        match command {
            Command::Capabilities => self.list(output),
            Command::Noop => line::write(b"+OK", output),
            Command::Quit => {
                line::write(b"+OK Goodbye", output);
                return Ok(Some(Outcome::Closed));
            }
            Command::StartTls => {
                let emptied = input.emptied().ok_or(Violation::InjectedBeforeTls)?;
                line::write(b"+OK Begin TLS", output);
                return Ok(Some(Outcome::StartTls(emptied)));
            }
            Command::StartTlsArgument => self.refuse("STLS takes no argument", output)?,
            Command::Login => self.refuse("Use STLS first", output)?,
            Command::Unknown => self.refuse("Unknown command", output)?,
            Command::Http => return Err(Violation::HttpRequest),
        }
        Ok(None)
    }

    fn list(&self, output: &mut Vec<u8>) {
        line::write(b"+OK What I can do:", output);
        if self.settings.permits_plaintext_login() {
            line::write(b"USER", output);
        }
        for capability in ["STLS", "RESP-CODES", "IMPLEMENTATION mailward", "."] {
            line::write(capability.as_bytes(), output);
        }
    }

    fn refuse(&mut self, why: &str, output: &mut Vec<u8>) -> Result<(), Violation> {
        self.tally.error(&self.settings.limits)?;
        line::write(format!("-ERR {why}").as_bytes(), output);
        Ok(())
    }
}

impl Greeter for Pop3Greeter {
    fn greet(&mut self, output: &mut Vec<u8>) {
        line::write(format!("+OK {} ready", self.settings.hostname).as_bytes(), output);
    }

    fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        let step = self.advance(input, output);
        if let Err(violation) = step {
            line::write(words::violation(violation), output);
        }
        step
    }

    fn farewell(&self, farewell: Farewell, output: &mut Vec<u8>) {
        line::write(words::farewell(farewell), output);
    }
}

/// What a client can want before TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Capabilities,
    Noop,
    Quit,
    StartTls,
    StartTlsArgument,
    /// USER, PASS, APOP or AUTH.
    Login,
    Http,
    Unknown,
}

impl Command {
    fn parse(text: &[u8]) -> Self {
        let (verb, argument) = line::word(line::trim_end(text));
        match verb.to_ascii_uppercase().as_slice() {
            b"USER" | b"PASS" | b"APOP" | b"AUTH" => Self::Login,
            b"CAPA" if argument.is_empty() => Self::Capabilities,
            b"NOOP" if argument.is_empty() => Self::Noop,
            b"QUIT" if argument.is_empty() => Self::Quit,
            b"STLS" if argument.is_empty() => Self::StartTls,
            b"STLS" => Self::StartTlsArgument,
            _ if line::is_http(text) => Self::Http,
            _ => Self::Unknown,
        }
    }
}
