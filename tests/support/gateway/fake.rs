//! A backend that does what a test says, however wrong.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::talk::Talk;

/// A listening socket whose connections are served by a function of the test's. Its threads end with the test.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    /// Serves each connection by `serve`, which is told its number, from 0.
    pub fn start(serve: impl Fn(Talk, usize) + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), serve)
    }

    /// As [`Self::start`], on an address that is free.
    pub fn at(address: SocketAddr, serve: impl Fn(Talk, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, serve) = (connections.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (number, serve) = (counted.fetch_add(1, Relaxed), serve.clone());
                thread::spawn(move || serve(Talk::over(stream), number));
            }
        });
        Self { address, connections }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

/// An address where nobody listens. The port is taken for as long as the test runs, so that no other test listens there.
pub fn nobody() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    std::mem::forget(socket);
    address
}
