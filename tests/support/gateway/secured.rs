//! A backend that speaks TLS, by either way, and remembers what it heard before it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};

use super::authority::{Authority, Issued};
use super::fake::Fake;
use super::plain;
use super::talk::Talk;

/// How a backend comes to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the first byte.
    Implicit,
    /// After STARTTLS or STLS.
    StartTls,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Implicit, Self::StartTls];

    /// What stands in a backend's table.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Implicit => "tls.mode = \"implicit\"",
            Self::StartTls => "tls.mode = \"starttls\"",
        }
    }
}

/// The backend. Its words before TLS all have `BEFORE` in them.
#[derive(Debug)]
pub struct Secured {
    /// Where it listens, and how often it was dialled.
    pub fake: Fake,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    before: Mutex<String>,
    inside: AtomicUsize,
    resumed: AtomicUsize,
}

impl Secured {
    /// Serves `protocol` as [`plain`] does.
    pub fn start(protocol: &'static str, way: Way, config: Arc<ServerConfig>) -> Self {
        Self::serving(protocol, way, config, move |talk| match way {
            Way::Implicit => plain::serve(protocol, talk),
            Way::StartTls => plain::serve_greeted(protocol, talk),
        })
    }

    /// Has `serve` say what is said inside TLS.
    pub fn serving(
        protocol: &'static str,
        way: Way,
        config: Arc<ServerConfig>,
        serve: impl Fn(Talk) + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Seen> = Arc::default();
        let noted = seen.clone();
        let fake = Fake::start(move |mut talk, _| {
            if way == Way::StartTls && !before(protocol, &mut talk, &noted) {
                return;
            }
            let Ok(talk) = talk.serve_tls(config.clone()) else { return };
            noted.inside.fetch_add(1, Relaxed);
            noted
                .resumed
                .fetch_add(usize::from(talk.serving().handshake_kind() == Some(HandshakeKind::Resumed)), Relaxed);
            serve(talk);
        });
        Self { fake, seen }
    }

    /// All that it heard before TLS, in all connections.
    pub fn before(&self) -> String {
        self.seen.before.lock().expect("no poison").clone()
    }

    /// How many handshakes came to their end.
    pub fn inside(&self) -> usize {
        self.seen.inside.load(Relaxed)
    }

    /// How many of them resumed a session.
    pub fn resumed(&self) -> usize {
        self.seen.resumed.load(Relaxed)
    }
}

/// The dialogue before TLS; whether it is to begin.
fn before(protocol: &str, talk: &mut Talk, seen: &Seen) -> bool {
    let _ = talk.try_send(greeting_before(protocol));
    loop {
        let line = talk.heard();
        seen.before.lock().expect("no poison").push_str(&line);
        let line = line.trim_end().to_uppercase();
        let (reply, is_over) = match line.rsplit(' ').next().unwrap_or_default() {
            "" => return false,
            "STARTTLS" | "STLS" => (yes(protocol), true),
            _ => ("250-BEFORE\r\n250-STARTTLS\r\n250 XBEFORE\r\n", false),
        };
        if talk.try_send(reply).is_err() {
            return false;
        }
        if is_over {
            return true;
        }
    }
}

/// A greeting in clear.
pub fn greeting_before(protocol: &str) -> &'static str {
    match protocol {
        "imap" => "* OK [CAPABILITY IMAP4rev1 STARTTLS XBEFORE] BEFORE\r\n",
        "pop3" => "+OK BEFORE <1@before>\r\n",
        "managesieve" => "\"IMPLEMENTATION\" \"BEFORE\"\r\n\"STARTTLS\"\r\nOK\r\n",
        _ => "220 BEFORE ESMTP\r\n",
    }
}

/// The reply to the wish for TLS.
pub fn yes(protocol: &str) -> &'static str {
    match protocol {
        "imap" => "1 OK go on\r\n",
        "pop3" => "+OK go on\r\n",
        "managesieve" => "OK \"go on\"\r\n",
        _ => "220 go on\r\n",
    }
}

/// A server's configuration that shows this certificate.
pub fn showing(issued: &Issued) -> Arc<ServerConfig> {
    configuration(issued, Arc::new(NoClientAuth))
}

/// The same, of a server that demands a certificate by `authority`.
pub fn demanding(issued: &Issued, authority: &Authority) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider);
    configuration(issued, verifier.build().expect("roots"))
}

fn configuration(issued: &Issued, verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect::<Result<_, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    Arc::new(config.expect("a certificate that fits"))
}
