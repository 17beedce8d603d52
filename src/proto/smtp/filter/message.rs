//! Messages on their way: the body behind DATA, the octets behind BDAT, and what of them is thrown away.
//!
//! Promises that a body with proper line ends goes on byte for byte, at the speed of a search for them, and that a
//! message that is refused on its way never gets an end at the backend: whatever that makes of it, it is no message.

use super::{Reaction, SmtpFilter, expel, parting::Refusal};
use crate::proto::{
    Ending, Flow, Violation, Wire,
    smtp::{
        body::{Body, Taken},
        chunk::{Chunk, Fault},
        command::Command,
        words,
    },
};

/// How the client's next bytes are read.
#[derive(Debug)]
pub(super) enum Mode {
    /// As commands.
    Command,
    /// Not at all before the reply that decides it.
    Held,
    /// As a line of a SASL exchange.
    Exchange,
    /// As a body.
    Body(Body),
    /// As so many octets of BDAT.
    Chunk(u64),
    /// As so many octets of a BDAT that is refused with this reply.
    Unwanted { left: u64, reply: &'static str },
    /// As the rest of a message that is not to be had: the backend is gone.
    Lost { rest: Rest, cause: Cause },
    /// As commands for a backend that refused the session.
    Refusing(Refusal),
    /// As one last command: the backend was cut off for this.
    Parting(Violation),
}

/// What is left to come of a lost message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// A body, up to its end.
    Body(Body),
    /// So many octets of BDAT.
    Chunk(u64),
}

/// Why a message is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was refused for this, and the backend cut off.
    Refused(Violation),
    /// The backend was lost.
    BackendLost,
}

impl Rest {
    /// How many of the bytes belong to it, and whether it ends with them.
    fn skip(&mut self, input: &[u8]) -> (usize, bool) {
        match self {
            Self::Body(body) => {
                let Taken { length, ended, .. } = body.skip(input);
                (length, ended)
            }
            Self::Chunk(left) => {
                let length = at_most(*left, input);
                *left -= length as u64;
                (length, *left == 0)
            }
        }
    }
}

impl SmtpFilter {
    /// The next bytes of a body that goes on.
    pub(super) fn carry_body(&mut self, body: Body, input: &[u8], wire: &mut Wire) -> Flow {
        let mut next = body;
        let violation = match next.take(input, self.settings.hygiene.bare_newline) {
            None => Violation::BareNewline,
            Some(_) if self.settings.hygiene.is_too_large(next.size()) => Violation::MessageTooLarge,
            Some(taken) => return self.pass_body(next, taken, input, wire),
        };
        self.mode = Mode::Lost { rest: Rest::Body(body), cause: Cause::Refused(violation) };
        self.expected.push(Reaction::Verdict);
        Flow::Cut(0)
    }

    fn pass_body(&mut self, body: Body, taken: Taken, input: &[u8], wire: &mut Wire) -> Flow {
        let Taken { length, instead, ended } = taken;
        if length == 0 {
            return Flow::More;
        }
        self.mode = if ended { Mode::Command } else { Mode::Body(body) };
        if ended {
            self.expected.push(Reaction::Verdict);
        }
        // Where only NULs were left out there is no beginning yet.
        if let Some(first) = first_octet(instead.as_deref().unwrap_or(&input[..length])) {
            wire.to_backend.append(&mut self.traced(Some(first)));
        }
        let Some(mut instead) = instead else { return Flow::Pass(length) };
        wire.to_backend.append(&mut instead);
        Flow::Consume(length)
    }

    /// The next bytes of a message that goes nowhere, up to the client's own end of it.
    pub(super) fn discard(&mut self, mut rest: Rest, cause: Cause, input: &[u8], wire: &mut Wire) -> Flow {
        let (length, ended) = rest.skip(input);
        if length == 0 {
            return Flow::More;
        }
        let within_limit = self.may_discard(length as u64);
        if !ended && within_limit {
            self.mode = Mode::Lost { rest, cause };
            return Flow::Consume(length);
        }
        match cause {
            Cause::Refused(violation) => self.refuse_message(violation, within_limit, length, wire),
            Cause::BackendLost => {
                self.settle(wire);
                Flow::End(if within_limit { Ending::BackendLost } else { Ending::Client(Violation::TooMuchDiscarded) })
            }
        }
    }

    /// The client waits for a reply as to any other message, so that it learns that this one, not the session, is at
    /// fault.
    fn refuse_message(&mut self, violation: Violation, within_limit: bool, length: usize, wire: &mut Wire) -> Flow {
        self.answer_messages(words::refusal(violation), wire);
        if !within_limit {
            return Flow::End(Ending::Client(Violation::TooMuchDiscarded));
        }
        self.mode = Mode::Parting(violation);
        Flow::Consume(length)
    }

    /// Whether it is open yet what is to become of a BDAT. Before the backend is cut off for one, it has to answer
    /// what it was asked.
    pub(super) fn awaits_replies(&self, command: &Command<'_>) -> bool {
        let too_large = || Chunk::parse(command.argument).is_ok_and(|chunk| self.is_too_large(chunk));
        let undecided = self.expected.has_recipients().is_none();
        self.offer.lists(b"CHUNKING") && (undecided || (!self.expected.is_empty() && too_large()))
    }

    /// Whether a chunk's first octet has to be known before the command can go on: its size depends on the trace in front.
    pub(super) fn awaits_octets(&self, command: &Command<'_>) -> bool {
        let has_octets = Chunk::parse(command.argument).is_ok_and(|chunk| chunk.size > 0);
        has_octets && self.trace.as_ref().is_some_and(|trace| trace.is_due())
    }

    /// Whether a message is beyond the limit with this chunk.
    fn is_too_large(&self, chunk: Chunk) -> bool {
        let octets = self.expected.octets().saturating_add(chunk.size);
        // Where Exim finds a message beyond its own limit, it takes the rest of the chunk for commands.
        self.settings.hygiene.is_too_large(octets) || self.offer.largest().is_some_and(|largest| octets > largest)
    }

    /// A BDAT command. RFC 3030 §2: its octets follow, whatever the reply.
    pub(super) fn chunk(&mut self, command: &Command<'_>, first: Option<&u8>, length: usize, wire: &mut Wire) -> Flow {
        let offered = self.offer.lists(b"CHUNKING");
        // Its octets are a client's words that nobody judges. A server that refuses the command and reads them as
        // commands (against RFC 3030 §2) shall have none, so that they only go where a message has recipients.
        let wanted = offered && self.expected.has_recipients() == Some(true);
        match Chunk::parse(command.argument) {
            Ok(chunk) if wanted => {
                let is_too_large = self.is_too_large(chunk);
                self.expected.chunk(chunk.size, chunk.last);
                if is_too_large {
                    let cause = Cause::Refused(Violation::MessageTooLarge);
                    self.mode = Mode::Lost { rest: Rest::Chunk(chunk.size), cause };
                    return Flow::Cut(length);
                }
                // A chunk of nothing is no beginning, unless it is the end.
                let trace = if chunk.size > 0 || chunk.last { self.traced(first) } else { Vec::new() };
                let size = chunk.size.saturating_add(trace.len() as u64);
                Chunk { size, ..chunk }.write(&mut wire.to_backend);
                wire.to_backend.extend(trace);
                self.mode = chunk_mode(chunk.size);
                Flow::Consume(length)
            }
            Ok(chunk) => {
                let reply = if offered { words::NO_RECIPIENTS } else { words::NOT_OFFERED };
                self.refuse_chunk(chunk.size, reply, length, wire)
            }
            Err(Fault::Known(size)) => {
                if wanted {
                    self.expected.spoil();
                }
                self.refuse_chunk(size, words::BAD_ARGUMENT, length, wire)
            }
            Err(Fault::Unknown) => expel(Violation::BadLength, wire),
        }
    }

    fn refuse_chunk(&mut self, left: u64, reply: &'static str, length: usize, wire: &mut Wire) -> Flow {
        if !self.may_discard(left) {
            return expel(Violation::TooMuchDiscarded, wire);
        }
        if left == 0 {
            return self.mistake(reply, length, wire);
        }
        self.mode = Mode::Unwanted { left, reply };
        Flow::Consume(length)
    }

    /// The next octets of a BDAT that goes on.
    pub(super) fn carry_chunk(&mut self, left: u64, input: &[u8]) -> Flow {
        let length = at_most(left, input);
        self.mode = chunk_mode(left - length as u64);
        Flow::Pass(length)
    }

    /// The next octets of a BDAT that is refused.
    pub(super) fn discard_chunk(&mut self, left: u64, reply: &'static str, input: &[u8], wire: &mut Wire) -> Flow {
        let length = at_most(left, input);
        let left = left - length as u64;
        if left == 0 {
            self.mode = Mode::Command;
            return self.mistake(reply, length, wire);
        }
        self.mode = Mode::Unwanted { left, reply };
        Flow::Consume(length)
    }
}

/// What a message begins with, if a body begins so: RFC 5321 §4.5.2 takes a dot away that does not stand alone.
fn first_octet(body: &[u8]) -> Option<&u8> {
    body.strip_prefix(b".").unwrap_or(body).first()
}

fn chunk_mode(left: u64) -> Mode {
    if left == 0 { Mode::Command } else { Mode::Chunk(left) }
}

/// How many of the first bytes of `input` are among the next `left`.
fn at_most(left: u64, input: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(input.len())
}
