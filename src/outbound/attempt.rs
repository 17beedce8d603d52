//! One attempt at one address of a mail host: from the connection to where an envelope could be sent.
//!
//! Promises that a conversation which can carry mail is handed out with a permit alone, and that each attempt which came as far as to
//! say something of TLS has one [`Outcome`] for the reports of RFC 8460. Mail and `mailward probe` go the same way here.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use rustls::pki_types::UnixTime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    conversation::{Broken, Conversation},
    prospect::Judged,
};
use crate::{
    config::Queue,
    net::connect::{self, BackendStream},
    policy::{
        evidence::Shown,
        outcome::{Event as Reached, Outcome, Session},
        strategy::LastError,
        verdict::{Assurance, Refusal},
    },
    proto::smtp::{
        Remote,
        remote::{Asked, Event, Settings},
    },
    tls::{Peers, Permit, server_name, why_broken},
};

/// An attempt.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    /// How mail may go to the host.
    pub(crate) judged: &'a Judged<'a>,
    /// Where it is.
    pub(crate) at: SocketAddr,
    /// From where it was connected to.
    pub(crate) own: IpAddr,
    /// When that was.
    pub(crate) began: Instant,
    /// What was seen of it so far.
    pub(crate) seen: Seen,
    queue: &'a Queue,
    peers: &'a Peers,
}

/// What was seen of a host.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The first line of its greeting.
    pub(crate) greeting: Option<String>,
    /// The version and the suite of TLS.
    pub(crate) negotiated: String,
    /// What its certificate is worth.
    pub(crate) shown: Option<Shown>,
    /// What that means for reports.
    pub(crate) outcome: Option<Outcome>,
    /// What it calls itself.
    helo: Option<String>,
}

/// A conversation that can carry mail.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) conversation: Conversation,
    pub(crate) assurance: Assurance,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) refusal: Refusal,
    /// Of a server that is still there, and waits to be taken leave of.
    pub(crate) conversation: Option<Box<Conversation>>,
}

/// It has broken off.
impl From<Refusal> for Unopened {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, conversation: None }
    }
}

/// Connects to an address of a host, and tells from which of ours.
///
/// # Errors
/// Why that cannot be, for the sender.
pub(crate) async fn connect(queue: &Queue, host: &str, at: SocketAddr) -> Result<(BackendStream, IpAddr), Refusal> {
    let limit = queue.timeouts.connect;
    let (why, last_error) = match timeout(limit, connect::tcp(at, queue.source_for(at.ip()))).await {
        Ok(Ok(stream)) => match stream.ends() {
            Some((own, _)) => return Ok((stream, own.ip().to_canonical())),
            None => ("the connection is gone".to_owned(), LastError::Connection),
        },
        Ok(Err(error)) => (error.to_string(), LastError::Connection),
        Err(_) => (format!("no connection within {} s", limit.as_secs_f32()), LastError::Timeout),
    };
    Err(Refusal::unreached(host, &format!("{}: {why}", at.ip()), last_error))
}

impl<'a> Attempt<'a> {
    /// An attempt at a host that was connected to at `at` from `own`.
    pub(crate) fn new(queue: &'a Queue, peers: &'a Peers, judged: &'a Judged<'a>, at: SocketAddr, own: IpAddr) -> Self {
        Self { judged, at, own, began: Instant::now(), seen: Seen::default(), queue, peers }
    }

    /// Goes on to where an envelope could be sent.
    ///
    /// # Errors
    /// Why it did not come that far.
    pub(crate) async fn open(&mut self, stream: BackendStream) -> Result<Opened, Unopened> {
        let settings = Settings {
            hostname: self.queue.ehlo_hostname.clone(),
            // RFC 5321 §3.2; where TLS is mandatory it leads nowhere.
            helo: self.judged.verdict.without_tls().is_ok(),
            eight_bit: self.queue.eight_bit,
        };
        let mut conversation =
            Conversation::new(stream, settings, self.queue.timeouts, self.judged.strategy.tls_timeout);
        let greeted = conversation.next().await;
        self.seen.greeting = conversation.remote.greeting().map(str::to_owned);
        self.seen.helo = conversation.remote.name().map(str::to_owned);
        match greeted {
            Ok(Event::Ready) => self.ask_for_tls(conversation).await,
            heard => Err(self.not_ready(heard, conversation)),
        }
    }

    /// The server has said hello.
    async fn ask_for_tls(&mut self, mut conversation: Conversation) -> Result<Opened, Unopened> {
        if !self.judged.verdict.uses_tls() || !conversation.say(|remote, output| remote.start_tls(output)) {
            return self.in_clear(conversation, None);
        }
        match conversation.next().await {
            Ok(Event::StartTls(_)) => self.secure(conversation).await,
            Ok(Event::Refused { answer, .. }) => {
                let words = answer.to_string();
                if conversation.remote.is_reusable() {
                    self.in_clear(conversation, Some(&words))
                } else {
                    Err(self.tls_broken(&words).into())
                }
            }
            Ok(_) => Err(self.tls_broken(NOTHING_ASKED).into()),
            Err(broken) => Err(self.tls_broken(&broken.to_string()).into()),
        }
    }

    /// Goes on without TLS, if that is permitted. `words` are the server's, if it has refused it.
    fn in_clear(&mut self, conversation: Conversation, words: Option<&str>) -> Result<Opened, Unopened> {
        self.note(Reached::NotOffered(words));
        permitted(Permit::in_clear(&self.judged.verdict), conversation)
    }

    async fn secure(&mut self, conversation: Conversation) -> Result<Opened, Unopened> {
        let mut permit = Err(self.judged.verdict.broken("no handshake"));
        let secured = conversation.secure(async |stream| self.shake(stream, &mut permit).await).await;
        let secured = secured.map_err(|why| self.tls_broken(&why))?;
        let mut opened = permitted(permit, secured)?;
        opened.conversation.say(Remote::secured);
        match opened.conversation.next().await {
            Ok(Event::Ready) => Ok(opened),
            Err(broken) if broken.is_of_tls() || matches!(broken, Broken::Closed(_)) => {
                // In TLS 1.3 it is only now that a server tells that it does not like what it was shown.
                let why = broken.to_string();
                if let Some(outcome) = &mut self.seen.outcome {
                    outcome.broke_after_the_handshake(&why);
                }
                Err(self.judged.verdict.broken(&why).into())
            }
            heard => Err(self.not_ready(heard, opened.conversation)),
        }
    }

    async fn shake(
        &mut self,
        stream: BackendStream,
        permit: &mut Result<Permit, Refusal>,
    ) -> Result<BackendStream, String> {
        let name = server_name(&self.judged.facts).map_err(|untrusted| untrusted.to_string())?;
        let limit = self.judged.strategy.tls_timeout;
        let connector = TlsConnector::from(self.peers.config.clone());
        let shaken = timeout(limit, connector.connect(name, stream)).await;
        let stream = shaken
            .map_err(|_| format!("the handshake took longer than {} s", limit.as_secs_f32()))?
            .map_err(|error| why_broken(&error))?;
        let Judged { facts, verdict, .. } = self.judged;
        let examined = self.peers.examine(stream.get_ref().1, facts, verdict, UnixTime::now());
        self.note(Reached::Done(&examined.shown));
        (self.seen.negotiated, self.seen.shown) = (examined.negotiated, Some(examined.shown));
        *permit = examined.permit;
        Ok(BackendStream::Tls(Box::new(stream)))
    }

    /// The server has done something else than greet.
    fn not_ready(&self, heard: Result<Event, Broken>, conversation: Conversation) -> Unopened {
        match heard {
            Ok(Event::Refused { at, answer }) => {
                let last_error = match at {
                    Asked::Greeting => LastError::Connection,
                    _ => LastError::UnexpectedReply,
                };
                let refusal = self.cut_short(Some(at), &answer.to_string(), last_error);
                Unopened { refusal, conversation: Some(Box::new(conversation)) }
            }
            Ok(_) => self.cut_short(None, NOTHING_ASKED, LastError::UnexpectedReply).into(),
            Err(broken) => {
                self.cut_short(conversation.remote.awaits(), &broken.to_string(), broken.last_error()).into()
            }
        }
    }

    /// Why it did not come as far as TLS, or to anything inside it. A server that does not greet is one that is not there.
    fn cut_short(&self, at: Option<Asked>, why: &str, last_error: LastError) -> Refusal {
        let host = self.judged.facts.host;
        match at {
            Some(Asked::Greeting) => Refusal::unreached(host, why, last_error),
            _ => Refusal::broken_off(host, why, last_error),
        }
    }

    fn tls_broken(&mut self, why: &str) -> Refusal {
        self.note(Reached::Broken(why));
        self.judged.verdict.broken(why)
    }

    fn note(&mut self, event: Reached<'_>) {
        let session = Session {
            sending_mta_ip: Some(self.own),
            receiving_mx_helo: self.seen.helo.clone(),
            receiving_ip: Some(self.at.ip()),
            ..Session::default()
        };
        self.seen.outcome = Some(self.judged.outcome(session, event));
    }
}

/// What a server has said out of turn.
const NOTHING_ASKED: &str = "an answer to nothing";

fn permitted(permit: Result<Permit, Refusal>, conversation: Conversation) -> Result<Opened, Unopened> {
    match permit {
        Ok(permit) => Ok(Opened { conversation, assurance: permit.assurance() }),
        Err(refusal) => Err(Unopened { refusal, conversation: Some(Box::new(conversation)) }),
    }
}
