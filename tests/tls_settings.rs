//! Every TLS setting of the documents, and every version, suite and group that they list, seen by a client over a socket. The order
//! is that of the documents: switches, versions, lists, order, then each name, then the example and the overrides.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::NamedGroup;
use support::{
    Fake, Gateway, GatewayBuilder, Kind, NAME, SClient, Talk, Target, client_hello, offering, old_client_hello,
};

/// The suites by the documents' name and by OpenSSL's; those of TLS 1.3 first.
const SUITES: [(&str, &str); 9] = [
    ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ("TLS13_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    ("TLS13_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// A gateway with an ECDSA and an RSA certificate for the same name.
fn with_both_kinds() -> GatewayBuilder {
    let certificates = ["mail", "rsa"].map(|file| {
        format!(
            "[certificate.{file}]\ncert = \"%{{file:{file}.crt}}%\"\nprivate-key = \"%{{file:{file}.key}}%\"\ndefault = true\n"
        )
    });
    Gateway::builder().issue("rsa", &[NAME], Kind::Rsa).certificates(&certificates.concat())
}

/// An s_client that offers this suite alone, by the documents' name.
fn offering_only(target: &Target, protocol: &str, suite: &str) -> SClient {
    let (_, name) = SUITES.iter().find(|(ours, _)| *ours == suite).expect("one of the nine");
    let client = SClient::at(target, protocol);
    if suite.starts_with("TLS13_") {
        client.version("-tls1_3").suites(name)
    } else {
        client.version("-tls1_2").ciphers(name)
    }
}

/// Greeting and EHLO in the clear.
fn greeted(address: SocketAddr) -> (Talk, String) {
    let mut talk = Talk::to(address);
    talk.reply("220");
    let list = talk.send("EHLO client.example.net\r\n").reply("250");
    (talk, list)
}

#[test]
fn with_enable_true_starttls_is_listed_and_works() {
    let gateway = Gateway::builder()
        .server("[server.tls]\nenable = true")
        .listener("smtp", "smtp", "embedded")
        .listener("imap", "imap", "embedded")
        .start();
    let (mut smtp, list) = greeted(gateway.address("smtp"));
    assert!(list.contains("STARTTLS\r\n"), "{list}");
    smtp.ask("STARTTLS", "220");
    smtp.tls(gateway.authority.roots()).send("EHLO client.example.net\r\n").reply("250");
    let mut imap = Talk::to(gateway.address("imap"));
    assert!(imap.expect("* OK").contains(" STARTTLS"));
    assert!(imap.ask("a CAPABILITY", "* CAPABILITY").contains(" STARTTLS"));
    imap.expect("a OK");
    imap.ask("b STARTTLS", "b OK");
    imap.tls(gateway.authority.roots()).send("c LOGIN alice secret\r\n").until("c OK");
}

#[test]
fn with_enable_false_starttls_is_neither_listed_nor_taken_and_the_session_goes_on() {
    let gateway = Gateway::builder()
        .server("[server.tls]\nenable = false\nrequire = false")
        .listener("smtp", "smtp", "embedded")
        .listener("other", "smtp", "embedded")
        .with("other", "tls.enable = true")
        .start();
    let (mut talk, list) = greeted(gateway.address("smtp"));
    assert!(!list.contains("STARTTLS"), "{list}");
    let refused = talk.send("STARTTLS\r\n").reply("5");
    assert!(refused.starts_with("50"), "{refused}");
    talk.send("MAIL FROM:<a@example.net>\r\n").reply("250");
    talk.ask("QUIT", "221");
    // The setting of [server.tls] is a default: a listener's own stands above it.
    assert!(greeted(gateway.address("other")).1.contains("STARTTLS"));
}

#[test]
fn with_implicit_false_smtp_begins_in_the_clear_and_nothing_sent_behind_starttls_reaches_the_backend() {
    let backend = Fake::start(|mut talk, _| {
        let _ = talk.try_send("220 backend ESMTP\r\n");
        while !talk.line().is_empty() {
            let _ = talk.try_send("250-backend\r\n250-STARTTLS\r\n250 SIZE 1000\r\n");
        }
    });
    let gateway = Gateway::builder()
        .server("[server.tls]\nimplicit = false")
        .listener("smtp", "smtp", backend.address())
        .with("smtp", "tls.require = true")
        .start();
    let (mut honest, list) = greeted(gateway.address("smtp"));
    assert!(list.contains("STARTTLS"), "{list}");
    honest.ask("STARTTLS", "220");
    let mut honest = honest.tls(gateway.authority.roots());
    let list = honest.send("EHLO client.example.net\r\n").reply("250");
    assert!(!list.contains("STARTTLS") && list.contains("SIZE"), "{list}");
    let dialled = backend.connections();

    let (mut attacker, _) = greeted(gateway.address("smtp"));
    attacker.send("STARTTLS\r\nRSET\r\nMAIL FROM:<evil@example.net>\r\n");
    attacker.expect("503 5.5.1");
    attacker.closes();
    assert_eq!(gateway.session("smtp", "violation")["tls"], "");
    assert_eq!(backend.connections(), dialled, "the backend was dialled for an attacker");
}

#[test]
fn with_implicit_false_a_partial_imap_command_from_before_tls_is_gone_inside_it() {
    let backend = Fake::start(|mut talk, _| {
        let _ = talk.try_send("* OK backend\r\n");
        let first = talk.line();
        let _ = talk.try_send(format!("* heard {first}"));
        let _ = talk.try_send("a OK done\r\n");
        talk.rest();
    });
    let gateway = Gateway::builder().listener("imap", "imap", backend.address()).start();
    let mut attacker = Talk::to(gateway.address("imap"));
    attacker.expect("* OK");
    attacker.send("a STARTTLS\r\nb LOG");
    attacker.expect("a BAD");
    attacker.expect("* BYE");
    attacker.closes();
    // In a segment of its own, the partial command is a broken ClientHello.
    let mut attacker = Talk::to(gateway.address("imap"));
    attacker.expect("* OK");
    attacker.ask("a STARTTLS", "a OK");
    attacker.send("b LOG");
    attacker.send(client_hello(NAME));
    assert!(!String::from_utf8_lossy(&attacker.rest()).contains("OK"));
    assert_eq!(gateway.session("imap", "tls-failed")["reason"], "not-tls");
    assert_eq!(backend.connections(), 0);

    let mut honest = Talk::to(gateway.address("imap"));
    honest.expect("* OK");
    honest.ask("a STARTTLS", "a OK");
    let mut honest = honest.tls(gateway.authority.roots());
    assert_eq!(honest.ask("a NOOP", "* heard"), "* heard a NOOP\r\n");
}

#[test]
fn with_implicit_true_the_first_byte_is_tls_and_plaintext_is_dropped() {
    let gateway =
        Gateway::builder().server("[server.tls]\nimplicit = true").listener("smtps", "submission", "embedded").start();
    let mut talk = Talk::to(gateway.address("smtps")).tls(gateway.authority.roots());
    talk.reply("220");
    let list = talk.send("EHLO client.example.net\r\n").reply("250");
    assert!(!list.contains("STARTTLS"), "{list}");
    let mut plain = Talk::to(gateway.address("smtps"));
    plain.send("EHLO client.example.net\r\n");
    assert!(!String::from_utf8_lossy(&plain.rest()).contains("mailward"));
    let session = gateway.session("smtps", "tls-failed");
    assert_eq!((&session["reason"], &session["backend"]), (&"not-tls".into(), &"".into()));
}

#[test]
fn a_silent_client_a_half_clienthello_and_a_stall_after_starttls_end_at_the_timeout() {
    let gateway = Gateway::builder()
        .server("[server.tls]\ntimeout = \"300ms\"")
        .listener("smtp", "smtp", "embedded")
        .implicit("smtps", "submission", "embedded")
        .start();
    let silent = |_: &mut Talk| {};
    let half = |talk: &mut Talk| talk.try_send(&client_hello(NAME)[..100]).expect("it takes bytes");
    let stalled = |talk: &mut Talk| {
        talk.reply("220");
        talk.ask("STARTTLS", "220");
    };
    let clients = [("smtps", silent as fn(&mut Talk)), ("smtps", half), ("smtp", stalled)];
    for (number, (listener, act)) in clients.into_iter().enumerate() {
        let begun = Instant::now();
        let mut talk = Talk::to(gateway.address(listener));
        act(&mut talk);
        talk.closes();
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "client {number}: {took:?}");
    }
    for (listener, number) in [("smtps", 0), ("smtps", 1), ("smtp", 0)] {
        let session = gateway.nth_session(listener, number);
        assert_eq!((&session["outcome"], &session["reason"]), (&"timeout".into(), &"handshake".into()));
    }
}

/// What a client of each version gets from a listener that disables `disabled`: `None` is success, or else the alert.
fn versions(disabled: &str) -> [Option<&'static str>; 2] {
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", "embedded")
        .with("imaps", &format!("tls.disable-protocols = {disabled}"))
        .start();
    let target = gateway.implicit("imaps");
    let seen = |option: &str, version: &str| {
        let ran = SClient::at(&target, "imap").version(option).run();
        if ran.code == Some(0) {
            assert!(ran.all().contains(&format!("New, {version}")), "{}", ran.all());
            return None;
        }
        Some(if ran.all().contains("alert protocol version") { "protocol version" } else { "something else" })
    };
    let seen = [seen("-tls1_2", "TLSv1.2"), seen("-tls1_3", "TLSv1.3")];
    if seen != [None, None] {
        assert_eq!(gateway.session("imaps", "tls-failed")["reason"], "no-common-tls-version");
    }
    seen
}

#[test]
fn with_no_protocol_disabled_clients_of_tls_1_2_alone_and_of_tls_1_3_alone_connect() {
    assert_eq!(versions("[]"), [None, None]);
}

#[test]
fn with_tls_1_2_disabled_its_clients_get_a_protocol_version_alert_and_those_of_tls_1_3_connect() {
    assert_eq!(versions("[\"TLSv1.2\"]"), [Some("protocol version"), None]);
}

#[test]
fn with_tls_1_3_disabled_its_clients_get_a_protocol_version_alert_and_those_of_tls_1_2_connect() {
    assert_eq!(versions("[\"TLSv1.3\"]"), [None, Some("protocol version")]);
}

#[test]
fn disabling_both_protocols_or_an_unknown_one_is_an_error_and_nothing_runs() {
    let start = |protocols: &str| {
        let gateway = Gateway::builder().implicit("imaps", "imap", "embedded");
        gateway.with("imaps", &format!("tls.disable-protocols = {protocols}")).start_fails()
    };
    let said = start("[\"TLSv1.2\", \"TLSv1.3\"]");
    assert!(said.contains("server.listener.imaps.tls.disable-protocols: leaves no TLS version"), "{said}");
    for unknown in ["SSLv3", "TLSv1.4", "tlsv1.2", "0x0303"] {
        let said = start(&format!("[\"{unknown}\"]"));
        assert!(said.contains(&format!("tls.disable-protocols: \"{unknown}\" is unknown")), "{said}");
    }
    // The switches that contradict each other are refused by name as well.
    let said = Gateway::builder().listener("imap", "imap", "embedded").with("imap", "tls.enable = false").start_fails();
    assert!(said.contains("tls.enable: cannot be false while server.listener.imap.tls.require is true"), "{said}");
}

#[test]
fn with_no_cipher_disabled_all_nine_can_be_agreed_on_one_at_a_time() {
    let gateway =
        with_both_kinds().implicit("imaps", "imap", "embedded").with("imaps", "tls.disable-ciphers = []").start();
    let target = gateway.implicit("imaps");
    for (number, (suite, name)) in SUITES.into_iter().enumerate() {
        assert_eq!(offering_only(&target, "imap", suite).handshake().cipher(), name);
        assert_eq!(gateway.nth_session("imaps", number)["cipher"], suite);
    }
}

#[test]
fn each_disabled_cipher_is_refused_and_the_eight_others_are_not_and_disabling_all_is_an_error() {
    let mut builder = with_both_kinds();
    for (suite, _) in SUITES {
        builder =
            builder.implicit(suite, "imap", "embedded").with(suite, &format!("tls.disable-ciphers = [\"{suite}\"]"));
    }
    let gateway = builder.start();
    for (disabled, _) in SUITES {
        for (offered, _) in SUITES {
            let config = offering(gateway.authority.roots(), |provider| {
                provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()) == offered);
                assert_eq!(provider.cipher_suites.len(), 1, "{offered}");
            });
            let agreed = Talk::to(gateway.address(disabled)).try_tls(config.into()).is_ok();
            assert_eq!(agreed, offered != disabled, "{offered} where {disabled} is disabled");
        }
        let failed = gateway.session(disabled, "tls-failed");
        assert_eq!(failed["reason"], "no-common-cipher", "{failed}");
    }
    let all = SUITES.map(|(suite, _)| format!("\"{suite}\"")).join(", ");
    let said = Gateway::builder()
        .implicit("imaps", "imap", "embedded")
        .with("imaps", &format!("tls.disable-ciphers = [{all}]"))
        .start_fails();
    assert!(said.contains("server.listener.imaps.tls.disable-ciphers: leaves no cipher"), "{said}");
    // All that the one certificate's key could use is as good as all.
    let said = Gateway::builder()
        .implicit("imaps", "imap", "embedded")
        .with("imaps", "tls.disable-protocols = [\"TLSv1.3\"]")
        .with(
            "imaps",
            &format!(
                "tls.disable-ciphers = [{}]",
                SUITES[3..6].iter().map(|(suite, _)| format!("\"{suite}\"")).collect::<Vec<_>>().join(", ")
            ),
        )
        .start_fails();
    assert!(said.contains("(ECDSA) could use is disabled"), "{said}");
}

/// What is agreed on with a client that likes ChaCha20 best and AES-256 least, in TLS 1.3 and in TLS 1.2.
fn agreed_order(setting: &str) -> [String; 2] {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").with("imaps", setting).start();
    let target = gateway.implicit("imaps");
    let client = || SClient::at(&target, "imap");
    let new = client().version("-tls1_3").suites(&[SUITES[2].1, SUITES[1].1, SUITES[0].1].join(":")).handshake();
    let old = client().version("-tls1_2").ciphers(&[SUITES[5].1, SUITES[4].1, SUITES[3].1].join(":")).handshake();
    [new.cipher().to_owned(), old.cipher().to_owned()]
}

#[test]
fn with_ignore_client_order_true_aes_256_wins_over_the_clients_order() {
    assert_eq!(agreed_order("tls.ignore-client-order = true"), [SUITES[0].1, SUITES[3].1]);
}

#[test]
fn with_ignore_client_order_false_the_clients_chacha20_wins() {
    assert_eq!(agreed_order("tls.ignore-client-order = false"), [SUITES[2].1, SUITES[5].1]);
}

fn agrees_on_version(option: &str, version: &str) {
    let gateway = Gateway::builder().listener("smtp", "smtp", "embedded").implicit("imaps", "imap", "embedded").start();
    for (target, listener) in [(gateway.starttls("smtp"), "smtp"), (gateway.implicit("imaps"), "imaps")] {
        assert_eq!(SClient::at(&target, "smtp").version(option).handshake().version(), version);
        let session = gateway.nth_session(listener, 0);
        assert_eq!((&session["tls"], &session["client_tls"]), (&version.into(), &version.into()));
    }
}

#[test]
fn tls_1_3_is_agreed_on_and_logged() {
    agrees_on_version("-tls1_3", "TLSv1.3");
}

#[test]
fn tls_1_2_is_agreed_on_and_logged() {
    agrees_on_version("-tls1_2", "TLSv1.2");
}

#[test]
fn tls_1_1_and_older_get_an_alert_and_the_listener_stays_healthy() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").listener("smtp", "smtp", "embedded").start();
    for (number, (minor, version)) in [(2, "TLSv1.1"), (1, "TLSv1.0"), (0, "SSLv3")].into_iter().enumerate() {
        let mut old = Talk::to(gateway.address("imaps"));
        let answer = old.send(old_client_hello(3, minor)).rest();
        // A fatal alert: protocol_version, or handshake_failure where the hello lacks what TLS 1.2 demands.
        assert_eq!(answer.len(), 7, "{answer:?}");
        assert!(answer[0] == 21 && answer[5] == 2 && [40, 70].contains(&answer[6]), "{answer:?}");
        let session = gateway.nth_session("imaps", number);
        assert_eq!(session["reason"], "no-common-tls-version", "{session}");
        assert_eq!(session["client_tls"], version, "{session}");
    }
    let target = gateway.starttls("smtp");
    for option in ["-tls1_1", "-tls1"] {
        let client = SClient::at(&target, "smtp").version(option).ciphers("ALL:@SECLEVEL=0");
        client.run().fails().prints("alert");
    }
    assert_eq!(SClient::at(&target, "smtp").handshake().version(), "TLSv1.3");
    assert_eq!(SClient::at(&gateway.implicit("imaps"), "imap").handshake().version(), "TLSv1.3");
}

/// A client that offers the suite alone connects, unless the suite is disabled.
fn serves_suite(suite: &str) {
    let gateway = with_both_kinds()
        .listener("smtp", "smtp", "embedded")
        .implicit("imaps", "imap", "embedded")
        .implicit("without", "imap", "embedded")
        .with("without", &format!("tls.disable-ciphers = [\"{suite}\"]"))
        .start();
    for (target, listener) in [(gateway.starttls("smtp"), "smtp"), (gateway.implicit("imaps"), "imaps")] {
        let seen = offering_only(&target, "smtp", suite).handshake();
        assert!(SUITES.contains(&(suite, seen.cipher())), "{}", seen.cipher());
        let signed = if suite.contains("RSA") && !suite.contains("ECDSA") { "RSA" } else { "ECDSA" };
        assert!(seen.signature().starts_with(signed), "{}", seen.signature());
        assert_eq!(gateway.nth_session(listener, 0)["cipher"], suite);
    }
    let refused = offering_only(&gateway.implicit("without"), "imap", suite).run().fails();
    assert!(refused.all().contains("alert handshake failure"), "{}", refused.all());
    assert_eq!(gateway.nth_session("without", 0)["reason"], "no-common-cipher");
}

#[test]
fn tls13_aes_256_gcm_sha384_is_served_unless_disabled() {
    serves_suite("TLS13_AES_256_GCM_SHA384");
}

#[test]
fn tls13_aes_128_gcm_sha256_is_served_unless_disabled() {
    serves_suite("TLS13_AES_128_GCM_SHA256");
}

#[test]
fn tls13_chacha20_poly1305_sha256_is_served_unless_disabled() {
    serves_suite("TLS13_CHACHA20_POLY1305_SHA256");
}

#[test]
fn tls_ecdhe_ecdsa_with_aes_256_gcm_sha384_is_served_unless_disabled() {
    serves_suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[test]
fn tls_ecdhe_ecdsa_with_aes_128_gcm_sha256_is_served_unless_disabled() {
    serves_suite("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn tls_ecdhe_ecdsa_with_chacha20_poly1305_sha256_is_served_unless_disabled() {
    serves_suite("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
}

#[test]
fn tls_ecdhe_rsa_with_aes_256_gcm_sha384_is_served_unless_disabled() {
    serves_suite("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
}

#[test]
fn tls_ecdhe_rsa_with_aes_128_gcm_sha256_is_served_unless_disabled() {
    serves_suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn tls_ecdhe_rsa_with_chacha20_poly1305_sha256_is_served_unless_disabled() {
    serves_suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256");
}

/// A client that offers the group alone connects by both versions, unless the group is disabled; and a client that sends a share of
/// `other` but lists the group is asked for another share where `other` is disabled (RFC 8446 §4.1.4).
fn serves_group(group: &str, offered: &str, other: (&str, &str)) {
    // With TLS 1.2 the groups limit the certificate as well, so that the RSA one is needed.
    let gateway = with_both_kinds()
        .implicit("imaps", "imap", "embedded")
        .implicit("without", "imap", "embedded")
        .with("without", &format!("tls.disable-groups = [\"{group}\"]"))
        .implicit("retry", "imap", "embedded")
        .with("retry", &format!("tls.disable-groups = [\"{}\"]", other.0))
        .start();
    for (number, version) in ["-tls1_3", "-tls1_2"].into_iter().enumerate() {
        let client = |listener: &str| SClient::at(&gateway.implicit(listener), "imap").version(version).groups(offered);
        client("imaps").handshake();
        assert_eq!(gateway.nth_session("imaps", number)["group"], group);
        client("without").run().fails().prints("alert handshake failure");
        assert_eq!(gateway.nth_session("without", number)["reason"], "no-common-group");
    }
    let groups = format!("{}:{offered}", other.1);
    let retried = SClient::at(&gateway.implicit("retry"), "imap").groups(&groups).arguments(&["-msg"]).handshake();
    assert_eq!(retried.report().matches(", ClientHello").count(), 2, "{}", retried.report());
    assert_eq!(gateway.nth_session("retry", 0)["group"], group);
}

#[test]
fn the_group_x25519_is_served_unless_disabled_and_asked_for_again() {
    serves_group("X25519", "X25519", ("SECP256R1", "P-256"));
}

#[test]
fn the_group_secp256r1_is_served_unless_disabled_and_asked_for_where_the_share_is_for_x25519() {
    serves_group("SECP256R1", "P-256", ("X25519", "X25519"));
}

#[test]
fn the_group_secp384r1_is_served_unless_disabled_and_asked_for_where_the_share_is_for_x25519() {
    serves_group("SECP384R1", "P-384", ("X25519", "X25519"));
}

#[test]
fn the_documents_example_works_as_it_stands() {
    let example = r#"
[server.tls]
enable = true
implicit = false
timeout = "1m"
disable-protocols = [ "TLSv1.2" ]
disable-ciphers = [ "TLS13_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]
ignore-client-order = true
"#;
    let gateway = with_both_kinds().server(example).listener("imap", "imap", "embedded").start();
    let target = gateway.starttls("imap");
    let client = || SClient::at(&target, "imap");
    client().version("-tls1_2").run().fails().prints("alert protocol version");
    offering_only(&target, "imap", SUITES[0].0).run().fails().prints("alert handshake failure");
    // The server's order: AES-128 comes before ChaCha20, whatever the client prefers.
    let agreed = client().suites(&[SUITES[2].1, SUITES[1].1].join(":")).handshake();
    assert_eq!((agreed.version(), agreed.cipher()), ("TLSv1.3", SUITES[1].1));
}

#[test]
fn a_listeners_own_settings_replace_the_global_ones_and_a_scalar_is_a_list_of_one() {
    let gateway = Gateway::builder()
        .server("[server.tls]\nimplicit = false\ndisable-protocols = [\"TLSv1.2\"]\ndisable-groups = \"X25519\"")
        .listener("plain", "imap", "embedded")
        .implicit("replaced", "imap", "embedded")
        .with("replaced", "tls.disable-protocols = [\"TLSv1.3\"]")
        .implicit("scalar", "imap", "embedded")
        .with("scalar", "tls.disable-protocols = \"TLSv1.3\"")
        .implicit("emptied", "imap", "embedded")
        .with("emptied", "tls.disable-protocols = []\ntls.disable-groups = []")
        .start();
    let connects = |target: &Target, option: &str| SClient::at(target, "imap").version(option).run().code == Some(0);
    let both = |target: &Target| [connects(target, "-tls1_2"), connects(target, "-tls1_3")];
    assert_eq!(both(&gateway.starttls("plain")), [false, true]);
    assert_eq!(both(&gateway.implicit("replaced")), [true, false]);
    assert_eq!(both(&gateway.implicit("scalar")), [true, false]);
    assert_eq!(both(&gateway.implicit("emptied")), [true, true]);
    // What a listener does not say itself still comes from [server.tls].
    let x25519 = |listener: &str| {
        let config = offering(gateway.authority.roots(), |provider| {
            provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        });
        Talk::to(gateway.address(listener)).try_tls(config.into()).is_ok()
    };
    assert_eq!((x25519("scalar"), x25519("emptied")), (false, true));
}
