//! What was found, as a value.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::Question;
use crate::{
    outbound::{
        attempt::{self, Seen},
        dns::{Dns, Standing as Word},
        prospect::{Destination, Judged, Prospect},
        route::{self, Exchange, HostFault, Way},
    },
    policy::{
        answer::Security,
        dane::{Dane, Record, Tlsa as Published, Unusable},
        evidence::Shown,
        mta_sts::{Mode, Published as Id, Standing},
        outcome::{Event, Outcome, Session},
        verdict::{Assurance, Decision, Refusal},
    },
    proto::smtp::Answer,
};

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The recipient's domain.
    pub domain: String,
    /// The sender's address; empty for that of a notice.
    pub sender: String,
    /// The recipient's address.
    pub recipient: String,
    /// Whether mail would go, or, where nobody was connected to, may go.
    pub goes: bool,
    /// To which host.
    pub host: Option<String>,
    /// How much is known of that host; `None` also where nobody was connected to.
    pub assurance: Option<String>,
    /// What the sender would be told, where mail would not go.
    pub refusal: Option<String>,
    /// Who was asked.
    pub resolvers: Vec<Resolver>,
    /// How hosts were found; `None` where there are none.
    pub route: Option<Route>,
    /// The MTA-STS policy; `None` where there are no hosts.
    pub mta_sts: Option<Policy>,
    /// The hosts, in the order in which they are tried.
    pub hosts: Vec<Host>,
}

/// A resolver.
#[derive(Debug, Serialize)]
pub struct Resolver {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether its word on DNSSEC counts.
    pub counts: bool,
    /// Whether it counts because it is checked here.
    pub validated_here: bool,
    /// Why, or why not.
    pub why: String,
}

/// How the hosts of a domain were found.
#[derive(Debug, Serialize)]
pub struct Route {
    /// `mx`, `implicit` (it has no MX records, and is the host itself) or `literal` (it is an address).
    pub by: &'static str,
    /// Whether DNSSEC vouches for them.
    pub secure: bool,
    /// What the domain is an alias of.
    pub alias_of: Option<String>,
}

/// What there is to say of a domain's MTA-STS policy.
#[derive(Debug, Default, Serialize)]
pub struct Policy {
    /// The id in its record.
    pub id: Option<String>,
    /// Its mode.
    pub mode: Option<String>,
    /// Its patterns.
    pub mx: Vec<String>,
    /// How many seconds it holds.
    pub max_age: Option<u64>,
    /// Why there is none, or what went wrong.
    pub why: Option<String>,
}

/// A host of the domain.
#[derive(Debug, Default, Serialize)]
pub struct Host {
    /// Its name in the MX record, or an address in brackets.
    pub name: String,
    /// Its preference.
    pub preference: u16,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// Whether DNSSEC vouches for the addresses.
    pub secure: bool,
    /// The names after each alias.
    pub aliases: Vec<String>,
    /// Its TLSA records; `None` where it has no address.
    pub tlsa: Option<Tlsa>,
    /// Whether the MTA-STS policy lists it; `None` where there is none.
    pub listed: Option<bool>,
    /// Why mail cannot even be tried here.
    pub refused: Option<String>,
    /// What was tried, or, where nobody was connected to, would be.
    pub attempts: Vec<Attempt>,
    #[serde(skip)]
    is_us: bool,
}

/// The TLSA records of a host.
#[derive(Debug, Serialize)]
pub struct Tlsa {
    /// `usable`, `unusable`, `absent` or `failed`.
    pub state: &'static str,
    /// The base domain, where there is one.
    pub base: Option<String>,
    /// Why there are none that count.
    pub why: Option<String>,
    /// What is there.
    pub records: Vec<TlsaRecord>,
}

/// A TLSA record.
#[derive(Debug, Serialize)]
pub struct TlsaRecord {
    /// As in a zone.
    pub record: String,
    /// Whether it counts.
    pub counts: bool,
    /// Why not.
    pub why: Option<String>,
}

/// One attempt to come as far as the envelope.
#[derive(Debug, Default, Serialize)]
pub struct Attempt {
    /// The strategy that holds; empty where it is not known yet.
    pub strategy: String,
    /// On what terms mail may go: `tls/dane`, `offered/pkix`, `plaintext`, `skip/dane` …
    pub verdict: String,
    /// Why.
    pub reasons: Vec<String>,
    /// The address.
    pub address: Option<SocketAddr>,
    /// The first line of the greeting.
    pub greeting: Option<String>,
    /// The version and the suite.
    pub tls: Option<String>,
    /// What the certificate is worth.
    pub certificate: Option<Certificate>,
    /// Whether mail goes, or, where nobody was connected to, may go.
    pub goes: bool,
    /// How much is known of the host.
    pub assurance: Option<String>,
    /// Why mail does not go: what the sender would be told.
    #[serde(serialize_with = "as_reply")]
    pub refusal: Option<Refusal>,
    /// What it would mean for a TLS report, in the fields of RFC 8460.
    pub outcome: Option<Outcome>,
    #[serde(skip)]
    is_delayed: bool,
}

/// What a certificate is worth.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// Whether it comes from a known root and is for the host.
    pub valid: bool,
    /// Why not.
    pub why: Option<String>,
    /// The TLSA record that it matches; `None` also where there are none that count.
    pub matches: Option<String>,
    /// Why it matches none.
    pub mismatch: Option<String>,
}

impl Report {
    pub(super) fn new(question: &Question, dns: &Dns) -> Self {
        let (domain, sender) = (question.domain.clone(), question.sender.clone());
        Self {
            domain,
            sender,
            recipient: question.recipient.clone(),
            resolvers: dns.standings().into_iter().map(|(address, word)| Resolver::new(address, &word)).collect(),
            ..Self::default()
        }
    }

    pub(super) fn refuse(&mut self, answer: &Answer) {
        self.refusal = Some(answer.to_string());
    }

    pub(super) fn found(&mut self, destination: &Destination) {
        self.route = Some(Route::of(&destination.route));
        self.mta_sts = Some(Policy::of(destination));
    }

    /// The first host that takes mail is the one it goes to; until then the last one says what the sender is told.
    pub(super) fn add(&mut self, host: Host) {
        if !self.goes {
            match host.attempts.iter().find(|attempt| attempt.goes) {
                Some(attempt) => {
                    (self.goes, self.host, self.refusal) = (true, Some(host.name.clone()), None);
                    self.assurance.clone_from(&attempt.assurance);
                }
                // That the next would be ourselves says less than what has kept mail from those before it.
                None if host.is_us && !self.hosts.is_empty() => {}
                None => {
                    let last = host.attempts.iter().rev().find_map(|attempt| attempt.refusal.as_ref());
                    self.refusal = host.refused.clone().or_else(|| last.map(ToString::to_string));
                }
            }
        }
        self.hosts.push(host);
    }
}

impl Resolver {
    fn new(address: SocketAddr, word: &Word) -> Self {
        let why = match word {
            Word::Vouches => "it validates DNSSEC".to_owned(),
            Word::Validated => "what it says of DNSSEC is validated here".to_owned(),
            Word::Untested => "it did not answer the test whether it validates".to_owned(),
            Word::DoesNot(doubt) => doubt.to_string(),
        };
        Self { address, counts: word.counts(), validated_here: *word == Word::Validated, why }
    }
}

impl Route {
    fn of(route: &route::Route) -> Self {
        let by = match route.way {
            Way::Mx => "mx",
            Way::Implicit => "implicit",
            Way::Literal => "literal",
        };
        Self { by, secure: route.security == Security::Secure, alias_of: route.expanded.clone() }
    }
}

impl Policy {
    fn of(destination: &Destination) -> Self {
        let id = match &destination.sts.record {
            Id::Id(id) => Some(id.clone()),
            Id::Nothing | Id::Unknown(_) => None,
        };
        let without = |why: String| Self { id: id.clone(), why: Some(why), ..Self::default() };
        match &destination.sts.standing {
            Standing::Unasked(why) => without(why.to_string()),
            Standing::Absent => without(format!("no record at _mta-sts.{}", destination.route.domain)),
            Standing::Unavailable(fault) => without(fault.to_string()),
            Standing::Policy { policy, fault } => Self {
                id,
                mode: Some(policy.mode.to_string()),
                mx: policy.mx.clone(),
                max_age: Some(policy.max_age.as_secs()),
                why: fault.as_ref().map(ToString::to_string),
            },
        }
    }
}

impl Host {
    pub(super) fn new(exchange: &Exchange) -> Self {
        Self { name: exchange.name.clone(), preference: exchange.preference, ..Self::default() }
    }

    pub(super) fn cannot_be_had(&mut self, fault: &HostFault) {
        self.refused = Some(fault.answer(&self.name).to_string());
        self.is_us = *fault == HostFault::Ourselves;
    }

    pub(super) fn found(&mut self, prospect: &Prospect, destination: &Destination) {
        let route::Host { addresses, security, aliases, .. } = prospect.host.clone();
        (self.addresses, self.secure, self.aliases) = (addresses, security == Security::Secure, aliases);
        self.tlsa = Some(Tlsa::of(&prospect.dane));
        self.listed = match &destination.sts.standing {
            Standing::Policy { policy, .. } if policy.mode != Mode::None => Some(policy.lists(&self.name)),
            _ => None,
        };
    }

    /// Whether mail waits, whatever other hosts there are.
    pub(super) fn is_delayed(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.is_delayed)
    }
}

impl Tlsa {
    fn of(dane: &Dane) -> Self {
        let of = |state, base: Option<&String>, why: Option<String>, records| Self {
            state,
            base: base.cloned(),
            why,
            records,
        };
        match dane {
            Dane::Absent(why) => of("absent", None, Some(why.to_string()), Vec::new()),
            Dane::Failed { base, error } => of("failed", Some(base), Some(error.to_string()), Vec::new()),
            Dane::Unusable { base, found } => {
                let records = found.iter().map(|(record, why)| TlsaRecord::new(record, Err(*why), &[])).collect();
                of("unusable", Some(base), Some("none of them can be used".to_owned()), records)
            }
            Dane::Usable(records) => {
                let used = &records.used;
                let all = records.published.iter().map(|record| TlsaRecord::new(record, record.usable(), used));
                of("usable", Some(&records.base), None, all.collect())
            }
        }
    }
}

impl TlsaRecord {
    fn new(record: &Published, usable: Result<Record, Unusable>, used: &[Record]) -> Self {
        let why = match usable {
            Ok(usable) if used.contains(&usable) => None,
            Ok(_) => Some("one with a stronger digest counts instead".to_owned()),
            Err(why) => Some(why.to_string()),
        };
        Self { record: record.to_string(), counts: why.is_none(), why }
    }
}

impl Attempt {
    fn new(judged: &Judged<'_>) -> Self {
        let decision = &judged.verdict.decision;
        Self {
            strategy: judged.strategy.id.clone(),
            verdict: decision.to_string(),
            reasons: judged.verdict.reasons.clone(),
            is_delayed: matches!(decision, Decision::Delay(_)),
            ..Self::default()
        }
    }

    /// One that the verdict keeps from being made, or that nobody wanted to be made.
    pub(super) fn without_connection(judged: &Judged<'_>) -> Self {
        let mut attempt = Self::new(judged);
        match &judged.verdict.decision {
            Decision::Send(_) => attempt.goes = true,
            Decision::Skip(refusal) | Decision::Delay(refusal) => {
                attempt.refusal = Some(refusal.clone());
                attempt.outcome = Some(judged.outcome(Session::default(), Event::Refused));
            }
        }
        attempt
    }

    /// One at an address that takes no connection.
    pub(super) fn unreached(address: SocketAddr, refusal: Refusal) -> Self {
        Self { address: Some(address), refusal: Some(refusal), ..Self::default() }
    }

    /// One that was made, and has ended so.
    pub(super) fn made(attempt: attempt::Attempt<'_>, ended: Result<Assurance, Refusal>) -> Self {
        let Seen { greeting, negotiated, shown, outcome, .. } = attempt.seen;
        Self {
            address: Some(attempt.at),
            greeting,
            tls: shown.is_some().then_some(negotiated),
            certificate: shown.map(Certificate::of),
            goes: ended.is_ok(),
            assurance: ended.as_ref().ok().map(ToString::to_string),
            refusal: ended.err(),
            outcome,
            ..Self::new(attempt.judged)
        }
    }
}

impl Certificate {
    fn of(Shown { pkix, dane }: Shown) -> Self {
        let (matched, mismatch) = match dane {
            None => (None, None),
            Some(Ok(matched)) => (Some(matched.record.to_string()), None),
            Some(Err(mismatch)) => (None, Some(mismatch.to_string())),
        };
        Self { valid: pkix.is_ok(), why: pkix.err().map(|why| why.to_string()), matches: matched, mismatch }
    }
}

fn as_reply<S: serde::Serializer>(refusal: &Option<Refusal>, serializer: S) -> Result<S::Ok, S::Error> {
    match refusal {
        Some(refusal) => serializer.collect_str(refusal),
        None => serializer.serialize_none(),
    }
}
