//! The server behind a listener: found, connected and greeted, address after address (spec §3.3, §4.3).

mod check;
mod examine;
mod extensions;
mod guide;
mod introduction;
mod opening;
mod pool;
mod request;
mod target;

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    time::timeout,
};

pub use self::{
    examine::{Reached, Unreached},
    guide::Guide,
    pool::{Hold, Pool},
    target::Target,
};
use self::{extensions::Known, introduction::Unintroduced, opening::Unopened};
use crate::{
    config::{self, Identity, Member},
    embedded,
    net::{
        connect::{self, BackendStream},
        dns::Resolver,
    },
    policy::balance::Order,
    proto::{
        self, Complaint, Connection, Protocol,
        proxy_header::{self, Version},
    },
    telemetry::Throttle,
    tls::ClientSide,
};

/// The most that is read for a greeting at once.
const READ: usize = 4096;

/// The room of the pipe to the embedded store, each way, in bytes.
const PIPE: usize = 64 * 1024;

/// A configured backend, and what is known of it.
#[derive(Debug)]
pub struct Backend {
    config: Arc<config::Backend>,
    settings: Arc<proto::Settings>,
    protocol: Protocol,
    store: embedded::Store,
    encryption: Encryption,
    pool: Arc<Pool>,
    extensions: Known,
    shortages: Throttle,
    complained: Mutex<HashSet<Complaint>>,
}

/// For whom a backend is connected to.
#[derive(Clone, Copy)]
enum Whom<'a> {
    /// For a client.
    Client(&'a Connection<'a>),
    /// For mailward itself, maybe as one that has come to it in TLS.
    Mailward { tls: Option<&'a proto::Encryption<'a>> },
}

/// Whether a backend is spoken to in TLS.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// It is not.
    Never,
    /// It is, or it counts as one that is down.
    Always(Arc<ClientSide>),
    /// As a strategy says.
    Strategy(Arc<Guide>),
}

/// A backend that has greeted.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: BackendStream,
    /// Its whole greeting, and nothing behind it.
    pub greeting: Vec<u8>,
    /// The hold on its address; to be kept for as long as the session lasts.
    pub hold: Hold,
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
    /// It has no address that the client's own could connect to. That is not held against it.
    OtherFamily,
    /// mailward has no descriptor or memory left for a connection. That is not held against the backend.
    Shortage,
}

impl Backend {
    /// A backend as one listener sees it, with what is known of its addresses.
    #[must_use]
    pub fn new(
        config: Arc<config::Backend>,
        settings: Arc<proto::Settings>,
        store: embedded::Store,
        encryption: Encryption,
        pool: Arc<Pool>,
    ) -> Self {
        Self {
            config,
            protocol: settings.protocol,
            settings,
            store,
            encryption,
            pool,
            extensions: Known::default(),
            shortages: Throttle::default(),
            complained: Mutex::default(),
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Whether every message for it begins with a trace of its session.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.config.is_told(Identity::Received, self.protocol)
    }

    /// Whether the backend knows the client by its certificate. One that is shown mailward's own might take the client for
    /// mailward, as Dovecot does, whatever the header says.
    #[must_use]
    pub fn knows(&self, client: &Connection<'_>) -> bool {
        let is_told = self.config.proxy_header() == Some(Version::V2) && proxy_header::names_client(client);
        is_told && !self.config.tls.as_ref().is_some_and(config::Encryption::shows_our_own)
    }

    /// Whether a client can be told at once that there is nobody for it: every address is left out.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let mut open = self.config.members.iter().filter(|member| member.weight > 0);
        open.all(|member| self.pool.is_out(&self.named(&member.address)))
    }

    /// Connects for `client` to the address whose turn it is, or else to another, until one greets.
    ///
    /// # Errors
    /// [`DialFault`]; why an address does not answer is logged when it begins to fail.
    pub async fn dial(&self, resolver: &Resolver, client: &Connection<'_>) -> Result<Dialled, DialFault> {
        // In order, one in its slow start is left to others first, where there are others.
        let passes: &[bool] = if self.config.slow_start.is_some() { &[false, true] } else { &[true] };
        let (mut is_open, mut is_closed) = (false, false);
        for eager in passes {
            for members in self.groups() {
                let (mut candidates, closed) = self.fit(self.candidates(members, resolver).await?, client);
                (is_open, is_closed) = (is_open || !candidates.is_empty(), is_closed || closed);
                while let Some(hold) = self.pool.choose(&self.config, &mut candidates, *eager) {
                    if let Some(dialled) = self.attempt(hold, client).await? {
                        return Ok(dialled);
                    }
                }
            }
        }
        if is_closed && !is_open {
            return Err(self.unusable(Complaint::OtherFamily));
        }
        self.pool.none_answers();
        Err(DialFault::Down)
    }

    /// The members between which there is a choice. In order there is none, and a name is not looked up before it is
    /// its turn.
    fn groups(&self) -> impl Iterator<Item = &[Member]> {
        let size = if self.config.order == Order::InOrder { 1 } else { self.config.members.len() };
        self.config.members.chunks(size.max(1))
    }

    /// Dials one address. `None`: it did not answer.
    async fn attempt(&self, mut hold: Hold, client: &Connection<'_>) -> Result<Option<Dialled>, DialFault> {
        let stream = match self.connect(hold.target(), Whom::Client(client)).await {
            Ok(stream) => stream,
            Err(error) if self.is_transparent() && connect::is_of_the_source(&error) => {
                // The others are not to suffer for this one client, to whom there may be no way.
                self.complain(Complaint::NoWayBack);
                hold.failed_for_one(&error.to_string());
                return Ok(None);
            }
            Err(error) => return self.blame(&mut hold, &error).map(|()| None),
        };
        let (mut stream, greeting) = match self.open(stream, hold.target()).await {
            Ok(opened) => opened,
            Err(Unopened::Failed(reason) | Unopened::Unsecured(reason)) => {
                hold.failed(&reason);
                return Ok(None);
            }
            Err(Unopened::Unusable(complaint)) => return Err(self.unusable(complaint)),
        };
        match self.introduce(&mut stream, greeting, client).await {
            Ok(greeting) => {
                hold.answered();
                Ok(Some(Dialled { stream, greeting, hold }))
            }
            Err(Unintroduced::Lost(reason)) => {
                hold.failed_for_one(&reason);
                Ok(None)
            }
            Err(Unintroduced::Unusable(complaint)) => Err(self.unusable(complaint)),
        }
    }

    /// Those of the candidates that a session for `client` can go to, and whether there are others: from its own address
    /// there is a way only to one of its family, and none from an address that a proxy has left open, which would be
    /// mailward's own.
    fn fit(&self, mut candidates: Vec<(Target, u32)>, client: &Connection<'_>) -> (Vec<(Target, u32)>, bool) {
        let all = candidates.len();
        if self.is_transparent() {
            let from = client.source;
            let has_way = !from.ip().is_unspecified();
            candidates.retain(
                |(target, _)| matches!(target, Target::Tcp(to, _) if has_way && to.is_ipv4() == from.is_ipv4()),
            );
        }
        let closed = candidates.len() < all;
        (candidates, closed)
    }

    fn is_transparent(&self) -> bool {
        self.config.is_told(Identity::Transparent, self.protocol)
    }

    /// The backend answers as it must not, or not at all to such a client.
    fn unusable(&self, complaint: Complaint) -> DialFault {
        self.complain(complaint);
        match complaint {
            Complaint::IdentityRefused => DialFault::IdentityRefused,
            Complaint::OtherFamily => DialFault::OtherFamily,
            _ => DialFault::SpokeUnasked,
        }
    }

    /// What is written in front of a session.
    fn header(&self, whom: Whom<'_>, stream: &BackendStream) -> Vec<u8> {
        match (self.config.proxy_header(), whom) {
            (None, _) => Vec::new(),
            (Some(version), Whom::Client(client)) => proxy_header::write(version, Some(client)),
            (Some(Version::V2), Whom::Mailward { tls: None }) => proxy_header::write(Version::V2, None),
            (Some(version), Whom::Mailward { tls }) => {
                // Postfix takes no line that names nobody. This one is as true.
                let own =
                    stream.ends().map(|(source, destination)| Connection { source, destination, tls: tls.cloned() });
                proxy_header::write(version, own.as_ref())
            }
        }
    }

    /// Connects, and says for whom: a backend that is to be told speaks only then.
    async fn connect(&self, target: &Target, whom: Whom<'_>) -> io::Result<BackendStream> {
        let connected = async {
            let mut stream = match target {
                Target::Tcp(address, _) => match whom {
                    Whom::Client(client) if self.is_transparent() => {
                        connect::tcp_from(client.source.ip(), *address).await?
                    }
                    _ => connect::tcp(*address, None).await?,
                },
                Target::Unix(path) => connect::unix(path).await?,
                Target::Embedded => BackendStream::Embedded(self.open_store()),
                Target::Name(..) => return Err(io::ErrorKind::AddrNotAvailable.into()),
            };
            stream.write_all(&self.header(whom, &stream)).await?;
            Ok(stream)
        };
        timeout(self.config.connect_timeout, connected).await.unwrap_or_else(|_| Err(self.too_late("no connection")))
    }

    fn too_late(&self, what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {:?}", self.config.connect_timeout))
    }

    /// Notes why an address cannot be had. An error where the fault is not the address's: the next one would meet it
    /// too.
    fn blame(&self, hold: &mut Hold, error: &io::Error) -> Result<(), DialFault> {
        if !connect::is_shortage(error) {
            hold.failed(&error.to_string());
            return Ok(());
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

    fn too_late_to_greet(&self) -> String {
        format!("no greeting within {:?}", self.config.greeting_timeout)
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
            Complaint::NoWayBack => {
                "no answer came to a connection from a client's address; its way to its clients must lead through mailward's \
                 machine, whose routes must take the answers for its own (deploy/transparent.md)"
            }
            Complaint::OtherFamily => {
                "clients of an address family come that it has no address of, and sessions are to come from their \
                 addresses; give it one, or another identity than transparent"
            }
            Complaint::IdentityRefused => {
                "it lets nobody in while mailward may not say who the client is; permit that to mailward's address (Postfix: \
                 smtpd_authorized_xclient_hosts; Dovecot: login_trusted_networks), or take another identity"
            }
            Complaint::SpokeBeforeTls => {
                "before TLS it sends more than it was asked for, as somebody in between does who wants words of theirs to be \
                 taken for its own; is the way to it safe, and is it really this protocol?"
            }
        };
        tracing::warn!(backend = self.id(), protocol = %self.protocol, advice, "the backend cannot be used as it is");
    }
}
