//! Why mail cannot go to a domain, or to one of its hosts, and what its sender is told.
//!
//! Only what will not be otherwise tomorrow is refused for good: everything else waits in the sender's queue.

use thiserror::Error;

use crate::{
    policy::answer::LookupError,
    proto::smtp::{Answer, Obstacle},
};

/// Why a domain has no host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unroutable {
    /// Nobody can have the domain (NXDOMAIN), or it is not even a name.
    #[error("the domain does not exist")]
    NoSuchDomain,
    /// RFC 7505: it says that it takes no mail.
    #[error("the domain takes no mail (null MX)")]
    NullMx,
    /// Its hosts are not known.
    #[error("looking up the domain's mail hosts: {0}")]
    Lookup(#[from] LookupError),
    /// It is we who would have to take its mail.
    #[error("mail for the domain comes back to this server")]
    Loop,
}

/// Why one host of a domain cannot be reached. The next one is tried (RFC 7672 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostFault {
    /// Its addresses, or what certificates it has, are not known.
    #[error("looking up the mail host: {0}")]
    Lookup(#[from] LookupError),
    /// It has no address that may be used.
    #[error("the mail host has no address")]
    NoAddress,
    /// Its addresses are such as mean this machine, or this network, wherever they are used.
    #[error("the mail host has local addresses only")]
    Local,
    /// It is us. No host behind this one may be tried (RFC 5321 §5.1).
    #[error("the mail host is this server")]
    Ourselves,
    /// What the MX record has is no host's name.
    #[error("the MX record names no host")]
    Name,
}

impl Unroutable {
    /// What the sender is told.
    #[must_use]
    pub fn answer(&self, domain: &str) -> Answer {
        match self {
            Self::NoSuchDomain => Obstacle::NoSuchDomain.answer(domain),
            Self::NullMx => Obstacle::NullMx.answer(domain),
            Self::Lookup(error) => Obstacle::DnsError.answer(&format!("{domain}: {error}")),
            Self::Loop => Obstacle::Loop.answer(&format!("{domain} is this server's own")),
        }
    }
}

impl HostFault {
    /// What the sender is told where the last host of a domain, this one, has failed so.
    #[must_use]
    pub fn answer(&self, host: &str) -> Answer {
        let obstacle = match self {
            Self::Lookup(_) => Obstacle::DnsError,
            Self::NoAddress | Self::Local | Self::Name => Obstacle::NoAddress,
            Self::Ourselves => Obstacle::Loop,
        };
        obstacle.answer(&format!("{host}: {self}"))
    }

    /// Whether the hosts behind this one are out of question too. The sender is told of it only where none before it
    /// has failed in another way: that one may be back tomorrow.
    #[must_use]
    pub fn is_the_end(&self) -> bool {
        matches!(self, Self::Ourselves)
    }
}
