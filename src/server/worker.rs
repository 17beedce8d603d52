//! A worker: one thread, one runtime, its own socket of each listener, and every session accepted there.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    thread,
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::{self, JoinHandle},
};

use super::{
    Counted, Shared,
    beat::{Beat, Kept},
};
use crate::{
    http,
    inbound::{
        World,
        crowd::Seat,
        gate::{Admission, Refused},
        occupancy::{Place, Slot},
        session,
    },
    net::{close, listen::Acceptor},
    outbound,
    snapshot::{Bind, Entry, Service},
};

/// What control tells a worker.
#[derive(Debug)]
pub(super) enum Task {
    /// Accept from this socket too.
    Listen(Bind, std::net::TcpListener),
    /// Say something.
    Answer(oneshot::Sender<()>),
    /// Close the sockets of these addresses, and say when that is done. Sessions go on.
    Close(Vec<Bind>, oneshot::Sender<()>),
}

/// The thread. It ends, and its sessions with it, when this is joined.
#[derive(Debug)]
pub(super) struct Worker {
    tasks: mpsc::UnboundedSender<Task>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// Starts a worker that has no socket yet.
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (tasks, received) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(move || work(received, shared, &ready))?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self { tasks, thread })
    }

    /// Gives it a task. A worker that is gone has no sockets any more.
    pub(super) fn give(&self, task: Task) {
        let _ = self.tasks.send(task);
    }

    /// Closes the sockets of `binds`, and returns when they are closed.
    pub(super) async fn close(&self, binds: Vec<Bind>) {
        let (done, closed) = oneshot::channel();
        self.give(Task::Close(binds, done));
        // A worker that is gone has no sockets any more.
        let _ = closed.await;
    }

    /// By which it can be asked whether it works.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.tasks.downgrade())
    }

    /// Ends its sessions and waits for it.
    pub(super) fn join(self) {
        drop(self.tasks);
        // Its panic was printed when it happened.
        let _ = self.thread.join();
    }
}

/// Whether a worker works; it may end all the same.
#[derive(Debug)]
pub(super) struct Pulse(mpsc::WeakUnboundedSender<Task>);

impl Pulse {
    /// Returns when the worker has answered; at once where it has ended.
    pub(super) async fn feel(&self) {
        let Some(tasks) = self.0.upgrade() else { return };
        let (answer, answered) = oneshot::channel();
        // A worker that goes meanwhile has ended.
        if tasks.send(Task::Answer(answer)).is_ok() {
            let _ = answered.await;
        }
    }
}

/// Tells by `ready` whether it could start, then works until there are no more tasks.
fn work(tasks: mpsc::UnboundedReceiver<Task>, shared: Arc<Shared>, ready: &SyncSender<io::Result<()>>) {
    // A local runtime stays on the thread that made it.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let (runtime, told) = match runtime {
        Ok(runtime) => (Some(runtime), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Who started this thread waits for the word.
    let _ = ready.send(told);
    if let Some(runtime) = runtime {
        runtime.block_on(obey(tasks, shared));
    }
}

async fn obey(mut tasks: mpsc::UnboundedReceiver<Task>, shared: Arc<Shared>) {
    let mut open: HashMap<Bind, Vec<Open>> = HashMap::new();
    let beat = Rc::new(Beat::default());
    let (beating, give_back) = (beat.clone(), shared.give_back);
    task::spawn_local(async move { beating.run(give_back).await });
    while let Some(task) = tasks.recv().await {
        match task {
            Task::Listen(bind, socket) => {
                let (stop, stopped) = oneshot::channel();
                let accepting = task::spawn_local(accept(bind.clone(), socket, shared.clone(), beat.clone(), stopped));
                open.entry(bind).or_default().push(Open { stop, accepting });
            }
            // Who asked may have stopped waiting.
            Task::Answer(answer) => drop(answer.send(())),
            Task::Close(binds, done) => {
                for open in binds.iter().filter_map(|bind| open.remove(bind)).flatten() {
                    open.close().await;
                }
                // Who asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }
}

/// A socket that is accepted from.
struct Open {
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Open {
    async fn close(self) {
        let _ = self.stop.send(());
        // Its panic was printed when it happened.
        let _ = self.accepting.await;
    }
}

/// Accepts until the socket is to be closed, and then whoever waits there still: the kernel resets what it finds in
/// the queue of a socket that closes.
async fn accept(
    bind: Bind,
    socket: std::net::TcpListener,
    shared: Arc<Shared>,
    beat: Rc<Beat>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut acceptor = match Acceptor::new(socket) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(%error, address = %bind.address, "cannot accept"),
    };
    let Some(mut entry) = shared.snapshot.load().entry_at(&bind).cloned() else { return };
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            (stream, peer) = next(&mut acceptor, &mut entry, &bind, &shared) => {
                admit(&entry, stream, peer, &shared, &beat);
            }
        }
    }
    for (stream, peer) in acceptor.queued() {
        admit(&entry, stream, peer, &shared, &beat);
    }
}

/// The next connection, with `entry` as it is by then. The place is sure before the kernel's queue gives it up.
async fn next(
    acceptor: &mut Acceptor,
    entry: &mut Arc<Entry>,
    bind: &Bind,
    shared: &Shared,
) -> (TcpStream, SocketAddr) {
    loop {
        let occupancy = entry.occupancy.clone();
        // A reload that comes behind this is noticed, whatever was looked at before it.
        let freed = occupancy.freed();
        renew(entry, bind, shared);
        if !Arc::ptr_eq(&occupancy, &entry.occupancy) {
            continue;
        }
        if occupancy.has_room(entry.max_connections) {
            break;
        }
        freed.await;
    }
    let connection = acceptor.accept().await;
    // A reload may have come while this waited.
    renew(entry, bind, shared);
    connection
}

/// The listener in force; the last one that there was, for those who come while its socket is being closed.
fn renew(entry: &mut Arc<Entry>, bind: &Bind, shared: &Shared) {
    if let Some(current) = shared.snapshot.load().entry_at(bind) {
        entry.clone_from(current);
    }
}

fn admit(entry: &Entry, stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, beat: &Rc<Beat>) {
    let (service, world) = (entry.service.clone(), shared.world.clone());
    let counted = (shared.tally.enter(), beat.keep());
    let admission = match world.gate.admit(peer, entry.proxies(), entry.protection()) {
        Ok(admission) => admission,
        Err(Refused { reason, is_told }) => {
            match entry.occupancy.refusal().filter(|_| is_told) {
                Some(slot) => refuse(service, stream, peer, world, (slot, counted), reason),
                None => close::reset(stream),
            }
            return;
        }
    };
    match entry.occupancy.enter(entry.max_connections, entry.crowded()) {
        Place::Session(slot, seat) => serve(service, stream, peer, world, (slot, counted, admission), seat),
        Place::Refusal(slot) => refuse(service, stream, peer, world, (slot, counted), "max-connections"),
        Place::None => drop(stream),
    }
}

/// What a session holds for as long as it lasts.
type Held = (Slot, (Counted, Kept), Option<Admission>);

/// Each kind of session is a task of its own size.
fn serve(service: Service, stream: TcpStream, peer: SocketAddr, world: Arc<World>, held: Held, seat: Option<Seat>) {
    match service {
        Service::Mail(mail) => {
            let (slot, counted, admission) = held;
            task::spawn_local(session::serve(stream, peer, mail, world, admission, seat, (slot, counted)))
        }
        Service::Relay(relay) => task::spawn_local(async move {
            let _held = held;
            outbound::session::serve(stream, peer, relay, world).await;
        }),
        Service::Http(http) => task::spawn_local(async move {
            let _held = held;
            http::serve(stream, peer, http, world).await;
        }),
    };
}

fn refuse(
    service: Service,
    stream: TcpStream,
    peer: SocketAddr,
    world: Arc<World>,
    held: (Slot, (Counted, Kept)),
    reason: &'static str,
) {
    match service {
        Service::Mail(mail) => task::spawn_local(async move {
            let _held = held;
            session::refuse(stream, peer, mail, world, reason).await;
        }),
        Service::Relay(relay) => task::spawn_local(async move {
            let _held = held;
            outbound::session::refuse(stream, peer, relay, world, reason).await;
        }),
        Service::Http(http) => task::spawn_local(async move {
            let _held = held;
            http::refuse(stream, peer, http, world, reason).await;
        }),
    };
}
