//! TLS to a backend is asked for in whole: what it has to show can be told, and nothing is said that has no effect.
//!
//! A strategy says all of it, and asks for nothing that only a domain has: there are no MX records, and no MTA-STS policy.

use super::within;
use crate::{
    config::{
        backend_tls::Mode,
        file::BackendTable,
        findings::{Findings, Key},
        host::Address,
        nearest,
        queue::QueueTable,
        resolve::Plan,
        setting::Given,
    },
    policy::strategy::{Requirement, TlsStrategy},
    proto::Protocol,
};

/// Checks `tls.*` of one backend.
pub(super) fn check(backend: &BackendTable, queue: &QueueTable, found: &mut Findings) {
    let tls = &backend.tls;
    if let Some(named) = tls.strategy.given() {
        return strategy(backend, named, queue, found);
    }
    if tls.strategy.is_wrong() {
        return;
    }
    if tls.mode().is_none() {
        for key in tls.details().filter(|_| !tls.mode.is_wrong()) {
            found.error(key, "has no effect without TLS", "set tls.mode to \"starttls\" or \"implicit\" as well");
        }
        return;
    }
    let (cert, key) = (tls.cert.is_absent(), tls.private_key.is_absent());
    if cert != key {
        let absent = if cert { "tls.cert" } else { "tls.private-key" };
        found.missing(&within(&backend.key, absent), "is missing", "tls.cert and tls.private-key go together");
    }
    if let (Some(key), Some(pin)) = (tls.ca.key(), tls.pin.key()) {
        let what = format!("has no effect beside {}, which stands for the whole chain", pin.path);
        found.warning(key, what, "take one of the two out");
    }
    addresses(backend, found);
}

/// Checks a backend that is spoken to as a strategy says.
fn strategy(backend: &BackendTable, named: &Given<String>, queue: &QueueTable, found: &mut Findings) {
    for key in backend.tls.mode.key().into_iter().chain(backend.tls.details()) {
        let what = format!("cannot stand beside {}, which says all of it", named.key.path);
        found.error(key, what, "take one of the two out");
    }
    let Some(strategy) = queue.strategy(&named.value) else {
        let right = nearest::choices(&named.value, &queue.ids());
        return found.error(&named.key, "there is no strategy of this name", right);
    };
    if strategy.mta_sts == Requirement::Require {
        let what = format!("queue.tls.{} requires an MTA-STS policy, and a backend has none", strategy.id);
        found.error(&named.key, what, "name another strategy");
    }
    for address in backend.address.given().iter().flat_map(|list| &list.value) {
        followed_at(&address.value.address, &address.key, &strategy, found);
    }
}

/// Checks that a strategy can be followed at one address.
fn followed_at(address: &Address, key: &Key, strategy: &TlsStrategy, found: &mut Findings) {
    let has_to_be_valid = strategy.starttls != Requirement::Disable && !strategy.allow_invalid_certs;
    let id = &strategy.id;
    match address {
        Address::Embedded => {
            let right = "take tls.strategy out, or write the address of a server";
            found.error(key, "the embedded mail store is in this process, and speaks no TLS", right);
        }
        Address::Unix(_) | Address::Ip(..) if strategy.dane == Requirement::Require => {
            let what = format!("has no name, and queue.tls.{id} requires DANE, which is for names");
            found.error(key, what, "write the server's name, or name another strategy");
        }
        Address::Unix(_) if has_to_be_valid => {
            let what =
                format!("does not say what name the certificate has to be for, which queue.tls.{id} wants valid");
            found.error(key, what, "use tls.mode with tls.name or tls.pin, or name another strategy");
        }
        Address::Unix(_) | Address::Ip(..) | Address::Name(..) => {}
    }
}

fn addresses(backend: &BackendTable, found: &mut Findings) {
    let named = !backend.tls.name.is_absent() || !backend.tls.pin.is_absent();
    for address in backend.address.given().iter().flat_map(|list| &list.value) {
        match &address.value.address {
            Address::Embedded => {
                let right = "take tls.mode out, or write the address of a server";
                found.error(&address.key, "the embedded mail store is in this process, and speaks no TLS", right);
            }
            Address::Unix(_) if !named => {
                let right = "write it in tls.name, or the digest of its key in tls.pin";
                found.error(&address.key, "does not say what name the certificate has to be for", right);
            }
            Address::Unix(_) | Address::Ip(..) | Address::Name(..) => {}
        }
    }
}

/// Checks that the backend of one listener can be spoken to in the way that it is to be.
pub(super) fn check_port(plan: &Plan<'_>, found: &mut Findings) {
    let Some(backend) = plan.backend.filter(|backend| backend.tls.mode() == Some(Mode::Implicit)) else { return };
    let Some(protocol) = plan.protocol().filter(|protocol| *protocol == Protocol::ManageSieve) else { return };
    let Some(mode) = backend.tls.mode.key() else { return };
    // RFC 5804 §1.7: there is STARTTLS, and no port for anything else.
    found.warning(mode, format!("{protocol} has no usual way to begin with TLS"), "is \"starttls\" meant?");
}
