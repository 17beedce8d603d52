//! Messages on their way: the body behind DATA, the octets behind BDAT, and what of them is thrown away.
//!
//! Promises that a body goes on byte for byte, at the speed of a search for line ends, and that one with a bare
//! newline never gets an end at the backend: whatever that makes of it, it is no message.

use super::{Reaction, SmtpFilter, expel, parting::Refusal};
use crate::proto::{
    Ending, Flow, Violation, Wire,
    smtp::{
        body::{Body, Scan},
        chunk::{Chunk, Fault},
        command::Command,
        words::{self, say},
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
    /// As the rest of a body that is not to be had: the backend is gone.
    LostBody { body: Body, cause: Cause },
    /// As the rest of the octets of BDAT: the backend is gone.
    LostChunk(u64),
    /// As commands for a backend that refused the session.
    Refusing(Refusal),
    /// As one last command: the backend was cut off for this.
    Parting(Violation),
}

/// Why the rest of a body is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is a bare newline in it.
    BareNewline,
    /// The backend was lost.
    BackendLost,
}

impl SmtpFilter {
    /// The next bytes of a body that goes on. A CR goes on with what follows it or not at all: behind CRLF and a dot,
    /// a backend that takes it for a line end would have its message.
    pub(super) fn carry_body(&mut self, mut body: Body, input: &[u8]) -> Flow {
        let decided = match input {
            [front @ .., b'\r'] if !front.ends_with(b"\r") => front,
            _ => input,
        };
        if decided.is_empty() {
            return Flow::More;
        }
        match body.scan(decided) {
            Scan::All => {
                self.mode = Mode::Body(body);
                Flow::Pass(decided.len())
            }
            Scan::End(length) => {
                self.mode = Mode::Command;
                self.expected.push(Reaction::Verdict);
                Flow::Pass(length)
            }
            Scan::Bare(length) => {
                self.mode = Mode::LostBody { body, cause: Cause::BareNewline };
                Flow::Cut(length)
            }
        }
    }

    /// The next bytes of a body that goes nowhere, up to the client's own end of it.
    pub(super) fn discard_body(&mut self, mut body: Body, cause: Cause, input: &[u8], wire: &mut Wire) -> Flow {
        let end = body.skip(input);
        let length = end.unwrap_or(input.len());
        let within_limit = self.may_discard(length as u64);
        if end.is_none() && within_limit {
            self.mode = Mode::LostBody { body, cause };
            return Flow::Consume(length);
        }
        match cause {
            Cause::BareNewline => self.refuse_body(within_limit, length, wire),
            Cause::BackendLost => {
                self.expected.push(Reaction::Verdict);
                self.end_lost(within_limit, wire)
            }
        }
    }

    /// RFC 5321 §2.3.8: CR and LF stand in a message only together. The client waits for a reply as to any
    /// other message, so that it learns that this one, not the session, is at fault.
    fn refuse_body(&mut self, within_limit: bool, length: usize, wire: &mut Wire) -> Flow {
        for _ in 0..self.expected.owed(self.is_lmtp()) {
            say(words::BARE_NEWLINE, &mut wire.to_client);
        }
        if !within_limit {
            return Flow::End(Ending::Client(Violation::TooMuchDiscarded));
        }
        self.mode = Mode::Parting(Violation::BareNewline);
        Flow::Consume(length)
    }

    /// Whether it is open yet what is to become of a BDAT.
    pub(super) fn awaits_recipients(&self) -> bool {
        self.offer.lists(b"CHUNKING") && self.expected.has_recipients().is_none()
    }

    /// A BDAT command. RFC 3030 §2: its octets follow, whatever the reply.
    pub(super) fn chunk(&mut self, command: &Command<'_>, length: usize, wire: &mut Wire) -> Flow {
        let offered = self.offer.lists(b"CHUNKING");
        // Its octets are a client's words that nobody judges. A server that refuses the command and reads them as
        // commands (against RFC 3030 §2) shall have none, so that they only go where a message has recipients.
        let wanted = offered && self.expected.has_recipients() == Some(true);
        match Chunk::parse(command.argument) {
            Ok(chunk) if wanted => {
                chunk.write(&mut wire.to_backend);
                self.expected.push(if chunk.last { Reaction::Verdict } else { Reaction::Chunk });
                self.mode = chunk_mode(chunk.size);
                Flow::Consume(length)
            }
            Ok(chunk) => {
                let reply = if offered { words::NO_RECIPIENTS } else { words::NOT_OFFERED };
                self.refuse_chunk(chunk.size, reply, length, wire)
            }
            Err(Fault::Known(size)) => self.refuse_chunk(size, words::BAD_ARGUMENT, length, wire),
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

    /// The next octets of a BDAT whose backend is gone.
    pub(super) fn discard_lost_chunk(&mut self, left: u64, input: &[u8], wire: &mut Wire) -> Flow {
        let length = at_most(left, input);
        let (left, within_limit) = (left - length as u64, self.may_discard(length as u64));
        if left > 0 && within_limit {
            self.mode = Mode::LostChunk(left);
            return Flow::Consume(length);
        }
        self.end_lost(within_limit, wire)
    }

    fn end_lost(&mut self, within_limit: bool, wire: &mut Wire) -> Flow {
        self.settle(wire);
        Flow::End(if within_limit { Ending::BackendLost } else { Ending::Client(Violation::TooMuchDiscarded) })
    }
}

fn chunk_mode(left: u64) -> Mode {
    if left == 0 { Mode::Command } else { Mode::Chunk(left) }
}

/// How many of the first bytes of `input` are among the next `left`.
fn at_most(left: u64, input: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(input.len())
}
