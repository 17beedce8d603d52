//! One scenario for one proxy: it is started, does its work, and its kernel's accounts are read before and after.

use std::fs;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::certificates::{self, HOST, Hosted};
use crate::client::{Client, Door, Identity};
use crate::load::{self, Budget, Done, LANES, Task};
use crate::measure::Bench;
use crate::peers::{Peer, Setup};
use crate::plan::{Protocol, Scenario, Work};
use crate::process::Supervised;
use crate::table::median;

/// What a value may be: some proxies have no part in some rows.
type Values = Vec<Option<f64>>;

/// How long it takes to see that a proxy could not start.
const FALSE_START: Duration = Duration::from_secs(2);

/// How long sessions are silent, or over, before memory is looked at.
const SILENCE: Duration = Duration::from_secs(2);

/// The download after which sessions idle again.
const FETCH: usize = 256 * 1024;

/// One scenario for one proxy.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// What all have in common.
    pub bench: &'a Bench,
    /// The proxy.
    pub peer: &'a Peer,
    /// What is measured.
    pub scenario: &'a Scenario,
}

/// A proxy that serves.
#[derive(Debug)]
struct Served {
    /// None where there is no proxy.
    proxy: Option<Supervised>,
    door: Door,
}

impl Served {
    fn cpu(&self) -> Option<Duration> {
        self.proxy.as_ref().map(Supervised::cpu)
    }

    /// In bytes, once nothing has happened for a while.
    async fn memory_in_silence(&self) -> f64 {
        sleep(SILENCE).await;
        self.memory()
    }

    fn memory(&self) -> f64 {
        self.proxy.as_ref().map_or(0.0, |proxy| float(proxy.memory()))
    }
}

impl Cell<'_> {
    /// What comes of it, in the order of the scenario's rows.
    ///
    /// # Errors
    /// What failed, in words: a proxy that does not start, a session that does not go as it should.
    pub async fn values(&self) -> Result<Values, String> {
        match self.scenario.work {
            Work::Sessions { resumed } => self.sessions(resumed).await,
            Work::OneByOne => self.one_by_one().await,
            Work::Download => self.bulk(&Task::download(self.bench.sizes.bytes)).await,
            Work::Upload => self.bulk(&Task::upload(self.bench.sizes.bytes)).await,
            Work::Messages => self.messages().await,
            Work::RoundTrips => self.round_trips().await,
            Work::Idle => self.idle().await,
            Work::IdleMany => self.idle_many().await,
            Work::Held => self.held().await,
            Work::Certificates => self.certificates().await,
        }
    }

    async fn sessions(&self, resumed: bool) -> Result<Values, String> {
        let served = self.start(None).await?;
        let lanes = lanes(&[HOST.to_owned()], resumed)?;
        let (cpu, done) = self.measured_sessions(&served, &lanes, resumed, 0).await?;
        Ok(vec![per_unit(cpu, done.units, MICRO), Some(a_second(done))])
    }

    /// Sessions beside `held` others, behind some that warm the proxy up and, where they are to be resumed, get the
    /// first ticket of each lane.
    async fn measured_sessions(
        &self,
        served: &Served,
        lanes: &[Vec<Identity>],
        resumed: bool,
        held: usize,
    ) -> Result<(Option<Duration>, Done), String> {
        for lane in lanes {
            let one = Budget { units: 1, ..self.budget(1) };
            shown(load::sessions(&served.door, std::slice::from_ref(lane), None, one).await)?;
        }
        let budget = self.budget(self.bench.sizes.handshakes);
        shown(load::sessions(&served.door, lanes, Some(resumed), warming(budget)).await)?;
        self.spent(served, held, load::sessions(&served.door, lanes, Some(resumed), budget)).await
    }

    async fn one_by_one(&self) -> Result<Values, String> {
        let served = self.start(None).await?;
        let budget = self.budget(self.bench.sizes.one_by_one);
        let each = shown(load::one_by_one(&served.door, &Identity::new(HOST, false)?, budget).await)?;
        Ok(vec![middle(&each, MILLI)])
    }

    async fn bulk(&self, task: &Task) -> Result<Values, String> {
        let served = self.start(None).await?;
        let mut clients = self.clients(&served, task.sessions, true).await?;
        let (cpu, done) = self.spent(&served, clients.len(), task.run(&mut clients)).await?;
        Ok(vec![per_unit(cpu, done.units, MILLI * GIGA)])
    }

    async fn messages(&self) -> Result<Values, String> {
        let served = self.start(None).await?;
        let budget = self.budget(self.bench.sizes.messages);
        let (warming, task) = (Task::messages(warming(budget)), Task::messages(budget));
        let mut clients = self.clients(&served, task.sessions, true).await?;
        shown(warming.run(&mut clients).await)?;
        let (cpu, done) = self.spent(&served, clients.len(), task.run(&mut clients)).await?;
        Ok(vec![per_unit(cpu, done.units, MICRO)])
    }

    /// By the clock, and right before it the same without a proxy.
    async fn round_trips(&self) -> Result<Values, String> {
        let served = self.start(None).await?;
        let direct = Served { proxy: None, door: self.door(self.backend(), false) };
        let budget = self.budget(self.bench.sizes.round_trips);
        let (_, without) = self.round_trips_of(&direct, budget).await?;
        let Some(_) = served.proxy else { return Ok(vec![middle(&without, MICRO), None, None]) };
        let (cpu, with) = self.round_trips_of(&served, budget).await?;
        let added = middle(&with, MICRO).zip(middle(&without, MICRO)).map(|(with, without)| with - without);
        Ok(vec![middle(&with, MICRO), added, per_unit(cpu, with.len() as u64, MICRO)])
    }

    async fn round_trips_of(
        &self,
        served: &Served,
        budget: Budget,
    ) -> Result<(Option<Duration>, Vec<Duration>), String> {
        let mut clients = self.clients(served, 1, true).await?;
        shown(load::round_trips(&mut clients[0], warming(budget)).await)?;
        let spent = self.spent(served, 1, load::round_trips(&mut clients[0], budget)).await?;
        self.leave(clients, 0).await?;
        Ok(spent)
    }

    async fn idle(&self) -> Result<Values, String> {
        let [count, _] = self.bench.sizes.sessions;
        let served = self.start(None).await?;
        let process = served.memory();
        let before = self.warm_memory(&served).await?;
        let each = |memory: f64| (memory - before) / float(count as u64);
        let mut clients = self.clients(&served, count, false).await?;
        let after_tls = served.memory_in_silence().await;
        shown(load::log_in(&served.door, &mut clients).await)?;
        let after_login = served.memory_in_silence().await;
        shown(load::fetch_each(&mut clients, FETCH).await)?;
        let after_fetch = served.memory_in_silence().await;
        self.leave(clients, 0).await?;
        let kept = (served.memory_in_silence().await - before) / (after_fetch.max(after_login) - before) * 100.0;
        Ok([process / 1e6, each(after_tls), each(after_login), each(after_fetch), kept].map(Some).into())
    }

    async fn idle_many(&self) -> Result<Values, String> {
        let [_, count] = self.bench.sizes.sessions;
        let served = self.start(None).await?;
        let before = self.warm_memory(&served).await?;
        let clients = self.clients(&served, count, true).await?;
        let each = (served.memory_in_silence().await - before) / float(count as u64);
        let idling = self.bench.sizes.idling;
        let idle = async {
            sleep(idling).await;
            Ok(())
        };
        let (cpu, ()) = self.spent(&served, count, idle).await?;
        self.leave(clients, 0).await?;
        Ok(vec![Some(each), cpu.map(|cpu| cpu.as_secs_f64() * MILLI / idling.as_secs_f64())])
    }

    /// The memory of a proxy that has all it needs once, and not for each session.
    async fn warm_memory(&self, served: &Served) -> Result<f64, String> {
        let clients = self.clients(served, LANES, true).await?;
        self.leave(clients, 0).await?;
        Ok(served.memory_in_silence().await)
    }

    async fn held(&self) -> Result<Values, String> {
        let served = self.start(None).await?;
        let lanes = lanes(&[HOST.to_owned()], false)?;
        let mut held = Vec::new();
        let mut costs = Vec::new();
        for count in [0, self.bench.sizes.sessions[0], self.bench.sizes.sessions[1]] {
            held.extend(self.clients(&served, count - held.len(), true).await?);
            let (cpu, done) = self.measured_sessions(&served, &lanes, false, held.len()).await?;
            costs.push(per_unit(cpu, done.units, MICRO));
        }
        self.leave(held, 0).await?;
        Ok(times_the_first(&costs))
    }

    async fn certificates(&self) -> Result<Values, String> {
        let mut costs = Vec::new();
        for count in self.bench.sizes.certificates {
            let hosted = certificates::many(&self.bench.work, count)?;
            let served = self.start(Some(&hosted)).await?;
            let lanes = lanes(&hosted.hosts, false)?;
            let (cpu, done) = self.measured_sessions(&served, &lanes, false, 0).await?;
            costs.push(per_unit(cpu, done.units, MICRO));
        }
        Ok(times_the_first(&costs))
    }

    fn budget(&self, units: u64) -> Budget {
        Budget { units, longest: self.bench.sizes.longest }
    }

    /// Opens sessions.
    async fn clients(&self, served: &Served, count: usize, logged_in: bool) -> Result<Vec<Client>, String> {
        shown(load::open(&served.door, &Identity::new(HOST, false)?, count, logged_in).await)
    }

    /// Ends sessions and waits until `left` are left.
    async fn leave(&self, clients: Vec<Client>, left: usize) -> Result<(), String> {
        load::leave(clients).await;
        self.bench.backend.settles(left).await
    }

    /// What work costs, up to the end of all its sessions but `held`.
    async fn spent<T>(
        &self,
        served: &Served,
        held: usize,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<(Option<Duration>, T), String> {
        self.bench.backend.settles(held).await?;
        let before = served.cpu();
        let done = shown(work.await)?;
        self.bench.backend.settles(held).await?;
        Ok((served.cpu().zip(before).map(|(after, before)| after.saturating_sub(before)), done))
    }

    fn backend(&self) -> SocketAddr {
        match self.scenario.service.protocol() {
            Protocol::Imap => self.bench.backend.imap,
            Protocol::Smtp => self.bench.backend.smtp,
        }
    }

    fn door(&self, address: SocketAddr, tls: bool) -> Door {
        Door { address, service: self.scenario.service, tls, asks_recipient: self.peer.can.asks_recipient }
    }

    /// Starts the proxy and waits until it has served a session.
    async fn start(&self, hosted: Option<&Hosted>) -> Result<Served, String> {
        let Some(command) = self.peer.command else {
            return Ok(Served { proxy: None, door: self.door(self.backend(), false) });
        };
        let folder = self.empty_folder()?;
        let certificate = certificates::one(&self.bench.work, self.scenario.key)?;
        let listen = free_address()?;
        let setup = Setup {
            folder: &folder,
            listen,
            service: self.scenario.service,
            backend: self.backend(),
            auth_http: self.bench.backend.auth_http,
            workers: self.scenario.workers,
            certificate: &certificate,
            hosted,
            mailward: &self.bench.mailward,
            other: &self.bench.other,
        };
        let cpus = self.bench.cpus.of_proxy(self.scenario.pinning());
        let proxy = shown(Supervised::start(&command(&setup)?, cpus, &folder))?;
        let served = Served { proxy: Some(proxy), door: self.door(listen, self.peer.can.tls) };
        self.serves(&served).await?;
        Ok(served)
    }

    fn empty_folder(&self) -> Result<PathBuf, String> {
        let folder = self.bench.work.join("scratch");
        if folder.exists() {
            shown(fs::remove_dir_all(&folder))?;
        }
        shown(fs::create_dir(&folder))?;
        Ok(folder)
    }

    /// Waits until a session goes through; what waits for ever is ended with the scenario.
    async fn serves(&self, served: &Served) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect(served.door.address).await.is_err() {
            let Some(proxy) = &served.proxy else { return Err("no backend".to_owned()) };
            if start.elapsed() > FALSE_START && proxy.has_ended() {
                return Err(format!("it does not run: {}", proxy.last_words()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        let clients = self.clients(served, 1, true).await;
        let words = served.proxy.as_ref().map(Supervised::last_words).unwrap_or_default();
        self.leave(clients.map_err(|why| format!("it does not serve: {why}\n{words}"))?, 0).await
    }
}

/// Lists of identities, one for each lane, which share these hosts. Those of a lane have tickets of their own.
fn lanes(hosts: &[String], resumed: bool) -> Result<Vec<Vec<Identity>>, String> {
    let each = hosts.len().div_ceil(LANES);
    let lane = |lane: usize| {
        let identity = Identity::new(HOST, resumed)?;
        hosts.iter().cycle().skip(lane).step_by(LANES).take(each).map(|host| identity.asks_for(host)).collect()
    };
    (0..LANES).map(lane).collect()
}

/// A free address of loopback, below the ports that the kernel gives to outgoing connections.
fn free_address() -> Result<SocketAddr, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 21_000;
    const COUNT: u16 = 10_000;
    (0..COUNT)
        .map(|_| SocketAddr::from(([127, 0, 0, 1], FIRST + NEXT.fetch_add(1, Relaxed) % COUNT)))
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or_else(|| "no free port".to_owned())
}

fn shown<T>(outcome: io::Result<T>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// What comes before a measurement: a twentieth of it.
fn warming(budget: Budget) -> Budget {
    Budget { units: budget.units / 20, ..budget }
}

const MILLI: f64 = 1e3;
const MICRO: f64 = 1e6;
const GIGA: f64 = 1e9;

#[allow(clippy::cast_precision_loss)] // No count here comes near 2^52.
fn float(count: u64) -> f64 {
    count as f64
}

/// What one unit costs, in seconds times `scale`.
fn per_unit(spent: Option<Duration>, units: u64, scale: f64) -> Option<f64> {
    spent.filter(|_| units > 0).map(|spent| spent.as_secs_f64() * scale / float(units))
}

fn a_second(done: Done) -> f64 {
    float(done.units) / done.elapsed.as_secs_f64()
}

/// The median of times, in seconds times `scale`.
fn middle(times: &[Duration], scale: f64) -> Option<f64> {
    median(&times.iter().map(|time| time.as_secs_f64() * scale).collect::<Vec<_>>())
}

/// The first cost, and the others as multiples of it.
fn times_the_first(costs: &[Option<f64>]) -> Values {
    let first = costs.first().copied().flatten();
    let others = costs.iter().skip(1).map(|cost| first.zip(*cost).map(|(first, cost)| cost / first));
    std::iter::once(first).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_for_each_unit() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(per_unit(second, 5_000, MICRO), Some(200.0));
        assert_eq!(per_unit(second, 2_000_000_000, MILLI * GIGA), Some(500.0));
        assert_eq!(per_unit(None, 5_000, MICRO), None);
        assert_eq!(per_unit(second, 0, MICRO), None);
    }

    #[test]
    fn a_rate_is_for_each_second() {
        assert_eq!(a_second(Done { units: 500, elapsed: Duration::from_millis(250) }), 2_000.0);
    }

    #[test]
    fn growth_is_told_in_multiples() {
        assert_eq!(times_the_first(&[Some(100.0), Some(105.0), Some(200.0)]), [Some(100.0), Some(1.05), Some(2.0)]);
        assert_eq!(times_the_first(&[None, None]), [None, None]);
    }

    #[test]
    fn lanes_share_the_hosts() {
        let hosts: Vec<_> = (0..40).map(|number| format!("host-{number}.example")).collect();
        assert_eq!(lanes(&hosts, false).expect("names").iter().map(Vec::len).collect::<Vec<_>>(), [3; LANES]);
        assert_eq!(lanes(&hosts[..1], true).expect("names").len(), LANES);
    }
}
