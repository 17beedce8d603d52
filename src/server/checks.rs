//! The tasks that look after backends' addresses, beside the control thread's own work.

use std::{collections::HashSet, sync::Arc};

use tokio::task::{AbortHandle, spawn};

use crate::{
    net::dns::Resolver,
    snapshot::{Service, Snapshot},
};

/// The checks that the configuration in force asks for. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<AbortHandle>);

impl Checks {
    /// Begins to check what `snapshot` asks for. Needs to be inside a runtime.
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
        Self(all)
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}
