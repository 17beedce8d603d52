//! From a recipient's domain to the hosts that take its mail, in order (RFC 5321 §5.1).
//!
//! Promises that a domain whose MX records could not be looked up has no hosts at all (RFC 7672 §2.1.2): nobody can
//! lead mail to another host, or out of DANE, by a lookup that fails. Of each host nothing is looked up before its turn
//! comes: its addresses by [`Host::find`], then, for who wants DANE, its certificates by [`Host::tlsa`].

use std::{collections::HashSet, net::IpAddr};

use super::lookup::{Lookup, Mx};
use crate::{
    config::is_host_name,
    policy::{
        answer::{Answer, Existence, Security},
        dane::{MxOf, NextHop},
    },
};

mod fault;
mod host;
mod ourselves;
mod tlsa;

#[cfg(test)]
mod tests;

pub use fault::{HostFault, Unroutable};
pub use host::{Host, Targets};
pub use ourselves::Ourselves;

/// Where the mail for a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The recipient's domain: a name, or an address in brackets.
    pub domain: String,
    /// What the domain is an alias of, in the end, if it is one.
    pub expanded: Option<String>,
    /// Whether DNSSEC vouches that these are the domain's hosts.
    pub security: Security,
    /// How they were found.
    pub way: Way,
    /// The hosts in the order in which to try them. At least one.
    pub exchanges: Vec<Exchange>,
}

/// How the hosts of a domain were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By its MX records.
    Mx,
    /// It has none, and is the host itself (the implicit MX).
    Implicit,
    /// It is an address.
    Literal,
}

/// A host that takes the mail of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Of its MX record; 0 without one.
    pub preference: u16,
    /// Its name, or an address in brackets, as MTA-STS and strategies look at it.
    pub name: String,
    /// The address in brackets, where it is one.
    pub address: Option<IpAddr>,
}

/// A number below the one given, by chance: the order of hosts that are alike.
pub type Chance<'a> = &'a mut (dyn FnMut(usize) -> usize + Send);

/// Chance itself. Nothing depends on it that an attacker could want.
///
/// # Panics
/// Where `below` is 0.
#[must_use]
pub fn by_chance(below: usize) -> usize {
    let mut bytes = [0; size_of::<usize>()];
    // Without random numbers nothing here works, but the order of hosts might.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    usize::from_ne_bytes(bytes) % below
}

impl Route {
    /// What led to the hosts, for a verdict.
    #[must_use]
    pub fn next_hop(&self) -> NextHop<'_> {
        let mx = match (self.way, self.security) {
            (Way::Mx, Security::Secure) => MxOf::Secure,
            (Way::Implicit, Security::Secure) => MxOf::None,
            (_, Security::Insecure) | (Way::Literal, _) => MxOf::Insecure,
        };
        NextHop { name: &self.domain, expanded: self.expanded.as_deref(), mx }
    }

    /// Finds the hosts of a domain, which is a name in lower-case A-labels or an address in brackets.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn find(
        lookup: &impl Lookup,
        domain: &str,
        ourselves: &Ourselves,
        chance: Chance<'_>,
    ) -> Result<Self, Unroutable> {
        if domain.starts_with('[') {
            return Self::literal(domain);
        }
        if !is_host_name(domain) {
            return Err(Unroutable::NoSuchDomain);
        }
        let answer = lookup.mx(domain).await?;
        match answer.existence {
            Existence::NoName => Err(Unroutable::NoSuchDomain),
            // RFC 7672 §2.2.1: whether it is certain that there are no MX records decides on DANE, as the records
            // themselves would.
            Existence::NoData => Self::implicit(domain, &answer, ourselves),
            Existence::Records => Self::by_records(domain, answer, ourselves, chance),
        }
    }

    // RFC 7672 §2.2: there is no DANE for an address, as no name can be vouched for.
    fn literal(domain: &str) -> Result<Self, Unroutable> {
        let address = Some(host::address_in(domain).ok_or(Unroutable::NoSuchDomain)?);
        let exchanges = vec![Exchange { preference: 0, name: domain.to_owned(), address }];
        let (expanded, security, way) = (None, Security::Insecure, Way::Literal);
        Ok(Self { domain: domain.to_owned(), expanded, security, way, exchanges })
    }

    fn implicit(domain: &str, answer: &Answer<Mx>, ourselves: &Ourselves) -> Result<Self, Unroutable> {
        let exchange = Exchange { preference: 0, name: domain.to_owned(), address: None };
        let names = [Some(domain), answer.aliases.last().map(String::as_str)];
        if names.into_iter().flatten().any(|name| ourselves.is_called(name)) {
            return Err(Unroutable::Loop);
        }
        Ok(Self::new(domain, Way::Implicit, answer, vec![exchange]))
    }

    fn by_records(
        domain: &str,
        mut answer: Answer<Mx>,
        ourselves: &Ourselves,
        chance: Chance<'_>,
    ) -> Result<Self, Unroutable> {
        let mut records = std::mem::take(&mut answer.records);
        // RFC 7505 §3: beside others it means nothing.
        records.retain(|mx| !mx.exchange.is_empty());
        if records.is_empty() {
            return Err(Unroutable::NullMx);
        }
        let exchanges = without_us(in_order(records, chance), ourselves);
        if exchanges.is_empty() { Err(Unroutable::Loop) } else { Ok(Self::new(domain, Way::Mx, &answer, exchanges)) }
    }

    fn new(domain: &str, way: Way, answer: &Answer<Mx>, exchanges: Vec<Exchange>) -> Self {
        let (domain, expanded) = (domain.to_owned(), answer.aliases.last().cloned());
        Self { domain, expanded, security: answer.security, way, exchanges }
    }
}

/// By preference; chance decides among equals.
fn in_order(mut records: Vec<Mx>, chance: Chance<'_>) -> Vec<Exchange> {
    for left in (2..=records.len()).rev() {
        records.swap(left - 1, chance(left));
    }
    records.sort_by_key(|mx| mx.preference);
    let mut seen = HashSet::new();
    records.retain(|mx| seen.insert(mx.exchange.clone()));
    records
        .into_iter()
        .map(|Mx { preference, exchange }| Exchange { preference, name: exchange, address: None })
        .collect()
}

/// RFC 5321 §5.1: who is one of a domain's hosts passes its mail on only to those that are preferred to it.
fn without_us(mut exchanges: Vec<Exchange>, ourselves: &Ourselves) -> Vec<Exchange> {
    let ours =
        exchanges.iter().find(|exchange| ourselves.is_called(&exchange.name)).map(|exchange| exchange.preference);
    exchanges.retain(|exchange| ours.is_none_or(|ours| exchange.preference < ours));
    exchanges
}
