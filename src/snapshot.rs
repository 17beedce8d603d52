//! Everything that a reload can change, as one immutable value: built completely, or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::ServerConfig;

use crate::{
    acme::Answers,
    config::{self, Config, Problems},
    embedded,
    inbound::{backend::Backend, occupancy::Occupancy},
    proto,
    tls::{self, CertStore, Certificates, Sources, TicketKeys},
};

/// The configuration in force, ready for use. A session takes its [`Entry`] at accept and keeps it.
#[derive(Debug)]
pub struct Snapshot {
    /// What it was built from.
    pub config: Config,
    /// The certificates that handshakes choose from; they are swapped inside.
    pub certificates: Arc<CertStore>,
    entries: BTreeMap<String, Arc<Entry>>,
}

/// A listener, ready for use.
#[derive(Debug)]
pub struct Entry {
    /// What the file says.
    pub config: config::Listener,
    /// What its protocol's machines are told.
    pub settings: Arc<proto::Settings>,
    /// What its handshakes negotiate; `None` where TLS is off.
    pub tls: Option<Arc<ServerConfig>>,
    /// Where its sessions go.
    pub backend: Arc<Backend>,
    /// How many sessions it has; outlives the snapshot.
    pub occupancy: Arc<Occupancy>,
}

/// What outlives snapshots: a reload changes settings, not what has happened so far.
#[derive(Debug)]
pub struct Lasting {
    /// What authorities that validate are told.
    pub answers: Arc<Answers>,
    tickets: TicketKeys,
    store: embedded::Store,
    occupancies: Mutex<HashMap<String, Arc<Occupancy>>>,
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            answers: Arc::default(),
            tickets: TicketKeys::default(),
            store: embedded::Store::new("localhost"),
            occupancies: Mutex::default(),
        }
    }
}

impl Lasting {
    fn occupancy(&self, listener: &str) -> Arc<Occupancy> {
        let mut all = self.occupancies.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(listener.to_owned()).or_default().clone()
    }
}

/// A snapshot with what its maker needs on.
#[derive(Debug)]
pub struct Built {
    /// The value itself.
    pub snapshot: Snapshot,
    /// Where its certificates come from, to be looked at again.
    pub sources: Sources,
}

impl Snapshot {
    /// Builds everything that the configuration asks for. With `keep` false nothing is written. Warnings go to
    /// `problems`.
    ///
    /// # Errors
    /// `None` where `problems` holds an error.
    #[must_use]
    pub fn build(config: Config, lasting: &Lasting, keep: bool, problems: &mut Problems) -> Option<Built> {
        let sources = Sources::read(&config, keep, problems);
        if problems.fatal() {
            return None;
        }
        let certificates = sources.certificates();
        check_certificates(&config, &certificates, problems);
        let certificates = Arc::new(CertStore::new(certificates, lasting.answers.tls.clone()));
        let mut entries = BTreeMap::new();
        for listener in config.listeners.values() {
            let entry = build_entry(listener, &config, &certificates, lasting, problems);
            entries.extend(entry.map(|entry| (listener.id.clone(), Arc::new(entry))));
        }
        let snapshot = Self { config, certificates, entries };
        (!problems.fatal()).then_some(Built { snapshot, sources })
    }

    /// Whether every listener could serve its sessions with `certificates`; what could not goes to `problems`.
    pub fn check(&self, certificates: &Certificates, problems: &mut Problems) {
        check_certificates(&self.config, certificates, problems);
    }

    /// The listener that has `id`.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// Every socket that is to be open.
    pub fn binds(&self) -> impl Iterator<Item = Bind> {
        self.entries.values().flat_map(|entry| {
            let id = &entry.config.id;
            entry.config.bind.iter().map(|address| Bind::new(*address, id, self.v6_only(*address)))
        })
    }

    /// The listener that a socket belongs to.
    #[must_use]
    pub fn entry_at(&self, bind: &Bind) -> Option<&Arc<Entry>> {
        self.entries.values().find(|entry| {
            let id = &entry.config.id;
            entry.config.bind.iter().any(|address| bind.is(*address, id))
        })
    }

    /// An IPv6 socket takes IPv4 too, unless the same port is also bound for IPv4.
    fn v6_only(&self, address: SocketAddr) -> bool {
        let mut all = self.entries.values().flat_map(|entry| &entry.config.bind);
        address.is_ipv6() && all.any(|other| other.is_ipv4() && other.port() == address.port())
    }
}

/// One socket to listen on: the same address in two snapshots is the same socket, whatever the listener is called.
/// Port 0 (any free port) says nothing about which, so there the listener counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// The address, as configured.
    pub address: SocketAddr,
    /// For IPv6: whether IPv4 is left to another socket.
    pub v6_only: bool,
    listener: Option<String>,
}

impl Bind {
    fn new(address: SocketAddr, listener: &str, v6_only: bool) -> Self {
        Self { address, v6_only, listener: (address.port() == 0).then(|| listener.to_owned()) }
    }

    fn is(&self, address: SocketAddr, listener: &str) -> bool {
        self.address == address && self.listener.as_deref().is_none_or(|mine| mine == listener)
    }
}

fn build_entry(
    listener: &config::Listener,
    config: &Config,
    certificates: &Arc<CertStore>,
    lasting: &Lasting,
    problems: &mut Problems,
) -> Option<Entry> {
    let tls = match &listener.tls {
        None => None,
        Some(tls) => {
            let built = lasting
                .tickets
                .of(&listener.id)
                .and_then(|tickets| tls::server_config(tls, listener.protocol, certificates.clone(), tickets));
            let key = format!("server.listener.{}.tls", listener.id);
            Some(built.map_err(|error| problems.error(&listener.at, &key, error.to_string(), "")).ok()?)
        }
    };
    let hostname = &config.server.hostname;
    // Resolution has checked that the id exists.
    let backend = config.backends.get(&listener.backend)?.clone();
    Some(Entry {
        settings: Arc::new(proto::Settings {
            protocol: listener.protocol,
            hostname: hostname.clone(),
            require: listener.require,
            plaintext_auth: listener.plaintext_auth,
            limits: listener.limits,
            guard: listener.guard.clone(),
        }),
        tls,
        backend: Arc::new(Backend::new(backend, listener.protocol, hostname.clone(), lasting.store.clone())),
        occupancy: lasting.occupancy(&listener.id),
        config: listener.clone(),
    })
}

fn check_certificates(config: &Config, certificates: &Certificates, problems: &mut Problems) {
    for listener in config.listeners.values() {
        check_listener(listener, certificates, problems);
    }
}

/// A listener with a name that none of its suites can serve would fail every handshake for it.
fn check_listener(listener: &config::Listener, certificates: &Certificates, problems: &mut Problems) {
    let Some(tls) = &listener.tls else { return };
    let key = format!("server.listener.{}.tls", listener.id);
    if certificates.is_empty() {
        problems.error(&listener.at, &key, "there is no certificate", "add a [certificate.<id>] table");
    }
    for (name, kinds) in certificates.kinds() {
        if kinds.iter().any(|kind| tls::can_serve(tls, *kind)) {
            continue;
        }
        let name = name.map_or_else(|| "the default certificate".to_owned(), |name| format!("the one for {name}"));
        let kinds: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        let what = format!("every cipher that {name} ({}) could use is disabled", kinds.join(", "));
        problems.error(&listener.at, &key, what, "take one out of disable-ciphers or disable-protocols");
        return;
    }
}
