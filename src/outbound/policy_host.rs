//! Fetching MTA-STS policies from the hosts that serve them (RFC 8461 §3.3).
//!
//! Promises: an answer other than 200 is no policy, whatever its body says, and a redirection is not followed; the certificate
//! must come from a known root and have `mta-sts.DOMAIN` among its alternative names; a text is taken up to [`LARGEST`] octets
//! and [`DEADLINE`]; a domain is asked once at a time, whoever waits for it, and what comes of it is noted before it is asked again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
};
use rustls::RootCertStore;
use tokio::{runtime::Handle, sync::SetOnce, time::timeout};

use crate::{
    net::https::{Https, HttpsFault, Names, whole},
    policy::mta_sts::{Fault, Policy},
    telemetry::Told,
    tls::untrusted,
};

/// How long a fetch may take in all (RFC 8461 §3.3 suggests a minute).
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The largest policy, in octets (RFC 8461 §3.3 suggests 64 kilobytes).
pub const LARGEST: usize = 64 << 10;

/// Fetches policies.
#[derive(Clone, Debug)]
pub struct PolicyHosts {
    https: Https<Empty<Bytes>>,
    control: Handle,
    deadline: Duration,
    under_way: Arc<Mutex<UnderWay>>,
}

/// What a fetch came to.
pub type Fetched = Result<Policy, Fault>;

/// A fetch, for all who wait for it. Whoever gives up waiting does not end it.
pub type Fetching = Arc<SetOnce<Fetched>>;

/// The fetches that have not come to their end.
type UnderWay = HashMap<String, Fetching>;

impl PolicyHosts {
    /// Fetches on `control`, from hosts found by `names` that show certificates from `roots`.
    ///
    /// # Errors
    /// What rustls says.
    pub fn new(roots: RootCertStore, names: Names, control: Handle) -> Result<Self, rustls::Error> {
        let https = Https::new(roots, names)?;
        Ok(Self { https, control, deadline: DEADLINE, under_way: Arc::default() })
    }

    /// Begins to fetch the policy that is served for `domain`, and has what comes of it noted; or joins the fetch that is under
    /// way, which has a `note` of its own.
    pub fn fetch(&self, domain: &str, note: impl FnOnce(&Fetched) + Send + 'static) -> Fetching {
        let mut under_way = self.lock();
        under_way.entry(domain.to_owned()).or_insert_with(|| self.begin(domain.to_owned(), note)).clone()
    }

    fn begin(&self, domain: String, note: impl FnOnce(&Fetched) + Send + 'static) -> Fetching {
        let fetching = Fetching::default();
        let (told, hosts) = (fetching.clone(), self.clone());
        self.control.spawn(async move {
            let found = hosts.ask_apart(domain.clone()).await;
            note(&found);
            hosts.lock().remove(&domain);
            // Nobody else tells.
            let _ = told.set(found);
        });
        fetching
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks in a task of its own: those who wait are told also where that ends by a panic.
    async fn ask_apart(&self, domain: String) -> Fetched {
        let (hosts, deadline) = (self.clone(), self.deadline);
        let asking = self.control.spawn(async move { timeout(deadline, hosts.ask(&domain)).await });
        match asking.await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(Fault::Late(deadline)),
            Err(_) => Err(Fault::Unreachable("the fetch was given up".to_owned())),
        }
    }

    async fn ask(&self, domain: &str) -> Fetched {
        let host = format!("mta-sts.{domain}");
        let request = Request::get(format!("https://{host}/.well-known/mta-sts.txt")).body(Empty::new());
        let request = request.map_err(|error| Fault::Unreachable(error.to_string()))?;
        let of_https = |fault| of(fault, &host);
        let answer = self.https.ask(request).await.map_err(of_https)?;
        check(&answer)?;
        let answer = whole(answer, LARGEST).await.map_err(of_https)?;
        Policy::parse(answer.body()).map_err(Fault::Invalid)
    }
}

/// Whether the head of an answer says that a policy follows.
fn check(answer: &Response<Incoming>) -> Result<(), Fault> {
    // RFC 8461 §3.3: a 3xx must not be followed, and nothing but 200 is a policy.
    if answer.status() != StatusCode::OK {
        return Err(Fault::Status(answer.status().as_u16()));
    }
    // Where users may put files, but no text, on a server of the domain's, none of them makes its policy.
    let Some(kind) = answer.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let kind = String::from_utf8_lossy(kind.as_bytes());
    let media_type = kind.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("text/plain") { Ok(()) } else { Err(Fault::MediaType(Told(&kind).to_string())) }
}

fn of(fault: HttpsFault, host: &str) -> Fault {
    match fault {
        HttpsFault::Certificate(error) => Fault::Certificate(untrusted(&error, host)),
        HttpsFault::Unreachable(why) | HttpsFault::BrokeOff(why) => Fault::Unreachable(Told(&why).to_string()),
        HttpsFault::TooLarge(most) => Fault::TooLarge(most),
    }
}

#[cfg(test)]
pub(super) mod served;
#[cfg(test)]
mod tests;
