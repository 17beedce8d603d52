//! The server behind a listener: found, connected and greeted, address after address (spec §3.3, §4.3).

mod extensions;
mod introduction;

use std::{
    collections::HashSet,
    fmt::{self, Display},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use self::{extensions::Known, introduction::Unintroduced};
use crate::{
    config::{self, Address},
    embedded,
    net::{
        connect::{self, BackendStream},
        dns::Resolver,
    },
    proto::{
        self, Complaint, Connection, Protocol,
        proxy_header::{self, Version},
    },
    telemetry::Throttle,
};

/// How long a backend counts as down after no address of it answered: new clients are told so at once meanwhile.
const DOWN_FOR: Duration = Duration::from_secs(2);

/// The most that is read for a greeting at once.
const READ: usize = 4096;

/// The room of the pipe to the embedded store, each way, in bytes.
const PIPE: usize = 64 * 1024;

/// A configured backend, and what is known of it.
#[derive(Debug)]
pub struct Backend {
    config: Arc<config::Backend>,
    protocol: Protocol,
    hostname: String,
    store: embedded::Store,
    extensions: Known,
    born: Instant,
    /// Milliseconds after `born` until which it counts as down.
    down_until: AtomicU64,
    failing: AtomicBool,
    shortages: Throttle,
    complained: Mutex<HashSet<Complaint>>,
}

/// A backend that has greeted.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: BackendStream,
    /// Its whole greeting, and nothing behind it.
    pub greeting: Vec<u8>,
    /// The address, as configured or resolved, for the log.
    pub address: String,
}

/// Why no backend could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// No address answered with a greeting in time.
    Down,
    /// It sent something behind its greeting, unasked.
    SpokeUnasked,
    /// It does not take mailward's word for who the client is.
    IdentityRefused,
    /// mailward has no descriptor or memory left for a connection. That is not held against the backend.
    Shortage,
}

impl Backend {
    /// A backend of which nothing is known yet, as one listener's protocol sees it.
    #[must_use]
    pub fn new(config: Arc<config::Backend>, protocol: Protocol, hostname: String, store: embedded::Store) -> Self {
        Self {
            config,
            protocol,
            hostname,
            store,
            extensions: Known::default(),
            born: Instant::now(),
            down_until: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            shortages: Throttle::default(),
            complained: Mutex::default(),
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Whether no address answered a moment ago.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.age() < self.down_until.load(Ordering::Relaxed)
    }

    /// Connects for `client` to the first address that greets.
    ///
    /// # Errors
    /// [`DialFault`]; the reasons are logged when the backend begins to fail.
    pub async fn dial(&self, resolver: &Resolver, client: &Connection<'_>) -> Result<Dialled, DialFault> {
        let mut reasons = Vec::new();
        for address in &self.config.addresses {
            if let Some(dialled) = self.try_address(address, resolver, client, &mut reasons).await? {
                self.answered();
                return Ok(dialled);
            }
        }
        self.failed(&reasons);
        Err(DialFault::Down)
    }

    /// Dials one configured address, which may be a name with several. `None`: it did not answer, for the reasons
    /// that are added to `reasons`.
    async fn try_address(
        &self,
        address: &Address,
        resolver: &Resolver,
        client: &Connection<'_>,
        reasons: &mut Vec<String>,
    ) -> Result<Option<Dialled>, DialFault> {
        let targets = match self.targets(address, resolver).await {
            Ok(targets) => targets,
            Err(error) => {
                reasons.push(self.reason(address, &error)?);
                return Ok(None);
            }
        };
        for target in targets {
            let address = target.to_string();
            let mut stream = match self.connect(target, Some(client)).await {
                Ok(stream) => stream,
                Err(error) => {
                    reasons.push(self.reason(&address, &error)?);
                    continue;
                }
            };
            match self.greeting(&mut stream).await {
                Ok((greeting, end)) if end < greeting.len() => return Err(self.unusable(Complaint::SpokeUnasked)),
                Ok((greeting, _)) => match self.introduce(&mut stream, greeting, client).await {
                    Ok(greeting) => return Ok(Some(Dialled { stream, greeting, address })),
                    Err(Unintroduced::Lost(reason)) => reasons.push(format!("{address}: {reason}")),
                    Err(Unintroduced::Unusable(complaint)) => return Err(self.unusable(complaint)),
                },
                Err(reason) => reasons.push(format!("{address}: {reason}")),
            }
        }
        Ok(None)
    }

    /// The backend answers as it must not.
    fn unusable(&self, complaint: Complaint) -> DialFault {
        self.complain(complaint);
        match complaint {
            Complaint::IdentityRefused => DialFault::IdentityRefused,
            _ => DialFault::SpokeUnasked,
        }
    }

    /// The places that a configured address means.
    async fn targets(&self, address: &Address, resolver: &Resolver) -> Result<Vec<Target>, Arc<io::Error>> {
        let port = |port: &Option<u16>| port.unwrap_or(self.protocol.default_port());
        match address {
            Address::Ip(ip, at) => Ok(vec![Target::Tcp(SocketAddr::new(*ip, port(at)))]),
            Address::Unix(path) => Ok(vec![Target::Unix(path.clone())]),
            Address::Embedded => Ok(vec![Target::Embedded]),
            Address::Name(name, at) => {
                let found = timeout(self.config.connect_timeout, resolver.resolve(name, port(at))).await;
                let found = found.unwrap_or_else(|_| Err(Arc::new(self.too_late("not resolved"))))?;
                Ok(found.into_iter().map(Target::Tcp).collect())
            }
        }
    }

    /// What is written in front of a session for `client`; without one, of mailward's own.
    fn header(&self, client: Option<&Connection<'_>>, stream: &BackendStream) -> Vec<u8> {
        match (self.config.proxy_header(), client) {
            (None, _) => Vec::new(),
            (Some(Version::V1), None) => {
                // Postfix takes no line that names nobody. This one is as true.
                let own = stream.ends().map(|(source, destination)| Connection { source, destination, tls: None });
                proxy_header::write(Version::V1, own.as_ref())
            }
            (Some(version), client) => proxy_header::write(version, client),
        }
    }

    /// Connects, and says for whom: a backend that is to be told speaks only then.
    async fn connect(&self, target: Target, client: Option<&Connection<'_>>) -> io::Result<BackendStream> {
        let connected = async {
            let mut stream = match target {
                Target::Tcp(address) => connect::tcp(address).await?,
                Target::Unix(path) => connect::unix(&path).await?,
                Target::Embedded => BackendStream::Embedded(self.open_store()),
            };
            stream.write_all(&self.header(client, &stream)).await?;
            Ok(stream)
        };
        timeout(self.config.connect_timeout, connected).await.unwrap_or_else(|_| Err(self.too_late("no connection")))
    }

    fn too_late(&self, what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {:?}", self.config.connect_timeout))
    }

    /// Why an address cannot be had, for the log. An error where the fault is not the address's: the next one would
    /// meet it too.
    fn reason(&self, address: impl Display, error: &io::Error) -> Result<String, DialFault> {
        if !connect::is_shortage(error) {
            return Ok(format!("{address}: {error}"));
        }
        if self.shortages.is_due() {
            tracing::warn!(backend = self.id(), %error, "the backend cannot be dialled for want of resources");
        }
        Err(DialFault::Shortage)
    }

    fn open_store(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (store, protocol) = (self.store.clone(), self.protocol);
        tokio::task::spawn_local(async move {
            // The pipe breaks when the client goes away; there is nobody to tell.
            let _ = embedded::serve(store, protocol, theirs).await;
        });
        ours
    }

    /// Reads the whole greeting and what came with it; says where the greeting ends, or why there is none.
    async fn greeting(&self, stream: &mut BackendStream) -> Result<(Vec<u8>, usize), String> {
        let read = async {
            let mut greeting = Vec::new();
            loop {
                let mut bytes = [0; READ];
                match stream.read(&mut bytes).await {
                    Ok(0) => return Err("closed before its greeting was complete".to_owned()),
                    Ok(count) => greeting.extend_from_slice(&bytes[..count]),
                    Err(error) => return Err(error.to_string()),
                }
                match proto::greeting_end(self.protocol, &greeting) {
                    Ok(Some(end)) => return Ok((greeting, end)),
                    Ok(None) => {}
                    Err(_) => return Err(format!("its greeting is not {}", self.protocol)),
                }
            }
        };
        let late = |_| Err(format!("no greeting within {:?}", self.config.greeting_timeout));
        timeout(self.config.greeting_timeout, read).await.unwrap_or_else(late)
    }

    fn answered(&self) {
        self.down_until.store(0, Ordering::Relaxed);
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(backend = self.id(), "the backend answers again");
        }
    }

    fn failed(&self, reasons: &[String]) {
        let until = self.age() + u64::try_from(DOWN_FOR.as_millis()).unwrap_or(u64::MAX);
        self.down_until.store(until, Ordering::Relaxed);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(backend = self.id(), reasons = reasons.join("; "), "no address of the backend answers");
        }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells the operator, once, what has to be changed at the backend.
    pub fn complain(&self, complaint: Complaint) {
        if !self.complained.lock().unwrap_or_else(PoisonError::into_inner).insert(complaint) {
            return;
        }
        let advice = match complaint {
            Complaint::LoginRefusedInPlaintext => {
                "it takes no passwords from mailward, so clients would ask for them for ever; allow plaintext logins \
                 from mailward's address (Dovecot: login_trusted_networks; Postfix: smtpd_tls_auth_only = no; \
                 Exchange: LoginType PlainTextLogin)"
            }
            Complaint::Preauth => "it greets with PREAUTH, which would log in whoever connects; configure it to ask",
            Complaint::SpokeUnasked => {
                "it sends more than a greeting before it is asked anything; is it really this protocol, and does it expect \
                 the header of its identity?"
            }
            Complaint::IdentityRefused => {
                "it lets nobody in while mailward may not say who the client is; permit that to mailward's address (Postfix: \
                 smtpd_authorized_xclient_hosts; Dovecot: login_trusted_networks), or take another identity"
            }
        };
        tracing::warn!(backend = self.id(), protocol = %self.protocol, advice, "the backend cannot be used as it is");
    }
}

/// One place to connect to.
#[derive(Clone, Debug)]
enum Target {
    Tcp(SocketAddr),
    Unix(std::path::PathBuf),
    Embedded,
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Embedded => f.write_str("embedded"),
        }
    }
}
