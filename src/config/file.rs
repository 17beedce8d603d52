//! What the file may say: every table and key that this version knows, and the values as they stand there.
//!
//! Nothing is decided here beyond each value's own type and range; `resolve` and `rules` put the values together.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use toml::de::DeTable;

use super::{
    acme::{self, AcmeTable},
    backend_tls::{self, BackendTlsKeys, Mode},
    dnsbl::DnsblKeys,
    findings::{Findings, Key},
    host::{self, Address},
    identity::Identity,
    keyword,
    protection::{AutoBanKeys, ProtectionKeys},
    queue::{self, QueueTable},
    relay::{self, RelayKeys},
    resolver::{self, ResolverTable},
    section::Section,
    service::Service,
    setting::{Given, Setting},
    shared::{MANY, SharedKeys, shared},
    text::Text,
    word::one_of,
};
use crate::{policy::balance::Order, proto::Protocol};

/// A list, each member with its place.
pub(super) type List<T> = Setting<Vec<Given<T>>>;

/// The whole file.
pub(super) struct File {
    pub(super) server: ServerTable,
    pub(super) listeners: Vec<ListenerTable>,
    pub(super) certificates: Vec<CertificateTable>,
    pub(super) acme: Vec<AcmeTable>,
    pub(super) backends: Vec<BackendTable>,
    pub(super) resolver: ResolverTable,
    pub(super) queue: QueueTable,
}

/// `[server]` without its listeners.
pub(super) struct ServerTable {
    pub(super) key: Key,
    pub(super) hostname: Setting<String>,
    pub(super) workers: Setting<u64>,
    pub(super) drain: Setting<Duration>,
    pub(super) handshakes: Setting<u64>,
    pub(super) protection: ProtectionKeys,
    pub(super) auto_ban: AutoBanKeys,
    pub(super) state: Setting<String>,
    pub(super) control: Setting<PathBuf>,
    pub(super) ca: List<String>,
    pub(super) shared: SharedKeys,
}

/// `[server.listener.<id>]`.
pub(super) struct ListenerTable {
    pub(super) id: String,
    pub(super) key: Key,
    pub(super) bind: List<SocketAddr>,
    pub(super) protocol: Setting<Service>,
    pub(super) backend: Setting<String>,
    pub(super) rcpt_domains: List<String>,
    pub(super) require_auth: Setting<bool>,
    pub(super) plaintext_auth: Setting<bool>,
    pub(super) redirect_https: Setting<bool>,
    pub(super) pregreet: Setting<Duration>,
    pub(super) dnsbl: DnsblKeys,
    pub(super) relay: RelayKeys,
    pub(super) recipients: Setting<u64>,
    pub(super) shared: SharedKeys,
}

/// `[certificate.<id>]`.
pub(super) struct CertificateTable {
    pub(super) id: String,
    pub(super) key: Key,
    pub(super) cert: Setting<Text>,
    pub(super) private_key: Setting<Text>,
    pub(super) directory: Setting<String>,
    pub(super) self_signed: List<String>,
    pub(super) default: Setting<bool>,
}

/// `[backend.<id>]`.
pub(super) struct BackendTable {
    pub(super) id: String,
    pub(super) key: Key,
    pub(super) address: List<MemberTable>,
    pub(super) order: Setting<Order>,
    pub(super) slow_start: Setting<Duration>,
    pub(super) check: CheckTable,
    pub(super) identity: List<Identity>,
    pub(super) tls: BackendTlsKeys,
    pub(super) connect: Setting<Duration>,
    pub(super) greeting: Setting<Duration>,
    pub(super) hide_extensions: List<String>,
}

/// One `address` of a backend.
#[derive(Clone)]
pub(super) struct MemberTable {
    pub(super) address: Address,
    pub(super) weight: Setting<u64>,
}

/// `check.*` of a backend.
pub(super) struct CheckTable {
    pub(super) interval: Setting<Duration>,
    pub(super) timeout: Setting<Duration>,
}

/// More than anybody needs to tell servers apart.
const HEAVIEST: u64 = 256;

/// Walks the whole file.
pub(super) fn read(document: &DeTable<'_>, found: &mut Findings) -> File {
    let base = found.base().to_owned();
    Section::root(document, found, |root| {
        let (server, listeners) =
            root.within("server", |table| (server(table, &base), table.each("listener", listener)));
        let certificates = root.each("certificate", certificate);
        let acme = root.each("acme", acme::read);
        let backends = root.each("backend", |id, table| backend(id, table, &base));
        let resolver = root.within("resolver", resolver::read);
        let relays = listeners.iter().filter(|table| table.relay.may_relay()).map(|table| table.id.clone()).collect();
        let queue = root.within("queue", |table| queue::read(table, relays));
        File { server, listeners, certificates, acme, backends, resolver, queue }
    })
}

/// The table that knows `name`, by its pattern: `server.listener.<id>`.
pub(super) fn home_of(name: &str) -> Option<&'static str> {
    let home = |path: &'static String| path.match_indices(name).find_map(|(at, _)| home_at(path, at, name));
    let homes = keys().iter().filter_map(home);
    // What stands in [server] holds for all that is below it.
    homes.min_by_key(|home| (!home.starts_with("server"), home.len()))
}

fn home_at(path: &'static str, at: usize, name: &str) -> Option<&'static str> {
    let home = path.get(..at)?.strip_suffix('.')?;
    let behind = path.get(at + name.len()..)?;
    (behind.is_empty() || behind.starts_with('.')).then_some(home)
}

/// Every key that a file may hold, `<id>` in place of the names that the operator chooses.
#[must_use]
pub fn keys() -> &'static BTreeSet<String> {
    static KEYS: OnceLock<BTreeSet<String>> = OnceLock::new();
    KEYS.get_or_init(|| {
        // The walk notes what it asks for, so that this list cannot differ from what is read.
        let text = "[server.listener.id]\n[certificate.id]\n[acme.id]\n[backend.id]\n[queue.tls.id]\n";
        let mut found = Findings::new(text, Path::new(""));
        let (document, _) = DeTable::parse_recoverable(text);
        read(document.get_ref(), &mut found);
        found.asked.iter().map(|path| path.replace(".id.", ".<id>.")).collect()
    })
}

fn server(table: &mut Section<'_, '_>, base: &Path) -> ServerTable {
    // In the order in which they are listed to whoever writes an unknown one.
    let hostname = table.word("hostname", host::parse_hostname);
    let workers = table.count("workers", 0..=1024);
    let drain = table.duration("drain");
    let state = table.word("state", |path| Ok(path.to_owned()));
    let control = table.word("control", |path| host::parse_socket(path, base));
    let ca = table.list("ca", |path| Ok(path.to_owned()));
    let (shared, (handshakes, protection)) =
        shared(table, |limit| (limit.count("handshakes", 1..=MANY), ProtectionKeys::read(limit)));
    let auto_ban = table.within("auto-ban", AutoBanKeys::read);
    let key = table.key.clone();
    ServerTable { key, hostname, workers, drain, handshakes, protection, auto_ban, state, control, ca, shared }
}

fn listener(id: &str, table: &mut Section<'_, '_>) -> ListenerTable {
    let mut recipients = Setting::Absent;
    ListenerTable {
        id: id.to_owned(),
        key: table.key.clone(),
        bind: table.list("bind", host::parse_bind),
        protocol: table.word("protocol", |name| one_of(name, &Service::ALL, Service::name)),
        backend: table.word("backend", |id| Ok(id.to_owned())),
        rcpt_domains: table.list("rcpt-domains", host::parse_domain_pattern),
        require_auth: table.switch("require-auth"),
        plaintext_auth: table.switch("plaintext-auth"),
        redirect_https: table.switch("redirect-https"),
        pregreet: table.duration("pregreet"),
        dnsbl: table.within("dnsbl", DnsblKeys::read),
        relay: relay::read(table),
        shared: shared(table, |limit| recipients = relay::recipients(limit)).0,
        recipients,
    }
}

fn certificate(id: &str, table: &mut Section<'_, '_>) -> CertificateTable {
    CertificateTable {
        id: id.to_owned(),
        key: table.key.clone(),
        cert: table.pem("cert"),
        private_key: table.pem("private-key"),
        directory: table.word("directory", |path| Ok(path.to_owned())),
        self_signed: table.list("self-signed", host::parse_certificate_name),
        default: table.switch("default"),
    }
}

fn backend(id: &str, table: &mut Section<'_, '_>, base: &Path) -> BackendTable {
    let identity = table.list("identity", |name| one_of(name, &Identity::ALL, Identity::name));
    let tls = table.within("tls", backend_tls::read);
    let (connect, greeting) = table.within("timeout", |table| (table.duration("connect"), table.duration("greeting")));
    BackendTable {
        id: id.to_owned(),
        key: table.key.clone(),
        address: members(table, base),
        order: table.word("order", |name| one_of(name, &Order::ALL, Order::name)),
        slow_start: table.duration("slow-start"),
        check: table.within("check", |table| CheckTable {
            interval: table.duration("interval"),
            timeout: table.duration("timeout"),
        }),
        identity,
        tls,
        connect,
        greeting,
        hide_extensions: table.set("hide-extensions", keyword::parse_extension),
    }
}

fn members(table: &mut Section<'_, '_>, base: &Path) -> List<MemberTable> {
    let parse = |text: &str| host::parse_address(text, base);
    let members = table.mixed("address", "address", parse, |table| table.count("weight", 0..=HEAVIEST));
    members.map(|list| {
        let member = |Given { value: (address, weight), key }| Given { value: MemberTable { address, weight }, key };
        list.into_iter().map(member).collect()
    })
}

impl BackendTable {
    /// The port of addresses that name none.
    pub(super) fn default_port(&self, protocol: Protocol) -> u16 {
        protocol.backend_port(self.tls.mode() == Some(Mode::Implicit))
    }
}
