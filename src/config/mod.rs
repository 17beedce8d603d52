//! Text to values: `proxy.toml` becomes a [`Config`] that needs no further check of its own.
//!
//! [`load`] reads a file in three steps: `file` walks the document, every key and value with its place, `rules` hold
//! the values against each other, `resolve` applies defaults and overrides. All that is wrong is found in one run; an
//! [`error`](Problem) says where, what, and what would be right. Certificates and keys are named here and read by `tls`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    policy::balance::Order,
    proto::{
        Limits, Protocol,
        proxy_header::Version,
        smtp::{Guard, Hygiene},
    },
};

mod acme;
mod backend_tls;
mod dnsbl;
mod error;
mod explain;
mod file;
mod findings;
mod host;
mod identity;
mod keyword;
mod later;
mod load;
mod machine;
mod nearest;
mod protection;
mod queue;
mod relay;
mod resolve;
mod resolver;
mod rules;
mod section;
mod service;
mod setting;
mod shared;
mod syntax;
mod text;
mod tls;
mod word;

pub use acme::{Acme, Binding, Challenge, Dns01, DnsProvider, Exec, KeyType, Rfc2136, TsigAlgorithm};
pub use backend_tls::{BackendTls, Encryption};
pub use dnsbl::Dnsbl;
pub use error::{Position, Problem, Problems, Severity};
pub use explain::explain;
pub use file::keys;
pub use host::Address;
pub use host::is_host_name;
pub use identity::Identity;
pub use load::{control, load, parse};
pub use protection::{AutoBan, Protection};
pub use queue::{Families, Queue, QueueLimits, QueueTimeouts};
pub use relay::{MultiDomain, RelayListener};
pub use resolver::{Dnssec, NameServers, Resolver};
pub use text::{MAX_FILE, Text, TextError, open_regular};
pub use tls::{Cipher, ClientAuth, Group, Tls, TlsVersion};

/// All that the file says, after defaults and overrides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[server.listener.<id>]`, by id.
    pub listeners: BTreeMap<String, Listener>,
    /// `[server.listener.<id>]` with `protocol = "http"`, by id.
    pub http: BTreeMap<String, HttpListener>,
    /// `[server.listener.<id>]` with `relay = true`, by id.
    pub relays: BTreeMap<String, RelayListener>,
    /// `[certificate.<id>]`, by id.
    pub certificates: BTreeMap<String, Certificate>,
    /// `[acme.<id>]`, by id.
    pub acme: BTreeMap<String, Acme>,
    /// `[backend.<id>]`, by id.
    pub backends: BTreeMap<String, Arc<Backend>>,
    /// `[resolver]`.
    pub resolver: Resolver,
    /// `[queue]`.
    pub queue: Queue,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// `hostname`: greeting and EHLO name; default: the machine's name.
    pub hostname: String,
    /// `workers`: threads that carry sessions; already the number of cores where the file says 0.
    pub workers: usize,
    /// `drain`: how long running sessions may go on after SIGTERM.
    pub drain: Duration,
    /// `limit.handshakes`: TLS handshakes under way at once, in all.
    pub handshakes: usize,
    /// `state`: the directory of what outlives the process.
    pub state: PathBuf,
    /// `control`: the unix socket that the commands of a running process come in by.
    pub control: PathBuf,
    /// Whether the file names `control`. Where it does, mailward does not start without that socket.
    pub control_named: bool,
    /// `ca`: PEM files with further roots for whatever mailward itself connects to.
    pub ca: Vec<PathBuf>,
    /// Where the table stands in the file.
    pub at: Position,
}

/// `[server.listener.<id>]` with the defaults of `[server]` and `[server.tls]` applied.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `bind`.
    pub bind: Vec<SocketAddr>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `backend`: the id, which exists.
    pub backend: String,
    /// `tls.*`; `None` where `tls.enable = false`.
    pub tls: Option<Tls>,
    /// `tls.require`.
    pub require: bool,
    /// `plaintext-auth`.
    pub plaintext_auth: bool,
    /// `proxy.*`.
    pub proxies: Proxies,
    /// What protects it from its clients.
    pub protection: Arc<Protection>,
    /// `pregreet`: how long a client has to be silent before it is greeted.
    pub pregreet: Option<Duration>,
    /// `dnsbl.*`: the block lists that a client is looked up in before it is greeted.
    pub dnsbl: Option<Dnsbl>,
    /// `max-connections`.
    pub max_connections: usize,
    /// `timeout.*`.
    pub timeouts: Timeouts,
    /// `limit.*` without `limit.message`.
    pub limits: Limits,
    /// `require-auth` and `rcpt-domains`.
    pub guard: Guard,
    /// `bare-newline`, `limit.message`, `refuse-commands`, and the backend's `hide-extensions`.
    pub hygiene: Hygiene,
}

/// `[server.listener.<id>]` with `protocol = "http"`: answers http-01 challenges, and sends everything else away.
#[derive(Clone, Debug)]
pub struct HttpListener {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `bind`.
    pub bind: Vec<SocketAddr>,
    /// `tls.*`; `None` without `tls.implicit = true` (HTTP has no STARTTLS).
    pub tls: Option<Tls>,
    /// `redirect-https`: whatever is no challenge is sent on to the same name and path over https, and not to 404.
    pub redirect_https: bool,
    /// `proxy.*`.
    pub proxies: Proxies,
    /// What protects it from its clients.
    pub protection: Arc<Protection>,
    /// `max-connections`.
    pub max_connections: usize,
    /// `timeout.command`: a whole request, from accept or from the last response.
    pub timeout: Duration,
}

/// The proxies in front of a listener, from which a PROXY header must come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    /// `proxy.trusted-networks`: where they are.
    pub networks: Vec<IpNet>,
    /// `timeout.proxy`: the whole header, from accept.
    pub timeout: Duration,
}

impl Proxies {
    /// Whether `peer`, which is unmapped, is one of them.
    #[must_use]
    pub fn include(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&peer))
    }
}

/// `timeout.*` of a listener (spec §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `command`: a whole line, from the last reply.
    pub command: Duration,
    /// `login`: from accept to the accepted login.
    pub login: Duration,
    /// `idle`: both directions silent.
    pub idle: Duration,
    /// `data-end`: the backend's answer to the final dot.
    pub data_end: Duration,
    /// `half-close`: both directions silent after one side has ended its sending.
    pub half_close: Duration,
    /// `crowded`: from accept to the backend, while all places are taken; `None`: those before it alone.
    pub crowded: Option<Duration>,
}

/// `[certificate.<id>]`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// Where chain and key come from.
    pub source: CertificateSource,
    /// `default`: used without SNI and for a name that no certificate has.
    pub default: bool,
}

/// Where a certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// `cert` and `private-key`.
    Pair {
        /// The chain, leaf first, as PEM.
        cert: Text,
        /// The key, as PEM.
        private_key: Text,
    },
    /// `directory`: every pair below it.
    Directory(PathBuf),
    /// `self-signed`: made by mailward for these names and kept below the file's `certs/`.
    SelfSigned(Vec<String>),
}

/// `[backend.<id>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `address`, in the order of the file.
    pub members: Vec<Member>,
    /// `order`: which of them a session goes to.
    pub order: Order,
    /// `slow-start`: how long an address that has come back takes until it has its whole share.
    pub slow_start: Option<Duration>,
    /// `check.*`; `None` where addresses are not checked.
    pub check: Option<Check>,
    /// `identity`: how the backend is told who the client is; nothing stands for "none".
    pub identity: Vec<Identity>,
    /// `tls.*`; `None` where `tls.mode` is `"none"`, and no strategy is named.
    pub tls: Option<Encryption>,
    /// `timeout.connect`: for one address.
    pub connect_timeout: Duration,
    /// `timeout.greeting`: the whole greeting; with TLS, all that comes before it and the handshake too.
    pub greeting_timeout: Duration,
}

impl Backend {
    /// The version of the PROXY header in front of a session, if there is to be one.
    #[must_use]
    pub fn proxy_header(&self) -> Option<Version> {
        self.identity.iter().find_map(|identity| match identity {
            Identity::Proxy(version) => Some(*version),
            _ => None,
        })
    }

    /// Whether it is told so, in sessions of this protocol.
    #[must_use]
    pub fn is_told(&self, identity: Identity, protocol: Protocol) -> bool {
        self.identity.contains(&identity) && identity.is_for(protocol)
    }

    /// The port of addresses that name none.
    #[must_use]
    pub fn default_port(&self, protocol: Protocol) -> u16 {
        protocol.backend_port(self.tls.as_ref().is_some_and(Encryption::is_implicit))
    }
}

/// One `address` of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub address: Address,
    /// `weight`: its share of the sessions in proportion to the others; 0 gets no new ones.
    pub weight: u32,
}

/// `check.*` of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// `interval`: the time between two checks of an address.
    pub interval: Duration,
    /// `timeout`: a whole check.
    pub timeout: Duration,
}
