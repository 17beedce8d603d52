//! Who comes in, and who does a handshake: each client's limits, those of all together, and who is kept out for its faults
//! (spec §3.5).
//!
//! Promises that the client is counted and never the proxy in front of it, that exempt networks are not counted at all,
//! that a ban holds before anything is done for a connection (running sessions go on: others may share their address), and
//! that whoever is refused costs next to nothing: a few in a second are told why and have a line in the log, all others
//! are closed without a word, and one line a minute tells of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    bans::Register,
    fault,
    record::{Ended, Outcome, Record},
};
use crate::{
    config::{Protection, Proxies},
    policy::{
        bans::{Fault, Faults},
        client::Client,
        clients::{Clients, Kind, Reached},
        rate::{Bucket, Moment, Rate},
    },
    proto::RefusedLogin,
    telemetry::{Shown, Throttle},
};

/// How many of those that are refused are told so.
const TOLD: Rate = Rate { count: 20, per: Duration::from_secs(1) };

/// Why a client that is banned is not let in.
const BANNED: &str = "banned";

/// What is known of the clients; one for the process, over all listeners, workers and reloads.
#[derive(Debug)]
pub struct Gate {
    /// Who is banned.
    pub bans: Arc<Register>,
    started: Instant,
    clients: Clients,
    faults: Faults,
    told: Mutex<Bucket>,
    untold: AtomicU64,
    summary: Throttle,
}

/// Something of a client's that is counted until this is dropped.
#[derive(Debug)]
pub struct Admission {
    gate: Arc<Gate>,
    kind: Kind,
    client: Client,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key of the limit, for the log.
    pub reason: &'static str,
    /// Whether the client is to be told in its protocol's words.
    pub is_told: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            bans: Arc::default(),
            started: Instant::now(),
            clients: Clients::default(),
            faults: Faults::default(),
            told: Mutex::default(),
            untold: AtomicU64::new(0),
            summary: Throttle::default(),
        }
    }
}

impl Gate {
    /// Lets a connection in that was just accepted. A proxy's is looked at once it is known who comes by it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(
        self: &Arc<Self>,
        peer: SocketAddr,
        proxies: &Proxies,
        protection: &Protection,
    ) -> Result<Option<Admission>, Refused> {
        if proxies.include(peer.ip()) {
            return Ok(None);
        }
        let begun = self.begin(Kind::Connection, protection.client(peer.ip()), protection);
        begun.map_err(|reason| Refused { reason, is_told: self.tells(peer, reason) })
    }

    /// Notes in `record` whom its session is counted against, now that it is known who came by `accepted`; a client that
    /// came by a proxy is let in here.
    pub(crate) fn recognise(
        self: &Arc<Self>,
        accepted: SocketAddr,
        proxies: &Proxies,
        protection: &Protection,
        record: &mut Record,
    ) -> Result<Option<Admission>, Ended> {
        let by_proxy = proxies.include(accepted.ip());
        // What a proxy does in its own name (PROXY's LOCAL, UNKNOWN) is nobody's.
        if by_proxy && record.peer == accepted {
            return Ok(None);
        }
        record.client = protection.client(record.peer.ip());
        if by_proxy { self.begin(Kind::Connection, record.client, protection).map_err(limited) } else { Ok(None) }
    }

    /// Lets a client begin a handshake.
    pub(crate) fn shake(
        self: &Arc<Self>,
        client: Option<Client>,
        protection: &Protection,
    ) -> Result<Option<Admission>, Ended> {
        self.begin(Kind::Handshake, client, protection).map_err(limited)
    }

    /// Holds against the client how its session ended.
    pub(crate) fn judge(&self, record: &Record, protection: &Protection) {
        if let Some(fault) = fault::of(record.ended, record.protocol) {
            self.blame(fault, record, protection);
        }
    }

    /// Notes that the backend has refused a client's login. The line is for fail2ban too (`deploy/fail2ban`): its text and
    /// the place of the address are fixed.
    pub(crate) fn refused_login(&self, login: &RefusedLogin, record: &Record, protection: &Protection) {
        tracing::info!(
            address = %record.peer.ip(),
            session = record.session,
            listener = %record.listener,
            protocol = record.protocol,
            user = %Shown(login.user.as_deref().unwrap_or_default()),
            "login refused"
        );
        self.blame(Fault::Auth, record, protection);
    }

    fn blame(&self, fault: Fault, record: &Record, protection: &Protection) {
        let Some(client) = record.client else { return };
        let Some(rate) = protection.auto_ban.rate(fault) else { return };
        let duration = protection.auto_ban.duration;
        if self.faults.is_too_many(fault, client, rate, self.now()) && self.bans.ban(client, fault, duration) {
            tracing::info!(address = %client, reason = fault.name(), seconds = duration.as_secs(), "client banned");
        }
    }

    fn begin(
        self: &Arc<Self>,
        kind: Kind,
        client: Option<Client>,
        protection: &Protection,
    ) -> Result<Option<Admission>, &'static str> {
        let limits = match kind {
            Kind::Connection => &protection.connections,
            Kind::Handshake => &protection.handshakes,
        };
        let Some(client) = client else { return Ok(None) };
        if kind == Kind::Connection && self.bans.hold(client) {
            return Err(BANNED);
        }
        if !limits.any() {
            return Ok(None);
        }
        match self.clients.begin(kind, client, limits, self.now()) {
            Ok(counted) => Ok(counted.then(|| Admission { gate: self.clone(), kind, client })),
            Err(reached) => Err(reason(kind, reached)),
        }
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// Whether one more is told that it is refused. The others are counted.
    fn tells(&self, peer: SocketAddr, reason: &'static str) -> bool {
        // Whoever is banned learns nothing, and the line that tells of the ban is written.
        let tells = reason != BANNED && self.told.lock().unwrap_or_else(PoisonError::into_inner).take(TOLD, self.now());
        if !tells {
            self.untold.fetch_add(1, Ordering::Relaxed);
            if self.summary.is_due() {
                let refused = self.untold.swap(0, Ordering::Relaxed);
                tracing::info!(address = %peer.ip(), reason, refused, "clients are refused without a word; the last of them");
            }
        }
        tells
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.gate.clients.end(self.kind, self.client);
    }
}

fn limited(reason: &'static str) -> Ended {
    Ended(Outcome::Limited, reason)
}

/// The key of a limit, without its table.
const fn reason(kind: Kind, reached: Reached) -> &'static str {
    match (kind, reached) {
        (Kind::Connection, Reached::AtOnce) => "client-connections",
        (Kind::Connection, Reached::Rate) => "client-connection-rate",
        (Kind::Connection, Reached::RateInAll) => "connection-rate",
        (Kind::Handshake, Reached::AtOnce) => "client-handshakes",
        (Kind::Handshake, Reached::Rate) => "client-handshake-rate",
        (Kind::Handshake, Reached::RateInAll) => "handshake-rate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What fail2ban goes by: the filters in `deploy/fail2ban` are tried on lines like these (`tests/bans.rs`).
    #[test]
    fn the_lines_of_a_refused_login_and_a_ban_have_the_address_in_front() {
        let (gate, written) = (Gate::default(), Written::default());
        let text = "[server]\nauto-ban.auth.rate = \"1/1h\"\n[server.listener.imap]\nbind = \"127.0.0.1:0\"\n\
                    protocol = \"imap\"\n[backend.mail]\naddress = \"127.0.0.1:1\"\n\
                    [certificate.main]\nself-signed = \"localhost\"\n";
        let (config, _) = crate::config::parse(text, std::path::Path::new("proxy.toml")).unwrap();
        let protection = &config.listeners["imap"].protection;
        let peer = "192.0.2.7:40000".parse().unwrap();
        let writer = written.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_target(false).with_ansi(false);
        let mut record = Record::new(1, "imaps", "imap", peer);
        record.client = protection.client(peer.ip());
        tracing::subscriber::with_default(log.finish(), || {
            let login = RefusedLogin { user: Some("ann address=192.0.2.1".to_owned()) };
            gate.refused_login(&login, &record, protection);
            gate.refused_login(&login, &record, protection);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        let refused = " INFO login refused address=192.0.2.7 session=1 listener=imaps protocol=\"imap\" user=ann\\u{20}address=192.0.2.1";
        let banned = " INFO client banned address=192.0.2.7 reason=\"auth\" seconds=3600";
        assert_eq!(lines, [refused, refused, banned]);
    }
}
