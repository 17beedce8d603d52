//! TLS from the client's side for tests that want it odd: a ClientHello as bytes, and what a client may offer.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The content type of a handshake record.
const HANDSHAKE: u8 = 0x16;

/// A whole ClientHello record with everything that rustls offers, for this server name.
pub fn client_hello(name: &str) -> Vec<u8> {
    let config = offering(Arc::new(RootCertStore::empty()), |_| {});
    let name = name.to_owned().try_into().expect("a DNS name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a configuration that fits");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory takes all");
    bytes
}

/// The ClientHello of a client that knows nothing newer than this version (3, 2 is TLS 1.1): no extensions, three old suites.
pub fn old_client_hello(major: u8, minor: u8) -> Vec<u8> {
    let mut body = vec![major, minor];
    body.extend([7; 32]);
    // No session; three suites of their time (0x002f is AES128-SHA); no compression.
    body.extend([0, 0, 6, 0x00, 0x2f, 0x00, 0x35, 0x00, 0x0a, 1, 0]);
    record(HANDSHAKE, [major, minor], &message(1, &body))
}

/// A handshake message.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body").to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// A record.
pub fn record(content: u8, version: [u8; 2], bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short record").to_be_bytes();
    [&[content], &version[..], &length[..], bytes].concat()
}

/// A client that trusts `roots` and offers what `narrow` leaves of suites and groups.
pub fn offering(roots: Arc<RootCertStore>, narrow: impl FnOnce(&mut CryptoProvider)) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    narrow(&mut provider);
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
