//! Listening sockets: one for each address and worker, and the loop that accepts from one.
//!
//! Promises that the loop never waits for a peer, and that running out of descriptors makes it slower, not busy.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connect;
use crate::telemetry::Throttle;

/// Connections that the kernel holds for a socket until they are accepted.
const BACKLOG: i32 = 4096;

/// Binds `address` once for each worker, all on the same port (also where it is 0). With `v6_only` an IPv6 socket
/// leaves IPv4 to another.
///
/// # Errors
/// As `bind(2)` and `listen(2)`.
pub fn bind(address: SocketAddr, v6_only: bool, workers: usize) -> io::Result<Vec<StdListener>> {
    let first = bind_one(address, v6_only)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind_one(bound, v6_only)?);
    }
    Ok(sockets)
}

fn bind_one(address: SocketAddr, v6_only: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether nobody else listens on `address`: SO_REUSEPORT would let two of our own processes share a port without
/// a word.
///
/// # Errors
/// As `bind(2)`: the address is taken, or is not ours.
pub fn probe(address: SocketAddr, v6_only: bool) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Accepts from one socket, at the pace that the process can bear.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    pause: Duration,
    warnings: Throttle,
}

/// The first and the longest pause after accept failed for want of a resource.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Acceptor {
    /// Accepts from `socket`. Its connections are tuned by what is set here, once for all of them, wherever it comes from.
    ///
    /// # Errors
    /// Where the runtime cannot watch it.
    pub fn new(socket: StdListener) -> io::Result<Self> {
        connect::tune(&socket);
        Ok(Self { listener: TcpListener::from_std(socket)?, pause: PAUSE.0, warnings: Throttle::default() })
    }

    /// The next connection, with the peer's address unmapped. Waits out failures.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = PAUSE.0;
                    return (stream, unmapped(peer));
                }
                Err(error) => self.back_off(&error).await,
            }
        }
    }

    /// Closes the socket, and yields the connections that the kernel had ready there.
    pub fn queued(self) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
        let listener = self.listener.into_std();
        std::iter::from_fn(move || {
            // An empty queue and a shortage end it alike: the socket is to go.
            let (stream, peer) = listener.as_ref().ok()?.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, unmapped(peer)))
        })
    }

    async fn back_off(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        // accept(2): errors of the new connection itself; the next one is fine.
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        // Not at each shortage: one connection that ends lets another in, and then there is none again.
        if self.warnings.is_due() {
            tracing::warn!(error = %error, "connections cannot be accepted; waiting for resources");
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }
}

fn unmapped(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_sends_at_once_and_notices_a_vanished_peer() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = bind(address.parse().unwrap(), true, 1).unwrap().remove(0);
            let address = socket.local_addr().unwrap();
            let mut acceptor = Acceptor::new(socket).unwrap();
            let _client = TcpStream::connect(address).await.unwrap();
            let (accepted, _) = acceptor.accept().await;
            let _late = TcpStream::connect(address).await.unwrap();
            for stream in acceptor.queued().map(|(stream, _)| stream).chain([accepted]) {
                let socket = SockRef::from(&stream);
                assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
                assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
            }
        }
    }
}
