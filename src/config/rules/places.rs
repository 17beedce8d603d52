//! Where listeners listen and backends are: every place once, no loop, and the embedded backend at home.

use std::{collections::HashMap, net::SocketAddr};

use super::within;
use crate::{
    config::{
        file::BackendTable,
        findings::{Findings, Key},
        host::Address,
        resolve::Plan,
        service::Service,
        setting::Given,
    },
    proto::Protocol,
};

/// Checks the addresses of all listeners and of the backends behind them.
pub(super) fn check(plans: &[Plan<'_>], found: &mut Findings) {
    let key = Key { path: "server.listener".to_owned(), offset: 0 };
    if plans.is_empty() && !found.speaks_of(&key.path) {
        found.missing(&key, "there is none", "add a table [server.listener.<id>] with bind and protocol");
    }
    for plan in plans {
        complete(plan, found);
        embedded(plan, found);
    }
    twice_bound(plans, found);
    loops(plans, found);
}

fn complete(plan: &Plan<'_>, found: &mut Findings) {
    let key = &plan.table.key;
    if plan.table.bind.is_absent() {
        let port = plan.service.map_or(25, Service::default_port);
        found.missing(&within(key, "bind"), "is missing", format!("write where to listen: bind = [\"[::]:{port}\"]"));
    }
    if plan.table.protocol.is_absent() {
        let names = Service::ALL.map(Service::name).join(", ");
        found.missing(&within(key, "protocol"), "is missing", format!("write one of {names}"));
    }
}

/// Every place that listeners ask for, in the order of the file.
fn binds<'p>(plans: &'p [Plan<'_>]) -> Vec<(&'p Given<SocketAddr>, &'p Key)> {
    let of = |plan: &'p Plan<'_>| plan.table.bind.given().map(|list| (list, &plan.table.key));
    let lists = plans.iter().filter_map(of);
    let mut all: Vec<_> = lists.flat_map(|(list, key)| list.value.iter().map(move |bind| (bind, key))).collect();
    all.sort_by_key(|(bind, _)| bind.key.offset);
    all
}

fn twice_bound(plans: &[Plan<'_>], found: &mut Findings) {
    let mut owners = HashMap::new();
    // The system chooses another port for each port 0.
    for (bind, listener) in binds(plans).into_iter().filter(|(bind, _)| bind.value.port() != 0) {
        let owner = owners.entry(bind.value).or_insert(listener);
        if owner.path != listener.path {
            let what = format!("{} is bound by {} too", bind.value, owner.path);
            found.error(&bind.key, what, "give each listener an address or a port of its own");
        }
    }
}

fn loops(plans: &[Plan<'_>], found: &mut Findings) {
    let binds = binds(plans);
    for plan in plans {
        let (Some(protocol), Some(backend)) = (plan.protocol(), plan.backend) else { continue };
        let port = backend.default_port(protocol);
        for address in backend.address.given().iter().flat_map(|list| &list.value) {
            let met = binds.iter().find(|(bind, _)| reaches(&address.value.address, port, bind.value));
            if let Some((_, listener)) = met {
                let what = format!("{} is where {} listens", address.value.address.resolved(port), listener.path);
                found.error(&address.key, what, "write the address of the mail server itself");
            }
        }
    }
}

/// Whether a connection to `address`, at this port where it names none, comes out at `bind`.
fn reaches(address: &Address, port: u16, bind: SocketAddr) -> bool {
    if address.port(port) != Some(bind.port()) {
        return false;
    }
    let wildcard = bind.ip().is_unspecified();
    match address {
        // `[::]` takes IPv4 too.
        Address::Ip(ip, _) if wildcard => ip.is_loopback() && (bind.is_ipv6() || ip.is_ipv4()),
        Address::Ip(ip, _) => *ip == bind.ip(),
        Address::Name(name, _) => is_this_machine(name) && (wildcard || bind.ip().is_loopback()),
        Address::Unix(_) | Address::Embedded => false,
    }
}

/// RFC 6761 §6.3: `localhost` and all below it are loopback.
fn is_this_machine(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a backend is the embedded one; `None` where its address is not known.
pub(super) fn is_embedded(backend: &BackendTable) -> Option<bool> {
    let addresses = backend.address.given()?;
    Some(addresses.value.iter().any(|address| address.value.address == Address::Embedded))
}

fn embedded(plan: &Plan<'_>, found: &mut Findings) {
    let Some(backend) = plan.backend.filter(|backend| is_embedded(backend) == Some(true)) else { return };
    if let Some(protocol) = plan.table.protocol.is(&Service::Mail(Protocol::ManageSieve)) {
        let what = format!("{} is embedded, and speaks no managesieve", backend.key.path);
        found.error(protocol, what, "write the address of a real server there, or take the listener out");
    }
    for bind in plan.table.bind.given().iter().flat_map(|binds| &binds.value) {
        if !bind.value.ip().is_loopback() {
            let what = format!("{} is not loopback, and {} takes any password", bind.value, backend.key.path);
            found.error(&bind.key, what, "write the address of a real server there, or listen on 127.0.0.1");
        }
    }
}
