//! What `[queue]` says of sessions with the servers of recipients, whichever strategy holds.

use std::net::IpAddr;

use super::timeouts::{QueueTimeouts, TimeoutKeys};
use crate::config::{file::List, host, resolve::size, section::Section, setting::Setting, shared::MANY, word::one_of};

/// `ip-strategy`: which addresses of a server are tried, and which of them first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// `ipv4-then-ipv6`: all, those of version 4 first.
    #[default]
    V4First,
    /// `ipv6-then-ipv4`: all, those of version 6 first.
    V6First,
    /// `ipv4-only`: of version 4 alone.
    V4Only,
    /// `ipv6-only`: of version 6 alone.
    V6Only,
}

impl Families {
    const ALL: [Self; 4] = [Self::V4First, Self::V6First, Self::V4Only, Self::V6Only];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4First => "ipv4-then-ipv6",
            Self::V6First => "ipv6-then-ipv4",
            Self::V4Only => "ipv4-only",
            Self::V6Only => "ipv6-only",
        }
    }

    /// Whether addresses of this one's version are tried.
    #[must_use]
    pub const fn include(self, ip: IpAddr) -> bool {
        match self {
            Self::V4Only => ip.is_ipv4(),
            Self::V6Only => ip.is_ipv6(),
            Self::V4First | Self::V6First => true,
        }
    }
}

/// `queue.limit.*`: how many sessions there may be at once, in the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// `domain`: with the servers of one recipient domain.
    pub domain: usize,
    /// `host`: with one address of a server.
    pub host: usize,
    /// `sessions`: all together.
    pub sessions: usize,
}

/// What the file says.
pub(in crate::config) struct SessionKeys {
    pub(in crate::config) ip_strategy: Setting<Families>,
    pub(in crate::config) source_ip: List<IpAddr>,
    pub(super) ehlo_hostname: Setting<String>,
    pub(super) immediate_retries: Setting<u64>,
    pub(super) limits: LimitKeys,
    pub(in crate::config) timeouts: TimeoutKeys,
    pub(super) eight_bit: Setting<bool>,
    pub(super) local_targets: Setting<bool>,
}

/// `queue.limit.*`.
pub(super) struct LimitKeys {
    domain: Setting<u64>,
    host: Setting<u64>,
    sessions: Setting<u64>,
}

/// The sender waits for all of them.
const MOST_RETRIES: u64 = 3;

impl SessionKeys {
    /// Reads the keys.
    pub(super) fn read(table: &mut Section<'_, '_>) -> Self {
        Self {
            ip_strategy: table.word("ip-strategy", |name| one_of(name, &Families::ALL, Families::name)),
            source_ip: table.list("source-ip", host::parse_source),
            ehlo_hostname: table.word("ehlo-hostname", host::parse_hostname),
            immediate_retries: table.count("immediate-retries", 0..=MOST_RETRIES),
            limits: table.within("limit", |table| LimitKeys {
                domain: table.count("domain", 1..=MANY),
                host: table.count("host", 1..=MANY),
                sessions: table.count("sessions", 1..=MANY),
            }),
            timeouts: table.within("timeout", QueueTimeouts::read),
            eight_bit: table.word("eight-bit", |name| one_of(name, &[true, false], eight_bit)),
            local_targets: table.switch("local-targets"),
        }
    }

    /// Whether the file has any of them.
    pub(super) fn say_anything(&self) -> bool {
        let Self {
            ip_strategy,
            source_ip,
            ehlo_hostname,
            immediate_retries,
            limits,
            timeouts,
            eight_bit,
            local_targets,
        } = self;
        let LimitKeys { domain, host, sessions } = limits;
        let counts = [immediate_retries, domain, host, sessions];
        let switches = [eight_bit, local_targets];
        !(ip_strategy.is_absent() && source_ip.is_absent() && ehlo_hostname.is_absent())
            || counts.iter().any(|setting| !setting.is_absent())
            || timeouts.iter().any(|setting| !setting.is_absent())
            || switches.iter().any(|setting| !setting.is_absent())
    }
}

impl LimitKeys {
    /// What holds.
    pub(super) fn resolve(&self) -> QueueLimits {
        // As Postfix has it for a destination.
        let (domain, host) = (self.domain.value_or(20), self.host.value_or(20));
        QueueLimits { domain: size(domain), host: size(host), sessions: size(self.sessions.value_or(1000)) }
    }
}

/// The value of `eight-bit` that means whether a message with 8 bits goes to a server that has no word for it.
pub(in crate::config) const fn eight_bit(goes: bool) -> &'static str {
    if goes { "send" } else { "reject" }
}
