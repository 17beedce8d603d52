//! One direction of a relay: what it holds, what is due, and which of its ends are still open.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

/// The end that a lane writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// Takes bytes.
    Open,
    /// Is to be ended when all is written.
    Ending,
    /// We have ended our sending.
    Ended,
    /// Takes no more: a write failed, or the peer is gone.
    Lost,
}

/// How many bytes may be due before the other direction has to wait.
const CROWD: usize = 64 * 1024;

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    /// Received, and not used up by the filter yet.
    pub held: Vec<u8>,
    /// Due to the sink, from `written` on.
    pub out: Vec<u8>,
    /// How much of `out` is written.
    pub written: usize,
    /// The filter wants the other side to speak first.
    pub waits: bool,
    /// The source had nothing more when it was asked last.
    pub is_dry: bool,
    /// The source has ended its sending.
    pub source_ended: bool,
    /// That end was passed on.
    pub end_passed: bool,
    /// Where the bytes go.
    pub sink: Sink,
    /// Something was written and not flushed.
    pub unflushed: bool,
    /// Bytes that came from the source.
    pub received: u64,
    /// Bytes that the sink took.
    pub sent: u64,
}

impl Lane {
    pub(super) fn new(held: Vec<u8>) -> Self {
        Self {
            received: held.len() as u64,
            // An empty one may still own the room of what was taken out of it.
            held: if held.is_empty() { Vec::new() } else { held },
            out: Vec::new(),
            written: 0,
            waits: false,
            is_dry: false,
            source_ended: false,
            end_passed: false,
            sink: Sink::Open,
            unflushed: false,
            sent: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if self.out.is_empty() && self.sink == Sink::Open {
            self.out = bytes;
        } else {
            self.push_slice(&bytes);
        }
    }

    pub(super) fn push_slice(&mut self, bytes: &[u8]) {
        if self.sink == Sink::Open {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Whether so much is due that nothing is done that may add to it: a client that reads no replies is heard no
    /// further.
    pub(super) fn is_crowded(&self) -> bool {
        self.due() > CROWD
    }

    pub(super) fn out_is_empty(&self) -> bool {
        self.due() == 0
    }

    /// How many bytes the sink has not taken yet.
    pub(super) fn due(&self) -> usize {
        self.out.len().saturating_sub(self.written)
    }

    /// Counts `count` bytes as written, and gives the buffer back when that was all.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
        if self.out_is_empty() {
            self.drop_out();
        }
    }

    pub(super) fn drop_out(&mut self) {
        self.out = Vec::new();
        self.written = 0;
    }

    pub(super) fn is_written(&self) -> bool {
        self.sink == Sink::Lost || (self.out_is_empty() && !self.unflushed)
    }

    /// Whether there is nothing to do but to wait for the source, which was asked.
    pub(super) fn only_awaits_its_source(&self) -> bool {
        self.is_dry && self.sink == Sink::Open && self.held.is_empty() && self.out_is_empty() && !self.unflushed
    }

    pub(super) fn end_sink(&mut self) {
        if self.sink == Sink::Open {
            self.sink = Sink::Ending;
        }
    }

    /// Whether nothing will ever go this way again.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.sink, Sink::Ended | Sink::Lost) && (self.source_ended || self.sink == Sink::Lost)
    }
}

/// Reads once; 0 is the end.
///
/// # Errors
/// As the source: the peer is gone without an orderly end.
pub(super) fn poll_read<S: AsyncRead + Unpin>(
    source: &mut S,
    cx: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    std::task::ready!(Pin::new(source).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}
