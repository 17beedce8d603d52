//! Why a record could not be written or removed, and what the operator can do about it.

use std::{io, net::SocketAddr, time::Duration};

use super::message::Owner;

/// Why a record could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The name with `_acme-challenge` before it, `origin`, `key` or the value is none that DNS can hold.
    #[error("{0:?} is too long for DNS, or otherwise nothing that it can hold")]
    Name(String),
    /// No reply in time.
    #[error(
        "no reply from the name server {server} within {timeout:?}; is `host` right, and may we reach it by {by}? \
         (`protocol`)"
    )]
    Silent {
        /// Who was asked.
        server: SocketAddr,
        /// `timeout`.
        timeout: Duration,
        /// `UDP` or `TCP`.
        by: &'static str,
    },
    /// The name server cannot be reached.
    #[error("the name server {server} cannot be asked: {error}")]
    Unreachable {
        /// Who was asked.
        server: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The name server says no.
    #[error("the name server {server}, asked {asked}, {refusal}")]
    Refused {
        /// Who was asked.
        server: SocketAddr,
        /// For what.
        asked: String,
        /// Its answer.
        refusal: Refusal,
    },
    /// The name server has no zone that holds the name.
    #[error(
        "the name server {server} is not authoritative for {name}; `host` must be the primary server of the zone that \
         holds it"
    )]
    NotAuthoritative {
        /// Who was asked.
        server: SocketAddr,
        /// The name of the record.
        name: Owner,
    },
    /// The name belongs to a zone that was delegated to other servers.
    #[error(
        "the name server {server} has delegated {zone} to other servers; `host` must be the primary server of that"
    )]
    Delegated {
        /// Who was asked.
        server: SocketAddr,
        /// The zone.
        zone: Owner,
    },
    /// The name is not in the zone of the configuration, and no CNAME record leads there.
    #[error("{name} is not in the zone {origin}, and no CNAME record leads there; correct `origin`, or leave it out")]
    OutsideOrigin {
        /// The name of the record.
        name: Owner,
        /// `origin`.
        origin: Owner,
    },
    /// What is wrong where a CNAME record leads.
    #[error("a CNAME record at {from} leads to {to}, and there: {error}")]
    Alias {
        /// Where the first one stands.
        from: Owner,
        /// Where the last one leads.
        to: Owner,
        /// What is wrong there.
        error: Box<DnsError>,
    },
    /// CNAME records without an end.
    #[error("more than {limit} CNAME records lead on from {from}")]
    Chain {
        /// Where the first one stands.
        from: Owner,
        /// How many are followed.
        limit: usize,
    },
    /// The command cannot be started.
    #[error("the command {command:?} cannot be started: {error}")]
    NoCommand {
        /// `command`.
        command: String,
        /// What the system says.
        error: io::Error,
    },
    /// The command says that it failed.
    #[error("the command {command:?} failed ({status}): {said}")]
    Failed {
        /// `command` and its arguments.
        command: String,
        /// Its exit code or signal.
        status: String,
        /// The last lines that it printed, escaped.
        said: String,
    },
    /// The command took too long and was ended.
    #[error("the command {command:?} had not come to an end after {timeout:?}; the last it said: {said}")]
    Late {
        /// `command` and its arguments.
        command: String,
        /// `timeout`.
        timeout: Duration,
        /// The last lines that it printed, escaped.
        said: String,
    },
}

impl DnsError {
    /// Whether any other record would fare no better, after as long a wait.
    pub(super) fn is_of_all(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Unreachable { .. } | Self::NoCommand { .. } | Self::Late { .. })
    }
}

/// The ways in which a name server says no, as the rest of a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// BADKEY (RFC 8945 §5.2.1).
    #[error("does not know the key; compare `key` and `tsig-algorithm` with its configuration")]
    Key,
    /// BADSIG (RFC 8945 §5.2.2).
    #[error("finds the signature wrong; compare `secret` with its configuration")]
    Secret,
    /// BADTRUNC (RFC 8945 §5.2.2.1).
    #[error("wants longer signatures; choose another `tsig-algorithm`, there and here")]
    Truncation,
    /// BADTIME (RFC 8945 §5.2.3), or a reply that is too old or too new.
    #[error("has another time than we, by {0} s (its time less ours); set both clocks right")]
    Clock(i64),
    /// A reply without a signature, or with a wrong one, that would otherwise be good.
    #[error("gives a reply that is not signed with the key, and so may be anybody's")]
    Unsigned,
    /// NOTAUTH without an error of the signature (RFC 2136 §3.1.1).
    #[error("is not authoritative for the zone; `host` must be the zone's primary server, and `origin` its zone")]
    NotAuthoritative,
    /// REFUSED to an update.
    #[error(
        "refuses to; let the key change TXT records there (BIND: update-policy; Knot: an ACL with action update), on \
         the zone's primary server"
    )]
    Policy,
    /// REFUSED to a question.
    #[error("refuses to answer; `host` must be the primary server of a zone that holds the name, and let us ask")]
    Question,
    /// NOTZONE (RFC 2136 §3.4.1).
    #[error("says that the name is not in the zone; correct `origin`")]
    NotZone,
    /// NOTIMP.
    #[error("takes no such requests (NOTIMP); is it the primary server, and are dynamic updates enabled there?")]
    NotImplemented,
    /// SERVFAIL.
    #[error("has failed (SERVFAIL); its log says why (with updates often that it cannot write the zone's journal)")]
    Failed,
    /// Any other code.
    #[error("answers {0}")]
    Other(String),
}
