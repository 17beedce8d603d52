//! ManageSieve before TLS: the whole server until STARTTLS (spec §4.1).
//!
//! Promises that no password is asked for, that no backend is needed, and that TLS begins with nothing left of
//! what came before it. Answers CAPABILITY, NOOP, LOGOUT and STARTTLS (RFC 5804 §2); refuses everything else with
//! ENCRYPT-NEEDED, literals included, which are read and thrown away.

use std::sync::Arc;

use super::reader::{Bounds, Read, Reader};
use super::syntax;
use super::words;
use crate::proto::line::{self, Line};
use crate::proto::tally::Tally;
use crate::proto::{Farewell, Greeter, Input, Opening, Outcome, Settings, Step, Violation};

/// The server that a client meets before TLS.
pub struct SieveGreeter {
    settings: Arc<Settings>,
    reader: Reader,
    tally: Tally,
}

impl SieveGreeter {
    /// A greeter that has said nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, reader: Reader::default(), tally: Tally::default() }
    }

    /// Whether the first line of a login is at the front of `input`: it goes on to the backend as it is.
    fn begins_login(&self, input: &[u8]) -> bool {
        let limit = self.settings.limits.auth.max(self.settings.limits.line);
        self.settings.permits_plaintext_login()
            && self.reader.is_fresh()
            && matches!(line::first(input, limit), Line::Whole { text, .. } if super::filter::authenticates(text))
    }

    /// Before TLS a literal is only ever thrown away, but for the short one that NOOP may have.
    fn bounds(&self, input: &[u8]) -> Bounds {
        let limits = &self.settings.limits;
        let login =
            self.settings.permits_plaintext_login() && self.reader.is_fresh() && super::filter::authenticates(input);
        let line = if login { limits.auth.max(limits.line) } else { limits.line };
        Bounds { line, literal: limits.literal, kept: limits.line, discarded: limits.auth }
    }

    fn advance(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        while !input.peek().is_empty() {
            if self.begins_login(input.peek()) {
                return Ok(Step::Done(Outcome::Plaintext(Opening::Nothing)));
            }
            let bounds = self.bounds(input.peek());
            match self.reader.read(input.peek(), &bounds) {
                Read::Partial => break,
                Read::Over(violation) => return Err(violation),
                Read::Taken(length) => input.consume(length),
                Read::Flawed(length) => {
                    input.consume(length);
                    self.refuse("NO \"Too long, or not a command\"", output)?;
                }
                Read::Whole(length, command) => {
                    input.consume(length);
                    if let Some(outcome) = self.answer(&Command::parse(&command), input, output)? {
                        return Ok(Step::Done(outcome));
                    }
                }
            }
        }
        Ok(Step::More)
    }

    /// Answers a command that was taken from the front of `input`.
    fn answer(&mut self, command: &Command, input: &Input, output: &mut Vec<u8>) -> Result<Option<Outcome>, Violation> {
        self.tally.command(&self.settings.limits)?;
        match command {
            Command::Capability => self.list(output),
            Command::Noop(tag) => answer_noop(tag.as_deref(), output),
            Command::Logout => {
                line::write(b"OK \"Goodbye\"", output);
                return Ok(Some(Outcome::Closed));
            }
            Command::StartTls => {
                let emptied = input.emptied().ok_or(Violation::InjectedBeforeTls)?;
                line::write(b"OK \"Begin TLS\"", output);
                return Ok(Some(Outcome::StartTls(emptied)));
            }
            Command::Arguments => self.refuse("NO \"These arguments do not fit the command\"", output)?,
            Command::Http => return Err(Violation::HttpRequest),
            Command::Other if self.settings.permits_plaintext_login() => self.refuse("NO \"Log in first\"", output)?,
            Command::Other => self.refuse("NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"", output)?,
        }
        Ok(None)
    }

    fn list(&self, output: &mut Vec<u8>) {
        let mechanisms = if self.settings.permits_plaintext_login() { "PLAIN" } else { "" };
        line::write(b"\"IMPLEMENTATION\" \"mailward\"", output);
        line::write(format!("\"SASL\" \"{mechanisms}\"").as_bytes(), output);
        line::write(b"\"SIEVE\" \"\"", output);
        line::write(b"\"STARTTLS\"", output);
        line::write(b"\"VERSION\" \"1.0\"", output);
        output.extend_from_slice(b"OK ");
        words::string(format!("{} ready", self.settings.hostname).as_bytes(), output);
        output.extend_from_slice(b"\r\n");
    }

    fn refuse(&mut self, reply: &str, output: &mut Vec<u8>) -> Result<(), Violation> {
        self.tally.error(&self.settings.limits)?;
        line::write(reply.as_bytes(), output);
        Ok(())
    }
}

/// RFC 5804 §2.13: the string that NOOP was given comes back in the TAG response code.
fn answer_noop(tag: Option<&[u8]>, output: &mut Vec<u8>) {
    output.extend_from_slice(b"OK ");
    if let Some(tag) = tag {
        output.extend_from_slice(b"(TAG ");
        words::string(tag, output);
        output.extend_from_slice(b") ");
    }
    line::write(b"\"Done\"", output);
}

impl Greeter for SieveGreeter {
    fn greet(&mut self, output: &mut Vec<u8>) {
        self.list(output);
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
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Capability,
    /// NOOP, with or without a tag.
    Noop(Option<Vec<u8>>),
    Logout,
    StartTls,
    /// One of these with arguments that it does not take.
    Arguments,
    Http,
    Other,
}

impl Command {
    fn parse(command: &[u8]) -> Self {
        let (verb, arguments) = syntax::verb(command);
        let known = match verb.as_slice() {
            b"CAPABILITY" => Self::Capability,
            b"NOOP" => return Self::noop(arguments),
            b"LOGOUT" => Self::Logout,
            b"STARTTLS" => Self::StartTls,
            _ if line::is_http(command) => Self::Http,
            _ => Self::Other,
        };
        let takes_any = matches!(known, Self::Http | Self::Other);
        if takes_any || syntax::strings(arguments, 0).is_ok() { known } else { Self::Arguments }
    }

    fn noop(arguments: &[u8]) -> Self {
        match syntax::strings(arguments, 1) {
            Ok(mut tags) => Self::Noop(tags.pop()),
            Err(_) => Self::Arguments,
        }
    }
}
