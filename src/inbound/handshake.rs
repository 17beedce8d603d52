//! The TLS handshake with a client, the same for every kind of listener.
//!
//! Promises one deadline for the whole, and that the validation connection of an authority ends here: it carries nothing,
//! and no protocol behind this ever sees it.

use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    World,
    record::{Ended, Outcome, Record},
};
use crate::{
    config::Protection,
    net::close,
    tls::{ACME_TLS, Accepted, HandshakeFault, READ, ServerSide, ServerStream, offered_version},
};

/// Why a session came to nothing for want of a certificate, in the log.
pub(crate) const NO_CERTIFICATE_YET: Ended = Ended(Outcome::TlsFailed, "no-certificate-yet");

/// Does the handshake and notes in `record` what came of it.
pub(crate) async fn handshake(
    mut stream: TcpStream,
    tls: &ServerSide,
    protection: &Protection,
    world: &World,
    record: &mut Record,
) -> Result<Box<ServerStream>, Ended> {
    let _admission = world.gate.shake(record.client, protection)?;
    let deadline = Instant::now() + tls.timeout;
    let shaken = timeout_at(deadline, async {
        let mut received = Vec::with_capacity(READ);
        stream.read_buf(&mut received).await?;
        record.client_tls = offered_version(&received);
        let _permit = world.handshakes.acquire().await;
        tls.accept(stream, received).await
    });
    let Accepted { mut stream, mut facts, client } = match shaken.await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => return Err(failed(HandshakeFault::of(&error, record.client_tls), tls)),
        Err(_) => return Err(Ended(Outcome::Timeout, "handshake")),
    };
    if facts.version == "TLSv1.3" {
        // The part of the hello that said so may have come too late to be seen.
        record.client_tls = facts.version;
    }
    // RFC 8737 §4: nothing follows the handshake. Whether an older session was resumed changes nothing.
    let is_validation = facts.application.as_bytes() == ACME_TLS;
    let known = if is_validation { Ok(None) } else { client };
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

fn failed(fault: HandshakeFault, tls: &ServerSide) -> Ended {
    if fault == HandshakeFault::NoCertificate && tls.certificates.is_empty() {
        return NO_CERTIFICATE_YET;
    }
    Ended(Outcome::TlsFailed, fault.reason())
}
