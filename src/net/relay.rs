//! Joins a client and a backend, through a protocol's filter until that steps aside.
//!
//! Promises: a session that is silent holds no buffer (one per thread is lent to whoever has bytes to move, and
//! only what the other side would not take is kept); back-pressure both ways, so what is kept is bounded by one
//! read; whole replies in one write; half-close passed on both ways; every wait has a deadline.

mod lane;
mod pace;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

use self::lane::{Lane, Sink};
pub use self::pace::Pace;
use super::Stage;
use crate::proto::{Complaint, Ending, Farewell, Filter, Flow, Phase, Violation, Wire};

/// What one read may bring; lent by the thread.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    static LENT: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// How a relayed session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides are done.
    Closed,
    /// The backend refused the session.
    Refused,
    /// The client went away in the middle.
    ClientLost,
    /// A deadline passed.
    Timeout,
    /// The client broke a rule.
    ClientViolation(Violation),
    /// The backend went away in the middle.
    BackendLost,
    /// The backend broke its protocol.
    BackendViolation(Violation),
    /// mailward is stopping.
    Drained,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Closed => Self::Closed,
            Ending::Refused => Self::Refused,
            Ending::Client(violation) => Self::ClientViolation(violation),
            Ending::Backend(violation) => Self::BackendViolation(violation),
            Ending::BackendLost => Self::BackendLost,
        }
    }
}

/// What there is to tell of a relayed session.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// Who logged in: unescaped peer text.
    pub user: Option<Box<str>>,
    /// What the operator must know about the backend.
    pub complaint: Option<Complaint>,
}

/// Relays until the session ends. `greeting` is the backend's, `input` what the client has already sent.
pub async fn relay<C, B>(
    client: &mut C,
    backend: B,
    filter: Box<dyn Filter>,
    greeting: Vec<u8>,
    input: Vec<u8>,
    pace: Pace,
    stage: &mut watch::Receiver<Stage>,
) -> Report
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut relay = Relay::new(client, backend, filter, &greeting, input, pace);
    drop(greeting);
    let mut clock = pin!(sleep_until(relay.deadline()));
    loop {
        relay.enter(*stage.borrow_and_update());
        tokio::select! {
            biased;
            end = poll_fn(|cx| relay.poll(cx, clock.as_mut())) => return relay.report(end),
            changed = stage.changed() => if changed.is_err() {
                return relay.report(End::Drained);
            },
        }
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct Relay<'a, C, B> {
    client: &'a mut C,
    /// `None` once it is cut off.
    backend: Option<B>,
    filter: Option<Box<dyn Filter>>,
    /// Client to backend.
    up: Lane,
    /// Backend to client.
    down: Lane,
    pace: Pace,
    stage: Stage,
    /// Set once it is decided how the session ends, with the time by which the last words must be gone.
    ending: Option<(End, Instant)>,
    last_activity: Instant,
    last_reply: Instant,
    user: Option<Box<str>>,
    complaint: Option<Complaint>,
}

/// How long a client has for taking the last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl<'a, C, B> Relay<'a, C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    fn new(
        client: &'a mut C,
        backend: B,
        filter: Box<dyn Filter>,
        greeting: &[u8],
        input: Vec<u8>,
        pace: Pace,
    ) -> Self {
        let now = Instant::now();
        let mut relay = Self {
            client,
            backend: Some(backend),
            filter: None,
            up: Lane::new(input),
            down: Lane::new(Vec::new()),
            pace,
            stage: Stage::Running,
            ending: None,
            last_activity: now,
            last_reply: now,
            user: None,
            complaint: None,
        };
        relay.begin(filter, greeting);
        relay
    }

    fn begin(&mut self, mut filter: Box<dyn Filter>, greeting: &[u8]) {
        let mut wire = Wire::default();
        let flow = filter.greeting(greeting, &mut wire);
        self.filter = Some(filter);
        self.put(wire);
        match flow {
            Flow::End(ending) => self.end(ending.into()),
            Flow::Cut(_) => self.cut(),
            Flow::Pass(_) | Flow::Consume(_) | Flow::More | Flow::Wait => {}
        }
        self.let_filter_go();
    }

    fn report(&mut self, end: End) -> Report {
        self.look_at_filter();
        Report {
            end,
            bytes_in: self.up.received,
            bytes_out: self.down.sent,
            user: self.user.take(),
            complaint: self.complaint.take(),
        }
    }

    /// Moves what can be moved; ready when the session is over.
    fn poll(&mut self, cx: &mut Context<'_>, mut clock: Pin<&mut Sleep>) -> Poll<End> {
        LENT.with_borrow_mut(|scratch| self.pump_both(cx, scratch));
        if self.stage == Stage::Draining {
            self.take_leave();
            self.pump_both(cx, &mut []);
        }
        loop {
            if let Some(end) = self.over() {
                return Poll::Ready(end);
            }
            let deadline = self.deadline();
            // A later deadline is noticed when the clock rings for the earlier one: setting it costs more.
            if deadline < clock.deadline() {
                clock.as_mut().reset(deadline);
            }
            if clock.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                self.time_out();
                self.pump_both(cx, &mut []);
            }
            let next = self.deadline();
            clock.as_mut().reset(next);
        }
    }

    /// Moves bytes both ways until nothing can move; without `scratch` nothing is read.
    fn pump_both(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) {
        while self.pump(Way::Up, cx, scratch) | self.pump(Way::Down, cx, scratch) {}
    }

    /// The end, once nothing is left to be said.
    fn over(&mut self) -> Option<End> {
        let said = self.down.is_written();
        match self.ending {
            Some((end, by)) => (said || Instant::now() >= by).then_some(end),
            None => (self.up.is_done() && self.down.is_done()).then_some(End::Closed),
        }
    }

    fn end(&mut self, end: End) {
        if self.ending.is_none() {
            self.ending = Some((end, Instant::now() + LAST_WORDS));
        }
    }

    /// Moves bytes one way until nothing can move; says whether anything did.
    fn pump(&mut self, way: Way, cx: &mut Context<'_>, scratch: &mut [u8]) -> bool {
        let mut moved = false;
        loop {
            match self.write(way, cx) {
                Poll::Pending => return moved,
                Poll::Ready(wrote) => moved |= wrote,
            }
            if self.ending.is_some() {
                return moved;
            }
            if self.sift_held(way, cx) {
                moved = true;
                continue;
            }
            if self.lane(way).source_ended {
                return self.pass_end(way) | moved;
            }
            if self.lane(way).waits || scratch.is_empty() {
                return moved;
            }
            match self.read(way, cx, scratch) {
                Poll::Pending => return moved,
                Poll::Ready(()) => moved = true,
            }
        }
    }

    /// Reads once and passes on what may go on.
    fn read(&mut self, way: Way, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        let read = match way {
            Way::Up => lane::poll_read(self.client, cx, scratch),
            Way::Down => match &mut self.backend {
                Some(backend) => lane::poll_read(backend, cx, scratch),
                None => Poll::Ready(0),
            },
        };
        let count = std::task::ready!(read);
        if count == 0 {
            self.lane_mut(way).source_ended = true;
            return Poll::Ready(());
        }
        self.last_activity = Instant::now();
        self.lane_mut(way).received += count as u64;
        if self.lane(way).held.is_empty() {
            let used = self.sift(way, &scratch[..count], cx);
            self.lane_mut(way).held.extend_from_slice(&scratch[used..count]);
        } else {
            self.lane_mut(way).held.extend_from_slice(&scratch[..count]);
        }
        Poll::Ready(())
    }

    /// Shows the filter what is held; says whether it used any of it.
    fn sift_held(&mut self, way: Way, cx: &mut Context<'_>) -> bool {
        if self.lane(way).held.is_empty() || self.lane(way).waits {
            return false;
        }
        let mut held = std::mem::take(&mut self.lane_mut(way).held);
        let used = self.sift(way, &held, cx);
        if used < held.len() {
            held.drain(..used);
            self.lane_mut(way).held = held;
        }
        used > 0
    }

    /// Shows `bytes` to the filter, front first, and sends on what it lets through, in one write where it is one
    /// run. Returns how many it used up.
    fn sift(&mut self, way: Way, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let (mut at, mut run) = (0, 0..0);
        while at < bytes.len() && self.ending.is_none() {
            let Some(filter) = &mut self.filter else {
                at = bytes.len();
                run.end = at;
                break;
            };
            let mut wire = Wire::default();
            let flow = match way {
                Way::Up => filter.client(&bytes[at..], &mut wire),
                Way::Down => filter.backend(&bytes[at..], &mut wire),
            };
            let written = match way {
                Way::Up => &wire.to_backend,
                Way::Down => &wire.to_client,
            };
            let passes = matches!(flow, Flow::Pass(_));
            if !written.is_empty() || !passes {
                // What passed before stands before what was written.
                self.lane_mut(way).out.extend_from_slice(&bytes[run.clone()]);
                run = at..at;
            }
            let stops = self.obey(way, flow, wire, bytes.len() - at);
            match flow {
                Flow::Pass(count) => {
                    at = (at + count).min(bytes.len());
                    run.end = at;
                }
                Flow::Consume(count) | Flow::Cut(count) => {
                    at = (at + count).min(bytes.len());
                    run = at..at;
                }
                Flow::More | Flow::Wait | Flow::End(_) => {}
            }
            if stops {
                break;
            }
        }
        self.forward(way, &bytes[run], cx);
        // What a backend that is cut off had still sent is nobody's.
        if way == Way::Down && self.backend.is_none() { bytes.len() } else { at }
    }

    /// Carries out a step of the filter; says whether the rest of the bytes has to wait.
    fn obey(&mut self, way: Way, flow: Flow, wire: Wire, shown: usize) -> bool {
        self.put(wire);
        // Any step of one side may be what the other waits for.
        match way {
            Way::Up => self.down.waits = false,
            Way::Down => self.up.waits = false,
        }
        let stops = match flow {
            Flow::Pass(_) | Flow::Consume(_) => false,
            Flow::Cut(_) => {
                self.cut();
                way == Way::Down
            }
            Flow::More => true,
            Flow::Wait => {
                self.lane_mut(way).waits = true;
                true
            }
            Flow::End(ending) => {
                self.end(ending.into());
                true
            }
        };
        if flow == Flow::More && shown >= self.pace.held {
            self.end(match way {
                Way::Up => End::ClientViolation(Violation::LineTooLong),
                Way::Down => End::BackendViolation(Violation::Backend),
            });
        }
        self.let_filter_go();
        stops
    }

    /// Puts what the filter wrote behind what is already due.
    fn put(&mut self, wire: Wire) {
        self.up.push(wire.to_backend);
        self.down.push(wire.to_client);
    }

    /// Drops a filter that has seen all it wants.
    fn let_filter_go(&mut self) {
        self.look_at_filter();
        if self.filter.as_ref().is_some_and(|filter| filter.steps_aside()) {
            self.filter = None;
            self.up.waits = false;
            self.down.waits = false;
        }
    }

    fn look_at_filter(&mut self) {
        let Some(filter) = &mut self.filter else { return };
        if self.complaint.is_none() {
            self.complaint = filter.complaint();
        }
        if self.user.is_none() && !filter.awaits_login() {
            self.user = filter.user().map(Into::into);
        }
    }

    /// Sends `bytes` on; what the other side does not take at once is kept.
    fn forward(&mut self, way: Way, bytes: &[u8], cx: &mut Context<'_>) {
        if bytes.is_empty() {
            return;
        }
        let mut sent = 0;
        if self.lane(way).out_is_empty() {
            while sent < bytes.len() {
                match self.write_to(way, cx, &bytes[sent..]) {
                    Poll::Ready(0) => return,
                    Poll::Ready(count) => sent += count,
                    Poll::Pending => break,
                }
            }
        }
        self.lane_mut(way).push_slice(&bytes[sent..]);
    }

    /// Writes what is due one way. Pending: the other side takes no more. Ready: all is gone, and whether any was.
    fn write(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<bool> {
        let mut wrote = false;
        while !self.lane(way).out_is_empty() {
            let out = std::mem::take(&mut self.lane_mut(way).out);
            let from = self.lane(way).written;
            let written = self.write_to(way, cx, &out[from..]);
            let lane = self.lane_mut(way);
            if matches!(lane.sink, Sink::Ended | Sink::Lost) {
                return Poll::Ready(wrote);
            }
            lane.out = out;
            match written {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(count) => lane.wrote(count),
            }
            wrote = true;
        }
        std::task::ready!(self.flush(way, cx));
        Poll::Ready(self.shut(way, cx) | wrote)
    }

    /// Writes once; an error loses the sink, and 0 says so.
    fn write_to(&mut self, way: Way, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        if matches!(self.lane(way).sink, Sink::Ended | Sink::Lost) {
            self.lane_mut(way).drop_out();
            return Poll::Ready(0);
        }
        let written = match way {
            Way::Up => on_backend(&mut self.backend, |backend| backend.poll_write(cx, bytes)),
            Way::Down => Pin::new(&mut *self.client).poll_write(cx, bytes),
        };
        match std::task::ready!(written) {
            Ok(count) if count > 0 => {
                let now = Instant::now();
                self.last_activity = now;
                if way == Way::Down {
                    self.last_reply = now;
                }
                let lane = self.lane_mut(way);
                lane.sent += count as u64;
                lane.unflushed = true;
                Poll::Ready(count)
            }
            _ => {
                self.lose_sink(way);
                Poll::Ready(0)
            }
        }
    }

    fn flush(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<()> {
        if self.lane(way).unflushed && self.lane(way).sink != Sink::Lost {
            let flushed = match way {
                Way::Up => on_backend(&mut self.backend, |backend| backend.poll_flush(cx)),
                Way::Down => Pin::new(&mut *self.client).poll_flush(cx),
            };
            if std::task::ready!(flushed).is_err() {
                self.lose_sink(way);
            }
            self.lane_mut(way).unflushed = false;
        }
        Poll::Ready(())
    }

    /// Ends our sending where that is due and all is sent; says whether that happened now.
    fn shut(&mut self, way: Way, cx: &mut Context<'_>) -> bool {
        if self.lane(way).sink != Sink::Ending {
            return false;
        }
        let shut = match way {
            Way::Up => on_backend(&mut self.backend, |backend| backend.poll_shutdown(cx)),
            Way::Down => Pin::new(&mut *self.client).poll_shutdown(cx),
        };
        if shut.is_ready() {
            self.lane_mut(way).sink = Sink::Ended;
        }
        shut.is_ready()
    }

    /// The other side of `way` takes no more. A backend may still have said why, so it is read to its end; a
    /// client that takes no replies is lost.
    fn lose_sink(&mut self, way: Way) {
        self.lane_mut(way).sink = Sink::Lost;
        self.lane_mut(way).drop_out();
        if way == Way::Down {
            self.end(End::ClientLost);
        }
    }

    /// The source of `way` has ended and all it sent is dealt with: passes that on. Says whether anything changed.
    fn pass_end(&mut self, way: Way) -> bool {
        if self.lane(way).end_passed {
            return false;
        }
        if self.lane(way).waits && !self.lane(way).held.is_empty() {
            return false;
        }
        self.lane_mut(way).end_passed = true;
        match (way, self.filter.is_some()) {
            (_, false) => self.lane_mut(way).end_sink(),
            (Way::Up, true) => self.pass_clients_end(),
            (Way::Down, true) => self.pass_backends_end(),
        }
        true
    }

    fn pass_clients_end(&mut self) {
        let orderly = self.filter.as_mut().is_some_and(|filter| filter.client_ended());
        if orderly && self.up.sink == Sink::Open && !self.down.source_ended {
            self.up.end_sink();
        } else {
            self.end(End::ClientLost);
        }
    }

    /// Closes the backend's connection as it stands: it sees a cut, and no end of anything.
    fn cut(&mut self) {
        self.backend = None;
        self.up.sink = Sink::Lost;
        self.up.drop_out();
        self.up.waits = false;
        self.down.held = Vec::new();
        self.down.source_ended = true;
        self.down.end_passed = true;
    }

    fn pass_backends_end(&mut self) {
        self.cut();
        let Some(filter) = &mut self.filter else { return };
        let mut wire = Wire::default();
        let flow = filter.backend_lost(&mut wire);
        self.put(wire);
        if let Flow::End(ending) = flow {
            let end = if self.up.source_ended { End::ClientLost } else { ending.into() };
            self.end(end);
        }
    }

    /// Takes note of what the process is doing.
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        match stage {
            Stage::Running => {}
            Stage::Draining => self.take_leave(),
            Stage::Stopping => {
                self.take_leave();
                self.end(End::Drained);
            }
        }
    }

    /// Says that mailward is stopping, if nothing is under way.
    fn take_leave(&mut self) {
        let quiet = self.ending.is_none() && self.up.held.is_empty() && self.down.held.is_empty();
        if quiet && self.say(Farewell::Draining) {
            self.end(End::Drained);
        }
    }

    /// The deadline has passed.
    fn time_out(&mut self) {
        if self.ending.is_some() {
            return;
        }
        match self.filter.as_ref().map(|filter| filter.phase()) {
            None if self.drains_by_silence() => self.end(End::Drained),
            // The one side is done, and the other had its time to follow.
            None if self.up.source_ended || self.down.source_ended => self.end(End::Closed),
            None => self.end(End::Timeout),
            Some(Phase::DataEnd) => {
                self.pass_backends_end();
                self.end(End::BackendLost);
            }
            Some(_) => {
                self.say(Farewell::Timeout);
                self.end(End::Timeout);
            }
        }
    }

    /// Says `farewell`, if the protocol is at a point where it can be said; says whether it was.
    fn say(&mut self, farewell: Farewell) -> bool {
        let Some(filter) = &mut self.filter else { return false };
        let mut wire = Wire::default();
        let said = filter.farewell(farewell, &mut wire);
        self.put(wire);
        said
    }

    fn lane(&self, way: Way) -> &Lane {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    fn lane_mut(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// Does something with a backend that is not cut off.
fn on_backend<B: Unpin, T>(
    backend: &mut Option<B>,
    act: impl FnOnce(Pin<&mut B>) -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    match backend {
        Some(backend) => act(Pin::new(backend)),
        None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
    }
}
