//! The TLS handshake with a client, the same for every kind of listener.
//!
//! Promises one deadline for the whole, and that the validation connection of an authority ends here: it carries nothing,
//! and no protocol behind this ever sees it.

use std::io;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, rustls::server::Acceptor, server::TlsStream};

use super::{
    World,
    record::{Ended, Outcome, Record},
};
use crate::{
    config::Protection,
    net::close,
    tls::{ACME_TLS, Facts, HandshakeFault, ServerSide, Unverified, offered_version},
};

/// Why a session came to nothing for want of a certificate, in the log.
pub(crate) const NO_CERTIFICATE_YET: Ended = Ended(Outcome::TlsFailed, "no-certificate-yet");

/// How much of a ClientHello is looked at; one with a post-quantum key share is about 1.5 KiB long.
const HELLO: usize = 2048;

/// Does the handshake and notes in `record` what came of it.
pub(crate) async fn handshake(
    stream: TcpStream,
    tls: &ServerSide,
    protection: &Protection,
    world: &World,
    record: &mut Record,
) -> Result<Box<TlsStream<TcpStream>>, Ended> {
    let _admission = world.gate.shake(record.client, protection)?;
    let deadline = Instant::now() + tls.timeout;
    let shaken = timeout_at(deadline, async {
        let mut hello = [0; HELLO];
        let seen = stream.peek(&mut hello).await.unwrap_or(0);
        record.client_tls = offered_version(&hello[..seen]);
        let _permit = world.handshakes.acquire().await;
        accept(stream, tls).await
    });
    let mut stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(HandshakeFault::of(&error, record.client_tls), tls)),
        Err(_) => return Err(Ended(Outcome::Timeout, "handshake")),
    };
    let mut facts = Facts::of(stream.get_ref().1);
    if facts.version == "TLSv1.3" {
        // The part of the hello that said so may have come too late to be seen.
        record.client_tls = facts.version;
    }
    // RFC 8737 §4: nothing follows the handshake. Whether an older session was resumed changes nothing.
    let is_validation = facts.application.as_bytes() == ACME_TLS;
    let known = if is_validation { Ok(None) } else { known(&stream, tls) };
    facts.client = known.clone().unwrap_or_default();
    record.tls = Some(facts);
    if is_validation {
        close::close(&mut stream).await;
        return Err(Ended(Outcome::Ok, "acme-challenge"));
    }
    if known.is_err() {
        close::close(&mut stream).await;
        return Err(Ended(Outcome::TlsFailed, HandshakeFault::BadClientCertificate.reason()));
    }
    Ok(Box::new(stream))
}

/// Where every client has to show a certificate but an authority that validates, the two are told apart by what they ask
/// for (RFC 8737 §3: an authority offers nothing else).
async fn accept(stream: TcpStream, tls: &ServerSide) -> io::Result<TlsStream<TcpStream>> {
    let Some(validation) = &tls.validation else { return TlsAcceptor::from(tls.config.clone()).accept(stream).await };
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let is_authority = start.client_hello().alpn().is_some_and(|offered| offered.eq([ACME_TLS]));
    start.into_stream(if is_authority { validation.clone() } else { tls.config.clone() }).await
}

/// Whom the client's certificate names, looked at anew: a resumed session is asked for nothing, and what it was begun with
/// may be good no more.
fn known(stream: &TlsStream<TcpStream>, tls: &ServerSide) -> Result<Option<String>, Unverified> {
    tls.clients.as_ref().map_or(Ok(None), |clients| clients.name(stream.get_ref().1))
}

fn failed(fault: HandshakeFault, tls: &ServerSide) -> Ended {
    if fault == HandshakeFault::NoCertificate && tls.certificates.is_empty() {
        return NO_CERTIFICATE_YET;
    }
    Ended(Outcome::TlsFailed, fault.reason())
}
