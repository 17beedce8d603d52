//! Moves bytes one way: write what is due, show the filter what is held, then read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Relay, Side, Way,
    lane::{self, Sink},
};

impl<C, B> Relay<'_, C, B>
where
    C: Side,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Moves bytes one way until nothing can move; says whether anything did.
    pub(super) fn pump(&mut self, way: Way, cx: &mut Context<'_>, scratch: &mut [u8]) -> bool {
        let mut moved = false;
        self.lane_mut(way).is_dry = false;
        loop {
            match self.write(way, cx) {
                Poll::Pending => return moved,
                Poll::Ready(wrote) => moved |= wrote,
            }
            // What is read may make the filter say something the other way; without one, a backend that has to be rid of its
            // output before it takes more would be waited for in vain.
            let is_crowded = self.filter.is_some() && self.lane(way.back()).is_crowded();
            if self.ending.is_some() || is_crowded {
                return moved;
            }
            if self.sift_held(way, cx) {
                moved = true;
                continue;
            }
            if self.lane(way).source_ended {
                if !self.pass_end(way) {
                    return moved;
                }
                moved = true;
                continue;
            }
            if self.lane(way).waits || scratch.is_empty() || (way == Way::Up && self.awaits_backends_end()) {
                return moved;
            }
            match self.read(way, cx, scratch) {
                Poll::Pending => {
                    self.lane_mut(way).is_dry = true;
                    return moved;
                }
                Poll::Ready(()) => moved = true,
            }
        }
    }

    /// Whether the backend takes no more and is still to be read to its end. Until then the client is not read on: one
    /// that sends without a pause would keep that end from being seen, and what it sends from being counted.
    fn awaits_backends_end(&self) -> bool {
        self.up.sink == Sink::Lost && self.backend.is_some() && !self.down.source_ended && !self.down.waits
    }

    /// Reads once and passes on what may go on.
    fn read(&mut self, way: Way, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        let read = match way {
            Way::Up => lane::poll_read(self.client, cx, scratch),
            Way::Down => match &mut self.backend {
                Some(backend) => lane::poll_read(backend, cx, scratch),
                None => Poll::Ready(Ok(0)),
            },
        };
        // What was read may be TLS's own and have made an answer due: the alert no_renegotiation (RFC 5246 §7.2.2). Without
        // a flush it would wait for the next words of the other side.
        self.lane_mut(way.back()).unflushed = true;
        let _ = self.flush(way.back(), cx);
        // An error is an end too: for what follows it does not matter what the peer meant by it.
        let count = std::task::ready!(read).unwrap_or_else(|error| {
            self.lose_source(way, &error);
            0
        });
        // An end is a sign of life too: what is left of a half-closed session has its time from here.
        self.stir();
        if count == 0 {
            self.lane_mut(way).source_ended = true;
            return Poll::Ready(());
        }
        self.lane_mut(way).received += count as u64;
        if self.lane(way).held.is_empty() {
            let used = self.sift(way, &scratch[..count], cx);
            self.lane_mut(way).held.extend_from_slice(&scratch[used..count]);
        } else {
            self.lane_mut(way).held.extend_from_slice(&scratch[..count]);
        }
        Poll::Ready(())
    }

    /// Sends `bytes` on; what the other side does not take at once is kept.
    pub(super) fn forward(&mut self, way: Way, bytes: &[u8], cx: &mut Context<'_>) {
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
                self.stir();
                if way == Way::Down {
                    self.last_reply = self.last_activity;
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
