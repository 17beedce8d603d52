//! The life of one client: greeting, STARTTLS or TLS from the start, the backend, the relay, and the line in the
//! log that tells of it.
//!
//! Nothing learned before TLS is used after it: the greeter is dropped there, its input proved empty
//! ([`proto::Outcome::StartTls`]), and the filter begins anew.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    World,
    backend::{DialFault, Dialled, Hold},
    crowd::Seat,
    gate::Admission,
    handshake::{NO_CERTIFICATE_YET, handshake},
    proxied,
    record::{Ended, Outcome, Record},
    screening::Screening,
};
use crate::{
    net::{
        Stage,
        close::{self, LAST_WORDS},
        connect::BackendStream,
        drive::{self, Deadlines, Stopped},
        relay::{self, Pace, Said},
    },
    proto::{
        self, Complaint, Connection, Farewell, Filter, Greeter, Input, Leg, Opening, RefusedLogin, Start, smtp::Trace,
    },
    snapshot::Mail,
    tls::{Facts, ServerStream},
};

/// A client that can be joined with its backend.
struct Joined {
    client: Client,
    link: Box<Link>,
}

/// What it is joined by.
struct Link {
    backend: BackendStream,
    greeting: Vec<u8>,
    filter: Box<dyn Filter>,
    input: Vec<u8>,
}

/// The client's leg.
enum Client {
    Plain(Box<TcpStream>),
    Tls(Box<ServerStream>),
}

impl relay::Side for ServerStream {
    fn rest(&mut self) {
        Self::rest(self);
    }
}

/// Serves one client from accept to close. With `seat` it has to make room for others until it has come to its backend; `held` is kept
/// until it is over.
///
/// There is a future of this for each idle session. An async function would have its arguments in it twice.
pub fn serve<Held>(
    stream: TcpStream,
    peer: SocketAddr,
    mail: Arc<Mail>,
    world: Arc<World>,
    admission: Option<Admission>,
    seat: Option<Seat>,
    held: Held,
) -> impl Future<Output = ()> {
    let record = record(peer, &mail, &world);
    let mut stage = world.stages.of(record.session);
    let login = Instant::now() + mail.config.timeouts.login;
    let mut visit = Visit { mail, world, record, login, admission, hold: None };
    async move {
        // Boxed, so that the many sessions that are past this point do not carry its size.
        let joined = tokio::select! {
            joined = Box::pin(visit.join(stream, &mut stage)) => joined,
            () = displaced(seat.as_ref()) => Err(Ended(Outcome::Limited, "crowded-out")),
        };
        drop(seat);
        match joined {
            Ok(joined) => visit.relay(joined, &mut stage).await,
            Err(ended) => visit.record.ended = ended,
        }
        visit.world.gate.judge(&visit.record, &visit.mail.config.protection);
        // Its line in the log is written by then.
        drop(visit);
        drop(held);
    }
}

/// Ready when a session has to make room; never where it need not.
async fn displaced(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.displaced().await,
        None => std::future::pending().await,
    }
}

/// Sends away a client for whom there is no session, for this reason: in the protocol's words, or with TLS from the first byte by
/// closing.
pub async fn refuse(mut stream: TcpStream, peer: SocketAddr, mail: Arc<Mail>, world: Arc<World>, reason: &'static str) {
    let mut record = record(peer, &mail, &world);
    record.ended = Ended(Outcome::Limited, reason);
    proxied::skip(&mut stream, &mail.config.proxies, &mut record).await;
    if mail.config.tls.as_ref().is_none_or(|tls| !tls.implicit) {
        let mut words = Vec::new();
        proto::refuse(&mail.settings, Farewell::Busy, &mut words);
        close::turn_away(&mut stream, &words).await;
    }
}

fn record(peer: SocketAddr, mail: &Mail, world: &World) -> Box<Record> {
    Box::new(Record::new(world.next_session(), &mail.config.id, mail.config.protocol.name(), peer))
}

/// The size of an idle session's future, in bytes: what the relay needs, without its heap.
#[must_use]
pub fn size_of_future(mail: Arc<Mail>, world: Arc<World>, stream: TcpStream) -> usize {
    size_of_val(&serve(stream, SocketAddr::from(([0; 4], 0)), mail, world, None, None, ()))
}

/// One client's way through mailward.
struct Visit {
    mail: Arc<Mail>,
    world: Arc<World>,
    /// When the login must be through.
    login: Instant,
    /// The session's place at its backend.
    hold: Option<Hold>,
    /// That the client is let in: one that came by a proxy once it is known who it is.
    admission: Option<Admission>,
    /// Dropped last: whoever reads its line in the log finds the place at the backend free.
    record: Box<Record>,
}

impl Visit {
    /// Everything up to the joined session.
    async fn join(&mut self, mut stream: TcpStream, stage: &mut watch::Receiver<Stage>) -> Result<Joined, Ended> {
        let accepted = self.record.peer;
        let config = &self.mail.config;
        let destination = proxied::destination(&mut stream, &config.proxies, &mut self.record).await?;
        let (proxies, protection) = (&config.proxies, &config.protection);
        let recognised = self.world.gate.recognise(accepted, proxies, protection, &mut self.record)?;
        self.admission = self.admission.take().or(recognised);
        self.screen(&mut stream, stage).await?;
        let (client, start, input) = self.secure(stream, stage).await?;
        self.open(client, start, input, destination).await
    }

    /// What comes before the greeting. Who is exempt is not kept waiting, and no list is asked about a proxy.
    async fn screen(&self, stream: &mut TcpStream, stage: &mut watch::Receiver<Stage>) -> Result<(), Ended> {
        if self.record.client.is_none() {
            return Ok(());
        }
        let screening = Screening { pregreet: self.mail.config.pregreet, blocklist: self.mail.blocklist.as_ref() };
        let Err(unwelcome) = screening.look(stream, &self.record, stage).await else { return Ok(()) };
        close::say_last(stream, &unwelcome.words(self.record.peer.ip(), &self.mail.settings)).await;
        Err(unwelcome.ended())
    }

    /// Everything until the client is in TLS, or goes on without.
    async fn secure(
        &mut self,
        mut stream: TcpStream,
        stage: &mut watch::Receiver<Stage>,
    ) -> Result<(Client, Start, Vec<u8>), Ended> {
        match self.mail.config.tls.as_ref().map(|tls| tls.implicit) {
            None => Ok((Client::Plain(Box::new(stream)), Start::Greeting, Vec::new())),
            Some(true) => Ok((Client::Tls(self.handshake(stream).await?), Start::Greeting, Vec::new())),
            Some(false) => match self.talk(&mut stream, stage).await {
                Ok(Talked::StartTls) => Ok((Client::Tls(self.handshake(stream).await?), Start::Greeted, Vec::new())),
                Ok(Talked::Plaintext(opening, input)) => {
                    Ok((Client::Plain(Box::new(stream)), Start::Opened(opening), input))
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
        let mut greeter = proto::greeter(&self.mail.settings);
        if let Some((farewell, ended)) = self.unfit() {
            let mut output = Vec::new();
            greeter.farewell(farewell, &mut output);
            let _ = drive::send(stream, &output, Instant::now() + LAST_WORDS).await;
            return Err(ended);
        }
        let deadlines = Deadlines {
            command: self.mail.config.timeouts.command,
            login: self.mail.config.protocol.has_login().then_some(self.login),
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

    /// Why a client is sent away in place of a greeting, if it is. Where TLS was asked for and no certificate is there
    /// yet, nobody goes on without it, also where TLS is not required.
    fn unfit(&self) -> Option<(Farewell, Ended)> {
        if self.mail.tls.as_ref().is_some_and(|tls| tls.certificates.is_empty()) {
            return Some((Farewell::NoCertificate, NO_CERTIFICATE_YET));
        }
        let down = (Farewell::BackendDown, Ended(Outcome::BackendDown, "greeting"));
        self.mail.backend.is_down().then_some(down)
    }

    /// Finds out what the backend offers and lets the greeter say so.
    async fn learn(&self, greeter: &mut dyn Greeter, stream: &mut TcpStream) -> Result<(), Ended> {
        let offered = timeout_at(self.patience(), self.mail.backend.extensions(&self.world.resolver)).await;
        let mut output = Vec::new();
        // Who waits for too many silent addresses is offered what a backend offers that cannot be asked.
        greeter.learn(offered.unwrap_or_default(), &mut output);
        let deadline = Instant::now() + self.mail.config.timeouts.command;
        drive::send(stream, &output, deadline).await.map_err(stopped)
    }

    async fn handshake(&mut self, stream: TcpStream) -> Result<Box<ServerStream>, Ended> {
        match &self.mail.tls {
            Some(tls) => handshake(stream, tls, &self.mail.config.protection, &self.world, &mut self.record).await,
            None => Err(Ended(Outcome::TlsFailed, "not-enabled")),
        }
    }

    /// Dials the backend for a client that has got this far.
    async fn open(
        &mut self,
        client: Client,
        start: Start,
        input: Vec<u8>,
        destination: SocketAddr,
    ) -> Result<Joined, Ended> {
        let tls = self.record.tls.as_ref().map(Facts::encryption);
        let connection = Connection { source: self.record.peer, destination, tls };
        let dialled = timeout_at(self.patience(), self.mail.backend.dial(&self.world.resolver, &connection)).await;
        let ended = match dialled {
            Ok(Ok(Dialled { stream, greeting, hold })) => {
                let leg = match client {
                    Client::Plain(_) => Leg::Plaintext,
                    Client::Tls(_) if self.mail.backend.knows(&connection) => Leg::Certified,
                    Client::Tls(_) => Leg::Tls,
                };
                let mut filter = proto::filter(&self.mail.settings, start, leg);
                if self.mail.backend.is_traced() {
                    filter.trace(Trace::new(&connection, self.record.session, date_and_time));
                }
                self.record.backend = format!("{}/{}", self.mail.backend.id(), hold.target());
                self.hold = Some(hold);
                return Ok(Joined { client, link: Box::new(Link { backend: stream, greeting, filter, input }) });
            }
            Ok(Err(DialFault::Down)) => Ended(Outcome::BackendDown, ""),
            Ok(Err(DialFault::SpokeUnasked)) => Ended(Outcome::BackendLost, "backend-spoke-unasked"),
            Ok(Err(DialFault::IdentityRefused)) => Ended(Outcome::BackendLost, "identity-refused"),
            Ok(Err(DialFault::OtherFamily)) => Ended(Outcome::BackendDown, "other-address-family"),
            Ok(Err(DialFault::Shortage)) => Ended(Outcome::Limited, "shortage"),
            // Not held against the backend: the client may have come late.
            Err(_) => Ended(Outcome::BackendDown, "dial-timeout"),
        };
        self.record.backend = self.mail.backend.id().to_owned();
        client.refuse(&self.mail.settings).await;
        Err(ended)
    }

    /// Until when a client waits for its backend, however many addresses that has.
    fn patience(&self) -> Instant {
        let command = Instant::now() + self.mail.config.timeouts.command;
        if self.mail.config.protocol.has_login() { command.min(self.login) } else { command }
    }

    async fn relay(&mut self, joined: Joined, stage: &mut watch::Receiver<Stage>) {
        match joined.client {
            Client::Plain(mut client) => self.run(&mut *client, joined.link, stage).await,
            Client::Tls(mut client) => self.run(&mut *client, joined.link, stage).await,
        }
    }

    async fn run<C: relay::Side>(&mut self, client: &mut C, link: Box<Link>, stage: &mut watch::Receiver<Stage>) {
        let Link { backend, greeting, filter, input } = *link;
        let pace = Pace { limits: &self.mail.pace, login: self.login };
        let said = Said { by_backend: greeting, by_client: input };
        let (gate, record, protection) = (&self.world.gate, &self.record, &self.mail.config.protection);
        let mut refused = |login: RefusedLogin| gate.refused_login(&login, record, protection);
        let report = relay::relay(client, backend, filter, said, pace, stage, &mut refused).await;
        report.complaint.inspect(|complaint: &Complaint| self.mail.backend.complain(*complaint));
        self.record.bytes_in = report.bytes_in;
        self.record.bytes_out = report.bytes_out;
        self.record.user = report.user;
        self.record.ended = report.end.into();
        if !report.has_parted {
            Box::pin(close::close(client)).await;
        }
    }
}

/// The date and time in the form of RFC 5322 §3.3, from which HTTP's differs in the zone alone.
pub(crate) fn date_and_time() -> String {
    httpdate::fmt_http_date(SystemTime::now()).replace("GMT", "+0000")
}

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
            Self::Plain(mut stream) => close::say_last(&mut *stream, &output).await,
            Self::Tls(mut stream) => close::say_last(&mut *stream, &output).await,
        }
    }
}
