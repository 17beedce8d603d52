//! The life of one HTTP connection: TLS where it is asked for, requests and answers one by one, and the line in the log.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{poll_fn, ready},
    net::SocketAddr,
    sync::Arc,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    header::{CONNECTION, HOST, HeaderValue},
    server::conn::http1::Builder,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};

use super::answer::answer;
use crate::{
    inbound::{
        World,
        handshake::handshake,
        proxied,
        record::{Ended, Outcome, Record},
    },
    net::{Stage, close},
    snapshot::Http,
    telemetry::Shown,
};

/// The longest head of a request, in bytes.
const HEAD: usize = 8 * 1024;

/// The fields that a head may have.
const FIELDS: usize = 64;

/// The requests that one connection may bring; others shall get their turn.
const REQUESTS: usize = 100;

/// Beyond `max-connections`.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves one client from accept to close.
pub async fn serve(mut stream: TcpStream, peer: SocketAddr, http: Arc<Http>, world: Arc<World>) {
    let mut record = record(peer, &http, &world);
    let mut stage = world.stages.of(record.session);
    if let Err(ended) = Box::pin(proxied::destination(&mut stream, &http.config.proxies, &mut record)).await {
        record.ended = ended;
        return;
    }
    let protection = &http.config.protection;
    let _admission = match world.gate.recognise(peer, &http.config.proxies, protection, &mut record) {
        Ok(admission) => admission,
        Err(ended) => {
            record.ended = ended;
            return;
        }
    };
    record.ended = match &http.tls {
        None => Visit::new(&http, record.session).converse(stream, &mut stage).await,
        Some(tls) => match Box::pin(handshake(stream, tls, protection, &world, &mut record)).await {
            Ok(stream) => Visit::new(&http, record.session).converse(stream, &mut stage).await,
            Err(ended) => ended,
        },
    };
    world.gate.judge(&record, protection);
}

/// Sends away a client for whom there is no place, for this reason; with TLS by closing.
pub async fn refuse(mut stream: TcpStream, peer: SocketAddr, http: Arc<Http>, world: Arc<World>, reason: &'static str) {
    let mut record = record(peer, &http, &world);
    record.ended = Ended(Outcome::Limited, reason);
    proxied::skip(&mut stream, &http.config.proxies, &mut record).await;
    if http.tls.is_none() {
        close::turn_away(&mut stream, BUSY).await;
    }
}

fn record(peer: SocketAddr, http: &Http, world: &World) -> Record {
    Record::new(world.next_session(), &http.config.id, "http", peer)
}

/// One client's requests.
struct Visit<'a> {
    http: &'a Http,
    session: u64,
    answered: Cell<usize>,
    /// When the last was answered, or the first could come.
    since: Cell<Instant>,
}

impl<'a> Visit<'a> {
    /// Begins now.
    fn new(http: &'a Http, session: u64) -> Self {
        Self { http, session, answered: Cell::new(0), since: Cell::new(Instant::now()) }
    }

    /// Everything from the first request to the close.
    async fn converse<S>(&self, stream: S, stage: &mut watch::Receiver<Stage>) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let service = service_fn(|request| ready(Ok::<_, Infallible>(self.answer(&request))));
        let mut builder = Builder::new();
        // Its deadline would be for heads alone; ours is for answers that nobody takes, too.
        builder.max_buf_size(HEAD).max_headers(FIELDS).header_read_timeout(None);
        let mut connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut draining = false;
        let ended = loop {
            let deadline = self.since.get() + self.http.config.timeout;
            tokio::select! {
                // A request that comes at the same time is told that it is the last.
                biased;
                _ = stage.wait_for(|stage| *stage != Stage::Running), if !draining => {
                    draining = true;
                    // Ends at once between two requests, else behind the answer.
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
                done = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended(&done, draining),
                () = sleep_until(deadline) => if self.is_late() { break Ended(Outcome::Timeout, "request") },
            }
        };
        close::close(&mut connection.into_parts().io.into_inner()).await;
        ended
    }

    /// Whether there was no answer since the deadline was set.
    fn is_late(&self) -> bool {
        self.since.get().elapsed() >= self.http.config.timeout
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = answer(request, &self.http.answers.http, self.http.config.redirect_https);
        self.since.set(Instant::now());
        self.answered.set(self.answered.get() + 1);
        // What stands behind the head is not read, so that nobody knows where the next begins.
        if self.answered.get() >= REQUESTS || !request.body().is_end_stream() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let host = request.headers().get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        tracing::debug!(
            session = self.session,
            method = %Shown(request.method().as_str()),
            host = %Shown(&String::from_utf8_lossy(host)),
            path = %Shown(request.uri().path()),
            status = response.status().as_u16(),
            "request"
        );
        response
    }
}

fn ended(done: &hyper::Result<()>, draining: bool) -> Ended {
    match done {
        _ if draining => Ended(Outcome::Drained, ""),
        Ok(()) => Ended(Outcome::Ok, ""),
        Err(error) if error.is_parse() => Ended(Outcome::Violation, "bad-request"),
        Err(_) => Ended(Outcome::ClientLost, ""),
    }
}
