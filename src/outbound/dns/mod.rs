//! Questions to resolvers that validate DNSSEC for us.
//!
//! Promises that "secure" is said only of what a resolver vouches for that is trusted and has shown that it validates;
//! that SERVFAIL, a timeout and a reply that cannot be read are errors; that a question ends in time; that while one
//! resolver can vouch, none is asked that cannot, so that nobody talks DANE away by keeping the one silent.

use std::{
    fs, io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};

use crate::{
    config::{self, NameServers},
    net::exchange::{Whole, exchange, random_id},
    policy::{
        answer::{Answer, LookupError},
        dane::Tlsa,
    },
};

use super::lookup::{Found, Lookup, Mx};

mod memory;
mod question;
mod reading;
mod records;
pub mod system;
mod trust;

#[cfg(test)]
mod tests;

use memory::Memory;
use question::{Question, Said, is_answer, malformed};
use reading::read;
use records::Records;
pub use trust::{Doubt, Probe, Standing};

/// How often resolvers are tested.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// How soon a resolver is tested again that did not answer.
const SOON: Duration = Duration::from_secs(60);

/// How often the servers are gone through for one question.
const ROUNDS: u32 = 2;

/// How lookups are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The resolvers, in the order of preference. At least one.
    pub servers: Vec<Server>,
    /// What of DNSSEC there is.
    pub dnssec: Dnssec,
    /// How long one resolver has for one question; the whole has twice that.
    pub timeout: Duration,
    /// What tells whether they validate.
    pub probe: Probe,
}

/// A resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is, by UDP and TCP.
    pub address: SocketAddr,
    /// Whether the way to it is safe.
    pub is_trusted: bool,
}

/// `resolver.dnssec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// The resolver validates, and sets the AD bit.
    Ad,
    /// Nobody does: nothing is secure.
    Off,
}

impl Settings {
    /// With the usual times and names.
    #[must_use]
    pub fn new(servers: Vec<Server>, dnssec: Dnssec) -> Self {
        Self { servers, dnssec, timeout: Duration::from_secs(5), probe: Probe::default() }
    }

    /// As `[resolver]` says; the system's file is read now.
    #[must_use]
    pub fn of(resolver: &config::Resolver) -> Self {
        let dnssec = match resolver.dnssec {
            config::Dnssec::Ad => Dnssec::Ad,
            // To validate here is refused when the file is read.
            config::Dnssec::Validate | config::Dnssec::Off => Dnssec::Off,
        };
        let servers = match &resolver.servers {
            // A system without the file has a resolver of its own.
            NameServers::System => system::servers(&fs::read_to_string(system::FILE).unwrap_or_default()),
            NameServers::Custom(addresses) => addresses.iter().map(|at| Server::new(*at, false)).collect(),
        };
        let trusts = |server: Server| Server::new(server.address, server.is_trusted || resolver.dnssec_named);
        Self::new(servers.into_iter().map(trusts).collect(), dnssec)
    }
}

impl Server {
    /// A resolver that is trusted where it is on loopback, or where the operator `trusts` the way to it.
    #[must_use]
    pub fn new(address: SocketAddr, trusts: bool) -> Self {
        Self { address, is_trusted: trusts || is_loopback(address.ip()) }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Asks resolvers.
#[derive(Debug)]
pub struct Dns {
    settings: Settings,
    /// One for each server.
    standings: Mutex<Vec<Standing>>,
    /// The server that answered last.
    latest: AtomicUsize,
    memory: Memory,
}

impl Dns {
    /// Resolvers that were not asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let standing = |server: &Server| match settings.dnssec {
            Dnssec::Off => Standing::DoesNot(Doubt::Off),
            Dnssec::Ad if !server.is_trusted => Standing::DoesNot(Doubt::Remote),
            Dnssec::Ad => Standing::Untested,
        };
        let standings = Mutex::new(settings.servers.iter().map(standing).collect());
        Self { settings, standings, latest: AtomicUsize::new(0), memory: Memory::default() }
    }

    /// Each resolver, and whether its word counts.
    pub fn standings(&self) -> Vec<(SocketAddr, Standing)> {
        let standings = self.lock();
        self.settings.servers.iter().map(|server| server.address).zip(standings.iter().cloned()).collect()
    }

    /// Tests the resolvers now, and again every hour, for ever.
    pub async fn watch(&self) {
        if self.settings.dnssec == Dnssec::Ad {
            self.complain_of_remotes();
        }
        loop {
            let all_answered = self.test().await;
            sleep(if all_answered { EVERY } else { SOON }).await;
        }
    }

    /// Tests every resolver that might vouch, and tells whether all have answered. One that has not is what it was.
    pub async fn test(&self) -> bool {
        let mut all_answered = true;
        for place in 0..self.settings.servers.len() {
            if self.may_vouch(place)
                && let Err(error) = self.examine(place).await
            {
                all_answered = false;
                let server = self.settings.servers[place].address;
                tracing::warn!(%server, reason = %error, "the resolver did not answer the test whether it validates");
            }
        }
        all_answered
    }

    fn may_vouch(&self, place: usize) -> bool {
        self.settings.dnssec == Dnssec::Ad && self.settings.servers[place].is_trusted
    }

    fn complain_of_remotes(&self) {
        for server in self.settings.servers.iter().filter(|server| !server.is_trusted) {
            let server = server.address;
            tracing::warn!(%server, reason = %Doubt::Remote, "no DANE by this resolver");
        }
    }

    /// Finds out whether a resolver validates.
    async fn examine(&self, place: usize) -> Result<(), LookupError> {
        let probe = &self.settings.probe;
        let mut doubt = probe.judge_signed(&self.ask(place, &Probe::question(&probe.signed)?).await?)?;
        if let (None, Some(name)) = (&doubt, &probe.bogus) {
            doubt = probe.judge_bogus(&self.ask(place, &Probe::question(name)?).await?, name)?;
        }
        self.note(place, doubt.map_or(Standing::Vouches, Standing::DoesNot));
        Ok(())
    }

    fn note(&self, place: usize, standing: Standing) {
        let mut standings = self.lock();
        let before = mem::replace(&mut standings[place], standing.clone());
        drop(standings);
        if before == standing {
            return;
        }
        // What it holds may be of a resolver that is not believed any more, or was not yet.
        self.memory.forget();
        let server = self.settings.servers[place].address;
        match standing {
            Standing::DoesNot(doubt) => tracing::warn!(%server, reason = %doubt, "no DANE by this resolver"),
            _ => tracing::info!(%server, "the resolver validates DNSSEC"),
        }
    }

    /// Asks for the records of a name.
    async fn find<T: Records>(&self, name: &str) -> Found<T> {
        let question = Question::new(name, T::RTYPE)?;
        if let Some((said, left)) = self.memory.recall(&question) {
            return read(&said, &question).map(|answer| Answer { ttl: left, ..answer });
        }
        let epoch = self.memory.epoch();
        let whole = timeout(self.settings.timeout * ROUNDS, self.ask_around(&question)).await;
        let said = whole.unwrap_or(Err(LookupError::Timeout))?;
        let answer = read(&said, &question)?;
        self.memory.keep(epoch, question, said, answer.ttl);
        Ok(answer)
    }

    /// Asks one server after the other, and those that were silent once more.
    async fn ask_around(&self, question: &Question) -> Result<Said, LookupError> {
        let (mut silent, mut failure) = (self.order(), LookupError::Timeout);
        for _ in 0..ROUNDS {
            for place in mem::take(&mut silent) {
                match self.ask_fit(place, question).await {
                    Ok(None) => {}
                    Ok(Some(said)) => {
                        self.latest.store(place, Ordering::Relaxed);
                        return Ok(said);
                    }
                    // What one has found bogus, another may just not have looked at.
                    Err(error @ LookupError::Bogus { .. }) => return Err(error),
                    Err(error) => {
                        if matches!(error, LookupError::Timeout | LookupError::Unreachable { .. }) {
                            silent.push(place);
                        }
                        failure = error;
                    }
                }
            }
        }
        Err(failure)
    }

    /// The servers that may be asked: those that may vouch, where there are such, beginning with the one that answered
    /// last.
    fn order(&self) -> Vec<usize> {
        let standings = self.lock();
        let doubted = |place: &usize| matches!(standings[*place], Standing::DoesNot(_));
        let (doubted, fit): (Vec<_>, Vec<_>) = (0..standings.len()).partition(doubted);
        let mut order = if fit.is_empty() { doubted } else { fit };
        let latest = self.latest.load(Ordering::Relaxed);
        let first = order.iter().position(|place| *place == latest).unwrap_or(0);
        order.rotate_left(first);
        order
    }

    /// Asks a server, after it was tested. `None` where that has shown that another is to be asked.
    async fn ask_fit(&self, place: usize, question: &Question) -> Result<Option<Said>, LookupError> {
        if self.lock()[place] == Standing::Untested {
            self.examine(place).await?;
        }
        if !self.order().contains(&place) {
            return Ok(None);
        }
        let reply = self.ask(place, question).await?;
        is_answer(&reply)?;
        let is_believed = self.lock()[place] == Standing::Vouches;
        Ok(Some(Said { reply, is_believed }))
    }

    async fn ask(&self, place: usize, question: &Question) -> Result<Whole, LookupError> {
        let request = question.compose(random_id(), self.settings.dnssec == Dnssec::Ad);
        let server = self.settings.servers[place].address;
        match timeout(self.settings.timeout, exchange(server, false, &request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(malformed("it is none to this question"))
            }
            Ok(Err(error)) => Err(LookupError::Unreachable { why: error.to_string() }),
            Err(_) => Err(LookupError::Timeout),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup for Dns {
    fn vouches(&self) -> bool {
        self.lock().contains(&Standing::Vouches)
    }

    async fn mx(&self, name: &str) -> Found<Mx> {
        self.find(name).await
    }

    async fn v4(&self, name: &str) -> Found<Ipv4Addr> {
        self.find(name).await
    }

    async fn v6(&self, name: &str) -> Found<Ipv6Addr> {
        self.find(name).await
    }

    async fn alias(&self, name: &str) -> Found<String> {
        self.find(name).await
    }

    async fn tlsa(&self, name: &str) -> Found<Tlsa> {
        self.find(name).await
    }

    async fn txt(&self, name: &str) -> Found<Vec<u8>> {
        self.find(name).await
    }
}
