//! The TLS handshake with a client, the same for every kind of listener.
//!
//! Promises one deadline for the whole, and that the validation connection of an authority ends here: it carries nothing,
//! and no protocol behind this ever sees it.

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    World,
    record::{Ended, Outcome, Record},
};
use crate::{
    config::Protection,
    net::close,
    tls::{ACME_TLS, Facts, HandshakeFault, ServerSide, offered_version},
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
        TlsAcceptor::from(tls.config.clone()).accept(stream).await
    });
    let mut stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(HandshakeFault::of(&error, record.client_tls), tls)),
        Err(_) => return Err(Ended(Outcome::Timeout, "handshake")),
    };
    let facts = Facts::of(stream.get_ref().1);
    if facts.version == "TLSv1.3" {
        // The part of the hello that said so may have come too late to be seen.
        record.client_tls = facts.version;
    }
    // RFC 8737 §4: nothing follows the handshake. Whether an older session was resumed changes nothing.
    let is_validation = facts.application.as_bytes() == ACME_TLS;
    record.tls = Some(facts);
    if is_validation {
        close::close(&mut stream).await;
        return Err(Ended(Outcome::Ok, "acme-challenge"));
    }
    Ok(Box::new(stream))
}

fn failed(fault: HandshakeFault, tls: &ServerSide) -> Ended {
    if fault == HandshakeFault::NoCertificate && tls.certificates.is_empty() {
        return NO_CERTIFICATE_YET;
    }
    Ended(Outcome::TlsFailed, fault.reason())
}
