//! `mailward doctor` tells what is true of the servers behind it, and which of their settings is in the way.

mod support;

use std::time::{Duration, Instant};

use support::gateway::authority::Authority;
use support::{Dovecot, EximServer, Fake, Gateway, GatewayBuilder, Kind, NAME, Postfix, eventually, mailward, nobody};

/// What the doctor prints of this configuration, and whether it finds all fine.
fn doctor(builder: &GatewayBuilder, arguments: &[&str]) -> (bool, String) {
    builder.write();
    let path = builder.scratch().join("proxy.toml").display().to_string();
    let (code, text) = mailward(&[&["--config", &path, "doctor"], arguments].concat());
    println!("{text}");
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    (code == Some(0), text)
}

/// The part of the report that is about this listener.
#[track_caller]
fn about<'t>(text: &'t str, listener: &str) -> &'t str {
    let start = format!("listener {listener} (");
    text.split("\n\n").find(|part| part.starts_with(&start)).unwrap_or_else(|| panic!("{listener}: {text}"))
}

#[track_caller]
fn says(text: &str, all: &[&str]) {
    for one in all {
        assert!(text.contains(one), "{one:?} is not in {text}");
    }
}

#[test]
fn a_postfix_in_good_order_is_fine_and_left_in_good_order() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let builder = Gateway::builder()
        .listener("mx", "smtp", postfix.smtp())
        .listener("submission", "submission", postfix.submission())
        .implicit("submissions", "submission", postfix.submission());
    let (fine, text) = doctor(&builder, &[]);
    assert!(fine);
    let mx = about(&text, "mx");
    let offered = "PIPELINING, SIZE 52428800, VRFY, ETRN, ENHANCEDSTATUSCODES, 8BITMIME, DSN, SMTPUTF8, CHUNKING";
    says(mx, &[&format!("  {}\n", postfix.smtp()), "220 postfix.example.org ESMTP Postfix", "\n    fine"]);
    says(
        mx,
        &["before TLS clients are offered: ", "STARTTLS", "it relays to no other domain for mailward (127.0.0.1)"],
    );
    // What is hidden from clients is not in their list.
    for keyword in offered.split(", ").filter(|keyword| !["VRFY", "ETRN"].contains(keyword)) {
        says(mx.split("inside TLS").nth(1).expect("a list"), &[keyword]);
    }
    assert!(!mx.split("inside TLS").nth(1).is_some_and(|list| list.contains("STARTTLS")), "{mx}");
    let submission = about(&text, "submission");
    let early = submission.lines().find(|line| line.contains("before TLS")).expect("a list");
    assert!(early.contains("STARTTLS") && !early.contains("AUTH"), "{early}");
    says(submission.split("inside TLS").nth(1).expect("a list"), &["AUTH PLAIN LOGIN"]);
    let submissions = about(&text, "submissions");
    assert!(!submissions.contains("before TLS"), "{submissions}");
    // Three sessions with the one, one of them to ask what to offer without TLS, and two with the others. Every one
    // ended with QUIT, and none came as far as DATA.
    let sessions = || {
        let log = postfix.log();
        let ends = log.lines().filter(|line| line.contains(": disconnect from ") && line.contains(" ehlo="));
        Some(ends.map(str::to_owned).collect::<Vec<_>>()).filter(|ends| ends.len() >= 7)
    };
    let sessions = eventually(sessions).expect("every session ends");
    assert_eq!(sessions.len(), 7, "{sessions:#?}");
    assert!(sessions.iter().all(|end| end.contains(" quit=1 ") && !end.contains(" data=")), "{sessions:#?}");
    assert_eq!(postfix.relayed(), [""; 0]);
}

#[test]
fn a_postfix_that_offers_no_login_or_trusts_its_neighbours_is_told_of() {
    let postfix = Postfix::builder().trust("127.0.0.0/8").start();
    let builder = Gateway::builder()
        .listener("submission", "submission", postfix.submission())
        .listener("mx", "smtp", postfix.smtp())
        .listener("open", "smtp", postfix.smtp())
        .with("open", "rcpt-domains = \"*\"");
    let (fine, text) = doctor(&builder, &[]);
    assert!(!fine);
    let no_login = "WILL NOT WORK: it takes no passwords from mailward (127.0.0.1): users cannot log in";
    says(about(&text, "submission"), &[no_login, "smtpd_tls_auth_only = no"]);
    let relays = "it relays to any domain for mailward (127.0.0.1)";
    says(about(&text, "mx"), &[&format!("warning: {relays}; rcpt-domains keeps others from using that"), "mynetworks"]);
    says(
        about(&text, "open"),
        &[&format!("WILL NOT WORK: {relays}, and this listener lets everybody through: an open relay")],
    );
    // One backend can be asked for by its name, and a warning is no failure.
    let (fine, text) = doctor(&builder, &["mx"]);
    assert!(fine && !text.contains("listener open"), "{text}");
    let (fine, text) = doctor(&builder, &["mxx"]);
    assert!(!fine && text.is_empty(), "{text}");
}

#[test]
fn what_identity_and_postfix_make_of_each_other_is_found_out() {
    let (proxied, plain) = (Postfix::builder().proxied().start(), Postfix::builder().start());
    let builder = Gateway::builder()
        .listener("told", "smtp", proxied.smtp())
        .backend("told", "identity = \"proxy-v2\"")
        .listener("untold", "smtp", proxied.smtp())
        .listener("xclient", "smtp", plain.smtp())
        .backend("xclient", "identity = \"xclient\"");
    let (fine, text) = doctor(&builder, &[]);
    assert!(!fine);
    says(about(&text, "told"), &["220 postfix.example.org", "\n    fine"]);
    says(
        about(&text, "untold"),
        &["WILL NOT WORK: it refuses sessions of mailward's (127.0.0.1)", "identity = \"proxy-v2\""],
    );
    says(
        about(&text, "xclient"),
        &["it does not let mailward say who the client is", "smtpd_authorized_xclient_hosts"],
    );
}

/// Whoever is told that clients are in TLS takes their passwords: that is how sessions come, and so does the doctor.
#[test]
fn a_dovecot_that_believes_the_proxy_header_is_fine() {
    let builder = Gateway::builder();
    Authority::new().issue(&[NAME], Kind::Ecdsa).write(builder.scratch(), "server");
    let file = |name: &str| builder.scratch().join(name).display().to_string();
    let further = format!("ssl = yes\nssl_cert = <{}\nssl_key = <{}\n", file("server.crt"), file("server.key"));
    let dovecot = Dovecot::builder().refuse_plaintext().further(&further).start();
    let builder = builder.listener("imap", "imap", dovecot.proxied_imap()).backend("imap", "identity = \"proxy-v2\"");
    let (fine, text) = doctor(&builder, &[]);
    assert!(fine, "{text}");
    says(about(&text, "imap"), &["AUTH=PLAIN", "\n    fine"]);
}

#[test]
fn a_backend_without_the_tls_that_it_is_to_have_is_told_of_in_those_terms() {
    let dovecot = Dovecot::builder().start();
    let builder = Gateway::builder()
        .listener("imap", "imap", dovecot.imap())
        .backend("imap", "tls.mode = \"implicit\"\ntls.name = \"mail.example.org\"");
    let (fine, text) = doctor(&builder, &[]);
    assert!(!fine);
    let said = about(&text, "imap");
    says(said, &["WILL NOT WORK: no TLS comes about with it", "tls.* of this backend"]);
    assert!(!said.contains("PROXY"), "{said}");
}

#[test]
fn a_dovecot_that_refuses_plaintext_logins_is_told_of_and_one_that_trusts_mailward_is_fine() {
    let in_front_of = |dovecot: &Dovecot| {
        Gateway::builder()
            .listener("imap", "imap", dovecot.imap())
            .listener("pop3", "pop3", dovecot.pop3())
            .listener("sieve", "managesieve", dovecot.sieve())
            .listener("lmtp", "lmtp", dovecot.lmtp())
    };
    let strict = Dovecot::builder().refuse_plaintext().start();
    let (fine, text) = doctor(&in_front_of(&strict), &[]);
    assert!(!fine);
    let change = "login_trusted_networks = 127.0.0.1";
    says(about(&text, "imap"), &["WILL NOT WORK: it takes no passwords from mailward (127.0.0.1)", change]);
    // These two still offer what sends no password.
    for listener in ["pop3", "sieve"] {
        let by = "warning: it takes no passwords as they are from mailward (127.0.0.1): users can log in by CRAM-MD5 and \
                  DIGEST-MD5 alone";
        says(about(&text, listener), &[by, change]);
    }
    says(about(&text, "lmtp"), &["\n    fine"]);
    let trusting = Dovecot::builder().refuse_plaintext().trust("127.0.0.1").start();
    let (fine, text) = doctor(&in_front_of(&trusting), &[]);
    assert!(fine);
    let imap = about(&text, "imap");
    let (before, inside) = imap.split_once("inside TLS").expect("both lists");
    says(before, &["STARTTLS, LOGINDISABLED", "* OK [CAPABILITY"]);
    says(inside, &["IMAP4rev1", "SASL-IR", "AUTH=PLAIN", "\n    fine"]);
    assert!(!inside.contains("LOGINDISABLED") && !inside.contains("STARTTLS"), "{inside}");
    says(about(&text, "pop3"), &["STLS", "inside TLS clients are offered: ", "SASL PLAIN", "\n    fine"]);
    says(about(&text, "sieve"), &["\"SASL\" \"\"", "\"SASL\" \"PLAIN", "\n    fine"]);
}

#[test]
fn an_exim_that_relays_for_everybody_is_told_of() {
    let exim = EximServer::start();
    let builder = Gateway::builder().listener("mx", "smtp", exim.smtp());
    let (fine, text) = doctor(&builder, &[]);
    assert!(fine);
    let mx = about(&text, "mx");
    says(mx, &["220 exim.example.org ESMTP Exim", "SIZE 52428800", "8BITMIME"]);
    says(mx, &["warning: it relays to any domain for mailward (127.0.0.1); rcpt-domains keeps", "relay_from_hosts"]);
    assert_eq!(exim.messages(), [b""; 0]);
}

#[test]
fn a_dead_port_a_silent_one_and_a_name_that_means_nothing_are_told_of_in_bounded_time() {
    let silent = Fake::start(|mut talk, _| _ = talk.rest());
    let refusing = Fake::start(|mut talk, _| _ = talk.send("554 not you\r\n").rest());
    let open = Fake::start(|mut talk, _| _ = talk.send("* PREAUTH come in\r\n").rest());
    let dead = nobody();
    let builder = Gateway::builder()
        .implicit("dead", "imap", dead)
        .implicit("silent", "pop3", silent.address())
        .backend("silent", "timeout.greeting = \"500ms\"")
        .implicit("refusing", "submission", refusing.address())
        .implicit("preauth", "imap", open.address())
        .implicit("nameless", "imap", "no-such-host.invalid");
    let began = Instant::now();
    let (fine, text) = doctor(&builder, &[]);
    assert!(!fine && began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    says(
        about(&text, "dead"),
        &[&format!("  {dead}\n"), "WILL NOT WORK: it cannot be connected to: Connection refused"],
    );
    says(
        about(&text, "silent"),
        &["WILL NOT WORK: it takes the connection and does not greet: no greeting within 500ms"],
    );
    says(
        about(&text, "refusing"),
        &["greets after", ": 554 not you\n", "WILL NOT WORK: it refuses sessions of mailward's"],
    );
    says(about(&text, "preauth"), &["WILL NOT WORK: it greets with PREAUTH"]);
    says(about(&text, "nameless"), &["no-such-host.invalid\n    WILL NOT WORK: the name cannot be looked up"]);
}

#[test]
fn the_report_comes_as_json_too() {
    let dead = nobody();
    let builder = Gateway::builder().implicit("imaps", "imap", dead);
    let (fine, text) = doctor(&builder, &["--json"]);
    assert!(!fine);
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let listener = &report["listeners"][0];
    assert_eq!((&listener["listener"], &listener["protocol"]), (&"imaps".into(), &"imap".into()));
    assert_eq!(listener["before_tls"], serde_json::Value::Null);
    let place = &listener["places"][0];
    assert_eq!(place["address"], dead.to_string());
    assert_eq!(place["findings"][0]["severity"], "fault");
}

#[test]
fn the_embedded_store_of_the_shipped_file_is_fine() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/proxy.toml");
    let (code, text) = mailward(&["--config", shipped, "doctor"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("\n    fine").count(), 7, "{text}");
}
