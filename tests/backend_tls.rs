//! TLS between mailward and a backend: what is accepted, what is refused and why, and that nothing ever goes without.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::ServerConfig;
use serde_json::Value;

use support::gateway::authority::Issued;
use support::gateway::secured::{demanding, greeting_before, showing, yes};
use support::{
    Authority, DIALECTS, Dialect, Dovecot, Fake, Gateway, GatewayBuilder, Kind, PASSWORD, Postfix, Secured, Talk, Way,
    dialect, eventually, plain,
};

/// The name in the certificate of a good backend.
const BACKEND: &str = "backend.internal";

/// An authority of the backend's, whose certificate stands in `backend-ca.pem`.
fn authority(builder: &GatewayBuilder) -> Authority {
    let authority = Authority::new();
    builder.scratch().write("backend-ca.pem", authority.pem());
    authority
}

/// What makes a backend with a certificate for [`BACKEND`] acceptable.
const ACCEPTABLE: &str = "tls.ca = \"backend-ca.pem\"\ntls.name = \"backend.internal\"";

/// A gateway with one listener `in` for a backend of this protocol.
fn in_front_of(builder: GatewayBuilder, protocol: &str, address: SocketAddr, lines: &str) -> Gateway {
    builder.implicit("in", protocol, address).backend("in", lines).start()
}

/// A client in TLS, of which nothing was read.
fn client(gateway: &Gateway) -> Talk {
    Talk::to(gateway.address("in")).tls(gateway.authority.roots())
}

/// Why an address is left out, by the log: what is wrong, and what can be done.
fn fault(gateway: &Gateway) -> (String, String) {
    let line =
        gateway.log_line("an address to be left out", |line| line["message"] == LEFT_OUT && line["level"] == "WARN");
    let reason = line["reason"].as_str().unwrap_or_default();
    let (what, right) = reason.split_once("; ").unwrap_or((reason, ""));
    (what.to_owned(), right.to_owned())
}

/// What the log says of an address that fails.
const LEFT_OUT: &str = "an address of the backend does not answer; it is left out for a while";

fn digest(issued: &Issued) -> String {
    use rustls::pki_types::pem::PemObject as _;
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let der = rustls::pki_types::CertificateDer::from_pem_slice(issued.chain.as_bytes()).expect("PEM");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_protocol_goes_to_its_backend_in_tls_by_either_way() {
    let mut builder = Gateway::builder();
    let authority = authority(&builder);
    let config = showing(&authority.issue(&[BACKEND], Kind::Ecdsa));
    let mut backends = Vec::new();
    for (dialect, way) in DIALECTS.iter().flat_map(|dialect| Way::ALL.map(|way| (dialect, way))) {
        let backend = Secured::start(dialect.protocol, way, config.clone());
        let lines = format!("{}\n{ACCEPTABLE}", way.mode());
        for id in [format!("{}-{way:?}", dialect.protocol), format!("{}-{way:?}-implicit", dialect.protocol)] {
            builder = if id.ends_with("implicit") {
                builder.implicit(&id, dialect.protocol, backend.fake.address())
            } else {
                builder.listener(&id, dialect.protocol, backend.fake.address())
            };
            builder = builder.backend(&id, &lines);
        }
        backends.push((dialect, way, backend));
    }
    let gateway = builder.start();
    for (dialect, way, backend) in &backends {
        let id = format!("{}-{way:?}", dialect.protocol);
        let mut greeted = dialect.upgrade(&gateway, &id);
        let mut talks = vec![(dialect.ask(&mut greeted, dialect.noop), greeted)];
        let mut talk = Talk::to(gateway.address(&format!("{id}-implicit"))).tls(gateway.authority.roots());
        let greeting = talk.until(dialect.welcome);
        // What it said in clear may be anybody's, and reaches nobody.
        assert!(!greeting.contains("BEFORE") && !greeting.contains("<1@before>"), "{id}: {greeting}");
        dialect.ask(&mut talk, dialect.hello);
        talks.push((String::new(), talk));
        for (_, talk) in &mut talks {
            dialect.ask(talk, dialect.login);
            dialect.ask(talk, dialect.noop);
            dialect.ask(talk, dialect.quit);
        }
        assert_eq!(backend.inside(), 2, "{id}");
        let before = backend.before();
        let hello = if dialect.protocol == "lmtp" { "LHLO" } else { "EHLO" };
        let expected = match (way, dialect.protocol) {
            (Way::Implicit, _) => String::new(),
            (_, "imap") => "1 STARTTLS\r\n".repeat(2),
            (_, "pop3") => "STLS\r\n".repeat(2),
            (_, "managesieve") => "STARTTLS\r\n".repeat(2),
            _ => format!("{hello} mail.example.org\r\nSTARTTLS\r\n").repeat(2),
        };
        assert_eq!(before, expected, "{id}");
    }
}

/// A backend that shows `issued` and is refused; what the log says of it.
fn refused(
    way: Way,
    protocol: &'static str,
    builder: GatewayBuilder,
    issued: &Issued,
    lines: &str,
) -> (String, String) {
    let backend = Secured::start(protocol, way, showing(issued));
    let gateway = in_front_of(builder, protocol, backend.fake.address(), &format!("{}\n{lines}", way.mode()));
    let dialect = dialect(protocol);
    let mut talk = client(&gateway);
    talk.send(dialect.injection);
    assert!(talk.until(dialect.down).starts_with(dialect.down));
    talk.closes();
    let session = gateway.session("in", "backend-down");
    assert_eq!(session["bytes_in"], 0);
    assert_eq!(backend.inside(), 0, "a handshake came to its end");
    assert!(!backend.before().contains("injected"), "{}", backend.before());
    assert_eq!(backend.fake.connections(), 1);
    let (reason, advice) = fault(&gateway);
    let down =
        gateway.log_line("the backend to be down", |line| line["message"] == "no address of the backend answers");
    assert!(down["reasons"].as_str().is_some_and(|reasons| reasons.contains(&reason)), "{down}");
    (reason, advice)
}

/// A certificate without an authority.
fn self_signed(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Issued {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new([BACKEND.to_owned()]).expect("a name");
    change(&mut params);
    let certificate = params.self_signed(&key).expect("a certificate");
    Issued { chain: certificate.pem(), key: key.serialize_pem() }
}

fn expire(params: &mut rcgen::CertificateParams) {
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
}

#[test]
fn a_self_signed_certificate_is_refused() {
    for (way, protocol) in [(Way::Implicit, "smtp"), (Way::StartTls, "imap")] {
        for is_authority in [false, true] {
            let issued = self_signed(|params| {
                if is_authority {
                    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                }
            });
            let builder = Gateway::builder();
            authority(&builder);
            let (reason, advice) = refused(way, protocol, builder, &issued, ACCEPTABLE);
            assert_eq!(reason, "its certificate is self-signed");
            assert!(advice.contains(&format!("tls.pin = \"{}\"", digest(&issued))), "{advice}");
        }
    }
}

#[test]
fn an_expired_certificate_is_refused() {
    for (way, protocol) in [(Way::Implicit, "pop3"), (Way::StartTls, "submission")] {
        let builder = Gateway::builder();
        let issued = authority(&builder).issue_with(&[BACKEND], Kind::Ecdsa, expire);
        let (reason, advice) = refused(way, protocol, builder, &issued, ACCEPTABLE);
        assert_eq!(reason, "its certificate has expired");
        assert!(advice.contains("renew it"), "{advice}");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    for (way, protocol) in [(Way::Implicit, "imap"), (Way::StartTls, "lmtp")] {
        let builder = Gateway::builder();
        let issued = authority(&builder).issue(&["other.internal", "third.internal"], Kind::Ecdsa);
        let (reason, advice) = refused(way, protocol, builder, &issued, ACCEPTABLE);
        assert_eq!(reason, "its certificate is not for backend.internal, but for other.internal, third.internal");
        assert!(advice.contains("tls.name"), "{advice}");
    }
    // The name is that of the address where there is no other.
    let builder = Gateway::builder();
    let issued = authority(&builder).issue(&[BACKEND], Kind::Ecdsa);
    let (reason, _) = refused(Way::Implicit, "smtp", builder, &issued, "tls.ca = \"backend-ca.pem\"");
    assert_eq!(reason, "its certificate is not for 127.0.0.1, but for backend.internal");
}

#[test]
fn a_certificate_with_another_key_than_the_pinned_one_is_refused() {
    for (way, protocol) in [(Way::Implicit, "managesieve"), (Way::StartTls, "pop3")] {
        let builder = Gateway::builder();
        let authority = authority(&builder);
        let (issued, other) = (authority.issue(&[BACKEND], Kind::Ecdsa), authority.issue(&[BACKEND], Kind::Ecdsa));
        let pin = format!("tls.pin = \"{}\"\ntls.name = \"{BACKEND}\"", digest(&other));
        let (reason, advice) = refused(way, protocol, builder, &issued, &pin);
        assert_eq!(reason, format!("it does not have the pinned key, but {}", digest(&issued)));
        assert!(advice.contains("tls.pin"), "{advice}");
    }
}

#[test]
fn a_certificate_of_an_authority_that_is_not_known_is_refused() {
    let issued = Authority::new().issue(&[BACKEND], Kind::Ecdsa);
    for lines in [ACCEPTABLE, "tls.name = \"backend.internal\""] {
        let builder = Gateway::builder();
        authority(&builder);
        let (reason, advice) = refused(Way::StartTls, "smtp", builder, &issued, lines);
        assert_eq!(reason, "its certificate comes from an authority that is not known");
        assert!(advice.contains("tls.ca"), "{advice}");
    }
}

/// A session in which a backend answers.
fn answered(gateway: &Gateway, dialect: &Dialect) {
    let mut talk = client(gateway);
    talk.until(dialect.welcome);
    dialect.ask(&mut talk, dialect.hello);
    dialect.ask(&mut talk, dialect.noop);
}

#[test]
fn the_right_certificate_is_accepted_however_it_is_known() {
    let expired = self_signed(expire);
    let smtp = dialect("smtp");
    for way in Way::ALL {
        // A pin stands for chain, name and dates; any one of several will do.
        let pins = format!("tls.pin = [\"{}\", \"{}\"]", "00".repeat(32), digest(&expired).to_uppercase());
        let backend = Secured::start("smtp", way, showing(&expired));
        let lines = format!("{}\n{pins}", way.mode());
        answered(&in_front_of(Gateway::builder(), "smtp", backend.fake.address(), &lines), smtp);

        // One that nobody has signed and that is named as a root, for an address.
        let issued = self_signed(|params| {
            params.subject_alt_names = vec![rcgen::SanType::IpAddress("127.0.0.1".parse().expect("an address"))];
        });
        let backend = Secured::start("smtp", way, showing(&issued));
        let builder = Gateway::builder();
        builder.scratch().write("own.pem", &issued.chain);
        let lines = format!("{}\ntls.ca = \"own.pem\"", way.mode());
        answered(&in_front_of(builder, "smtp", backend.fake.address(), &lines), smtp);

        // By an authority between, under a root of server.ca, for the name in the address.
        let builder = Gateway::builder();
        let root = authority(&builder);
        let between = root.intermediate();
        let mut issued = between.issue(&["localhost"], Kind::Rsa);
        issued.chain += between.pem();
        let backend = Secured::start("smtp", way, showing(&issued));
        let gateway = builder
            .server("ca = [\"backend-ca.pem\"]")
            .implicit("in", "smtp", format!("localhost:{}", backend.fake.address().port()))
            .backend("in", way.mode())
            .start();
        answered(&gateway, smtp);
    }
}

#[test]
fn tls_ca_stands_in_place_of_the_other_roots() {
    let builder = Gateway::builder();
    let issued = authority(&builder).issue(&[BACKEND], Kind::Ecdsa);
    builder.scratch().write("third.pem", Authority::new().pem());
    let builder = builder.server("ca = [\"backend-ca.pem\"]");
    let lines = "tls.ca = \"third.pem\"\ntls.name = \"backend.internal\"";
    let (reason, _) = refused(Way::Implicit, "imap", builder, &issued, lines);
    assert_eq!(reason, "its certificate comes from an authority that is not known");
}

/// A backend that says these things before TLS, each after a line (the first at once), and all that it heard.
fn scripted(words: Vec<String>) -> (Fake, Arc<std::sync::Mutex<String>>) {
    let heard: Arc<std::sync::Mutex<String>> = Arc::default();
    let noted = heard.clone();
    let fake = Fake::start(move |mut talk, _| {
        for (number, words) in words.iter().enumerate() {
            if number > 0 {
                let line = talk.heard();
                noted.lock().expect("no poison").push_str(&line);
            }
            let _ = talk.try_send(words);
        }
        let rest = talk.rest();
        noted.lock().expect("no poison").push_str(&String::from_utf8_lossy(&rest));
    });
    (fake, heard)
}

/// What a client of a backend with this script is told, in a session with this outcome; what the backend heard must be
/// `heard`, but for a handshake.
fn told(dialect: &Dialect, words: &[&str], outcome: &str) -> (Gateway, Value) {
    let (fake, heard) = scripted(words.iter().map(ToString::to_string).collect());
    let gateway = in_front_of(Gateway::builder(), dialect.protocol, fake.address(), "tls.mode = \"starttls\"");
    let mut talk = client(&gateway);
    talk.send(dialect.injection);
    talk.until(dialect.down);
    talk.closes();
    let session = gateway.session("in", outcome);
    let heard = heard.lock().expect("no poison").clone();
    assert!(!heard.contains("injected"), "{heard:?}");
    (gateway, session)
}

#[test]
fn a_backend_that_does_not_offer_tls_is_down() {
    for dialect in &DIALECTS {
        let greeting = greeting_before(dialect.protocol);
        let (words, expected): (&[&str], _) = match dialect.protocol {
            "imap" => (&[greeting, "1 BAD what\r\n"], "it refuses STARTTLS: 1 BAD what"),
            "pop3" => (&[greeting, "-ERR what\r\n"], "it refuses STARTTLS: -ERR what"),
            "managesieve" => (&[greeting, "NO \"what\"\r\n"], "it refuses STARTTLS: NO \"what\""),
            "lmtp" => (&[greeting, "250-x\r\n250 STARTTLS\r\n", "454 not now\r\n"], "it refuses STARTTLS: 454 not now"),
            _ => (&[greeting, "250-x\r\n250 PIPELINING\r\n"], "it does not offer STARTTLS"),
        };
        let (gateway, _) = told(dialect, words, "backend-down");
        let (reason, advice) = fault(&gateway);
        assert_eq!(reason, expected);
        assert!(advice.contains("turn TLS on there"), "{advice}");
    }
}

#[test]
fn what_a_backend_says_in_clear_is_passed_on_to_nobody() {
    let (gateway, _) = told(dialect("smtp"), &["554 BEFORE: go away\r\n"], "backend-down");
    assert_eq!(fault(&gateway).0, "it refuses the connection before TLS: 554 BEFORE: go away");
    let (gateway, _) = told(dialect("imap"), &["* PREAUTH BEFORE\r\n"], "backend-down");
    assert_eq!(fault(&gateway).0, "it refuses the connection before TLS: * PREAUTH BEFORE");
}

#[test]
fn replies_put_in_before_the_handshake_end_the_session() {
    for dialect in &DIALECTS {
        let (greeting, yes) = (greeting_before(dialect.protocol), yes(dialect.protocol));
        let list: &[&str] = if dialect.carries_mail() { &["250-x\r\n250 STARTTLS\r\n"] } else { &[] };
        let before = [&[greeting], list].concat();
        for more in [yes, "250-mx\r\n250 AUTH PLAIN\r\n", "* CAPABILITY AUTH=PLAIN\r\n", "x"] {
            // In the same read, behind any of its replies.
            for at in 0..=before.len() {
                let mut words: Vec<_> = before.iter().copied().chain([yes]).take(at + 1).collect();
                let injected = format!("{}{more}", words[at]);
                words[at] = &injected;
                let (gateway, session) = told(dialect, &words, "backend-lost");
                assert_eq!(session["reason"], "backend-spoke-unasked", "{words:?}");
                let line = gateway.log_line("a complaint", |line| {
                    line["message"] == "the backend cannot be used as it is" && line["level"] == "WARN"
                });
                assert!(line["advice"].as_str().is_some_and(|advice| advice.contains("before TLS")), "{line}");
            }
        }
        // As a reply of its own, when the handshake has begun.
        let words: Vec<_> = before.iter().copied().chain([yes, "250 injected\r\n"]).collect();
        let (fake, _) = scripted(words.iter().map(ToString::to_string).collect());
        let gateway = in_front_of(Gateway::builder(), dialect.protocol, fake.address(), "tls.mode = \"starttls\"");
        let mut talk = client(&gateway);
        assert!(!talk.until(dialect.down).contains("injected"));
        talk.closes();
        gateway.session("in", "backend-down");
        assert_eq!(fault(&gateway).0, "it answers with something that is no TLS");
    }
}

#[test]
fn a_reply_in_clear_to_a_handshake_is_no_tls_and_a_silent_one_is_waited_for_no_longer_than_a_greeting() {
    let smtp = dialect("smtp");
    let plain = Fake::start(|talk, _| plain::serve("smtp", talk));
    let gateway = in_front_of(Gateway::builder(), "smtp", plain.address(), "tls.mode = \"implicit\"");
    client(&gateway).until(smtp.down);
    assert_eq!(fault(&gateway).0, "it answers with something that is no TLS");

    let silent = Fake::start(|mut talk, _| drop(talk.rest()));
    let lines = "tls.mode = \"implicit\"\ntimeout.greeting = \"1s\"";
    let gateway = in_front_of(Gateway::builder(), "smtp", silent.address(), lines);
    client(&gateway).until(smtp.down);
    let down =
        gateway.log_line("the backend to be down", |line| line["message"] == "no address of the backend answers");
    assert!(down["reasons"].as_str().is_some_and(|reasons| reasons.contains("no greeting within 1s")), "{down}");
}

#[test]
fn another_address_stands_in_for_one_that_cannot_be_trusted_and_the_operator_is_told_once() {
    let builder = Gateway::builder();
    let authority = authority(&builder);
    let bad = Secured::start("imap", Way::StartTls, showing(&self_signed(|_| {})));
    let good = Secured::start("imap", Way::StartTls, showing(&authority.issue(&[BACKEND], Kind::Ecdsa)));
    let gateway = builder
        .implicit("in", "imap", bad.fake.address())
        .backend("in", &format!("tls.mode = \"starttls\"\n{ACCEPTABLE}"))
        .backend("in", &format!("address = [\"{}\", \"{}\"]", bad.fake.address(), good.fake.address()))
        .start();
    for _ in 0..3 {
        answered(&gateway, dialect("imap"));
    }
    assert_eq!(good.inside(), 3);
    assert_eq!(fault(&gateway).0, "its certificate is self-signed");
    let told = gateway.count(|line| line["message"] == LEFT_OUT);
    assert_eq!(told, 1);
}

#[test]
fn extensions_are_asked_for_in_tls_alone() {
    let builder = Gateway::builder();
    let authority = authority(&builder);
    for way in Way::ALL {
        let good = Secured::start("smtp", way, showing(&authority.issue(&[BACKEND], Kind::Ecdsa)));
        let bad = Secured::start("smtp", way, showing(&self_signed(|_| {})));
        for (backend, inside) in [(&good, 1), (&bad, 0)] {
            let builder = Gateway::builder();
            builder.scratch().write("backend-ca.pem", authority.pem());
            let lines = format!("{}\n{ACCEPTABLE}", way.mode());
            let gateway = builder.listener("in", "smtp", backend.fake.address()).backend("in", &lines).start();
            let mut talk = Talk::to(gateway.address("in"));
            talk.reply("220");
            let list = talk.send("EHLO client.example.net\r\n").reply("250");
            assert_eq!(list.contains("8BITMIME"), inside == 1, "{way:?}: {list}");
            assert_eq!(backend.inside(), inside);
            assert!(!backend.before().contains("QUIT"), "{}", backend.before());
        }
    }
}

#[test]
fn mailward_shows_its_own_certificate_where_it_has_one() {
    for way in Way::ALL {
        for has_one in [true, false] {
            let builder = Gateway::builder();
            let authority = authority(&builder);
            let config = demanding(&authority.issue(&[BACKEND], Kind::Ecdsa), &authority);
            authority.issue(&["mailward.internal"], Kind::Ecdsa).write(builder.scratch(), "own");
            let own = "tls.cert = \"%{file:own.crt}%\"\ntls.private-key = \"%{file:own.key}%\"";
            let lines = format!("{}\n{ACCEPTABLE}\n{}", way.mode(), if has_one { own } else { "" });
            let backend = Secured::start("managesieve", way, config);
            let gateway = in_front_of(builder, "managesieve", backend.fake.address(), &lines);
            let sieve = dialect("managesieve");
            if has_one {
                answered(&gateway, sieve);
            } else {
                client(&gateway).until(sieve.down);
                let line =
                    gateway.log_line("the reason", |line| line["message"] == "no address of the backend answers");
                let reasons = line["reasons"].as_str().unwrap_or_default();
                assert!(reasons.contains("it wants a certificate of mailward's"), "{reasons}");
                assert!(reasons.contains("tls.cert"), "{reasons}");
            }
        }
    }
}

#[test]
fn sessions_of_a_backend_are_resumed_and_a_reload_begins_anew() {
    let builder = Gateway::builder();
    let issued = authority(&builder).issue(&[BACKEND], Kind::Ecdsa);
    let backend = Secured::start("imap", Way::Implicit, showing(&issued));
    let lines = format!("{}\n{ACCEPTABLE}", Way::Implicit.mode());
    let gateway = in_front_of(builder, "imap", backend.fake.address(), &lines);
    let imap = dialect("imap");
    for _ in 0..4 {
        answered(&gateway, imap);
    }
    assert_eq!((backend.inside(), backend.resumed()), (4, 3));
    // Trust that was taken away is not found again in a ticket.
    gateway.scratch.write("backend-ca.pem", Authority::new().pem());
    assert!(gateway.reload());
    client(&gateway).until(imap.down);
    assert_eq!(fault(&gateway).0, "its certificate comes from an authority that is not known");
    assert_eq!(backend.inside(), 4);
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_start_and_at_a_reload() {
    let builder = Gateway::builder();
    let authority = authority(&builder);
    let backend = Secured::start("imap", Way::Implicit, showing(&authority.issue(&[BACKEND], Kind::Ecdsa)));
    let lines = format!("{}\n{ACCEPTABLE}", Way::Implicit.mode());
    let gateway = in_front_of(builder, "imap", backend.fake.address(), &lines);
    gateway.scratch.write("backend-ca.pem", "nothing");
    assert!(!gateway.reload());
    answered(&gateway, dialect("imap"));
    gateway.scratch.write("backend-ca.pem", authority.pem());
    authority.issue(&["mailward.internal"], Kind::Ecdsa).write(&gateway.scratch, "own");
    authority.issue(&["mailward.internal"], Kind::Ecdsa).write(&gateway.scratch, "other");
    let own = "tls.cert = \"%{file:own.crt}%\"\ntls.private-key = \"%{file:other.key}%\"\n";
    gateway.edit("tls.ca =", &format!("{own}tls.ca ="));
    assert!(!gateway.reload());
    let checked = gateway.command(&["check"]).fails().all();
    assert!(checked.contains("backend.in.tls") && checked.contains("does not fit"), "{checked}");
}

#[test]
fn a_cut_in_the_backends_tls_is_told_from_an_end() {
    let builder = Gateway::builder();
    let config = showing(&authority(&builder).issue(&[BACKEND], Kind::Ecdsa));
    let ends: Arc<AtomicUsize> = Arc::default();
    let counted = ends.clone();
    let backend = Secured::serving("imap", Way::Implicit, config, move |mut talk| {
        talk.send("* OK ready\r\n");
        talk.line();
        talk.send("l OK in\r\n* some\r\n");
        talk.line();
        match counted.fetch_add(1, Relaxed) {
            0 => talk.cut(),
            _ => {
                talk.end_sending();
                talk.rest();
            }
        }
    });
    let lines = format!("{}\n{ACCEPTABLE}", Way::Implicit.mode());
    let gateway = in_front_of(builder, "imap", backend.fake.address(), &lines);
    for (number, reason) in ["backend-ended-without-close-notify", ""].iter().enumerate() {
        let mut talk = client(&gateway);
        talk.until("* OK");
        talk.send("l LOGIN ann anything\r\n").until("* some");
        talk.send("n NOOP\r\n");
        talk.closes_in_order();
        let session = gateway.nth_session("in", number);
        assert_eq!((session["outcome"].as_str(), session["reason"].as_str()), (Some("ok"), Some(*reason)));
    }
}

#[test]
fn a_message_that_the_backends_tls_was_cut_in_is_nobodys_success() {
    let builder = Gateway::builder();
    let config = showing(&authority(&builder).issue(&[BACKEND], Kind::Ecdsa));
    let backend = Secured::serving("smtp", Way::Implicit, config, |mut talk| {
        talk.send("220 ready\r\n");
        for reply in ["250 x\r\n", "250 x\r\n", "250 x\r\n", "354 go on\r\n"] {
            talk.line();
            talk.send(reply);
        }
        talk.line();
        talk.cut();
    });
    let lines = format!("{}\n{ACCEPTABLE}", Way::Implicit.mode());
    let gateway = in_front_of(builder, "smtp", backend.fake.address(), &lines);
    let mut talk = client(&gateway);
    talk.reply("220");
    for command in ["EHLO client.example.net", "MAIL FROM:<a@example.net>", "RCPT TO:<alice@example.org>"] {
        talk.ask(command, "250");
    }
    talk.ask("DATA", "354");
    talk.send("Subject: x\r\n\r\nbody\r\n.\r\n");
    talk.expect("451 4.4.2");
}

#[test]
fn a_client_that_is_cut_off_in_a_message_is_no_end_to_the_backend() {
    let builder = Gateway::builder();
    let config = showing(&authority(&builder).issue(&[BACKEND], Kind::Ecdsa));
    let (sender, orderly) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let backend = Secured::serving("smtp", Way::Implicit, config, move |mut talk| {
        talk.send("220 ready\r\n");
        for reply in ["250 x\r\n", "250 x\r\n", "250 x\r\n", "354 go on\r\n"] {
            talk.line();
            talk.send(reply);
        }
        let _ = sender.lock().expect("no poison").send(talk.closes_with_notify());
    });
    let lines = format!("{}\n{ACCEPTABLE}", Way::Implicit.mode());
    let gateway = in_front_of(builder, "smtp", backend.fake.address(), &lines);
    let mut talk = client(&gateway);
    talk.reply("220");
    for command in ["EHLO client.example.net", "MAIL FROM:<a@example.net>", "RCPT TO:<alice@example.org>"] {
        talk.ask(command, "250");
    }
    talk.ask("DATA", "354");
    talk.send("Subject: x\r\n\r\nhalf a bo");
    talk.cut();
    assert!(!orderly.recv_timeout(std::time::Duration::from_secs(30)).expect("the backend is told"));
}

/// A Dovecot and a Postfix with a certificate for [`BACKEND`], that take passwords in TLS alone.
fn real(authority: &Authority, scratch: &support::Scratch) -> (Dovecot, Postfix) {
    authority.issue(&[BACKEND], Kind::Ecdsa).write(scratch, "server");
    let (cert, key) = (scratch.join("server.crt"), scratch.join("server.key"));
    let (cert, key) = (cert.display(), key.display());
    let dovecot = Dovecot::builder()
        .refuse_plaintext()
        .further(&format!("ssl = required\nssl_cert = <{cert}\nssl_key = <{key}\n"))
        .start();
    let postfix = Postfix::builder()
        .deliver_to(&dovecot)
        .further(&format!(
            "smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = yes\nsmtpd_tls_cert_file = {cert}\n\
             smtpd_tls_key_file = {key}\nsmtpd_tls_loglevel = 1\n"
        ))
        .start();
    (dovecot, postfix)
}

#[test]
fn dovecot_and_postfix_that_insist_on_tls_get_it() {
    let builder = Gateway::builder();
    let authority = authority(&builder);
    let (dovecot, postfix) = real(&authority, builder.scratch());
    let lines = format!("tls.mode = \"starttls\"\n{ACCEPTABLE}");
    let gateway = [
        ("smtp", postfix.smtp()),
        ("submission", postfix.submission()),
        ("imap", dovecot.imap()),
        ("pop3", dovecot.pop3()),
        ("managesieve", dovecot.sieve()),
    ]
    .into_iter()
    .fold(builder, |builder, (protocol, address)| {
        builder.listener(protocol, protocol, address).backend(protocol, &lines)
    })
    .start();

    let token = format!("{:?}-token", std::time::Instant::now()).replace(' ', "");
    let (mut talk, list) = gateway.smtp("smtp", support::Security::StartTls);
    assert!(!list.contains("STARTTLS"), "{list}");
    talk.ask("MAIL FROM:<stranger@example.net>", "250");
    talk.ask("RCPT TO:<alice@example.org>", "250");
    talk.ask("DATA", "354");
    talk.send(format!("Subject: x\r\n\r\n{token}\r\n.\r\n")).reply("250");
    talk.ask("QUIT", "221");
    assert!(String::from_utf8_lossy(&dovecot.delivery("alice")).contains(&token));

    let (mut talk, list) = gateway.smtp("submission", support::Security::StartTls);
    assert!(list.contains("AUTH PLAIN"), "{list}");
    talk.ask(&format!("AUTH PLAIN {}", support_plain("alice")), "235");
    talk.ask("QUIT", "221");

    let mut talk = dialect("imap").upgrade(&gateway, "imap");
    let list = talk.send("c CAPABILITY\r\n").until("c OK");
    assert!(list.contains("AUTH=PLAIN") && !list.contains("STARTTLS") && !list.contains("LOGINDISABLED"), "{list}");
    talk.send(format!("l LOGIN alice \"{PASSWORD}\"\r\n")).until("l OK");
    talk.send("s SELECT INBOX\r\n").until("s OK");
    assert!(talk.send("f FETCH 1 BODY[]\r\n").until("f OK").contains(&token));
    talk.send("o LOGOUT\r\n").until("o OK");
    talk.closes_in_order();
    assert_eq!(gateway.nth_session("imap", 0)["reason"], "");

    let mut talk = dialect("pop3").upgrade(&gateway, "pop3");
    talk.ask("USER alice", "+OK");
    talk.ask(&format!("PASS {PASSWORD}"), "+OK");
    talk.ask("QUIT", "+OK");

    let mut talk = dialect("managesieve").starttls(&gateway, "managesieve");
    let list = talk.until("OK");
    assert!(list.contains("\"SASL\" \"PLAIN"), "{list}");
    talk.ask(&format!("AUTHENTICATE \"PLAIN\" \"{}\"", support_plain("alice")), "OK");

    // Another of their processes writes the logs.
    let says = |log: &dyn Fn() -> String, words: &str, count: usize| {
        assert!(eventually(|| (log().matches(words).count() >= count).then_some(())).is_some(), "{}", log());
    };
    says(&|| postfix.log(), "Anonymous TLS connection established", 2);
    says(&|| dovecot.log(), ", TLS,", 3);
    assert!(!dovecot.log().contains("plaintext"), "{}", dovecot.log());
}

fn support_plain(user: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{PASSWORD}"))
}

#[test]
fn requiretls_is_offered_where_both_legs_are_tls() {
    let builder = Gateway::builder();
    let config: Arc<ServerConfig> = showing(&authority(&builder).issue(&[BACKEND], Kind::Ecdsa));
    let serve = |mut talk: Talk| {
        talk.send("220 ready\r\n");
        while !talk.heard().is_empty() {
            let _ = talk.try_send("250-x\r\n250-REQUIRETLS\r\n250 SIZE\r\n");
        }
    };
    let secured = Secured::serving("smtp", Way::Implicit, config, serve);
    let clear = Fake::start(move |talk, _| serve(talk));
    let gateway = builder
        .implicit("in", "smtp", secured.fake.address())
        .backend("in", &format!("{}\n{ACCEPTABLE}", Way::Implicit.mode()))
        .implicit("clear", "smtp", clear.address())
        .listener("plain", "smtp", secured.fake.address())
        .backend("plain", &format!("{}\n{ACCEPTABLE}", Way::Implicit.mode()))
        .start();
    let listed = |talk: &mut Talk| {
        talk.reply("220");
        talk.send("EHLO client.example.net\r\n").reply("250").contains("REQUIRETLS")
    };
    assert!(listed(&mut client(&gateway)));
    assert!(!listed(&mut Talk::to(gateway.address("clear")).tls(gateway.authority.roots())));
    assert!(!listed(&mut Talk::to(gateway.address("plain"))));
}

#[test]
fn a_long_transfer_crosses_both_legs_byte_for_byte() {
    let builder = Gateway::builder();
    let config = showing(&authority(&builder).issue(&[BACKEND], Kind::Ecdsa));
    let backend = Secured::start("imap", Way::StartTls, config);
    let lines = format!("{}\n{ACCEPTABLE}", Way::StartTls.mode());
    let gateway = in_front_of(builder, "imap", backend.fake.address(), &lines);
    let mut talk = client(&gateway);
    talk.until("* OK");
    talk.send("l LOGIN ann anything\r\n").until("l OK");
    let count = 3_000_000;
    talk.send(format!("f FETCH {count}\r\n"));
    talk.expect("* 1 FETCH");
    assert!(talk.bytes(count).iter().all(|byte| *byte == b'x'));
    talk.until("f OK");
    talk.send("o LOGOUT\r\n").until("o OK");
    assert!(eventually(|| (gateway.count(|line| line["message"] == "session") == 1).then_some(())).is_some());
}
