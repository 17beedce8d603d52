//! A policy host that answers as it is told, for tests.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};
use tokio_rustls::TlsAcceptor;

use super::PolicyHosts;
use crate::net::https::Names;

/// Whose policies are served.
pub(in crate::outbound) const DOMAIN: &str = "example.org";
/// Where.
pub(in crate::outbound) const HOST: &str = "mta-sts.example.org";
/// One of them.
pub(in crate::outbound) const POLICY: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmax_age: 604800\r\n";

/// Who certifies hosts.
pub(in crate::outbound) struct Authority {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// One of its own.
pub(in crate::outbound) fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let der = params.self_signed(&key).unwrap().der().clone();
    Authority { der, issuer: Issuer::new(params, key) }
}

/// What one policy host has seen.
#[derive(Default)]
pub(in crate::outbound) struct Seen {
    pub(in crate::outbound) requests: AtomicUsize,
    pub(in crate::outbound) last: Mutex<String>,
}

/// A host that serves for as long as the test runs.
pub(in crate::outbound) struct PolicyHost {
    pub(in crate::outbound) at: SocketAddr,
    pub(in crate::outbound) seen: Arc<Seen>,
}

/// How a host's certificate differs from the right one.
pub(in crate::outbound) type Tweak = fn(&mut CertificateParams);

/// Not at all.
pub(in crate::outbound) fn right(_: &mut CertificateParams) {}

/// Serves the same octets to everybody; none: never anything.
pub(in crate::outbound) async fn serve(authority: &Authority, tweak: Tweak, answer: Option<Vec<u8>>) -> PolicyHost {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, HOST);
    tweak(&mut params);
    let chain = vec![params.signed_by(&key, &authority.issuer).unwrap().der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = PolicyHost { at: listener.local_addr().unwrap(), seen: Arc::default() };
    let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), host.seen.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
            *seen.last.lock().unwrap() = format!("{name}\n{}", String::from_utf8(head).unwrap());
            seen.requests.fetch_add(1, Ordering::SeqCst);
            let Some(answer) = &answer else { std::future::pending().await };
            // A client that has read enough closes.
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    host
}

/// Fetches from this host alone, and believes this authority alone.
pub(in crate::outbound) fn hosts(authority: &Authority, host: &PolicyHost) -> PolicyHosts {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let at = host.at;
    let names = Names::by(move |name| async move {
        assert_eq!(name, HOST);
        Ok(vec![at])
    });
    PolicyHosts::new(roots, names, Handle::current()).unwrap()
}

/// An HTTP answer.
pub(in crate::outbound) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}
