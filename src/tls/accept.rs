//! The handshake with a client, by rustls, and the connection that comes of it.
//!
//! Promises: each flight of ours goes out in one write, and the alert that tells why there is no connection before the error does. rustls sees
//! one record of the client's after the other and none that is not of the handshake, so that all that came behind it is opened by
//! [`super::record`]. Nothing of the handshake is kept but what the connection goes on with.

use std::{io, sync::Arc};

use rustls::{
    Error, InvalidMessage, ProtocolVersion, ServerConfig,
    pki_types::{DnsName, ServerName},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    ACME_TLS, Facts, ServerSide, ServerStream, Unverified,
    hello::Hello,
    record::{HEADER, Records},
    stream::Wire,
};

/// How much a client may send of messages that are not whole yet: its certificates are the longest.
const HELD: usize = 1 << 16;

/// How much of it is looked at for what has to be known before rustls begins. A ClientHello with a post-quantum key share is about 1.5 KiB
/// long.
const LOOKED_AT: usize = 1 << 14;

/// How many bytes of a handshake are read at once.
pub const READ: usize = 4 * 1024;

/// A client's connection, and what is known of the client.
pub struct Accepted<S> {
    /// The connection.
    pub stream: ServerStream<S>,
    /// What was agreed on.
    pub facts: Facts,
    /// Whom the client's certificate names, looked at anew: a resumed session is asked for nothing, and what it was begun with may be
    /// good no more.
    pub client: Result<Option<String>, Unverified>,
}

impl ServerSide {
    /// Does the handshake with a client that has sent `received` so far.
    ///
    /// # Errors
    /// As the socket; [`io::ErrorKind::InvalidData`] with rustls' error inside, once the client was told.
    pub async fn accept<S: Wire>(&self, mut socket: S, mut received: Vec<u8>) -> io::Result<Accepted<S>> {
        while Hello::is_awaited(&received) && received.len() < LOOKED_AT {
            read(&mut socket, &mut received).await?;
        }
        let hello = Hello::of(&received);
        let server_name = hello.as_ref().and_then(Hello::server_name).and_then(dns_name);
        // Where every client has to show a certificate but an authority that validates, the two are told apart by what they ask
        // for (RFC 8737 §3: an authority offers nothing else).
        let is_authority = hello.is_some_and(|hello| hello.offers_only(ACME_TLS));
        let config = self.validation.as_ref().filter(|_| is_authority).unwrap_or(&self.config);
        let mut shaking = Handshake::new(config.clone(), received)?;
        shaking.complete(&mut socket).await?;
        let connection = &shaking.connection;
        let server_name = server_name.as_ref().map(AsRef::as_ref).unwrap_or_default();
        let facts = Facts::of(connection, server_name);
        let client = self.clients.as_ref().map_or(Ok(None), |clients| clients.name(connection));
        Ok(Accepted { stream: shaking.into_stream(socket)?, facts, client })
    }
}

/// The name that a client asks for as rustls takes it, for which an address is none (RFC 6066 §3).
pub(super) fn dns_name(asked_for: &[u8]) -> Option<DnsName<'static>> {
    match ServerName::try_from(asked_for).ok()? {
        ServerName::DnsName(name) => Some(name.to_lowercase_owned()),
        _ => None,
    }
}

/// A handshake that is under way.
struct Handshake {
    connection: UnbufferedServerConnection,
    received: Vec<u8>,
    /// How much of that are whole records that rustls has been shown.
    whole: usize,
    /// How much of it rustls has been shown: the beginning of a record too, so that it sees what is none.
    shown: usize,
    due: Vec<u8>,
}

/// What a handshake waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// More from the client.
    Client,
    /// What is due to be sent.
    Sent,
    /// Nothing: it is done.
    Nothing,
}

impl Handshake {
    fn new(config: Arc<ServerConfig>, received: Vec<u8>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(broken)?;
        Ok(Self { connection, received, whole: 0, shown: 0, due: Vec::new() })
    }

    /// Says and hears what is to be said and heard, to the end.
    async fn complete<S: AsyncRead + AsyncWrite + Unpin>(&mut self, socket: &mut S) -> io::Result<()> {
        loop {
            match self.step() {
                Ok(Wait::Nothing) => return Ok(()),
                // Tickets, for which nobody waits: they go out with the first data.
                Ok(Wait::Sent) if self.is_done() && self.is_tls13() => {}
                Ok(Wait::Sent) => self.send(socket).await?,
                Ok(Wait::Client) if self.received.len() >= HELD => {
                    return Err(broken(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)));
                }
                Ok(Wait::Client) => read(socket, &mut self.received).await?,
                Err(error) => {
                    self.take_alert();
                    // The reason counts, whether the client hears of it or not.
                    let _ = self.send(socket).await;
                    return Err(broken(error));
                }
            }
        }
    }

    /// Goes on until something has to be waited for.
    fn step(&mut self) -> Result<Wait, Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.received[..self.shown]);
            let wait = match state? {
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut data, &mut self.due)?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    Some(Wait::Sent)
                }
                // TLS 1.3 may write before the client's last word, and we do not (RFC 8446 §4.4.4: it may not be who it says).
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Some(Wait::Client),
                // Nothing but records of the handshake is ever shown.
                _ => return Err(Error::HandshakeNotComplete),
            };
            self.received.drain(..discard);
            self.whole -= discard.min(self.whole);
            self.shown -= discard;
            match wait {
                Some(Wait::Client) if self.is_done() => return Ok(Wait::Nothing),
                Some(Wait::Client) if self.show_more() => {}
                Some(wait) => return Ok(wait),
                None => {}
            }
        }
    }

    /// Shows one more record, or what there is of it; says whether there is more to see.
    fn show_more(&mut self) -> bool {
        let before = self.shown;
        let rest = &self.received[self.whole..];
        let record =
            rest.first_chunk().map(|&[_, _, _, high, low]| HEADER + usize::from(u16::from_be_bytes([high, low])));
        self.shown = match record.filter(|record| *record <= rest.len()) {
            Some(record) => {
                self.whole += record;
                self.whole
            }
            None => self.received.len(),
        };
        self.shown > before
    }

    /// Puts the alert behind what is due that tells of an error.
    fn take_alert(&mut self) {
        while self.connection.wants_write() {
            let status = self.connection.process_tls_records(&mut self.received[..self.shown]);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            if encode(&mut data, &mut self.due).is_err() {
                return;
            }
        }
    }

    fn is_done(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    async fn send<S: AsyncWrite + Unpin>(&mut self, socket: &mut S) -> io::Result<()> {
        socket.write_all(&self.due).await?;
        self.due.clear();
        socket.flush().await
    }

    /// Takes the keys out. This is where a kernel that does TLS would be given them in place of [`Records`].
    fn into_stream<S: Wire>(mut self, socket: S) -> io::Result<ServerStream<S>> {
        let (secrets, connection) = self.connection.dangerous_into_kernel_connection().map_err(broken)?;
        let records = Records::new(secrets, connection).map_err(broken)?;
        self.received.shrink_to_fit();
        self.due.shrink_to_fit();
        Ok(ServerStream::new(socket, records, self.received, self.due))
    }
}

/// Puts a record of ours behind what is due.
fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, due: &mut Vec<u8>) -> Result<(), Error> {
    let before = due.len();
    loop {
        match data.encode(&mut due[before..]) {
            Ok(count) => {
                due.truncate(before + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(room)) => due.resize(before + room.required_size, 0),
            Err(EncodeError::AlreadyEncoded) => return Err(Error::EncryptError),
        }
    }
}

/// Reads once.
async fn read<S: AsyncRead + Unpin>(socket: &mut S, received: &mut Vec<u8>) -> io::Result<()> {
    received.reserve_exact(READ);
    match socket.read_buf(received).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client closed the connection within the handshake")),
        _ => Ok(()),
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::play::{Pair, Pipe, SUITES, server};

    /// Reads all there is.
    async fn read_to_end(stream: &mut ServerStream<Pipe>) -> Vec<u8> {
        let mut data = Vec::new();
        stream.read_to_end(&mut data).await.unwrap();
        data
    }

    #[tokio::test]
    async fn what_comes_with_the_handshake_is_not_lost_however_it_is_split() {
        for suite in SUITES {
            for size in [1, 2, 6, 50, 150, 100_000] {
                let Pair { mut client, flights, .. } = Pair::new(suite);
                let data = [client.record(23, b"right behind it, ", 0), client.record(23, b"and more", 0)].concat();
                let bytes = [flights.concat(), data, client.record(21, &[1, 0], 0)].concat();
                let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
                let mut pipe = Pipe { pieces, room: usize::MAX, ..Pipe::default() };
                let mut shaking = Handshake::new(server(suite), Vec::new()).unwrap();
                shaking.complete(&mut pipe).await.unwrap();
                // One write for each flight.
                assert_eq!(pipe.writes, if suite.tls13().is_some() { 1 } else { 2 }, "{suite:?}");
                let mut stream = shaking.into_stream(pipe).unwrap();
                assert_eq!(read_to_end(&mut stream).await, b"right behind it, and more", "{suite:?} by {size}");
            }
        }
    }

    #[tokio::test]
    async fn who_is_refused_is_told_why() {
        for (said, alert) in [
            (&b"EHLO client.example\r\n"[..], 50),
            (b"\x16\x03\x01\x00\x04\x00\x00\x00\x00", 10),
            (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 50),
        ] {
            let mut pipe = Pipe { pieces: [said.to_vec()].into(), room: usize::MAX, is_cut: true, ..Pipe::default() };
            let mut shaking = Handshake::new(server(SUITES[0]), Vec::new()).unwrap();
            let error = shaking.complete(&mut pipe).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(pipe.sent[HEADER..], [2, alert], "{said:?}");
        }
    }

    #[tokio::test]
    async fn messages_without_end_are_bounded() {
        let mut pipe = Pipe { room: usize::MAX, ..Pipe::default() };
        pipe.pieces.push_back(b"\x16\x03\x01\x00\x04\x01\x00\xff\xff".to_vec());
        pipe.pieces.push_back(b"\x16\x03\x01\x00\x01a".repeat(50_000));
        let mut shaking = Handshake::new(server(SUITES[0]), Vec::new()).unwrap();
        assert!(shaking.complete(&mut pipe).await.is_err());
        assert!(shaking.received.capacity() <= HELD + 2 * READ, "{}", shaking.received.capacity());
    }
}
