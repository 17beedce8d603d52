//! Questions to resolvers, which validate DNSSEC for us, or let us do it.
//!
//! Promises that "secure" is said only of what a resolver vouches for that is trusted and has shown that it validates, or of
//! what was validated here;
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

mod anchors;
mod memory;
mod question;
mod reading;
mod records;
pub mod system;
mod trust;
mod validator;

#[cfg(test)]
mod tests;

pub use anchors::Anchors;
use memory::Memory;
use question::{Question, Said, Wanted, is_answer, malformed};
use reading::read;
use records::Records;
pub use trust::{Doubt, Probe, Standing};
use validator::Validator;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// The resolver validates, and sets the AD bit.
    Ad,
    /// It is validated here, from these on.
    Validate(Anchors),
    /// Nobody does: nothing is secure.
    Off,
}

impl Settings {
    /// With the usual times and names.
    #[must_use]
    pub fn new(servers: Vec<Server>, dnssec: Dnssec) -> Self {
        Self { servers, dnssec, timeout: Duration::from_secs(5), probe: Probe::default() }
    }

    /// As `[resolver]` says; the system's file, and that of the trust anchors, are read now.
    ///
    /// # Errors
    /// What is wrong with the trust anchors.
    pub fn of(resolver: &config::Resolver) -> Result<Self, String> {
        let dnssec = match (resolver.dnssec, &resolver.trust_anchor) {
            (config::Dnssec::Ad, _) => Dnssec::Ad,
            (config::Dnssec::Validate, Some(file)) => Dnssec::Validate(Anchors::read(file)?),
            (config::Dnssec::Validate, None) => Dnssec::Validate(Anchors::usual()?),
            (config::Dnssec::Off, _) => Dnssec::Off,
        };
        let servers = match &resolver.servers {
            // A system without the file has a resolver of its own.
            NameServers::System => system::servers(&fs::read_to_string(system::FILE).unwrap_or_default()),
            NameServers::Custom(addresses) => addresses.iter().map(|at| Server::new(*at, false)).collect(),
        };
        let trusts = |server: Server| Server::new(server.address, server.is_trusted || resolver.dnssec_named);
        Ok(Self::new(servers.into_iter().map(trusts).collect(), dnssec))
    }

    fn validates(&self) -> bool {
        matches!(self.dnssec, Dnssec::Validate(_))
    }
}

impl Dnssec {
    fn wanted(&self) -> Wanted {
        match self {
            Self::Ad => Wanted::Word,
            Self::Validate(_) => Wanted::Signatures,
            Self::Off => Wanted::Nothing,
        }
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
    /// One for each server, or none: what one server keeps back, another may tell.
    validators: Vec<Validator>,
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
            Dnssec::Ad | Dnssec::Validate(_) => Standing::Untested,
        };
        let standings = Mutex::new(settings.servers.iter().map(standing).collect());
        let validators = validators(&settings);
        Self { settings, standings, validators, latest: AtomicUsize::new(0), memory: Memory::default() }
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
                self.complain_of_test(server, &error);
            }
        }
        all_answered
    }

    fn complain_of_test(&self, server: SocketAddr, error: &LookupError) {
        if self.settings.validates() {
            tracing::warn!(%server, reason = %error, "what the resolver says cannot be validated: mail waits");
        } else {
            tracing::warn!(%server, reason = %error, "the resolver did not answer the test whether it validates");
        }
    }

    fn may_vouch(&self, place: usize) -> bool {
        match self.settings.dnssec {
            Dnssec::Ad => self.settings.servers[place].is_trusted,
            Dnssec::Validate(_) => true,
            Dnssec::Off => false,
        }
    }

    fn complain_of_remotes(&self) {
        for server in self.settings.servers.iter().filter(|server| !server.is_trusted) {
            let server = server.address;
            tracing::warn!(%server, reason = %Doubt::Remote, "no DANE by this resolver");
        }
    }

    /// Finds out whether a resolver validates, or lets us.
    async fn examine(&self, place: usize) -> Result<(), LookupError> {
        let (probe, validates) = (&self.settings.probe, self.settings.validates());
        let said = self.ask(place, &Probe::question(&probe.signed)?).await;
        let believed = validates || self.lock()[place].counts();
        let mut doubt = probe.judge_signed(said, believed)?;
        if let (None, Some(name)) = (&doubt, &probe.bogus) {
            doubt = Probe::judge_bogus(self.ask(place, &Probe::question(name)?).await, name)?;
        }
        let good = if validates { Standing::Validated } else { Standing::Vouches };
        self.note(place, doubt.map_or(good, Standing::DoesNot));
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
            Standing::Validated => tracing::info!(%server, "DNSSEC is validated here"),
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
                    // What one has found bogus, another may just not have looked at. Here all of them are looked at.
                    Err(error @ LookupError::Bogus { .. }) if !self.settings.validates() => return Err(error),
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
        let is_believed = self.lock()[place].counts();
        Ok(Some(Said { reply, is_believed }))
    }

    /// Asks a server. The reply is an answer; AD in it is its word, or what was found here.
    async fn ask(&self, place: usize, question: &Question) -> Result<Whole, LookupError> {
        let answer = timeout(self.settings.timeout, self.answer(place, question)).await;
        answer.unwrap_or(Err(LookupError::Timeout))
    }

    async fn answer(&self, place: usize, question: &Question) -> Result<Whole, LookupError> {
        let request = question.compose(random_id(), self.settings.dnssec.wanted());
        let reply =
            exchange(self.settings.servers[place].address, false, &request).await.map_err(|error| failed(&error))?;
        is_answer(&reply)?;
        match self.validators.get(place) {
            Some(validator) => validator.validate(reply).await,
            None => Ok(reply),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn validators(settings: &Settings) -> Vec<Validator> {
    let Dnssec::Validate(anchors) = &settings.dnssec else { return Vec::new() };
    let validator = |server: &Server| Validator::new(anchors.clone(), server.address, settings.timeout);
    settings.servers.iter().map(validator).collect()
}

fn failed(error: &io::Error) -> LookupError {
    match error.kind() {
        io::ErrorKind::InvalidData => malformed("it is none to this question"),
        _ => LookupError::Unreachable { why: error.to_string() },
    }
}

impl Lookup for Dns {
    fn vouches(&self) -> bool {
        self.lock().iter().any(Standing::counts)
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
