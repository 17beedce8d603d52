//! A filter driven the way a session drives it, with what each side was sent.

use std::sync::Arc;

use crate::proto::{
    Complaint, Ending, Filter, Flow, Leg, Limits, Protocol, Settings, Start, Wire,
    smtp::{Guard, Hygiene, SmtpFilter},
};

/// Limits small enough to be reached.
pub(super) const LIMITS: Limits = Limits { line: 200, auth: 400, literal: 0, commands: 20, errors: 3, discard: 1000 };

/// The settings of a listener that requires TLS.
pub(super) fn settings(protocol: Protocol) -> Settings {
    Settings {
        protocol,
        hostname: "mw.example".into(),
        require: true,
        plaintext_auth: false,
        backend_tls: false,
        limits: LIMITS,
        guard: Guard::default(),
        hygiene: Hygiene::default(),
    }
}

/// A session in the middle of which a filter stands.
pub(super) struct Talk {
    pub(super) filter: SmtpFilter,
    from_client: Vec<u8>,
    from_backend: Vec<u8>,
    to_client: Vec<u8>,
    to_backend: Vec<u8>,
    pub(super) ending: Option<Ending>,
    pub(super) cut: bool,
    /// Whether bytes arrive one at a time.
    drips: bool,
}

impl Talk {
    /// A session that has begun with STARTTLS, greeted by `220 mx`.
    pub(super) fn inside_tls(settings: Settings, drips: bool) -> Self {
        Self::begun(settings, Start::Greeted, Leg::Tls, "220 mx ESMTP\r\n", drips)
    }

    /// A session with any beginning.
    pub(super) fn begun(settings: Settings, start: Start, leg: Leg, greeting: &str, drips: bool) -> Self {
        let mut talk = Self {
            filter: SmtpFilter::new(Arc::new(settings), start, leg),
            from_client: Vec::new(),
            from_backend: Vec::new(),
            to_client: Vec::new(),
            to_backend: Vec::new(),
            ending: None,
            cut: false,
            drips,
        };
        let mut wire = Wire::default();
        let flow = talk.filter.greeting(greeting.as_bytes(), &mut wire);
        talk.write(&wire);
        match flow {
            Flow::Consume(length) => assert_eq!(length, greeting.len()),
            Flow::Cut(_) => talk.cut = true,
            Flow::End(ending) => talk.ending = Some(ending),
            other => panic!("{other:?} of a greeting"),
        }
        talk
    }

    /// The client sends, and everything comes of it that can.
    pub(super) fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.arrive(bytes.as_ref(), |talk| &mut talk.from_client)
    }

    /// The backend sends.
    pub(super) fn backend(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.arrive(bytes.as_ref(), |talk| &mut talk.from_backend)
    }

    /// The backend's connection is gone.
    pub(super) fn lose_backend(&mut self) -> &mut Self {
        let mut wire = Wire::default();
        let flow = self.filter.backend_lost(&mut wire);
        self.write(&wire);
        self.cut = true;
        match flow {
            Flow::End(ending) => self.ending = Some(ending),
            Flow::More => self.pump(),
            other => panic!("{other:?} of a lost backend"),
        }
        self
    }

    /// What was sent to the client since this was asked last.
    pub(super) fn told(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.to_client)).unwrap()
    }

    /// What was sent to the backend since this was asked last.
    pub(super) fn asked(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.to_backend)).into_owned()
    }

    /// A command, its whole reply, and nothing else.
    pub(super) fn exchange(&mut self, command: &str, reply: &str) -> &mut Self {
        assert_eq!(self.client(format!("{command}\r\n")).asked(), format!("{command}\r\n"));
        assert_eq!(self.backend(format!("{reply}\r\n")).told(), format!("{reply}\r\n"));
        self
    }

    /// EHLO (or LHLO) to a backend that lists `extensions`.
    pub(super) fn hello(&mut self, verb: &str, extensions: &[&str]) -> &mut Self {
        assert_eq!(self.client(format!("{verb} c.example\r\n")).asked(), format!("{verb} c.example\r\n"));
        let lines = [&["mx"], extensions].concat();
        let (last, lines) = lines.split_last().unwrap();
        let reply: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        self.backend(format!("{reply}250 {last}\r\n")).told();
        self
    }

    pub(super) fn complaint(&mut self) -> Option<Complaint> {
        self.filter.complaint()
    }

    fn arrive(&mut self, bytes: &[u8], side: fn(&mut Self) -> &mut Vec<u8>) -> &mut Self {
        let size = if self.drips { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            side(self).extend_from_slice(piece);
            self.pump();
        }
        self
    }

    /// Shows each side's bytes until neither side gets on.
    fn pump(&mut self) {
        let mut moved = true;
        while moved && self.ending.is_none() {
            moved = self.step_client();
            moved |= self.ending.is_none() && !self.cut && self.step_backend();
        }
    }

    fn step_client(&mut self) -> bool {
        if self.from_client.is_empty() {
            return false;
        }
        let mut wire = Wire::default();
        let flow = self.filter.client(&self.from_client, &mut wire);
        if self.cut {
            assert!(wire.to_backend.is_empty(), "something for a backend that is gone");
        }
        self.write(&wire);
        match flow {
            Flow::Pass(length) => {
                assert!(!self.cut && length > 0);
                self.to_backend.extend(self.from_client.drain(..length));
            }
            Flow::Consume(length) => {
                assert!(length > 0);
                self.from_client.drain(..length);
            }
            Flow::Cut(length) => {
                assert!(!std::mem::replace(&mut self.cut, true), "cut twice");
                self.from_client.drain(..length);
            }
            Flow::More | Flow::Wait => return false,
            Flow::End(ending) => self.ending = Some(ending),
        }
        true
    }

    fn step_backend(&mut self) -> bool {
        if self.from_backend.is_empty() {
            return false;
        }
        let mut wire = Wire::default();
        let flow = self.filter.backend(&self.from_backend, &mut wire);
        self.write(&wire);
        match flow {
            Flow::Pass(length) => self.to_client.extend(self.from_backend.drain(..length)),
            Flow::Consume(length) => drop(self.from_backend.drain(..length)),
            Flow::Cut(_) => panic!("a backend cuts itself off"),
            Flow::More | Flow::Wait => return false,
            Flow::End(ending) => self.ending = Some(ending),
        }
        true
    }

    fn write(&mut self, wire: &Wire) {
        self.to_client.extend_from_slice(&wire.to_client);
        self.to_backend.extend_from_slice(&wire.to_backend);
    }
}

/// Runs a dialogue with whole writes and byte by byte.
pub(super) fn both(dialogue: impl Fn(bool)) {
    dialogue(false);
    dialogue(true);
}
