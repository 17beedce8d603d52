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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::{runtime::Handle, task::yield_now};

    use super::*;
    use crate::{
        config::{self, Problems},
        snapshot::Lasting,
    };

    fn snapshot(lasting: &Lasting, more: &str) -> Snapshot {
        let text = format!("[certificate.main]\nself-signed = \"localhost\"\n[resolver]\ndnssec = \"off\"\n{more}");
        let (config, _) = config::parse(&text, Path::new("proxy.toml")).unwrap();
        Snapshot::build(config, lasting, false, &mut Problems::default()).unwrap().snapshot
    }

    /// How many tasks there are once those that were ended are gone.
    async fn tasks() -> usize {
        for _ in 0..10 {
            yield_now().await;
        }
        Handle::current().metrics().num_alive_tasks()
    }

    #[tokio::test]
    async fn m8_policies_are_kept_fresh_once_however_many_relay_and_however_often_it_is_begun_anew() {
        let (lasting, resolver) = (Lasting::beside(Handle::current()), Resolver::new(Handle::current()));
        let listener = |id: &str, protocol: &str| {
            format!("[server.listener.{id}]\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\nrelay = true\n")
        };
        let relaying = snapshot(&lasting, &(listener("one", "lmtp") + &listener("other", "smtp")));
        let none = snapshot(
            &lasting,
            "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\n[backend.mail]\naddress = \"127.0.0.1:1\"\n",
        );
        let before = tasks().await;
        let mut checks = Checks::begin(&none, &resolver);
        assert_eq!(tasks().await, before);
        for _ in 0..3 {
            checks = Checks::begin(&relaying, &resolver);
            assert_eq!(tasks().await, before + 1);
        }
        drop(checks);
        assert_eq!(tasks().await, before);
    }
}
