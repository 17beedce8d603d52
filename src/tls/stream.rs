//! A client's connection in TLS: the records of [`super::record`] over a socket.
//!
//! Promises: a connection that is silent holds no buffer. Records are read into a buffer of the thread, and opened from there into the
//! caller's; what is written is sealed into another buffer of the thread, and goes out in one write. Kept is the beginning of a record whose
//! rest is on its way, data that the caller had no room for, and what the socket would not take: one read's and one write's worth at
//! most, since nothing is read or accepted on top of that. Tickets wait for the first data, and our end goes out with the alert that
//! announces it, so that neither is a packet of its own. The end of the client's sending is told from a cut as tokio-rustls tells it:
//! without close_notify it is [`io::ErrorKind::UnexpectedEof`] (RFC 8446 §6.1).

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::net::SendFlags;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::record::{End, Fault, RECORD, Records};

/// How many records one read or write may hold.
const RECORDS: usize = 4;

/// What may be received at once: a read, or all that came with the handshake.
const RECEIVE: usize = (RECORDS + 1) * RECORD;

/// How much may be due and new data still be taken: tickets, alerts. It goes out in front of that, in the same write.
const ASIDE: usize = 4 * 1024;

thread_local! {
    static RECEIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECEIVE].into_boxed_slice());
    static SEALED: RefCell<Box<[u8]>> = RefCell::new(vec![0; 2 * ASIDE + RECORDS * RECORD].into_boxed_slice());
}

/// What records go over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Writes what our end follows at once: it may wait for that, and go out with it.
    ///
    /// # Errors
    /// As [`AsyncWrite::poll_write`].
    fn poll_write_last(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write(cx, bytes)
    }
}

impl Wire for TcpStream {
    fn poll_write_last(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = || Ok(rustix::net::send(&*self, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?);
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_io(Interest::WRITABLE, write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

/// A connection whose handshake is done.
pub struct ServerStream<S = TcpStream> {
    socket: S,
    records: Records,
    /// The beginning of a record, and whole ones that there was no room for.
    received: Vec<u8>,
    /// Data that there was no room for, from `handed` on.
    opened: Vec<u8>,
    handed: usize,
    /// Sealed and not sent, from `sent` on.
    due: Vec<u8>,
    sent: usize,
    /// Nobody waits for what is due: tickets.
    may_wait: bool,
    end: Option<End>,
}

impl<S: Wire> ServerStream<S> {
    /// Goes on where the handshake has ended: `received` are the bytes that came behind it, `due` are its last ones that are not sent yet,
    /// for which nobody waits.
    pub(super) fn new(socket: S, records: Records, received: Vec<u8>, due: Vec<u8>) -> Self {
        Self { socket, records, received, opened: Vec::new(), handed: 0, due, sent: 0, may_wait: true, end: None }
    }

    /// What the records go over.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Gives back what is made of the keys, until there is a record again.
    pub fn rest(&mut self) {
        self.records.rest();
    }

    /// Opens what has come, and before that reads once where it is no whole record; says how much data is in `buffer` then.
    fn receive(&mut self, cx: &mut Context<'_>, lent: &mut [u8], buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut have = self.received.len();
        lent[..have].copy_from_slice(&self.received);
        let missing = self.records.missing(&lent[..have]);
        if missing > 0 {
            let end = (have + missing).max(self.worth_of(buffer.remaining())).min(lent.len());
            let mut into = ReadBuf::new(&mut lent[have..end]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut into))?;
            if into.filled().is_empty() {
                let cut = "the client closed the connection without close_notify";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut)));
            }
            have += into.filled().len();
        }
        let due = self.due.len();
        let used = self.open(&lent[..have], buffer);
        let left = if self.end.is_none() { &lent[used..have] } else { &[] };
        keep(&mut self.received, left);
        if self.due.len() > due {
            // Alerts are said at once, as far as that takes no waiting.
            self.may_wait = false;
            let _ = self.send(cx, S::poll_write);
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes bring so much data, where the client's records are full: so many whole records that the next read begins with one.
    fn worth_of(&self, room: usize) -> usize {
        match room / super::record::CONTENT {
            0 => room + (self.records.full() - super::record::CONTENT),
            records => records * self.records.full(),
        }
    }

    /// Opens records into `buffer`, or the first where it does not fit there into a buffer of its own; returns how many bytes are used up.
    fn open(&mut self, received: &[u8], buffer: &mut ReadBuf<'_>) -> usize {
        let opened = self.records.open(received, buffer.initialize_unfilled(), &mut self.due);
        buffer.advance(opened.data);
        self.end = opened.end;
        if opened.used > 0 || self.end.is_some() || self.records.missing(received) > 0 {
            return opened.used;
        }
        let mut room = vec![0; self.records.room(received)];
        let first = self.records.open(received, &mut room, &mut self.due);
        room.truncate(first.data);
        self.opened = room;
        self.end = first.end;
        first.used
    }

    /// Hands out data that is there.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.opened[self.handed..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.handed += count;
        if self.handed == self.opened.len() {
            self.opened = Vec::new();
            self.handed = 0;
        }
    }

    /// Seals what there is room for, and writes it behind what is due, in one write; what the socket does not take is due then.
    fn seal(&mut self, cx: &mut Context<'_>, bytes: &[u8], lent: &mut [u8]) -> io::Result<usize> {
        let due = &self.due[self.sent..];
        let (front, out) = lent.split_at_mut(due.len());
        front.copy_from_slice(due);
        let behind = front.len();
        let (taken, written, fault) = match self.records.seal(bytes, out) {
            Ok((taken, written)) => (taken, written, None),
            Err((fault, written)) => (0, written, Some(fault)),
        };
        let whole = &lent[..behind + written];
        let sent = write_all(&mut self.socket, cx, whole, S::poll_write)?;
        keep(&mut self.due, &whole[sent..]);
        self.sent = 0;
        self.may_wait = false;
        fault.map_or(Ok(taken), |fault| Err(broken(fault)))
    }

    /// Sends what is due.
    fn send(&mut self, cx: &mut Context<'_>, write: Write<S>) -> Poll<io::Result<()>> {
        self.sent += write_all(&mut self.socket, cx, &self.due[self.sent..], write)?;
        if self.sent < self.due.len() {
            return Poll::Pending;
        }
        self.due = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// How a socket is written to.
type Write<S> = fn(Pin<&mut S>, &mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>;

/// Writes until the socket takes no more; returns how much it took.
fn write_all<S: Unpin>(socket: &mut S, cx: &mut Context<'_>, bytes: &[u8], write: Write<S>) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match write(Pin::new(&mut *socket), cx, &bytes[sent..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => sent += count,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(sent)
}

/// Keeps `bytes` in `kept`, which owns nothing where there are none.
fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        *kept = Vec::new();
    } else {
        kept.clear();
        kept.extend_from_slice(bytes);
    }
}

fn broken(fault: Fault) -> io::Error {
    let kind = if fault == Fault::Closed { io::ErrorKind::BrokenPipe } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, fault)
}

impl<S: Wire> AsyncRead for ServerStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        while buffer.filled().len() == before && buffer.remaining() > 0 {
            if !this.opened.is_empty() {
                this.hand_out(buffer);
                break;
            }
            match this.end {
                Some(End::Closed) => break,
                Some(End::Fault(fault)) => return Poll::Ready(Err(broken(fault))),
                None => ready!(RECEIVED.with_borrow_mut(|lent| this.receive(cx, lent, buffer)))?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Wire> AsyncWrite for ServerStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.due.len() - this.sent > ASIDE {
            ready!(this.send(cx, S::poll_write))?;
        }
        Poll::Ready(SEALED.with_borrow_mut(|lent| this.seal(cx, bytes, lent)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.may_wait {
            ready!(this.send(cx, S::poll_write))?;
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.records.close(&mut this.due);
        this.may_wait = false;
        ready!(this.send(cx, S::poll_write_last))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(cx)) {
            // It is gone already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests;
