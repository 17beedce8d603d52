//! Which MTA-STS policy a domain has now: what its record says, what is held, and what a fetch brings (RFC 8461 §3.3).
//!
//! Promises that a message waits for a fetch no longer than it was told to, while the fetch goes on and what it brings
//! is kept; that a policy which is held is fetched anew beside, with nobody waiting; that a domain's policy is fetched
//! once at a time, for whatever message and whether or not there is one, and that it counts once if that fails.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    lookup::Lookup,
    policy_host::{Fetching, PolicyHosts},
    route::{Exchange, Host, HostFault, Ourselves, Targets},
    store::Store,
};
use crate::{
    config::Families,
    net::https::Names,
    policy::{
        mta_sts::{Fault, Plan, Policy, Published, Standing, published},
        renewal::Spread,
    },
};

/// Finds out which policy a domain has. Those who share one, by clones of it, share its fetches.
#[derive(Clone, Debug)]
pub struct Policies {
    hosts: PolicyHosts,
    store: Store,
}

/// What was found out of a domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What its record says; [`Published::Nothing`] too where nobody asked.
    pub record: Published,
    /// What follows.
    pub standing: Standing,
}

/// Where policies are (RFC 8461 §3.3).
const HTTPS: u16 = 443;

/// How often it is looked which policies are due: not less often than a fetch that failed may be tried again.
const ROUND: Duration = Duration::from_secs(5 * 60);

/// How many are fetched at once that nobody waits for.
const AT_ONCE: usize = 8;

impl Policies {
    /// Fetches on `control` what `store` does not hold, from hosts found by `lookup` that show certificates from
    /// `roots`. None may be at an address that means this machine or its link: whoever owns a domain could have
    /// anything there asked otherwise.
    ///
    /// # Errors
    /// What rustls says.
    pub fn new(
        roots: RootCertStore,
        lookup: Arc<impl Lookup + Send + 'static>,
        store: Store,
        control: Handle,
    ) -> Result<Self, String> {
        let names = Names::by(move |name| {
            let lookup = lookup.clone();
            async move { addresses(&*lookup, name).await.map_err(io::Error::other) }
        });
        let hosts = PolicyHosts::new(roots, names, control).map_err(|error| error.to_string())?;
        Ok(Self { hosts, store })
    }

    /// What stands for a message to `domain` that can wait so long for a fetch.
    pub async fn find(&self, lookup: &impl Lookup, domain: &str, patience: Duration) -> Found {
        let record = record(lookup, domain).await;
        let (known, now) = (self.store.policy(domain), SystemTime::now());
        if known.is_first_use(now) {
            self.store.revise_policy(domain, now, |known| known.used(now));
        }
        let plan = known.plan(&record, now, spread(domain));
        let fetched = match plan {
            Plan::Fetch { .. } => Some(self.fetch_within(domain, &record, patience).await),
            Plan::Refresh(_) => {
                // Nobody waits for it.
                drop(self.fetch(domain, &record));
                None
            }
            Plan::Nothing | Plan::Use(_) | Plan::BackOff { .. } => None,
        };
        let standing = Standing::after(&known, plan, &record, fetched);
        Found { record, standing }
    }

    /// Fetches policies anew before they expire, whether or not there is mail (RFC 8461 §3.3, §10.2), until it is dropped. What has
    /// begun by then ends within a minute. To be run beside everything else, once: for the configuration in force.
    pub async fn keep_fresh(self, lookup: Arc<impl Lookup + Send + 'static>) {
        // The process before may have left some.
        self.store.settled().await;
        loop {
            self.refresh(&lookup).await;
            sleep(ROUND).await;
        }
    }

    /// Fetches those anew that are due, each once, a few at a time.
    async fn refresh(&self, lookup: &Arc<impl Lookup + Send + 'static>) {
        let now = SystemTime::now();
        let mut under_way = JoinSet::new();
        // In no order, so that nobody's domains are always the last.
        for domain in self.store.domains_with_policies(now) {
            if !self.store.policy(&domain).wants_refresh(now, spread(&domain)) {
                continue;
            }
            if under_way.len() == AT_ONCE {
                // A panic was printed when it happened.
                let _ = under_way.join_next().await;
            }
            let (policies, lookup) = (self.clone(), lookup.clone());
            under_way.spawn(async move { policies.renew(&*lookup, &domain).await });
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn renew(&self, lookup: &impl Lookup, domain: &str) {
        let record = record(lookup, domain).await;
        let known = self.store.policy(domain);
        if let Plan::Fetch { .. } | Plan::Refresh(_) = known.plan(&record, SystemTime::now(), spread(domain)) {
            self.fetch(domain, &record).wait().await;
        }
    }

    async fn fetch_within(&self, domain: &str, record: &Published, patience: Duration) -> Result<Policy, Fault> {
        let fetching = self.fetch(domain, record);
        let fetched = timeout(patience, fetching.wait()).await;
        fetched.map_or(Err(Fault::Late(patience)), Clone::clone)
    }

    /// Begins a fetch whose outcome is kept, or joins the one that is under way.
    fn fetch(&self, domain: &str, record: &Published) -> Fetching {
        let (store, asked, record) = (self.store.clone(), domain.to_owned(), record.clone());
        self.hosts.fetch(domain, move |fetched| note(&store, &asked, &record, fetched))
    }
}

async fn record(lookup: &impl Lookup, domain: &str) -> Published {
    published(&lookup.txt(&format!("_mta-sts.{domain}")).await)
}

/// Keeps what a fetch has come to.
fn note(store: &Store, domain: &str, record: &Published, fetched: &Result<Policy, Fault>) {
    let (now, mut alarm) = (SystemTime::now(), None);
    store.revise_policy(domain, now, |known| {
        let known = match fetched {
            Ok(policy) => known.fetched(policy.clone(), record, now),
            Err(fault) => known.failed(fault.to_string(), record, now),
        };
        alarm = known.failed.clone().filter(|_| known.is_alarming(now));
        known
    });
    if let Some(failed) = alarm {
        let (times, reason) = (failed.times, failed.why);
        tracing::warn!(domain, times, reason, "an MTA-STS policy that is in force cannot be fetched anew");
    }
}

async fn addresses(lookup: &impl Lookup, name: String) -> Result<Vec<SocketAddr>, HostFault> {
    // That a policy is on this very machine is nothing against it.
    let nobody = Ourselves::default();
    let targets = Targets { port: HTTPS, families: Families::default(), may_be_local: false, ourselves: &nobody };
    let exchange = Exchange { preference: 0, name, address: None };
    let host = Host::find(lookup, &exchange, &targets).await?;
    Ok(host.addresses.into_iter().map(|ip| SocketAddr::new(ip, HTTPS)).collect())
}

/// A domain's place in every interval: by chance, and always the same.
fn spread(domain: &str) -> Spread {
    let digest = digest(&SHA256, domain.as_bytes());
    let bytes = digest.as_ref();
    Spread::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests;
