//! The life of a sender's session: who it is, TLS if it wants it, and one message after the other, each carried on while the sender
//! waits for what becomes of it.
//!
//! Promises that a sender from elsewhere than the networks of `relay-networks` sends nothing (spec §3.4); that it gets each reply within
//! the time that RFC 5321 §4.5.3.2 has it wait; and that a session is never closed to tell of a remote's trouble, which senders would
//! take for ours.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Duration, Instant, sleep, sleep_until, timeout},
};

use super::{
    Means,
    carriage::{Carriage, KEPT, Manner},
};
use crate::{
    config::MultiDomain,
    inbound::{
        World,
        gate::Admission,
        handshake::{NO_CERTIFICATE_YET, handshake},
        proxied,
        record::{Ended, Outcome, Record},
        session::date_and_time,
    },
    net::{
        Stage,
        close::{self, LAST_WORDS},
    },
    proto::{
        Connection, Farewell, Input, Leg, Protocol, Violation,
        smtp::{
            Answer, Egress, Mail, Mailbox, Trace,
            egress::{Course, Demand, Piece},
        },
    },
    snapshot::Relay,
    tls::{Facts, ServerStream},
};

/// How much of a message is read at once.
const READ: usize = 32 * 1024;

/// How much of commands is read at once.
const READ_COMMANDS: usize = 4096;

/// How long replies wait for the next one, to go out in one piece with it; and a reset for its way here.
const MOMENT: Duration = Duration::from_secs(1);

/// A sender's connection, in clear or in TLS.
trait Line: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Line for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Line for ServerStream {
    fn socket(&self) -> &TcpStream {
        self.socket()
    }
}

/// Serves one sender from accept to close.
pub async fn serve(stream: TcpStream, peer: SocketAddr, relay: Arc<Relay>, world: Arc<World>) {
    let record = record(peer, &relay, &world);
    let stage = world.stages.of(record.session);
    let mut visit = Visit { relay, world, record, stage, admission: None };
    visit.record.ended = visit.live(stream).await.err().unwrap_or(Ended(Outcome::Ok, ""));
    visit.world.gate.judge(&visit.record, &visit.relay.config.protection);
}

/// Sends away a client for whom there is no session, for this reason.
pub async fn refuse(
    mut stream: TcpStream,
    peer: SocketAddr,
    relay: Arc<Relay>,
    world: Arc<World>,
    reason: &'static str,
) {
    let mut record = record(peer, &relay, &world);
    record.ended = Ended(Outcome::Limited, reason);
    proxied::skip(&mut stream, &relay.config.proxies, &mut record).await;
    if relay.config.tls.as_ref().is_none_or(|tls| !tls.implicit) {
        let mut words = Vec::new();
        Egress::new(relay.settings.clone(), Leg::Plaintext).farewell(Farewell::Busy, &mut words);
        close::turn_away(&mut stream, &words).await;
    }
}

fn record(peer: SocketAddr, relay: &Relay, world: &World) -> Box<Record> {
    Box::new(Record::new(world.next_session(), &relay.config.id, relay.config.protocol.name(), peer))
}

/// One sender.
struct Visit {
    relay: Arc<Relay>,
    world: Arc<World>,
    record: Box<Record>,
    stage: watch::Receiver<Stage>,
    /// That a client which came by a proxy is let in.
    admission: Option<Admission>,
}

/// What a dialogue came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Talked {
    StartTls,
    Over,
}

impl Visit {
    async fn live(&mut self, mut stream: TcpStream) -> Result<(), Ended> {
        let accepted = self.record.peer;
        let config = &self.relay.config;
        let destination = proxied::destination(&mut stream, &config.proxies, &mut self.record).await?;
        let (proxies, protection) = (&config.proxies, &config.protection);
        self.admission = self.world.gate.recognise(accepted, proxies, protection, &mut self.record)?;
        let is_implicit = config.tls.as_ref().is_some_and(|tls| tls.implicit);
        if !is_implicit && self.talk(&mut stream, destination, Leg::Plaintext, true).await? == Talked::Over {
            return Ok(());
        }
        let mut stream = self.shake(stream).await?;
        self.talk(&mut *stream, destination, Leg::Tls, is_implicit).await.map(drop)
    }

    async fn shake(&mut self, stream: TcpStream) -> Result<Box<ServerStream>, Ended> {
        let Some(tls) = &self.relay.tls else { return Err(Ended(Outcome::TlsFailed, "not-enabled")) };
        handshake(stream, tls, &self.relay.config.protection, &self.world, &mut self.record).await
    }

    /// The dialogue, in clear or inside TLS, and the end of the connection, if it does not go on with a handshake.
    async fn talk<S: Line>(
        &mut self,
        stream: &mut S,
        destination: SocketAddr,
        leg: Leg,
        greets: bool,
    ) -> Result<Talked, Ended> {
        let talked = self.converse(stream, destination, leg, greets).await;
        if !matches!(talked, Ok(Talked::StartTls)) {
            close::close(stream).await;
        }
        talked
    }

    async fn converse<S: Line>(
        &mut self,
        stream: &mut S,
        destination: SocketAddr,
        leg: Leg,
        greets: bool,
    ) -> Result<Talked, Ended> {
        let Some(means) = self.relay.means.clone() else { return Err(Ended(Outcome::Drained, "stopped")) };
        let client = self.record.peer.ip();
        let is_welcome = self.relay.config.networks.iter().any(|network| network.contains(&client));
        let mut egress = match is_welcome {
            true => Egress::new(self.relay.settings.clone(), leg),
            false => Egress::turning_away(self.relay.settings.clone()),
        };
        let tls = self.record.tls.as_ref().map(Facts::encryption);
        let connection = Connection { source: self.record.peer, destination, tls };
        egress.trace(
            Trace::new(&connection, self.record.session, date_and_time).marked(&self.relay.settings.loops.token),
        );
        let manner = match (self.relay.config.protocol, self.relay.config.multi_domain) {
            (Protocol::Lmtp, _) => Manner::OneByOne,
            (_, MultiDomain::Defer) => Manner::OneDomain,
            (_, MultiDomain::FanOut) => Manner::FanOut,
        };
        let carriage = Carriage::new(means.clone(), self.record.session, &self.record.listener, client, manner);
        let (input, output) = (Input::new(), Vec::new());
        let mut dialogue = Dialogue { visit: self, means, stream, egress, carriage, input, output };
        if greets {
            dialogue.greet().await?;
        }
        let talked = dialogue.go_on().await;
        dialogue.carriage.let_go();
        match talked {
            Ok(Talked::Over) if !is_welcome => Err(Ended(Outcome::Refused, "relay-networks")),
            talked => talked,
        }
    }
}

/// A session over a stream.
struct Dialogue<'v, S> {
    visit: &'v mut Visit,
    means: Arc<Means>,
    stream: &'v mut S,
    egress: Egress,
    carriage: Carriage,
    input: Input,
    output: Vec<u8>,
}

impl<S: Line> Dialogue<'_, S> {
    async fn greet(&mut self) -> Result<(), Ended> {
        if self.visit.relay.tls.as_ref().is_some_and(|tls| tls.certificates.is_empty()) {
            self.part(Farewell::NoCertificate).await;
            return Err(NO_CERTIFICATE_YET);
        }
        self.egress.greet(&mut self.output);
        self.flush().await
    }

    async fn go_on(&mut self) -> Result<Talked, Ended> {
        loop {
            let demand = match self.egress.step(&mut self.input, &mut self.output) {
                Ok(demand) => demand,
                Err(fault) => return Err(self.violated(fault).await),
            };
            if !matches!(demand, Demand::Recipient(_) | Demand::Data | Demand::Closed) {
                self.flush().await?;
            }
            match demand {
                Demand::More | Demand::Pending => self.hear().await?,
                Demand::Recipient(mailbox) => {
                    let answer = self.recipient(&mailbox).await?;
                    self.egress.answer(&answer, &mut self.output);
                }
                Demand::Data => {
                    let mail = self.mail();
                    match self.carriage.data(&mail).await {
                        Ok(()) => self.egress.go_ahead(&mut self.output),
                        Err(answer) => self.egress.answer(&answer, &mut self.output),
                    }
                    self.flush().await?;
                }
                Demand::Message => self.message().await?,
                Demand::Abandoned => self.carriage.abandon(),
                Demand::StartTls(_) => return Ok(Talked::StartTls),
                Demand::Closed => {
                    // Postfix, for one, says QUIT with the end of the message, and does not wait for the answer to that: of
                    // a reset nothing can be learnt here.
                    self.say_last().await;
                    self.carriage.confirm();
                    return Ok(Talked::Over);
                }
            }
        }
    }

    /// What is said to a recipient. What was said before goes out meanwhile, if that takes its time: for each reply the sender waits
    /// for five minutes (RFC 5321 §4.5.3.2), and one server may take four.
    async fn recipient(&mut self, mailbox: &Mailbox) -> Result<Answer, Ended> {
        let mail = self.mail();
        let Self { visit, stream, carriage, output, .. } = self;
        let mut asked = pin!(carriage.recipient(&mail, mailbox));
        if let Ok(answer) = timeout(MOMENT, &mut asked).await {
            return Ok(answer);
        }
        flush(visit, *stream, output).await?;
        Ok(asked.await)
    }

    fn mail(&self) -> Mail {
        self.egress.mail().cloned().unwrap_or_default()
    }

    /// Waits for the sender's next command.
    async fn hear(&mut self) -> Result<(), Ended> {
        let deadline = Instant::now() + self.visit.relay.config.timeout;
        let is_between = self.egress.mail().is_none();
        let mut bytes = [0; READ_COMMANDS];
        let (farewell, ended) = loop {
            let next = tokio::select! {
                read = self.stream.read(&mut bytes) => Next::Read(read),
                _ = self.visit.stage.wait_for(|stage| *stage != Stage::Running), if is_between => Next::Drain,
                () = sleep(KEPT), if self.carriage.keeps_any() && is_between => Next::LetGo,
                () = sleep_until(deadline) => Next::Late,
            };
            match next {
                Next::Read(Ok(0)) => {
                    self.settle().await;
                    return Err(CLIENT_LOST);
                }
                Next::Read(Ok(count)) => return self.heard(&bytes[..count]),
                Next::Read(Err(_)) => {
                    self.carriage.doubt().await;
                    return Err(CLIENT_LOST);
                }
                Next::LetGo => self.carriage.let_go(),
                Next::Drain => break (Farewell::Draining, Ended(Outcome::Drained, "")),
                Next::Late => {
                    self.carriage.doubt().await;
                    break (Farewell::Timeout, LATE);
                }
            }
        };
        self.part(farewell).await;
        Err(ended)
    }

    fn heard(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        // RFC 8446 §5.1: a handshake record; no command begins with this byte.
        if self.input.peek().is_empty() && bytes.starts_with(&[0x16, 0x03]) && self.visit.record.tls.is_none() {
            return Err(Ended(Outcome::Violation, "tls-to-starttls-port"));
        }
        self.visit.record.bytes_in += bytes.len() as u64;
        self.input.push(bytes);
        // Whoever goes on has heard the last reply.
        self.carriage.confirm();
        Ok(())
    }

    /// The message, from the go-ahead to the replies to it.
    async fn message(&mut self) -> Result<(), Ended> {
        let mut buffer = vec![0; READ];
        loop {
            let piece = match self.egress.message(self.input.peek(), &mut self.output) {
                Ok(piece) => piece,
                Err(fault) => return Err(self.violated(fault).await),
            };
            let Some(Piece { length, octets, course }) = piece else {
                self.hear_message(&mut buffer).await?;
                continue;
            };
            self.carriage.carry(&self.input.peek()[..length], &octets).await;
            self.input.consume(length);
            match course {
                Course::On => {}
                Course::Ended => return self.conclude().await,
                Course::Refused(fault) => {
                    tracing::info!(session = self.visit.record.session, reason = fault.reason(), "message refused");
                    self.carriage.abandon();
                }
                Course::Over => return self.flush().await,
            }
        }
    }

    /// Waits for more of a message; what has come of it is none without its end.
    async fn hear_message(&mut self, buffer: &mut [u8]) -> Result<(), Ended> {
        match timeout(self.means.queue.timeouts.block, self.stream.read(buffer)).await {
            Ok(Ok(0) | Err(_)) => Err(CLIENT_LOST),
            Ok(Ok(count)) => {
                self.visit.record.bytes_in += count as u64;
                self.input.push(&buffer[..count]);
                Ok(())
            }
            // RFC 5321 §3.8: 421 may be said at any time. Nobody can take it for the message's being taken.
            Err(_) => {
                self.part(Farewell::Timeout).await;
                Err(LATE)
            }
        }
    }

    /// The message has come whole: what becomes of it is the reply.
    async fn conclude(&mut self) -> Result<(), Ended> {
        let mail = self.mail();
        let answers = self.carriage.end(&mail).await;
        let has_ended = self.has_ended();
        answers.iter().for_each(|answer| self.egress.answer(answer, &mut self.output));
        let told = self.flush().await;
        if told.is_err() {
            self.carriage.doubt().await;
        } else if has_ended {
            self.settle().await;
        }
        told
    }

    /// Whether the sender has ended its side already, and says nothing more.
    fn has_ended(&mut self) -> bool {
        // Its last words, and their end.
        for _ in 0..2 {
            let (mut bytes, mut cx) = ([0; READ_COMMANDS], Context::from_waker(Waker::noop()));
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *self.stream).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.visit.record.bytes_in += buffer.filled().len() as u64;
                    self.input.push(buffer.filled());
                }
                Poll::Ready(_) => return true,
            }
        }
        false
    }

    /// Finds out whether a sender that has ended its side is there to hear what it was told. If it is gone, its system answers that with
    /// a reset (RFC 9293 §3.5.2); one that has ended its side alone reads on.
    async fn settle(&mut self) {
        if !self.carriage.awaits_receipt() {
            return;
        }
        match timeout(MOMENT, self.stream.socket().ready(Interest::ERROR)).await {
            Ok(_) => self.carriage.doubt().await,
            Err(_) => self.carriage.confirm(),
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        flush(self.visit, self.stream, &mut self.output).await
    }

    /// Ends the session of a sender that breaks the protocol or a limit; its last words are there.
    async fn violated(&mut self, fault: Violation) -> Ended {
        self.say_last().await;
        Ended(Outcome::Violation, fault.reason())
    }

    /// Takes leave of the sender.
    async fn part(&mut self, farewell: Farewell) {
        self.egress.farewell(farewell, &mut self.output);
        self.say_last().await;
    }

    /// Sends last words to a sender that need not take them.
    async fn say_last(&mut self) {
        // Why it is over is known.
        let _ = timeout(LAST_WORDS, self.flush()).await;
    }
}

/// Sends what there is to say.
async fn flush<S: AsyncWrite + Unpin>(visit: &mut Visit, stream: &mut S, output: &mut Vec<u8>) -> Result<(), Ended> {
    if output.is_empty() {
        return Ok(());
    }
    let sent = timeout(visit.relay.config.timeout, async {
        stream.write_all(output).await?;
        stream.flush().await
    });
    let sent = sent.await;
    visit.record.bytes_out += output.len() as u64;
    output.clear();
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CLIENT_LOST),
        Err(_) => Err(LATE),
    }
}

/// What comes next in a session.
enum Next {
    Read(io::Result<usize>),
    Drain,
    LetGo,
    Late,
}

const CLIENT_LOST: Ended = Ended(Outcome::ClientLost, "");

const LATE: Ended = Ended(Outcome::Timeout, "");
