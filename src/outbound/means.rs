//! What mail is carried with: made of a configuration, and shared by all sessions that hold it.

use std::{fmt, sync::Arc};

use tokio::runtime::Handle;

use super::{
    dns::Dns,
    places::Places,
    policies::Policies,
    prospect::Scout,
    route::{Ourselves, Targets},
    store::Store,
};
use crate::{
    config::{Config, Queue},
    tls::{Peers, roots_with_system},
};

/// What mail is carried with.
#[derive(Debug)]
pub struct Means {
    /// `[queue]`.
    pub queue: Queue,
    /// Who answers questions.
    pub dns: Arc<Dns>,
    /// Who knows of MTA-STS policies.
    pub policies: Policies,
    /// mailward's side of TLS.
    pub peers: Peers,
    /// Who we are.
    pub ourselves: Ourselves,
    /// What is remembered.
    pub store: Store,
    /// How many sessions there are.
    pub places: Arc<Places>,
}

/// What of it outlives a configuration.
#[derive(Clone)]
pub struct Lasting {
    /// Who answers questions.
    pub dns: Arc<Dns>,
    /// What is remembered.
    pub store: Store,
    /// How many sessions there are.
    pub places: Arc<Places>,
    /// Where fetches run.
    pub control: Handle,
}

/// Where mail hosts take mail (RFC 5321 §4.5.4.2).
pub(super) const PORT: u16 = 25;

impl Means {
    /// What the configuration asks for.
    ///
    /// # Errors
    /// Roots that cannot be used.
    pub fn new(config: &Config, lasting: Lasting) -> Result<Self, String> {
        let Lasting { dns, store, places, control } = lasting;
        let roots = roots_with_system(&config.server.ca)?;
        let policies = Policies::new(roots, dns.clone(), store.clone(), control)?;
        Ok(Self {
            queue: config.queue.clone(),
            dns,
            policies,
            peers: Peers::new(&config.server.ca)?,
            ourselves: Ourselves::of(config),
            store,
            places,
        })
    }

    /// Finds out where mail can go.
    #[must_use]
    pub fn scout(&self) -> Scout<'_, Dns> {
        let targets = Targets {
            port: PORT,
            families: self.queue.ip_strategy,
            may_be_local: self.queue.local_targets,
            ourselves: &self.ourselves,
        };
        Scout { lookup: &*self.dns, policies: &self.policies, strategies: &self.queue.tls, targets }
    }
}

impl fmt::Debug for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lasting").finish_non_exhaustive()
    }
}
