//! Runs the pure machines of `mailward::proto` the way the sockets do, without any socket.
//!
//! The transcripts and the fuzz targets share this file. It also holds the machines to their contract: a breach
//! (a step that passes more bytes than it was shown, an answer to a backend that is gone, …) is a panic here.

use std::sync::Arc;

use mailward::proto::{
    self, Complaint, Ending, Farewell, Filter, Flow, Greeter, Input, Leg, Opening, Outcome, Phase, Protocol, Settings,
    Start, Step, Violation, Wire, smtp::Extensions,
};

/// More than any machine may hold of one side: its largest limit, and the 64 KiB that a backend's line or
/// greeting may have.
fn most_held(settings: &Settings) -> usize {
    let limits = &settings.limits;
    limits.line.max(limits.auth) + limits.literal.max(64 * 1024) + 1024
}

/// How a session before TLS stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeted {
    /// It goes on.
    Open,
    /// It waits to learn what the backend offers.
    Asking,
    /// The handshake may begin.
    StartTls,
    /// It goes on in plaintext.
    Plaintext(Opening),
    /// The client took its leave.
    Closed,
    /// The client broke a rule.
    Violation(Violation),
}

/// A session before TLS.
pub(crate) struct GreeterSession {
    machine: Box<dyn Greeter>,
    input: Input,
    /// What was sent to the client and not yet taken.
    pub(crate) to_client: Vec<u8>,
    /// How it stands.
    pub(crate) state: Greeted,
    most_held: usize,
}

impl GreeterSession {
    /// A session whose greeting is written.
    pub(crate) fn new(settings: &Arc<Settings>) -> Self {
        let mut machine = proto::greeter(settings);
        let mut to_client = Vec::new();
        machine.greet(&mut to_client);
        let most_held = most_held(settings);
        Self { machine, input: Input::new(), to_client, state: Greeted::Open, most_held }
    }

    /// One read from the client.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
        self.step();
    }

    /// The answer to [`Greeted::Asking`].
    pub(crate) fn learn(&mut self, offered: Option<Extensions>) {
        assert_eq!(self.state, Greeted::Asking, "nothing was asked");
        self.machine.learn(offered, &mut self.to_client);
        self.step();
    }

    /// mailward's own farewell.
    pub(crate) fn farewell(&mut self, farewell: Farewell) {
        self.machine.farewell(farewell, &mut self.to_client);
    }

    /// What was read and not used up.
    pub(crate) fn left(&self) -> &[u8] {
        self.input.peek()
    }

    fn step(&mut self) {
        self.state = match self.machine.step(&mut self.input, &mut self.to_client) {
            Ok(Step::More) => Greeted::Open,
            Ok(Step::Done(Outcome::AskExtensions)) => Greeted::Asking,
            Ok(Step::Done(Outcome::StartTls(_))) => Greeted::StartTls,
            Ok(Step::Done(Outcome::Plaintext(opening))) => Greeted::Plaintext(opening),
            Ok(Step::Done(Outcome::Closed)) => Greeted::Closed,
            Err(violation) => Greeted::Violation(violation),
        };
        if self.state == Greeted::Open {
            assert!(self.left().len() <= self.most_held, "the greeter holds {} bytes", self.left().len());
        }
        if self.state == Greeted::StartTls {
            assert!(self.left().is_empty(), "bytes are left where the handshake begins");
        }
    }
}

/// Whether a side's bytes are worth showing to the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Show,
    NeedsMore,
    NeedsOther,
}

/// What one side sent and the filter has not used up.
struct Side {
    input: Input,
    turn: Turn,
}

impl Side {
    fn new() -> Self {
        Self { input: Input::new(), turn: Turn::Show }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
        if self.turn == Turn::NeedsMore {
            self.turn = Turn::Show;
        }
    }

    fn may_be_shown(&self) -> bool {
        self.turn == Turn::Show && !self.input.peek().is_empty()
    }
}

/// Who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Client,
    Backend,
}

/// A session through a filter.
pub(crate) struct FilterSession {
    machine: Box<dyn Filter>,
    protocol: Protocol,
    client: Side,
    backend: Side,
    greeted: bool,
    lost: bool,
    /// Whether the filter had the backend's connection cut.
    pub(crate) cut: bool,
    /// Whether the filter stepped aside: all is copied.
    pub(crate) aside: bool,
    /// What was sent to the client and not yet taken.
    pub(crate) to_client: Vec<u8>,
    /// What was sent to the backend and not yet taken.
    pub(crate) to_backend: Vec<u8>,
    /// How it ended.
    pub(crate) end: Option<Ending>,
    most_held: usize,
}

impl FilterSession {
    /// A session whose backend has not greeted yet.
    pub(crate) fn new(settings: &Arc<Settings>, start: Start, leg: Leg) -> Self {
        Self {
            machine: proto::filter(settings, start, leg),
            protocol: settings.protocol,
            client: Side::new(),
            backend: Side::new(),
            greeted: false,
            lost: false,
            cut: false,
            aside: false,
            to_client: Vec::new(),
            to_backend: Vec::new(),
            end: None,
            most_held: most_held(settings),
        }
    }

    /// One read from the client.
    pub(crate) fn read_client(&mut self, bytes: &[u8]) {
        self.client.push(bytes);
        self.run();
    }

    /// One read from the backend.
    pub(crate) fn read_backend(&mut self, bytes: &[u8]) {
        assert!(!self.lost, "a backend that is gone says nothing");
        if !self.cut {
            self.backend.push(bytes);
            self.run();
        }
    }

    /// The client ended its sending side; whether the backend may be told by a half-close.
    pub(crate) fn client_ends(&mut self) -> bool {
        self.aside || self.machine.client_ended()
    }

    /// The backend is gone.
    pub(crate) fn backend_lost(&mut self) {
        self.lost = true;
        if self.aside {
            self.end = Some(Ending::BackendLost);
        }
        if self.end.is_some() || self.cut {
            return;
        }
        let mut wire = Wire::default();
        let flow = self.machine.backend_lost(&mut wire);
        self.write(wire);
        match flow {
            Flow::End(ending) => self.end = Some(ending),
            Flow::More => self.client.turn = Turn::Show,
            other => panic!("{other:?} is no answer to a lost backend"),
        }
        self.run();
    }

    /// mailward's own farewell.
    pub(crate) fn farewell(&mut self, farewell: Farewell) {
        if self.aside {
            return;
        }
        let mut wire = Wire::default();
        let said = self.machine.farewell(farewell, &mut wire);
        assert_eq!(said, !wire.to_client.is_empty(), "the farewell is said exactly where words were written");
        self.write(wire);
    }

    /// What the session waits for.
    pub(crate) fn phase(&self) -> Phase {
        self.machine.phase()
    }

    /// Whether the login is still to come.
    pub(crate) fn awaits_login(&self) -> bool {
        self.machine.awaits_login()
    }

    /// Who logged in.
    pub(crate) fn user(&self) -> Option<&str> {
        self.machine.user()
    }

    /// What the operator is to be told.
    pub(crate) fn complaint(&mut self) -> Option<Complaint> {
        self.machine.complaint()
    }

    fn run(&mut self) {
        while self.end.is_none() && !self.aside {
            if !self.greet() && !self.step(From::Client) && !self.step(From::Backend) {
                break;
            }
        }
        if self.aside {
            self.to_backend.append(&mut self.client.input.take());
            self.to_client.append(&mut self.backend.input.take());
        }
        if self.end.is_none() {
            for side in [&self.client, &self.backend] {
                let held = if side.turn == Turn::NeedsMore { side.input.peek().len() } else { 0 };
                assert!(held <= self.most_held, "the filter holds {held} bytes");
            }
        }
    }

    /// Shows the greeting once it is whole.
    fn greet(&mut self) -> bool {
        if self.greeted || self.backend.turn == Turn::NeedsMore {
            return false;
        }
        match proto::greeting_end(self.protocol, self.backend.input.peek()) {
            Ok(None) => self.backend.turn = Turn::NeedsMore,
            Ok(Some(length)) => self.show_greeting(length),
            Err(violation) => self.end = Some(Ending::Backend(violation)),
        }
        self.greeted || self.end.is_some()
    }

    fn show_greeting(&mut self, length: usize) {
        let mut wire = Wire::default();
        let shown = &self.backend.input.peek()[..length];
        match self.machine.greeting(shown, &mut wire) {
            Flow::Consume(used) => assert_eq!(used, length, "a greeting is used up as a whole"),
            Flow::Cut(used) => {
                assert_eq!(used, length, "a greeting is used up as a whole");
                self.cut = true;
            }
            Flow::End(ending) => self.end = Some(ending),
            other => panic!("{other:?} is no answer to a greeting"),
        }
        self.write(wire);
        self.backend.input.consume(length);
        self.greeted = true;
        self.aside = self.end.is_none() && self.machine.steps_aside();
    }

    /// Shows one side's bytes; whether anything moved.
    fn step(&mut self, from: From) -> bool {
        let side = if from == From::Client { &self.client } else { &self.backend };
        if !self.greeted || !side.may_be_shown() || (self.is_gone() && from == From::Backend) {
            return false;
        }
        let mut wire = Wire::default();
        let shown = side.input.peek().to_vec();
        let flow = match from {
            From::Client => self.machine.client(&shown, &mut wire),
            From::Backend => self.machine.backend(&shown, &mut wire),
        };
        self.write(wire);
        self.apply(from, &shown, flow);
        self.aside = self.end.is_none() && self.machine.steps_aside();
        !matches!(flow, Flow::More | Flow::Wait)
    }

    fn apply(&mut self, from: From, shown: &[u8], flow: Flow) {
        let gone = self.is_gone();
        let (side, other, onward) = match from {
            From::Client => (&mut self.client, &mut self.backend, &mut self.to_backend),
            From::Backend => (&mut self.backend, &mut self.client, &mut self.to_client),
        };
        match flow {
            Flow::Pass(count) | Flow::Consume(count) => {
                assert!((1..=shown.len()).contains(&count), "{flow:?} of {} bytes", shown.len());
                if matches!(flow, Flow::Pass(_)) {
                    assert!(!(gone && from == From::Client), "bytes pass to a backend that is gone");
                    onward.extend_from_slice(&shown[..count]);
                }
                side.input.consume(count);
                if other.turn == Turn::NeedsOther {
                    other.turn = Turn::Show;
                }
            }
            Flow::Cut(count) => {
                assert!(!gone && from == From::Client && count <= shown.len(), "{flow:?} of {} bytes", shown.len());
                side.input.consume(count);
                self.cut = true;
            }
            Flow::More => side.turn = Turn::NeedsMore,
            Flow::Wait => side.turn = Turn::NeedsOther,
            Flow::End(ending) => self.end = Some(ending),
        }
    }

    /// Whether there is no backend any more.
    fn is_gone(&self) -> bool {
        self.lost || self.cut
    }

    fn write(&mut self, wire: Wire) {
        assert!(!self.is_gone() || wire.to_backend.is_empty(), "something is written to a backend that is gone");
        self.to_client.extend_from_slice(&wire.to_client);
        self.to_backend.extend_from_slice(&wire.to_backend);
    }
}
