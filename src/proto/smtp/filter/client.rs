//! The client's commands: each is judged whole, and goes on as it was judged or not at all.

use super::{Reaction, SmtpFilter, expel, message::Mode};
use crate::proto::{
    Ending, Filter as _, Flow, Violation, Wire,
    line::{self, Read},
    smtp::{
        command::{self, Command, Verb},
        words::{self, say},
    },
};

/// What becomes of a command.
enum Judgement {
    /// It goes on, and this is to be done at its reply.
    Pass(Reaction),
    /// It is answered here, and is no mistake.
    Answer(&'static str),
    /// It is refused as the client's mistake, which counts.
    Mistake(&'static str),
}

impl SmtpFilter {
    /// The command at the front of the input.
    pub(super) fn command_line(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        if self.spoke_early || self.expected.is_full() || !(self.pipelining || self.expected.is_empty()) {
            return Flow::Wait;
        }
        let limits = &self.settings.limits;
        match self.reader.read(input, command::limit(input, limits), command::bound(limits)) {
            Read::Partial => Flow::More,
            Read::Skipped { length } => Flow::Consume(length),
            Read::Endless => expel(Violation::LineTooLong, wire),
            Read::Bad { length } | Read::Long { length } => self.mistake(words::BAD_LINE, length, wire),
            Read::Whole { text, .. } if line::is_http(text) => expel(Violation::HttpRequest, wire),
            Read::Whole { text, length } => match Command::parse(text) {
                Some(command) => self.command(&command, text, &input[length..], length, wire),
                None => self.mistake(words::BAD_LINE, length, wire),
            },
        }
    }

    /// A command, with what has come behind it.
    fn command(&mut self, command: &Command<'_>, text: &[u8], behind: &[u8], length: usize, wire: &mut Wire) -> Flow {
        if self.uses_missing(command) {
            return self.extension_gone(wire);
        }
        if command.verb == Verb::Bdat && self.awaits_replies(command) {
            return Flow::Wait;
        }
        if command.verb == Verb::Bdat && behind.is_empty() && self.awaits_octets(command) {
            return Flow::More;
        }
        if let Err(violation) = self.count() {
            return expel(violation, wire);
        }
        if command.verb == Verb::Bdat {
            return self.chunk(command, behind.first(), length, wire);
        }
        match self.judge(command) {
            Judgement::Pass(reaction) => {
                self.trace.iter_mut().for_each(|trace| trace.note(command));
                self.expect(reaction);
                forward(text, length, wire)
            }
            Judgement::Answer(reply) => {
                self.reply(reply, wire);
                Flow::Consume(length)
            }
            Judgement::Mistake(reply) => self.mistake(reply, length, wire),
        }
    }

    fn judge(&mut self, command: &Command<'_>) -> Judgement {
        match command.verb {
            Verb::Noop if self.expected.is_chunked() => Judgement::Answer(words::OK),
            Verb::Rset => Judgement::Pass(Reaction::Reset),
            Verb::Quit => Judgement::Pass(Reaction::Quit),
            _ if self.expected.is_chunked() => Judgement::Mistake(words::BAD_SEQUENCE),
            // RFC 2033 §4.1: LMTP has LHLO in the place of HELO and EHLO, which it must not take.
            Verb::Ehlo | Verb::Helo if self.is_lmtp() => Judgement::Mistake(words::UNKNOWN_COMMAND),
            Verb::Lhlo if !self.is_lmtp() => Judgement::Mistake(words::UNKNOWN_COMMAND),
            Verb::Helo => Judgement::Pass(Reaction::Hello),
            Verb::Ehlo | Verb::Lhlo => Judgement::Pass(Reaction::Offer),
            Verb::Mail => unless(self.refuses_mail(command.argument), Reaction::Mail),
            Verb::Rcpt => unless(self.refuses_recipient(command.argument), Reaction::Recipient),
            Verb::Auth => self.judge_login(command),
            Verb::Data => Judgement::Pass(Reaction::Data),
            // RFC 5321 §7.3: where they are turned off, the reply is one that says neither yes nor no.
            Verb::Vrfy | Verb::Expn if self.settings.hygiene.hides(command.word) => {
                Judgement::Answer(words::CANNOT_VERIFY)
            }
            Verb::Noop | Verb::Vrfy | Verb::Expn | Verb::Help => Judgement::Pass(Reaction::Pass),
            // RFC 3207 §4.2: not offered, and refused, once TLS is there; nor in a transaction begun without it.
            Verb::StartTls if self.leg.is_encrypted() || self.opening().is_some() => {
                Judgement::Mistake(words::NO_STARTTLS)
            }
            Verb::Other if self.offer.lists(command.word) => Judgement::Pass(Reaction::Pass),
            Verb::StartTls | Verb::Bdat | Verb::Other => Judgement::Mistake(words::NOT_OFFERED),
        }
    }

    fn refuses_mail(&self, argument: &[u8]) -> Option<&'static str> {
        let refusal = self.settings.guard.refuses_mail(self.login.accepted());
        refusal.or_else(|| self.settings.hygiene.refuses_parameters(argument, &self.offer))
    }

    fn refuses_recipient(&self, argument: &[u8]) -> Option<&'static str> {
        let utf8 = self.offer.lists(b"SMTPUTF8") && !self.missing.smtp_utf8;
        let refusal = self.settings.guard.refuses_rcpt(argument, self.login.accepted(), utf8);
        refusal.or_else(|| self.settings.hygiene.refuses_parameters(argument, &self.offer))
    }

    fn judge_login(&mut self, command: &Command<'_>) -> Judgement {
        if let Some(reply) = self.refuses_login(command) {
            return Judgement::Mistake(reply);
        }
        self.begin_login(command);
        Judgement::Pass(Reaction::Login)
    }

    /// RFC 2920 §3.1: these end a group of commands, because the reply decides how what follows is read.
    fn expect(&mut self, reaction: Reaction) {
        match reaction {
            Reaction::Reset => self.expected.reset(),
            _ => self.expected.push(reaction),
        }
        if matches!(reaction, Reaction::Offer | Reaction::Hello | Reaction::Data | Reaction::Login | Reaction::Quit) {
            self.mode = Mode::Held;
        }
    }

    /// Refuses a line as the client's mistake, and ends the session where they become too many.
    pub(super) fn mistake(&mut self, reply: &'static str, length: usize, wire: &mut Wire) -> Flow {
        let counts = !self.mail_accepted && !self.login.accepted();
        if counts && let Err(violation) = self.tally.error(&self.settings.limits) {
            return expel(violation, wire);
        }
        self.reply(reply, wire);
        Flow::Consume(length)
    }

    /// Counts a command before login against `limit.commands`.
    fn count(&mut self) -> Result<(), Violation> {
        if self.awaits_login() { self.tally.command(&self.settings.limits) } else { Ok(()) }
    }

    fn uses_missing(&self, command: &Command<'_>) -> bool {
        matches!(command.verb, Verb::Mail | Verb::Rcpt) && self.missing.used_by(command.argument)
    }

    /// The client makes use of what it was offered in plaintext, and the backend has not.
    fn extension_gone(&mut self, wire: &mut Wire) -> Flow {
        if !self.expected.is_empty() {
            return Flow::Wait;
        }
        say(words::EXTENSION_GONE, &mut wire.to_client);
        Flow::End(Ending::Refused)
    }
}

fn unless(refusal: Option<&'static str>, reaction: Reaction) -> Judgement {
    refusal.map_or(Judgement::Pass(reaction), Judgement::Answer)
}

/// Lets a line go on, with CRLF whatever it ended in.
pub(super) fn forward(text: &[u8], length: usize, wire: &mut Wire) -> Flow {
    if length == text.len() + 2 {
        return Flow::Pass(length);
    }
    line::write(text, &mut wire.to_backend);
    Flow::Consume(length)
}
