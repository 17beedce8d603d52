//! `[queue]`: what is asked of the way to a remote (`[queue.tls.<id>]`), which of it holds for a message
//! (`queue.strategy.tls`), and how remotes are connected to whatever holds (`sessions`).
//!
//! `queue.outbound.tls.*` and `queue.outbound.timeouts.*`, an older spelling, are the strategy `default`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use super::{
    findings::Key,
    nearest,
    section::{Conditional, Section},
    setting::{Given, Setting},
    word::Refusal,
};
use crate::policy::strategy::{
    self, BUILT_IN, Condition, DEFAULT, INVALID_TLS, LONGEST_MTA_STS, LONGEST_TLS, Names, Requirement, Rule,
    Strategies, TlsStrategy,
};

mod sessions;
mod timeouts;

use sessions::SessionKeys;
pub(super) use sessions::eight_bit;
pub use sessions::{Families, QueueLimits};
pub use timeouts::QueueTimeouts;

/// What `[queue]` comes to.
#[derive(Clone, Debug)]
pub struct Queue {
    /// `[queue.tls.<id>]`, by id; `default` and `invalid-tls` are there whatever the file says.
    pub strategies: BTreeMap<String, Arc<TlsStrategy>>,
    /// `queue.strategy.tls`, or what holds without it.
    pub tls: Arc<Strategies>,
    /// `ip-strategy`.
    pub ip_strategy: Families,
    /// `source-ip`: the address of this machine that remotes of version 4 are connected to from; without, the kernel
    /// chooses.
    pub source_v4: Option<Ipv4Addr>,
    /// The same for those of version 6.
    pub source_v6: Option<Ipv6Addr>,
    /// `ehlo-hostname`: what remotes are told that this server is called.
    pub ehlo_hostname: String,
    /// `immediate-retries`: how often a remote is tried again at once whose TLS has failed, where a rule then asks for
    /// something else.
    pub immediate_retries: u32,
    /// `limit.*`.
    pub limits: QueueLimits,
    /// `timeout.*`.
    pub timeouts: QueueTimeouts,
    /// `eight-bit`: whether a message that may have 8 bits goes to a remote without 8BITMIME, as it is.
    pub eight_bit: bool,
    /// `local-targets`: whether a remote may be at an address that means this machine or its link.
    pub local_targets: bool,
    /// Whether the file says anything of it.
    pub named: bool,
}

/// What the file says.
pub(super) struct QueueTable {
    pub(super) strategies: Vec<StrategyTable>,
    /// The older spelling, where it has any of its keys.
    pub(super) outbound: Option<StrategyTable>,
    pub(super) rules: Setting<Conditional<Condition, String>>,
    pub(super) sessions: SessionKeys,
}

/// `[queue.tls.<id>]`, or the older spelling of `default`.
pub(super) struct StrategyTable {
    pub(super) id: String,
    pub(super) key: Key,
    pub(super) dane: Setting<Requirement>,
    pub(super) mta_sts: Setting<Requirement>,
    pub(super) starttls: Setting<Requirement>,
    pub(super) allow_invalid_certs: Setting<bool>,
    pub(super) tls_timeout: Setting<Duration>,
    pub(super) mta_sts_timeout: Setting<Duration>,
}

/// Reads the table; `listeners` are those that a rule may name.
pub(super) fn read(table: &mut Section<'_, '_>, listeners: Vec<String>) -> QueueTable {
    let strategies = table.each("tls", |id, table| {
        let policy = policy(table);
        let timeouts = table.within("timeout", timeouts);
        strategy(id, table.key.clone(), policy, timeouts)
    });
    let outbound = table.within("outbound", |table| {
        let policy = table.within("tls", policy);
        let timeouts = table.within("timeouts", timeouts);
        strategy(DEFAULT, table.key.clone(), policy, timeouts)
    });
    let ids = strategies.iter().map(|table| table.id.as_str()).chain([DEFAULT, INVALID_TLS]);
    let mut names = Names { listeners, strategies: ids.map(str::to_owned).collect() };
    names.strategies.sort_unstable();
    names.strategies.dedup();
    let rules = table.within("strategy", |table| {
        let id = |text: &str| strategy::id(text, &names).map(str::to_owned);
        table.conditional("tls", |text| strategy::condition(text, &names), id)
    });
    let sessions = SessionKeys::read(table);
    QueueTable { strategies, outbound: outbound.says_anything().then_some(outbound), rules, sessions }
}

type Policy = ([Setting<Requirement>; 3], Setting<bool>);

fn policy(table: &mut Section<'_, '_>) -> Policy {
    let requirements =
        ["dane", "mta-sts", "starttls"].map(|name| table.word_or_switch(name, parse_requirement, switched));
    (requirements, table.switch("allow-invalid-certs"))
}

fn timeouts(table: &mut Section<'_, '_>) -> [Setting<Duration>; 2] {
    [table.duration("tls"), table.duration("mta-sts")]
}

fn strategy(id: &str, key: Key, policy: Policy, timeouts: [Setting<Duration>; 2]) -> StrategyTable {
    let ([dane, mta_sts, starttls], allow_invalid_certs) = policy;
    let [tls_timeout, mta_sts_timeout] = timeouts;
    let id = id.to_owned();
    StrategyTable { id, key, dane, mta_sts, starttls, allow_invalid_certs, tls_timeout, mta_sts_timeout }
}

/// Reads a requirement by its name, or by one of the others that the documents have for it.
fn parse_requirement(text: &str) -> Result<Requirement, Refusal> {
    match text {
        "optional" => Ok(Requirement::Optional),
        "require" | "required" => Ok(Requirement::Require),
        "disable" | "disabled" | "none" | "false" => Ok(Requirement::Disable),
        _ => Err(Refusal::new("is unknown", nearest::choices(text, &["optional", "require", "disable"]))),
    }
}

fn switched(on: bool) -> Result<Requirement, Refusal> {
    if on { Err(Refusal::new("is true", "write \"optional\" or \"require\"")) } else { Ok(Requirement::Disable) }
}

impl StrategyTable {
    fn says_anything(&self) -> bool {
        let requirements = [&self.dane, &self.mta_sts, &self.starttls];
        let times = [&self.tls_timeout, &self.mta_sts_timeout];
        requirements.iter().any(|setting| !setting.is_absent())
            || times.iter().any(|setting| !setting.is_absent())
            || !self.allow_invalid_certs.is_absent()
    }

    fn resolve(&self) -> TlsStrategy {
        TlsStrategy {
            id: self.id.clone(),
            dane: self.dane.value_or(Requirement::default()),
            mta_sts: self.mta_sts.value_or(Requirement::default()),
            starttls: self.starttls.value_or(Requirement::default()),
            allow_invalid_certs: self.allow_invalid_certs.value_or(false),
            tls_timeout: self.tls_timeout.value_or(LONGEST_TLS).min(LONGEST_TLS),
            mta_sts_timeout: self.mta_sts_timeout.value_or(LONGEST_MTA_STS).min(LONGEST_MTA_STS),
        }
    }
}

impl Queue {
    /// The address of this machine that a remote at `ip` is connected to from, where the file names one.
    #[must_use]
    pub fn source_for(&self, ip: IpAddr) -> Option<IpAddr> {
        match ip {
            IpAddr::V4(_) => self.source_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.source_v6.map(IpAddr::V6),
        }
    }
}

impl QueueTable {
    /// The strategies of the file, in its order.
    pub(super) fn tables(&self) -> impl Iterator<Item = &StrategyTable> {
        self.outbound.iter().chain(&self.strategies)
    }

    /// Those that there are without the file, and its own: of several with one id the last counts.
    fn all(&self) -> impl Iterator<Item = TlsStrategy> {
        [DEFAULT, INVALID_TLS].map(TlsStrategy::new).into_iter().chain(self.tables().map(StrategyTable::resolve))
    }

    /// The strategy with this id.
    pub(super) fn strategy(&self, id: &str) -> Option<TlsStrategy> {
        self.all().filter(|strategy| strategy.id == id).last()
    }

    /// The ids that a backend may name.
    pub(super) fn ids(&self) -> Vec<&str> {
        let own =
            self.strategies.iter().map(|table| table.id.as_str()).filter(|id| ![DEFAULT, INVALID_TLS].contains(id));
        own.chain([DEFAULT, INVALID_TLS]).collect()
    }

    /// What holds on a server of this name. Whatever is wrong has been reported; it is left out, or has its default.
    pub(super) fn resolve(&self, hostname: &str) -> Queue {
        let strategies = self.all().map(|strategy| (strategy.id.clone(), Arc::new(strategy))).collect();
        let tls = Arc::new(self.choice(&strategies));
        let keys = &self.sessions;
        let sources = keys.source_ip.values();
        Queue {
            strategies,
            tls,
            ip_strategy: keys.ip_strategy.value_or(Families::default()),
            source_v4: sources.iter().find_map(|ip| match ip {
                IpAddr::V4(ip) => Some(*ip),
                IpAddr::V6(_) => None,
            }),
            source_v6: sources.iter().find_map(|ip| match ip {
                IpAddr::V4(_) => None,
                IpAddr::V6(ip) => Some(*ip),
            }),
            ehlo_hostname: keys.ehlo_hostname.value_or(hostname.to_owned()),
            immediate_retries: u32::try_from(keys.immediate_retries.value_or(1)).unwrap_or(1),
            limits: keys.limits.resolve(),
            timeouts: QueueTimeouts::resolve(&keys.timeouts),
            eight_bit: keys.eight_bit.value_or(true),
            local_targets: keys.local_targets.value_or(false),
            named: self.tables().next().is_some() || !self.rules.is_absent() || keys.say_anything(),
        }
    }

    fn choice(&self, strategies: &BTreeMap<String, Arc<TlsStrategy>>) -> Strategies {
        let of = |id: &str| strategies.get(id).cloned().unwrap_or_else(|| Arc::new(TlsStrategy::new(DEFAULT)));
        let Some(Given { value: list, .. }) = self.rules.given() else {
            let condition = strategy::condition(BUILT_IN, &Names::default());
            let rule = condition.map(|condition| Rule { condition, strategy: of(INVALID_TLS) });
            return Strategies { rules: rule.into_iter().collect(), otherwise: of(DEFAULT) };
        };
        let rules = list.rules.iter();
        let rules = rules.map(|rule| Rule { condition: rule.condition.clone(), strategy: of(&rule.result.value) });
        Strategies { rules: rules.collect(), otherwise: of(&list.otherwise.value) }
    }
}
