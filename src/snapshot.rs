//! Everything that a reload can change, as one immutable value: built completely, or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    acme::Answers,
    config::{self, Config, Problems},
    embedded,
    inbound::{backend::Pool, occupancy::Occupancy},
    outbound::{
        self, Means,
        dns::{self, Dns},
        places::Places,
    },
    proto::Protocol,
    tls::{CertStore, Certificates, Sources, TicketKeys},
};

mod check;
mod encryptions;
mod entry;
mod sources;

use entry::Parts;
pub use entry::{Entry, Http, Mail, Relay, Service};

/// The configuration in force, ready for use. A session takes its [`Entry`] at accept and keeps it.
#[derive(Debug)]
pub struct Snapshot {
    /// What it was built from.
    pub config: Config,
    /// The certificates that handshakes choose from; they are swapped inside.
    pub certificates: Arc<CertStore>,
    entries: BTreeMap<String, Arc<Entry>>,
    /// MTA-STS policies are kept fresh, where mail is carried.
    _fresh: Option<Beside>,
}

/// What outlives snapshots: a reload changes settings, not what has happened so far.
#[derive(Debug)]
pub struct Lasting {
    /// What authorities that validate are told.
    pub answers: Arc<Answers>,
    /// What is remembered of mail on its way out; it has a file where a listener relays.
    pub remembered: outbound::store::Store,
    /// Where what nobody waits for runs; without it no mail is carried.
    control: Option<Handle>,
    /// Sessions with other servers.
    places: Arc<Places>,
    resolver: Mutex<Option<Watched>>,
    tickets: TicketKeys,
    store: embedded::Store,
    occupancies: Mutex<HashMap<String, Arc<Occupancy>>>,
    /// What is known of backends' addresses, by the backend's id and the protocol that is spoken to it.
    pools: Mutex<HashMap<(String, Protocol), Arc<Pool>>>,
}

/// Resolvers that are tested from time to time, for as long as this is there.
#[derive(Debug)]
struct Watched {
    settings: dns::Settings,
    dns: Arc<Dns>,
    _watch: Beside,
}

/// What is done beside everything else, for as long as this is there.
#[derive(Debug)]
struct Beside(AbortHandle);

impl Beside {
    fn begin(control: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(control.spawn(work).abort_handle())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watched {
    fn new(settings: dns::Settings, control: &Handle) -> Self {
        let dns = Arc::new(Dns::new(settings.clone()));
        let watching = dns.clone();
        let watch = Beside::begin(control, async move { watching.watch().await });
        Self { settings, dns, _watch: watch }
    }
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            answers: Arc::default(),
            remembered: outbound::store::Store::default(),
            control: None,
            places: Arc::default(),
            resolver: Mutex::default(),
            tickets: TicketKeys::default(),
            store: embedded::Store::new("localhost"),
            occupancies: Mutex::default(),
            pools: Mutex::default(),
        }
    }
}

impl Lasting {
    /// Of a process whose work that nobody waits for is done by `control`.
    #[must_use]
    pub fn beside(control: Handle) -> Self {
        Self { control: Some(control), ..Self::default() }
    }

    fn occupancy(&self, listener: &str) -> Arc<Occupancy> {
        let mut all = self.occupancies.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(listener.to_owned()).or_default().clone()
    }

    /// Asks the resolvers of the configuration; the same as before, as long as they are.
    fn dns(&self, settings: &dns::Settings, control: &Handle) -> Arc<Dns> {
        let mut last = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(watched) if watched.settings == *settings => watched.dns.clone(),
            _ => last.insert(Watched::new(settings.clone(), control)).dns.clone(),
        }
    }

    fn pool(&self, backend: &str, protocol: Protocol) -> Arc<Pool> {
        let mut all = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |(id, protocol): &(String, Protocol)| Arc::new(Pool::new(id, *protocol));
        all.entry((backend.to_owned(), protocol)).or_insert_with_key(new).clone()
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
    /// Builds everything that the configuration asks for. With `keep` false nothing is written, and nothing is going to be
    /// served. Warnings go to
    /// `problems`.
    ///
    /// # Errors
    /// `None` where `problems` holds an error.
    #[must_use]
    pub fn build(config: Config, lasting: &Lasting, keep: bool, problems: &mut Problems) -> Option<Built> {
        sources::check(&config, keep, problems);
        let sources = Sources::read(&config, keep, problems);
        if problems.fatal() {
            return None;
        }
        let certificates = sources.certificates();
        check::check(&config, &certificates, problems);
        let certificates = Arc::new(CertStore::new(certificates));
        let settings = resolvers(&config.resolver, problems)?;
        let encryptions = encryptions::of(&config, &settings, lasting, problems);
        let means = means(&config, &settings, lasting, problems);
        let mut entries = BTreeMap::new();
        let parts = Parts {
            config: &config,
            certificates: &certificates,
            lasting,
            encryptions: &encryptions,
            means: means.clone(),
        };
        for (id, at, made) in parts.entries() {
            match made {
                Ok(entry) => drop(entries.insert(id.to_owned(), Arc::new(entry))),
                Err(error) => problems.error(at, &format!("server.listener.{id}.tls"), error.to_string(), ""),
            }
        }
        let fresh = means.filter(|_| !problems.fatal()).zip(lasting.control.as_ref());
        let fresh =
            fresh.map(|(means, control)| Beside::begin(control, means.policies.clone().keep_fresh(means.dns.clone())));
        let snapshot = Self { config, certificates, entries, _fresh: fresh };
        (!problems.fatal()).then_some(Built { snapshot, sources })
    }

    /// Whether every listener could serve its sessions with `certificates`; what could not goes to `problems`.
    pub fn check(&self, certificates: &Certificates, problems: &mut Problems) {
        check::check(&self.config, certificates, problems);
    }

    /// The listener that has `id`.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// Every listener.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// Every socket that is to be open.
    pub fn binds(&self) -> impl Iterator<Item = Bind> {
        self.entries
            .values()
            .flat_map(|entry| entry.bind.iter().map(|address| Bind::new(*address, &entry.id, self.v6_only(*address))))
    }

    /// The listener that a socket belongs to.
    #[must_use]
    pub fn entry_at(&self, bind: &Bind) -> Option<&Arc<Entry>> {
        self.entries.values().find(|entry| entry.bind.iter().any(|address| bind.is(*address, &entry.id)))
    }

    /// An IPv6 socket takes IPv4 too, unless the same port is also bound for IPv4.
    fn v6_only(&self, address: SocketAddr) -> bool {
        let mut all = self.entries.values().flat_map(|entry| &entry.bind);
        address.is_ipv6() && all.any(|other| other.is_ipv4() && other.port() == address.port())
    }
}

/// How names are looked up on the way to other servers; `None` where the trust anchors cannot be used.
fn resolvers(resolver: &config::Resolver, problems: &mut Problems) -> Option<dns::Settings> {
    let right = "name a file with DS or DNSKEY records of the root zone";
    let report = |what| problems.error(&resolver.at, "resolver.trust-anchor", what, right);
    dns::Settings::of(resolver).map_err(report).ok()
}

/// What mail is carried with, where any is going to be.
fn means(config: &Config, settings: &dns::Settings, lasting: &Lasting, problems: &mut Problems) -> Option<Arc<Means>> {
    let relay = config.relays.values().next()?;
    let control = lasting.control.clone()?;
    let (dns, places) = (lasting.dns(settings, &control), lasting.places.clone());
    let lasting = outbound::Lasting { dns, store: lasting.remembered.clone(), places, control };
    match Means::new(config, lasting) {
        Ok(means) => Some(Arc::new(means)),
        Err(what) => {
            problems.error(&relay.at, "server.ca", what, "");
            None
        }
    }
}

/// One socket to listen on: the same address in two snapshots is the same socket, whatever the listener is called.
/// Port 0 (any free port) says nothing about which, so there the listener counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
