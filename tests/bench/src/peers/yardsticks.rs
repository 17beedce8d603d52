//! What is no product: the plainest relay with rustls, the same without TLS, and no proxy at all.

use super::{Can, Command, Kind, Peer, Setup, words};

/// tokio and rustls, and nothing else.
pub(super) const TLS: Peer = Peer {
    name: "plain rustls",
    kind: Kind::Yardstick,
    can: Can { tls: true, starttls: false, many_certificates: false, asks_recipient: false },
    needs: &[],
    version: &[],
    command: Some(tls),
};

/// The same without TLS.
pub(super) const PLAIN: Peer = Peer {
    name: "without TLS",
    can: Can { tls: false, starttls: false, many_certificates: false, asks_recipient: false },
    command: Some(plain),
    ..TLS
};

/// The client at the backend.
pub(super) const DIRECT: Peer = Peer { name: "direct", command: None, ..PLAIN };

fn tls(setup: &Setup<'_>) -> Command {
    let pem = setup.certificate.both.display().to_string();
    Ok([plain(setup)?, words(["--pem", &pem])].concat())
}

fn plain(setup: &Setup<'_>) -> Command {
    let own = std::env::current_exe().map_err(|error| error.to_string())?.display().to_string();
    let (listen, backend, workers) = (setup.listen.to_string(), setup.backend.to_string(), setup.workers.to_string());
    Ok(words([&own, "relay", "--listen", &listen, "--backend", &backend, "--workers", &workers]))
}
