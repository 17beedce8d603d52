//! Ends: a backend that refuses, is lost, or was cut off, and what the client is owed then (spec §4.2, §4.3).
//!
//! Promises that nobody takes a lost message for an accepted one, or for one refused for good.

use super::{
    Reaction, SmtpFilter, expel,
    message::{Cause, Mode, Rest},
};
use crate::proto::{
    Ending, Flow, Start, Violation, Wire,
    line::{self, Read},
    smtp::{
        command::{self, Command, Verb},
        reply::Reply,
        words::{self, say},
    },
};

/// How a backend refused a session.
#[derive(Debug)]
pub(super) enum Refusal {
    /// For now.
    Temporary,
    /// For good, in these words, which are still to be passed on if they stand here.
    Permanent(Option<Box<[u8]>>),
}

impl SmtpFilter {
    /// The backend greeted with a refusal.
    pub(super) fn refused(&mut self, reply: &Reply<'_>, length: usize, wire: &mut Wire) -> Flow {
        let mut words = Vec::new();
        reply.write(&mut words);
        let greets = self.start == Start::Greeting;
        if greets {
            wire.to_client.extend_from_slice(&words);
        }
        if greets && reply.code == 421 {
            return Flow::End(Ending::Refused);
        }
        self.mode = Mode::Refusing(match reply.class() {
            4 => Refusal::Temporary,
            _ => Refusal::Permanent((!greets).then(|| words.into_boxed_slice())),
        });
        Flow::Cut(length)
    }

    /// A command for which there is no backend.
    pub(super) fn last_command(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let limits = &self.settings.limits;
        let (text, length) = match self.reader.read(input, limits.line, command::bound(limits)) {
            Read::Partial => return Flow::More,
            Read::Skipped { length } => return Flow::Consume(length),
            Read::Endless => return expel(Violation::LineTooLong, wire),
            Read::Bad { length } | Read::Long { length } => (b"".as_slice(), length),
            Read::Whole { text, length } => (text, length),
        };
        if line::is_http(text) {
            return expel(Violation::HttpRequest, wire);
        }
        let verb = Command::parse(text).map_or(Verb::Other, |command| command.verb);
        match &mut self.mode {
            Mode::Refusing(Refusal::Permanent(refusal)) if verb != Verb::Quit => {
                let refusal = if introduces(verb) { refusal.take() } else { None };
                self.refuse_command(refusal, length, wire)
            }
            Mode::Parting(violation) => part(verb, words::CLOSING, Ending::Client(*violation), wire),
            _ => part(verb, words::UNAVAILABLE, Ending::Refused, wire),
        }
    }

    /// RFC 5321 §3.1: a server that refused the session answers 503 to everything until QUIT.
    fn refuse_command(&mut self, refusal: Option<Box<[u8]>>, length: usize, wire: &mut Wire) -> Flow {
        if let Err(violation) = self.tally.command(&self.settings.limits) {
            return expel(violation, wire);
        }
        wire.to_client.extend_from_slice(refusal.as_deref().unwrap_or(words::BAD_SEQUENCE.as_bytes()));
        Flow::Consume(length)
    }

    /// The backend is gone.
    pub(super) fn lost(&mut self, wire: &mut Wire) -> Flow {
        match self.mode {
            Mode::Body(body) => {
                self.expected.push(Reaction::Verdict);
                self.mode = Mode::Lost { rest: Rest::Body(body), cause: Cause::BackendLost };
            }
            Mode::Chunk(left) => self.mode = Mode::Lost { rest: Rest::Chunk(left), cause: Cause::BackendLost },
            // It was gone for us before.
            Mode::Lost { .. } | Mode::Refusing(_) | Mode::Parting(_) => {}
            _ => return self.lost_between(wire),
        }
        Flow::More
    }

    fn lost_between(&mut self, wire: &mut Wire) -> Flow {
        match self.expected.next() {
            None if self.backend_left => Flow::End(Ending::Closed),
            Some(Reaction::Quit) => {
                say(words::BYE, &mut wire.to_client);
                Flow::End(Ending::Closed)
            }
            _ => {
                self.settle(wire);
                Flow::End(Ending::BackendLost)
            }
        }
    }

    /// Says what is owed where the backend will say nothing any more: that the fate of a message is unknown,
    /// once for each reply, and that the session is over.
    pub(super) fn settle(&mut self, wire: &mut Wire) {
        self.answer_messages(words::OUTCOME_UNKNOWN, wire);
        say(words::CLOSING, &mut wire.to_client);
    }

    /// Says this in place of each reply to a message that is next to come, and what of our own waits between them.
    pub(super) fn answer_messages(&mut self, reply: &str, wire: &mut Wire) {
        self.catch_up(wire);
        while let Some(Reaction::Verdict | Reaction::Chunk) = self.expected.next() {
            say(reply, &mut wire.to_client);
            self.expected.answered(self.is_lmtp());
            self.catch_up(wire);
        }
    }
}

/// Whether a command is the one that a refused client is to learn it by.
const fn introduces(verb: Verb) -> bool {
    matches!(verb, Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Mail)
}

fn part(verb: Verb, last_words: &str, ending: Ending, wire: &mut Wire) -> Flow {
    say(if verb == Verb::Quit { words::BYE } else { last_words }, &mut wire.to_client);
    Flow::End(ending)
}
