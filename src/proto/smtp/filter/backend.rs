//! The backend's greeting and replies.

use super::{Reaction, SmtpFilter, message::Mode};
use crate::proto::{
    Complaint, Ending, Flow, Opening, Protocol, Start, Violation, Wire, line,
    smtp::{
        Extensions,
        body::Body,
        command::Command,
        offer::{self, Offer, Permit},
        reply::Reply,
        words::{self, say},
    },
};

impl SmtpFilter {
    /// The backend's greeting.
    pub(super) fn greeted(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        match Reply::first(greeting) {
            Ok(Some(reply)) if reply.class() == 2 => self.welcomed(&reply, greeting.len(), wire),
            Ok(Some(reply)) if reply.class() > 3 => self.refused(&reply, greeting.len(), wire),
            _ => self.break_off(wire),
        }
    }

    fn welcomed(&mut self, reply: &Reply<'_>, length: usize, wire: &mut Wire) -> Flow {
        if self.start == Start::Greeting {
            reply.write(&mut wire.to_client);
        }
        if let Some((command, offered)) = self.opening() {
            if let Some(command) = command {
                line::write(command, &mut wire.to_backend);
                self.expected.push(Reaction::Opening);
                self.mode = Mode::Held;
            }
            let submits = self.settings.protocol == Protocol::Submission;
            self.offer = Offer::in_plaintext(submits && self.takes_passwords(), offered.smtp_utf8);
        }
        Flow::Consume(length)
    }

    /// The reply at the front of the backend's bytes.
    pub(super) fn replied(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        let reply = match Reply::first(input) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Flow::More,
            Err(_) => return self.break_off(wire),
        };
        if self.is_early_verdict(&reply) {
            self.spoke_early = true;
            return Flow::Wait;
        }
        self.spoke_early &= reply.length() < input.len();
        let success = reply.class() == 2;
        match self.expected.next() {
            None => self.unasked(&reply, wire),
            Some(Reaction::Quit) => {
                reply.write(&mut wire.to_client);
                Flow::End(Ending::Closed)
            }
            Some(Reaction::Opening) => self.opened(&reply, wire),
            Some(reaction) if !reaction.permits(reply.code) => self.break_off(wire),
            Some(Reaction::Chunk | Reaction::Verdict) if matches!(self.mode, Mode::Chunk(_)) => {
                self.interrupted(&reply, wire)
            }
            Some(Reaction::Offer) if success => self.offered(&reply, wire),
            Some(reaction) => {
                self.react(reaction, &reply);
                self.pass_on(&reply, wire)
            }
        }
    }

    /// A verdict before the end of the message, as over its size: it is passed on in its place.
    fn is_early_verdict(&self, reply: &Reply<'_>) -> bool {
        self.expected.is_empty() && reply.class() > 3 && matches!(self.mode, Mode::Body(_))
    }

    /// A reply to a BDAT whose octets have not all gone on: nobody knows what the backend takes the others for.
    fn interrupted(&mut self, reply: &Reply<'_>, wire: &mut Wire) -> Flow {
        if reply.class() == 2 {
            return self.break_off(wire);
        }
        let mut said = Vec::new();
        reply.write(&mut said);
        self.answer_messages(&String::from_utf8_lossy(&said), wire);
        say(words::CLOSING, &mut wire.to_client);
        Flow::End(Ending::Backend(Violation::Backend))
    }

    /// What a reply that goes on as it is changes for the session.
    fn react(&mut self, reaction: Reaction, reply: &Reply<'_>) {
        match (reaction, reply.class()) {
            (Reaction::Hello, 2) => self.begin_session(Offer::default()),
            (Reaction::Hello | Reaction::Offer, _) => self.mode = Mode::Command,
            (Reaction::Mail, 2) => {
                self.mail_accepted = true;
                self.expected.forget_recipients();
                self.trace.iter_mut().for_each(|trace| trace.begin());
            }
            // Whatever the answer: whoever gives a message up has to name the recipients of the next.
            (Reaction::Reset, _) => self.expected.forget_recipients(),
            // RFC 3030 §2: the message has failed with this chunk, and nobody is left for whom another could be answered.
            (Reaction::Chunk, 4 | 5) => self.expected.forget_recipients(),
            (Reaction::Recipient, 2) => self.expected.accept_recipient(),
            (Reaction::Data, 3) => self.mode = Mode::Body(Body::new()),
            (Reaction::Data, _) => self.mode = Mode::Command,
            (Reaction::Login, _) => self.login_replied(reply),
            _ => {}
        }
    }

    /// Lets a reply go on, and the replies of our own that waited for it.
    fn pass_on(&mut self, reply: &Reply<'_>, wire: &mut Wire) -> Flow {
        self.backend_left = reply.code == 421;
        self.expected.answered(self.is_lmtp());
        if reply.is_clean() && !matches!(self.expected.next(), Some(Reaction::Local(_))) {
            return Flow::Pass(reply.length());
        }
        reply.write(&mut wire.to_client);
        self.catch_up(wire);
        Flow::Consume(reply.length())
    }

    /// Says what of our own is next.
    pub(super) fn catch_up(&mut self, wire: &mut Wire) {
        while let Some(reply) = self.expected.pop_local() {
            say(reply, &mut wire.to_client);
        }
    }

    /// EHLO or LHLO succeeded.
    fn offered(&mut self, reply: &Reply<'_>, wire: &mut Wire) -> Flow {
        self.complain_without_login(reply);
        let require_tls = self.leg.is_encrypted() && self.settings.backend_tls;
        let permit = Permit { login: self.takes_passwords(), leg: self.leg, require_tls };
        let offer = Offer::filter(reply, permit, &self.settings.hygiene, &mut wire.to_client);
        self.begin_session(offer);
        self.expected.answered(self.is_lmtp());
        self.catch_up(wire);
        Flow::Consume(reply.length())
    }

    /// RFC 5321 §4.1.4: EHLO and HELO clear what was before them.
    fn begin_session(&mut self, offer: Offer) {
        self.mode = Mode::Command;
        self.pipelining = offer.lists(b"PIPELINING");
        self.offer = offer;
        self.missing = Extensions::default();
        self.expected.forget_recipients();
    }

    /// The backend answered the EHLO or HELO that a plaintext client said to us.
    fn opened(&mut self, reply: &Reply<'_>, wire: &mut Wire) -> Flow {
        if matches!(reply.code, 500 | 502) && self.falls_back(wire) {
            return Flow::Consume(reply.length());
        }
        let Some((Some(command), offered)) = self.opening().filter(|_| reply.class() == 2) else {
            say(words::UNAVAILABLE, &mut wire.to_client);
            return Flow::End(Ending::Refused);
        };
        let extended = !command.starts_with(b"HELO");
        let live = if extended { Extensions::listed_in(reply) } else { Extensions::default() };
        let live = self.settings.hygiene.shown(live);
        self.missing = offered.without(live);
        self.pipelining = live.pipelining;
        self.mode = Mode::Command;
        self.expected.answered(self.is_lmtp());
        if extended {
            self.complain_without_login(reply);
        }
        Flow::Consume(reply.length())
    }

    /// RFC 5321 §3.2: a server that does not know EHLO is told HELO. Says whether there is anything to fall back from.
    fn falls_back(&mut self, wire: &mut Wire) -> bool {
        let Start::Opened(Opening::Hello { command: Some(command), .. }) = &mut self.start else { return false };
        let Some(name) = command.strip_prefix(b"EHLO ") else { return false };
        *command = [b"HELO ", name].concat();
        line::write(command, &mut wire.to_backend);
        if let (Some(trace), Some(hello)) = (&mut self.trace, Command::parse(command)) {
            trace.note(&hello);
        }
        true
    }

    /// A backend that lets nobody log in, behind a listener where everybody has to.
    fn complain_without_login(&mut self, reply: &Reply<'_>) {
        if self.settings.guard.require_auth && !self.login.accepted() && !offer::has_login(reply, self.leg) {
            self.complaints.raise(Complaint::LoginRefusedInPlaintext);
        }
    }

    /// RFC 5321 §3.8: of its own accord a server says nothing but 421.
    fn unasked(&mut self, reply: &Reply<'_>, wire: &mut Wire) -> Flow {
        if reply.code == 421 {
            reply.write(&mut wire.to_client);
            return Flow::End(Ending::Closed);
        }
        self.complaints.raise(Complaint::SpokeUnasked);
        self.break_off(wire)
    }

    /// Ends a session whose backend cannot be understood.
    fn break_off(&mut self, wire: &mut Wire) -> Flow {
        self.settle(wire);
        Flow::End(Ending::Backend(Violation::Backend))
    }
}
