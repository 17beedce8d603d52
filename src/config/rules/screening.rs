//! What comes before the greeting is for smtp, and for listeners that greet in the clear.

use std::time::Duration;

use super::within;
use crate::{
    config::{
        dnsbl::DnsblKeys,
        findings::{Findings, Key},
        resolve::Plan,
        setting::Setting,
    },
    proto::Protocol,
};

/// RFC 5321 §4.5.3.2.1: a client waits for the greeting for five minutes, and many for less.
const PATIENCE: Duration = Duration::from_secs(60);

/// More lists than anybody asks: each is asked about each client.
const MOST_LISTS: usize = 16;

/// Checks `pregreet` and `dnsbl.*` of one listener.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let (pregreet, dnsbl) = (&plan.table.pregreet, &plan.table.dnsbl);
    if let Some((what, right)) = out_of_place(plan) {
        for key in pregreet.key().into_iter().chain(dnsbl.zones.key()).chain(dnsbl.ways()) {
            found.error(key, &what, right);
        }
        return;
    }
    patience(pregreet, found);
    patience(&dnsbl.timeout, found);
    lists(dnsbl, found);
}

/// Why a listener has nothing before its greeting, if it has not.
fn out_of_place(plan: &Plan<'_>) -> Option<(String, &'static str)> {
    if plan.is_relay {
        return Some(("means nothing where relay = true".to_owned(), "take it out"));
    }
    if let Some(service) = plan.service.filter(|_| plan.protocol() != Some(Protocol::Smtp)) {
        return Some((format!("means nothing on {}", service.name()), "it is for smtp"));
    }
    let what = "means nothing where TLS begins with the first byte, which is the client's";
    plan.is_implicit().then(|| (what.to_owned(), "it is for listeners with tls.implicit = false"))
}

fn patience(time: &Setting<Duration>, found: &mut Findings) {
    if let Some(given) = time.given().filter(|given| given.value > PATIENCE) {
        found.error(&given.key, "is longer than clients wait for a greeting", "a minute at most");
    }
}

fn lists(dnsbl: &DnsblKeys, found: &mut Findings) {
    if dnsbl.zones.is_absent() {
        let ways: Vec<&Key> = dnsbl.ways().collect();
        for key in ways {
            found.error(key, "means nothing without dnsbl.zones", "name the lists that are to be asked");
        }
        return;
    }
    if let Some(zones) = dnsbl.zones.given().filter(|zones| zones.value.len() > MOST_LISTS) {
        found.error(&zones.key, format!("names more than {MOST_LISTS} lists"), "the best few are enough");
    }
    if dnsbl.server.is_absent() {
        // Lists refuse to answer those who come by a resolver that the whole world uses.
        let right = "write the address of a resolver of your own: \"127.0.0.1:53\"";
        found.missing(&within(&dnsbl.key, "server"), "is missing", right);
    }
}
