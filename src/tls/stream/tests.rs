//! Whole connections in memory: what is kept, what goes out in one write, how they end.

use std::{future::poll_fn, task::Waker};

use super::*;
use crate::tls::play::{Client, Pair, Pipe, SUITES};

/// A connection, and what the client sends on it.
struct Table {
    client: Client,
    stream: ServerStream<Pipe>,
}

impl Table {
    fn new() -> Self {
        Self::with(SUITES[0])
    }

    fn with(suite: rustls::SupportedCipherSuite) -> Self {
        let Pair { client, records, .. } = Pair::new(suite);
        let pipe = Pipe { room: usize::MAX, ..Pipe::default() };
        Self { client, stream: ServerStream::new(pipe, records, Vec::new(), Vec::new()) }
    }

    fn sends(&mut self, bytes: &[u8]) {
        self.stream.socket.pieces.push_back(bytes.to_vec());
    }

    fn sends_data(&mut self, data: &[u8]) {
        let record = self.client.record(23, data, 0);
        self.sends(&record);
    }

    /// Reads once, with so much room.
    fn read(&mut self, room: usize) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
        let mut buffer = vec![0; room];
        let mut into = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut into);
        read.map(|done| done.map(|()| into.filled().to_vec()).map_err(|error| error.kind()))
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<Result<usize, io::ErrorKind>> {
        let cx = &mut Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_write(cx, bytes).map(|done| done.map_err(|error| error.kind()))
    }

    fn flush(&mut self) -> Poll<Result<(), io::ErrorKind>> {
        let cx = &mut Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_flush(cx).map(|done| done.map_err(|error| error.kind()))
    }

    fn shut(&mut self) -> Poll<Result<(), io::ErrorKind>> {
        let cx = &mut Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|done| done.map_err(|error| error.kind()))
    }

    /// The data that the client has got.
    fn got(&mut self) -> Vec<(u8, Vec<u8>)> {
        let sent = std::mem::take(&mut self.stream.socket.sent);
        self.client.read(&sent)
    }

    /// What the connection holds on to.
    fn held(&self) -> usize {
        let ServerStream { received, opened, due, .. } = &self.stream;
        received.capacity() + opened.capacity() + due.capacity()
    }
}

fn data(bytes: &[u8]) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
    Poll::Ready(Ok(bytes.to_vec()))
}

#[test]
fn a_silent_connection_holds_no_buffer() {
    let mut table = Table::new();
    let long = vec![b'x'; 200_000];
    for piece in long.chunks(CONTENT) {
        table.sends_data(piece);
    }
    let mut read = 0;
    while let Poll::Ready(Ok(data)) = table.read(70_000) {
        read += data.len();
    }
    assert_eq!(read, long.len());
    let mut written = 0;
    while written < long.len() {
        let Poll::Ready(Ok(count)) = table.write(&long[written..]) else { panic!("it takes all") };
        written += count;
    }
    assert_eq!(table.flush(), Poll::Ready(Ok(())));
    assert_eq!(table.held(), 0);
}

use super::super::record::CONTENT;

#[test]
fn the_beginning_of_a_record_is_kept_until_its_rest_is_there_and_no_longer() {
    for cut in [1, 4, 5, 6, 100] {
        let mut table = Table::new();
        let record = table.client.record(23, &[b'a'; 500], 0);
        table.sends(&record[..cut]);
        assert_eq!(table.read(1000), Poll::Pending);
        assert!(table.held() >= cut);
        table.sends(&record[cut..]);
        assert_eq!(table.read(1000), data(&[b'a'; 500]));
        assert_eq!(table.held(), 0);
    }
}

#[test]
fn a_small_buffer_gets_all_there_is_bit_by_bit() {
    for room in [1, 2, 7, 1000, CONTENT] {
        let mut table = Table::new();
        let long: Vec<u8> = (0..3 * CONTENT).map(|at| at.to_le_bytes()[0]).collect();
        for piece in long.chunks(CONTENT) {
            table.sends_data(piece);
        }
        table.sends_data(b"end");
        let mut read = Vec::new();
        while let Poll::Ready(Ok(data)) = table.read(room) {
            read.extend(data);
            assert!(table.held() <= 2 * (CONTENT + RECORD), "{}", table.held());
        }
        assert!(read == [&long[..], b"end"].concat());
        assert_eq!(table.held(), 0);
    }
}

#[test]
fn whole_records_are_read_in_one_go_and_none_is_cut() {
    for suite in SUITES {
        let mut table = Table::with(suite);
        let records: Vec<u8> = (0..12).flat_map(|_| table.client.record(23, &[b'x'; CONTENT], 0)).collect();
        table.sends(&records);
        for _ in 0..3 {
            assert_eq!(table.read(RECORDS * CONTENT + 16), data(&vec![b'x'; RECORDS * CONTENT]));
            assert_eq!(table.held(), 0);
        }
    }
}

#[test]
fn what_came_with_the_handshake_is_opened_first_and_what_is_due_goes_out_first() {
    let Pair { mut client, records, .. } = Pair::new(SUITES[0]);
    let early = [client.record(23, b"early", 0), client.record(23, b"and cut", 0)].concat();
    let (early, late) = early.split_at(40);
    let pipe = Pipe { room: usize::MAX, pieces: [late.to_vec()].into(), ..Pipe::default() };
    let stream = ServerStream::new(pipe, records, early.to_vec(), b"ticket".to_vec());
    let mut table = Table { client, stream };
    assert_eq!(table.read(1000), data(b"early"));
    assert_eq!(table.read(1000), data(b"and cut"));
    assert_eq!(table.flush(), Poll::Ready(Ok(())));
    assert_eq!(table.stream.socket.writes, 0, "nobody waits for a ticket");
    assert_eq!(table.write(b"greeting"), Poll::Ready(Ok(8)));
    assert_eq!(table.stream.socket.writes, 1);
    assert!(table.stream.socket.sent.starts_with(b"ticket"));
    table.stream.socket.sent.drain(..b"ticket".len());
    assert_eq!(table.got(), [(23, b"greeting".to_vec())]);
}

#[test]
fn a_client_that_takes_nothing_is_sent_nothing_more_and_in_the_end_all_of_it_in_order() {
    let mut table = Table::new();
    table.stream.socket.room = 10;
    let long: Vec<u8> = (0..CONTENT * RECORDS).map(|at| at.to_le_bytes()[0]).collect();
    assert_eq!(table.write(&long), Poll::Ready(Ok(long.len())));
    let held = table.held();
    for _ in 0..3 {
        assert_eq!(table.write(&long), Poll::Pending);
        assert_eq!(table.flush(), Poll::Pending);
        assert_eq!(table.shut(), Poll::Pending);
    }
    assert!(table.held() <= held + 100, "{} after {held}", table.held());
    let mut table = blocked(&long);
    table.stream.socket.room = 30_000;
    assert_eq!(table.write(b"more"), Poll::Pending);
    table.stream.socket.room = usize::MAX;
    assert_eq!(table.write(b"more"), Poll::Ready(Ok(4)));
    assert_eq!(table.flush(), Poll::Ready(Ok(())));
    let got = table.got().into_iter().flat_map(|(_, content)| content).collect::<Vec<_>>();
    assert!(got == [&long[..], b"more"].concat());
    assert_eq!(table.held(), 0);
}

/// A connection that was written `bytes` to, of which ten went out.
fn blocked(bytes: &[u8]) -> Table {
    let mut table = Table::new();
    table.stream.socket.room = 10;
    assert_eq!(table.write(bytes), Poll::Ready(Ok(bytes.len())));
    table
}

#[test]
fn little_that_is_due_is_bounded_too() {
    let mut table = Table::new();
    table.stream.socket.room = 0;
    let mut taken = 0;
    while table.write(b"a small reply\r\n").is_ready() {
        taken += 1;
        assert!(taken < 1000, "without end");
    }
    assert!(table.held() < 4 * ASIDE, "{}", table.held());
}

#[test]
fn an_end_without_close_notify_is_told_from_one_with_it() {
    for is_orderly in [true, false] {
        let mut table = Table::new();
        table.sends_data(b"last");
        if is_orderly {
            let record = table.client.record(21, &[1, 0], 0);
            table.sends(&record);
            table.sends(b"nobody's");
        }
        table.stream.socket.is_cut = true;
        assert_eq!(table.read(100), data(b"last"));
        let end = if is_orderly { Ok(Vec::new()) } else { Err(io::ErrorKind::UnexpectedEof) };
        assert_eq!(table.read(100), Poll::Ready(end.clone()));
        assert_eq!(table.read(100), Poll::Ready(end));
        // We may still say something, and take leave.
        assert_eq!(table.write(b"bye"), Poll::Ready(Ok(3)));
        assert_eq!(table.shut(), Poll::Ready(Ok(())));
        assert_eq!(table.got(), [(23, b"bye".to_vec()), (21, vec![1, 0])]);
        assert_eq!(table.write(b"more"), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
    }
}

#[test]
fn a_record_that_is_cut_is_no_end() {
    let mut table = Table::new();
    let record = table.client.record(21, &[1, 0], 0);
    table.sends(&record[..record.len() - 1]);
    table.stream.socket.is_cut = true;
    assert_eq!(table.read(100), Poll::Ready(Err(io::ErrorKind::UnexpectedEof)));
}

#[test]
fn a_fault_comes_behind_the_data_before_it_and_the_client_is_told_at_once() {
    let mut table = Table::new();
    table.sends_data(b"good");
    let mut record = table.client.record(23, b"bad", 0);
    record[7] ^= 1;
    table.sends(&record);
    assert_eq!(table.read(100), data(b"good"));
    for _ in 0..2 {
        assert_eq!(table.read(100), Poll::Ready(Err(io::ErrorKind::InvalidData)));
    }
    assert_eq!(table.got(), [(21, vec![2, 20])]);
    assert_eq!(table.shut(), Poll::Ready(Ok(())));
    assert_eq!(table.got(), []);
}

#[test]
fn we_may_end_first_and_still_read() {
    let mut table = Table::new();
    assert_eq!(table.shut(), Poll::Ready(Ok(())));
    table.sends_data(b"the rest");
    assert_eq!(table.read(100), data(b"the rest"));
}

#[test]
fn the_warning_that_refuses_to_renegotiate_goes_out_at_once() {
    let Pair { client, records, hello, .. } = Pair::new(SUITES[3]);
    let pipe = Pipe { room: usize::MAX, ..Pipe::default() };
    let mut table = Table { client, stream: ServerStream::new(pipe, records, Vec::new(), Vec::new()) };
    let record = table.client.record(22, &hello, 0);
    table.sends(&record);
    assert_eq!(table.read(1000), Poll::Pending);
    assert_eq!(table.got(), [(21, vec![1, 100])]);
}

/// Over TCP, whose end goes out with the alert: also where the client takes its time.
#[tokio::test]
async fn a_client_gets_all_that_was_said_before_the_end() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    for length in [0, 10_000_000] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let Pair { mut client, records, .. } = Pair::new(SUITES[0]);
        let mut stream = ServerStream::new(socket, records, Vec::new(), b"ticket".to_vec());
        let said = vec![b'x'; length];
        let ours = async {
            stream.write_all(&said).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(peer.read_to_end(&mut got), ours);
        read.unwrap();
        assert!(got.starts_with(b"ticket"));
        let got = client.read(&got[b"ticket".len()..]);
        assert_eq!(got.last(), Some(&(21, vec![1, 0])));
        assert_eq!(got.iter().filter(|(kind, _)| *kind == 23).map(|(_, data)| data.len()).sum::<usize>(), length);
    }
}

/// rustls as the client, on the other end of a pipe with little room.
#[tokio::test]
async fn a_client_that_takes_new_keys_all_the_time_and_a_server_that_has_to_are_understood() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut table = Table::new();
    let mut expected = Vec::new();
    for round in 0..40u8 {
        let asks = [24, 0, 0, 1, round % 2];
        let record = table.client.record(22, &asks, 0);
        table.sends(&record);
        table.client.next_key();
        table.sends_data(&[round; 100]);
        expected.extend([round; 100]);
    }
    let mut echoed: Vec<u8> = Vec::new();
    while echoed.len() < expected.len() {
        let mut bytes = [0; 100];
        let count = table.stream.read(&mut bytes).await.unwrap();
        table.stream.write_all(&bytes[..count]).await.unwrap();
        echoed.extend(&bytes[..count]);
    }
    poll_fn(|cx| Pin::new(&mut table.stream).poll_flush(cx)).await.unwrap();
    assert_eq!(echoed, expected);
    let got = table.got();
    assert_eq!(got.iter().filter(|(kind, _)| *kind == 22).count(), 20);
    let data: Vec<u8> = got.into_iter().filter(|(kind, _)| *kind == 23).flat_map(|(_, content)| content).collect();
    assert_eq!(data, expected);
}

/// A client of TLS 1.2 that wants to renegotiate when we have ended: the warning would stand behind our end.
#[test]
fn nothing_is_said_behind_our_end() {
    let mut table = Table::with(SUITES[3]);
    assert_eq!(table.shut(), Poll::Ready(Ok(())));
    assert_eq!(table.got(), [(21, vec![1, 0])]);
    let hello = table.client.record(22, &[1, 0, 0, 0], 0);
    table.sends(&hello);
    table.sends_data(b"more");
    assert_eq!(table.read(100), Poll::Ready(Ok(b"more".to_vec())));
    assert_eq!(table.got(), []);
}
