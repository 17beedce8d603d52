//! A worker: one thread, one runtime, its own socket of each listener, and every session accepted there.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task::{self, AbortHandle},
};

use super::{Counted, Shared};
use crate::{
    http,
    inbound::{
        World,
        occupancy::{Place, Slot},
        session,
    },
    net::listen::Acceptor,
    snapshot::{Bind, Service},
};

/// What control tells a worker.
#[derive(Debug)]
pub(super) enum Task {
    /// Accept from this socket too.
    Listen(Bind, std::net::TcpListener),
    /// Close the socket of this address.
    Close(Bind),
    /// Close all sockets; sessions go on.
    CloseAll,
}

/// The thread. It ends, and its sessions with it, when this is joined.
#[derive(Debug)]
pub(super) struct Worker {
    tasks: mpsc::Sender<Task>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker that has no socket yet.
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (tasks, received) = mpsc::channel(256);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread =
            std::thread::Builder::new().name("worker".to_owned()).spawn(move || work(received, shared, &ready))?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self { tasks, thread })
    }

    /// Gives it a task. A worker that is gone has no sockets any more.
    pub(super) async fn give(&self, task: Task) {
        let _ = self.tasks.send(task).await;
    }

    /// As [`Self::give`], before any runtime runs.
    pub(super) fn give_now(&self, task: Task) {
        let _ = self.tasks.blocking_send(task);
    }

    /// Ends its sessions and waits for it.
    pub(super) fn join(self) {
        drop(self.tasks);
        // Its panic was printed when it happened.
        let _ = self.thread.join();
    }
}

/// Tells by `ready` whether it could start, then works until there are no more tasks.
fn work(tasks: mpsc::Receiver<Task>, shared: Arc<Shared>, ready: &SyncSender<io::Result<()>>) {
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

async fn obey(mut tasks: mpsc::Receiver<Task>, shared: Arc<Shared>) {
    let mut accepting: HashMap<Bind, AbortHandle> = HashMap::new();
    while let Some(task) = tasks.recv().await {
        match task {
            Task::Listen(bind, socket) => {
                let accept = accept(bind.clone(), socket, shared.clone());
                accepting.insert(bind, task::spawn_local(accept).abort_handle());
            }
            Task::Close(bind) => {
                accepting.remove(&bind).inspect(AbortHandle::abort);
            }
            Task::CloseAll => accepting.drain().for_each(|(_, accept)| accept.abort()),
        }
    }
}

/// Accepts for as long as the address belongs to a listener.
async fn accept(bind: Bind, socket: std::net::TcpListener, shared: Arc<Shared>) {
    let mut acceptor = match Acceptor::new(socket) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!(%error, address = %bind.address, "cannot accept"),
    };
    while let Some(entry) = shared.snapshot.load().entry_at(&bind).cloned() {
        // The place is sure before the connection is taken from the kernel's queue.
        if entry.occupancy.room(entry.max_connections).await {
            let (stream, peer) = acceptor.accept().await;
            admit(&bind, stream, peer, &shared);
        }
    }
}

fn admit(bind: &Bind, stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    // Loaded anew: a reload may have come while this waited.
    let Some(entry) = shared.snapshot.load().entry_at(bind).cloned() else { return };
    let (service, world, counted) = (entry.service.clone(), shared.world.clone(), shared.tally.count());
    match entry.occupancy.enter(entry.max_connections) {
        Place::Session(slot) => serve(service, stream, peer, world, (slot, counted)),
        Place::Refusal(slot) => refuse(service, stream, peer, world, (slot, counted)),
        Place::None => drop(stream),
    }
}

/// What a connection holds for as long as it lasts.
type Held = (Slot, Counted);

/// Each kind of session is a task of its own size.
fn serve(service: Service, stream: TcpStream, peer: SocketAddr, world: Arc<World>, held: Held) {
    match service {
        Service::Mail(mail) => task::spawn_local(async move {
            let _held = held;
            session::serve(stream, peer, mail, world).await;
        }),
        Service::Http(http) => task::spawn_local(async move {
            let _held = held;
            http::serve(stream, peer, http, world).await;
        }),
    };
}

fn refuse(service: Service, stream: TcpStream, peer: SocketAddr, world: Arc<World>, held: Held) {
    match service {
        Service::Mail(mail) => task::spawn_local(async move {
            let _held = held;
            session::refuse(stream, peer, mail, world).await;
        }),
        Service::Http(http) => task::spawn_local(async move {
            let _held = held;
            http::refuse(stream, peer, http, world).await;
        }),
    };
}
