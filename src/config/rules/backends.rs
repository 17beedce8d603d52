//! Every listener has a backend, and every backend an address and a listener.

use super::{backend_tls, places::is_embedded, within};
use crate::config::{
    file::{BackendTable, File},
    findings::{Findings, Key},
    host::Address,
    identity::Identity,
    nearest,
    resolve::Plan,
    setting::{Given, Setting},
};
use crate::policy::balance::Order;

/// Checks which backend one listener names.
pub(super) fn check_choice(plan: &Plan<'_>, file: &File, found: &mut Findings) {
    if plan.backend.is_some() || !plan.needs_backend() || file.backends.is_empty() {
        return;
    }
    let ids: Vec<_> = file.backends.iter().map(|backend| backend.id.as_str()).collect();
    match &plan.table.backend {
        Setting::Absent => {
            let right = format!("name one of {}", ids.join(", "));
            found.missing(&within(&plan.table.key, "backend"), "is missing, and there are several backends", right);
        }
        Setting::Given(id) => {
            found.error(&id.key, "there is no backend of this name", nearest::choices(&id.value, &ids))
        }
        Setting::Wrong => {}
    }
}

/// Checks all backends.
pub(super) fn check(file: &File, plans: &[Plan<'_>], found: &mut Findings) {
    let key = Key { path: "backend".to_owned(), offset: 0 };
    let none_is_needed = !plans.is_empty() && !plans.iter().any(Plan::needs_backend);
    if file.backends.is_empty() && !none_is_needed && !found.speaks_of(&key.path) {
        found.missing(&key, "there is none", "add a table [backend.<id>] with the address of the mail server");
    }
    // A listener whose backend is not known may have meant any of them.
    let all_known = !plans.is_empty() && plans.iter().all(|plan| plan.backend.is_some() || !plan.needs_backend());
    for backend in &file.backends {
        addresses(backend, found);
        identity(backend, plans, found);
        weights(backend, found);
        check_times(backend, found);
        backend_tls::check(backend, &file.queue, found);
        if all_known && !plans.iter().any(|plan| plan.backend.is_some_and(|used| used.id == backend.id)) {
            found.warning(&backend.key, "no listener uses it", "name it as the backend of one, or take it out");
        }
    }
}

fn addresses(backend: &BackendTable, found: &mut Findings) {
    if backend.address.is_absent() {
        let right = "write where the mail server is: address = [\"10.0.0.5\"]";
        found.missing(&within(&backend.key, "address"), "is missing", right);
    }
    let Some(list) = backend.address.given().filter(|list| list.value.len() > 1) else { return };
    if let Some(embedded) = list.value.iter().find(|address| address.value.address == Address::Embedded) {
        let right = "write \"embedded\" alone, or take it out";
        found.error(&embedded.key, "the embedded mail store cannot stand in for a server, nor a server for it", right);
    }
}

fn identity(backend: &BackendTable, plans: &[Plan<'_>], found: &mut Findings) {
    let Some(list) = backend.identity.given() else { return };
    if let Some((first, second)) = at_odds(&list.value) {
        let what = format!("\"{}\" cannot be had with \"{}\"", second.value.name(), first.value.name());
        found.error(&second.key, what, "name one of them");
    } else if list.value.iter().any(|one| one.value != Identity::None) {
        if is_embedded(backend) == Some(true) {
            found.error(&list.key, "means nothing to the embedded mail store", "take it out");
        } else {
            untold(backend, list, plans, found);
            unix_sockets(backend, list, found);
        }
    }
}

/// The first two that cannot be had together.
fn at_odds(list: &[Given<Identity>]) -> Option<(&Given<Identity>, &Given<Identity>)> {
    let pairs = list.iter().enumerate().flat_map(|(at, second)| list[..at].iter().map(move |first| (first, second)));
    pairs.into_iter().find(|(first, second)| !first.value.goes_with(second.value))
}

/// A unix socket knows of no client's address.
fn unix_sockets(backend: &BackendTable, list: &Given<Vec<Given<Identity>>>, found: &mut Findings) {
    let addresses = backend.address.given().map_or(&[][..], |list| &list.value);
    let unix = addresses.iter().find(|address| matches!(address.value.address, Address::Unix(_)));
    let transparent = list.value.iter().find(|one| one.value == Identity::Transparent);
    if let (Some(unix), Some(_)) = (unix, transparent) {
        let what = "is a unix socket, to which nobody connects from a client's address";
        found.error(&unix.key, what, "write an IP address, or another identity than \"transparent\"");
    }
}

/// What no listener of the backend has a use for, and listeners whose sessions would not be told of.
fn untold(backend: &BackendTable, list: &Given<Vec<Given<Identity>>>, plans: &[Plan<'_>], found: &mut Findings) {
    let users = plans.iter().filter(|plan| plan.backend.is_some_and(|used| used.id == backend.id));
    let users: Vec<_> = users.filter_map(|plan| plan.protocol().map(|protocol| (plan, protocol))).collect();
    if users.is_empty() {
        return;
    }
    for one in &list.value {
        if !users.iter().any(|(_, protocol)| one.value.is_for(*protocol)) {
            let what = format!("\"{}\" means nothing on {}", one.value.name(), users[0].1);
            found.error(&one.key, what, "take it out; proxy-v1, proxy-v2 and transparent are for every protocol");
            return;
        }
    }
    for (plan, protocol) in users {
        if !list.value.iter().any(|one| one.value.is_for(protocol)) {
            let what =
                format!("leaves the backend without the client on {protocol}, which {} speaks", plan.table.key.path);
            found.error(&list.key, what, "add one for it, or give the listener a backend of its own");
        }
    }
}

fn weights(backend: &BackendTable, found: &mut Findings) {
    let Some(list) = backend.address.given() else { return };
    let weights: Vec<_> = list.value.iter().filter_map(|member| member.value.weight.given()).collect();
    if weights.len() == list.value.len() && weights.iter().all(|weight| weight.value == 0) {
        let what = "gives weight 0 to every address, so that no session has a place to go to";
        found.error(&list.key, what, "leave one of them its weight");
    }
    if backend.order.value_or(Order::InOrder) != Order::InOrder || backend.order.is_wrong() {
        return;
    }
    if let Some(weight) = weights.iter().find(|weight| weight.value > 1) {
        let right =
            "write order = \"round-robin\" or \"least-sessions\"; weight = 0 keeps new sessions away in any order";
        found.error(&weight.key, "means nothing where addresses are used in order", right);
    }
}

fn check_times(backend: &BackendTable, found: &mut Findings) {
    if let Some(key) = backend.check.timeout.key().filter(|_| backend.check.interval.is_absent()) {
        found.error(key, "means nothing without check.interval", "write how often to check: check.interval = \"30s\"");
    }
}
