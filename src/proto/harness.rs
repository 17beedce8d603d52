//! Drives the greeters and filters of POP3 and ManageSieve in their tests as the sockets do: bytes arrive in pieces, and
//! what is not used up is shown again.

use std::sync::Arc;

use super::smtp::{Guard, Hygiene};
use super::{
    Complaint, Ending, Farewell, Filter, Flow, Input, Leg, Limits, Outcome, Protocol, Settings, Start, Step, Violation,
    Wire, filter, greeter, greeting_end,
};

/// Small limits, so that a test can pass each of them.
pub(super) const LIMITS: Limits = Limits { line: 64, auth: 256, literal: 128, commands: 20, errors: 3, discard: 0 };

/// The settings of a listener that requires TLS.
pub(super) fn settings(protocol: Protocol) -> Settings {
    Settings {
        protocol,
        hostname: "mail.test".into(),
        require: true,
        plaintext_auth: false,
        backend_tls: false,
        limits: LIMITS,
        guard: Guard::default(),
        hygiene: Hygiene::default(),
    }
}

/// The settings of a listener that lets a client log in without TLS.
pub(super) fn plaintext(protocol: Protocol) -> Settings {
    Settings { require: false, plaintext_auth: true, ..settings(protocol) }
}

/// What a greeter came to.
#[derive(Debug, PartialEq)]
pub(super) struct Talk {
    /// What it said after its greeting.
    pub(super) said: String,
    pub(super) end: Result<Option<Outcome>, Violation>,
    /// What is still in the input.
    pub(super) left: String,
}

/// Shows a greeter `input` in pieces that end at `ends`.
pub(super) fn talk_in(settings: Settings, input: &[u8], ends: impl IntoIterator<Item = usize>) -> Talk {
    let mut greeter = greeter(&Arc::new(settings));
    let (mut received, mut said, mut at) = (Input::new(), Vec::new(), 0);
    let mut end = Ok(None);
    for next in ends {
        received.push(&input[at..next]);
        at = next;
        match greeter.step(&mut received, &mut said) {
            Ok(Step::More) => continue,
            Ok(Step::Done(outcome)) => end = Ok(Some(outcome)),
            Err(violation) => end = Err(violation),
        }
        break;
    }
    Talk { said: text(&said), end, left: text(received.peek()) }
}

/// Shows a greeter `input` whole.
pub(super) fn talk(settings: Settings, input: &[u8]) -> Talk {
    talk_in(settings, input, [input.len()])
}

/// The same, once it was seen that it does not depend on how the input arrives. What is left of it may: bytes
/// behind the end of the session are not read.
pub(super) fn talk_any(settings: &Settings, input: &[u8]) -> Talk {
    let whole = talk(settings.clone(), input);
    let same = |ends: Vec<usize>| {
        let talk = talk_in(settings.clone(), input, ends.clone());
        assert_eq!((&talk.said, &talk.end), (&whole.said, &whole.end), "{:?} cut at {ends:?}", text(input));
    };
    same((1..=input.len()).collect());
    (1..input.len()).for_each(|cut| same(vec![cut, input.len()]));
    whole
}

/// A session through a filter, without sockets.
pub(super) struct Session {
    filter: Box<dyn Filter>,
    from_client: Vec<u8>,
    from_backend: Vec<u8>,
    to_client: Vec<u8>,
    to_backend: Vec<u8>,
    /// How the filter ended the session.
    pub(super) ended: Option<Ending>,
}

impl Session {
    /// A session whose backend has greeted.
    pub(super) fn new(settings: Settings, start: Start, greeting: &[u8]) -> Self {
        Self::with(settings, start, Leg::Tls, greeting)
    }

    /// The same with a client whose certificate the backend was told of.
    pub(super) fn certified(protocol: Protocol, greeting: &[u8]) -> Self {
        Self::with(settings(protocol), Start::Greeted, Leg::Certified, greeting)
    }

    fn with(settings: Settings, start: Start, leg: Leg, greeting: &[u8]) -> Self {
        let mut session = Self {
            filter: filter(&Arc::new(settings.clone()), start, leg),
            from_client: Vec::new(),
            from_backend: Vec::new(),
            to_client: Vec::new(),
            to_backend: Vec::new(),
            ended: None,
        };
        assert_eq!(greeting_end(settings.protocol, greeting), Ok(Some(greeting.len())), "not a whole greeting");
        let mut wire = Wire::default();
        let flow = session.filter.greeting(greeting, &mut wire);
        assert!(matches!(flow, Flow::End(_)) || flow == Flow::Consume(greeting.len()));
        session.settle(flow, wire, true);
        session
    }

    /// The client sends something. Answers what the backend was sent since it was asked last.
    pub(super) fn client(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.receive_client(bytes.as_ref());
        text(&std::mem::take(&mut self.to_backend))
    }

    /// The backend sends something. Answers what the client was sent since it was asked last.
    pub(super) fn backend(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.receive_backend(bytes.as_ref());
        self.heard()
    }

    /// What the client was sent since it was asked last.
    pub(super) fn heard(&mut self) -> String {
        text(&std::mem::take(&mut self.to_client))
    }

    /// The backend is gone.
    pub(super) fn lose_backend(&mut self) -> Flow {
        let mut wire = Wire::default();
        let flow = self.filter.backend_lost(&mut wire);
        self.settle(flow, wire, true);
        flow
    }

    /// mailward takes its leave.
    pub(super) fn farewell(&mut self, farewell: Farewell) -> bool {
        let mut wire = Wire::default();
        let said = self.filter.farewell(farewell, &mut wire);
        self.settle(Flow::More, wire, true);
        said
    }

    /// The filter itself, to be asked.
    pub(super) fn filter(&mut self) -> &mut dyn Filter {
        &mut *self.filter
    }

    /// The user, once the filter has stepped aside.
    pub(super) fn user(&self) -> Option<String> {
        self.filter.user().map(str::to_owned)
    }

    /// What is held back of the client's bytes.
    pub(super) fn held(&self) -> usize {
        self.from_client.len()
    }

    pub(super) fn complaint(&mut self) -> Option<Complaint> {
        self.filter.complaint()
    }

    fn receive_client(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        self.pump();
    }

    fn receive_backend(&mut self, bytes: &[u8]) {
        self.from_backend.extend_from_slice(bytes);
        self.pump();
    }

    /// Shows both sides' bytes until neither gets on.
    fn pump(&mut self) {
        while self.step(true) || self.step(false) {}
    }

    /// Shows one side's bytes once; says whether that changed anything.
    fn step(&mut self, client: bool) -> bool {
        let input = if client { self.from_client.clone() } else { self.from_backend.clone() };
        if input.is_empty() || self.ended.is_some() {
            return false;
        }
        if self.filter.steps_aside() {
            return self.settle(Flow::Pass(input.len()), Wire::default(), client);
        }
        let mut wire = Wire::default();
        let flow = if client { self.filter.client(&input, &mut wire) } else { self.filter.backend(&input, &mut wire) };
        if flow == Flow::More {
            // What is held is bounded, however the limits are set.
            assert!(input.len() <= 65536 + 2, "{} bytes are held", input.len());
        }
        self.settle(flow, wire, client)
    }

    fn settle(&mut self, flow: Flow, wire: Wire, client: bool) -> bool {
        self.to_client.extend(wire.to_client);
        self.to_backend.extend(wire.to_backend);
        let (input, output) = match client {
            true => (&mut self.from_client, &mut self.to_backend),
            false => (&mut self.from_backend, &mut self.to_client),
        };
        match flow {
            Flow::Pass(count) => output.extend(input.drain(..count)),
            Flow::Consume(count) if !input.is_empty() => drop(input.drain(..count)),
            Flow::Consume(_) => return false,
            Flow::More | Flow::Wait => return false,
            Flow::End(ending) => self.ended = Some(ending),
            Flow::Cut(_) => panic!("there is nothing to cut before a login"),
        }
        true
    }
}

/// Inputs made of `fragments` in an order that is the same in every run and has no other meaning.
pub(super) fn soups(fragments: &[&str], count: u64) -> impl Iterator<Item = Vec<u8>> {
    (1..=count).map(move |seed| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut soup = Vec::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            soup.extend_from_slice(fragments[(state >> 33) as usize % fragments.len()].as_bytes());
        }
        soup
    })
}

/// Shows both sides of a session the same soup, whole and byte by byte, and asserts that it is the same for both.
pub(super) fn stir(settings: &Settings, greeting: &'static [u8], client: &[u8], backend: &[u8]) {
    let came = |pieces: usize| {
        let mut session = Session::new(settings.clone(), Start::Greeting, greeting);
        client.chunks(pieces).for_each(|piece| session.receive_client(piece));
        backend.chunks(pieces).for_each(|piece| session.receive_backend(piece));
        let (to_client, to_backend) = (text(&session.to_client), text(&session.to_backend));
        Came { to_client, to_backend, ended: session.ended, user: session.user(), complaint: session.complaint() }
    };
    assert_eq!(came(1), came(usize::MAX), "{:?} and {:?}", text(client), text(backend));
}

/// What one side of a dialogue sends.
#[derive(Clone, Copy)]
pub(super) enum Says {
    Client(&'static [u8]),
    Backend(&'static [u8]),
}

/// What a dialogue came to: what each side was sent, how it ended, and who logged in.
#[derive(Debug, PartialEq)]
pub(super) struct Came {
    pub(super) to_client: String,
    pub(super) to_backend: String,
    pub(super) ended: Option<Ending>,
    pub(super) user: Option<String>,
    pub(super) complaint: Option<Complaint>,
}

/// Plays a dialogue whole, byte by byte, with every turn cut at every position, and with all that the client
/// says sent at once; asserts that it is the same for both sides.
pub(super) fn play(settings: &Settings, start: &Start, greeting: &[u8], dialogue: &[Says]) -> Came {
    let whole = play_in(settings, start, greeting, dialogue, |bytes| vec![bytes.len()]);
    let longest = dialogue.iter().map(|(Says::Client(bytes) | Says::Backend(bytes))| bytes.len()).max().unwrap_or(0);
    let single = play_in(settings, start, greeting, dialogue, |bytes| (1..=bytes.len()).collect());
    assert_eq!(single, whole, "byte by byte");
    for cut in 1..longest {
        let split = play_in(settings, start, greeting, dialogue, |bytes| vec![cut.min(bytes.len()), bytes.len()]);
        assert_eq!(split, whole, "cut at {cut}");
    }
    assert_eq!(play_in(settings, start, greeting, &pipelined(dialogue), |bytes| vec![bytes.len()]), whole, "pipelined");
    whole
}

/// The client says all at once, before the backend says anything.
fn pipelined(dialogue: &[Says]) -> Vec<Says> {
    let (client, backend): (Vec<Says>, Vec<Says>) =
        dialogue.iter().copied().partition(|says| matches!(says, Says::Client(_)));
    client.into_iter().chain(backend).collect()
}

fn play_in(
    settings: &Settings,
    start: &Start,
    greeting: &[u8],
    dialogue: &[Says],
    ends: impl Fn(&[u8]) -> Vec<usize>,
) -> Came {
    let mut session = Session::new(settings.clone(), start.clone(), greeting);
    let (mut to_client, mut to_backend) = (session.heard(), String::new());
    for says in dialogue {
        let (Says::Client(bytes) | Says::Backend(bytes)) = *says;
        let mut at = 0;
        for end in ends(bytes) {
            let piece = &bytes[at..end];
            at = end;
            match says {
                Says::Client(_) => to_backend += &session.client(piece),
                Says::Backend(_) => to_client += &session.backend(piece),
            }
            to_client += &session.heard();
            to_backend += &session.client(b"");
        }
    }
    Came { to_client, to_backend, ended: session.ended, user: session.user(), complaint: session.complaint() }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
