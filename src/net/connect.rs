//! One connection to a backend: TCP, a unix socket, or the embedded store's pipe, with TLS or without.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpSocket, TcpStream, UnixStream},
    time::sleep,
};
use tokio_rustls::client::TlsStream;

/// A connected backend.
#[derive(Debug)]
pub enum BackendStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// In this process.
    Embedded(DuplexStream),
    /// In TLS, over one of the others.
    Tls(Box<TlsStream<BackendStream>>),
}

impl BackendStream {
    /// Our address and the backend's, where there are such.
    #[must_use]
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().zip(stream.peer_addr().ok()),
            Self::Tls(stream) => stream.get_ref().0.ends(),
            Self::Unix(_) | Self::Embedded(_) => None,
        }
    }
}

/// Connects over TCP, with keepalive and without delay; from `own`, an address of this machine, where it matters which.
///
/// # Errors
/// As `bind(2)` and `connect(2)`.
pub async fn tcp(address: SocketAddr, own: Option<IpAddr>) -> io::Result<BackendStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(own) = own {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("cannot connect from {own}: {error}"));
        socket.bind(SocketAddr::new(own, 0)).map_err(told)?;
    }
    tune(&socket);
    Ok(BackendStream::Tcp(socket.connect(address).await?))
}

/// Connects over TCP as from `source`, which need not be an address of this machine, and any port of it. The way back must
/// lead through this machine all the same.
///
/// # Errors
/// As `connect(2)`; [`io::ErrorKind::PermissionDenied`] without the capability for it.
pub async fn tcp_from(source: IpAddr, address: SocketAddr) -> io::Result<BackendStream> {
    let socket = transparent(Domain::for_address(address))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.set_nonblocking(true)?;
    tune(&socket);
    Ok(BackendStream::Tcp(TcpSocket::from_std_stream(socket.into()).connect(address).await?))
}

/// Whether [`tcp_from`] may have failed because of its source: no answer came to it, or nobody can have that address.
#[must_use]
pub fn is_of_the_source(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, InvalidInput, TimedOut};
    matches!(error.kind(), AddrNotAvailable | InvalidInput | TimedOut)
}

/// Whether [`tcp_from`] is permitted.
///
/// # Errors
/// Why it is not.
pub fn may_come_from_anywhere() -> io::Result<()> {
    transparent(Domain::IPV4).map(drop)
}

fn transparent(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // It is called after version 4, and Linux takes it for both.
    socket.set_ip_transparent_v4(true)?;
    Ok(socket)
}

/// How often a unix socket is tried whose queue is full.
const QUEUE_EVERY: Duration = Duration::from_millis(20);

/// Connects to a unix socket. The caller sets the deadline.
///
/// # Errors
/// As `connect(2)`, but for EAGAIN: where TCP waits for room in the listener's queue, a unix socket says that there is
/// none and leaves asking again to the caller.
pub async fn unix(path: &Path) -> io::Result<BackendStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_EVERY).await,
            connected => return connected.map(BackendStream::Unix),
        }
    }
}

/// Whether connecting failed because this process or machine has run out of something, whoever was to be reached.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// How long a TCP connection is silent before the kernel asks whether the peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
/// How often it asks then; without an answer to the kernel's usual count of these, the connection is broken.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);

/// Sets what every connection of ours has: whole replies are sent at once, and a vanished peer is noticed. On Linux what is accepted
/// has from the start what was set on the listening socket.
pub fn tune(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    // Neither is worth losing a connection for.
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Calls the same method of whichever stream it is.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            BackendStream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            BackendStream::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            BackendStream::Embedded(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            BackendStream::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for BackendStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockAddr;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_comes_from_the_address_that_it_is_to_come_from() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let from = async |own: Option<&str>| {
            let stream = tcp(at, own.map(|ip| ip.parse().unwrap())).await?;
            let (_, client) = listener.accept().await?;
            assert_eq!(stream.ends(), Some((client, at)));
            Ok::<_, io::Error>(client.ip().to_string())
        };
        assert_eq!(from(None).await.unwrap(), "127.0.0.1");
        assert_eq!(from(Some("127.0.0.77")).await.unwrap(), "127.0.0.77");
        let error = from(Some("192.0.2.1")).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot connect from 192.0.2.1: "), "{error}");
    }

    #[tokio::test]
    async fn a_full_queue_of_a_unix_socket_is_waited_out() {
        let path = std::env::temp_dir().join(format!("mailward-queue-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let accept = tokio::task::spawn_blocking(move || listener.accept().map(|_| listener));
        let connected = tokio::time::timeout(Duration::from_secs(10), unix(&path)).await;
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(connected, Ok(Ok(BackendStream::Unix(_)))));
        accept.await.unwrap().unwrap();
    }
}
