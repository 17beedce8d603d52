//! A sender's commands: what is in order, what is refused, and what is to be decided (RFC 5321 §4.1.4).

use super::{Demand, Egress, Greeted, Outcome, State, Tls, Transaction};
use crate::proto::{
    Input, Violation, line,
    smtp::{
        Extensions, Mail,
        chunk::{Chunk, Fault, Unwanted},
        command::{self, Command, Verb},
        envelope::{self, Permitted},
        reply::write_lines,
        words::{self, say},
    },
};

impl Egress {
    pub(super) fn command(&mut self, text: &[u8], input: &Input, output: &mut Vec<u8>) -> Result<Outcome, Violation> {
        if line::is_http(text) {
            return Err(Violation::HttpRequest);
        }
        let Some(command) = Command::parse(text) else { return Ok(Outcome::Refusal(words::BAD_LINE)) };
        // What carries mail has bounds of its own.
        if !matches!(command.verb, Verb::Mail | Verb::Rcpt | Verb::Data) {
            self.tally.command(&self.settings.limits)?;
        }
        match command.verb {
            Verb::Quit => Ok(self.quit(output)),
            Verb::Bdat => self.refuse_chunk(&command),
            _ if matches!(self.state, State::Away) => Ok(Outcome::Refusal(words::BAD_SEQUENCE)),
            Verb::StartTls => self.start_tls(&command, input, output),
            _ => Ok(self.obey(&command, output)),
        }
    }

    fn obey(&mut self, command: &Command<'_>, output: &mut Vec<u8>) -> Outcome {
        match command.verb {
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => self.hello(command, output),
            Verb::Noop => Outcome::Reply(words::OK),
            Verb::Help => Outcome::Reply(words::HELP),
            Verb::Rset | Verb::Data if !command.argument.is_empty() => Outcome::Refusal(words::NO_ARGUMENT),
            Verb::Rset => self.reset(words::OK, output),
            Verb::Other => Outcome::Refusal(words::UNKNOWN_COMMAND),
            _ if self.needs_tls() => Outcome::Refusal(words::NEEDS_TLS),
            Verb::Vrfy => Outcome::Reply(words::CANNOT_VERIFY),
            Verb::Mail => self.mail_from(command),
            Verb::Rcpt => self.recipient(command),
            Verb::Data => self.data(),
            _ => Outcome::Refusal(words::NOT_OFFERED),
        }
    }

    /// Whether there is no mail yet for want of TLS.
    fn needs_tls(&self) -> bool {
        self.settings.tls == Tls::Required && !self.leg.is_encrypted()
    }

    fn hello(&mut self, command: &Command<'_>, output: &mut Vec<u8>) -> Outcome {
        // RFC 2033 §4.1: LMTP has LHLO in the place of HELO and EHLO, which it must not take.
        if self.is_lmtp() != (command.verb == Verb::Lhlo) {
            return Outcome::Refusal(words::UNKNOWN_COMMAND);
        }
        if !command::is_name(command.argument) {
            return Outcome::Refusal(words::BAD_NAME);
        }
        if let Some(trace) = &mut self.trace {
            trace.note(command);
        }
        let is_extended = command.verb != Verb::Helo;
        self.greeted = if is_extended { Greeted::Extended } else { Greeted::Basic };
        let list = if is_extended { self.list() } else { Vec::new() };
        let lines = std::iter::once(self.settings.hostname.clone()).chain(list).collect::<Vec<_>>();
        write_lines(250, lines.iter().map(String::as_bytes), output);
        // RFC 5321 §4.1.4: a new greeting does what RSET does.
        self.reset("", output)
    }

    /// What EHLO and LHLO list.
    fn list(&self) -> Vec<String> {
        let offered = Extensions {
            size: Some(self.settings.largest),
            eight_bit_mime: true,
            smtp_utf8: self.settings.smtp_utf8,
            pipelining: true,
            enhanced_status_codes: true,
            ..Extensions::default()
        };
        let domains = if self.settings.one_domain { " RCPTDOMAINMAX=1" } else { "" };
        let further = [
            // RFC 9422 §4
            (!self.is_lmtp(), format!("LIMITS RCPTMAX={}{domains}", self.settings.recipients)),
            (self.offers_tls(), "STARTTLS".to_owned()),
            (self.offers_require_tls(), "REQUIRETLS".to_owned()),
        ];
        offered.lines().into_iter().chain(further.into_iter().filter(|(has, _)| *has).map(|(_, line)| line)).collect()
    }

    fn offers_tls(&self) -> bool {
        self.settings.tls != Tls::Off && !self.leg.is_encrypted()
    }

    /// RFC 8689 §2: inside TLS alone.
    fn offers_require_tls(&self) -> bool {
        self.settings.require_tls && self.leg.is_encrypted()
    }

    /// Ends the transaction without a message.
    fn reset(&mut self, reply: &str, output: &mut Vec<u8>) -> Outcome {
        say(reply, output);
        let abandoned = self.transaction.take().is_some_and(|transaction| transaction.demanded > 0);
        if abandoned { Outcome::Demand(Demand::Abandoned) } else { Outcome::Silence }
    }

    fn mail_from(&mut self, command: &Command<'_>) -> Outcome {
        if self.greeted == Greeted::Nothing || self.transaction.is_some() {
            return Outcome::Refusal(words::BAD_SEQUENCE);
        }
        let permitted = Permitted {
            extended: self.greeted == Greeted::Extended,
            smtp_utf8: self.settings.smtp_utf8,
            require_tls: self.offers_require_tls(),
        };
        let mail = match Mail::parse(command.argument, permitted) {
            Ok(mail) => mail,
            Err(reply) => return Outcome::Refusal(reply),
        };
        // RFC 1870 §6.1
        if mail.size.zip(self.settings.largest).is_some_and(|(size, largest)| size > largest) {
            return Outcome::Reply(words::TOO_LARGE);
        }
        if let Some(trace) = &mut self.trace {
            trace.note(command);
        }
        self.transaction = Some(Transaction { mail, demanded: 0, accepted: 0 });
        Outcome::Reply(words::SENDER_OK)
    }

    fn recipient(&mut self, command: &Command<'_>) -> Outcome {
        let Some(transaction) = &mut self.transaction else { return Outcome::Refusal(words::BAD_SEQUENCE) };
        if transaction.accepted >= self.settings.recipients {
            return Outcome::Reply(words::TOO_MANY_RECIPIENTS);
        }
        match envelope::recipient(command.argument, transaction.mail.smtp_utf8) {
            Err(reply) => Outcome::Refusal(reply),
            Ok(mailbox) => {
                transaction.demanded += 1;
                self.state = State::Recipient;
                Outcome::Demand(Demand::Recipient(mailbox))
            }
        }
    }

    fn data(&mut self) -> Outcome {
        match &self.transaction {
            Some(Transaction { accepted: 1.., .. }) => {
                self.state = State::Data;
                Outcome::Demand(Demand::Data)
            }
            // It was said of each of them already what is wrong; RFC 2033 §4.2 wants 503.
            Some(Transaction { demanded: 1.., .. }) if !self.is_lmtp() => Outcome::Reply(words::NOBODY),
            Some(_) => Outcome::Reply(words::NO_RECIPIENTS),
            None => Outcome::Refusal(words::BAD_SEQUENCE),
        }
    }

    fn quit(&mut self, output: &mut Vec<u8>) -> Outcome {
        say(words::BYE, output);
        self.transaction = None;
        Outcome::Demand(Demand::Closed)
    }

    fn start_tls(&mut self, command: &Command<'_>, input: &Input, output: &mut Vec<u8>) -> Result<Outcome, Violation> {
        if !self.offers_tls() {
            return Ok(Outcome::Refusal(if self.leg.is_encrypted() { words::NO_STARTTLS } else { words::NOT_OFFERED }));
        }
        // RFC 3207 §4
        if !command.argument.is_empty() {
            return Ok(Outcome::Refusal(words::NO_ARGUMENT));
        }
        // RFC 3207 §6: what came behind it would be read as if it had been said inside.
        let emptied = input.emptied().ok_or(Violation::InjectedBeforeTls)?;
        say(words::READY_FOR_TLS, output);
        self.transaction = None;
        Ok(Outcome::Demand(Demand::StartTls(emptied)))
    }

    /// It is not offered, but who sends one sends its octets too.
    fn refuse_chunk(&mut self, command: &Command<'_>) -> Result<Outcome, Violation> {
        let left = match Chunk::parse(command.argument) {
            Ok(Chunk { size, .. }) | Err(Fault::Known(size)) => size,
            Err(Fault::Unknown) => return Err(Violation::BadLength),
        };
        self.count_discarded(left)?;
        self.unwanted = Some(Unwanted { left, reply: words::NOT_OFFERED });
        Ok(Outcome::Silence)
    }
}
