//! The test bed itself, without mailward: the clients do TLS with servers of another kind as the tests of TLS rely on.

mod support;

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use support::{
    ALICE, Curl, Dovecot, Exim, Mbsync, Postfix, Python, SClient, Scratch, Supervised, Swaks, Target, Testssl,
    assert_carries, message, reserve_port, run,
};

const BOB: &str = "bob@example.net";

#[test]
fn the_tls_clients_see_what_a_tls_server_of_another_kind_agrees_to() {
    let tls = TlsServer::start();
    let seen = SClient::at(&tls.target, "smtp").version("-tls1_3").groups("P-384").handshake();
    assert_eq!((seen.version(), seen.group(), seen.signature()), ("TLSv1.3", "ECDH, secp384r1", "RSA-PSS"), "{seen:?}");
    let seen = SClient::at(&tls.target, "smtp").version("-tls1_2").ciphers("ECDHE-RSA-AES128-GCM-SHA256").handshake();
    assert_eq!((seen.version(), seen.cipher()), ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"), "{seen:?}");
    assert_eq!((seen.alpn(), seen.resumed()), ("", false), "{seen:?}");
    SClient::at(&Target { name: "other.example.org".into(), ..tls.target.clone() }, "smtp").run().fails();
    Python::at(&tls.target).handshake("smtp", "secp384r1").succeeds().prints("group secp384r1").prints("OpenSSL 4");
    // This server has no hybrid group: the client must not quietly take another.
    Python::at(&tls.target).handshake("smtp", "X25519MLKEM768").fails().prints("handshake failure");
}

#[test]
fn the_mail_clients_insist_on_tls_and_on_the_servers_name() {
    let certificate = Certificate::for_name("localhost");
    let dovecot = tls_dovecot(&certificate);
    let imap = Target::starttls(dovecot.imap(), "localhost", &certificate.file());
    let pop3 = Target::starttls(dovecot.pop3(), "localhost", &certificate.file());
    let sieve = Target::starttls(dovecot.sieve(), "localhost", &certificate.file());
    let message = message("over TLS", 2_000);
    Python::at(&imap).imap_append("alice", &message).succeeds();
    assert_eq!(Python::at(&imap).imap_fetch("alice").succeeds().out, message);
    assert_eq!(Python::at(&pop3).pop3_fetch("alice").succeeds().out, message);
    Python::at(&pop3).pop3_capabilities().succeeds().prints("UIDL");
    Python::at(&sieve).sieve("alice", "keep;\r\n").succeeds().prints("keep;");
    Curl::imap(&imap, "INBOX;MAILINDEX=1").login("alice").run().succeeds().prints("Subject: over TLS");
    Curl::pop3(&pop3, "1").login("alice").run().succeeds().prints("Subject: over TLS");
    for (target, protocol) in [(&imap, "imap"), (&pop3, "pop3"), (&sieve, "sieve")] {
        assert_eq!(SClient::at(target, protocol).handshake().version(), "TLSv1.3");
        Python::at(target).handshake(protocol, "X25519").succeeds().prints("group x25519");
        let misnamed = Target { name: "other.example.org".into(), ..target.clone() };
        SClient::at(&misnamed, protocol).run().fails().prints("hostname mismatch");
    }
    let misnamed = Target { name: "other.example.org".into(), ..imap.clone() };
    Python::at(&misnamed).imap_fetch("alice").fails().prints("CERTIFICATE_VERIFY_FAILED");
    Curl::imap(&misnamed, "").login("alice").run().fails().prints("no alternative certificate subject name matches");
    let without_tls = Dovecot::builder().start();
    let downgraded = Target { address: without_tls.imap(), ..imap };
    Python::at(&downgraded).imap_fetch("alice").fails();
    Curl::imap(&downgraded, "").login("alice").run().fails();
}

#[test]
fn the_mail_clients_speak_tls_from_the_first_byte() {
    let certificate = Certificate::for_name("localhost");
    let port = reserve_port();
    let dovecot = tls_dovecot_with(
        &certificate,
        &format!(
            "service imap-login {{\n inet_listener tls {{\n address = 127.0.0.1\n port = {}\n ssl = yes\n }}\n}}\n",
            port.number(),
        ),
    );
    let address = (Ipv4Addr::LOCALHOST, port.number()).into();
    let imaps = Target::implicit(address, "localhost", &certificate.file());
    Python::at(&imaps).imap_append("alice", &message("over TLS", 2_000)).succeeds();
    Curl::imap(&imaps, "INBOX;MAILINDEX=1").login("alice").run().succeeds().prints("Subject: over TLS");
    let mbsync = Mbsync::at(&imaps, "alice");
    mbsync.sync().succeeds();
    assert_eq!(mbsync.messages().len(), 1);
    SClient::at(&imaps, "imap").talk(b"a LOGOUT\r\n").succeeds().prints("a OK");
    assert_eq!(dovecot.messages("alice").len(), 1);
}

#[test]
fn the_senders_insist_on_tls() {
    let certificate = Certificate::for_name("localhost");
    let dovecot = tls_dovecot(&certificate);
    let postfix = Postfix::builder()
        .deliver_by_tls(dovecot.lmtp(), "localhost", &certificate.file())
        .further(&format!(
            "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
            certificate.file().display(),
            certificate.key().display(),
        ))
        .start();
    let smtp = Target::starttls(postfix.smtp(), "localhost", &certificate.file());
    Swaks::at(&smtp).send(BOB, "user1@example.org", &message("swaks", 500)).succeeds().prints("TLS started");
    Curl::smtp(&smtp).send(BOB, "user2@example.org", &message("curl", 500)).succeeds();
    Python::at(&smtp).smtp("", BOB, "user3@example.org", &message("python", 500)).succeeds();
    let exim = Exim::to(smtp.address).tls("localhost", &certificate.file());
    exim.send(BOB, &["user4@example.org"], &message("exim", 500)).succeeds().prints("=> user4").prints("CV=yes");
    for (number, subject) in ["swaks", "curl", "python", "exim"].iter().enumerate() {
        let user = format!("user{}", number + 1);
        assert_carries(&dovecot.delivery(&user), &message(subject, 500));
    }
    assert!(postfix.log().contains("Verified TLS connection established to 127.0.0.2"), "{}", postfix.log());
    let stranger = Certificate::for_name("localhost");
    let distrusted = Target { ca: stranger.file(), ..smtp };
    Swaks::at(&distrusted).send(BOB, ALICE, b"\r\n").fails();
    Curl::smtp(&distrusted).send(BOB, ALICE, b"\r\n").fails();
    Exim::to(distrusted.address)
        .tls("localhost", &stranger.file())
        .send(BOB, &[ALICE], b"\n")
        .prints_no("=> ")
        .prints("== alice");
}

#[test]
fn testssl_finds_fault_with_a_cipher_that_authenticates_nobody() {
    let tls = TlsServer::start();
    let testssl = Testssl::examine(&tls.target, "smtp");
    let faults: Vec<_> = testssl.faults().into_iter().map(|it| it.id).collect();
    assert!(faults.contains(&"cipherlist_aNULL".to_owned()), "{faults:?}");
    assert!(testssl.findings().iter().any(|it| it.id == "TLS1_3" && it.severity == "OK"), "{testssl:?}");
}

fn tls_dovecot(certificate: &Certificate) -> Dovecot {
    tls_dovecot_with(certificate, "")
}

fn tls_dovecot_with(certificate: &Certificate, further: &str) -> Dovecot {
    let (file, key) = (certificate.file(), certificate.key());
    let tls = format!("ssl = yes\nssl_cert = <{}\nssl_key = <{}\n", file.display(), key.display());
    Dovecot::builder().further(&tls).further(further).start()
}

/// A certificate that is its own authority, and its key.
struct Certificate {
    scratch: Scratch,
}

impl Certificate {
    fn for_name(name: &str) -> Self {
        let scratch = Scratch::new("certificate");
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &format!("/CN={name}")]);
        make.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
        make.arg("-keyout").arg(scratch.join("key.pem")).arg("-out").arg(scratch.join("certificate.pem"));
        run(&make, b"").succeeds();
        Self { scratch }
    }

    fn file(&self) -> PathBuf {
        self.scratch.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.scratch.join("key.pem")
    }
}

/// `openssl s_server` with a cipher that no server should have.
struct TlsServer {
    target: Target,
    _server: Supervised,
    _scratch: Scratch,
    _certificate: Certificate,
}

impl TlsServer {
    fn start() -> Self {
        let (scratch, certificate) = (Scratch::new("s_server"), Certificate::for_name("mail.example.org"));
        let port = reserve_port();
        let mut serve = Command::new("/usr/bin/openssl");
        serve.args(["s_server", "-quiet", "-accept", &port.address().to_string()]);
        serve.arg("-key").arg(certificate.key()).arg("-cert").arg(certificate.file());
        serve.args(["-cipher", "ECDHE-RSA-AES128-GCM-SHA256:AECDH-AES128-SHA:@SECLEVEL=0"]);
        let server = Supervised::start(&serve, scratch.path(), || TcpStream::connect(port.address()).is_ok());
        let target = Target::implicit(port.address(), "mail.example.org", &certificate.file());
        Self { target, _server: server, _scratch: scratch, _certificate: certificate }
    }
}
