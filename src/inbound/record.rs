//! The one log line that tells a session's life (spec §6).

use std::{net::SocketAddr, time::Instant};

use crate::{net::relay::End, policy::client::Client, telemetry::Shown, tls::Facts};

/// How a session ended, for the `outcome` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In good order.
    Ok,
    /// The client went away in the middle.
    ClientLost,
    /// No TLS came about.
    TlsFailed,
    /// The backend refused the session.
    Refused,
    /// A limit of ours refused it.
    Limited,
    /// A deadline passed.
    Timeout,
    /// No address of the backend answered.
    BackendDown,
    /// The backend went away in the middle, or broke its protocol.
    BackendLost,
    /// The client broke a rule.
    Violation,
    /// mailward is stopping.
    Drained,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientLost => "client-lost",
            Self::TlsFailed => "tls-failed",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Timeout => "timeout",
            Self::BackendDown => "backend-down",
            Self::BackendLost => "backend-lost",
            Self::Violation => "violation",
            Self::Drained => "drained",
        }
    }
}

/// An outcome with its reason, a fixed word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended(pub Outcome, pub &'static str);

impl From<End> for Ended {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self(Outcome::Ok, ""),
            End::Refused => Self(Outcome::Refused, "greeting"),
            End::ClientLost => Self(Outcome::ClientLost, ""),
            End::Timeout => Self(Outcome::Timeout, ""),
            End::ClientViolation(violation) => Self(Outcome::Violation, violation.reason()),
            End::BackendLost => Self(Outcome::BackendLost, ""),
            // Servers that never say close_notify do no harm by it, and every session of theirs ends like this.
            End::BackendCutShort => Self(Outcome::Ok, "backend-ended-without-close-notify"),
            End::BackendViolation(violation) => Self(Outcome::BackendLost, violation.reason()),
            End::Drained => Self(Outcome::Drained, ""),
        }
    }
}

/// What is known of a session so far. It writes its line when it is dropped, so that a session that panicked has
/// one too.
#[derive(Debug)]
pub(crate) struct Record {
    pub session: u64,
    pub listener: String,
    pub protocol: &'static str,
    pub peer: SocketAddr,
    /// Whom limits count; nobody who is exempt, and no proxy.
    pub client: Option<Client>,
    pub started: Instant,
    pub tls: Option<Facts>,
    pub client_tls: &'static str,
    pub user: Option<Box<str>>,
    pub backend: String,
    /// What the client has sent and was sent since it was joined with a backend: not what was said before TLS, nor
    /// to a client that was not joined.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub ended: Ended,
}

impl Record {
    /// The record of a session that has just been accepted.
    pub(crate) fn new(session: u64, listener: &str, protocol: &'static str, peer: SocketAddr) -> Self {
        Self {
            session,
            listener: listener.to_owned(),
            protocol,
            peer,
            client: None,
            started: Instant::now(),
            tls: None,
            client_tls: "",
            user: None,
            backend: String::new(),
            bytes_in: 0,
            bytes_out: 0,
            // What stands here if the session is dropped before it knows better.
            ended: Ended(Outcome::Drained, "stopped"),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(session = self.session, "a session failed by a fault of mailward's; please report it");
            self.ended = Ended(Outcome::ClientLost, "panic");
        }
        let none = Facts::default();
        let tls = self.tls.as_ref().unwrap_or(&none);
        tracing::info!(
            session = self.session,
            listener = %self.listener,
            protocol = self.protocol,
            peer = %self.peer,
            sni = %Shown(&tls.server_name),
            alpn = %Shown(&tls.application),
            tls = tls.version,
            cipher = %tls.cipher,
            group = %tls.group,
            client_tls = self.client_tls,
            resumed = tls.resumed,
            client_cert = %Shown(tls.client.as_deref().unwrap_or_default()),
            user = %Shown(self.user.as_deref().unwrap_or_default()),
            backend = %self.backend,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = self.ended.0.name(),
            reason = self.ended.1,
            "session"
        );
    }
}
