//! What the file says in `[acme.<id>]`, key by key, and what it says instead of saying nothing.
//!
//! The keys of every challenge and of every DNS provider stand side by side in one table, as the documents have it;
//! which of them belong together is for `rules` to say.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{
    Acme, Binding, Challenge, Dns01, DnsProvider, Exec, KeyType, Rfc2136, TsigAlgorithm,
    words::{self, ChallengeName, ProviderName},
};
use crate::config::{
    file::List,
    findings::{Findings, Key},
    section::Section,
    setting::Setting,
    word::one_of,
};

/// `[acme.<id>]`.
pub(in crate::config) struct AcmeTable {
    pub(in crate::config) id: String,
    pub(in crate::config) key: Key,
    pub(in crate::config) directory: Setting<String>,
    pub(in crate::config) challenge: Setting<ChallengeName>,
    pub(in crate::config) domains: List<String>,
    pub(in crate::config) key_type: List<KeyType>,
    pub(in crate::config) default: Setting<bool>,
    pub(in crate::config) kid: Setting<String>,
    pub(in crate::config) hmac_key: Setting<Vec<u8>>,
    pub(in crate::config) dns: DnsKeys,
    contact: List<String>,
    cache: Setting<String>,
    reuse_key: Setting<bool>,
    renew_before: Setting<Duration>,
    profile: Setting<String>,
    ca: List<String>,
    preferred_chain: Setting<String>,
}

/// The keys that are for `challenge = "dns-01"`.
pub(in crate::config) struct DnsKeys {
    pub(in crate::config) provider: Setting<ProviderName>,
    pub(in crate::config) polling_interval: Setting<Duration>,
    pub(in crate::config) propagation_timeout: Setting<Duration>,
    pub(in crate::config) timeout: Setting<Duration>,
    /// For `provider = "exec"`.
    pub(in crate::config) command: Setting<Vec<String>>,
    pub(in crate::config) update: UpdateKeys,
}

/// The keys that are for `provider = "rfc2136-tsig"`.
pub(in crate::config) struct UpdateKeys {
    pub(in crate::config) host: Setting<std::net::IpAddr>,
    pub(in crate::config) port: Setting<u64>,
    /// Whether `protocol` is `tcp`.
    pub(in crate::config) tcp: Setting<bool>,
    pub(in crate::config) origin: Setting<String>,
    pub(in crate::config) ttl: Setting<Duration>,
    pub(in crate::config) algorithm: Setting<TsigAlgorithm>,
    pub(in crate::config) key: Setting<String>,
    pub(in crate::config) secret: Setting<Vec<u8>>,
}

/// Reads the table.
pub(in crate::config) fn read(id: &str, table: &mut Section<'_, '_>) -> AcmeTable {
    let (kid, hmac_key) = table
        .within("eab", |table| (table.word("kid", as_it_stands), table.secret("hmac-key", words::parse_base64url)));
    AcmeTable {
        id: id.to_owned(),
        key: table.key.clone(),
        directory: table.word("directory", words::parse_directory),
        challenge: table.word("challenge", |name| one_of(name, &ChallengeName::ALL, ChallengeName::name)),
        domains: table.list("domains", words::parse_domain),
        key_type: table.list("key-type", |name| one_of(name, &KeyType::ALL, KeyType::name)),
        default: table.switch("default"),
        kid,
        hmac_key,
        dns: dns(table),
        contact: table.set("contact", words::parse_contact),
        cache: table.word("cache", as_it_stands),
        reuse_key: table.switch("reuse-key"),
        renew_before: table.duration("renew-before"),
        profile: table.word("profile", as_it_stands),
        ca: table.list("ca", as_it_stands),
        preferred_chain: table.word("preferred-chain", as_it_stands),
    }
}

fn as_it_stands(text: &str) -> Result<String, crate::config::word::Refusal> {
    Ok(text.to_owned())
}

fn dns(table: &mut Section<'_, '_>) -> DnsKeys {
    DnsKeys {
        provider: table.word("provider", words::parse_provider),
        polling_interval: table.duration("polling-interval"),
        propagation_timeout: table.duration("propagation-timeout"),
        timeout: table.duration("timeout"),
        command: table.words("command"),
        update: UpdateKeys {
            host: table.word("host", words::parse_host),
            port: table.count("port", 1..=65_535),
            tcp: table.word("protocol", |name| one_of(name, &[false, true], |tcp| if tcp { "tcp" } else { "udp" })),
            origin: table.word("origin", words::parse_zone),
            ttl: table.duration("ttl"),
            algorithm: table.word("tsig-algorithm", words::parse_algorithm),
            key: table.word("key", words::parse_zone),
            secret: table.secret("secret", words::parse_base64),
        },
    }
}

impl AcmeTable {
    /// `challenge`; `None` where the file says it wrong.
    pub(in crate::config) fn challenge(&self) -> Option<ChallengeName> {
        if self.challenge.is_absent() {
            return Some(ChallengeName::TlsAlpn01);
        }
        self.challenge.given().map(|given| given.value)
    }

    /// `key-type`.
    pub(in crate::config) fn key_types(&self) -> Vec<KeyType> {
        if self.key_type.is_absent() { vec![KeyType::EcdsaP256] } else { self.key_type.values() }
    }

    /// The settings that the table comes to; `alone` where no other one is about certificates. `None` where something
    /// is wrong or missing, which has been reported.
    pub(in crate::config) fn resolve(&self, alone: bool, found: &Findings) -> Option<Acme> {
        let base = found.base();
        let binding = self.kid.given().zip(self.hmac_key.given());
        Some(Acme {
            id: self.id.clone(),
            at: found.position(self.key.offset),
            directory: self.directory.given()?.value.clone(),
            contact: self.contact.values(),
            domains: self.domains.given().map(|_| self.domains.values())?,
            cache: base.join(self.cache.value_or("certs/acme".to_owned())),
            challenge: match self.challenge()? {
                ChallengeName::TlsAlpn01 => Challenge::TlsAlpn01,
                ChallengeName::Http01 => Challenge::Http01,
                ChallengeName::Dns01 => Challenge::Dns01(self.dns.resolve(base)?),
            },
            key_types: self.key_types(),
            reuse_key: self.reuse_key.value_or(true),
            renew_before: self.renew_before.value_or(Duration::from_secs(30 * 24 * 60 * 60)),
            binding: binding.map(|(kid, key)| Binding { kid: kid.value.clone(), hmac_key: key.value.clone() }),
            profile: self.profile.given().map(|profile| profile.value.clone()),
            ca: self.ca.values().iter().map(|path| base.join(path)).collect(),
            preferred_chain: self.preferred_chain.given().map(|root| root.value.clone()),
            default: alone || self.default.value_or(false),
        })
    }
}

impl DnsKeys {
    fn resolve(&self, base: &Path) -> Option<Dns01> {
        let timeout = self.timeout.value_or(Duration::from_secs(30));
        let provider = match self.provider.given()?.value {
            ProviderName::Rfc2136 => DnsProvider::Rfc2136(self.update.resolve(timeout)?),
            ProviderName::Exec => {
                DnsProvider::Exec(Exec { command: program_below(base, &self.command.given()?.value), timeout })
            }
        };
        Some(Dns01 {
            provider,
            polling_interval: self.polling_interval.value_or(Duration::from_secs(15)),
            propagation_timeout: self.propagation_timeout.value_or(Duration::from_secs(60)),
        })
    }
}

/// A relative path of the program is taken from `base`; a bare name is looked for in `PATH` when it is run.
fn program_below(base: &Path, command: &[String]) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        *program = base.join(&*program).to_string_lossy().into_owned();
    }
    command
}

impl UpdateKeys {
    fn resolve(&self, timeout: Duration) -> Option<Rfc2136> {
        let port = u16::try_from(self.port.value_or(53)).unwrap_or(53);
        Some(Rfc2136 {
            server: SocketAddr::new(self.host.given()?.value, port),
            tcp: self.tcp.value_or(false),
            origin: self.origin.given().map(|origin| origin.value.clone()),
            ttl: self.ttl.value_or(Duration::from_secs(300)),
            timeout,
            key: self.key.given()?.value.clone(),
            algorithm: self.algorithm.value_or(TsigAlgorithm::HmacSha256),
            secret: self.secret.given()?.value.clone(),
        })
    }
}
