//! A relay under test, with both peers in the test's hands.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    runtime::{Builder, LocalOptions},
    sync::watch,
    task::{JoinHandle, spawn_local},
    time::{Instant, timeout},
};

use super::super::{Limits, Pace, Report, Said, Side, relay};
use crate::{
    net::Stage,
    proto::{Complaint, Ending, Farewell, Filter, Flow, Phase, Violation, Wire},
};

/// The room of each pipe, each way.
pub(super) const PIPE: usize = 4096;

/// When the login must be through, from the start.
pub(super) const LOGIN: Duration = Duration::from_secs(25);

/// Each wait as long as no other, in seconds: for a line 10, idle 60, for the answer to a message 90, after a half-close
/// 5, and silent for 1 to be drained.
pub(super) fn pace() -> Pace<'static> {
    Pace { limits: &LIMITS, login: Instant::now() + LOGIN }
}

const LIMITS: Limits = Limits {
    command: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    data_end: Duration::from_secs(90),
    half_close: Duration::from_secs(5),
    drain_silence: Some(Duration::from_secs(1)),
    held: 1000,
};

/// A filter that does what lines say, whichever side they come from: `drop` is used up, `echo WORDS` answered, `wait`
/// waits for a line of the other side, `cut` cuts, `end` and `refuse` end, `phase NAME` passes and changes the clock,
/// `login` ends the wait for a login, `busy` and `free` say whether a farewell can be said, `aside` passes and is the
/// last line looked at. All other lines pass. After a cut all are thrown away.
#[derive(Debug)]
pub(super) struct Script {
    phase: Phase,
    awaits_login: bool,
    busy: bool,
    aside: bool,
    cut: bool,
    /// Lines seen, of the client and of the backend.
    seen: [usize; 2],
    /// How many lines of the other side there were when a side began to wait.
    waiting: [Option<usize>; 2],
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Command,
            awaits_login: false,
            busy: false,
            aside: false,
            cut: false,
            seen: [0; 2],
            waiting: [None; 2],
        }
    }

    pub(super) fn awaiting_login() -> Self {
        Self { awaits_login: true, ..Self::new() }
    }

    /// One that lets everything through, unseen.
    pub(super) fn none() -> Self {
        Self { aside: true, ..Self::new() }
    }

    fn line(&mut self, side: usize, input: &[u8], wire: &mut Wire) -> Flow {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Flow::More };
        let text = String::from_utf8_lossy(&input[..end]).into_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        if word == "wait" && self.waits(side) {
            return Flow::Wait;
        }
        self.seen[side] += 1;
        match word {
            "drop" => return Flow::Consume(end + 1),
            "echo" => {
                wire.to_client.extend_from_slice(format!("{rest}\n").as_bytes());
                return Flow::Consume(end + 1);
            }
            "cut" => {
                self.cut = true;
                return Flow::Cut(end + 1);
            }
            "end" => return last_word(wire, Ending::Closed),
            "refuse" => return last_word(wire, Ending::Client(Violation::TooManyErrors)),
            "phase" => self.phase = phase(rest),
            "login" => self.awaits_login = false,
            "busy" => self.busy = true,
            "free" => self.busy = false,
            "aside" => self.aside = true,
            _ => {}
        }
        if self.cut { Flow::Consume(end + 1) } else { Flow::Pass(end + 1) }
    }

    /// Whether the line at the front of a side is still to wait.
    fn waits(&mut self, side: usize) -> bool {
        let heard = self.seen[1 - side];
        let begun = *self.waiting[side].get_or_insert(heard);
        if begun != heard {
            self.waiting[side] = None;
        }
        begun == heard
    }
}

fn last_word(wire: &mut Wire, ending: Ending) -> Flow {
    wire.to_client.extend_from_slice(b"bye\n");
    Flow::End(ending)
}

fn phase(name: &str) -> Phase {
    match name {
        "transfer" => Phase::Transfer,
        "data-end" => Phase::DataEnd,
        _ => Phase::Command,
    }
}

impl Filter for Script {
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow {
        match greeting {
            b"go away\n" => last_word(wire, Ending::Refused),
            b"cut\n" => {
                self.cut = true;
                Flow::Cut(greeting.len())
            }
            _ => {
                wire.to_client.extend_from_slice(greeting);
                Flow::Consume(greeting.len())
            }
        }
    }

    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        self.line(0, input, wire)
    }

    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        self.line(1, input, wire)
    }

    fn client_ended(&mut self) -> bool {
        !self.busy
    }

    fn backend_lost(&mut self, wire: &mut Wire) -> Flow {
        if self.busy {
            self.cut = true;
            return Flow::More;
        }
        wire.to_client.extend_from_slice(b"lost\n");
        Flow::End(Ending::BackendLost)
    }

    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool {
        if !self.busy {
            wire.to_client.extend_from_slice(format!("{farewell:?}\n").as_bytes());
        }
        !self.busy
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn awaits_login(&self) -> bool {
        self.awaits_login
    }

    fn steps_aside(&self) -> bool {
        self.aside
    }

    fn user(&self) -> Option<&str> {
        Some("ann")
    }

    fn complaint(&mut self) -> Option<Complaint> {
        None
    }
}

/// A relay that runs, and both its peers.
pub(super) struct Bench {
    pub(super) client: Peer,
    pub(super) backend: Peer,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) began: Instant,
    relaying: JoinHandle<Report>,
}

/// A peer of the relay.
pub(super) struct Peer(pub(super) DuplexStream);

impl Bench {
    pub(super) fn start(script: Script) -> Self {
        Self::greeted(script, b"hello\n", b"")
    }

    /// With a greeting of the backend's, and what the client has already sent.
    pub(super) fn greeted(script: Script, greeting: &'static [u8], input: &'static [u8]) -> Self {
        let (client, mut ours) = duplex(PIPE);
        let (backend, theirs) = duplex(PIPE);
        let (stage, mut seen) = watch::channel(Stage::Running);
        let began = Instant::now();
        let pace = pace();
        let relaying = spawn_local(async move {
            let said = Said { by_backend: greeting.to_vec(), by_client: input.to_vec() };
            relay(&mut ours, theirs, Box::new(script), said, pace, &mut seen, &mut |_| {}).await
        });
        Self { client: Peer(client), backend: Peer(backend), stage, began, relaying }
    }

    /// The relay ends by itself: what it reports, and after how many seconds.
    pub(super) async fn ends(self) -> (Report, u64) {
        let report = timeout(Duration::from_secs(3600), self.relaying).await.expect("an end").expect("no panic");
        (report, self.began.elapsed().as_secs())
    }

    /// Whether it still runs.
    pub(super) fn runs(&self) -> bool {
        !self.relaying.is_finished()
    }
}

impl Peer {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("the relay reads");
    }

    /// Exactly this comes.
    pub(super) async fn gets(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        let read = timeout(Duration::from_secs(3600), self.0.read_exact(&mut bytes)).await;
        read.expect("something to come").expect("it does not end yet");
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    /// All that comes until the relay ends its sending.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = timeout(Duration::from_secs(3600), self.0.read_to_end(&mut bytes)).await;
        read.expect("an end").expect("a pipe does not fail");
        bytes
    }

    /// Sends these over and over, and reads nothing, until the relay takes no more for a while: how many bytes it took.
    pub(super) async fn floods(&mut self, bytes: &[u8], most: usize) -> usize {
        let mut taken = 0;
        while taken < most {
            match timeout(Duration::from_millis(500), self.0.write(&bytes[taken % bytes.len()..])).await {
                Ok(Ok(count)) => taken += count,
                _ => break,
            }
        }
        taken
    }

    pub(super) async fn ends_sending(&mut self) {
        self.0.shutdown().await.expect("a pipe can be shut");
    }
}

/// Runs a test on a clock that stands still while anybody can do anything.
pub(super) fn run(test: impl AsyncFnOnce()) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(test());
}

/// A pipe that has something of its own to send after each read, as TLS may, which goes out with a flush. It counts how often it is told
/// to rest.
pub(super) struct Watched {
    stream: DuplexStream,
    pub(super) owes: bool,
    pub(super) rests: Rc<Cell<usize>>,
}

impl Watched {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self { stream, owes: false, rests: Rc::default() }
    }
}

impl Side for Watched {
    fn rest(&mut self) {
        self.rests.set(self.rests.get() + 1);
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.owes = true;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.owes = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
