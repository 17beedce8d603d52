//! SMTP, submission and LMTP before TLS: a server that knows little more than STARTTLS (RFC 3207).
//!
//! Promises that nothing but the wish for TLS, or a mail transaction where the listener permits it in plaintext,
//! comes out of the dialogue; refuses credentials before they are said, and bytes behind STARTTLS with the session.

use std::sync::Arc;

use super::{
    Extensions,
    chunk::{Chunk, Fault, Unwanted},
    command::{self, Command, Verb},
    reply::write_lines,
    words::{self, say},
};
use crate::proto::{
    Farewell, Greeter, Input, Opening, Outcome, Protocol, Settings, Step, Violation,
    line::{self, Read},
    tally::Tally,
};

/// The server that a client meets before TLS.
pub struct SmtpGreeter {
    settings: Arc<Settings>,
    reader: line::Reader,
    hello: Hello,
    /// What the backend is known to have.
    known: Option<Extensions>,
    /// What stood in our last reply to EHLO.
    offered: Extensions,
    unwanted: Option<Unwanted>,
    tally: Tally,
    discarded: u64,
}

/// How the client introduced itself.
enum Hello {
    None,
    /// By this command, which is not answered yet.
    Asking(Vec<u8>),
    Said(Vec<u8>),
}

/// What the front of the input came to.
enum Answer {
    /// Nothing that is to be answered now.
    None,
    Reply(&'static str),
    /// A reply that counts as an error.
    Refusal(&'static str),
    StartTls,
    /// The backend is needed, for this command on.
    Plaintext,
    Quit,
}

impl SmtpGreeter {
    /// A greeter that has said nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            reader: line::Reader::default(),
            hello: Hello::None,
            known: None,
            offered: Extensions::default(),
            unwanted: None,
            tally: Tally::default(),
            discarded: 0,
        }
    }

    fn is_lmtp(&self) -> bool {
        self.settings.protocol == Protocol::Lmtp
    }

    /// Whether a mail transaction can take place without TLS.
    fn is_open(&self) -> bool {
        !self.settings.require && (!self.settings.guard.require_auth || self.settings.plaintext_auth)
    }

    /// Whether a password may be said without TLS.
    fn takes_passwords(&self) -> bool {
        self.is_open() && self.settings.plaintext_auth && self.settings.protocol == Protocol::Submission
    }

    fn advance(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        loop {
            if matches!(self.hello, Hello::Asking(_)) {
                return Ok(Step::Done(Outcome::AskExtensions));
            }
            let Some(answer) = self.take(input, output)? else { return Ok(Step::More) };
            if let Some(outcome) = self.conclude(answer, input, output)? {
                return Ok(Step::Done(outcome));
            }
        }
    }

    /// Uses up the front of the input; `None` where more of it is needed.
    fn take(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Option<Answer>, Violation> {
        if let Some(unwanted) = self.unwanted.take() {
            return Ok(self.discard(unwanted, input));
        }
        let (limits, front) = (&self.settings.limits, input.peek());
        let (answer, length) = match self.reader.read(front, command::limit(front, limits), command::bound(limits)) {
            Read::Partial => return Ok(None),
            Read::Skipped { length } => (Answer::None, length),
            Read::Bad { length } | Read::Long { length } => (Answer::Refusal(words::BAD_LINE), length),
            Read::Endless => return Err(Violation::LineTooLong),
            Read::Whole { text, length } => (self.answer(text, output)?, length),
        };
        if !matches!(answer, Answer::Plaintext) {
            input.consume(length);
        }
        Ok(Some(answer))
    }

    fn discard(&mut self, mut unwanted: Unwanted, input: &mut Input) -> Option<Answer> {
        if unwanted.discard(input) {
            return Some(Answer::Refusal(unwanted.reply));
        }
        self.unwanted = Some(unwanted);
        None
    }

    /// Counts a line and answers it.
    fn answer(&mut self, text: &[u8], output: &mut Vec<u8>) -> Result<Answer, Violation> {
        if line::is_http(text) {
            return Err(Violation::HttpRequest);
        }
        self.tally.command(&self.settings.limits)?;
        let Some(command) = Command::parse(text) else { return Ok(Answer::Refusal(words::BAD_LINE)) };
        match command.verb {
            Verb::Bdat => self.refuse_chunk(&command),
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => Ok(self.hello(&command, output)),
            _ => Ok(self.dispatch(&command)),
        }
    }

    fn dispatch(&self, command: &Command<'_>) -> Answer {
        match command.verb {
            Verb::Noop | Verb::Rset => Answer::Reply(words::OK),
            Verb::Quit => Answer::Quit,
            // RFC 3207 §4: STARTTLS has no parameters.
            Verb::StartTls if command.argument.is_empty() => Answer::StartTls,
            Verb::StartTls => Answer::Refusal(words::NO_ARGUMENT),
            Verb::Vrfy if !self.is_lmtp() => Answer::Reply(words::CANNOT_VERIFY),
            Verb::Help if !self.is_lmtp() => Answer::Reply(words::HELP),
            Verb::Auth if self.takes_passwords() => Answer::Plaintext,
            Verb::Auth => Answer::Refusal(words::NEEDS_TLS),
            Verb::Other => Answer::Refusal(words::UNKNOWN_COMMAND),
            _ if !self.is_open() => Answer::Refusal(words::NEEDS_TLS),
            Verb::Mail if command::behind_keyword(command.argument, b"FROM:").is_some() => Answer::Plaintext,
            Verb::Mail => Answer::Refusal(words::BAD_ARGUMENT),
            Verb::Rcpt | Verb::Data => Answer::Refusal(words::BAD_SEQUENCE),
            _ => Answer::Refusal(words::NOT_OFFERED),
        }
    }

    /// Nothing behind a refused BDAT may be taken for a command before its octets are over.
    fn refuse_chunk(&mut self, command: &Command<'_>) -> Result<Answer, Violation> {
        let reply = if self.is_open() { words::BAD_SEQUENCE } else { words::NEEDS_TLS };
        let left = match Chunk::parse(command.argument) {
            Ok(Chunk { size, .. }) | Err(Fault::Known(size)) => size,
            Err(Fault::Unknown) => return Err(Violation::BadLength),
        };
        self.discarded = self.discarded.saturating_add(left);
        if self.discarded > self.settings.limits.discard {
            return Err(Violation::TooMuchDiscarded);
        }
        if left == 0 {
            return Ok(Answer::Refusal(reply));
        }
        self.unwanted = Some(Unwanted { left, reply });
        Ok(Answer::None)
    }

    fn hello(&mut self, command: &Command<'_>, output: &mut Vec<u8>) -> Answer {
        // RFC 2033 §4.1: LMTP has LHLO in the place of HELO and EHLO, which it must not take.
        if self.is_lmtp() != (command.verb == Verb::Lhlo) {
            return Answer::Refusal(words::UNKNOWN_COMMAND);
        }
        if !command::is_name(command.argument) {
            return Answer::Refusal(words::BAD_NAME);
        }
        let said = [command.word.to_ascii_uppercase().as_slice(), command.argument].join(b" ".as_slice());
        if command.verb == Verb::Helo {
            self.hello = Hello::Said(said);
            self.offered = Extensions::default();
            write_lines(250, std::iter::once(self.settings.hostname.as_bytes()), output);
        } else if self.is_open() && self.known.is_none() {
            self.hello = Hello::Asking(said);
        } else {
            self.introduce(said, output);
        }
        Answer::None
    }

    /// Answers EHLO or LHLO.
    fn introduce(&mut self, said: Vec<u8>, output: &mut Vec<u8>) {
        self.hello = Hello::Said(said);
        self.offered = if self.is_open() { self.known.unwrap_or_default() } else { self.without_backend() };
        let mut lines = vec![self.settings.hostname.clone()];
        lines.extend(self.offered.lines());
        if self.takes_passwords() {
            lines.extend(self.offered.mechanisms.line());
        }
        lines.push("STARTTLS".to_owned());
        write_lines(250, lines.iter().map(String::as_bytes), output);
    }

    /// What this small server has itself.
    fn without_backend(&self) -> Extensions {
        Extensions { pipelining: self.is_lmtp(), enhanced_status_codes: true, ..Extensions::default() }
    }

    /// What the dialogue came to by an answer, if it came to something.
    fn conclude(&mut self, answer: Answer, input: &Input, output: &mut Vec<u8>) -> Result<Option<Outcome>, Violation> {
        match answer {
            Answer::None => {}
            Answer::Reply(reply) => say(reply, output),
            Answer::Refusal(reply) => self.refuse(reply, output)?,
            Answer::StartTls => return start_tls(input, output).map(Some),
            Answer::Plaintext => return Ok(Some(Outcome::Plaintext(self.opening()))),
            Answer::Quit => {
                say(words::BYE, output);
                return Ok(Some(Outcome::Closed));
            }
        }
        Ok(None)
    }

    fn refuse(&mut self, reply: &str, output: &mut Vec<u8>) -> Result<(), Violation> {
        self.tally.error(&self.settings.limits)?;
        say(reply, output);
        Ok(())
    }

    fn opening(&self) -> Opening {
        let command = match &self.hello {
            Hello::Said(command) | Hello::Asking(command) => Some(command.clone()),
            Hello::None => None,
        };
        Opening::Hello { command, offered: self.offered }
    }
}

impl Greeter for SmtpGreeter {
    fn greet(&mut self, output: &mut Vec<u8>) {
        let kind = if self.is_lmtp() { "LMTP" } else { "ESMTP" };
        say(&format!("220 {} {kind}\r\n", self.settings.hostname), output);
    }

    fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation> {
        self.advance(input, output).inspect_err(|violation| say(words::violation(*violation), output))
    }

    fn learn(&mut self, offered: Option<Extensions>, output: &mut Vec<u8>) {
        self.known = Some(self.settings.hygiene.shown(offered.unwrap_or_default()));
        match std::mem::replace(&mut self.hello, Hello::None) {
            Hello::Asking(said) => self.introduce(said, output),
            answered => self.hello = answered,
        }
    }

    fn farewell(&self, farewell: Farewell, output: &mut Vec<u8>) {
        say(words::farewell(farewell), output);
    }
}

/// RFC 3207 §4.2, §6: nothing that was said before TLS may have an effect in it, so that what came with the
/// command ends the session instead of being kept.
fn start_tls(input: &Input, output: &mut Vec<u8>) -> Result<Outcome, Violation> {
    let emptied = input.emptied().ok_or(Violation::InjectedBeforeTls)?;
    say(words::READY_FOR_TLS, output);
    Ok(Outcome::StartTls(emptied))
}
