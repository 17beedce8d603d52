//! The way to a backend as a TLS strategy has it (`backend.<id>.tls.strategy`): what mail servers of the world are held to,
//! as far as a backend can be. There are no MX records and there is no MTA-STS policy: the operator names the host.
//!
//! Promises that a session goes on in clear only where the strategy, and DNS, let it, and the backend has no TLS; that a
//! certificate is held against TLSA records where DNSSEC vouches for some (RFC 7672 §2.2, for a host that is named, §2.2.3);
//! that what cannot be looked up is a failure of that address, and never the answer that there is nothing.

use std::sync::Arc;

use rustls::pki_types::UnixTime;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::{
    Backend, Target,
    opening::{Opened, Unopened, refused},
    request::Request,
};
use crate::{
    config::Families,
    net::connect::BackendStream,
    outbound::{
        dns::Dns,
        route::{Exchange, Host, HostFault, Ourselves, Targets},
    },
    policy::{
        dane::{Asked, Dane, MxOf, NextHop, NotAsked},
        mta_sts::{Standing, Unasked},
        strategy::{LastError, Requirement, TlsStrategy},
        verdict::{Decision, Facts, Refusal, Verdict, decide},
    },
    proto::upgrade::{self, Stage, Upgraded},
    telemetry::Told,
    tls::{ClientFault, Peers, Permit, server_name, why_broken},
};

/// Who knows the way.
#[derive(Debug)]
pub struct Guide {
    strategy: Arc<TlsStrategy>,
    peers: Peers,
    dns: Option<Arc<Dns>>,
}

impl Guide {
    /// One who follows a strategy, and asks `dns` for TLSA records; `None` where nothing of DNSSEC is believed.
    #[must_use]
    pub fn new(strategy: Arc<TlsStrategy>, peers: Peers, dns: Option<Arc<Dns>>) -> Self {
        Self { strategy, peers, dns }
    }

    /// What the TLSA records of a place come to.
    async fn dane(&self, target: &Target) -> Dane {
        Dane::of(match (self.strategy.dane, &self.dns, target) {
            (Requirement::Disable, ..) => Asked::Not(NotAsked::Disabled),
            (_, _, Target::Tcp(_, None) | Target::Unix(_) | Target::Embedded) => Asked::Not(NotAsked::Literal),
            (_, None, _) => Asked::Not(NotAsked::Unbelieved),
            (_, Some(dns), Target::Tcp(address, Some(name))) => ask(dns, name, address.port()).await,
            (_, Some(dns), Target::Name(name, port)) => ask(dns, name, *port).await,
        })
    }

    /// A refusal, with what can be done about it.
    fn fault(&self, refusal: &Refusal) -> Unopened {
        let right = match refusal.last_error {
            LastError::Dns => "is the resolver of [resolver] well?".to_owned(),
            _ => format!("correct it there, or have queue.tls.{} ask for less", self.strategy.id),
        };
        Unopened::Unsecured(ClientFault::new(&refusal.text, right).to_string())
    }
}

/// Asks for the TLSA records of the service at a port of a host. Where it is connected to is looked up elsewhere: here its
/// addresses say whether DNSSEC vouches for the zone (RFC 7672 §2.2.2).
async fn ask(dns: &Dns, name: &str, port: u16) -> Asked {
    let (nobody, families) = (Ourselves::default(), Families::default());
    let targets = Targets { port, families, may_be_local: true, ourselves: &nobody };
    let exchange = Exchange { preference: 0, name: name.to_owned(), address: None };
    match Host::find(dns, &exchange, &targets).await {
        Ok(host) => host.own_tlsa(dns, port).await,
        Err(HostFault::Lookup(error)) => Asked::Failed { base: name.to_owned(), error },
        // The machine itself knows it, by /etc/hosts.
        Err(_) => Asked::Not(NotAsked::InsecureAddress),
    }
}

impl Backend {
    /// Brings a connection to where a session can begin, as the strategy says.
    pub(super) async fn guided(&self, guide: &Guide, stream: BackendStream, target: &Target) -> Opened {
        let (host, dane) = (target.host(), guide.dane(target).await);
        let next_hop = NextHop { name: &host, expanded: None, mx: MxOf::None };
        let facts = Facts { next_hop, host: &host, dane: &dane, sts: &Standing::Unasked(Unasked::Disabled) };
        let verdict = decide(&guide.strategy, &facts);
        match &verdict.decision {
            Decision::Skip(refusal) | Decision::Delay(refusal) => Err(guide.fault(refusal)),
            Decision::Send(_) if !verdict.uses_tls() => {
                Permit::in_clear(&verdict).map_err(|refusal| guide.fault(&refusal))?;
                self.greet(stream).await
            }
            Decision::Send(_) => Guided { backend: self, guide, facts, verdict: &verdict }.ask_for_tls(stream).await,
        }
    }
}

/// A connection on its way to TLS.
struct Guided<'a> {
    backend: &'a Backend,
    guide: &'a Guide,
    facts: Facts<'a>,
    verdict: &'a Verdict,
}

impl Guided<'_> {
    async fn ask_for_tls(&self, mut stream: BackendStream) -> Opened {
        let mut request = Request::new(self.backend.protocol, &self.backend.settings.hostname);
        while request.stage() != Stage::StartTls {
            if let Upgraded::Refused(refusal) = request.hear(&mut stream).await? {
                return self.without_tls(stream, request, &refusal);
            }
        }
        let end = Instant::now() + self.guide.strategy.tls_timeout;
        if let Upgraded::Refused(refusal) = self.by(end, request.hear(&mut stream)).await? {
            return self.without_tls(stream, request, &refusal);
        }
        let stream = self.by(end, self.shake_hands(stream)).await?;
        self.backend.greet_again(stream).await
    }

    /// Waits no longer than STARTTLS and the handshake may take.
    async fn by<T>(&self, end: Instant, work: impl Future<Output = Result<T, Unopened>>) -> Result<T, Unopened> {
        let late = |_| Err(self.broken(&format!("no TLS within {:?}", self.guide.strategy.tls_timeout)));
        timeout_at(end, work).await.unwrap_or_else(late)
    }

    /// Goes on in clear, if that may be, where there is a session to go on with.
    fn without_tls(&self, stream: BackendStream, request: Request, refusal: &upgrade::Refusal) -> Opened {
        if refusal.at == Stage::Greeting {
            return Err(Unopened::Unsecured(refused(refusal).to_string()));
        }
        Permit::in_clear(self.verdict).map_err(|refusal| self.guide.fault(&refusal))?;
        if !refusal.session_goes_on {
            let what = format!("it has no TLS, and no session can go on behind what it said: {}", Told(&refusal.said));
            return Err(Unopened::Unsecured(ClientFault::new(what, "its own log may say more").to_string()));
        }
        tracing::debug!(
            backend = self.backend.id(),
            host = self.facts.host,
            "there is no TLS: a session goes on in clear"
        );
        Ok((stream, request.into_greeting()))
    }

    async fn shake_hands(&self, stream: BackendStream) -> Result<BackendStream, Unopened> {
        let name = server_name(&self.facts).map_err(|untrusted| self.broken(&untrusted.to_string()))?;
        let shaken = TlsConnector::from(self.guide.peers.config.clone()).connect(name, stream).await;
        let stream = shaken.map_err(|error| self.broken(&why_broken(&error)))?;
        let examined = self.guide.peers.examine(stream.get_ref().1, &self.facts, self.verdict, UnixTime::now());
        let permit = examined.permit.map_err(|refusal| self.guide.fault(&refusal))?;
        let (tls, assurance) = (examined.negotiated, permit.assurance());
        tracing::debug!(backend = self.backend.id(), host = self.facts.host, tls, %assurance, "a session goes on in TLS");
        Ok(BackendStream::Tls(Box::new(stream)))
    }

    fn broken(&self, why: &str) -> Unopened {
        self.guide.fault(&self.verdict.broken(why))
    }
}
