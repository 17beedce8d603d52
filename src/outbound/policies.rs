//! Which MTA-STS policy a domain has now: what its record says, what is held, and what a fetch brings (RFC 8461 §3.3).
//!
//! Promises that a message waits for a fetch no longer than it was told to, while the fetch goes on and what it brings
//! is kept; that a policy which is held is fetched anew beside, with nobody waiting; that one fetch that fails counts
//! once.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};

use super::{
    lookup::Lookup,
    policy_host::PolicyHosts,
    route::{Exchange, Host, HostFault, Ourselves, Targets},
};
use crate::{
    config::Families,
    net::https::Names,
    policy::{
        mta_sts::{Fault, Known, Plan, Policy, Published, Standing, published},
        renewal::Spread,
    },
};

/// What is known of each domain's policy, for as long as the process runs.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<String, Known>>);

impl Shelf {
    /// What is known of a domain's policy.
    pub fn known(&self, domain: &str) -> Known {
        self.lock().get(domain).cloned().unwrap_or_default()
    }

    /// Keeps what a fetch has brought that began at `began`. Of those that waited for one fetch the first notes its
    /// failure.
    fn note(&self, domain: &str, record: &Published, fetched: &Result<Policy, Fault>, began: SystemTime) {
        let mut all = self.lock();
        let known = all.remove(domain).unwrap_or_default();
        let now = SystemTime::now();
        let known = match fetched {
            Ok(policy) => known.fetched(policy.clone(), record, now),
            Err(_) if known.failed.as_ref().is_some_and(|failed| failed.at >= began) => known,
            Err(fault) => known.failed(fault.to_string(), record, now),
        };
        if let Some(failed) = known.failed.as_ref().filter(|_| known.is_alarming(now)) {
            let (times, reason) = (failed.times, &failed.why);
            tracing::warn!(domain, times, reason, "an MTA-STS policy that is in force cannot be fetched anew");
        }
        all.insert(domain.to_owned(), known);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds out which policy a domain has.
#[derive(Clone, Debug)]
pub struct Policies {
    hosts: PolicyHosts,
    shelf: Arc<Shelf>,
    control: Handle,
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

impl Policies {
    /// Fetches on `control` what `shelf` does not hold, from hosts found by `lookup` that show certificates from
    /// `roots`. None may be at an address that means this machine or its link: whoever owns a domain could have
    /// anything there asked otherwise.
    ///
    /// # Errors
    /// What rustls says.
    pub fn new(
        roots: RootCertStore,
        lookup: Arc<impl Lookup + Send + 'static>,
        shelf: Arc<Shelf>,
        control: Handle,
    ) -> Result<Self, String> {
        let names = Names::by(move |name| {
            let lookup = lookup.clone();
            async move { addresses(&*lookup, name).await.map_err(io::Error::other) }
        });
        let hosts = PolicyHosts::new(roots, names, control.clone()).map_err(|error| error.to_string())?;
        Ok(Self { hosts, shelf, control })
    }

    /// What stands for a message to `domain` that can wait so long for a fetch.
    pub async fn find(&self, lookup: &impl Lookup, domain: &str, patience: Duration) -> Found {
        let record = published(&lookup.txt(&format!("_mta-sts.{domain}")).await);
        let known = self.shelf.known(domain);
        let plan = known.plan(&record, SystemTime::now(), spread(domain));
        let fetched = match plan {
            Plan::Fetch { .. } => Some(self.fetch_within(domain, &record, patience).await),
            Plan::Refresh(_) => {
                // Nobody waits for it.
                drop(self.begin(domain, &record));
                None
            }
            Plan::Nothing | Plan::Use(_) | Plan::BackOff { .. } => None,
        };
        let standing = Standing::after(&known, plan, &record, fetched);
        Found { record, standing }
    }

    async fn fetch_within(&self, domain: &str, record: &Published, patience: Duration) -> Result<Policy, Fault> {
        match timeout(patience, self.begin(domain, record)).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(_)) => Err(Fault::Unreachable("the fetch was given up".to_owned())),
            Err(_) => Err(Fault::Late(patience)),
        }
    }

    fn begin(&self, domain: &str, record: &Published) -> JoinHandle<Result<Policy, Fault>> {
        let (policies, domain, record) = (self.clone(), domain.to_owned(), record.clone());
        self.control.spawn(async move {
            let began = SystemTime::now();
            let fetched = policies.hosts.fetch(&domain).await;
            policies.shelf.note(&domain, &record, &fetched, began);
            fetched
        })
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
mod tests {
    use super::*;
    use crate::policy::mta_sts::Mode;

    fn policy() -> Policy {
        let max_age = Duration::from_secs(86_400);
        Policy { mode: Mode::Enforce, mx: vec!["mx.example".into()], max_age, lines: Vec::new() }
    }

    #[test]
    fn m6_one_fetch_that_fails_counts_once_however_many_have_waited() {
        let (shelf, record, began) = (Shelf::default(), Published::Id("1".into()), SystemTime::now());
        let times = |shelf: &Shelf| shelf.known("example.org").failed.map(|failed| failed.times);
        for _ in 0..3 {
            shelf.note("example.org", &record, &Err(Fault::Status(404)), began);
        }
        assert_eq!(times(&shelf), Some(1));
        let later = shelf.known("example.org").failed.unwrap().at + Duration::from_nanos(1);
        shelf.note("example.org", &record, &Err(Fault::Status(404)), later);
        assert_eq!(times(&shelf), Some(2));
        shelf.note("example.org", &record, &Ok(policy()), later);
        let known = shelf.known("example.org");
        assert_eq!((known.failed, known.held.map(|held| held.policy)), (None, Some(policy())));
        assert_eq!(shelf.known("other.example"), Known::default());
    }
}
