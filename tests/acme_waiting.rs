//! Listeners whose certificate is still to be issued, by an authority that cannot be reached: what clients are told, who gets
//! through, and that a certificate that turns up in the cache is served from the next handshake on.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::ClientConfig;
use support::{
    Authority, DIALECTS, Fake, Gateway, GatewayBuilder, Kind, NAME, Security, Talk, dialect, eventually, mailward,
    nobody, offering, plain,
};

const ACME_TLS: &[u8] = b"acme-tls/1";

/// A gateway with `[acme.main]`, whose authority cannot be reached.
fn waiting() -> GatewayBuilder {
    asking(Gateway::builder())
}

fn asking(builder: GatewayBuilder) -> GatewayBuilder {
    let ca = builder.scratch().join("ca.pem");
    builder.acme("main", &format!("https://{}/dir", nobody()), &ca)
}

/// Puts key and chain into the cache, as another process on it would.
fn put(gateway: &Gateway, text: &str, mode: u32) {
    let folder = gateway.scratch.join("acme/main");
    fs::create_dir_all(&folder).expect("the scratch directory is writable");
    let (beside, file) = (folder.join("beside"), folder.join("ecdsa-p256.pem"));
    fs::write(&beside, text).expect("the scratch directory is writable");
    fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).expect("own file");
    fs::rename(beside, file).expect("a rename");
}

/// A certificate with this common name, which stands for [`NAME`], in one text with its key.
fn issue(authority: &Authority, name: &str) -> String {
    let issued = authority.issue(&[name, NAME], Kind::Ecdsa);
    issued.key + &issued.chain
}

/// Puts a certificate into the cache and waits until it is in force.
#[track_caller]
fn issued(gateway: &Gateway, name: &str) {
    put(gateway, &issue(&gateway.authority, name), 0o600);
    gateway.log_line("the certificate to be read", |line| {
        line["message"] == "a certificate was read anew" && line["name"] == name
    });
}

/// A client that offers these application protocols.
fn client(gateway: &Gateway, offered: &[&[u8]]) -> ClientConfig {
    let mut config = offering(gateway.authority.roots(), |_| {});
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    config
}

/// Does a handshake with a listener where TLS is implicit.
fn shake(gateway: &Gateway, listener: &str, offered: &[&[u8]]) -> std::io::Result<Talk> {
    Talk::to(gateway.address(listener)).try_tls(Arc::new(client(gateway, offered)))
}

#[test]
fn until_there_is_a_certificate_clients_are_sent_away_by_every_protocol_and_no_backend_hears_of_them() {
    let backends: Vec<_> =
        DIALECTS.iter().map(|dialect| Fake::start(|talk, _| plain::serve(dialect.protocol, talk))).collect();
    let mut builder = waiting();
    for (dialect, backend) in DIALECTS.iter().zip(&backends) {
        let (protocol, implicit) = (dialect.protocol, format!("{}s", dialect.protocol));
        builder =
            builder.listener(protocol, protocol, backend.address()).implicit(&implicit, protocol, backend.address());
    }
    let gateway = builder.start();
    for dialect in &DIALECTS {
        let mut talk = Talk::to(gateway.address(dialect.protocol));
        talk.expect(dialect.down);
        talk.closes();
        let session = gateway.session(dialect.protocol, "tls-failed");
        assert_eq!(session["reason"], "no-certificate-yet", "{session}");
        let implicit = format!("{}s", dialect.protocol);
        assert!(shake(&gateway, &implicit, &[]).is_err(), "{implicit}");
        assert_eq!(gateway.session(&implicit, "tls-failed")["reason"], "no-certificate-yet");
    }
    assert_eq!(backends.iter().map(Fake::connections).sum::<usize>(), 0);

    issued(&gateway, NAME);
    for (dialect, backend) in DIALECTS.iter().zip(&backends) {
        dialect.upgrade(&gateway, dialect.protocol);
        dialect.enter(&gateway, &format!("{}s", dialect.protocol));
        // Where nothing is said behind STARTTLS nobody has waited for the backend.
        let dialled = eventually(|| (backend.connections() == 2).then_some(()));
        assert!(dialled.is_some(), "{}: {} connections", dialect.protocol, backend.connections());
    }
}

#[test]
fn nobody_goes_on_without_tls_while_it_is_not_possible_also_where_it_is_not_required() {
    let backend = Fake::start(|talk, _| plain::serve("imap", talk));
    let gateway = waiting()
        .implicit("imaps", "imap", backend.address())
        .listener("imap", "imap", backend.address())
        .with("imap", "tls.require = false\nplaintext-auth = true")
        .listener("mx", "smtp", backend.address())
        .with("mx", "tls.require = false")
        .listener("off", "imap", backend.address())
        .with("off", "tls.enable = false\ntls.require = false\nplaintext-auth = true")
        .start();
    let mut talk = Talk::to(gateway.address("imap"));
    talk.send("l LOGIN ann anything\r\n").expect(dialect("imap").down);
    talk.closes();
    let mut talk = Talk::to(gateway.address("mx"));
    talk.send("EHLO client.example.net\r\n").expect(dialect("smtp").down);
    talk.closes();
    assert_eq!(backend.connections(), 0);
    // A listener that TLS was not asked for waits for nothing.
    plain::greet("imap", &mut Talk::to(gateway.address("off")));
}

#[test]
fn an_authority_gets_through_to_implicit_tls_alone_and_for_no_name_that_it_was_not_asked_about() {
    let backend = Fake::start(|talk, _| plain::serve("imap", talk));
    let gateway = waiting()
        .listener("imap", "imap", backend.address())
        .implicit("imaps", "imap", backend.address())
        .http("web")
        .with("web", "tls.implicit = true")
        .start();
    for listener in ["imaps", "web"] {
        assert!(shake(&gateway, listener, &[ACME_TLS]).is_err(), "{listener}");
        assert_eq!(gateway.nth_session(listener, 0)["reason"], "no-certificate-yet");
    }
    issued(&gateway, NAME);
    for listener in ["imaps", "web"] {
        // Else the client, which takes this certificate, would have taken it.
        assert!(shake(&gateway, listener, &[ACME_TLS]).is_err(), "{listener}");
        assert_eq!(gateway.nth_session(listener, 1)["reason"], "no-fitting-certificate");
    }
    let mut talk = dialect("imap").connect(&gateway, "imap");
    dialect("imap").ask(&mut talk, dialect("imap").starttls);
    assert!(talk.try_tls(Arc::new(client(&gateway, &[ACME_TLS]))).is_err());
    assert_eq!(gateway.session("imap", "tls-failed")["reason"], "alpn-of-another-protocol");
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_session_that_agrees_on_an_authoritys_protocol_ends_with_the_handshake_resumed_or_not() {
    let backend = Fake::start(|talk, _| plain::serve("imap", talk));
    let gateway =
        waiting().implicit("imaps", "imap", backend.address()).http("web").with("web", "tls.implicit = true").start();
    issued(&gateway, NAME);
    // The same tickets, for another protocol.
    let client = client(&gateway, &[b"imap"]);
    let mut validating = client.clone();
    validating.alpn_protocols = vec![ACME_TLS.to_vec(), b"other".to_vec()];
    let mut talk = Talk::to(gateway.address("imaps")).tls_with(Arc::new(client));
    talk.send("a LOGOUT\r\n").until("a OK");
    talk.closes_in_order();
    assert_eq!(backend.connections(), 1);

    let validating = Arc::new(validating);
    for (listener, resumed) in [("imaps", true), ("web", false)] {
        let mut talk = Talk::to(gateway.address(listener)).tls_with(validating.clone());
        talk.closes_in_order();
        let session = gateway.log_line("the challenge", |line| {
            line["message"] == "session" && line["listener"] == listener && line["reason"] == "acme-challenge"
        });
        assert_eq!((&session["outcome"], &session["alpn"]), (&"ok".into(), &"acme-tls/1".into()), "{session}");
        assert_eq!((&session["resumed"], &session["backend"]), (&resumed.into(), &"".into()), "{session}");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn on_lmtp_which_has_no_protocol_names_the_offer_of_an_authority_is_passed_over() {
    let backend = Fake::start(|talk, _| plain::serve("lmtp", talk));
    let gateway =
        waiting().implicit("lmtps", "lmtp", backend.address()).implicit("imaps", "imap", backend.address()).start();
    issued(&gateway, NAME);
    let mut talk = shake(&gateway, "lmtps", &[ACME_TLS]).expect("a handshake");
    assert_eq!(talk.connection().alpn_protocol(), None);
    plain::greet("lmtp", &mut talk);
}

#[test]
fn http_is_answered_while_https_waits() {
    let gateway = waiting().http("web").http("secure").with("secure", "tls.implicit = true").start();
    Talk::to(gateway.address("web")).send("GET / HTTP/1.0\r\n\r\n").expect("HTTP/1.0 404");
    assert!(shake(&gateway, "secure", &[]).is_err());
    assert_eq!(gateway.session("secure", "tls-failed")["reason"], "no-certificate-yet");
    issued(&gateway, NAME);
    gateway.talk("secure", Security::Implicit).send("GET / HTTP/1.0\r\n\r\n").expect("HTTP/1.0 404");
}

/// Waits for a warning about the file in the cache that holds these parts.
fn reported(gateway: &Gateway, parts: &[&str]) {
    gateway.log_line(&format!("{parts:?} to be reported"), |line| {
        let text = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN"
            && text.contains("acme/main/ecdsa-p256.pem: ")
            && parts.iter().all(|part| text.contains(part))
    });
}

#[test]
fn a_broken_file_or_one_that_others_may_read_is_reported_and_never_served() {
    const UNUSED: &str = "it is not used, and a new one will be asked for";
    let builder = waiting().implicit("imaps", "imap", "embedded").seed_text("main", "half a k");
    builder.write();
    let (code, said) = mailward(&["check", "--config", &builder.scratch().join("proxy.toml").display().to_string()]);
    assert!(code == Some(0) && said.contains("warning: acme.main: ") && said.trim_end().ends_with(UNUSED), "{said}");

    let gateway = builder.start();
    reported(&gateway, &["no certificate found", UNUSED]);
    assert!(shake(&gateway, "imaps", &[]).is_err());
    put(&gateway, &issue(&gateway.authority, "open.example.org"), 0o644);
    reported(&gateway, &["others may read or change it (mode 644, and not 600)", UNUSED]);
    assert!(shake(&gateway, "imaps", &[]).is_err());
    let foreign =
        Authority::new().issue(&[NAME], Kind::Ecdsa).key + &gateway.authority.issue(&[NAME], Kind::Ecdsa).chain;
    put(&gateway, &foreign, 0o600);
    reported(&gateway, &["the private key does not fit the certificate", UNUSED]);
    assert!(shake(&gateway, "imaps", &[]).is_err());

    issued(&gateway, NAME);
    let shown = gateway.shows("imaps", &gateway.authority.roots());
    put(&gateway, "half a k", 0o600);
    reported(&gateway, &["no certificate found", "the one before it stays in force"]);
    assert_eq!(gateway.shown("imaps", &gateway.authority.roots()), Some(shown));
}

#[test]
fn a_self_signed_certificate_stands_in_until_there_is_one_that_clients_trust() {
    let dev = "[certificate.main]\nself-signed = [\"dev.example.org\"]\n";
    let builder = Gateway::builder().certificates(dev).listener("imap", "imap", "embedded");
    let gateway = asking(builder).implicit("imaps", "imap", "embedded").start();
    let roots = gateway.authority.roots();
    let upgrade = || {
        let mut talk = dialect("imap").connect(&gateway, "imap");
        dialect("imap").ask(&mut talk, dialect("imap").starttls);
        talk.try_tls(Arc::new(offering(roots.clone(), |_| {})))
    };
    // It is shown, and this client does not trust it.
    assert!(upgrade().is_err());
    assert_eq!(gateway.session("imap", "tls-failed")["reason"], "certificate-refused-by-client");
    issued(&gateway, NAME);
    assert!(upgrade().is_ok());
}

#[test]
fn a_check_has_nothing_to_say_of_a_certificate_that_is_still_to_be_issued() {
    let builder = waiting().implicit("imaps", "imap", "embedded");
    builder.write();
    let file = builder.scratch().join("proxy.toml").display().to_string();
    assert_eq!(mailward(&["check", "--config", &file]), (Some(0), String::new()));
    assert!(!builder.scratch().join("acme").exists(), "check has written");
}
