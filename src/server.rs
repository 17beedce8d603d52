//! The composition root: sockets, workers, signals, reload, drain.
//!
//! One control thread owns everything that changes; the workers only accept and serve. Both see the configuration
//! through one `ArcSwap`, and what the process is doing through one watch channel.

mod beat;
mod checks;
mod commands;
mod control;
mod descriptors;
mod handover;
mod lookout;
mod service_manager;
mod sockets;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, Semaphore, mpsc, oneshot},
};

pub use self::descriptors::fits as descriptors_fit;
use self::{
    checks::Checks,
    commands::Desk,
    control::{Control, Signals},
    handover::Predecessor,
    lookout::Lookout,
    sockets::{Held, Inherited, open},
    worker::Worker,
};
use crate::{
    acme::{self, Keepers, Report},
    admin::SocketError,
    config::Problems,
    inbound::World,
    net::{dns::Resolver, stage::stages},
    reload,
    snapshot::{Bind, Lasting, Snapshot},
    tls::Overview,
};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, with every problem found.
    #[error("the configuration cannot be used")]
    Configuration(Problems),
    /// A socket that cannot be had.
    #[error("{address}: cannot listen: {source}; {}", remedy(source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The sockets of a service manager, or of the process before this one, that cannot be taken over.
    #[error("the listening sockets that were handed to this process cannot be used: {0}")]
    Inherit(io::Error),
    /// The control socket that the configuration names.
    #[error("{}: there is no control socket to be had: {source}", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        source: SocketError,
    },
    /// A thread or runtime that cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What to do where a socket cannot be had.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there, or another listener of mailward's",
        io::ErrorKind::AddrNotAvailable => "write an address that this machine has, or wait until it has it",
        io::ErrorKind::PermissionDenied => "a port below 1024 needs CAP_NET_BIND_SERVICE",
        _ => "correct `bind`",
    }
}

/// What to do with a running server.
#[derive(Debug)]
enum Order {
    Reload(oneshot::Sender<Result<(), Problems>>),
    Certificates(oneshot::Sender<(Vec<Overview>, Vec<Report>)>),
    Acme(acme::Command, oneshot::Sender<Result<String, String>>),
    Drain,
    Stop,
}

/// What workers and control share.
#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    world: Arc<World>,
    tally: Arc<Tally>,
    /// Has a thread give back the memory that it keeps at hand.
    give_back: fn(),
}

/// How many connections are being served, refusals included.
#[derive(Debug, Default)]
struct Tally {
    count: AtomicUsize,
    changed: Notify,
}

/// One connection in a [`Tally`].
#[derive(Debug)]
struct Counted(Arc<Tally>);

impl Tally {
    fn enter(self: &Arc<Self>) -> Counted {
        self.count.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until there is none.
    async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            if self.count() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    bound: Arc<Mutex<HashMap<Bind, SocketAddr>>>,
    orders: mpsc::Sender<Order>,
    control: Option<JoinHandle<()>>,
}

impl Server {
    /// Loads the configuration, takes or opens every socket and serves. SIGHUP reloads, SIGUSR2 hands over
    /// to a new process, SIGTERM and SIGINT stop. Sockets may be a service manager's; with `take_over` they are those of
    /// the process that waits at the standard input. With `give_back` a thread gives back the memory that it keeps at hand; it is
    /// called by each worker when sessions have come or gone.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(path: &Path, take_over: bool, give_back: fn()) -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        // Watched before anything else is done: until then SIGHUP and SIGTERM would end the process as they stand.
        let signals = {
            let _inside = runtime.enter();
            Signals::new()
        };
        let lasting = Lasting::beside(runtime.handle().clone());
        let (built, warnings) = reload::load(path, &lasting, true).map_err(StartError::Configuration)?;
        reload::log(&warnings);
        descriptors::raise();
        descriptors::warn(&built.snapshot.config);

        let (predecessor, inherited) = inherit(take_over).map_err(StartError::Inherit)?;
        let (stage, stages) = stages();
        let world = Arc::new(World {
            resolver: Resolver::new(runtime.handle().clone()),
            handshakes: Arc::new(Semaphore::new(built.snapshot.config.server.handshakes)),
            gate: Arc::default(),
            stages,
            sessions: Arc::default(),
        });
        let state = built.snapshot.config.server.state.clone();
        world.gate.bans.load(&state);
        runtime.spawn(world.gate.bans.clone().keep(state.clone()));
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(built.snapshot),
            world,
            tally: Arc::default(),
            give_back,
        });
        let snapshot = shared.snapshot.load_full();
        let count = snapshot.config.server.workers;
        let sockets = open(snapshot.binds(), count, &HashSet::new(), inherited)?;
        let (orders, received) = mpsc::channel(16);
        let workers: Vec<_> =
            (0..count).map(|_| Worker::start(shared.clone())).collect::<Result<_, _>>().map_err(StartError::Thread)?;

        let bound = Arc::new(Mutex::new(HashMap::new()));
        let (bans, remembered) = (shared.world.gate.bans.clone(), lasting.remembered.clone());
        let desk = Desk { orders: orders.clone(), bans, remembered };
        let mut control = Control {
            path: path.to_owned(),
            state,
            checks: Checks::default(),
            keepers: Keepers::new(lasting.answers.clone()),
            lasting,
            lookout: Lookout::new(built.sources),
            shared: shared.clone(),
            stage,
            workers,
            bound: bound.clone(),
            orders: received,
            socket: commands::open(&runtime, &snapshot.config.server, predecessor.is_some(), desk)?,
            program: handover::program(),
            open: Held::default(),
            successor: None,
        };
        control.keep_what_is_remembered();
        control.listen(sockets);
        if let Some(predecessor) = predecessor {
            predecessor.relieve();
        }
        // Not before: an order of the predecessor's is answered by its listeners.
        control.keep_certificates();
        let control = control.spawn(runtime, signals).map_err(StartError::Thread)?;
        Ok(Self { shared, bound, orders, control: Some(control) })
    }

    /// The addresses that a listener really has (port 0 resolved), in the order of its `bind`.
    #[must_use]
    pub fn addresses(&self, listener: &str) -> Vec<SocketAddr> {
        let snapshot = self.shared.snapshot.load();
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |bind: &Bind| snapshot.entry_at(bind).is_some_and(|entry| entry.id == listener);
        snapshot.binds().filter(own).filter_map(|bind| bound.get(&bind).copied()).collect()
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// What sessions are given of the process.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.shared.world.clone()
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// Everything that is wrong with it; the old one stays in force.
    pub fn reload(&self) -> Result<(), Problems> {
        let (reply, answer) = oneshot::channel();
        if self.orders.blocking_send(Order::Reload(reply)).is_err() {
            return Ok(());
        }
        answer.blocking_recv().unwrap_or(Ok(()))
    }

    /// Begins to stop: no new sessions, and the running ones end where their protocol lets them.
    pub fn drain(&self) {
        // A control thread that is gone has stopped already.
        let _ = self.orders.blocking_send(Order::Drain);
    }

    /// Waits until the server has stopped; says whether it did so in good order.
    #[must_use]
    pub fn wait(mut self) -> bool {
        self.join()
    }

    fn join(&mut self) -> bool {
        // A panic was printed when it happened.
        self.control.take().is_none_or(|control| control.join().is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.control.is_some() {
            let _ = self.orders.blocking_send(Order::Stop);
            self.join();
        }
    }
}

/// The sockets that are there already, and who hands them over, if somebody does.
fn inherit(take_over: bool) -> io::Result<(Option<Predecessor>, Inherited)> {
    if take_over {
        Predecessor::meet().map(|(predecessor, inherited)| (Some(predecessor), inherited))
    } else {
        Ok((None, Inherited::from_service_manager()?))
    }
}

impl Control {
    fn spawn(self, runtime: Runtime, signals: Signals) -> io::Result<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name("control".to_owned());
        let (bans, state) = (self.shared.world.gate.bans.clone(), self.state.clone());
        thread.spawn(move || {
            runtime.block_on(self.run(signals));
            bans.save(&state);
            // A lookup of a name that hangs holds nobody up.
            runtime.shutdown_background();
        })
    }
}
