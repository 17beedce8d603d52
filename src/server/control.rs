//! The control thread: signals, reload, certificates that changed, drain.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Order, Shared, StartError,
    checks::Checks,
    handover::{self, Successor},
    lookout::Lookout,
    service_manager,
    sockets::{Held, Inherited, Sockets, open},
    worker::{Task, Worker},
};
use crate::{
    acme::Keepers,
    admin::Socket,
    config::Problems,
    net::stage::{Stage, Teller},
    outbound::store,
    reload,
    snapshot::{Bind, Lasting},
    tls::Looked,
};

/// How often certificate files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// How long sessions have for their last words when the time for draining is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How far apart two sessions are told to go: a core takes some thousand handshakes a second when their clients are back.
const SEND_AWAY: Duration = Duration::from_millis(1);

/// Everything that the control thread owns.
#[derive(Debug)]
pub(super) struct Control {
    pub path: PathBuf,
    /// Where everything is kept that outlives the process; another one takes a restart.
    pub state: PathBuf,
    pub lasting: Lasting,
    pub lookout: Lookout,
    pub keepers: Keepers,
    pub checks: Checks,
    pub shared: Arc<Shared>,
    pub stage: Teller,
    pub workers: Vec<Worker>,
    pub bound: Arc<Mutex<HashMap<Bind, SocketAddr>>>,
    pub orders: mpsc::Receiver<Order>,
    /// Where commands come in by, if it could be had.
    pub socket: Option<Socket>,
    /// What SIGUSR2 starts.
    pub program: Option<PathBuf>,
    /// A second hold on every listening socket, to be handed on.
    pub open: Held,
    /// The process that is to take over, while it starts.
    pub successor: Option<JoinHandle<io::Result<Successor>>>,
}

/// What woke the control thread.
enum Wake {
    Reload,
    Order(Option<Order>),
    Stop,
    Look,
    Looked(Looked),
    Issued,
    HandOver,
    HandedOver(io::Result<Successor>),
}

impl Control {
    /// Serves until told to stop, or relieved by another process, then drains.
    pub(super) async fn run(mut self, mut signals: Signals) {
        self.check_backends();
        tokio::spawn(service_manager::watchdog(self.workers.iter().map(Worker::pulse).collect()));
        service_manager::ready();
        let mut look = interval(WATCH_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut relieved = None;
        let hard = loop {
            match self.wake(&mut signals, &mut look).await {
                Wake::Reload => {
                    // Its problems are in the log.
                    let _ = self.reload().await;
                }
                Wake::Order(Some(Order::Reload(reply))) => {
                    // Who asked may be gone.
                    let _ = reply.send(self.reload().await);
                }
                Wake::Order(Some(Order::Certificates(reply))) => {
                    let _ = reply.send((self.lookout.overview(), self.keepers.reports()));
                }
                Wake::Order(Some(Order::Acme(command, reply))) => self.keepers.command(command, reply),
                Wake::Look => self.lookout.look(self.shared.snapshot.load_full()),
                Wake::Issued => self.lookout.look_again(self.shared.snapshot.load_full()),
                Wake::Looked(looked) => self.renew_certificates(looked),
                Wake::HandOver => self.hand_over(),
                Wake::HandedOver(Ok(successor)) => {
                    service_manager::succeeded_by(successor.id);
                    tracing::info!(process = successor.id, "another process has taken over");
                    self.shared.world.gate.bans.retire();
                    self.let_go_of_what_is_remembered().await;
                    relieved = Some(successor);
                    break false;
                }
                Wake::HandedOver(Err(error)) => {
                    tracing::error!(%error, "the new process cannot take over; this one goes on");
                }
                Wake::Stop | Wake::Order(Some(Order::Drain)) => break false,
                Wake::Order(Some(Order::Stop) | None) => break true,
            }
        };
        if relieved.is_none() {
            service_manager::stopping(self.shared.snapshot.load().config.server.drain);
        }
        self.finish(hard, relieved, &mut signals).await;
    }

    async fn wake(&mut self, signals: &mut Signals, look: &mut tokio::time::Interval) -> Wake {
        tokio::select! {
            wake = signals.next() => wake,
            order = self.orders.recv() => Wake::Order(order),
            _ = look.tick() => Wake::Look,
            looked = self.lookout.looked() => Wake::Looked(looked),
            () = self.keepers.issued() => Wake::Issued,
            outcome = handed_over(&mut self.successor) => Wake::HandedOver(outcome),
        }
    }

    /// Has the program of now take over, beside everything else.
    fn hand_over(&mut self) {
        if self.successor.is_some() {
            return tracing::warn!("another process is about to take over already");
        }
        if std::process::id() == 1 {
            return tracing::error!("the first process of a container cannot be relieved: start another container");
        }
        let Some(program) = self.program.clone() else {
            return tracing::error!("it is not known which program runs here: nothing can take over");
        };
        match self.open.copy() {
            Ok(sockets) => {
                tracing::info!(program = %program.display(), "starting the process that is to take over");
                self.successor = Some(spawn_blocking(move || handover::hand_over(&program, &sockets)));
            }
            Err(error) => tracing::error!(%error, "the listening sockets cannot be handed on; this process goes on"),
        }
    }

    async fn finish(mut self, hard: bool, relieved: Option<Successor>, signals: &mut Signals) {
        self.checks = Checks::default();
        let keepers = tokio::spawn(std::mem::take(&mut self.keepers).stop());
        if !hard {
            self.drain(relieved, signals).await;
        }
        // A panic was printed when it happened.
        let _ = keepers.await;
        self.stop().await;
    }

    /// Everything, or nothing: sockets that are new are open before anything else changes.
    async fn reload(&mut self) -> Result<(), Problems> {
        service_manager::reloading();
        let reloaded = self.adopt_configuration().await;
        service_manager::ready();
        reloaded
    }

    async fn adopt_configuration(&mut self) -> Result<(), Problems> {
        let (built, warnings) = match reload::load(&self.path, &self.lasting, true) {
            Ok(built) => built,
            Err(problems) => {
                reload::log(&problems);
                tracing::error!("the configuration was not reloaded; the old one stays in force");
                return Err(problems);
            }
        };
        let old = self.shared.snapshot.load_full();
        let kept: HashSet<Bind> = old.binds().collect();
        let wanted: HashSet<Bind> = built.snapshot.binds().collect();
        let ours = kept.iter().map(|bind| bind.address.port()).collect();
        let sockets = open(wanted.difference(&kept).cloned(), self.workers.len(), &ours, Inherited::default());
        let sockets = sockets.map_err(|error| self.refuse_reload(&error))?;

        reload::log(&warnings);
        reload::warn_of_restart(&old.config, &built.snapshot.config);
        self.lookout = Lookout::new(built.sources);
        self.shared.snapshot.store(Arc::new(built.snapshot));
        // Whoever waits for a place, waits for one by the old numbers.
        old.entries().for_each(|entry| entry.occupancy.look_again());
        self.keep_certificates();
        self.keep_what_is_remembered();
        self.check_backends();
        self.listen(sockets);
        self.close(kept.difference(&wanted).cloned().collect()).await;
        tracing::info!("the configuration was reloaded");
        Ok(())
    }

    /// Has every certificate kept that the configuration in force asks for.
    pub(super) fn keep_certificates(&mut self) {
        if let Err(error) = self.keepers.adopt(&self.shared.snapshot.load().config) {
            tracing::error!(%error, "certificates cannot be kept fresh: no thread can be had");
        }
    }

    /// Has it kept on the disk what is remembered of mail on its way out, once a listener relays.
    pub(super) fn keep_what_is_remembered(&self) {
        if self.shared.snapshot.load().config.relays.is_empty() {
            return;
        }
        if let Err(error) = self.lasting.remembered.keep(&self.state) {
            tracing::error!(%error, "what is remembered of outbound mail cannot be kept: no thread can be had");
        }
    }

    /// Leaves that to the next process: it waits for the file before it sends.
    async fn let_go_of_what_is_remembered(&self) {
        // What a disk has not taken by then is lost as in a crash.
        let _ = timeout(store::PATIENCE, self.lasting.remembered.close()).await;
    }

    /// Has backends' addresses checked as the configuration in force asks for it.
    fn check_backends(&mut self) {
        self.checks = Checks::begin(&self.shared.snapshot.load(), &self.shared.world.resolver);
    }

    fn refuse_reload(&self, error: &StartError) -> Problems {
        tracing::error!(%error, "the configuration was not reloaded; the old one stays in force");
        let mut problems = Problems::default();
        let snapshot = self.shared.snapshot.load();
        let mail = snapshot.config.listeners.values().map(|listener| &listener.at);
        if let Some(at) = mail.chain(snapshot.config.http.values().map(|listener| &listener.at)).next() {
            problems.error(at, "server.listener", error.to_string(), "");
        }
        problems
    }

    fn renew_certificates(&mut self, looked: Looked) {
        for what in looked.refused {
            tracing::warn!("{what}");
        }
        match looked.renewed {
            Ok(renewed) => {
                self.shared.snapshot.load().certificates.swap(renewed.certificates);
                for name in renewed.names {
                    tracing::info!(%name, "a certificate was read anew");
                }
            }
            Err(problems) => {
                for problem in problems.0 {
                    tracing::warn!("{problem}; until then the certificates before this change stay in force");
                }
            }
        }
    }

    /// Lets sessions end where their protocol lets them, for as long as `server.drain` says. Who has taken over hears
    /// that nobody is accepted here any more.
    async fn drain(&mut self, relieved: Option<Successor>, signals: &mut Signals) {
        let limit = self.shared.snapshot.load().config.server.drain;
        tracing::info!(seconds = limit.as_secs(), "stopping: no new sessions, running ones may end");
        self.close(self.shared.snapshot.load().binds().collect()).await;
        if relieved.is_some() {
            // The other process has a control socket of its own.
            self.socket = None;
        }
        drop(relieved);
        let deadline = Instant::now() + limit;
        let tally = self.shared.tally.clone();
        let told = async {
            send_away(&self.stage, tally.count(), limit / 2).await;
            tally.none().await;
        };
        tokio::select! {
            () = told => {}
            () = sleep_until(deadline) => tracing::info!("the time for draining is over"),
            () = signals.stop() => tracing::info!("stopping at once"),
            () = told_to_stop(&mut self.orders) => {}
        }
    }

    async fn stop(mut self) {
        self.stage.tell(Stage::Stopping);
        // Sessions that do not end by themselves are dropped with their worker.
        let _ = timeout(LAST_WORDS, self.shared.tally.none()).await;
        let workers = std::mem::take(&mut self.workers);
        workers.into_iter().for_each(Worker::join);
        self.let_go_of_what_is_remembered().await;
        drop(self.socket);
        tracing::info!("stopped");
    }

    /// Has the workers accept from these, each its share.
    pub(super) fn listen(&mut self, sockets: Sockets) {
        for (bind, sockets) in sockets {
            self.note(&bind, &sockets);
            self.open.hold(&bind, &sockets);
            for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
                worker.give(Task::Listen(bind.clone(), socket));
            }
        }
    }

    fn note(&self, bind: &Bind, sockets: &[std::net::TcpListener]) {
        let Some(address) = sockets.first().and_then(|socket| socket.local_addr().ok()) else { return };
        let snapshot = self.shared.snapshot.load();
        let listener = snapshot.entry_at(bind).map(|entry| entry.id.clone()).unwrap_or_default();
        tracing::info!(%listener, %address, "listening");
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).insert(bind.clone(), address);
    }

    /// Closes the sockets of these addresses, with nobody left in their queues.
    async fn close(&mut self, binds: Vec<Bind>) {
        binds.iter().for_each(|bind| self.open.release(bind));
        for worker in &self.workers {
            worker.close(binds.clone()).await;
        }
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        for bind in binds {
            tracing::info!(address = %bind.address, "no longer listening");
            bound.remove(&bind);
        }
    }
}

/// Tells that many sessions to go, at a pace at which their clients can be served where they come back, but all within
/// `limit`.
async fn send_away(teller: &Teller, sessions: usize, limit: Duration) {
    let whole = (u32::try_from(sessions).unwrap_or(u32::MAX) * SEND_AWAY).min(limit);
    let groups = teller.groups();
    let pause = whole / u32::try_from(groups.len()).unwrap_or(u32::MAX);
    let mut due = Instant::now();
    for group in groups {
        group.send_replace(Stage::Draining);
        due += pause;
        sleep_until(due).await;
    }
}

/// What came of the process that is to take over; never, where there is none.
async fn handed_over(successor: &mut Option<JoinHandle<io::Result<Successor>>>) -> io::Result<Successor> {
    let Some(starting) = successor else { return std::future::pending().await };
    let outcome = starting.await.map_err(io::Error::other).flatten();
    *successor = None;
    outcome
}

/// Ready when an order to stop at once has come, or nobody is left to give one.
async fn told_to_stop(orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Stop) {
            return;
        }
    }
}

/// SIGHUP, SIGUSR1, SIGUSR2, and SIGTERM and SIGINT; none, where the system lets nobody watch them.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Option<Signal>,
    /// Other servers open their log anew for it. Unwatched, it would end the process.
    no_meaning: Option<Signal>,
    hand_over: Option<Signal>,
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    /// Watches from now on. Needs to be inside a runtime.
    pub(super) fn new() -> Self {
        let watch = |kind| signal(kind).ok();
        Self {
            hangup: watch(SignalKind::hangup()),
            no_meaning: watch(SignalKind::user_defined1()),
            hand_over: watch(SignalKind::user_defined2()),
            terminate: watch(SignalKind::terminate()),
            interrupt: watch(SignalKind::interrupt()),
        }
    }

    async fn next(&mut self) -> Wake {
        loop {
            tokio::select! {
                () = next(&mut self.hangup) => return Wake::Reload,
                () = next(&mut self.hand_over) => return Wake::HandOver,
                () = next(&mut self.terminate) => return Wake::Stop,
                () = next(&mut self.interrupt) => return Wake::Stop,
                () = next(&mut self.no_meaning) => tracing::warn!(
                    "SIGUSR1 means nothing here: SIGHUP reads the configuration anew, SIGUSR2 has a new binary take over"
                ),
            }
        }
    }

    async fn stop(&mut self) {
        tokio::select! {
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

/// The next signal of a kind; never, where the kind is not watched or its stream is over.
async fn next(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
