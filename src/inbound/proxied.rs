//! Whose connection it is: a listener's own client's, or one that a proxy in front of mailward carries for somebody.
//!
//! Promises that from a trusted network a header must come first, in time and whole, that nothing behind it is read, and
//! that from everybody else none is ever looked for. What the header says of the client's TLS changes nothing: only a
//! handshake of our own makes a session encrypted.

use std::net::SocketAddr;

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::record::{Ended, Outcome, Record};
use crate::{
    config::Proxies,
    net::close::LAST_WORDS,
    proto::proxy_header::{self, Broken, LONGEST},
    telemetry::Shown,
};

/// Takes the header off a connection that must have one, and notes in `record` who the client is. Says to which
/// address the client has connected.
pub(crate) async fn destination(
    stream: &mut TcpStream,
    proxies: &Proxies,
    record: &mut Record,
) -> Result<SocketAddr, Ended> {
    if !proxies.include(record.peer.ip()) {
        return own_destination(stream);
    }
    let header = match timeout(proxies.timeout, receive(stream)).await {
        Ok(Ok(header)) => header,
        Ok(Err(fault)) => return Err(fault),
        Err(_) => return Err(Ended(Outcome::Timeout, "proxy-header")),
    };
    let header = proxy_header::read(&header).map_err(broken)?;
    let Some((client, destination)) = header.ends else { return own_destination(stream) };
    tracing::debug!(
        session = record.session,
        peer = %client,
        via = %record.peer,
        tls = %Shown(header.tls.as_deref().unwrap_or_default()),
        sni = %Shown(header.server_name.as_deref().unwrap_or_default()),
        "the client comes by a proxy"
    );
    record.peer = client;
    Ok(destination)
}

/// As [`destination`], for a client that is sent away in any case, and has no longer for this than for last words.
pub(crate) async fn skip(stream: &mut TcpStream, proxies: &Proxies, record: &mut Record) {
    // Why it is sent away is known.
    let _ = timeout(LAST_WORDS, destination(stream, proxies, record)).await;
}

fn own_destination(stream: &TcpStream) -> Result<SocketAddr, Ended> {
    let own = stream.local_addr().map_err(|_| lost())?;
    Ok(SocketAddr::new(own.ip().to_canonical(), own.port()))
}

/// Reads exactly the header. What has come is looked at before it is taken, so that nothing of what is behind goes
/// with it: that is for TLS or for the greeter.
async fn receive(stream: &mut TcpStream) -> Result<Vec<u8>, Ended> {
    let mut header = vec![0; LONGEST];
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut header[taken..]).await.map_err(|_| lost())?;
        if seen == taken {
            return Err(lost());
        }
        let whole = proxy_header::extent(&header[..seen]).map_err(broken)?;
        let end = whole.unwrap_or(seen);
        stream.read_exact(&mut header[taken..end]).await.map_err(|_| lost())?;
        taken = end;
        if whole.is_some() {
            header.truncate(end);
            return Ok(header);
        }
    }
}

fn lost() -> Ended {
    Ended(Outcome::ClientLost, "proxy-header")
}

fn broken(_: Broken) -> Ended {
    Ended(Outcome::Violation, "bad-proxy-header")
}
