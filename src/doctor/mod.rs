//! `mailward doctor`: connects to each address of each backend as the listeners that use it do, and tells what clients
//! will see there, what will not work, and which setting of the backend to change.
//!
//! Promises that every wait is bounded, that no message is ever sent (DATA is never said), that each session ends with
//! QUIT or LOGOUT, and that what clients would be offered is what the machines of `proto` make of the backend's own
//! words.

mod client;
mod dialogue;
mod neighbour;
mod report;
mod text;
mod verdict;

use std::{collections::BTreeSet, sync::Arc};

use tokio::{
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

pub use self::{
    report::{Examined, Finding, Place, Report, Severity},
    text::text,
};
use crate::{
    inbound::backend::Target,
    net::dns::Resolver,
    snapshot::{Mail, Service, Snapshot},
};

/// Examines the backends that have these names, or all where none is named.
///
/// # Errors
/// A runtime that cannot be had, or a name that no backend has.
pub fn examine(snapshot: &Snapshot, named: &[String]) -> Result<Report, String> {
    let known: BTreeSet<_> = snapshot.config.backends.keys().collect();
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        let known: Vec<_> = known.into_iter().map(String::as_str).collect();
        return Err(format!("there is no backend {unknown}; there are: {}", known.join(", ")));
    }
    let chosen = |mail: &&Arc<Mail>| named.is_empty() || named.iter().any(|name| name == mail.backend.id());
    let listeners: Vec<_> = mail_of(snapshot).filter(chosen).cloned().collect();
    // The embedded store runs in tasks of its thread.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| error.to_string())?;
    let report = runtime.block_on(examine_all(listeners));
    // A lookup that hangs holds nobody up.
    runtime.shutdown_background();
    Ok(report)
}

fn mail_of(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Mail>> {
    snapshot.entries().filter_map(|entry| match &entry.service {
        Service::Mail(mail) => Some(mail),
        Service::Relay(_) | Service::Http(_) => None,
    })
}

/// All listeners at once, the addresses of each one after the other.
async fn examine_all(listeners: Vec<Arc<Mail>>) -> Report {
    let resolver = Resolver::new(tokio::runtime::Handle::current());
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|mail| {
            let resolver = resolver.clone();
            spawn_local(async move { listener(&mail, &resolver).await })
        })
        .collect();
    let mut report = Report::default();
    for task in tasks {
        // A panic was printed when it happened.
        report.listeners.extend(task.await.ok());
    }
    report
}

async fn listener(mail: &Mail, resolver: &Resolver) -> Examined {
    let mut examined = Examined::of(mail);
    for member in &mail.backend.config().members {
        match mail.backend.places(member, resolver).await {
            Ok(targets) => {
                for target in targets {
                    let mut place = place(mail, &target).await;
                    place.findings.extend((member.weight == 0).then(verdict::drained));
                    examined.places.push(place);
                }
            }
            Err(reason) => examined.places.push(Place::unknown(&member.address.to_string(), &reason)),
        }
    }
    // A backend that is not there is not waited for once more.
    let is_there = examined.places.iter().any(|place| place.greeting.is_some());
    examined.before_tls = client::before_tls(mail, is_there.then_some(resolver)).await;
    examined
}

async fn place(mail: &Mail, target: &Target) -> Place {
    let mut place = Place::new(&target.to_string());
    let reached = match mail.backend.reach(target, mail.tls.is_some()).await {
        Ok(reached) => reached,
        Err(unreached) => {
            place.findings.push(verdict::unreached(mail, &unreached));
            return place;
        }
    };
    place.greeted(&reached);
    place.findings.extend(verdict::in_clear(mail, &reached));
    let own = reached.stream.ends().map(|(own, _)| own.ip());
    if !mail.backend.is_welcome(&reached.greeting) {
        place.findings.push(verdict::refuses(mail, &reached, own));
        return place;
    }
    place.findings.extend(verdict::pace(&reached));
    place.findings.extend(verdict::untried(mail));
    let seen = client::inside_tls(mail, reached).await;
    place.findings.extend(verdict::login(mail, &seen, own));
    place.inside_tls = seen.capabilities;
    if let Some(relays) = neighbour::relays(mail, target).await {
        place.findings.push(verdict::relay(mail, relays, own));
    }
    place
}
