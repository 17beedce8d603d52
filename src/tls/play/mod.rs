//! The same bytes of a client, in the same pieces, for plain rustls and for our records: the same data has to come out, and the same end, and
//! where that is none or a good one, the same bytes go back.
//!
//! Played by a test with inputs made up by a generator, and by a fuzzer with its own.

mod pair;

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use self::pair::{Client, Pair, SUITES};
#[cfg(test)]
pub(crate) use self::pair::{TakesAll, server};
use super::stream::{ServerStream, Wire};

/// What is written once the client has said all that it will, and what it wants to be told by then.
const ANSWER: &[u8] = b"an answer";

/// How a client's sending has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has not.
    Open,
    Closed,
    Fault,
}

/// A socket in memory, whose client sends in pieces.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) pieces: VecDeque<Vec<u8>>,
    /// Nothing comes behind the pieces.
    pub(crate) is_cut: bool,
    pub(crate) sent: Vec<u8>,
    /// How many bytes it still takes.
    pub(crate) room: usize,
    pub(crate) writes: usize,
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(mut piece) = this.pieces.pop_front() else {
            return if this.is_cut { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            this.pieces.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = bytes.len().min(this.room);
        if count == 0 {
            return Poll::Pending;
        }
        this.writes += 1;
        this.room -= count;
        this.sent.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wire for Pipe {}
impl Wire for &mut Pipe {}

/// What a client sends.
struct Script {
    bytes: Vec<u8>,
    /// Where its records begin.
    records: Vec<usize>,
    /// Ours may refuse something that rustls bears, or bears until it is whole.
    is_stricter: bool,
    /// Ours may pass over something that rustls refuses: what a ClientHello is about that is refused anyway.
    is_looser: bool,
    /// KeyUpdates since there was data.
    key_updates: usize,
}

/// Numbers taken from the front of an input; 0 where that is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.next()).unwrap_or_default()).collect()
    }
}

impl Script {
    fn write(input: &mut Input<'_>, client: &mut Client, hello: &[u8]) -> Self {
        let mut script =
            Self { bytes: Vec::new(), records: Vec::new(), is_stricter: false, is_looser: false, key_updates: 0 };
        while !input.0.is_empty() && script.bytes.len() < 200_000 {
            script.step(input, client, hello);
        }
        script
    }

    fn push(&mut self, record: &[u8]) {
        self.records.push(self.bytes.len());
        self.bytes.extend_from_slice(record);
    }

    fn push_data(&mut self, client: &mut Client, data: &[u8], padding: usize) {
        if !data.is_empty() {
            self.key_updates = 0;
        }
        self.push(&client.record(23, data, padding));
    }

    /// One thing that a client may do.
    fn step(&mut self, input: &mut Input<'_>, client: &mut Client, hello: &[u8]) {
        match input.next() % 13 {
            0 => {
                let length = input.next();
                self.push_data(client, &vec![b'a'; length], 0);
            }
            1 => {
                let length = 16_300 + input.next();
                self.push_data(client, &vec![b'b'; length], 0);
            }
            2 => {
                for _ in 0..input.next() % 40 {
                    self.push_data(client, b"", 0);
                }
            }
            3 => {
                let padding = input.next() * 70;
                self.push_data(client, b"padded", padding);
            }
            4 => {
                let alert = [input.next() % 4, input.next()].map(|byte| u8::try_from(byte).unwrap_or_default());
                self.push(&client.record(21, &alert, 0));
            }
            5 => self.update_keys(input, client),
            6 => {
                let length = input.next() % 40;
                let content = input.take(length);
                self.is_stricter = true;
                self.is_looser |= !client.is_tls13;
                self.push(&client.record(22, &content, 0));
            }
            7 => {
                for piece in hello.chunks(input.next() + 1) {
                    self.push(&client.record(22, piece, 0));
                }
                self.is_stricter |= client.is_tls13;
            }
            8 => {
                let length = input.next() % 40;
                self.bytes.extend(input.take(length));
                self.is_stricter = true;
                // rustls does not wait for the length behind an odd version.
                self.is_looser = true;
            }
            9 => {
                self.push(&[20, 3, 3, 0, 1, 1]);
            }
            10 => {
                let (kind, length) = (u8::try_from(input.next()).unwrap_or_default(), input.next() % 4);
                self.is_stricter |= kind == 22;
                self.is_looser |= kind == 22 && !client.is_tls13;
                self.push(&client.record(kind, &vec![b'c'; length], 0));
            }
            11 => self.spoil(input, client.is_tls13),
            _ => {
                let left = self.bytes.len().saturating_sub(input.next());
                self.bytes.truncate(left);
                // The rest of a message that rustls would wait for.
                self.is_stricter = true;
            }
        }
    }

    /// A KeyUpdate, in one record or two.
    fn update_keys(&mut self, input: &mut Input<'_>, client: &mut Client) {
        let (asks, cut) = (u8::try_from(input.next() % 3).unwrap_or_default(), input.next() % 6);
        let message = [24, 0, 0, 1, asks];
        let (front, back) = message.split_at(cut.min(5));
        self.push(&client.record(22, front, 0));
        if !back.is_empty() {
            self.push(&client.record(22, back, 0));
        }
        self.key_updates += 1;
        // rustls counts them anew behind an empty record too.
        self.is_stricter |= front.is_empty() || !client.is_tls13 || self.key_updates > 32;
        self.is_looser |= !client.is_tls13;
        if client.is_tls13 {
            client.next_key();
        }
    }

    /// One byte of what was sent last is another.
    fn spoil(&mut self, input: &mut Input<'_>, is_tls13: bool) {
        let (back, mask) = (input.next() + 1, u8::try_from(input.next()).unwrap_or_default());
        let Some(at) = self.bytes.len().checked_sub(back) else { return };
        self.bytes[at] ^= mask;
        let record = self.records.iter().rev().find(|record| **record <= at);
        // rustls ignores parts of a header in TLS 1.3, and waits for the end of a record that is too long.
        self.is_stricter |= record.is_none_or(|record| at - record < 5);
        self.is_looser |= !is_tls13 && record.is_none_or(|record| at - record < 5);
    }

    /// The bytes, in pieces.
    fn pieces(&self, mut seed: usize) -> VecDeque<Vec<u8>> {
        let (mut pieces, mut rest) = (VecDeque::new(), &self.bytes[..]);
        while !rest.is_empty() {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
            let most = [5, 100, 20_000, 100_000][seed >> 16 & 3];
            let (piece, behind) = rest.split_at((1 + (seed >> 8) % most).min(rest.len()));
            pieces.push_back(piece.to_vec());
            rest = behind;
        }
        pieces
    }
}

/// Plays one input; panics where there is a difference that must not be, and says whether there is none.
pub(crate) fn play(data: &[u8]) -> bool {
    let mut input = Input(data);
    let mut pair = Pair::new(SUITES[input.next() % SUITES.len()]);
    let (seed, room) = (input.next(), [1, 100, 5_000, 16_384, 65_552][input.next() % 5]);
    let script = Script::write(&mut input, &mut pair.client, &pair.hello);
    let pieces = script.pieces(seed);
    let (theirs, their_end) = theirs(&mut pair.plain, &pieces);
    let mut pipe = Pipe { pieces, room: usize::MAX, ..Pipe::default() };
    let mut stream = ServerStream::new(&mut pipe, pair.records, Vec::new(), Vec::new());
    let (ours, our_end) = ours(&mut stream, room);
    let is_same = ours == theirs && our_end == their_end;
    let stricter = script.is_stricter && our_end == End::Fault && theirs.starts_with(&ours);
    let looser = script.is_looser && their_end == End::Fault && ours.starts_with(&theirs);
    assert!(
        is_same || stricter || looser,
        "ours: {} bytes and {our_end:?}, rustls': {} bytes and {their_end:?}",
        ours.len(),
        theirs.len()
    );
    if is_same && our_end != End::Fault {
        answer(&mut stream);
        assert!(pipe.sent == their_answer(&mut pair.plain), "other words behind {our_end:?}");
    }
    is_same
}

fn theirs(connection: &mut ServerConnection, pieces: &VecDeque<Vec<u8>>) -> (Vec<u8>, End) {
    let mut data = Vec::new();
    for piece in pieces {
        let mut piece = &piece[..];
        while !piece.is_empty() {
            let read = connection.read_tls(&mut piece).expect("there is room");
            let state = connection.process_new_packets();
            // It ends by "would block", or by the end.
            let _ = io::Read::read_to_end(&mut connection.reader(), &mut data);
            match state {
                Err(_) => return (data, End::Fault),
                Ok(state) if state.peer_has_closed() => return (data, End::Closed),
                Ok(_) => assert!(read > 0, "rustls reads no further"),
            }
        }
    }
    (data, End::Open)
}

/// What rustls says on the way and then, with some data and the end.
fn their_answer(connection: &mut ServerConnection) -> Vec<u8> {
    io::Write::write_all(&mut connection.writer(), ANSWER).expect("there is room");
    connection.send_close_notify();
    let mut said = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut said).expect("memory");
    }
    said
}

/// The same of ours.
fn answer(stream: &mut ServerStream<&mut Pipe>) {
    let mut cx = Context::from_waker(Waker::noop());
    let written = Pin::new(&mut *stream).poll_write(&mut cx, ANSWER);
    assert!(matches!(written, Poll::Ready(Ok(count)) if count == ANSWER.len()), "{written:?}");
    assert!(Pin::new(stream).poll_shutdown(&mut cx).is_ready());
}

fn ours(stream: &mut ServerStream<&mut Pipe>, room: usize) -> (Vec<u8>, End) {
    let (mut data, mut buffer) = (Vec::new(), vec![0; room]);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let mut into = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *stream).poll_read(&mut cx, &mut into) {
            Poll::Pending => return (data, End::Open),
            Poll::Ready(Err(_)) => return (data, End::Fault),
            Poll::Ready(Ok(())) if into.filled().is_empty() => return (data, End::Closed),
            Poll::Ready(Ok(())) => data.extend_from_slice(into.filled()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::play;

    /// So many inputs; the fuzzer plays more.
    const INPUTS: u64 = 2_000;

    #[test]
    fn whatever_a_client_sends_is_taken_as_rustls_takes_it() {
        let (mut state, mut same) = (0x9e37_79b9_7f4a_7c15u64, 0);
        for _ in 0..INPUTS {
            let mut input = Vec::new();
            let length = next(&mut state) % 60;
            input.resize_with(3 + length as usize, || next(&mut state).to_be_bytes()[0]);
            match std::panic::catch_unwind(|| play(&input)) {
                Ok(is_same) => same += u64::from(is_same),
                Err(_) => panic!("with {input:?}"),
            }
        }
        assert!(same > INPUTS / 2, "{same} of {INPUTS} to the end");
    }

    /// Marsaglia's xorshift.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }
}
