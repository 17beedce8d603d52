//! The keys of `challenge = "dns-01"` and of its providers stand with what they are for, and none of those is missing.

use std::time::Duration;

use super::within;
use crate::config::{
    acme::{AcmeTable, ChallengeName, ProviderName},
    findings::{Findings, Key},
};

/// Checks the keys of one `[acme.<id>]`.
pub(super) fn check(table: &AcmeTable, found: &mut Findings) {
    let Some(challenge) = table.challenge() else { return };
    if challenge == ChallengeName::Dns01 {
        provider(table, found);
    } else {
        let (key, is) = super::acme::challenge(table, challenge);
        let is = format!("{} {is}", key.path);
        let all = [for_dns(table), for_exec(table), for_update(table)];
        misplaced(all.into_iter().flatten(), &is, "it is for challenge = \"dns-01\"", found);
    }
    if let Some(ttl) = table.dns.update.ttl.given().filter(|ttl| ttl.value < Duration::from_secs(1)) {
        found.error(&ttl.key, "is less than a second, which the DNS counts in", "write \"1s\" or more");
    }
}

fn provider(table: &AcmeTable, found: &mut Findings) {
    let provider = &table.dns.provider;
    if provider.is_absent() {
        let names = ProviderName::ALL.map(|name| format!("\"{}\"", name.name())).join(" or ");
        found.missing(&within(&table.key, "provider"), "is missing", format!("write {names}"));
    }
    let Some(given) = provider.given() else { return };
    let is = format!("{} is \"{}\"", given.key.path, given.value.name());
    match given.value {
        ProviderName::Rfc2136 => {
            misplaced(for_exec(table), &is, "it is for provider = \"exec\"", found);
            update(table, found);
        }
        ProviderName::Exec => {
            misplaced(for_update(table), &is, "it is for provider = \"rfc2136-tsig\"", found);
            if table.dns.command.is_absent() {
                let right = "write the program that sets the record: command = [\"/usr/local/bin/dns-hook\"]";
                found.missing(&within(&table.key, "command"), "is missing", right);
            }
        }
    }
}

fn update(table: &AcmeTable, found: &mut Findings) {
    let keys = &table.dns.update;
    let mut need = |name, right| found.missing(&within(&table.key, name), "is missing", right);
    if keys.host.is_absent() {
        need("host", "write the IP address of the name server that takes updates");
    }
    if keys.key.is_absent() {
        need("key", "write the name of the TSIG key that may change the zone");
    }
    if keys.secret.is_absent() {
        need("secret", "write the TSIG key in base64: secret = \"%{file:tsig.key}%\"");
    }
}

fn misplaced<'t>(keys: impl IntoIterator<Item = &'t Key>, is: &str, right: &str, found: &mut Findings) {
    for key in keys {
        found.error(key, format!("means nothing while {is}"), right);
    }
}

fn for_dns(table: &AcmeTable) -> Vec<&Key> {
    let keys = &table.dns;
    let all = [keys.provider.key(), keys.polling_interval.key(), keys.propagation_timeout.key(), keys.timeout.key()];
    all.into_iter().flatten().collect()
}

fn for_exec(table: &AcmeTable) -> Vec<&Key> {
    table.dns.command.key().into_iter().collect()
}

fn for_update(table: &AcmeTable) -> Vec<&Key> {
    let keys = &table.dns.update;
    let all = [
        keys.host.key(),
        keys.port.key(),
        keys.tcp.key(),
        keys.origin.key(),
        keys.ttl.key(),
        keys.algorithm.key(),
        keys.key.key(),
        keys.secret.key(),
    ];
    all.into_iter().flatten().collect()
}
