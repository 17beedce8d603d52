//! The life of one client: greeting, STARTTLS or TLS from the start, the backend, the relay, and the line in the
//! log that tells of it.
//!
//! Nothing learned before TLS is used after it: the greeter is dropped there, its input proved empty
//! ([`proto::Outcome::StartTls`]), and the filter begins anew.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    backend::{DialFault, Dialled},
    record::{Ended, Outcome, Record},
};
use crate::{
    net::{
        Stage,
        close::{self, LAST_WORDS},
        connect::{self, BackendStream},
        dns::Resolver,
        drive::{self, Deadlines, Stopped},
        relay::{self, Pace},
    },
    proto::{self, Complaint, Farewell, Filter, Greeter, Input, Opening, Protocol, Start},
    snapshot::Entry,
    tls::{Facts, HandshakeFault, offered_version},
};

/// What every session needs of the process.
#[derive(Debug)]
pub struct World {
    /// Resolves backends' names.
    pub resolver: Resolver,
    /// One permit for each handshake that may be under way.
    pub handshakes: Arc<Semaphore>,
    /// What the process is doing.
    pub stage: watch::Receiver<Stage>,
    /// Numbers the sessions.
    pub sessions: Arc<AtomicU64>,
}

/// A client that can be joined with its backend.
struct Joined {
    client: Client,
    backend: BackendStream,
    greeting: Vec<u8>,
    filter: Box<dyn Filter>,
    input: Vec<u8>,
}

/// The client's leg.
enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Serves one client from accept to close.
pub async fn serve(stream: TcpStream, peer: SocketAddr, entry: Arc<Entry>, world: Arc<World>) {
    connect::tune(&stream);
    let record = record(peer, &entry, &world);
    let mut stage = world.stage.clone();
    let mut visit = Visit { entry, world, record, login: Instant::now() };
    visit.login += visit.entry.config.timeouts.login;
    // Boxed, so that the many sessions that are past this point do not carry its size.
    match Box::pin(visit.join(stream, &mut stage)).await {
        Ok(joined) => visit.relay(joined, &mut stage).await,
        Err(ended) => visit.record.ended = ended,
    }
}

/// Sends away a client for whom there is no session: in the protocol's words, or with TLS from the first byte by
/// closing.
pub async fn refuse(mut stream: TcpStream, peer: SocketAddr, entry: Arc<Entry>, world: Arc<World>) {
    let mut record = record(peer, &entry, &world);
    record.ended = Ended(Outcome::Limited, "max-connections");
    if entry.config.tls.as_ref().is_none_or(|tls| !tls.implicit) {
        let mut words = Vec::new();
        proto::refuse(&entry.settings, Farewell::Busy, &mut words);
        // The place is free again at once: whoever waits for it shall be told soon, and a client that is refused
        // before it has said anything loses nothing by a close without ceremony.
        let said = timeout(LAST_WORDS, async {
            stream.write_all(&words).await?;
            stream.shutdown().await
        });
        let _ = said.await;
    }
}

fn record(peer: SocketAddr, entry: &Entry, world: &World) -> Box<Record> {
    Box::new(Record {
        session: world.sessions.fetch_add(1, Ordering::Relaxed) + 1,
        listener: entry.config.id.clone(),
        protocol: entry.config.protocol,
        peer,
        started: Instant::now().into_std(),
        tls: None,
        client_tls: "",
        user: None,
        backend: String::new(),
        bytes_in: 0,
        bytes_out: 0,
        // What stands here if the session is dropped before it knows better.
        ended: Ended(Outcome::Drained, "stopped"),
    })
}

/// The size of an idle session's future, in bytes: what the relay needs, without its heap.
#[must_use]
pub fn size_of_future(entry: Arc<Entry>, world: Arc<World>, stream: TcpStream) -> usize {
    size_of_val(&serve(stream, SocketAddr::from(([0; 4], 0)), entry, world))
}

/// One client's way through mailward.
struct Visit {
    entry: Arc<Entry>,
    world: Arc<World>,
    record: Box<Record>,
    /// When the login must be through.
    login: Instant,
}

impl Visit {
    /// Everything up to the joined session.
    async fn join(&mut self, mut stream: TcpStream, stage: &mut watch::Receiver<Stage>) -> Result<Joined, Ended> {
        match self.entry.config.tls.as_ref().map(|tls| tls.implicit) {
            None => self.open(Client::Plain(stream), Start::Greeting, Vec::new()).await,
            Some(true) => {
                let tls = self.handshake(stream).await?;
                self.open(Client::Tls(tls), Start::Greeting, Vec::new()).await
            }
            Some(false) => match self.talk(&mut stream, stage).await {
                Ok(Talked::StartTls) => {
                    let tls = self.handshake(stream).await?;
                    self.open(Client::Tls(tls), Start::Greeted, Vec::new()).await
                }
                Ok(Talked::Plaintext(opening, input)) => {
                    self.open(Client::Plain(stream), Start::Opened(opening), input).await
                }
                Err(ended) => {
                    close::close(&mut stream).await;
                    Err(ended)
                }
            },
        }
    }

    /// The dialogue before TLS.
    async fn talk(&mut self, stream: &mut TcpStream, stage: &mut watch::Receiver<Stage>) -> Result<Talked, Ended> {
        let mut greeter = proto::greeter(&self.entry.settings);
        if self.entry.backend.is_down() {
            let mut output = Vec::new();
            greeter.farewell(Farewell::BackendDown, &mut output);
            let _ = drive::send(stream, &output, Instant::now() + LAST_WORDS).await;
            return Err(Ended(Outcome::BackendDown, "greeting"));
        }
        let deadlines = Deadlines {
            command: self.entry.config.timeouts.command,
            login: self.entry.config.protocol.has_login().then_some(self.login),
        };
        drive::greet(&mut *greeter, stream, deadlines).await.map_err(stopped)?;
        let mut input = Input::new();
        loop {
            match drive::drive(&mut *greeter, &mut input, stream, deadlines, stage).await.map_err(stopped)? {
                proto::Outcome::StartTls(_) => return Ok(Talked::StartTls),
                proto::Outcome::Closed => return Err(Ended(Outcome::Ok, "before-tls")),
                proto::Outcome::Plaintext(opening) => return Ok(Talked::Plaintext(opening, input.take())),
                proto::Outcome::AskExtensions => self.learn(&mut *greeter, stream).await?,
            }
        }
    }

    /// Finds out what the backend offers and lets the greeter say so.
    async fn learn(&self, greeter: &mut dyn Greeter, stream: &mut TcpStream) -> Result<(), Ended> {
        let offered = timeout_at(self.patience(), self.entry.backend.extensions(&self.world.resolver)).await;
        let mut output = Vec::new();
        // Who waits for too many silent addresses is offered what a backend offers that cannot be asked.
        greeter.learn(offered.unwrap_or_default(), &mut output);
        let deadline = Instant::now() + self.entry.config.timeouts.command;
        drive::send(stream, &output, deadline).await.map_err(stopped)
    }

    /// The whole handshake, under its one deadline.
    async fn handshake(&mut self, stream: TcpStream) -> Result<Box<TlsStream<TcpStream>>, Ended> {
        let (Some(tls), Some(config)) = (&self.entry.config.tls, &self.entry.tls) else {
            return Err(Ended(Outcome::TlsFailed, "not-enabled"));
        };
        let deadline = Instant::now() + tls.timeout;
        let handshakes = self.world.handshakes.clone();
        let shaken = timeout_at(deadline, async {
            let mut hello = [0; HELLO];
            let seen = stream.peek(&mut hello).await.unwrap_or(0);
            self.record.client_tls = offered_version(&hello[..seen]);
            let _permit = handshakes.acquire().await;
            TlsAcceptor::from(config.clone()).accept(stream).await
        });
        match shaken.await {
            Ok(Ok(tls)) => {
                let facts = Facts::of(tls.get_ref().1);
                if facts.version == "TLSv1.3" {
                    // The part of the hello that said so may have come too late to be seen.
                    self.record.client_tls = facts.version;
                }
                self.record.tls = Some(facts);
                Ok(Box::new(tls))
            }
            Ok(Err(error)) => {
                let fault = HandshakeFault::of(&error, self.record.client_tls);
                Err(Ended(Outcome::TlsFailed, fault.reason()))
            }
            Err(_) => Err(Ended(Outcome::Timeout, "handshake")),
        }
    }

    /// Dials the backend for a client that has got this far.
    async fn open(&mut self, client: Client, start: Start, input: Vec<u8>) -> Result<Joined, Ended> {
        let encrypted = matches!(client, Client::Tls(_));
        let dialled = timeout_at(self.patience(), self.entry.backend.dial(&self.world.resolver));
        let ended = match dialled.await {
            Ok(Ok(Dialled { stream, greeting, address })) => {
                self.record.backend = format!("{}/{address}", self.entry.backend.id());
                let filter = proto::filter(&self.entry.settings, start, encrypted);
                return Ok(Joined { client, backend: stream, greeting, filter, input });
            }
            Ok(Err(DialFault::Down)) => Ended(Outcome::BackendDown, ""),
            Ok(Err(DialFault::SpokeUnasked)) => Ended(Outcome::BackendLost, "backend-spoke-unasked"),
            Ok(Err(DialFault::Shortage)) => Ended(Outcome::Limited, "shortage"),
            // Not held against the backend: the client may have come late.
            Err(_) => Ended(Outcome::BackendDown, "dial-timeout"),
        };
        self.record.backend = self.entry.backend.id().to_owned();
        client.refuse(&self.entry.settings).await;
        Err(ended)
    }

    /// Until when a client waits for its backend, however many addresses that has.
    fn patience(&self) -> Instant {
        let command = Instant::now() + self.entry.config.timeouts.command;
        if self.entry.config.protocol.has_login() { command.min(self.login) } else { command }
    }

    async fn relay(&mut self, joined: Joined, stage: &mut watch::Receiver<Stage>) {
        let Joined { client, backend, greeting, filter, input } = joined;
        match client {
            Client::Plain(mut client) => {
                self.run(&mut client, backend, greeting, filter, input, stage).await;
            }
            Client::Tls(mut client) => {
                self.run(&mut *client, backend, greeting, filter, input, stage).await;
            }
        }
    }

    async fn run<C: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        client: &mut C,
        backend: BackendStream,
        greeting: Vec<u8>,
        filter: Box<dyn Filter>,
        input: Vec<u8>,
        stage: &mut watch::Receiver<Stage>,
    ) {
        let pace = self.pace();
        let report = relay::relay(client, backend, filter, greeting, input, pace, stage).await;
        report.complaint.inspect(|complaint: &Complaint| self.entry.backend.complain(*complaint));
        self.record.bytes_in = report.bytes_in;
        self.record.bytes_out = report.bytes_out;
        self.record.user = report.user;
        self.record.ended = report.end.into();
        Box::pin(close::close(client)).await;
    }

    fn pace(&self) -> Pace {
        let (times, limits) = (&self.entry.config.timeouts, &self.entry.config.limits);
        Pace {
            command: times.command,
            login: self.login,
            idle: times.idle,
            data_end: times.data_end,
            half_close: times.half_close,
            drain_silence: match self.entry.config.protocol {
                Protocol::Imap | Protocol::ManageSieve => Some(DRAIN_SILENCE),
                _ => None,
            },
            held: HELD + limits.line.max(limits.auth).max(limits.literal),
        }
    }
}

/// How much of a ClientHello is looked at; one with a post-quantum key share is about 1.5 KiB long.
const HELLO: usize = 2048;

/// How long a logged-in session must be silent before a stopping mailward closes it (spec §5).
const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// What a filter may want to see beyond the longest line: a whole EHLO or CAPABILITY reply.
const HELD: usize = 128 * 1024;

/// What the dialogue before TLS came to, for the session.
enum Talked {
    StartTls,
    Plaintext(Opening, Vec<u8>),
}

fn stopped(stopped: Stopped) -> Ended {
    match stopped {
        Stopped::Lost => Ended(Outcome::ClientLost, "before-tls"),
        Stopped::Timeout => Ended(Outcome::Timeout, "before-tls"),
        Stopped::Draining => Ended(Outcome::Drained, "before-tls"),
        Stopped::Violation(violation) => Ended(Outcome::Violation, violation.reason()),
        Stopped::TlsToPlainPort => Ended(Outcome::Violation, "tls-to-starttls-port"),
    }
}

impl Client {
    /// Tells the client that the backend is down, and closes.
    async fn refuse(self, settings: &proto::Settings) {
        let mut output = Vec::new();
        proto::refuse(settings, Farewell::BackendDown, &mut output);
        match self {
            Self::Plain(mut stream) => close::say_last(&mut stream, &output).await,
            Self::Tls(mut stream) => close::say_last(&mut *stream, &output).await,
        }
    }
}
