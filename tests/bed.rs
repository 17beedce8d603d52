//! The test bed itself, without mailward: every server and client that the other tests rely on does here what they rely on.

mod support;

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use support::{
    ALICE, Curl, Dovecot, Exim, Mbsync, Postfix, Python, Recorder, SClient, Scratch, Supervised, Swaks, Target,
    Testssl, assert_carries, message, reserve_port, run,
};

const BOB: &str = "bob@example.net";

#[test]
fn dovecot_serves_imap_pop3_and_managesieve_to_its_users() {
    let dovecot = Dovecot::builder().start();
    let (imap, pop3) = (Target::plain(dovecot.imap()), Target::plain(dovecot.pop3()));
    Python::at(&imap).imap_append("alice", &message("hello", 2_000)).succeeds();
    assert_eq!(Python::at(&imap).imap_fetch("alice@example.org").succeeds().out, message("hello", 2_000));
    assert_eq!(Python::at(&pop3).pop3_fetch("alice").succeeds().out, message("hello", 2_000));
    Curl::imap(&imap, "INBOX;MAILINDEX=1").login("alice").run().succeeds().prints("Subject: hello");
    Curl::imap(&imap, "").login("nobody").run().fails();
    let script = "require \"fileinto\";\r\nkeep;\r\n";
    Python::at(&Target::plain(dovecot.sieve())).sieve("bob", script).succeeds().prints("require \"fileinto\"");
}

#[test]
fn dovecot_takes_mail_by_lmtp_and_stores_what_came() {
    let dovecot = Dovecot::builder().start();
    let lmtp = Target::plain(dovecot.lmtp());
    Swaks::at(&lmtp).lmtp().send(BOB, ALICE, &message("by lmtp", 5_000)).succeeds();
    assert_carries(&dovecot.delivery("alice"), &message("by lmtp", 5_000));
    assert!(dovecot.lmtp_socket().exists(), "LMTP listens on a unix socket too");
    Swaks::at(&lmtp).lmtp().send(BOB, "nobody@example.org", b"\r\n").fails().prints("550 5.1.1");
}

#[test]
fn dovecot_without_plaintext_passwords_lists_logindisabled_unless_it_trusts_the_client() {
    let strict = Dovecot::builder().refuse_plaintext().start();
    let imap = Target::plain(strict.imap());
    Curl::imap(&imap, "")
        .arguments(&["--verbose", "--request", "CAPABILITY"])
        .run()
        .succeeds()
        .prints(" LOGINDISABLED");
    Python::at(&imap).imap_capabilities("alice").fails().prints("PRIVACYREQUIRED");
    let trusting = Dovecot::builder().refuse_plaintext().trust("127.0.0.1").start();
    Python::at(&Target::plain(trusting.imap())).imap_capabilities("alice").succeeds().prints_no("LOGINDISABLED");
}

#[test]
fn postfix_delivers_to_dovecot_byte_for_byte() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let message = message("to dovecot", 3_000_000);
    Python::at(&Target::plain(postfix.smtp()))
        .smtp("", BOB, ALICE, &message)
        .succeeds()
        .prints("CHUNKING")
        .prints("SMTPUTF8");
    assert_carries(&dovecot.delivery("alice"), &message);
    assert_carries(&Python::at(&Target::plain(dovecot.imap())).imap_fetch("alice").succeeds().out, &message);
}

#[test]
fn postfix_takes_25_megabytes() {
    let postfix = Postfix::builder().start();
    Swaks::at(&Target::plain(postfix.smtp())).send(BOB, ALICE, &message("large", 25 << 20)).succeeds();
    let lines_end_in_lf = String::from_utf8(message("large", 25 << 20)).expect("text").replace("\r\n", "\n");
    assert!(postfix.delivery().ends_with(lines_end_in_lf.as_bytes()), "the stored message differs");
}

#[test]
fn submission_asks_dovecot_for_the_password_and_mail_for_others_is_thrown_away() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let submission = Target::plain(postfix.submission());
    Swaks::at(&submission).login("alice").send(ALICE, "stranger@example.com", &message("out", 500)).succeeds();
    postfix.await_relayed("stranger@example.com");
    Curl::smtp(&submission).login("alice").send(ALICE, "bob@example.org", &message("in", 500)).succeeds();
    assert_carries(&dovecot.delivery("bob"), &message("in", 500));
    let wrong = ["--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "wrong"];
    Swaks::at(&submission).arguments(&wrong).send(ALICE, ALICE, b"\r\n").fails().prints("535 5.7.8");
    Swaks::at(&submission).send(BOB, ALICE, b"\r\n").fails().prints("554 5.7.1");
}

#[test]
fn postfix_relays_for_strangers_only_where_it_trusts_them() {
    let careful = Postfix::builder().start();
    let stranger = |postfix: &Postfix| {
        Swaks::at(&Target::plain(postfix.smtp())).send(BOB, "stranger@example.com", &message("relay", 500))
    };
    stranger(&careful).fails().prints("554 5.7.1");
    assert_eq!(careful.relayed(), Vec::<String>::new());
    let trusting = Postfix::builder().trust("127.0.0.1").start();
    stranger(&trusting).succeeds();
    trusting.await_relayed("stranger@example.com");
}

#[test]
fn exim_sends_by_bdat_where_that_is_offered() {
    let recorder = Recorder::start();
    let message = message("by bdat", 200_000);
    Exim::to(recorder.address()).send(BOB, &[ALICE], &message).succeeds().prints("=> alice@example.org");
    let session = recorder.session();
    assert!(session.commands.iter().any(|it| it.starts_with("BDAT ")), "{:?}", session.commands);
    assert!(!session.commands.iter().any(|it| it == "DATA"), "{:?}", session.commands);
    assert_carries(&session.content, &message);
}

#[test]
fn exim_sends_by_data_when_told_to() {
    let recorder = Recorder::start();
    Exim::to(recorder.address())
        .by_data()
        .send(BOB, &[ALICE], &message("by data", 2_000))
        .succeeds()
        .prints("=> alice");
    let session = recorder.session();
    assert!(session.commands.iter().any(|it| it == "DATA"), "{:?}", session.commands);
    assert!(!session.commands.iter().any(|it| it.starts_with("BDAT")), "{:?}", session.commands);
}

#[test]
fn mbsync_fetches_and_uploads() {
    let dovecot = Dovecot::builder().start();
    let imap = Target::plain(dovecot.imap());
    Python::at(&imap).imap_append("alice", &message("from afar", 2_000)).succeeds();
    let mbsync = Mbsync::at(&imap, "alice");
    mbsync.put(&message("from here", 2_000));
    mbsync.sync().succeeds();
    assert_eq!(dovecot.deliveries("alice", 2).len(), 2);
    assert_eq!(mbsync.messages().len(), 2);
}

#[test]
fn imaplib_idles_until_a_message_comes() {
    let dovecot = Dovecot::builder().start();
    let mut idle = Python::at(&Target::plain(dovecot.imap())).imap_idle("alice");
    assert_eq!(idle.line(), "idling");
    Swaks::at(&Target::plain(dovecot.lmtp())).lmtp().send(BOB, ALICE, &message("now", 500)).succeeds();
    assert_eq!(idle.line(), "* 1 EXISTS");
    assert_eq!(idle.line(), "done");
}

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
    Curl::imap(&misnamed, "").login("alice").run().fails().prints("does not match");
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
    let address = (std::net::Ipv4Addr::LOCALHOST, port.number()).into();
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

#[test]
fn dropping_a_server_ends_all_its_processes_and_no_other() {
    let (first, second) = (Dovecot::builder().start(), Dovecot::builder().start());
    let (gone, stays) = (first.group(), second.group());
    assert!(processes_of(gone) > 3, "Dovecot has more than one process");
    drop(first);
    assert_eq!((processes_of(gone), processes_of(stays) > 3), (0, true));
    let postfix = Postfix::builder().start();
    let group = postfix.group();
    assert!(processes_of(group) > 3, "Postfix has more than one process");
    drop(postfix);
    assert_eq!(processes_of(group), 0);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let refused = std::panic::catch_unwind(|| Dovecot::builder().further("no_such_setting = yes\n").start());
    let said = *refused.expect_err("it must not start").downcast::<String>().expect("a panic with a message");
    assert!(said.contains("no_such_setting"), "{said}");
}

/// The processes of a group that are not mere remains waiting for init.
fn processes_of(group: u32) -> usize {
    let processes = fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // Behind the name in parentheses: state, parent, group.
        let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').map(ToOwned::to_owned).collect();
        Some((fields.first()?.clone(), fields.get(2)?.parse::<u32>().ok()?))
    });
    processes.filter(|(state, its_group)| *its_group == group && state != "Z").count()
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
