//! Whether a client is on a block list (`dnsbl`).
//!
//! Promises that nobody is refused for what a name server does not say, or does not say in time; that no list is asked
//! about an address which every network has; that a client is asked about once, however often it comes meanwhile; and
//! that what is remembered, and who is asked about at one time, is bounded. A reload forgets it all.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::SetOnce,
    task::JoinSet,
    time::{Instant, error::Elapsed, timeout},
};

use crate::{
    config::Dnsbl,
    policy::{
        client::{Client, Table},
        dnsbl::{Verdict, Zone, is_public},
        rate::Moment,
    },
    telemetry::Throttle,
};

mod question;

use question::Said;

/// How long what a list says is remembered at least and at most, whatever it says itself of that.
const KEPT: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(60 * 60);

/// How many clients are asked about at one time, each with a socket for each list. Who comes beyond is let in.
const AT_ONCE: usize = 256;

/// The lists of a listener, and what they have said of late.
#[derive(Debug)]
pub struct Blocklist {
    config: Dnsbl,
    started: Instant,
    known: Table<Known>,
    under_way: Mutex<HashMap<IpAddr, Arc<SetOnce<Found>>>>,
    /// One for each list.
    doubts: Vec<Throttle>,
    crowded: Throttle,
}

/// The place in `zones` of a list that a client is on.
type Found = Option<usize>;

/// What is known of a client, and until when.
#[derive(Debug, Default)]
struct Known {
    until: Moment,
    found: Found,
}

impl Blocklist {
    /// Lists that were not asked yet.
    #[must_use]
    pub fn new(config: Dnsbl) -> Self {
        let doubts = config.zones.iter().map(|_| Throttle::default()).collect();
        let (known, under_way, crowded) = (Table::default(), Mutex::default(), Throttle::default());
        Self { config, started: Instant::now(), known, under_way, doubts, crowded }
    }

    /// Whether a client that is listed is refused.
    pub(super) fn rejects(&self) -> bool {
        self.config.reject
    }

    /// A list that `address` is on, as far as can be known in time.
    pub(super) async fn find(self: &Arc<Self>, address: IpAddr) -> Option<&Zone> {
        if !is_public(address) {
            return None;
        }
        let found = match self.recall(address) {
            Some(found) => found,
            // Who joins a question that is under way waits no longer than it would for its own.
            None => timeout(self.config.timeout, self.ask(address)?.wait()).await.ok().copied().flatten(),
        };
        self.config.zones.get(found?)
    }

    fn recall(&self, address: IpAddr) -> Option<Found> {
        let now = self.started.elapsed();
        self.known.find(single(address), |known| (known.until > now).then_some(known.found)).flatten()
    }

    fn remember(&self, address: IpAddr, found: Found, time: Duration) {
        let now = self.started.elapsed();
        let known = Known { until: now + time.clamp(*KEPT.start(), *KEPT.end()), found };
        self.known.enter(single(address), now, |_| true, |row| *row = known);
    }

    /// Begins to ask about a client, or joins those who wait for the answer. The question outlives who asked: it is as
    /// good for the next connection of that client. `None` where too many are asked about.
    fn ask(self: &Arc<Self>, address: IpAddr) -> Option<Arc<SetOnce<Found>>> {
        let mut under_way = self.under_way();
        if let Some(answer) = under_way.get(&address) {
            return Some(answer.clone());
        }
        if under_way.len() >= AT_ONCE {
            if self.crowded.is_due() {
                tracing::warn!(server = %self.config.server, "block lists are asked about too many clients at once; more are let in");
            }
            return None;
        }
        let answer = Arc::new(SetOnce::new());
        under_way.insert(address, answer.clone());
        let asking = Asking { lists: self.clone(), address, answer: answer.clone() };
        tokio::spawn(async move {
            let found = asking.lists.ask_all(asking.address).await;
            // Nobody else tells.
            let _ = asking.answer.set(found);
        });
        Some(answer)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<SetOnce<Found>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all lists at once; the first that says yes decides. A no is remembered only where all have said it.
    async fn ask_all(&self, address: IpAddr) -> Found {
        let (server, limit) = (self.config.server, self.config.timeout);
        let mut asked = JoinSet::new();
        for (index, zone) in self.config.zones.iter().enumerate() {
            let name = zone.question(address);
            asked.spawn(async move { (index, timeout(limit, question::ask(server, &name)).await) });
        }
        let (mut time, mut is_sure) = (*KEPT.end(), true);
        while let Some(asked) = asked.join_next().await {
            // A fault of mailward's is no answer either.
            let Ok((index, said)) = asked else {
                is_sure = false;
                continue;
            };
            match self.judge(index, said) {
                Ok((true, kept)) => {
                    self.remember(address, Some(index), kept);
                    return Some(index);
                }
                Ok((false, kept)) => time = time.min(kept),
                Err(why) => {
                    is_sure = false;
                    self.doubt(index, &why);
                }
            }
        }
        if is_sure {
            self.remember(address, None, time);
        }
        None
    }

    /// Whether a list says yes, and for how long; or why it cannot be known.
    fn judge(&self, index: usize, said: Result<io::Result<Said>, Elapsed>) -> Result<(bool, Duration), String> {
        let said = match said {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer within {:?}", self.config.timeout)),
        };
        match self.config.zones[index].judge(&said.addresses) {
            Verdict::Listed => Ok((true, said.time)),
            Verdict::NotListed => Ok((false, said.time)),
            Verdict::Refused(code) => Err(format!("by its answer {code} it refuses the question")),
        }
    }

    fn doubt(&self, index: usize, why: &str) {
        if self.doubts[index].is_due() {
            let (zone, server) = (&self.config.zones[index].name, self.config.server);
            tracing::warn!(zone, %server, reason = why, "a block list does not tell; clients are let in meanwhile");
        }
    }
}

/// A question that is under way until this is dropped.
struct Asking {
    lists: Arc<Blocklist>,
    address: IpAddr,
    answer: Arc<SetOnce<Found>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.lists.under_way().remove(&self.address);
    }
}

/// Lists know single addresses, of IPv6 too.
fn single(address: IpAddr) -> Client {
    Client::of(address, 128)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::time::advance;

    use super::*;

    /// Lists at a server that nobody reaches before the test is over.
    fn lists() -> Arc<Blocklist> {
        let zone = Zone { name: "bl.example".to_owned(), answers: None };
        let server = SocketAddr::from(([127, 0, 0, 1], 9));
        let config = Dnsbl { zones: vec![zone], server, timeout: Duration::from_secs(60), reject: true };
        Arc::new(Blocklist::new(config))
    }

    fn public(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(0xcb00_0000 + u32::try_from(number).unwrap()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_is_remembered_as_long_as_it_holds_but_a_minute_at_least_and_an_hour_at_most() {
        let lists = lists();
        for (index, (said, kept)) in [(0, 60), (300, 300), (86_400, 3_600)].into_iter().enumerate() {
            for (found, client) in [(Some(0), public(2 * index)), (None, public(2 * index + 1))] {
                lists.remember(client, found, Duration::from_secs(said));
                advance(Duration::from_secs(kept - 1)).await;
                assert_eq!(lists.recall(client), Some(found));
                advance(Duration::from_secs(1)).await;
                assert_eq!(lists.recall(client), None, "{said}");
            }
        }
    }

    #[tokio::test]
    async fn there_is_an_end_to_how_many_are_asked_about_and_nobody_waits_for_it() {
        let lists = lists();
        let asked: Vec<_> = (0..AT_ONCE).map(|number| lists.ask(public(number)).unwrap()).collect();
        assert!(Arc::ptr_eq(&asked[0], &lists.ask(public(0)).unwrap()), "one answer for both");
        assert_eq!(lists.find(public(AT_ONCE)).await, None);
        assert_eq!(lists.under_way().len(), AT_ONCE);
    }
}
