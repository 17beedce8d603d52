//! One command at a time out of the client's bytes: its lines and its literals.
//!
//! Promises that the bytes of a literal are never read as a command, that a literal is only asked for (`+`)
//! where its command may have one, and that a command is bounded: its lines together by `limit.line`, its
//! literals together by `limit.literal`. What is refused is still read to its end, without being kept, so that
//! the next command begins where the client began it. RFC 9051 §4.3 (literals), RFC 7888 (`{n+}`).

use memchr::memchr;

use super::command::{Command, Fault, Head, Piece, Verb};
use super::permit::Permit;
use crate::proto::line::{self, Line};
use crate::proto::literal::{self, Announcement};
use crate::proto::{Limits, Violation};

/// What the front of the client's bytes came to.
pub(super) enum Taken {
    /// Nothing can be said without more bytes.
    More,
    /// So many bytes are used up; the command goes on.
    Used(usize),
    /// So many bytes are used up; the client waits for `+` before it sends the literal.
    Prompt(usize),
    /// So many bytes are used up, and with them the command is whole, or refused.
    Command(usize, Command),
    /// The session cannot go on.
    Break(Violation),
}

/// Reads commands.
pub(super) struct Intake {
    limits: Limits,
    state: State,
}

/// What comes next.
#[derive(Default)]
enum State {
    /// The first line of a command.
    #[default]
    First,
    /// So many bytes (at least one) of a literal.
    Literal(Reading, usize),
    /// The line behind a literal.
    Next(Reading),
    /// The rest of a line that is too long.
    Overlong(Reading),
}

/// A command that is not whole yet, and how many bytes of lines and literals it has had.
struct Reading {
    command: Command,
    text: usize,
    literals: usize,
}

impl Intake {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: State::First }
    }

    /// Whether the next byte is the first of a command.
    pub(super) fn is_between_commands(&self) -> bool {
        matches!(self.state, State::First)
    }

    /// Looks at the client's bytes (never empty).
    pub(super) fn take(&mut self, input: &[u8], permit: &Permit) -> Taken {
        match std::mem::take(&mut self.state) {
            State::First => self.begin(input, permit),
            State::Literal(reading, missing) => self.literal(reading, missing, input),
            State::Next(reading) => self.next_line(reading, input, permit),
            State::Overlong(reading) => self.overlong(reading, input, permit),
        }
    }

    /// What the first line of a command is, at the front of the client's bytes.
    pub(super) fn first_line<'a>(&self, input: &'a [u8]) -> Line<'a> {
        line::first(input, first_limit(&self.limits, input))
    }

    fn begin(&mut self, input: &[u8], permit: &Permit) -> Taken {
        let limit = first_limit(&self.limits, input);
        if line::first(input, limit) == Line::Partial {
            return Taken::More;
        }
        let start = line::without_end(&input[..memchr(b'\n', input).map_or(input.len(), |end| end + 1)]);
        let start = &start[..start.len().min(limit)];
        if line::is_http(start) {
            return Taken::Break(Violation::HttpRequest);
        }
        self.line(Reading::open(start), input, limit, permit)
    }

    fn next_line(&mut self, reading: Reading, input: &[u8], permit: &Permit) -> Taken {
        let limit = self.limits.line.saturating_sub(reading.text);
        if line::first(input, limit) == Line::Partial {
            self.state = State::Next(reading);
            return Taken::More;
        }
        self.line(reading, input, limit, permit)
    }

    /// A line that is whole, or too long.
    fn line(&mut self, mut reading: Reading, input: &[u8], limit: usize, permit: &Permit) -> Taken {
        match line::first(input, limit) {
            Line::Whole { text, length } => self.end_line(reading, text, length, permit),
            Line::Bad { length } => {
                reading.fail(Fault::Byte);
                self.end_line(reading, line::without_end(&input[..length]), length, permit)
            }
            Line::Partial | Line::Long { .. } | Line::Endless => {
                reading.fail(Fault::Line);
                self.overlong(reading, input, permit)
            }
        }
    }

    /// Reads on to the end of a line that is too long, which may still announce a literal. What is read of such
    /// a line is bounded by what the longest command may have, its literals included.
    fn overlong(&mut self, mut reading: Reading, input: &[u8], permit: &Permit) -> Taken {
        let room = self.limits.line.saturating_add(self.limits.literal).saturating_sub(reading.text);
        if let Some(end) = memchr(b'\n', input) {
            let text = line::without_end(&input[..=end]);
            if text.len() > room {
                return Taken::Break(Violation::LineTooLong);
            }
            return self.end_line(reading, text, end + 1, permit);
        }
        // The CR of an end that is still to come does not count.
        if input.len() > room.saturating_add(1) {
            return Taken::Break(Violation::LineTooLong);
        }
        // What may be an announcement, with its CR, is kept for the end of the line.
        let used = input.len().saturating_sub(literal::LONGEST + 1);
        reading.text += used;
        self.state = State::Overlong(reading);
        if used == 0 { Taken::More } else { Taken::Used(used) }
    }

    fn end_line(&mut self, mut reading: Reading, text: &[u8], length: usize, permit: &Permit) -> Taken {
        reading.text += text.len();
        let Some(literal) = literal::announced(text) else {
            reading.keep_text(text);
            return Taken::Command(length, reading.command);
        };
        let size = self.fitting(&reading, literal);
        if let Some(fault) = reading.objection(literal, size, permit) {
            reading.fail(fault);
        }
        match size {
            // RFC 9051 §4.3: a refusal ends the command, since the bytes only come when they are asked for.
            _ if !literal.plus && reading.command.fault.is_some() => Taken::Command(length, reading.command),
            Some(size) => {
                self.begin_literal(reading, text, literal, size);
                if literal.plus { Taken::Used(length) } else { Taken::Prompt(length) }
            }
            // RFC 7888: these bytes come whatever is said, and there is no room to read them.
            None => Taken::Break(Violation::LiteralTooLong),
        }
    }

    /// The size of the literal, if the command has room for it.
    fn fitting(&self, reading: &Reading, literal: Announcement) -> Option<usize> {
        literal.size.filter(|size| *size <= self.limits.literal.saturating_sub(reading.literals))
    }

    fn begin_literal(&mut self, mut reading: Reading, text: &[u8], literal: Announcement, size: usize) {
        reading.keep_text(&text[..text.len() - literal.length]);
        reading.literals += size;
        if reading.command.fault.is_none() {
            // Not reserved: a size is cheap to claim.
            reading.command.pieces.push(Piece::Literal { bytes: Vec::new(), plus: literal.plus });
        }
        self.state = if size == 0 { State::Next(reading) } else { State::Literal(reading, size) };
    }

    fn literal(&mut self, mut reading: Reading, missing: usize, input: &[u8]) -> Taken {
        let count = missing.min(input.len());
        if let Some(Piece::Literal { bytes, .. }) = reading.command.pieces.last_mut() {
            bytes.extend_from_slice(&input[..count]);
        }
        self.state = if count == missing { State::Next(reading) } else { State::Literal(reading, missing - count) };
        Taken::Used(count)
    }
}

impl Reading {
    /// A command that begins with this line, or with what fits of it.
    fn open(start: &[u8]) -> Self {
        let Head { tag, verb, .. } = Head::parse(start);
        let fault = tag.is_none().then_some(Fault::Tag);
        Self { command: Command { tag, verb, pieces: Vec::new(), fault }, text: 0, literals: 0 }
    }

    /// The first fault is the one that is told.
    fn fail(&mut self, fault: Fault) {
        self.command.fault.get_or_insert(fault);
        self.command.pieces.clear();
    }

    fn keep_text(&mut self, text: &[u8]) {
        if self.command.fault.is_none() {
            let text = if self.command.pieces.is_empty() { Head::parse(text).arguments } else { text };
            self.command.pieces.push(Piece::Text(text.to_vec()));
        }
    }

    /// Why this command is not to have this literal, which there is room for if `size` is known.
    fn objection(&self, literal: Announcement, size: Option<usize>, permit: &Permit) -> Option<Fault> {
        if self.command.fault.is_some() {
            return self.command.fault;
        }
        match size {
            _ if !permit.allows(self.command.verb) => Some(Fault::Literal),
            _ if literal.binary => Some(Fault::Binary),
            None => Some(Fault::Size),
            Some(size) => (literal.plus && !permit.plus.allows(size)).then_some(Fault::Plus),
        }
    }
}

/// How long the first line may be: AUTHENTICATE carries a SASL response. Told from no more than every line may
/// have, so that it does not depend on how much has arrived.
fn first_limit(limits: &Limits, input: &[u8]) -> usize {
    let start = &input[..input.len().min(limits.line)];
    match Head::parse(start) {
        Head { verb: Verb::Authenticate, tag: Some(_), .. } => limits.auth.max(limits.line),
        _ => limits.line,
    }
}
