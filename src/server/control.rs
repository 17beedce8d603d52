//! The control thread: signals, reload, certificates that changed, drain.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Order, Shared, Sockets, StartError,
    checks::Checks,
    lookout::Lookout,
    open,
    worker::{Task, Worker},
};
use crate::{
    acme::Keepers,
    admin::Socket,
    config::Problems,
    net::Stage,
    reload,
    snapshot::{Bind, Lasting},
    tls::Looked,
};

/// How often certificate files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// How long sessions have for their last words when the time for draining is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Everything that the control thread owns.
#[derive(Debug)]
pub(super) struct Control {
    pub path: PathBuf,
    pub lasting: Lasting,
    pub lookout: Lookout,
    pub keepers: Keepers,
    pub checks: Checks,
    pub shared: Arc<Shared>,
    pub stage: watch::Sender<Stage>,
    pub workers: Vec<Worker>,
    pub bound: Arc<Mutex<HashMap<Bind, SocketAddr>>>,
    pub orders: mpsc::Receiver<Order>,
    /// Where commands come in by, if it could be had.
    pub socket: Option<Socket>,
}

/// What woke the control thread.
enum Wake {
    Reload,
    Order(Option<Order>),
    Stop,
    Look,
    Looked(Looked),
    Issued,
}

impl Control {
    /// Hands out the sockets of the start.
    pub(super) fn listen(self, sockets: Sockets) -> Self {
        for (bind, sockets) in sockets {
            self.note(&bind, &sockets);
            for (worker, socket) in self.workers.iter().zip(sockets) {
                worker.give_now(Task::Listen(bind.clone(), socket));
            }
        }
        self
    }

    /// Serves until told to stop, then drains.
    pub(super) async fn run(mut self, mut signals: Signals) {
        self.check_backends();
        let mut look = interval(WATCH_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                Wake::Stop | Wake::Order(Some(Order::Drain)) => break false,
                Wake::Order(Some(Order::Stop) | None) => break true,
            }
        };
        self.checks = Checks::default();
        let keepers = tokio::spawn(std::mem::take(&mut self.keepers).stop());
        if !hard {
            self.drain(&mut signals).await;
        }
        // A panic was printed when it happened.
        let _ = keepers.await;
        self.stop().await;
    }

    async fn wake(&mut self, signals: &mut Signals, look: &mut tokio::time::Interval) -> Wake {
        tokio::select! {
            wake = signals.next() => wake,
            order = self.orders.recv() => Wake::Order(order),
            _ = look.tick() => Wake::Look,
            looked = self.lookout.looked() => Wake::Looked(looked),
            () = self.keepers.issued() => Wake::Issued,
        }
    }

    /// Everything, or nothing: sockets that are new are open before anything else changes.
    async fn reload(&mut self) -> Result<(), Problems> {
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
        let sockets = open(wanted.difference(&kept).cloned(), self.workers.len(), &ours);
        let sockets = sockets.map_err(|error| self.refuse_reload(&error))?;

        reload::log(&warnings);
        reload::warn_of_restart(&old.config, &built.snapshot.config);
        self.lookout = Lookout::new(built.sources);
        self.shared.snapshot.store(Arc::new(built.snapshot));
        self.keep_certificates();
        self.check_backends();
        for (bind, sockets) in sockets {
            self.note(&bind, &sockets);
            for (worker, socket) in self.workers.iter().zip(sockets) {
                worker.give(Task::Listen(bind.clone(), socket)).await;
            }
        }
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

    /// Lets sessions end where their protocol lets them, for as long as `server.drain` says.
    async fn drain(&mut self, signals: &mut Signals) {
        let limit = self.shared.snapshot.load().config.server.drain;
        tracing::info!(seconds = limit.as_secs(), "stopping: no new sessions, running ones may end");
        self.close(self.shared.snapshot.load().binds().collect()).await;
        self.stage.send_replace(Stage::Draining);
        let deadline = Instant::now() + limit;
        let tally = self.shared.tally.clone();
        tokio::select! {
            () = tally.none() => {}
            () = sleep_until(deadline) => tracing::info!("the time for draining is over"),
            () = signals.stop() => tracing::info!("stopping at once"),
            () = told_to_stop(&mut self.orders) => {}
        }
    }

    async fn stop(self) {
        self.stage.send_replace(Stage::Stopping);
        // Sessions that do not end by themselves are dropped with their worker.
        let _ = timeout(LAST_WORDS, self.shared.tally.none()).await;
        for worker in self.workers {
            worker.join();
        }
        drop(self.socket);
        tracing::info!("stopped");
    }

    fn note(&self, bind: &Bind, sockets: &[std::net::TcpListener]) {
        let Some(address) = sockets.first().and_then(|socket| socket.local_addr().ok()) else { return };
        let snapshot = self.shared.snapshot.load();
        let listener = snapshot.entry_at(bind).map(|entry| entry.id.clone()).unwrap_or_default();
        tracing::info!(%listener, %address, "listening");
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).insert(bind.clone(), address);
    }

    /// Closes the sockets of these addresses, with nobody left in their queues.
    async fn close(&self, binds: Vec<Bind>) {
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

/// Ready when an order to stop at once has come, or nobody is left to give one.
async fn told_to_stop(orders: &mut mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Stop) {
            return;
        }
    }
}

/// SIGHUP, and SIGTERM and SIGINT; a process that wants none has none.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Option<Signal>,
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    /// Watches from now on. Needs to be inside a runtime.
    pub(super) fn new(wanted: bool) -> Self {
        let watch = |kind| wanted.then(|| signal(kind).ok()).flatten();
        Self {
            hangup: watch(SignalKind::hangup()),
            terminate: watch(SignalKind::terminate()),
            interrupt: watch(SignalKind::interrupt()),
        }
    }

    async fn next(&mut self) -> Wake {
        tokio::select! {
            () = next(&mut self.hangup) => Wake::Reload,
            () = next(&mut self.terminate) => Wake::Stop,
            () = next(&mut self.interrupt) => Wake::Stop,
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
