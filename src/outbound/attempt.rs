//! One attempt at one address of a mail host: from the connection to where an envelope could be sent.
//!
//! Promises that a conversation which can carry mail is handed out with a permit alone, and that each attempt has one line in the log
//! and one [`Outcome`] for the reports of RFC 8460.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use rustls::pki_types::UnixTime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    conversation::{Broken, Conversation},
    means::Means,
    prospect::Judged,
};
use crate::{
    net::connect::{self, BackendStream},
    policy::{
        outcome::{Event as Reached, Outcome, Session},
        strategy::LastError,
        verdict::{Assurance, Refusal},
    },
    proto::smtp::{
        Answer,
        remote::{Asked, Event, Settings},
    },
    telemetry::{Shown, Told},
    tls::{Permit, server_name, why_broken},
};

/// An attempt, and what is known of it so far.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    judged: &'a Judged<'a>,
    means: &'a Means,
    /// The number of the sender's session, for the log.
    session: u64,
    at: SocketAddr,
    own: IpAddr,
    began: Instant,
    helo: Option<String>,
    negotiated: String,
    outcome: Option<Outcome>,
}

/// A conversation that can carry mail.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) conversation: Conversation,
    pub(super) assurance: Assurance,
}

/// Connects to an address of a host.
///
/// # Errors
/// Why that cannot be, for the sender.
pub(super) async fn connect(means: &Means, host: &str, at: SocketAddr) -> Result<(BackendStream, IpAddr), Refusal> {
    let limit = means.queue.timeouts.connect;
    let (why, last_error) = match timeout(limit, connect::tcp(at, means.queue.source_for(at.ip()))).await {
        Ok(Ok(stream)) => match stream.ends() {
            Some((own, _)) => return Ok((stream, own.ip().to_canonical())),
            None => ("the connection is gone".to_owned(), LastError::Connection),
        },
        Ok(Err(error)) => (error.to_string(), LastError::Connection),
        Err(_) => (format!("no connection within {} s", limit.as_secs()), LastError::Timeout),
    };
    Err(Refusal::unreached(host, &format!("{}: {why}", at.ip()), last_error))
}

impl<'a> Attempt<'a> {
    /// An attempt at a host that was connected to at `at` from `own`.
    pub(super) fn new(means: &'a Means, judged: &'a Judged<'a>, session: u64, at: SocketAddr, own: IpAddr) -> Self {
        let (helo, outcome) = (None, None);
        Self { judged, means, session, at, own, began: Instant::now(), helo, negotiated: String::new(), outcome }
    }

    /// Goes on to where an envelope could be sent, and tells the log.
    ///
    /// # Errors
    /// Why it did not come that far.
    pub(super) async fn open(mut self, stream: BackendStream) -> Result<Opened, Refusal> {
        let settings = Settings {
            hostname: self.means.queue.ehlo_hostname.clone(),
            // RFC 5321 §3.2; where TLS is mandatory it leads nowhere.
            helo: self.judged.verdict.without_tls().is_ok(),
            eight_bit: self.means.queue.eight_bit,
        };
        let conversation =
            Conversation::new(stream, settings, self.means.queue.timeouts, self.judged.strategy.tls_timeout);
        let opened = self.greet(conversation).await;
        self.tell(opened.as_ref().map(|opened| opened.assurance));
        opened
    }

    async fn greet(&mut self, mut conversation: Conversation) -> Result<Opened, Refusal> {
        match conversation.next().await {
            Ok(Event::Ready) => {}
            Ok(Event::Refused { at, answer }) => return Err(self.refused(at, &answer.to_string())),
            Ok(_) => return Err(self.broken_off("an answer to nothing", LastError::UnexpectedReply)),
            Err(broken) => return Err(self.before_tls(&conversation, &broken)),
        }
        self.helo = conversation.remote.name().map(str::to_owned);
        if !self.judged.verdict.uses_tls() {
            return self.in_clear(conversation, None);
        }
        if !conversation.say(|remote, output| remote.start_tls(output)) {
            return self.in_clear(conversation, None);
        }
        match conversation.next().await {
            Ok(Event::StartTls(_)) => self.secure(conversation).await,
            Ok(Event::Refused { answer, .. }) => {
                let words = answer.to_string();
                if conversation.remote.is_reusable() {
                    self.in_clear(conversation, Some(&words))
                } else {
                    Err(self.tls_broken(&words))
                }
            }
            Ok(_) => Err(self.tls_broken("an answer to nothing")),
            Err(broken) => Err(self.tls_broken(&broken.to_string())),
        }
    }

    /// Goes on without TLS, if that is permitted. `words` are the server's, if it has refused it.
    fn in_clear(&mut self, conversation: Conversation, words: Option<&str>) -> Result<Opened, Refusal> {
        self.note(Reached::NotOffered(words));
        match Permit::in_clear(&self.judged.verdict) {
            Ok(permit) => Ok(Opened { conversation, assurance: permit.assurance() }),
            Err(refusal) => {
                conversation.leave();
                Err(refusal)
            }
        }
    }

    async fn secure(&mut self, conversation: Conversation) -> Result<Opened, Refusal> {
        let mut permit = Err(self.judged.verdict.broken("no handshake"));
        let secured = conversation.secure(async |stream| self.shake(stream, &mut permit).await).await;
        let mut conversation = secured.map_err(|why| self.tls_broken(&why))?;
        let assurance = match permit {
            Ok(permit) => permit.assurance(),
            Err(refusal) => {
                conversation.leave();
                return Err(refusal);
            }
        };
        match conversation.next().await {
            Ok(Event::Ready) => Ok(Opened { conversation, assurance }),
            Ok(Event::Refused { at, answer }) => Err(self.refused(at, &answer.to_string())),
            Ok(_) => Err(self.broken_off("an answer to nothing", LastError::UnexpectedReply)),
            Err(broken) if broken.is_of_tls() || matches!(broken, Broken::Closed(_)) => {
                // In TLS 1.3 it is only now that a server tells that it does not like what it was shown.
                let why = broken.to_string();
                if let Some(outcome) = &mut self.outcome {
                    outcome.broke_after_the_handshake(&why);
                }
                Err(self.judged.verdict.broken(&why))
            }
            Err(broken) => Err(self.before_tls(&conversation, &broken)),
        }
    }

    async fn shake(
        &mut self,
        stream: BackendStream,
        permit: &mut Result<Permit, Refusal>,
    ) -> Result<BackendStream, String> {
        let name = server_name(&self.judged.facts).map_err(|untrusted| untrusted.to_string())?;
        let limit = self.judged.strategy.tls_timeout;
        let connector = TlsConnector::from(self.means.peers.config.clone());
        let shaken = timeout(limit, connector.connect(name, stream)).await;
        let stream = shaken
            .map_err(|_| format!("the handshake took longer than {} s", limit.as_secs_f32()))?
            .map_err(|error| why_broken(&error))?;
        let Judged { facts, verdict, .. } = self.judged;
        let examined = self.means.peers.examine(stream.get_ref().1, facts, verdict, UnixTime::now());
        self.negotiated = examined.negotiated;
        self.note(Reached::Done(&examined.shown));
        *permit = examined.permit;
        Ok(BackendStream::Tls(Box::new(stream)))
    }

    fn refused(&self, at: Asked, words: &str) -> Refusal {
        match at {
            Asked::Greeting => Refusal::unreached(self.host(), words, LastError::Connection),
            _ => self.broken_off(words, LastError::UnexpectedReply),
        }
    }

    fn before_tls(&self, conversation: &Conversation, broken: &Broken) -> Refusal {
        let last_error = match broken {
            Broken::Late(..) => LastError::Timeout,
            Broken::Breach(_) => LastError::UnexpectedReply,
            Broken::Lost(_) | Broken::Closed(_) => LastError::Io,
        };
        match conversation.remote.awaits() {
            Some(Asked::Greeting) => Refusal::unreached(self.host(), &broken.to_string(), last_error),
            _ => self.broken_off(&broken.to_string(), last_error),
        }
    }

    fn broken_off(&self, why: &str, last_error: LastError) -> Refusal {
        Refusal::broken_off(self.host(), why, last_error)
    }

    fn tls_broken(&mut self, why: &str) -> Refusal {
        self.note(Reached::Broken(why));
        self.judged.verdict.broken(why)
    }

    fn host(&self) -> &str {
        self.judged.facts.host
    }

    fn note(&mut self, event: Reached<'_>) {
        let session = Session {
            sending_mta_ip: Some(self.own),
            receiving_mx_helo: self.helo.clone(),
            receiving_ip: Some(self.at.ip()),
            ..Session::default()
        };
        self.outcome = Some(self.judged.outcome(session, event));
    }

    /// The line in the log.
    fn tell(&self, opened: Result<Assurance, &Refusal>) {
        let (outcome, reason) = match opened {
            Ok(assurance) => (assurance.to_string(), String::new()),
            Err(refusal) => (format!("failed-{}", refusal.last_error.name()), refusal.to_string()),
        };
        tracing::info!(
            session = self.session,
            domain = self.judged.facts.next_hop.name,
            mx = self.host(),
            ip = %self.at.ip(),
            from = %self.own,
            strategy = %self.judged.strategy.id,
            verdict = %self.judged.verdict.decision,
            tls = %Shown(&self.negotiated),
            outcome,
            policies = Told(&self.outcome.as_ref().map(ToString::to_string).unwrap_or_default()).to_string(),
            ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason = Told(&reason).to_string(),
            "attempt"
        );
    }
}

/// The line in the log of a host, or an address of it, that was not talked to.
pub(super) fn tell_of_none(session: u64, domain: &str, mx: &str, ip: Option<IpAddr>, why: &Answer, error: LastError) {
    tracing::info!(
        session,
        domain,
        mx = %Shown(mx),
        ip = %ip.map(|ip| ip.to_string()).unwrap_or_default(),
        outcome = format!("failed-{}", error.name()),
        reason = Told(&why.to_string()).to_string(),
        "attempt"
    );
}

/// The line in the log of a host that the verdict keeps mail from.
pub(super) fn tell_of_refusal(session: u64, judged: &Judged<'_>, ip: Option<IpAddr>, refusal: &Refusal) {
    let known = Session { receiving_ip: ip, ..Session::default() };
    tracing::info!(
        session,
        domain = judged.facts.next_hop.name,
        mx = judged.facts.host,
        ip = %ip.map(|ip| ip.to_string()).unwrap_or_default(),
        strategy = %judged.strategy.id,
        verdict = %judged.verdict.decision,
        outcome = format!("failed-{}", refusal.last_error.name()),
        policies = Told(&judged.outcome(known, Reached::Refused).to_string()).to_string(),
        reason = Told(&refusal.to_string()).to_string(),
        "attempt"
    );
}
