//! Shows bytes to the filter and carries out what it says of them.

use std::task::Context;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Relay, Side, Way};
use crate::proto::{Flow, Violation, Wire};

impl<C, B> Relay<'_, C, B>
where
    C: Side,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Shows the filter what is held; says whether it used any of it, or had something to say.
    pub(super) fn sift_held(&mut self, way: Way, cx: &mut Context<'_>) -> bool {
        if self.lane(way).held.is_empty() || self.lane(way).waits {
            return false;
        }
        let due = self.up.due() + self.down.due();
        let mut held = std::mem::take(&mut self.lane_mut(way).held);
        let used = self.sift(way, &held, cx);
        if used < held.len() {
            held.drain(..used);
            self.lane_mut(way).held = held;
        }
        used > 0 || self.up.due() + self.down.due() != due || self.ending.is_some()
    }

    /// Shows `bytes` to the filter, front first, and sends on what it lets through, in one write where it is one
    /// run. Returns how many it used up.
    pub(super) fn sift(&mut self, way: Way, bytes: &[u8], cx: &mut Context<'_>) -> usize {
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
                self.lane_mut(way).push_slice(&bytes[run.clone()]);
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
        if flow == Flow::More && shown >= self.pace.limits.held {
            self.end(match way {
                Way::Up => End::ClientViolation(Violation::LineTooLong),
                Way::Down => End::BackendViolation(Violation::Backend),
            });
        }
        self.let_filter_go();
        stops
    }

    /// Puts what the filter wrote behind what is already due.
    pub(super) fn put(&mut self, wire: Wire) {
        self.up.push(wire.to_backend);
        self.down.push(wire.to_client);
    }

    /// Drops a filter that has seen all it wants.
    pub(super) fn let_filter_go(&mut self) {
        self.look_at_filter();
        if self.filter.as_ref().is_some_and(|filter| filter.steps_aside()) {
            self.filter = None;
            self.up.waits = false;
            self.down.waits = false;
        }
    }

    pub(super) fn look_at_filter(&mut self) {
        let Some(filter) = &mut self.filter else { return };
        if let Some(login) = filter.refused_login() {
            (self.refused)(login);
        }
        if self.complaint.is_none() {
            self.complaint = filter.complaint();
        }
        if self.user.is_none() && !filter.awaits_login() {
            self.user = filter.user().map(Into::into);
        }
    }
}
