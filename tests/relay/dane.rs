//! DANE (RFC 7672), with mail.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_ecdsa_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::bed::{Bed, assert_begins, strict_for};
use crate::support::{Authority, Kind, MailHosts, Visit, World};

#[test]
fn d1_mail_goes_by_the_four_states_of_dnssec() {
    let bed = Bed::unbelieving();
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for (domain, said, outcome) in [
        ("secure.test", "250 2.0.0 [mx.secure.test] taken", "verified"),
        ("insecure.test", "250 2.0.0 [mx.insecure.test] taken", "encrypted"),
    ] {
        assert_eq!(bed.send(&format!("bob@{domain}")), said);
        assert_eq!(bed.attempt(domain)["outcome"], outcome);
    }
    let messages = hosts.messages().len();
    for domain in ["bogus.test", "refused.insecure.test"] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.4.3 ");
    }
    assert_eq!((messages, hosts.messages().len()), (2, 2));
}

#[test]
fn d2_a_resolver_that_is_not_to_be_believed_is_told_of_at_once_and_there_is_no_dane() {
    let bed = Bed::new(&format!("[resolver]\ntype = \"custom\"\ncustom = \"{}\"\n", World::RESOLVER));
    // Before there is any mail.
    let line = bed.gateway.log_line("a word on the resolver", |line| line["message"] == "no DANE by this resolver");
    assert_eq!((&line["level"], &line["server"]), (&"WARN".into(), &"10.53.0.2:53".into()));
    assert!(bed.gateway.output().contains("what it says of DNSSEC can be forged: there is no DANE"));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    // What is published for DANE counts for nothing.
    assert_begins(&bed.send("bob@bad.secure.test"), "250 2.0.0 ");
    assert_eq!((bed.attempt("bad.secure.test")["outcome"].as_str(), hosts.messages().len()), (Some("encrypted"), 1));
    assert!(!bed.world.asked().iter().any(|question| question.starts_with("TLSA")));
}

#[test]
fn d3_where_the_mx_records_cannot_be_had_nobody_is_connected_to() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for domain in ["refused.insecure.test", "bogus.test"] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.4.3 ");
        let asked = bed.world.asked();
        assert!(asked.contains(&format!("MX {domain}")));
        assert!(!asked.contains(&format!("A {domain}")), "{asked:?}");
    }
    assert!(hosts.visits().is_empty());
}

#[test]
fn d4_d12_a_host_that_cannot_be_trusted_makes_way_and_mail_arrives_at_the_next() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    // D4: its records cannot be looked up. It is not connected to.
    assert_begins(&bed.send("bob@skip.secure.test"), "250 2.0.0 [mx.secure.test] ");
    let names = || hosts.all().into_iter().filter_map(|visit| visit.tls).collect::<Vec<_>>();
    assert_eq!(names(), ["mx.secure.test"]);
    let outcomes = |domain| bed.attempts(domain).iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>();
    assert_eq!(outcomes("skip.secure.test"), ["failed-dns", "verified"]);
    hosts.forget();
    assert_begins(&bed.send("bob@cb.secure.test"), "451 4.4.3 ");
    assert!(hosts.visits().is_empty());
    // D12: it shows another key than its record has.
    assert_begins(&bed.send("bob@wrong.secure.test"), "250 2.0.0 [mx.secure.test] ");
    assert_eq!(names(), ["mx.bad.secure.test", "mx.secure.test"]);
    assert_eq!(outcomes("wrong.secure.test"), ["failed-dane", "verified"]);
    assert!(is_without_envelope(&hosts.visits()[0]), "{:?}", hosts.visits());
}

/// Whether nobody said more there than it takes to see a certificate.
fn is_without_envelope(visit: &Visit) -> bool {
    let verbs = visit.commands.iter().map(|command| command.split(' ').next().unwrap_or_default());
    let is_no_more = verbs.into_iter().all(|verb| ["EHLO", "STARTTLS", "QUIT"].contains(&verb));
    is_no_more && visit.messages.is_empty() && visit.torn.is_empty()
}

#[test]
fn d5_preference_outranks_security() {
    let bed = Bed::unbelieving();
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@order.secure.test"), "250 2.0.0 [mx.nodane.secure.test] ");
    let attempt = bed.attempt("order.secure.test");
    assert_eq!((&attempt["mx"], &attempt["outcome"]), (&"mx.nodane.secure.test".into(), &"encrypted".into()));
    assert!(hosts.all().iter().all(|visit| visit.tls.as_deref() == Some("mx.nodane.secure.test")));
}

#[test]
fn d6_d22_behind_insecure_mx_records_nothing_is_called_verified_and_required_dane_delays() {
    let bed = Bed::new(&strict_for("half.insecure.test", "dane = \"require\""));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@half.insecure.test"), "451 4.7.5 ");
    assert!(hosts.visits().is_empty());
    drop(bed);
    let bed = Bed::new("");
    let _hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@half.insecure.test"), "250 2.0.0 [mx.secure.test] ");
    let attempt = bed.attempt("half.insecure.test");
    assert_eq!((&attempt["verdict"], &attempt["outcome"]), (&"tls/dane".into(), &"trusted".into()));
}

#[test]
fn d7_s6_a_domain_without_mx_records_is_its_own_host_and_one_that_is_not_there_or_takes_no_mail_is_not() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@impl.secure.test"), "250 2.0.0 [impl.secure.test] ");
    assert_eq!(bed.attempt("impl.secure.test")["outcome"], "verified");
    hosts.forget();
    assert_begins(&bed.send("bob@nobody.secure.test"), "550 5.1.2 ");
    assert_begins(&bed.send("bob@null.secure.test"), "556 5.1.10 ");
    assert!(hosts.visits().is_empty());
}

#[test]
fn d8_a_host_whose_name_server_does_not_know_tlsa_gets_its_mail_and_nobody_asks() {
    let bed = Bed::unbelieving();
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@odd.insecure.test"), "250 2.0.0 [mx.odd.insecure.test] ");
    assert_eq!((bed.world.refused(), hosts.messages().len()), (0, 1));
    assert!(bed.world.asked().iter().all(|question| !question.starts_with("TLSA")));
}

#[test]
fn d9_d10_d11_d21_the_base_domain_is_the_name_that_the_host_is_asked_for() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for (domain, mx, base) in [
        ("cn.secure.test", "alias.cn.secure.test", "mx.secure.test"),
        ("ci.secure.test", "alias.ci.secure.test", "alias.ci.secure.test"),
        ("shared.secure.test", "mx.shared.secure.test", "mx.shared.secure.test"),
    ] {
        hosts.forget();
        assert_begins(&bed.send(&format!("bob@{domain}")), &format!("250 2.0.0 [{mx}] "));
        let visits = hosts.all();
        assert_eq!((visits.len(), visits[0].tls.as_deref()), (1, Some(base)), "{domain}");
        assert_eq!(bed.attempt(domain)["outcome"], "verified");
    }
}

#[test]
fn d12_row_37_nothing_of_a_message_goes_to_a_host_with_another_key() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@bad.secure.test"), "451 4.7.5 ");
    assert_eq!(bed.attempt("bad.secure.test")["outcome"], "failed-dane");
    let visits = hosts.all();
    assert_eq!(visits.len(), 1, "and nobody tries again on weaker terms");
    assert!(is_without_envelope(&visits[0]), "{visits:?}");
}

#[test]
fn d13_records_that_cannot_be_used_ask_for_tls_and_nothing_more() {
    let bed = Bed::unbelieving();
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@unus.secure.test"), "250 2.0.0 [mx.unus.secure.test] ");
    assert_eq!(bed.attempt("unus.secure.test")["outcome"], "encrypted");
    assert_eq!(hosts.messages().len(), 1);
}

#[test]
fn d12_d13_a_host_without_starttls_gets_mail_only_where_nothing_is_published() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).clear().start(&bed.world);
    for domain in ["secure.test", "unus.secure.test"] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.7.4 ");
    }
    assert!(hosts.verbs().iter().all(|verb| ["EHLO", "QUIT"].contains(&verb.as_str())), "{:?}", hosts.verbs());
    assert_begins(&bed.send("bob@nodane.secure.test"), "250 2.0.0 [mx.nodane.secure.test] ");
    assert_eq!(bed.attempt("nodane.secure.test")["outcome"], "clear");
}

#[test]
fn d22_row_38_required_dane_sends_nothing_where_there_is_none() {
    let every = "[queue.tls.strict]\ndane = \"require\"\n[queue.strategy]\ntls = \"'strict'\"\n";
    let bed = Bed::new(every);
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for domain in ["nodane.secure.test", "insecure.test", "unus.secure.test", "bad.secure.test"] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.7.5 ");
        assert_eq!(bed.attempt(domain)["outcome"], "failed-dane", "{domain}");
    }
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    assert_begins(&bed.send("bob@secure.test"), "250 2.0.0 [mx.secure.test] ");
}

/// Shows a certificate and signs with another's key.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A server that shows the world's certificate without having its key.
fn thief(world: &World) -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_slice(world.certificate.chain.as_bytes()).expect("a certificate");
    let own = Authority::new().issue(&["thief.test"], Kind::Ecdsa);
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
    let shown = CertifiedKey::new(vec![chain], any_ecdsa_type(&key).expect("a key that signs"));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Thief(Arc::new(shown))));
    Arc::new(config)
}

#[test]
fn d23_rows_48_and_63_whoever_has_not_the_key_gets_no_mail_whatever_certificate_is_allowed() {
    let bed = Bed::new("[queue.tls.default]\nallow-invalid-certs = true\n");
    let hosts = MailHosts::builder(&bed.world).with_tls(thief(&bed.world)).start(&bed.world);
    for domain in ["secure.test", "insecure.test"] {
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.7.5 ");
        let attempt = bed.attempt(domain);
        assert!(attempt["reason"].as_str().is_some_and(|reason| reason.contains("BadSignature")), "{attempt}");
    }
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
}

#[test]
fn d24_an_address_is_sent_to_without_dane() {
    let bed = Bed::unbelieving();
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send("bob@[10.53.0.25]"), "250 2.0.0 [10.53.0.25] ");
    assert_eq!(bed.attempt("[10.53.0.25]")["outcome"], "encrypted");
    assert_eq!(hosts.messages().len(), 1);
    let about = |question: &String| question.starts_with("TLSA") || question.starts_with("TXT _mta-sts");
    assert!(!bed.world.asked().iter().any(about));
}
