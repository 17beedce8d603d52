//! The TLSA records of one host, and the name that they are of (RFC 7672 §2.2, RFC 7671 §7).
//!
//! Promises that no TLSA record is asked for where DNSSEC does not vouch for the host's addresses: name servers of
//! zones without signatures answer such questions with failures, and mail would wait for ever. That a question fails is
//! an error; never is a name asked about because another failed.

use super::{
    super::lookup::{Found, Lookup},
    Host, Route, Way,
    host::address_in,
};
use crate::policy::{
    answer::{Existence, LookupError, Security},
    dane::{Asked, NotAsked},
};

impl Host {
    /// Asks for the TLSA records of the service at `port`, for a host of `route`.
    pub async fn tlsa(&self, lookup: &impl Lookup, route: &Route, port: u16) -> Asked {
        // RFC 7672 §2.2.1: a domain that may after all have MX records is not vouched to be its own host.
        if (route.way, route.security) == (Way::Implicit, Security::Insecure) && lookup.vouches() {
            return Asked::Not(NotAsked::InsecureAddress);
        }
        self.own_tlsa(lookup, port).await
    }

    /// The same for a host that the operator named, and that is none of a domain.
    pub async fn own_tlsa(&self, lookup: &impl Lookup, port: u16) -> Asked {
        if address_in(&self.name).is_some() {
            return Asked::Not(NotAsked::Literal);
        }
        if !lookup.vouches() {
            return Asked::Not(NotAsked::Unbelieved);
        }
        let bases = match self.bases(lookup).await {
            Ok(bases) => bases,
            Err(error) => return Asked::Failed { base: self.name.clone(), error },
        };
        let mut asked = Asked::Not(NotAsked::InsecureAddress);
        for base in bases {
            asked = ask(lookup, base, port).await;
            if !is_without(&asked) {
                break;
            }
        }
        asked
    }

    /// The names that may have TLSA records, the better first. Those between the first and the last alias may not.
    async fn bases(&self, lookup: &impl Lookup) -> Result<Vec<&str>, LookupError> {
        let name = self.name.as_str();
        Ok(match (self.security, self.aliases.last()) {
            (Security::Secure, None) => vec![name],
            (Security::Secure, Some(last)) => vec![last, name],
            (Security::Insecure, None) => vec![],
            // RFC 7672 §2.2.2: the alias itself may be vouched for where what it leads to is not.
            (Security::Insecure, Some(_)) if is_secure(lookup.alias(name).await)? => vec![name],
            (Security::Insecure, Some(_)) => vec![],
        })
    }
}

async fn ask(lookup: &impl Lookup, base: &str, port: u16) -> Asked {
    let answer = lookup.tlsa(&format!("_{port}._tcp.{base}")).await;
    let base = base.to_owned();
    match answer {
        Ok(answer) => Asked::Answered { base, answer },
        Err(error) => Asked::Failed { base, error },
    }
}

/// Whether it is certain that this name has none that count, so that the next may have some.
fn is_without(asked: &Asked) -> bool {
    match asked {
        Asked::Answered { answer, .. } => {
            answer.existence != Existence::Records || answer.security == Security::Insecure
        }
        // It is so long that there can be no name below it.
        Asked::Failed { error, .. } => *error == LookupError::Name,
        Asked::Not(_) => true,
    }
}

fn is_secure(alias: Found<String>) -> Result<bool, LookupError> {
    alias.map(|answer| answer.existence == Existence::Records && answer.security == Security::Secure)
}
