//! How a session ends: a side's end is passed on, a deadline passes, or mailward stops.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Relay, Side, Way, lane::Sink};
use crate::{
    net::Stage,
    proto::{Farewell, Flow, Phase, Wire},
};

impl<C, B> Relay<'_, C, B>
where
    C: Side,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// The source of `way` has ended and all it sent is dealt with: passes that on. Says whether anything changed.
    pub(super) fn pass_end(&mut self, way: Way) -> bool {
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

    /// The other side of `way` takes no more. A backend may still have said why, so it is read to its end; a
    /// client that takes no replies is lost.
    pub(super) fn lose_sink(&mut self, way: Way) {
        self.lane_mut(way).sink = Sink::Lost;
        self.lane_mut(way).drop_out();
        if way == Way::Down {
            self.end(End::ClientLost);
        }
    }

    /// The source of `way` is gone without an orderly end. That counts where it was the first to go: what becomes of
    /// a connection when the other side has ended is no news.
    pub(super) fn lose_source(&mut self, way: Way, error: &io::Error) {
        let without_close_notify = error.kind() == io::ErrorKind::UnexpectedEof;
        let lost = match way {
            // Many a client closes behind its LOGOUT without close_notify: it has gone, and is not lost.
            Way::Up if without_close_notify => return,
            Way::Up => End::ClientLost,
            Way::Down if without_close_notify => End::BackendCutShort,
            Way::Down => End::BackendLost,
        };
        if self.lost.is_none() && !self.lane(way.back()).source_ended {
            self.lost = Some(lost);
        }
    }

    /// Closes the backend's connection as it stands: it sees a cut, and no end of anything.
    pub(super) fn cut(&mut self) {
        self.backend = None;
        self.up.sink = Sink::Lost;
        self.up.drop_out();
        self.up.waits = false;
        self.down.held = Vec::new();
        self.down.source_ended = true;
        self.down.end_passed = true;
    }

    /// Takes note of what the process is doing.
    pub(super) fn enter(&mut self, stage: Stage) {
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
    pub(super) fn take_leave(&mut self) {
        let quiet = self.ending.is_none() && self.up.held.is_empty() && self.down.held.is_empty();
        if quiet && self.say(Farewell::Draining) {
            self.end(End::Drained);
        }
    }

    /// The deadline has passed.
    pub(super) fn time_out(&mut self) {
        if self.ending.is_some() {
            return;
        }
        match self.filter.as_ref().map(|filter| filter.phase()) {
            None if self.drains_by_silence() => self.end(End::Drained),
            // The one side is done, and the other had its time to follow.
            None if self.up.source_ended || self.down.source_ended => self.end(self.lost.unwrap_or(End::Closed)),
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
}
