//! The yardsticks that are no product: the plainest relay that tokio and rustls give, and the same without TLS, which
//! is what any proxy in user space has to spend.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Relays until it is killed. `pem` holds key and certificate.
///
/// # Errors
/// What cannot be read or bound, in words.
pub fn run(listen: SocketAddr, backend: SocketAddr, workers: usize, pem: Option<&Path>) -> Result<(), String> {
    let acceptor = pem.map(acceptor).transpose()?;
    let runtime = runtime(workers).map_err(|error| error.to_string())?;
    runtime.block_on(accept(listen, backend, acceptor)).map_err(|error| error.to_string())
}

/// One worker needs no runtime that steals work; more than one have the runtime that `#[tokio::main]` gives.
fn runtime(workers: usize) -> io::Result<Runtime> {
    match workers {
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

/// rustls' defaults, and tickets like all others have: without the ticketer it would keep sessions in a small table.
fn acceptor(pem: &Path) -> Result<TlsAcceptor, String> {
    let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", pem.display());
    let chain = CertificateDer::pem_file_iter(pem)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| shown(&error))?;
    let key = PrivateKeyDer::from_pem_file(pem).map_err(|error| shown(&error))?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(|error| shown(&error))?;
    config.ticketer = Ticketer::new().map_err(|error| shown(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listen: SocketAddr, backend: SocketAddr, acceptor: Option<TlsAcceptor>) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        // How a session ends is its client's business.
        tokio::spawn(async move {
            let _ = serve(stream, backend, acceptor).await;
        });
    }
}

async fn serve(stream: TcpStream, backend: SocketAddr, acceptor: Option<TlsAcceptor>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match acceptor {
        Some(acceptor) => relay(acceptor.accept(stream).await?, backend).await,
        None => relay(stream, backend).await,
    }
}

async fn relay(mut client: impl AsyncRead + AsyncWrite + Unpin, backend: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(backend).await?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
