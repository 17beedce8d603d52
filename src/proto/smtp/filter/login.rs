//! AUTH (RFC 4954): the exchange is the client's and the backend's; we keep in step, and learn who logged in.
//!
//! Refuses, before the backend sees it, what cannot be a line of an exchange: a response that one side takes for
//! something else is how an exchange gets out of step.

use super::{Reaction, SmtpFilter, client::forward, expel, message::Mode};
use crate::proto::{
    Flow, RefusedLogin, Violation, Wire,
    line::{self, Read},
    sasl,
    smtp::{
        command::{self, Command},
        reply::Reply,
        words,
    },
};

/// Whether, and as whom, the client has logged in.
#[derive(Default)]
pub(super) struct Login {
    accepted: bool,
    user: Option<Box<str>>,
    exchange: Option<Box<sasl::Exchange>>,
    refused: Option<RefusedLogin>,
}

impl Login {
    /// Whether the backend has accepted an exchange, and knows the client by it.
    pub(super) const fn accepted(&self) -> bool {
        self.accepted
    }

    /// The user of the accepted exchange, if its mechanism names one.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn note(&mut self, response: &[u8]) {
        if let Some(exchange) = &mut self.exchange {
            exchange.respond(response);
        }
    }

    /// The refused exchange, once.
    pub(super) fn take_refused(&mut self) -> Option<RefusedLogin> {
        self.refused.take()
    }

    /// Takes the last reply of an exchange and forgets what was said in it.
    fn finish(&mut self, code: u16) {
        let (exchange, success) = (self.exchange.take(), code / 100 == 2);
        // RFC 4954 §6: of its codes the one that speaks of the credentials.
        if code == 535 {
            self.refused = Some(RefusedLogin { user: exchange.as_ref().and_then(|exchange| exchange.user()) });
        }
        // RFC 4505: who is let in as nobody is known no better than who never logged in.
        if success && exchange.as_ref().is_some_and(|exchange| !exchange.is_anonymous()) {
            self.accepted = true;
            self.user = exchange.and_then(|exchange| exchange.user()).map(String::into_boxed_str);
        }
    }
}

impl SmtpFilter {
    /// The reply that refuses AUTH, if it is refused.
    pub(super) fn refuses_login(&self, command: &Command<'_>) -> Option<&'static str> {
        let (mechanism, response) = line::word(command.argument);
        if !self.takes_passwords() {
            Some(words::NEEDS_ENCRYPTION)
        } else if !self.offer.lists(b"AUTH") {
            Some(words::NOT_OFFERED)
        } else if !sasl::is_mechanism(mechanism) || !is_response(response) {
            Some(words::BAD_ARGUMENT)
        } else if !sasl::passes(mechanism, self.leg) {
            Some(words::NO_MECHANISM)
        } else {
            None
        }
    }

    /// Begins an exchange that is not refused.
    pub(super) fn begin_login(&mut self, command: &Command<'_>) {
        let (mechanism, response) = line::word(command.argument);
        self.login.exchange = Some(Box::new(sasl::Exchange::new(mechanism)));
        if !response.is_empty() {
            self.login.note(response);
        }
    }

    /// The client's next line of an exchange.
    pub(super) fn response_line(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let limits = &self.settings.limits;
        let (text, length) = match self.reader.read(input, limits.auth, command::bound(limits)) {
            Read::Partial => return Flow::More,
            Read::Skipped { length } => return Flow::Consume(length),
            Read::Endless => return expel(Violation::LineTooLong, wire),
            Read::Bad { length } | Read::Long { length } => (None, length),
            Read::Whole { text, length } => (Some(text).filter(|text| *text == b"*" || is_response(text)), length),
        };
        self.expected.push(Reaction::Login);
        self.mode = Mode::Held;
        let Some(text) = text else {
            // RFC 4954 §4: this cancels the exchange, and the backend's 501 is the reply to the client's line.
            line::write(b"*", &mut wire.to_backend);
            return Flow::Consume(length);
        };
        self.login.note(text);
        forward(text, length, wire)
    }

    /// A reply to AUTH or to a line of its exchange.
    pub(super) fn login_replied(&mut self, reply: &Reply<'_>) {
        if reply.class() == 3 {
            self.mode = Mode::Exchange;
        } else {
            self.mode = Mode::Command;
            self.login.finish(reply.code);
        }
    }
}

/// Base64, or nothing.
fn is_response(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}
