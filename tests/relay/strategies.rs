//! TLS strategies (rows of the documents' features), with mail.

use crate::bed::{Bed, assert_begins, strict_for};
use crate::support::{Issued, Kind, MailHosts};

/// The verbs of a session that went no further than to TLS.
const NO_FURTHER: [&str; 3] = ["EHLO", "STARTTLS", "QUIT"];

#[test]
fn row_35_two_strategies_treat_two_domains_differently() {
    let bed = Bed::new(&strict_for("nodane.secure.test", "mta-sts = \"require\""));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@nodane.secure.test"), "451 4.7.5 ");
    assert_eq!(bed.attempt("nodane.secure.test")["strategy"], "strict");
    assert!(hosts.visits().is_empty());
    assert_begins(&bed.send("bob@insecure.test"), "250 2.0.0 [mx.insecure.test] ");
    assert_eq!(bed.attempt("insecure.test")["strategy"], "default");
}

#[test]
fn rows_39_and_42_what_a_strategy_leaves_out_is_not_looked_up() {
    let neither = "dane = \"disable\"\nmta-sts = \"disable\"\n";
    let bed = Bed::new(&format!("[queue.tls.default]\n{neither}[queue.tls.invalid-tls]\n{neither}"));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let policies =
        bed.world.policy_host(&["enforce.insecure.test"], &[("enforce.insecure.test", 404, "text/plain", "")]);
    for domain in ["secure.test", "enforce.insecure.test"] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "250 2.0.0 ");
    }
    let asked = bed.world.asked();
    assert!(!asked.iter().any(|question| question.starts_with("TLSA") || question.starts_with("TXT")), "{asked:?}");
    assert_eq!((policies.asked().len(), hosts.messages().len()), (0, 2));
}

#[test]
fn row_41_required_mta_sts_sends_nothing_without_a_policy_that_lists_the_host() {
    let bed = Bed::new("[queue.tls.strict]\nmta-sts = \"require\"\n[queue.strategy]\ntls = \"'strict'\"\n");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let policy = |mx: &str| format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 86400\n");
    let (right, other, pattern) = (policy("mx.insecure.test"), policy("other.test"), policy("*.insecure.test"));
    let domains = ["enforce.insecure.test", "unlisted.insecure.test", "pattern.insecure.test", "missing.insecure.test"];
    let answers =
        [(domains[0], 200, &*right), (domains[1], 200, &other), (domains[2], 200, &pattern), (domains[3], 404, "")];
    let _policies =
        bed.world.policy_host(&domains, &answers.map(|(domain, status, body)| (domain, status, "text/plain", body)));
    for domain in ["insecure.test", domains[1], domains[3]] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.7.5 ");
        assert_eq!(bed.attempt(domain)["outcome"], "failed-mta-sts", "{domain}");
    }
    assert!(hosts.visits().is_empty());
    assert_begins(&bed.send(&format!("bob@{}", domains[2])), "451 4.7.5 ");
    assert_eq!(bed.attempt(domains[2])["outcome"], "failed-tls");
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    assert_begins(&bed.send(&format!("bob@{}", domains[0])), "250 2.0.0 [mx.insecure.test] ");
}

#[test]
fn row_43_tls_is_used_where_it_is_offered_and_mail_goes_in_clear_where_not() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@insecure.test"), "250 2.0.0 ");
    assert_eq!(bed.attempt("insecure.test")["outcome"], "trusted");
    hosts.become_those(MailHosts::builder(&bed.world).clear());
    assert_begins(&bed.send("bob@insecure.test"), "250 2.0.0 ");
    assert_eq!(bed.attempt("insecure.test")["outcome"], "clear");
    // One that offers it and refuses it then is as one without.
    let refusing =
        MailHosts::builder(&bed.world).saying(|said| (said.command == "STARTTLS").then_some("454 4.7.0 not now"));
    hosts.become_those(refusing);
    assert_begins(&bed.send("bob@insecure.test"), "250 2.0.0 ");
    assert_eq!((bed.attempt("insecure.test")["outcome"].as_str(), hosts.messages().len()), (Some("clear"), 3));
}

#[test]
fn rows_44_65_and_98_where_tls_is_required_no_envelope_goes_out_without() {
    let required = "dane = \"optional\"\nmta-sts = \"optional\"\nstarttls = \"require\"\n";
    let bed = Bed::new(&format!("[queue.tls.default]\n{required}[queue.tls.invalid-tls]\n{required}"));
    let hosts = MailHosts::builder(&bed.world).clear().start(&bed.world);
    let refusal = |words: &'static str| {
        MailHosts::builder(&bed.world).saying(move |said| (said.command == "STARTTLS").then_some(words))
    };
    assert_begins(&bed.send("bob@insecure.test"), "451 4.7.4 ");
    for (words, reply) in [
        ("454 4.7.0 not now", "451 4.7.4 "),
        ("554 5.7.0 never", "451 4.7.4 "),
        ("220 go on\r\nthis is no TLS", "451 4.7.5 "),
        ("", "451 4.7.5 "),
    ] {
        hosts.become_those(refusal(words));
        assert_begins(&bed.send("bob@insecure.test"), reply);
        assert_eq!(bed.attempt("insecure.test")["outcome"], "failed-tls", "{words}");
    }
    assert!(hosts.verbs().iter().all(|verb| NO_FURTHER.contains(&verb.as_str())), "{:?}", hosts.verbs());
}

#[test]
fn rows_45_and_53_a_strategy_without_starttls_never_asks_for_it() {
    let bed = Bed::new("[queue.tls.legacy]\nstarttls = \"disable\"\n[queue.strategy]\ntls = \"'legacy'\"\n");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@insecure.test"), "250 2.0.0 ");
    assert_eq!((bed.attempt("insecure.test")["outcome"].as_str(), hosts.messages().len()), (Some("clear"), 1));
    assert!(!hosts.verbs().contains(&"STARTTLS".to_owned()));
    // What a domain publishes counts all the same.
    assert_begins(&bed.send("bob@secure.test"), "250 2.0.0 ");
    assert_eq!(bed.attempt("secure.test")["outcome"], "verified");
}

#[test]
fn rows_47_48_54_and_81_a_certificate_that_is_not_valid_is_taken_where_that_is_allowed() {
    let strict = strict_for("insecure.test", "allow-invalid-certs = false\nstarttls = \"require\"");
    let bed = Bed::new(&format!("{strict}[queue.tls.default]\nallow-invalid-certs = true\n"));
    let name = "mx.insecure.test";
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for certificate in [
        Issued::self_signed(&[name]),
        bed.world.authority.issue_with(&[name], Kind::Ecdsa, expired),
        bed.world.authority.issue(&["other.test"], Kind::Ecdsa),
    ] {
        hosts.become_those(MailHosts::builder(&bed.world).showing(&certificate));
        hosts.forget();
        assert_begins(&bed.send("bob@insecure.test"), "451 4.7.5 ");
        assert!(!hosts.verbs().contains(&"MAIL".to_owned()), "{:?}", hosts.visits());
        assert_begins(&bed.send("bob@odd.insecure.test"), "250 2.0.0 ");
        assert_eq!(bed.attempt("odd.insecure.test")["outcome"], "encrypted");
        // It never weakens DANE.
        assert_begins(&bed.send("bob@secure.test"), "451 4.7.5 ");
    }
}

#[test]
fn row_49_a_handshake_that_stalls_is_given_up_in_time() {
    let hasty = "timeout.tls = \"300ms\"\n";
    let bed = Bed::new(&format!("[queue.tls.default]\n{hasty}[queue.tls.invalid-tls]\n{hasty}"));
    let _sink = bed.world.sink_with(&["--stalled"]);
    let begun = std::time::Instant::now();
    assert_begins(&bed.send("bob@insecure.test"), "451 4.7.5 ");
    assert_eq!(bed.attempt("insecure.test")["outcome"], "failed-tls");
    // The next shortest of the times on the way is 15 s.
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn row_50_a_policy_host_that_stalls_is_given_up_in_time_and_mail_goes() {
    let hasty = "timeout.mta-sts = \"500ms\"\n";
    let bed = Bed::new(&format!("[queue.tls.default]\n{hasty}[queue.tls.invalid-tls]\n{hasty}"));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    // It takes connections and says nothing.
    let silent = bed.world.namespace.inside(|| std::net::TcpListener::bind((crate::support::World::POLICY_HOST, 443)));
    let begun = std::time::Instant::now();
    assert_begins(&bed.send("bob@enforce.insecure.test"), "250 2.0.0 ");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(silent.is_ok() && hosts.messages().len() == 1);
}

/// The documents' ladder in the order in which all of it can be reached.
const LADDER: &str = "[queue.strategy]
tls = [ { if = \"retry_num > 1 && last_error == 'tls'\", then = \"'disable-tls'\" },
        { if = \"retry_num > 0 && last_error == 'tls'\", then = \"'invalid-tls'\" },
        { else = \"'default'\" } ]
[queue.tls.invalid-tls]
allow-invalid-certs = true
starttls = \"optional\"
[queue.tls.disable-tls]
allow-invalid-certs = false
starttls = \"disable\"
[queue.tls.default]
allow-invalid-certs = false
starttls = \"optional\"
";

#[test]
fn row_56_after_tls_has_failed_the_next_rung_is_tried() {
    let bed = Bed::new(LADDER);
    let other = bed.world.authority.issue(&["other.test"], Kind::Ecdsa);
    let hosts = MailHosts::builder(&bed.world).showing(&other).start(&bed.world);
    assert_begins(&bed.send("bob@insecure.test"), "250 2.0.0 ");
    let rungs = |domain| {
        let told = bed.attempts(domain);
        told.iter().map(|line| format!("{} {}", line["strategy"], line["outcome"])).collect::<Vec<_>>()
    };
    assert_eq!(rungs("insecure.test"), [r#""default" "failed-tls""#, r#""invalid-tls" "encrypted""#]);
    // Where TLS does not work at all, the next attempt of the sender's is the one in clear.
    let broken =
        || MailHosts::builder(&bed.world).saying(|said| (said.command == "STARTTLS").then_some("220 go on\r\nno TLS"));
    hosts.become_those(broken());
    assert_begins(&bed.send("carol@odd.insecure.test"), "451 4.7.5 ");
    assert_begins(&bed.send("carol@odd.insecure.test"), "250 2.0.0 ");
    let expected = [
        r#""default" "failed-tls""#,
        r#""invalid-tls" "failed-tls""#,
        r#""invalid-tls" "failed-tls""#,
        r#""disable-tls" "clear""#,
    ];
    assert_eq!(rungs("odd.insecure.test"), expected);
    // DANE is let go by no rung.
    hosts.become_those(broken());
    assert_begins(&bed.send("bob@secure.test"), "451 4.7.5 ");
    assert_eq!(rungs("secure.test"), [r#""default" "failed-tls""#]);
}

#[test]
fn row_57_the_host_that_is_named_is_strict_and_no_other() {
    let tables = "[queue.strategy]
tls = [ { if = \"mx == 'MX.nodane.secure.test.'\", then = \"'high-security'\" }, { else = \"'default'\" } ]
[queue.tls.high-security]
allow-invalid-certs = false
dane = \"require\"
mta-sts = \"require\"
starttls = \"require\"
";
    let bed = Bed::new(tables);
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    // The better host is the one that is named; the other has DANE.
    assert_begins(&bed.send("bob@order.secure.test"), "250 2.0.0 [mx.secure.test] ");
    let told = bed.attempts("order.secure.test");
    assert_eq!((&told[0]["strategy"], &told[0]["outcome"]), (&"high-security".into(), &"failed-dane".into()));
    assert_begins(&bed.send("bob@nodane.secure.test"), "451 4.7.5 ");
    assert_eq!(hosts.all().len(), 1);
}

#[test]
fn row_59_each_way_to_fail_has_its_word() {
    let bed = Bed::new(&strict_for("order.secure.test", "mta-sts = \"require\""));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let word = |domain: &str| {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 ");
        bed.attempt(domain)["outcome"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(word("cb.secure.test"), "failed-dns");
    assert_eq!(word("bad.secure.test"), "failed-dane");
    assert_eq!(word("order.secure.test"), "failed-mta-sts");
    // Nobody is there.
    assert_eq!(word("order.insecure.test"), "failed-connection");
    for (command, words, outcome) in [
        ("", "554 5.7.1 nobody is welcome", "failed-connection"),
        ("EHLO gate.test", "550 5.7.1 nobody is welcome", "failed-unexpected-reply"),
        ("EHLO gate.test", "what?", "failed-unexpected-reply"),
        ("EHLO gate.test", "", "failed-io"),
        ("STARTTLS", "220 go on\r\nno TLS", "failed-tls"),
    ] {
        let failing =
            MailHosts::builder(&bed.world).saying(move |said| (said.command == command && !said.tls).then_some(words));
        hosts.become_those(failing);
        assert_eq!(word("odd.insecure.test"), outcome, "{command} {words}");
    }
}

#[test]
fn rows_66_68_and_70_a_host_that_knows_old_tls_alone_gets_no_mail_where_tls_is_required() {
    let required = "starttls = \"require\"\n";
    let bed = Bed::new(&format!("[queue.tls.default]\n{required}[queue.tls.invalid-tls]\n{required}"));
    for options in [&["--newest", "TLSv1_1"][..], &["--newest", "TLSv1_2", "--ciphers", "ECDHE-ECDSA-AES128-SHA256"]] {
        let sink = bed.world.sink_with(options);
        assert_begins(&bed.send("bob@insecure.test"), "451 4.7.5 ");
        assert_eq!(bed.attempt("insecure.test")["outcome"], "failed-tls");
        assert!(sink.heard().iter().all(|verb| ["EHLO", "STARTTLS"].contains(&verb.as_str())), "{:?}", sink.heard());
    }
}
