//! As much of HTTP/1.1 over TLS as the front needs: one request and one answer, which may be wrong, for each connection.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::gateway::authority::Issued;

/// How long a client may take over its request, and over its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// One client.
pub struct Connection(BufReader<StreamOwned<ServerConnection, TcpStream>>);

/// What a client asked.
#[derive(Debug)]
pub struct Received {
    /// The path, with what follows it.
    pub path: String,
    /// The request line and the headers without Connection, each with its end.
    pub head: String,
    /// What follows them.
    pub body: Vec<u8>,
}

/// What it takes to serve TLS with this certificate.
pub fn acceptor(issued: &Issued) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.expect("key and certificate fit"))
}

impl Connection {
    /// A client that has just connected.
    pub fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self(BufReader::new(StreamOwned::new(ServerConnection::new(config).expect("a configuration"), stream)))
    }

    /// The request; `None` where the client goes away before it is whole.
    pub fn receive(&mut self) -> Option<Received> {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.to_ascii_lowercase().split_once(':') {
                Some(("connection", _)) => continue,
                Some(("content-length", value)) => length = value.trim().parse().ok()?,
                _ if line == "\r\n" => break,
                _ => {}
            }
            head += &line;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(Received { path: head.split(' ').nth(1)?.to_owned(), head, body })
    }

    /// Answers with this status, these headers, each with its end, and this body.
    pub fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ));
    }

    /// Sends these bytes and ends the connection; the client may be gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = self.0.get_mut();
        let _ = stream.write_all(bytes.as_ref());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    /// Waits for the client to go away.
    pub fn hang(&mut self) {
        let _ = self.0.read(&mut [0]);
    }

    /// Says one byte after the other, ten each second, until the client goes away.
    pub fn drip(&mut self) {
        self.begin();
        self.0.get_ref().sock.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        while self.0.get_mut().write_all(b" ").is_ok() {
            let came = self.0.read(&mut [0]);
            if !came.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)) {
                return;
            }
        }
    }

    /// Says as much as it can, until the client goes away.
    pub fn flood(&mut self) {
        self.begin();
        while self.0.get_mut().write_all(&[b' '; 16 * 1024]).is_ok() {}
    }

    /// The head of an answer without an end.
    fn begin(&mut self) {
        let _ = self.0.get_mut().write_all(b"HTTP/1.1 200 Said\r\nContent-Type: application/json\r\n\r\n");
    }
}
