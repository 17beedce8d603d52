//! The tasks that look after what is known of other servers, beside the control thread's own work: backends' addresses are checked, and
//! MTA-STS policies are fetched anew.

use std::{collections::HashSet, sync::Arc};

use tokio::task::{AbortHandle, spawn};

use crate::{
    net::dns::Resolver,
    outbound::Means,
    snapshot::{Service, Snapshot},
};

/// The tasks that the configuration in force asks for. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<AbortHandle>);

impl Checks {
    /// Begins to do what `snapshot` asks for. Needs to be inside a runtime.
    pub(super) fn begin(snapshot: &Snapshot, resolver: &Resolver) -> Self {
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for entry in snapshot.entries() {
            let Service::Mail(mail) = &entry.service else { continue };
            // Listeners that share a backend share what is known of it.
            if seen.insert(Arc::as_ptr(mail.backend.pool())) {
                let checks = mail.backend.checks(resolver);
                all.extend(checks.into_iter().map(|check| spawn(check).abort_handle()));
            }
        }
        if let Some(means) = means(snapshot) {
            all.push(spawn(means.policies.clone().keep_fresh(means.dns.clone())).abort_handle());
        }
        Self(all)
    }
}

/// What mail is carried with, which all listeners share that relay.
fn means(snapshot: &Snapshot) -> Option<&Means> {
    snapshot.entries().find_map(|entry| match &entry.service {
        Service::Relay(relay) => relay.means.as_deref(),
        Service::Mail(_) | Service::Http(_) => None,
    })
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}
