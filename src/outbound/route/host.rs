//! The addresses of one host.

use std::net::{IpAddr, SocketAddr};

use super::{
    super::lookup::{Found, Lookup},
    Exchange, HostFault, Ourselves,
};
use crate::{
    config::{Families, is_host_name},
    policy::answer::{Answer, LookupError, Security},
};

/// Which targets are right.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// The port that is connected to.
    pub port: u16,
    /// Which addresses.
    pub families: Families,
    /// Whether a host may be at an address that means this machine or its link: whoever owns a domain could otherwise
    /// lead mail, and connections, to what listens there.
    pub may_be_local: bool,
    /// Who we are.
    pub ourselves: &'a Ourselves,
}

/// A host and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name in the MX record, or an address in brackets.
    pub name: String,
    /// In the order in which to try them: by family, else as the name server has them (RFC 5321 §5.1). At least one.
    pub addresses: Vec<IpAddr>,
    /// Whether DNSSEC vouches for the addresses.
    pub security: Security,
    /// The names after each alias, if the name is one.
    pub aliases: Vec<String>,
}

impl Host {
    /// Looks up where a host is.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn find(lookup: &impl Lookup, exchange: &Exchange, targets: &Targets<'_>) -> Result<Self, HostFault> {
        let found = match exchange.address {
            Some(ip) => Self::at(&exchange.name, vec![ip]),
            None => Self::look_up(lookup, &exchange.name, targets.families).await?,
        };
        found.within(targets)
    }

    fn at(name: &str, addresses: Vec<IpAddr>) -> Self {
        Self { name: name.to_owned(), addresses, security: Security::Insecure, aliases: Vec::new() }
    }

    async fn look_up(lookup: &impl Lookup, name: &str, families: Families) -> Result<Self, HostFault> {
        if !is_host_name(name) {
            return Err(HostFault::Name);
        }
        let v4 = async { Some(plain(lookup.v4(name).await)) };
        let v6 = async { Some(plain(lookup.v6(name).await)) };
        let answers = match families {
            Families::V4Only => [v4.await, None],
            Families::V6Only => [v6.await, None],
            Families::V4First => tokio::join!(v4, v6).into(),
            Families::V6First => tokio::join!(v6, v4).into(),
        };
        Self::of(name, answers.into_iter().flatten())
    }

    /// What the answers of both families come to. One that failed counts only where the other has nothing.
    fn of(name: &str, answers: impl Iterator<Item = Found<IpAddr>>) -> Result<Self, HostFault> {
        let mut host = Self::at(name, Vec::new());
        let mut failure: Option<LookupError> = None;
        for answer in answers {
            match answer {
                Ok(answer) if answer.records.is_empty() => {}
                Ok(answer) => {
                    // That there is none of the one family says nothing of the other's.
                    if host.addresses.is_empty() || answer.security == Security::Secure {
                        (host.security, host.aliases) = (answer.security, answer.aliases);
                    }
                    host.addresses.extend(answer.records);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            _ if !host.addresses.is_empty() => Ok(host),
            Some(error) => Err(error.into()),
            None => Err(HostFault::NoAddress),
        }
    }

    fn within(mut self, targets: &Targets<'_>) -> Result<Self, HostFault> {
        if self.addresses.iter().any(|ip| targets.ourselves.listens_at(SocketAddr::new(*ip, targets.port))) {
            return Err(HostFault::Ourselves);
        }
        self.addresses.retain(|ip| targets.families.include(*ip));
        if self.addresses.is_empty() {
            return Err(HostFault::NoAddress);
        }
        self.addresses.retain(|ip| targets.may_be_local || !is_local(*ip));
        if self.addresses.is_empty() { Err(HostFault::Local) } else { Ok(self) }
    }
}

/// The same answer, with addresses as the kernel understands them.
fn plain<T: Into<IpAddr>>(found: Found<T>) -> Found<IpAddr> {
    let Answer { records, existence, security, aliases, ttl } = found?;
    let records = records.into_iter().map(|ip| ip.into().to_canonical()).collect();
    Ok(Answer { records, existence, security, aliases, ttl })
}

/// The address in brackets that stands for a domain (RFC 5321 §4.1.3).
pub(super) fn address_in(domain: &str) -> Option<IpAddr> {
    let literal = domain.strip_prefix('[')?.strip_suffix(']')?;
    match literal.split_at_checked(5) {
        Some((tag, ip)) if tag.eq_ignore_ascii_case("IPv6:") => Some(IpAddr::V6(ip.parse().ok()?).to_canonical()),
        _ => Some(IpAddr::V4(literal.parse().ok()?)),
    }
}

/// Whether an address means this machine or this link, wherever it is used, or no single host.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.octets()[0] == 0 || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast(),
    }
}
