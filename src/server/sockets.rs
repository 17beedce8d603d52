//! Listening sockets: those that a service manager or a predecessor has opened already, and those that are still to
//! be opened. A socket that is handed on is never bound again: closing one that others wait on loses them.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;

use super::StartError;
use crate::{net::listen, snapshot::Bind};

/// The sockets of one address, as many as there are workers or fewer or more.
pub(super) type Sockets = Vec<(Bind, Vec<TcpListener>)>;

/// A second hold on every listening socket: the workers have the first, and a process that takes over gets the third.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<Bind, io::Result<Vec<TcpListener>>>);

impl Held {
    /// Holds these too.
    pub(super) fn hold(&mut self, bind: &Bind, sockets: &[TcpListener]) {
        self.0.insert(bind.clone(), sockets.iter().map(TcpListener::try_clone).collect());
    }

    /// Lets go of those of this address.
    pub(super) fn release(&mut self, bind: &Bind) {
        self.0.remove(bind);
    }

    /// All of them, once more.
    ///
    /// # Errors
    /// As `dup(2)`: too few descriptors.
    pub(super) fn copy(&self) -> io::Result<Sockets> {
        let copy = |(bind, held): (&Bind, &io::Result<Vec<TcpListener>>)| {
            let held = held.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
            Ok((bind.clone(), held.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?))
        };
        self.0.iter().map(copy).collect()
    }
}

/// Sockets that were open before this process was.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    by_bind: HashMap<Bind, Vec<TcpListener>>,
    by_address: HashMap<SocketAddr, Vec<TcpListener>>,
}

impl Inherited {
    /// Those that a service manager has opened for this process (sd_listen_fds(3)).
    ///
    /// # Errors
    /// Where one of them is no listening TCP socket.
    pub(super) fn from_service_manager() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len() {
            let Some(socket) = passed.take_tcp_listener(index)? else { continue };
            socket.set_nonblocking(true)?;
            inherited.by_address.entry(socket.local_addr()?).or_default().push(socket);
        }
        Ok(inherited)
    }

    /// One more that a predecessor hands on.
    pub(super) fn add(&mut self, bind: Bind, sockets: Vec<TcpListener>) {
        self.by_bind.entry(bind).or_default().extend(sockets);
    }

    fn take(&mut self, bind: &Bind) -> Option<Vec<TcpListener>> {
        self.by_bind.remove(bind).or_else(|| self.by_address.remove(&bind.address))
    }

    fn has(&self, bind: &Bind) -> bool {
        self.by_bind.contains_key(bind) || self.by_address.contains_key(&bind.address)
    }

    /// The addresses that a service manager listens on and nobody has taken.
    fn left(&self) -> impl Iterator<Item = &SocketAddr> {
        self.by_address.keys()
    }
}

/// Takes or opens every socket, or none, at least one for each worker. Whether somebody else has an address is asked
/// only for ports that are not `ours`: of those, the kernel lets us have more sockets, and a stranger none.
pub(super) fn open(
    binds: impl Iterator<Item = Bind>,
    workers: usize,
    ours: &HashSet<u16>,
    mut inherited: Inherited,
) -> Result<Sockets, StartError> {
    let failed = |address| move |source| StartError::Listen { address, source };
    let binds: Vec<Bind> = binds.collect();
    // All are asked for before the first is bound: 0.0.0.0:25 of one listener would be in the way of 127.0.0.1:25 of
    // another.
    for bind in binds.iter().filter(|bind| !ours.contains(&bind.address.port()) && !inherited.has(bind)) {
        listen::probe(bind.address, bind.v6_only).map_err(failed(bind.address))?;
    }
    let open = |bind: Bind| {
        let sockets = match inherited.take(&bind) {
            Some(sockets) => share(sockets, workers),
            None => listen::bind(bind.address, bind.v6_only, workers),
        };
        let sockets = sockets.map_err(failed(bind.address))?;
        Ok((bind, sockets))
    };
    let opened = binds.into_iter().map(open).collect();
    for address in inherited.left() {
        tracing::warn!(%address, "the service manager listens here, and no listener has this address in its bind");
    }
    opened
}

/// As many as there are workers, if there are fewer: then some accept from the same socket.
fn share(mut sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<TcpListener>> {
    let many = sockets.len();
    for index in many..workers {
        sockets.push(sockets[index % many].try_clone()?);
    }
    Ok(sockets)
}
