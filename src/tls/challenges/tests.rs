//! Which certificate whom is shown where authorities validate, by handshakes in memory.

use super::*;
use crate::{
    config::{Cipher, Group, Tls, TlsVersion},
    proto::Protocol,
    tls::{Certificates, ServerSide, TicketKeys, applications, certificate, play::TakesAll},
};
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind, ServerConnection};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, X509Certificate};

const NAME: &str = "mx.example.org";

fn client(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAll))
        .with_no_client_auth()
}

fn settings(ciphers: &[Cipher]) -> Tls {
    Tls {
        implicit: true,
        timeout: Duration::from_secs(60),
        versions: TlsVersion::ALL
            .into_iter()
            .filter(|version| ciphers.iter().any(|cipher| cipher.version() == *version))
            .collect(),
        ciphers: ciphers.to_vec(),
        groups: Group::ALL.to_vec(),
        ignore_client_order: true,
        client: None,
    }
}

/// A listener with a certificate in force, and the challenges that it answers.
struct Listener {
    side: ServerSide,
    challenges: Arc<Challenges>,
}

impl Listener {
    fn new(protocol: Protocol) -> Self {
        Self::with(protocol, &Cipher::ALL, true)
    }

    fn with(protocol: Protocol, ciphers: &[Cipher], validates: bool) -> Self {
        let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let loaded =
            certificate::load(&issued.cert.pem(), &issued.signing_key.serialize_pem(), SystemTime::now()).unwrap();
        let store = Arc::new(CertStore::new(Certificates::new([(loaded, true)])));
        let challenges = Arc::<Challenges>::default();
        let tickets = TicketKeys::default().of("listener").unwrap();
        let answered = validates.then(|| challenges.clone());
        let side = ServerSide::new(&settings(ciphers), applications(protocol), store, answered, tickets).unwrap();
        Self { side, challenges }
    }

    /// Does a handshake with a client that offers these application protocols. Both ends as they are then, and why the
    /// server broke off, if it did.
    fn shake(&self, mut config: ClientConfig, offered: &[&[u8]]) -> Shaken {
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let mut client = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(self.side.config.clone()).unwrap();
        let mut fault = None;
        // A few flights each way, the tickets behind the handshake among them.
        for _ in 0..5 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            fault = fault.or(server.process_new_packets().err());
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            let _ = client.process_new_packets();
        }
        Shaken { client, server, fault }
    }
}

struct Shaken {
    client: ClientConnection,
    server: ServerConnection,
    fault: Option<Error>,
}

impl Shaken {
    fn agreed(&self) -> Option<&[u8]> {
        assert!(self.fault.is_none() && !self.server.is_handshaking(), "{:?}", self.fault);
        self.server.alpn_protocol()
    }

    /// The content of the extension that RFC 8737 §3 defines, if the certificate has it and marks it critical.
    fn proof(&self) -> Option<Vec<u8>> {
        let der = self.client.peer_certificates().unwrap()[0].clone();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let extension = certificate.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")?;
        extension.critical.then(|| extension.value.to_vec())
    }

    fn has_seen_no_certificate(&self) -> bool {
        self.fault.is_some() && self.client.peer_certificates().is_none()
    }
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn a_name_is_answered_for_between_present_and_withdraw() {
    let challenges = Challenges::default();
    assert!(challenges.find("mx.example.org").is_none());
    challenges.present("MX.example.org", &[7; 32]).unwrap();
    assert!(challenges.find("mx.example.org").is_some());
    assert!(challenges.find("imap.example.org").is_none());
    challenges.withdraw("mx.example.org");
    assert!(challenges.find("mx.example.org").is_none());
}

#[test]
fn an_authority_is_shown_the_proof_for_a_pending_name_by_both_versions() {
    let listener = Listener::new(Protocol::Imap);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    for version in BOTH {
        let shaken = listener.shake(client(&[version]), &[ACME_TLS]);
        assert_eq!(shaken.agreed(), Some(ACME_TLS));
        let octets = [&[0x04, 32][..], &[7; 32]].concat();
        assert_eq!(shaken.proof(), Some(octets));
    }
}

#[test]
fn for_a_name_that_is_not_pending_there_is_no_certificate_at_all() {
    let listener = Listener::new(Protocol::Imap);
    listener.challenges.present("imap.example.org", &[7; 32]).unwrap();
    for version in BOTH {
        assert!(listener.shake(client(&[version]), &[ACME_TLS]).has_seen_no_certificate());
    }
}

#[test]
fn nobody_but_an_authority_is_shown_the_proof() {
    let listener = Listener::new(Protocol::Imap);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    for (offered, agreed) in [
        (&[][..], None),
        (&[&b"imap"[..]], Some(&b"imap"[..])),
        (&[ACME_TLS, b"imap"], Some(b"imap")),
        // Such a session ends like any other that agreed on it, and proves nothing.
        (&[ACME_TLS, b"http/1.1"], Some(ACME_TLS)),
    ] {
        let shaken = listener.shake(client(BOTH), offered);
        assert_eq!((shaken.agreed(), shaken.proof()), (agreed, None));
    }
}

#[test]
fn before_the_first_certificate_authorities_are_answered_and_others_are_not() {
    let listener = Listener::new(Protocol::Imap);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    listener.side.certificates.swap(Certificates::default());
    assert!(listener.side.certificates.is_empty());
    assert_eq!(listener.shake(client(BOTH), &[ACME_TLS]).agreed(), Some(ACME_TLS));
    assert!(listener.shake(client(BOTH), &[b"imap"]).has_seen_no_certificate());
}

#[test]
fn where_no_authority_is_expected_its_protocol_is_unknown() {
    let listener = Listener::with(Protocol::Imap, &Cipher::ALL, false);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    assert!(listener.shake(client(BOTH), &[ACME_TLS]).has_seen_no_certificate());
}

#[test]
fn lmtp_passes_over_the_offer_of_an_authority_like_any_other() {
    let listener = Listener::new(Protocol::Lmtp);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    let shaken = listener.shake(client(BOTH), &[ACME_TLS]);
    assert_eq!((shaken.agreed(), shaken.proof()), (None, None));
}

#[test]
fn with_suites_for_rsa_keys_alone_there_is_no_answer() {
    let listener = Listener::with(Protocol::Imap, &[Cipher::RsaAes128], true);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    assert!(listener.shake(client(BOTH), &[ACME_TLS]).has_seen_no_certificate());
}

#[test]
fn a_resumed_session_agrees_on_its_protocol_anew() {
    let listener = Listener::new(Protocol::Imap);
    listener.challenges.present(NAME, &[7; 32]).unwrap();
    for version in BOTH {
        for (first, second) in [(ACME_TLS, &b"imap"[..]), (b"imap", ACME_TLS), (ACME_TLS, ACME_TLS)] {
            // A copy has the same tickets.
            let client = client(&[version]);
            assert_eq!(listener.shake(client.clone(), &[first]).agreed(), Some(first));
            let shaken = listener.shake(client, &[second]);
            assert_eq!(shaken.agreed(), Some(second));
            assert_eq!(shaken.server.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }
}
