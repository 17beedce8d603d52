//! The two machines driven as the sockets drive them, and what each of them promises.

use std::sync::Arc;

use super::{ImapFilter, ImapGreeter, greeting_end};
use crate::proto::{
    Ending, Filter, Flow, Greeter, Input, Leg, Limits, Protocol, Settings, Start, Step, Violation, Wire,
};

mod backend;
mod client;
mod greeter;
mod identity;
mod literals;
mod split;
mod starttls;

/// Limits small enough to be reached.
const LIMITS: Limits = Limits { line: 200, auth: 600, literal: 1000, commands: 50, errors: 5, discard: 1 << 20 };

fn settings() -> Settings {
    Settings {
        protocol: Protocol::Imap,
        hostname: "mx.test".to_owned(),
        require: true,
        plaintext_auth: false,
        backend_tls: false,
        limits: LIMITS,
        guard: crate::proto::smtp::Guard::default(),
        hygiene: crate::proto::smtp::Hygiene::default(),
    }
}

fn plaintext_settings() -> Settings {
    Settings { require: false, plaintext_auth: true, ..settings() }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A client's dialogue with a greeter.
struct Hall {
    greeter: ImapGreeter,
    input: Input,
    output: Vec<u8>,
    end: Option<Result<Step, Violation>>,
}

impl Hall {
    fn new(settings: Settings) -> Self {
        let greeter = ImapGreeter::new(Arc::new(settings));
        Self { greeter, input: Input::new(), output: Vec::new(), end: None }
    }

    fn read(&mut self, bytes: &[u8]) {
        if self.end.is_some() {
            return;
        }
        self.input.push(bytes);
        match self.greeter.step(&mut self.input, &mut self.output) {
            Ok(Step::More) => {}
            end => self.end = Some(end),
        }
    }

    /// What the client was sent since the last time.
    fn said(&mut self) -> String {
        shown(&std::mem::take(&mut self.output))
    }

    fn ask(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.read(bytes.as_ref());
        self.said()
    }
}

/// What a greeter with these settings says to these bytes, and what it comes to.
fn greeted(settings: Settings, bytes: impl AsRef<[u8]>) -> (String, Option<Result<Step, Violation>>) {
    let mut hall = Hall::new(settings);
    let said = hall.ask(bytes);
    (said, hall.end)
}

/// A filter with both its sides, as the sockets hold them.
struct Joint {
    filter: ImapFilter,
    client: Vec<u8>,
    backend: Vec<u8>,
    to_client: Vec<u8>,
    to_backend: Vec<u8>,
    end: Option<Ending>,
    /// The most bytes that were held while a decision was wanted.
    held: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Backend,
}

impl Joint {
    /// Inside TLS, before the backend's greeting.
    fn ungreeted(start: Start) -> Self {
        Self::with(ImapFilter::new(Arc::new(settings()), start, Leg::Tls))
    }

    fn with(filter: ImapFilter) -> Self {
        let (client, backend) = (Vec::new(), Vec::new());
        Self { filter, client, backend, to_client: Vec::new(), to_backend: Vec::new(), end: None, held: 0 }
    }

    /// Inside TLS, after a greeting with this list.
    fn offering(list: &str) -> Self {
        let mut joint = Self::ungreeted(Start::Greeted);
        joint.greet(&format!("* OK [CAPABILITY IMAP4rev1 {list}] hi\r\n"));
        joint
    }

    /// The backend's greeting arrives; what the client is sent of it.
    fn greet(&mut self, greeting: &str) -> String {
        assert_eq!(greeting_end(greeting.as_bytes()), Ok(Some(greeting.len())));
        let mut wire = Wire::default();
        match self.filter.greeting(greeting.as_bytes(), &mut wire) {
            Flow::Consume(count) => assert_eq!(count, greeting.len()),
            Flow::End(ending) => self.end = Some(ending),
            other => panic!("{other:?}"),
        }
        assert!(wire.to_backend.is_empty());
        shown(&wire.to_client)
    }

    fn read(&mut self, side: Side, bytes: &[u8]) {
        match side {
            Side::Client => self.client.extend_from_slice(bytes),
            Side::Backend => self.backend.extend_from_slice(bytes),
        }
        while self.end.is_none() && (self.turn(Side::Client) || self.turn(Side::Backend)) {}
    }

    /// One step of one side; whether anything came of it.
    fn turn(&mut self, side: Side) -> bool {
        let input = match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        };
        if input.is_empty() {
            return false;
        }
        let mut wire = Wire::default();
        let flow = match side {
            Side::Client => self.filter.client(input, &mut wire),
            Side::Backend => self.filter.backend(input, &mut wire),
        };
        self.to_client.append(&mut wire.to_client);
        self.to_backend.append(&mut wire.to_backend);
        self.carry(side, flow)
    }

    fn carry(&mut self, side: Side, flow: Flow) -> bool {
        let (input, output) = match side {
            Side::Client => (&mut self.client, &mut self.to_backend),
            Side::Backend => (&mut self.backend, &mut self.to_client),
        };
        match flow {
            Flow::Pass(count) => {
                assert!(count > 0);
                output.extend(input.drain(..count));
            }
            Flow::Consume(count) => {
                assert!(count > 0);
                input.drain(..count);
            }
            Flow::More => self.held = self.held.max(input.len()),
            Flow::Wait => {}
            Flow::Cut(_) => panic!("there is nothing to cut before a login"),
            Flow::End(ending) => self.end = Some(ending),
        }
        !matches!(flow, Flow::More | Flow::Wait)
    }

    /// The client sends `bytes`; what the client and the backend are sent.
    fn client(&mut self, bytes: impl AsRef<[u8]>) -> (String, String) {
        self.read(Side::Client, bytes.as_ref());
        self.sent()
    }

    /// The backend sends `bytes`; what the client and the backend are sent.
    fn backend(&mut self, bytes: impl AsRef<[u8]>) -> (String, String) {
        self.read(Side::Backend, bytes.as_ref());
        self.sent()
    }

    fn sent(&mut self) -> (String, String) {
        (shown(&std::mem::take(&mut self.to_client)), shown(&std::mem::take(&mut self.to_backend)))
    }
}

/// To the client alone.
fn answer(text: &str) -> (String, String) {
    (text.to_owned(), String::new())
}

/// To the backend alone.
fn onward(text: &str) -> (String, String) {
    (String::new(), text.to_owned())
}
