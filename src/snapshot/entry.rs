//! The listeners of a snapshot: what all have, and what each kind of session needs besides.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use super::Lasting;
use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    acme::Answers,
    config::{self, Challenge, Config, Position},
    inbound::{
        backend::{Backend, Encryption},
        blocklist::Blocklist,
        occupancy::Occupancy,
    },
    net::relay,
    outbound::Means,
    proto::{self, Protocol, smtp::egress},
    tls::{self, CertStore, ServerSide},
};

/// A listener, ready for use.
#[derive(Debug)]
pub struct Entry {
    /// The table's name.
    pub id: String,
    /// Where it listens.
    pub bind: Vec<SocketAddr>,
    /// How many sessions it may have.
    pub max_connections: usize,
    /// How many it has; outlives the snapshot.
    pub occupancy: Arc<Occupancy>,
    /// What its sessions are.
    pub service: Service,
}

impl Entry {
    /// Who comes to it by a proxy.
    #[must_use]
    pub fn proxies(&self) -> &config::Proxies {
        match &self.service {
            Service::Mail(mail) => &mail.config.proxies,
            Service::Relay(relay) => &relay.config.proxies,
            Service::Http(http) => &http.config.proxies,
        }
    }

    /// How long a client may wait for its backend while all places are taken; `None`: as long as it likes.
    #[must_use]
    pub fn crowded(&self) -> Option<Duration> {
        match &self.service {
            Service::Mail(mail) => mail.config.timeouts.crowded,
            Service::Relay(_) | Service::Http(_) => None,
        }
    }

    /// What protects it from its clients.
    #[must_use]
    pub fn protection(&self) -> &config::Protection {
        match &self.service {
            Service::Mail(mail) => &mail.config.protection,
            Service::Relay(relay) => &relay.config.protection,
            Service::Http(http) => &http.config.protection,
        }
    }
}

/// What the sessions of a listener are, and what they need.
#[derive(Clone, Debug)]
pub enum Service {
    /// Mail on its way to a backend.
    Mail(Arc<Mail>),
    /// Mail on its way to other servers.
    Relay(Arc<Relay>),
    /// Answers to the authorities that validate over HTTP.
    Http(Arc<Http>),
}

/// A listener for mail.
#[derive(Debug)]
pub struct Mail {
    /// What the file says.
    pub config: config::Listener,
    /// What its protocol's machines are told.
    pub settings: Arc<proto::Settings>,
    /// Its handshakes; `None` where TLS is off.
    pub tls: Option<ServerSide>,
    /// Where its sessions go.
    pub backend: Arc<Backend>,
    /// Where its clients must not stand.
    pub blocklist: Option<Arc<Blocklist>>,
    /// How its sessions are relayed.
    pub pace: relay::Limits,
}

/// A listener for mail that is to be carried to the servers of its recipients.
#[derive(Debug)]
pub struct Relay {
    /// What the file says.
    pub config: config::RelayListener,
    /// What its machine is told.
    pub settings: Arc<egress::Settings>,
    /// Its handshakes; `None` where TLS is off.
    pub tls: Option<ServerSide>,
    /// What mail is carried with; `None` where nothing is going to be served.
    pub means: Option<Arc<Means>>,
}

/// A listener for HTTP.
#[derive(Debug)]
pub struct Http {
    /// What the file says.
    pub config: config::HttpListener,
    /// Its handshakes; `None` where TLS is off.
    pub tls: Option<ServerSide>,
    /// What it has to say.
    pub answers: Arc<Answers>,
}

/// What entries are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) certificates: &'a Arc<CertStore>,
    pub(super) lasting: &'a Lasting,
    /// For each backend that is not always spoken to in clear, by its id.
    pub(super) encryptions: &'a BTreeMap<String, Encryption>,
    /// What mail is carried with, where that is going to be done.
    pub(super) means: Option<Arc<Means>>,
}

/// An entry with its place in the file, or why it cannot be had.
type Made<'a> = (&'a str, &'a Position, Result<Entry, rustls::Error>);

impl<'a> Parts<'a> {
    /// Every listener of the configuration.
    pub(super) fn entries(&self) -> impl Iterator<Item = Made<'a>> {
        let mail = self.config.listeners.values().filter_map(|listener| {
            // Resolution has checked that the id exists.
            let backend = self.config.backends.get(&listener.backend)?;
            Some((&*listener.id, &listener.at, self.mail(listener, backend.clone())))
        });
        let relays = self.config.relays.values();
        let relays = relays.map(|listener| (&*listener.id, &listener.at, self.relay(listener)));
        let http = self.config.http.values();
        mail.chain(relays).chain(http.map(|listener| (&*listener.id, &listener.at, self.http(listener))))
    }

    fn mail(&self, listener: &config::Listener, backend: Arc<config::Backend>) -> Result<Entry, rustls::Error> {
        let settings = Arc::new(proto::Settings {
            protocol: listener.protocol,
            hostname: self.config.server.hostname.clone(),
            require: listener.require,
            plaintext_auth: listener.plaintext_auth,
            backend_tls: backend.tls.as_ref().is_some_and(config::Encryption::is_certain),
            limits: listener.limits,
            guard: listener.guard.clone(),
            hygiene: listener.hygiene.clone(),
        });
        let (store, pool) = (self.lasting.store.clone(), self.lasting.pool(&backend.id, listener.protocol));
        let encryption = self.encryptions.get(&backend.id).cloned().unwrap_or(Encryption::Never);
        let mail = Mail {
            settings: settings.clone(),
            tls: self.tls(&listener.id, listener.tls.as_ref(), tls::applications(listener.protocol))?,
            backend: Arc::new(Backend::new(backend, settings, store, encryption, pool)),
            blocklist: listener.dnsbl.clone().map(|lists| Arc::new(Blocklist::new(lists))),
            pace: pace(listener),
            config: listener.clone(),
        };
        Ok(self.entry(&listener.id, &listener.bind, listener.max_connections, Service::Mail(Arc::new(mail))))
    }

    fn relay(&self, listener: &config::RelayListener) -> Result<Entry, rustls::Error> {
        let hostname = &self.config.server.hostname;
        let tls = match &listener.tls {
            Some(tls) if !tls.implicit && listener.require => egress::Tls::Required,
            Some(tls) if !tls.implicit => egress::Tls::Optional,
            _ => egress::Tls::Off,
        };
        let settings = egress::Settings {
            protocol: listener.protocol,
            hostname: hostname.clone(),
            limits: listener.limits,
            largest: listener.largest,
            bare_newline: listener.bare_newline,
            smtp_utf8: listener.smtp_utf8,
            recipients: listener.recipients,
            one_domain: listener.multi_domain == config::MultiDomain::Defer,
            tls,
            require_tls: listener.tls.is_some(),
            loops: egress::Loops { received: MOST_RECEIVED, own: MOST_OWN, token: token(hostname) },
        };
        let relay = Relay {
            settings: Arc::new(settings),
            tls: self.tls(&listener.id, listener.tls.as_ref(), tls::applications(listener.protocol))?,
            means: self.means.clone(),
            config: listener.clone(),
        };
        Ok(self.entry(&listener.id, &listener.bind, listener.max_connections, Service::Relay(Arc::new(relay))))
    }

    fn http(&self, listener: &config::HttpListener) -> Result<Entry, rustls::Error> {
        let http = Http {
            tls: self.tls(&listener.id, listener.tls.as_ref(), &[b"http/1.1"])?,
            answers: self.lasting.answers.clone(),
            config: listener.clone(),
        };
        Ok(self.entry(&listener.id, &listener.bind, listener.max_connections, Service::Http(Arc::new(http))))
    }

    fn entry(&self, id: &str, bind: &[SocketAddr], max_connections: usize, service: Service) -> Entry {
        let occupancy = self.lasting.occupancy(id);
        Entry { id: id.to_owned(), bind: bind.to_vec(), max_connections, occupancy, service }
    }

    fn tls(
        &self,
        listener: &str,
        tls: Option<&config::Tls>,
        applications: &[&[u8]],
    ) -> Result<Option<ServerSide>, rustls::Error> {
        let Some(tls) = tls else { return Ok(None) };
        let tickets = self.lasting.tickets.of(listener)?;
        // An authority speaks TLS from the first byte.
        let is_asked = self.config.acme.values().any(|acme| acme.challenge == Challenge::TlsAlpn01);
        let challenges = (tls.implicit && is_asked).then(|| self.lasting.answers.tls.clone());
        ServerSide::new(tls, applications, self.certificates.clone(), challenges, tickets).map(Some)
    }
}

/// How many servers a message may have come through (RFC 5321 §6.3: at least 100 is for those who have no other sign).
const MOST_RECEIVED: usize = 100;

/// How often it may have come through this one: the second time it is on a circle.
const MOST_OWN: usize = 2;

/// What a gateway of this name marks its trace fields with: the same after every start, and for all of a fleet.
fn token(hostname: &str) -> String {
    let digest = digest(&SHA256, format!("mailward {hostname}").as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// How long a logged-in session must be silent before a stopping mailward closes it (spec §5).
const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// What a filter may want to see beyond the longest line: a whole EHLO or CAPABILITY reply.
const HELD: usize = 128 * 1024;

fn pace(listener: &config::Listener) -> relay::Limits {
    let (times, limits) = (&listener.timeouts, &listener.limits);
    let drains_in_silence = matches!(listener.protocol, Protocol::Imap | Protocol::ManageSieve);
    relay::Limits {
        command: times.command,
        idle: times.idle,
        data_end: times.data_end,
        half_close: times.half_close,
        drain_silence: drains_in_silence.then_some(DRAIN_SILENCE),
        held: HELD + limits.line.max(limits.auth).max(limits.literal),
    }
}
