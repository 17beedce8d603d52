//! From a recipient to a server that would take an envelope for it: one host after the other, one address after the other.
//!
//! Promises that a host is left for the next where it cannot be found, reached, talked to or trusted,
//! or cannot promise what mail with REQUIRETLS asks for, and for no other reason (RFC 5321 §5.1, RFC 7672 §2.2, RFC 8461 §5, RFC 8689
//! §4.2.1): what a server says of an envelope is its last word; that a second
//! attempt at the same address follows at once on TLS that has failed only where a rule then asks for something else.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use super::{
    attempt::{Attempt, Opened, Unopened, connect},
    conversation::Conversation,
    dns::Dns,
    ending::Ending,
    means::{Means, PORT},
    places::{Kind, Place},
    prospect::{Destination, Judged, Prospect, Scout},
    record,
    route::{Exchange, Unroutable},
};
use crate::{
    net::connect::BackendStream,
    policy::{
        dane::MxOf,
        strategy::{Facts as Message, LastError, Source, TlsStrategy},
        verdict::{Assurance, Decision, Refusal},
    },
    proto::smtp::Obstacle,
};

/// How many addresses are tried for one recipient: a domain with many dead hosts would use up the sender's patience.
const MOST_ADDRESSES: usize = 5;

/// A message on its way to one recipient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The number of the sender's session.
    pub(super) session: u64,
    /// By which listener it came.
    pub(super) listener: &'a str,
    /// The address of MAIL; empty for that of a notice.
    pub(super) sender: &'a str,
    /// Its domain.
    pub(super) sender_domain: &'a str,
    /// The address of RCPT.
    pub(super) recipient: &'a str,
    /// Where that is: a domain, or an address in brackets.
    pub(super) domain: &'a str,
    /// Whether it has REQUIRETLS (RFC 8689).
    pub(super) require_tls: bool,
}

/// A server that would take an envelope.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) conversation: Conversation,
    /// The host, by the name in the MX record.
    pub(super) mx: String,
    pub(super) at: SocketAddr,
    pub(super) own: IpAddr,
    pub(super) assurance: Assurance,
    /// Whether it is certain to be one of the domain's hosts, as far as mail with REQUIRETLS has to know.
    pub(super) is_certain: bool,
    /// The strategy that was chosen for the first attempt there.
    pub(super) strategy: Arc<TlsStrategy>,
    /// What it takes up.
    places: Vec<Place>,
}

/// How much of a domain cannot be had.
enum Missed {
    /// One address: there may be others.
    Address(Ending),
    /// One host: there may be others.
    Host(Ending),
    /// All of it.
    Domain(Ending),
}

impl Errand<'_> {
    /// What is known of it before a host is.
    pub(super) fn message(&self, means: &Means, now: SystemTime) -> Message<'_> {
        let (pair, domain) = (means.store.pair(self.sender, self.recipient, now), means.store.domain(self.domain, now));
        Message {
            listener: self.listener,
            source: if self.sender.is_empty() { Source::Dsn } else { Source::Unauthenticated },
            sender: self.sender,
            sender_domain: self.sender_domain,
            rcpt: self.recipient,
            rcpt_domain: self.domain,
            retry_num: pair.failures,
            last_error: pair.last_error,
            domain_failures: domain.failures,
            domain_last_error: domain.last_error,
            mx: None,
            mx_last_error: None,
            remote_ip: None,
            local_ip: None,
        }
    }
}

impl Reached {
    /// Whether a message for another recipient of the domain goes the same way.
    pub(super) fn suits(&self, means: &Means, errand: &Errand<'_>) -> bool {
        if errand.require_tls && self.breaks_promise().is_some() {
            return false;
        }
        let now = SystemTime::now();
        let message = Message {
            mx: Some(&self.mx),
            mx_last_error: Some(means.store.host(&self.mx, now).last_error),
            remote_ip: Some(self.at.ip()),
            local_ip: Some(self.own),
            ..errand.message(means, now)
        };
        means.queue.tls.choose(&message) == Some(&self.strategy)
    }

    /// What keeps mail with REQUIRETLS from it, if anything does.
    fn breaks_promise(&self) -> Option<Obstacle> {
        match (self.is_certain, self.conversation.remote.offered().require_tls) {
            (true, true) => None,
            (true, false) => Some(Obstacle::NoRequireTls),
            (false, _) => Some(Obstacle::Uncertain),
        }
    }
}

/// Finds a server for a recipient.
///
/// # Errors
/// Why there is none.
pub(super) async fn reach(means: &Means, errand: &Errand<'_>) -> Result<Reached, Ending> {
    means.store.settled().await;
    let mut walk = Walk { means, scout: means.scout(), errand, places: Vec::new(), tried: 0 };
    let found = walk.go().await;
    if let Err(ending) = &found
        && ending.last_error != LastError::None
    {
        means.store.domain_failed(errand.domain, ending.last_error, SystemTime::now());
    }
    found
}

/// The way from host to host.
struct Walk<'a> {
    means: &'a Means,
    scout: Scout<'a, Dns>,
    errand: &'a Errand<'a>,
    /// What it takes up.
    places: Vec<Place>,
    /// Addresses so far.
    tried: usize,
}

impl Walk<'_> {
    async fn go(&mut self) -> Result<Reached, Ending> {
        let limits = self.means.queue.limits;
        let domain = Kind::Domain(self.errand.domain.to_owned());
        for (kind, most) in [(Kind::All, limits.sessions), (domain, limits.domain)] {
            let place = self.place(kind, most).await?;
            self.places.push(place);
        }
        let message = self.errand.message(self.means, SystemTime::now());
        let destination = self.scout.destination(self.errand.domain, &message).await;
        let destination = destination.map_err(|why| self.unroutable(&why))?;
        let mut last = None;
        for exchange in &destination.route.exchanges {
            match self.host(&destination, exchange, &message).await {
                Ok(reached) => return Ok(reached),
                // What has failed before it may be there again tomorrow.
                Err(Missed::Domain(ending)) => return Err(last.unwrap_or(ending)),
                // Nor is one refused for good while another may be there tomorrow.
                Err(Missed::Host(ending) | Missed::Address(ending)) => {
                    last =
                        last.filter(|last| last.answer.is_temporary() && ending.answer.is_permanent()).or(Some(ending));
                }
            }
            if self.tried >= MOST_ADDRESSES {
                break;
            }
        }
        Err(last.unwrap_or_else(Ending::no_address))
    }

    async fn place(&self, kind: Kind, most: usize) -> Result<Place, Ending> {
        let what = kind.to_string();
        let place = self.means.places.take(kind, most, self.means.queue.timeouts.place).await;
        place.ok_or_else(|| Ending {
            answer: Obstacle::LocalLimit.answer(&format!("{most} sessions {what}")),
            last_error: LastError::Concurrency,
        })
    }

    async fn host(
        &mut self,
        destination: &Destination,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Result<Reached, Missed> {
        let past = self.means.store.host(&exchange.name, SystemTime::now());
        let message = Message { mx: Some(&exchange.name), mx_last_error: Some(past.last_error), ..message.clone() };
        let prospect = match self.scout.prospect(destination, exchange, &message).await {
            Ok(prospect) => prospect,
            Err(fault) => {
                let ending = Ending { answer: fault.answer(&exchange.name), last_error: LastError::Dns };
                self.pass_by(&exchange.name, None, &ending);
                return Err(if fault.is_the_end() { Missed::Domain(ending) } else { Missed::Host(ending) });
            }
        };
        self.may_be_sent_to(destination, &prospect, &message)?;
        let mut last = None;
        for ip in &prospect.host.addresses {
            if self.tried >= MOST_ADDRESSES {
                break;
            }
            self.tried += 1;
            let message = Message { remote_ip: Some(*ip), ..message.clone() };
            match self.address(destination, &prospect, &message, SocketAddr::new(*ip, PORT)).await {
                Err(Missed::Address(ending)) => last = Some(ending),
                reached => return reached,
            }
        }
        Err(Missed::Host(last.unwrap_or_else(Ending::no_address)))
    }

    /// Whether any strategy that may hold lets mail go to the host: otherwise it is not connected to.
    fn may_be_sent_to(
        &self,
        destination: &Destination,
        prospect: &Prospect,
        message: &Message<'_>,
    ) -> Result<(), Missed> {
        let possible = self.means.queue.tls.possible(message);
        let all: Vec<_> = possible.into_iter().map(|strategy| prospect.judge(destination, strategy)).collect();
        match all.first() {
            Some(judged) if !all.iter().any(Judged::may_send) => self.permitted(judged, None),
            _ => Ok(()),
        }
    }

    /// Whether a verdict lets mail go to the host.
    fn permitted(&self, judged: &Judged<'_>, ip: Option<IpAddr>) -> Result<(), Missed> {
        let (refusal, missed): (_, fn(Ending) -> Missed) = match &judged.verdict.decision {
            Decision::Send(_) => return Ok(()),
            Decision::Skip(refusal) => (refusal, Missed::Host),
            Decision::Delay(refusal) => (refusal, Missed::Domain),
        };
        record::kept_from(self.errand.session, judged, ip, refusal);
        self.means.store.host_failed(judged.facts.host, refusal.last_error, SystemTime::now());
        Err(missed(Ending::from(refusal)))
    }

    async fn address(
        &mut self,
        destination: &Destination,
        prospect: &Prospect,
        message: &Message<'_>,
        at: SocketAddr,
    ) -> Result<Reached, Missed> {
        let mx = &prospect.host.name;
        let place = self.place(Kind::Host(at.ip()), self.means.queue.limits.host).await;
        let place = place.map_err(|ending| self.missed(mx, at.ip(), ending))?;
        let (stream, own) = connect(&self.means.queue, mx, at)
            .await
            .map_err(|refusal| self.missed(mx, at.ip(), Ending::from(&refusal)))?;
        let mut message = Message { local_ip: Some(own), ..message.clone() };
        // With the connection everything is known.
        let Some(strategy) = self.means.queue.tls.choose(&message) else {
            return Err(Missed::Host(Ending::no_address()));
        };
        let mut judged = prospect.judge(destination, strategy);
        self.permitted(&judged, Some(at.ip()))?;
        let mut opened = self.attempt(&judged, at, own, stream).await;
        for _ in 0..self.means.queue.immediate_retries {
            let Err(refusal) = &opened else { break };
            // On weaker terms it would not be one for mail with REQUIRETLS.
            let next = self.scout.again(&judged, refusal, &message).filter(|_| !self.errand.require_tls);
            let Some(next) = next else { break };
            judged = next;
            message = Message { retry_num: message.retry_num + 1, last_error: refusal.last_error, ..message };
            opened = match connect(&self.means.queue, mx, at).await {
                Ok((stream, own)) => self.attempt(&judged, at, own, stream).await,
                Err(refusal) => Err(refusal),
            };
        }
        match opened {
            Ok(Opened { conversation, assurance }) => {
                self.places.push(place);
                let (places, strategy) = (std::mem::take(&mut self.places), strategy.clone());
                // RFC 8689 §4.2.1: by a signed MX record and any certificate that holds, or by a policy.
                let is_signed = destination.route.next_hop().mx != MxOf::Insecure;
                let is_certain = assurance == Assurance::Verified || (assurance == Assurance::Trusted && is_signed);
                let mx = mx.clone();
                self.promised(Reached { conversation, mx, at, own, assurance, is_certain, strategy, places })
            }
            Err(refusal) => {
                self.means.store.host_failed(mx, refusal.last_error, SystemTime::now());
                Err(Missed::Address(Ending::from(&refusal)))
            }
        }
    }

    /// A server that keeps what mail with REQUIRETLS asks for, if this is such.
    fn promised(&mut self, mut reached: Reached) -> Result<Reached, Missed> {
        let Some(obstacle) = reached.breaks_promise().filter(|_| self.errand.require_tls) else { return Ok(reached) };
        let (ip, ending) = (reached.at.ip(), Ending::kept_from(obstacle, &reached.mx));
        record::passed_by(
            self.errand.session,
            self.errand.domain,
            &reached.mx,
            Some(ip),
            &ending.answer,
            ending.last_error,
        );
        self.places = std::mem::take(&mut reached.places);
        // That of the host: the others are taken once.
        self.places.pop();
        // Nobody waits for its leave.
        tokio::spawn(reached.conversation.leave());
        // That says nothing of the domain for other mail.
        Err(Missed::Host(Ending { last_error: LastError::None, ..ending }))
    }

    /// One attempt, and its line in the log.
    async fn attempt(
        &self,
        judged: &Judged<'_>,
        at: SocketAddr,
        own: IpAddr,
        stream: BackendStream,
    ) -> Result<Opened, Refusal> {
        let mut attempt = Attempt::new(&self.means.queue, &self.means.peers, judged, at, own);
        let opened = attempt.open(stream).await;
        record::attempted(self.errand.session, &attempt, &opened);
        opened.map_err(|Unopened { refusal, conversation }| {
            // Nobody waits for its leave.
            conversation.map(|conversation| tokio::spawn(conversation.leave()));
            refusal
        })
    }

    fn unroutable(&self, why: &Unroutable) -> Ending {
        let domain = self.errand.domain;
        let answer = why.answer(domain);
        record::passed_by(self.errand.session, domain, "", None, &answer, LastError::Dns);
        Ending { answer, last_error: LastError::Dns }
    }

    /// An address that was not talked to.
    fn missed(&self, mx: &str, ip: IpAddr, ending: Ending) -> Missed {
        self.pass_by(mx, Some(ip), &ending);
        Missed::Address(ending)
    }

    fn pass_by(&self, mx: &str, ip: Option<IpAddr>, ending: &Ending) {
        record::passed_by(self.errand.session, self.errand.domain, mx, ip, &ending.answer, ending.last_error);
        self.means.store.host_failed(mx, ending.last_error, SystemTime::now());
    }
}
