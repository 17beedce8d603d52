//! Joins a client and a backend, through a protocol's filter until that steps aside.
//!
//! Promises: a session that is silent holds no buffer (one per thread is lent to whoever has bytes to move, and
//! only what the other side would not take is kept); back-pressure both ways, so what is kept is bounded by one
//! read, or by twice that where a filter rewrites it; whole replies in one write; half-close passed on both ways;
//! every wait has a deadline.

mod lane;
mod leave;
mod pace;
mod pump;
mod sift;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
    sync::watch,
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep_until},
};

use self::lane::{Lane, Sink};
pub use self::pace::{Limits, Pace};
use super::{Stage, close::LAST_WORDS};
use crate::proto::{Complaint, Ending, Filter, Flow, RefusedLogin, Violation, Wire};

/// What one read may bring; lent by the thread. Records of TLS are opened right into it: four full ones, and room for what stands behind
/// the content of the last.
const SCRATCH: usize = 64 * 1024 + 16;

thread_local! {
    static LENT: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// The client's side of a relay.
pub trait Side: AsyncRead + AsyncWrite + Unpin {
    /// Gives back what it can do without until it is used again: it was silent for a while, and may be for hours.
    fn rest(&mut self) {}
}

impl Side for TcpStream {}

impl Side for DuplexStream {}

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
    /// The backend was the first to end, in TLS and without close_notify: it may have been cut off by anybody.
    BackendCutShort,
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
    /// Whether both the client and we have ended on its connection, so that no leave is to be taken.
    pub has_parted: bool,
}

/// What was said before the relay begins.
#[derive(Debug, Default)]
pub struct Said {
    /// The backend's greeting.
    pub by_backend: Vec<u8>,
    /// What the client has already sent, of which the backend knows nothing.
    pub by_client: Vec<u8>,
}

/// Relays until the session ends, and tells `refused` at once of each login that the backend refuses.
///
/// The future is most of what an idle session is: it holds nothing twice, as the arguments of an async function would be.
pub fn relay<'a, C, B>(
    client: &'a mut C,
    backend: B,
    filter: Box<dyn Filter>,
    said: Said,
    pace: Pace<'a>,
    stage: &'a mut watch::Receiver<Stage>,
    refused: &'a mut dyn FnMut(RefusedLogin),
) -> impl Future<Output = Report> + use<'a, C, B>
where
    C: Side,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut relay = Relay::new(client, backend, filter, said, pace, refused);
    async move {
        let mut clock = pin!(sleep_until(relay.alarm()));
        loop {
            relay.enter(*stage.borrow_and_update());
            let seen = stage.clone();
            let mut changed = pin!(stage.changed());
            // Nobody was told of it yet.
            relay.waker = None;
            let end = poll_fn(|cx| {
                let is_known = relay.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
                if let Poll::Ready(end) = relay.poll(cx, clock.as_mut(), is_known) {
                    return Poll::Ready(Some(end));
                }
                // As long as it knows whom to wake, to ask whether it would have done so costs less than to poll it.
                if is_known && seen.has_changed().is_ok_and(|has_changed| !has_changed) {
                    return Poll::Pending;
                }
                let changed = changed.as_mut().poll(cx);
                relay.waker = has_budget_remaining().then(|| cx.waker().clone());
                changed.map(|changed| changed.is_err().then_some(End::Drained))
            });
            if let Some(end) = end.await {
                return relay.report(end);
            }
        }
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    const fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
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
    pace: Pace<'a>,
    stage: Stage,
    /// Set once it is decided how the session ends, with the time by which the last words must be gone.
    ending: Option<(End, Instant)>,
    /// The side that was the first to go without an orderly end, if one was.
    lost: Option<End>,
    /// Whom the clock and the stage wake, where they know.
    waker: Option<Waker>,
    last_activity: Instant,
    /// That was since the session was woken: the clock is read once for all that moves then.
    stirs: bool,
    /// The client's side was told to rest since then.
    rests: bool,
    last_reply: Instant,
    user: Option<Box<str>>,
    complaint: Option<Complaint>,
    refused: &'a mut dyn FnMut(RefusedLogin),
}

impl<'a, C, B> Relay<'a, C, B>
where
    C: Side,
    B: AsyncRead + AsyncWrite + Unpin,
{
    fn new(
        client: &'a mut C,
        backend: B,
        filter: Box<dyn Filter>,
        said: Said,
        pace: Pace<'a>,
        refused: &'a mut dyn FnMut(RefusedLogin),
    ) -> Self {
        let now = Instant::now();
        let mut relay = Self {
            client,
            backend: Some(backend),
            filter: None,
            up: Lane::new(said.by_client),
            down: Lane::new(Vec::new()),
            pace,
            stage: Stage::Running,
            ending: None,
            lost: None,
            waker: None,
            last_activity: now,
            stirs: false,
            rests: false,
            last_reply: now,
            user: None,
            complaint: None,
            refused,
        };
        relay.begin(filter, &said.by_backend);
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
            has_parted: self.up.source_ended && matches!(self.down.sink, Sink::Ended | Sink::Lost),
        }
    }

    /// Moves what can be moved; ready when the session is over. `is_known` says that the clock knows whom to wake.
    fn poll(&mut self, cx: &mut Context<'_>, mut clock: Pin<&mut Sleep>, mut is_known: bool) -> Poll<End> {
        self.stirs = false;
        LENT.with_borrow_mut(|scratch| self.pump_both(cx, scratch));
        if self.stage == Stage::Draining {
            self.take_leave();
            self.pump_both(cx, &mut []);
        }
        loop {
            if let Some(end) = self.over() {
                self.part(cx, end);
                return Poll::Ready(end);
            }
            let alarm = self.alarm();
            // A later alarm is noticed when the clock rings for the earlier one: setting it costs more.
            if alarm < clock.deadline() {
                clock.as_mut().reset(alarm);
            } else if is_known && self.stirs && self.last_activity < clock.deadline() {
                return Poll::Pending;
            }
            if clock.as_mut().poll(cx).is_pending() {
                // A task whose turn has lasted too long is polled again, and until then nothing that it waits for listens.
                if !has_budget_remaining() {
                    self.waker = None;
                }
                return Poll::Pending;
            }
            // It has told, and is to be asked again.
            is_known = false;
            let now = Instant::now();
            if self.deadline() <= now {
                self.time_out();
                self.pump_both(cx, &mut []);
            } else if alarm <= now {
                self.client.rest();
                self.rests = true;
            }
            clock.as_mut().reset(self.alarm());
        }
    }

    /// Moves bytes both ways until nothing can move; without `scratch` nothing is read.
    fn pump_both(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) {
        self.pump(Way::Up, cx, scratch);
        // What moves one way is all that may let something move the other way.
        let mut way = Way::Down;
        while self.pump(way, cx, scratch) && !self.only_awaits(way.back()) {
            way = way.back();
        }
    }

    /// Whether nothing but its source can let anything move this way, which was polled: what moves the other way is none of its
    /// concern.
    fn only_awaits(&self, way: Way) -> bool {
        self.filter.is_none() && self.ending.is_none() && self.lane(way).only_awaits_its_source()
    }

    /// The end, once nothing is left to be said.
    fn over(&mut self) -> Option<End> {
        let said = self.down.is_written();
        match self.ending {
            Some((end, by)) => (said || Instant::now() >= by).then_some(end),
            None => (self.up.is_done() && self.down.is_done()).then_some(self.lost.unwrap_or(End::Closed)),
        }
    }

    /// Takes leave of a backend that is done with, as far as that takes no waiting: in TLS by close_notify. In every other
    /// case it is to see a cut.
    fn part(&mut self, cx: &mut Context<'_>, end: End) {
        if let (End::Closed, Sink::Open, Some(backend)) = (end, self.up.sink, &mut self.backend) {
            let _ = Pin::new(backend).poll_shutdown(cx);
        }
    }

    /// Something has moved.
    fn stir(&mut self) {
        if !self.stirs {
            self.last_activity = Instant::now();
            (self.stirs, self.rests) = (true, false);
        }
    }

    fn end(&mut self, end: End) {
        if self.ending.is_none() {
            self.ending = Some((end, Instant::now() + LAST_WORDS));
        }
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
