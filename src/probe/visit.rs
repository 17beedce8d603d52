//! One session with a mail host: as far as it would have to go before mail could be sent, and then QUIT.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rustls::pki_types::UnixTime;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::report::Attempt;
use crate::{
    config::Queue,
    net::connect::{self, BackendStream},
    outbound::prospect::Judged,
    policy::{
        outcome::{Event, Session},
        strategy::LastError,
        verdict::Refusal,
    },
    proto::{
        Input, Protocol, Violation,
        upgrade::{Stage, Upgrade, Upgraded},
    },
    telemetry::Told,
    tls::{Peers, Permit, server_name, why_broken},
};

/// How long connecting to one address may take.
const CONNECT: Duration = Duration::from_secs(15);

/// How long the greeting and the answer to EHLO may take, each.
const REPLY: Duration = Duration::from_secs(30);

/// How long is waited for the answer to QUIT.
const FAREWELL: Duration = Duration::from_secs(5);

/// The most that is read at once.
const READ: usize = 4096;

/// Connects as the settings have it, and tells from which address.
pub(super) async fn connect(at: SocketAddr, queue: &Queue) -> Result<(BackendStream, IpAddr), String> {
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}")));
    let connected = timeout(CONNECT, connect::tcp(at, queue.source_for(at.ip()))).await;
    let stream = connected.unwrap_or_else(|_| late()).map_err(|error| error.to_string())?;
    let (own, _) = stream.ends().ok_or("the connection is gone")?;
    Ok((stream, own.ip()))
}

/// A session at an address, and what is asked of it.
pub(super) struct Visit<'a> {
    pub(super) judged: &'a Judged<'a>,
    pub(super) at: SocketAddr,
    pub(super) own: IpAddr,
    pub(super) hostname: &'a str,
    pub(super) peers: &'a Peers,
}

/// Where the dialogue before TLS has led.
enum Led {
    /// The server waits for the handshake.
    Handshake,
    /// There will be no TLS: the words of the server, if it said any to that.
    Clear(Option<String>),
    /// It has come to nothing on the way to TLS.
    Broken(String),
    /// It has come to nothing before that.
    Nowhere(Refusal),
}

impl Visit<'_> {
    /// Goes through the session.
    pub(super) async fn talk(&self, mut stream: BackendStream) -> Attempt {
        let mut attempt = Attempt::at(self.at, self.judged);
        match self.lead(&mut stream, &mut attempt).await {
            Led::Handshake => self.shake_hands(stream, &mut attempt).await,
            Led::Clear(said) => {
                attempt.end(Permit::in_clear(&self.judged.verdict).map(|permit| permit.assurance()));
                attempt.outcome = Some(self.judged.outcome(self.session(&attempt), Event::NotOffered(said.as_deref())));
                // It is told, whatever comes of it.
                let _ = quit(&mut stream).await;
            }
            Led::Broken(why) => self.broken(&why, &mut attempt),
            Led::Nowhere(refusal) => {
                attempt.end(Err(refusal));
                let _ = quit(&mut stream).await;
            }
        }
        attempt
    }

    fn session(&self, attempt: &Attempt) -> Session {
        Session {
            sending_mta_ip: Some(self.own),
            receiving_mx_hostname: None,
            receiving_mx_helo: attempt.helo(),
            receiving_ip: Some(self.at.ip()),
        }
    }

    /// The dialogue up to the handshake, or to where there is none.
    async fn lead(&self, stream: &mut BackendStream, attempt: &mut Attempt) -> Led {
        let mut upgrade = Upgrade::new(Protocol::Smtp, self.hostname);
        let (mut input, mut output) = (Input::new(), Vec::new());
        let limits =
            [(Stage::Greeting, REPLY), (Stage::List, REPLY), (Stage::StartTls, self.judged.strategy.tls_timeout)];
        for (stage, limit) in limits {
            if stage == Stage::StartTls && !self.judged.verdict.uses_tls() {
                return Led::Clear(None);
            }
            if let Err(error) = stream.write_all(&output).await {
                return self.broke(stage, &error.to_string(), LastError::Io);
            }
            output.clear();
            let stepped = timeout(limit, step(stream, &mut upgrade, &mut input, &mut output, stage, attempt)).await;
            match stepped {
                Err(_) => return self.broke(stage, &format!("no answer within {limit:?}"), LastError::Timeout),
                Ok(Err(why)) => return self.broke(stage, &why, LastError::Io),
                Ok(Ok(Upgraded::More)) => {}
                Ok(Ok(Upgraded::Ready(_))) => return Led::Handshake,
                Ok(Ok(Upgraded::Refused(refusal))) => return self.refused(refusal.at, &refusal.said),
            }
        }
        Led::Broken("the dialogue has no end".to_owned())
    }

    fn refused(&self, at: Stage, said: &str) -> Led {
        let words = Told(said).to_string();
        match at {
            Stage::Greeting => Led::Nowhere(Refusal::unreached(self.name_of(), &words, LastError::Connection)),
            // RFC 5321 §3.2: who does not know EHLO is greeted with HELO. Not now is another answer.
            Stage::List if said.starts_with('4') => {
                Led::Nowhere(Refusal::broken_off(self.name_of(), &words, LastError::UnexpectedReply))
            }
            Stage::List => Led::Clear(None),
            Stage::StartTls => Led::Clear(Some(words)),
        }
    }

    fn broke(&self, stage: Stage, why: &str, last_error: LastError) -> Led {
        match stage {
            Stage::Greeting => Led::Nowhere(Refusal::unreached(self.name_of(), why, last_error)),
            Stage::List => Led::Nowhere(Refusal::broken_off(self.name_of(), why, last_error)),
            Stage::StartTls => Led::Broken(why.to_owned()),
        }
    }

    fn name_of(&self) -> &str {
        self.judged.facts.host
    }

    async fn shake_hands(&self, stream: BackendStream, attempt: &mut Attempt) {
        let limit = self.judged.strategy.tls_timeout;
        let shaken = match server_name(&self.judged.facts) {
            Ok(name) => {
                let connector = TlsConnector::from(self.peers.config.clone());
                let late = |_| Err(format!("the handshake took longer than {} s", limit.as_secs()));
                let shaken = timeout(limit, connector.connect(name, stream)).await;
                shaken.map_or_else(late, |shaken| shaken.map_err(|error| why_broken(&error)))
            }
            Err(untrusted) => Err(untrusted.to_string()),
        };
        match shaken {
            Ok(stream) => self.examine(stream, attempt).await,
            Err(why) => self.broken(&why, attempt),
        }
    }

    fn broken(&self, why: &str, attempt: &mut Attempt) {
        attempt.end(Err(self.judged.verdict.broken(why)));
        attempt.outcome = Some(self.judged.outcome(self.session(attempt), Event::Broken(why)));
    }

    async fn examine(&self, mut stream: TlsStream<BackendStream>, attempt: &mut Attempt) {
        let Judged { facts, verdict, .. } = self.judged;
        let examined = self.peers.examine(stream.get_ref().1, facts, verdict, UnixTime::now());
        attempt.shown(&examined.negotiated, &examined.shown);
        attempt.end(examined.permit.map(|permit| permit.assurance()));
        let mut outcome = self.judged.outcome(self.session(attempt), Event::Done(&examined.shown));
        // In TLS 1.3 it is only now that a server says that it does not like what it was shown.
        if let Err(error) = quit(&mut stream).await
            && error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
        {
            let why = why_broken(&error);
            outcome.broke_after_the_handshake(&why);
            attempt.end(Err(verdict.broken(&why)));
        }
        attempt.outcome = Some(outcome);
    }
}

/// Reads until a reply is whole.
async fn step(
    stream: &mut BackendStream,
    upgrade: &mut Upgrade,
    input: &mut Input,
    output: &mut Vec<u8>,
    stage: Stage,
    attempt: &mut Attempt,
) -> Result<Upgraded, String> {
    loop {
        let mut bytes = [0; READ];
        let count = stream.read(&mut bytes).await.map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("the server closed the connection".to_owned());
        }
        input.push(&bytes[..count]);
        if stage == Stage::Greeting {
            attempt.greeted(input.peek());
        }
        match upgrade.step(input, output) {
            Ok(Upgraded::More) if output.is_empty() => {}
            Ok(upgraded) => return Ok(upgraded),
            Err(Violation::InjectedBeforeTls) => {
                return Err("it says more than it was asked for, as somebody in between does".to_owned());
            }
            Err(_) => return Err("what it says is not SMTP".to_owned()),
        }
    }
}

/// Says QUIT, and waits for the answer.
async fn quit(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let farewell = async {
        stream.write_all(b"QUIT\r\n").await?;
        stream.flush().await?;
        stream.read(&mut [0; READ]).await.map(drop)
    };
    timeout(FAREWELL, farewell).await.unwrap_or(Ok(()))
}
