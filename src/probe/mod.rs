//! `mailward probe`: what would happen to mail for a domain, step by step, from its MX records to the certificates of
//! its hosts.
//!
//! Promises that no envelope is ever sent (MAIL is never said), that each session ends with QUIT, and that every wait
//! is bounded; that the verdicts are those of mail itself, by `outbound::prospect`, and so are the sessions, by
//! `outbound::attempt`; that what is told is what the sender would be told; that the MTA-STS policy is fetched now.

mod report;
mod text;

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, timeout_at},
};

pub use self::{
    report::{Attempt, Certificate, Host, Policy, Report, Resolver, Route, Tlsa, TlsaRecord},
    text::text,
};
use crate::{
    config::{Config, Queue, is_host_name},
    net::connect::BackendStream,
    outbound::{
        attempt::{self, Opened, Unopened, connect},
        dns::{Dns, Settings},
        policies::Policies,
        prospect::{Destination, Judged, Prospect, Scout},
        route::{Exchange, Ourselves, Targets},
        store::Store,
    },
    policy::strategy::{Facts as Message, LastError, Source},
    tls::{Peers, roots_with_system},
};

/// How long all hosts of a domain may take: a sender waits five minutes for the answer to RCPT (RFC 5321 §4.5.3.2.3).
const TOTAL: Duration = Duration::from_secs(240);

/// How many addresses of a host are tried.
const MOST_ADDRESSES: usize = 5;

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Question {
    /// The recipient's domain: a name in lower-case A-labels, or an address in brackets.
    domain: String,
    /// The sender's address; empty for that of a notice.
    sender: String,
    /// The recipient's address.
    recipient: String,
    /// The only host to look at.
    host: Option<String>,
    /// The port that is connected to.
    port: u16,
    /// Whether hosts are connected to.
    connects: bool,
}

impl Question {
    /// What would become of mail from `sender` (by default that of a notice) to `recipient` (by default postmaster) of
    /// `domain`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(domain: &str, sender: Option<&str>, recipient: Option<&str>) -> Result<Self, String> {
        let name = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        if !name.starts_with('[') && !is_host_name(&name) {
            return Err(format!(
                "{domain:?} is no domain; write a name of letters, digits, '-' and '.' (xn--… where it has others)"
            ));
        }
        let sender = sender.unwrap_or_default().trim_start_matches('<').trim_end_matches('>').to_owned();
        if !sender.is_empty() && domain_of(&sender).is_none() {
            return Err(format!("{sender:?} is no address of a sender; write one, or leave it out"));
        }
        let recipient = recipient.map_or_else(|| format!("postmaster@{name}"), str::to_owned);
        match domain_of(&recipient) {
            Some(of) if of.eq_ignore_ascii_case(&name) => {}
            _ => return Err(format!("{recipient:?} is no address in {name}")),
        }
        Ok(Self { domain: name, sender, recipient, host: None, port: 25, connects: true })
    }

    /// The same of one host alone, at another port, or of what can be said without a connection.
    #[must_use]
    pub fn at(self, host: Option<String>, port: u16, connects: bool) -> Self {
        Self { host, port, connects, ..self }
    }

    fn message<'q>(&'q self, config: &'q Config) -> Message<'q> {
        // Rules may ask for the listener; where there is one alone, mail can come by no other.
        let mut relays = config.relays.keys();
        let listener = relays.next().filter(|_| relays.next().is_none());
        Message {
            listener: listener.map_or("", String::as_str),
            source: if self.sender.is_empty() { Source::Dsn } else { Source::Unauthenticated },
            sender: &self.sender,
            sender_domain: domain_of(&self.sender).unwrap_or_default(),
            rcpt: &self.recipient,
            rcpt_domain: &self.domain,
            retry_num: 0,
            last_error: LastError::None,
            domain_failures: 0,
            domain_last_error: LastError::None,
            mx: None,
            mx_last_error: Some(LastError::None),
            remote_ip: None,
            local_ip: None,
        }
    }
}

fn domain_of(address: &str) -> Option<&str> {
    address.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty()).map(|(_, domain)| domain)
}

/// Finds out what would become of mail.
///
/// # Errors
/// A runtime or roots that cannot be had, or a host that the domain does not have.
pub fn probe(config: &Config, question: &Question) -> Result<Report, String> {
    let peers = Peers::new(&config.server.ca)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let report = runtime.block_on(examine(config, question, &peers));
    // A fetch that hangs holds nobody up.
    runtime.shutdown_background();
    report
}

async fn examine(config: &Config, question: &Question, peers: &Peers) -> Result<Report, String> {
    let dns = Arc::new(Dns::new(Settings::of(&config.resolver)?));
    dns.test().await;
    let roots = roots_with_system(&config.server.ca)?;
    let policies = Policies::new(roots, dns.clone(), Store::default(), Handle::current())?;
    let ourselves = Ourselves::of(config);
    let queue = &config.queue;
    let targets = Targets {
        port: question.port,
        families: queue.ip_strategy,
        may_be_local: queue.local_targets,
        ourselves: &ourselves,
    };
    let scout = Scout { lookup: &*dns, policies: &policies, strategies: &queue.tls, targets };
    let message = question.message(config);
    let mut report = Report::new(question, &dns);
    let destination = match scout.destination(&question.domain, &message).await {
        Ok(destination) => destination,
        Err(why) => {
            report.refuse(&why.answer(&question.domain));
            return Ok(report);
        }
    };
    report.found(&destination);
    let exchanges = chosen(&destination, question)?;
    let prober = Prober { scout, destination: &destination, message, question, peers, queue };
    prober.go_through(&exchanges, &mut report).await;
    Ok(report)
}

/// The hosts to look at.
fn chosen<'d>(destination: &'d Destination, question: &Question) -> Result<Vec<&'d Exchange>, String> {
    let all = &destination.route.exchanges;
    let Some(only) = &question.host else { return Ok(all.iter().collect()) };
    let only = only.strip_suffix('.').unwrap_or(only);
    let found: Vec<_> = all.iter().filter(|exchange| exchange.name.eq_ignore_ascii_case(only)).collect();
    if found.is_empty() {
        let names: Vec<_> = all.iter().map(|exchange| exchange.name.as_str()).collect();
        return Err(format!("{} has no host {only}; there are: {}", question.domain, names.join(", ")));
    }
    Ok(found)
}

/// Goes from host to host.
struct Prober<'a> {
    scout: Scout<'a, Dns>,
    destination: &'a Destination,
    message: Message<'a>,
    question: &'a Question,
    peers: &'a Peers,
    queue: &'a Queue,
}

impl Prober<'_> {
    async fn go_through(&self, exchanges: &[&Exchange], report: &mut Report) {
        let end = Instant::now() + TOTAL;
        for exchange in exchanges {
            let mut host = Host::new(exchange);
            let looked = timeout_at(end, self.look_at(exchange, &mut host)).await;
            let after = looked.unwrap_or_else(|_| {
                host.refused = Some(format!("451 4.4.1 no time is left after {} s", TOTAL.as_secs()));
                After::Stop
            });
            report.add(host);
            if after == After::Stop {
                return;
            }
        }
    }

    async fn look_at(&self, exchange: &Exchange, host: &mut Host) -> After {
        let message = Message { mx: Some(&exchange.name), ..self.message.clone() };
        let prospect = match self.scout.prospect(self.destination, exchange, &message).await {
            Ok(prospect) => prospect,
            Err(fault) => {
                host.cannot_be_had(&fault);
                return if fault.is_the_end() { After::Stop } else { After::GoOn };
            }
        };
        host.found(&prospect, self.destination);
        if self.question.connects {
            self.visit_all(&prospect, &message, host).await;
        } else {
            self.judge_alone(&prospect, &message, host);
        }
        if host.is_delayed() { After::Stop } else { After::GoOn }
    }

    /// What can be said without a connection: of each strategy that may hold at the host's first address.
    fn judge_alone(&self, prospect: &Prospect, message: &Message<'_>, host: &mut Host) {
        let message = Message { remote_ip: prospect.host.addresses.first().copied(), ..message.clone() };
        for strategy in self.scout.strategies.possible(&message) {
            host.attempts.push(Attempt::without_connection(&prospect.judge(self.destination, strategy)));
        }
    }

    /// Connects to one address after the other, until mail would go; to none where no strategy would let it.
    async fn visit_all(&self, prospect: &Prospect, message: &Message<'_>, host: &mut Host) {
        let mut possible = self.scout.strategies.possible(message).into_iter();
        if !possible.any(|strategy| prospect.judge(self.destination, strategy).may_send()) {
            return self.judge_alone(prospect, message, host);
        }
        for ip in prospect.host.addresses.iter().take(MOST_ADDRESSES) {
            let message = Message { remote_ip: Some(*ip), ..message.clone() };
            self.visit(prospect, &message, SocketAddr::new(*ip, self.question.port), host).await;
            if host.is_delayed() || host.attempts.last().is_some_and(|attempt| attempt.goes) {
                return;
            }
        }
    }

    async fn visit(&self, prospect: &Prospect, message: &Message<'_>, at: SocketAddr, host: &mut Host) {
        let (stream, own) = match connect(self.queue, &prospect.host.name, at).await {
            Ok(connected) => connected,
            Err(refusal) => return host.attempts.push(Attempt::unreached(at, refusal)),
        };
        let message = Message { local_ip: Some(own), ..message.clone() };
        // With the connection everything is known.
        let Some(strategy) = self.scout.strategies.choose(&message) else { return };
        let judged = prospect.judge(self.destination, strategy);
        if !judged.may_send() {
            return host.attempts.push(Attempt::without_connection(&judged));
        }
        let mut attempt = self.talk(&judged, at, own, stream).await;
        let (mut judged, mut message) = (judged, message);
        for _ in 0..self.queue.immediate_retries {
            let next = attempt.refusal.as_ref().and_then(|refusal| self.scout.again(&judged, refusal, &message));
            let Some(next) = next else { break };
            host.attempts.push(mem::replace(&mut attempt, self.once_more(&next, at).await));
            message.retry_num = message.retry_num.saturating_add(1);
            judged = next;
        }
        host.attempts.push(attempt);
    }

    async fn talk(&self, judged: &Judged<'_>, at: SocketAddr, own: IpAddr, stream: BackendStream) -> Attempt {
        let mut attempt = attempt::Attempt::new(self.queue, self.peers, judged, at, own);
        let (ended, conversation) = match attempt.open(stream).await {
            Ok(Opened { conversation, assurance }) => (Ok(assurance), Some(Box::new(conversation))),
            Err(Unopened { refusal, conversation }) => (Err(refusal), conversation),
        };
        if let Some(conversation) = conversation {
            conversation.leave().await;
        }
        Attempt::made(attempt, ended)
    }

    /// Another attempt, which follows at once on TLS that has failed.
    async fn once_more(&self, judged: &Judged<'_>, at: SocketAddr) -> Attempt {
        match connect(self.queue, judged.facts.host, at).await {
            Ok((stream, own)) => self.talk(judged, at, own, stream).await,
            Err(refusal) => Attempt::unreached(at, refusal),
        }
    }
}

/// What comes after a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_about_one_domain_and_addresses_that_are_some() {
        let question = Question::new("Example.ORG.", None, None).unwrap();
        assert_eq!((question.domain.as_str(), question.recipient.as_str()), ("example.org", "postmaster@example.org"));
        let question = Question::new("example.org", Some("<a@b.example>"), Some("c@EXAMPLE.org")).unwrap();
        assert_eq!((question.sender.as_str(), question.recipient.as_str()), ("a@b.example", "c@EXAMPLE.org"));
        assert!(Question::new("example.org", Some("<>"), None).unwrap().sender.is_empty());
        assert!(Question::new("[192.0.2.1]", None, None).is_ok());
        for (domain, sender, recipient) in [
            ("", None, None),
            ("a b", None, None),
            ("müller.example", None, None),
            ("example.org", Some("nobody"), None),
            ("example.org", None, Some("a@example.net")),
            ("example.org", None, Some("@example.org")),
        ] {
            assert!(Question::new(domain, sender, recipient).is_err(), "{domain} {sender:?} {recipient:?}");
        }
    }
}
