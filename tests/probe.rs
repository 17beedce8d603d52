//! `mailward probe` tells what would become of mail for the domains of a signed world, and sends none.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::{default_provider, sign::any_ecdsa_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use support::{Authority, Issued, Kind, MailHosts, Ran, Said, World, eventually, run};

/// What a configuration needs, whoever asks. mailward believes in the world's authority too where `ca` is set.
fn configuration(world: &World, ca: bool, more: &str) -> String {
    let ca = if ca { format!("ca = [\"{}\"]\n", world.scratch.join("ca.pem").display()) } else { String::new() };
    format!(
        "[server]\nhostname = \"gate.test\"\n{ca}
         [server.listener.imaps]\nbind = \"127.0.0.1:993\"\nprotocol = \"imap\"\nbackend = \"old\"\ntls.implicit = true\n
         [certificate.main]\nself-signed = \"localhost\"\n
         [backend.old]\naddress = \"127.0.0.1:143\"\n
         {more}"
    )
}

/// Runs `mailward probe` where the world is.
fn probe_by(world: &World, configuration: &str, arguments: &[&str]) -> Ran {
    let file = world.scratch.write("proxy.toml", configuration);
    let mut command = world.namespace.command(env!("CARGO_BIN_EXE_mailward"));
    command.arg("--config").arg(file).arg("probe").args(arguments);
    let ran = run(&command, b"");
    println!("{arguments:?}: {:?}\n{}", ran.code, ran.all());
    ran
}

fn probe(world: &World, arguments: &[&str]) -> Ran {
    probe_by(world, &configuration(world, false, ""), arguments)
}

/// The report as a value.
fn report(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.all()))
}

/// The last line, and that the exit code says the same.
#[track_caller]
fn conclusion(ran: &Ran) -> String {
    let last = ran.text().lines().last().unwrap_or_default().to_owned();
    assert_eq!(ran.code, Some(i32::from(!last.starts_with("mail goes to "))), "{last}");
    last
}

/// The golden names: what Postfix says of each, and what the probe does in the end.
const GOLDEN: [(&str, &str, &str); 12] = [
    ("secure.test", "Verified TLS connection", "mail goes to mx.secure.test: verified"),
    ("impl.secure.test", "Verified TLS connection", "mail goes to impl.secure.test: verified"),
    ("cn.secure.test", "Verified TLS connection", "mail goes to alias.cn.secure.test: verified"),
    ("ci.secure.test", "Verified TLS connection", "mail goes to alias.ci.secure.test: verified"),
    (
        "bad.secure.test",
        "no matching DANE TLSA records",
        "mail does not go: 451 4.7.5 mx.bad.secure.test: the certificate matches none of the TLSA records",
    ),
    ("unus.secure.test", "Untrusted TLS connection", "mail goes to mx.unus.secure.test: encrypted"),
    ("nodane.secure.test", "Untrusted TLS connection", "mail goes to mx.nodane.secure.test: encrypted"),
    ("insecure.test", "Untrusted TLS connection", "mail goes to mx.insecure.test: encrypted"),
    ("half.insecure.test", "Trusted TLS connection", "mail goes to mx.secure.test: trusted"),
    (
        "cb.secure.test",
        "TLSA lookup error",
        "mail does not go: 451 4.4.3 the TLSA records of mx.cb.secure.test could not be looked up: DNSSEC validation failed",
    ),
    (
        "bogus.test",
        "Host not found, try again",
        "mail does not go: 451 4.4.3 The DNS records of the recipient's domain are not to be had: bogus.test: DNSSEC validation failed",
    ),
    (
        "null.secure.test",
        "does not accept mail (nullMX)",
        "mail does not go: 556 5.1.10 The recipient's domain takes no mail: null.secure.test",
    ),
];

#[test]
fn d1_d6_d7_d9_to_d13_d22_each_golden_name_gets_its_verdict_postfix_agrees_and_no_envelope_is_sent() {
    let world = World::start();
    let sink = world.sink();
    for (domain, _, expected) in GOLDEN {
        let concluded = conclusion(&probe(&world, &[domain]));
        assert!(concluded.starts_with(expected), "{domain}: {concluded}");
    }
    let heard = sink.heard();
    assert!(heard.iter().all(|verb| ["EHLO", "STARTTLS", "QUIT"].contains(&verb.as_str())), "{heard:?}");
    let count = |verb: &str| heard.iter().filter(|heard| *heard == verb).count();
    // Nine names have a host that is connected to; three of them are connected to once more, for their certificates. Those and one
    // more are taken leave of behind the handshake; the other eight hear a second EHLO.
    assert_eq!((count("EHLO"), count("STARTTLS"), count("QUIT")), (20, 12, 12));
    for (domain, verdict, _) in GOLDEN {
        let mut finger = world.namespace.command("posttls-finger");
        run(finger.args(["-c", "-l", "dane", domain]), b"").prints(verdict);
    }
}

#[test]
fn d1_each_golden_name_gets_the_same_verdict_where_dnssec_is_validated_here() {
    let world = World::start();
    let _sink = world.sink();
    let resolver = format!(
        "[resolver]\ntype = \"custom\"\ncustom = \"{}\"\ndnssec = \"validate\"\ntrust-anchor = \"root.key\"\n",
        World::RESOLVER
    );
    let configuration = configuration(&world, false, &resolver);
    for (domain, _, expected) in GOLDEN {
        let ran = probe_by(&world, &configuration, &[domain]);
        let concluded = conclusion(&ran);
        assert!(concluded.starts_with(expected), "{domain}: {concluded}");
        ran.prints("  resolver 10.53.0.2:53: what it says of DNSSEC is validated here; what is proven counts\n");
    }
    // By the keys of another root nothing can be found out.
    let configuration = configuration.replace("trust-anchor = \"root.key\"\n", "");
    let concluded = conclusion(&probe_by(&world, &configuration, &["insecure.test"]));
    let expected = "mail does not go: 451 4.4.3 The DNS records of the recipient's domain are not to be had: insecure.test: DNSSEC";
    assert!(concluded.starts_with(expected), "{concluded}");
}

#[test]
fn the_text_goes_from_step_to_step() {
    let world = World::start();
    let _sink = world.sink();
    let text = probe(&world, &["secure.test"]).text();
    let digest = text.split("3 1 1 ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a record");
    let expected = format!(
        "mail from <> to <postmaster@secure.test>
  resolver 10.53.0.2:53: it validates DNSSEC; its word on DNSSEC counts
  hosts: by its MX records; DNSSEC vouches for that
  MTA-STS: no record at _mta-sts.secure.test

host mx.secure.test (preference 10)
  addresses: 10.53.0.25; DNSSEC vouches for that
  TLSA records of mx.secure.test
    3 1 1 {digest} counts
  strategy default: tls/dane
    1 of the TLSA records of mx.secure.test count: its certificate must match one
    secure.test has no MTA-STS policy
    TLS is mandatory
    the certificate must match a TLSA record
  10.53.0.25:25
    greets: 220 sink ESMTP
    TLS: TLSv1.3 TLS13_AES_256_GCM_SHA384
    by the roots: the certificate is not trusted: UnknownIssuer
    by DANE: the certificate matches 3 1 1 {digest}
    mail goes: verified

mail goes to mx.secure.test: verified
"
    );
    assert_eq!(text, expected);
}

#[test]
fn d4_d5_preference_comes_first_and_a_host_that_fails_makes_way() {
    let world = World::start();
    let _sink = world.sink();
    let order = report(&probe(&world, &["order.secure.test", "--json"]));
    let names = |report: &Value| {
        let hosts = report["hosts"].as_array().expect("hosts").iter();
        hosts.map(|host| host["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&order), ["mx.nodane.secure.test", "mx.secure.test"]);
    assert_eq!((&order["host"], &order["assurance"]), (&"mx.nodane.secure.test".into(), &"encrypted".into()));
    let skip = report(&probe(&world, &["skip.secure.test", "--json"]));
    assert_eq!(names(&skip), ["mx.cb.secure.test", "mx.secure.test"]);
    assert_eq!((&skip["host"], &skip["assurance"]), (&"mx.secure.test".into(), &"verified".into()));
    let failed = &skip["hosts"][0]["attempts"][0];
    assert_eq!((&failed["verdict"], &failed["address"]), (&"skip/dns".into(), &Value::Null));
    assert_eq!(failed["outcome"]["policies"][0]["failures"][0]["result-type"], "dnssec-invalid");
    // One can be asked for by its name.
    let one = report(&probe(&world, &["skip.secure.test", "--json", "--host", "mx.cb.secure.test"]));
    assert_eq!((names(&one), &one["goes"]), (vec!["mx.cb.secure.test".to_owned()], &false.into()));
}

#[test]
fn d12_d13_without_starttls_only_who_publishes_nothing_gets_mail() {
    let world = World::start();
    let sink = world.sink_with(&["--clear"]);
    for (domain, host) in [("secure.test", "mx.secure.test"), ("unus.secure.test", "mx.unus.secure.test")] {
        let expected = format!("mail does not go: 451 4.7.4 {host} does not offer TLS, which DANE makes mandatory");
        assert_eq!(conclusion(&probe(&world, &[domain])), expected);
    }
    assert_eq!(conclusion(&probe(&world, &["nodane.secure.test"])), "mail goes to mx.nodane.secure.test: clear");
    let heard = sink.heard();
    assert!(heard.iter().all(|verb| ["EHLO", "QUIT"].contains(&verb.as_str())), "{heard:?}");
    let strict = configuration(
        &world,
        false,
        "[queue.tls.strict]\nstarttls = \"require\"\n[queue.strategy]\ntls = \"'strict'\"\n",
    );
    let expected =
        "mail does not go: 451 4.7.4 mx.nodane.secure.test does not offer TLS, which the strategy makes mandatory";
    assert_eq!(conclusion(&probe_by(&world, &strict, &["nodane.secure.test"])), expected);
}

#[test]
fn d6_d22_what_is_required_and_not_there_delays_mail() {
    let world = World::start();
    let _sink = world.sink();
    let more = "[queue.tls.strict]\ndane = \"require\"\n[queue.strategy]\n\
                tls = [{ if = \"sender_domain == 'bank.test'\", then = \"'strict'\" }, { else = \"'invalid-tls'\" }]\n";
    let strict = configuration(&world, false, more);
    let asked = |domain: &str, more: &[&str]| {
        conclusion(&probe_by(&world, &strict, &[&[domain, "--from", "a@bank.test"], more].concat()))
    };
    assert_eq!(asked("secure.test", &[]), "mail goes to mx.secure.test: verified");
    let none = "mail does not go: 451 4.7.5 DANE is required, and";
    for (domain, why) in [
        ("nodane.secure.test", "mx.nodane.secure.test has none: "),
        ("unus.secure.test", "mx.unus.secure.test has none: none of its TLSA records can be used"),
        ("half.insecure.test", "DNSSEC does not vouch for the MX records of half.insecure.test"),
    ] {
        let concluded = asked(domain, &[]);
        assert!(concluded.starts_with(&format!("{none} {why}")), "{concluded}");
        assert_eq!(asked(domain, &["--no-connect"]), concluded);
    }
    // Another sender is another matter.
    let ran = probe_by(&world, &strict, &["nodane.secure.test", "--from", "a@shop.test"]);
    assert_eq!(conclusion(&ran), "mail goes to mx.nodane.secure.test: encrypted");
}

#[test]
fn s5_hosts_are_connected_to_in_their_order_and_those_of_equal_preference_in_any() {
    let world = World::start();
    let [a, b, c] = World::OTHER_HOSTS;
    let refuse = |said: &Said<'_>| said.command.is_empty().then_some("554 5.7.1 nobody is welcome");
    let hosts = MailHosts::builder(&world).at(&World::OTHER_HOSTS).saying(refuse).start(&world);
    let order = |domain: &str| {
        hosts.forget();
        let ran = probe(&world, &[domain]);
        assert!(conclusion(&ran).starts_with("mail does not go: "));
        hosts.order()
    };
    assert_eq!(order("order.insecure.test"), [a, b, c]);
    // As one of the domain's hosts, a gateway passes its mail on only to those that are preferred to it.
    assert_eq!(order("ours.insecure.test"), [a]);
    assert_eq!(order("only-ours.insecure.test"), [""; 0]);
    let mut firsts = [false, false];
    // Chance alone would fail this one time in 2 to the power of 39.
    for _ in 0..40 {
        let equal = order("equal.insecure.test");
        assert!(equal == [a, b, c] || equal == [b, a, c], "{equal:?}");
        firsts[usize::from(equal[0] == b)] = true;
        if firsts == [true, true] {
            return;
        }
    }
    panic!("it is always the same that comes first");
}

#[test]
fn m13_no_host_is_left_out_beforehand_and_those_that_do_not_comply_make_way() {
    let world = World::start();
    let policy = "version: STSv1\nmode: enforce\nmx: stranger.insecure.test\nmx: mx.insecure.test\nmax_age: 86400\n";
    let _policies = world.policy_host(&["three.insecure.test"], &[("three.insecure.test", 200, "text/plain", policy)]);
    let hosts = MailHosts::builder(&world).at(&[World::OTHER_HOSTS[0], World::MAIL_HOST]).start(&world);
    let believing = configuration(&world, true, "");
    let ran = probe_by(&world, &believing, &["three.insecure.test"]);
    assert_eq!(conclusion(&ran), "mail goes to mx.insecure.test: verified");
    // The first is not listed, the second has another's certificate; each had its turn.
    let names: Vec<_> = ["host a.", "host stranger.", "host mx."].iter().map(|host| ran.text().find(host)).collect();
    assert!(names.is_sorted() && names[0].is_some(), "{names:?}");
    assert!(ran.text().contains("the MTA-STS policy of three.insecure.test does not list a.insecure.test"));
    let asked: Vec<_> = hosts.all().into_iter().filter_map(|visit| visit.tls).collect();
    assert_eq!(asked, ["stranger.insecure.test", "mx.insecure.test"]);
}

#[test]
fn d8_no_name_server_is_asked_for_records_that_would_not_count() {
    let world = World::start();
    let _sink = world.sink();
    assert_eq!(conclusion(&probe(&world, &["odd.insecure.test"])), "mail goes to mx.odd.insecure.test: encrypted");
    assert_eq!(world.refused(), 0);
    let tlsa: Vec<_> = world.asked().into_iter().filter(|question| question.starts_with("TLSA")).collect();
    assert_eq!(tlsa, [""; 0]);
    // Whoever did ask would hear that it cannot be said.
    let mut dig = world.namespace.command("dig");
    run(dig.args(["+noall", "+comments", "_25._tcp.mx.odd.insecure.test", "TLSA"]), b"").prints("status: SERVFAIL");
    assert!(world.refused() > 0);
}

#[test]
fn d11_records_under_an_alias_that_is_vouched_for_count() {
    let world = World::start();
    let _sink = world.sink();
    assert_eq!(conclusion(&probe(&world, &["shared.secure.test"])), "mail goes to mx.shared.secure.test: verified");
    let mut finger = world.namespace.command("posttls-finger");
    run(finger.args(["-c", "-l", "dane", "shared.secure.test"]), b"").prints("Verified TLS connection");
}

#[test]
fn rows_39_and_42_what_is_disabled_is_not_looked_up() {
    let world = World::start();
    let _sink = world.sink();
    let policies = world.policy_host(&["enforce.insecure.test"], &[("enforce.insecure.test", 500, "text/plain", "")]);
    for (disabled, kind) in [("dane", "TLSA"), ("mta-sts", "TXT")] {
        let strategy = format!(
            "[queue.tls.default]\n{disabled} = \"disable\"\n[queue.tls.invalid-tls]\n{disabled} = \"disable\"\n"
        );
        let before = world.asked().len();
        for domain in ["secure.test", "enforce.insecure.test"] {
            probe_by(&world, &configuration(&world, true, &strategy), &[domain]).succeeds();
        }
        let asked = world.asked().split_off(before);
        assert!(asked.iter().any(|question| question == "MX secure.test"), "{asked:?}");
        assert!(asked.iter().all(|question| !question.starts_with(kind)), "{asked:?}");
    }
    // That was where DANE was disabled.
    assert_eq!(policies.asked().len(), 1);
}

/// A strategy that takes no mail from a host without TLS, and one that would take any certificate there.
const REQUIRED: &str = "[queue.tls.default]\nstarttls = \"require\"\n[queue.tls.invalid-tls]\nstarttls = \"require\"\n";

/// A strategy that takes any certificate from the first attempt on.
const LENIENT: &str = "[queue.tls.default]\nallow-invalid-certs = true\nstarttls = \"require\"\n";

#[test]
fn rows_47_48_54_and_81_a_certificate_that_is_not_valid_is_taken_where_that_is_allowed_alone() {
    let world = World::start();
    let name = "mx.insecure.test";
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    for (certificate, why) in [
        (Issued::self_signed(&[name]), "the certificate is not trusted"),
        (world.authority.issue_with(&[name], Kind::Ecdsa, expired), "the certificate has expired"),
        (world.authority.issue(&["other.test"], Kind::Ecdsa), "the certificate is for other.test, and not for"),
    ] {
        let _sink = world.sink_showing(&certificate, &[]);
        let believing = |more: &str| configuration(&world, true, more);
        let strict = believing("[queue.tls.strict]\nstarttls = \"require\"\n[queue.strategy]\ntls = \"'strict'\"\n");
        let refused = conclusion(&probe_by(&world, &strict, &["insecure.test"]));
        assert!(refused.starts_with(&format!("mail does not go: 451 4.7.5 {name}: {why}")), "{refused}");
        let taken = probe_by(&world, &believing(LENIENT), &["insecure.test"]);
        assert_eq!(conclusion(&taken), format!("mail goes to {name}: encrypted"));
        assert!(taken.text().contains(&format!("by the roots: {why}")), "what is wrong is told all the same");
        // DANE is not weakened by it.
        let dane = conclusion(&probe_by(&world, &believing(LENIENT), &["secure.test"]));
        let refused = "mail does not go: 451 4.7.5 mx.secure.test: the certificate matches none of the TLSA records";
        assert_eq!(dane, refused);
    }
}

#[test]
fn row_49_a_host_that_begins_no_handshake_is_given_up_in_time() {
    let world = World::start();
    let _sink = world.sink_with(&["--stalled"]);
    let hasty = "[queue.tls.default]\ntimeout.tls = \"300ms\"\n[queue.tls.invalid-tls]\ntimeout.tls = \"300ms\"\n";
    let begun = Instant::now();
    let ran = probe_by(&world, &configuration(&world, false, hasty), &["nodane.secure.test"]);
    let concluded = conclusion(&ran);
    assert!(concluded.starts_with("mail does not go: 451 4.7.5 mx.nodane.secure.test: "), "{concluded}");
    // The shortest of the other times on the way is 5 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn rows_66_67_68_and_70_a_host_that_knows_old_tls_alone_gets_no_mail_and_no_other_offer() {
    let world = World::start();
    let (ecdsa, rsa) = (&world.certificate, world.authority.issue(&["mx.insecure.test"], Kind::Rsa));
    let parameters = world.scratch.join("dh.pem").display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", &parameters]);
    run(&openssl, b"").succeeds();
    let finite_field = ["--newest", "TLSv1_2", "--ciphers", "DHE-RSA-AES256-GCM-SHA384", "--dh", &parameters];
    for (what, certificate, options) in [
        ("TLS 1.1", ecdsa, &["--newest", "TLSv1_1"][..]),
        ("TLS 1.0", ecdsa, &["--newest", "TLSv1"]),
        ("CBC", ecdsa, &["--newest", "TLSv1_2", "--ciphers", "ECDHE-ECDSA-AES128-SHA256"]),
        ("no forward secrecy", &rsa, &["--newest", "TLSv1_2", "--ciphers", "AES256-GCM-SHA384"]),
        ("finite-field Diffie-Hellman", &rsa, &finite_field),
    ] {
        let sink = world.sink_showing(certificate, options);
        // It is a server that old clients get along with.
        let mut old = world.namespace.command("openssl");
        old.args(["s_client", "-starttls", "smtp", "-connect", "10.53.0.25:25", "-cipher", "ALL:@SECLEVEL=0"]);
        run(&old, b"QUIT\r\n").prints("Cipher is ").prints_no("Cipher is (NONE)");
        let before = sink.heard().iter().filter(|verb| *verb == "STARTTLS").count();
        let ran = probe_by(&world, &configuration(&world, true, REQUIRED), &["insecure.test", "--json"]);
        let report = report(&ran);
        let attempts = report["hosts"][0]["attempts"].as_array().expect("attempts");
        for attempt in attempts {
            let refusal = attempt["refusal"].as_str().unwrap_or_default();
            assert!(refusal.starts_with("451 4.7.5 mx.insecure.test: "), "{what}: {attempt}");
            let failure = &attempt["outcome"]["policies"][0]["failures"][0];
            assert_eq!(failure["result-type"], "validation-failure", "{what}: {attempt}");
        }
        // One session for each strategy: a handshake that fails is not tried again with less.
        let heard = sink.heard().iter().filter(|verb| *verb == "STARTTLS").count() - before;
        assert_eq!((ran.code, heard), (Some(1), attempts.len()), "{what}");
        assert!(!sink.heard().contains(&"MAIL".to_owned()));
    }
}

#[test]
fn d2_a_resolver_counts_where_it_is_trusted() {
    let world = World::start();
    let _sink = world.sink();
    let asked = |more: &str| {
        let resolver = format!("[resolver]\ntype = \"custom\"\ncustom = \"{}\"\n{more}", World::RESOLVER);
        let ran = probe_by(&world, &configuration(&world, false, &resolver), &["secure.test"]);
        (conclusion(&ran), ran.text().contains("its word on DNSSEC counts"))
    };
    let verified = "mail goes to mx.secure.test: verified".to_owned();
    let encrypted = "mail goes to mx.secure.test: encrypted".to_owned();
    // One that has just started may be late with the first answer that it has to prove.
    let is_trusted = || (asked("dnssec = \"ad\"\n") == (verified.clone(), true)).then_some(());
    assert!(eventually(is_trusted).is_some(), "what it said is above");
    assert_eq!(asked(""), (encrypted.clone(), false), "it is not on this machine");
    assert_eq!(asked("dnssec = \"off\"\n"), (encrypted, false));
}

#[test]
fn d24_an_address_has_neither_dane_nor_a_policy() {
    let world = World::start();
    let _sink = world.sink();
    let domain = format!("[{}]", World::MAIL_HOST);
    let ran = probe_by(&world, &configuration(&world, true, ""), &[&domain, "--json"]);
    let report = report(&ran);
    assert_eq!((&report["route"]["by"], &report["mta_sts"]["id"]), (&"literal".into(), &Value::Null));
    assert_eq!(report["hosts"][0]["tlsa"]["state"], "absent");
    // The certificate is for names.
    let first = &report["hosts"][0]["attempts"][0]["refusal"];
    let expected =
        format!("451 4.7.5 {domain}: the certificate is for mx.secure.test, mx.insecure.test, and not for {domain}");
    assert_eq!(first, &Value::from(expected));
    assert_eq!((ran.code, &report["assurance"]), (Some(0), &"encrypted".into()));
}

#[test]
fn without_a_connection_it_says_what_can_be_said() {
    let world = World::start();
    // Nobody listens.
    let ran = probe(&world, &["secure.test", "--no-connect"]);
    let may = "mail may go to mx.secure.test, as far as can be said without a connection";
    assert_eq!((ran.code, ran.text().lines().last()), (Some(0), Some(may)));
    let refused = "mail does not go: 451 4.4.1 mx.secure.test: 10.53.0.25: Connection refused (os error 111)";
    assert_eq!(conclusion(&probe(&world, &["secure.test"])), refused);
    assert!(probe(&world, &["secure.test", "--port", "2525"]).text().contains("  10.53.0.25:2525\n"));
}

#[test]
fn what_cannot_be_asked_is_another_exit_code() {
    let world = World::start();
    for (arguments, what) in [
        (&["a b"][..], "is no domain"),
        (&["secure.test", "--from", "nobody"], "is no address of a sender"),
        (&["secure.test", "--to", "a@insecure.test"], "is no address in secure.test"),
        (&["secure.test", "--host", "mx.else.test"], "secure.test has no host mx.else.test; there are: mx.secure.test"),
        (&["secure.test", "--port", "0"], "invalid value"),
        (&[], "required arguments"),
    ] {
        let ran = probe(&world, arguments);
        assert!(ran.code == Some(2) && ran.out.is_empty() && ran.err.contains(what), "{arguments:?}");
    }
    assert_eq!(probe_by(&world, "nonsense", &["secure.test"]).code, Some(2));
}

/// A policy that lists this.
fn policy(mode: &str, mx: &str) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n")
}

#[test]
fn m4_m9_m10_m11_m12_m15_a_policy_is_fetched_and_counts_as_its_mode_says() {
    let world = World::start();
    let _sink = world.sink();
    let (right, pattern) = (policy("enforce", "mx.insecure.test"), policy("enforce", "*.insecure.test"));
    let (testing, none) = (policy("testing", "mx.insecure.test"), policy("none", "mx.insecure.test"));
    let other = policy("enforce", "other.test");
    let answers = [
        ("enforce.insecure.test", 200, "text/plain", right.as_str()),
        ("unlisted.insecure.test", 200, "text/plain", &other),
        ("pattern.insecure.test", 200, "text/plain", &pattern),
        ("testing.insecure.test", 200, "text/plain", &testing),
        ("none.insecure.test", 200, "text/plain", &none),
        ("missing.insecure.test", 404, "text/plain", &other),
        ("moved.insecure.test", 301, "text/plain", &other),
        ("html.insecure.test", 200, "text/html", &other),
        ("garbled.insecure.test", 200, "text/plain", "mode: enforce\n"),
        ("wrong.insecure.test", 200, "text/plain", &other),
        ("both.secure.test", 200, "text/plain", &other),
        (
            "worse.secure.test",
            200,
            "text/plain",
            "version: STSv1\nmode: enforce\nmx: *.bad.secure.test\nmx: mx.bad.secure.test\nmax_age: 9\n",
        ),
    ];
    let certified: Vec<_> = answers.iter().map(|answer| answer.0).filter(|name| !name.starts_with("wrong.")).collect();
    let _policies = world.policy_host(&certified, &answers);
    let believing = configuration(&world, true, "");
    for (domain, expected, why) in [
        ("enforce.insecure.test", "mail goes to mx.insecure.test: verified", "lists mx.insecure.test"),
        (
            "unlisted.insecure.test",
            "mail does not go: 451 4.7.5 the MTA-STS policy of unlisted.insecure.test does not list mx.insecure.test",
            "the MTA-STS policy does not list it",
        ),
        (
            "pattern.insecure.test",
            "mail does not go: 451 4.7.5 stranger.insecure.test: the certificate is for mx.secure.test, mx.insecure.test, \
             and not for stranger.insecure.test",
            "the MTA-STS policy lists it",
        ),
        ("testing.insecure.test", "mail goes to stranger.insecure.test: encrypted", "does not list stranger"),
        ("none.insecure.test", "mail goes to stranger.insecure.test: encrypted", "has the mode none"),
        ("missing.insecure.test", "mail goes to mx.insecure.test: trusted", "the policy's host answered 404"),
        ("moved.insecure.test", "mail goes to mx.insecure.test: trusted", "the policy's host answered 301"),
        ("html.insecure.test", "mail goes to mx.insecure.test: trusted", "is served as text/html"),
        (
            "garbled.insecure.test",
            "mail goes to mx.insecure.test: trusted",
            "cannot be read: the key version is missing",
        ),
        ("wrong.insecure.test", "mail goes to mx.insecure.test: trusted", "the policy's host: the certificate is for"),
        // M15: DANE is not overridden by a policy, either way.
        ("both.secure.test", "mail goes to mx.secure.test: verified", "DANE decides, and that is only reported"),
        (
            "worse.secure.test",
            "mail does not go: 451 4.7.5 mx.bad.secure.test: the certificate matches none of the TLSA records",
            "the MTA-STS policy lists it",
        ),
    ] {
        let ran = probe_by(&world, &believing, &[domain]);
        assert_eq!(conclusion(&ran), expected, "{domain}");
        assert!(ran.text().contains(why), "{domain}: {why}");
    }
    // What is only tested is reported.
    let tested = report(&probe_by(&world, &believing, &["testing.insecure.test", "--json"]));
    let judged = &tested["hosts"][0]["attempts"][1]["outcome"]["policies"][0];
    assert_eq!(
        (&judged["policy"]["policy-type"], &judged["policy"]["policy-domain"]),
        (&"sts".into(), &"testing.insecure.test".into())
    );
    let kinds: Vec<_> = judged["failures"].as_array().expect("failures").iter().map(|it| &it["result-type"]).collect();
    assert_eq!(kinds, ["validation-failure", "certificate-host-mismatch"]);
    // Who does not believe in the authority gets no policy from its host.
    let ran = probe_by(&world, &configuration(&world, false, ""), &["unlisted.insecure.test"]);
    assert_eq!(conclusion(&ran), "mail goes to mx.insecure.test: encrypted");
}

/// Shows a certificate and signs with another's key.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn d23_the_right_certificate_of_somebody_without_its_key_gets_no_mail() {
    let world = World::start();
    let chain = CertificateDer::from_pem_slice(world.certificate.chain.as_bytes()).expect("a certificate");
    let own = Authority::new().issue(&["thief.test"], Kind::Ecdsa);
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
    let shown = CertifiedKey::new(vec![chain], any_ecdsa_type(&key).expect("a key that signs"));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Thief(Arc::new(shown))));
    let config = Arc::new(config);
    serve(&world, move |stream| pretend(stream, &config));
    let ran = probe(&world, &["secure.test", "--json"]);
    let report = report(&ran);
    assert_eq!((ran.code, &report["goes"]), (Some(1), &false.into()));
    let attempts = report["hosts"][0]["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 1, "and nobody tries again on weaker terms");
    assert_eq!(attempts[0]["refusal"], "451 4.7.5 mx.secure.test: invalid peer certificate: BadSignature");
}

fn pretend(mut stream: TcpStream, config: &Arc<ServerConfig>) -> std::io::Result<()> {
    say(&mut stream, &["220 thief ESMTP\r\n", "250-thief\r\n250 STARTTLS\r\n", "220 go on\r\n"])?;
    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    StreamOwned::new(connection, stream).read(&mut [0; 1]).map(drop)
}

/// Has a mail host that does this with each connection.
fn serve(world: &World, session: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) {
    let listener = world.namespace.inside(|| TcpListener::bind((World::MAIL_HOST, 25)).expect("the port is free"));
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // A client that has seen enough goes away.
            let _ = session(stream);
        }
    });
}

/// Says the first at once, and each other behind a line of the client's.
fn say(stream: &mut TcpStream, replies: &[&str]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    for (place, reply) in replies.iter().enumerate() {
        if place > 0 {
            lines.read_line(&mut String::new())?;
        }
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}

#[test]
fn rows_43_44_and_65_a_host_that_breaks_off_is_told_of_and_one_that_refuses_tls_is_one_without() {
    let world = World::start();
    let script = Arc::new(Mutex::new(Vec::new()));
    let played = script.clone();
    serve(&world, move |mut stream| {
        let script = played.lock().expect("nobody panics").clone();
        say(&mut stream, &script)
    });
    let (greeting, list) = ("220 sink ESMTP\r\n", "250-sink\r\n250 STARTTLS\r\n");
    let host = "mx.nodane.secure.test";
    for (replies, expected) in [
        (&["554 nobody is welcome\r\n", ""][..], "451 4.4.1 HOST: 554 5.0.0 nobody is welcome"),
        (&["not SMTP\r\n", ""], "451 4.4.1 HOST: not a reply of SMTP"),
        (&[""], "451 4.4.1 HOST: the server has closed the connection, and the greeting was to come"),
        (&[greeting, "421 later\r\n", ""], "451 4.4.2 HOST: 421 4.0.0 later"),
        (&["220 sink\r\n250 sink\r\n", ""], "451 4.4.2 HOST: a reply to nothing"),
        (&[greeting, list, "220 go on\r\n250 more\r\n", ""], "451 4.7.5 HOST: bytes behind the reply to STARTTLS"),
        (
            &[greeting, list, ""],
            "451 4.7.5 HOST: the server has closed the connection, and the answer to STARTTLS was to come",
        ),
        (&[greeting, list, "220 go on\r\n", ""], "451 4.7.5 HOST: "),
        (&[greeting, list, "220 go on\r\n", "this is no TLS\r\n"], "451 4.7.5 HOST: "),
        // Who does not know EHLO knows no TLS.
        (&[greeting, "502 what?\r\n", "250 sink\r\n", "221 bye\r\n"], "clear"),
        (&[greeting, list, "454 not now\r\n", "221 bye\r\n"], "clear"),
    ] {
        *script.lock().expect("nobody panics") = replies.to_vec();
        let expected = match expected {
            "clear" => format!("mail goes to {host}: clear"),
            refused => format!("mail does not go: {}", refused.replace("HOST", host)),
        };
        let concluded = conclusion(&probe(&world, &["nodane.secure.test"]));
        assert!(concluded.starts_with(&expected), "{concluded}, and not {expected}");
    }
    let refused = "mail does not go: 451 4.7.4 mx.secure.test does not offer TLS, which DANE makes mandatory";
    assert_eq!(conclusion(&probe(&world, &["secure.test"])), refused, "where it refuses STARTTLS");
}

#[test]
fn one_address_of_a_host_is_enough() {
    let world = World::start();
    let _sink = world.sink();
    // The resolver gives them in any order.
    for _ in 0..4 {
        assert_eq!(conclusion(&probe(&world, &["two.secure.test"])), "mail goes to mx.two.secure.test: encrypted");
    }
}

#[test]
fn it_connects_as_the_queue_says() {
    let world = World::start();
    let asked = |more: &str, domain: &str| {
        probe_by(&world, &configuration(&world, true, &format!("[queue]\n{more}\n")), &[domain, "--json"])
    };
    let local = |ran: &Ran| report(ran)["hosts"][0]["attempts"][0]["refusal"].clone();
    assert_eq!(local(&asked("", "[127.0.0.1]")), Value::Null, "it is not even connected to");
    assert_eq!(
        local(&asked("local-targets = true", "[127.0.0.1]")),
        "451 4.4.1 [127.0.0.1]: 127.0.0.1: Connection refused (os error 111)"
    );

    let client = Arc::new(Mutex::new(Vec::new()));
    let seen = client.clone();
    serve(&world, move |mut stream| {
        let from = stream.peer_addr()?.ip();
        stream.write_all(b"220 sink ESMTP\r\n")?;
        let mut hello = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut hello)?;
        seen.lock().expect("nobody panics").push((from.to_string(), hello));
        stream.write_all(b"250 sink\r\n")?;
        stream.read(&mut [0; 10]).map(drop)
    });
    let more = "source-ip = [\"10.53.0.26\", \"2001:db8::1\"]\nehlo-hostname = \"out.test\"";
    assert_eq!(asked(more, "nodane.secure.test").code, Some(0));
    let seen = std::mem::take(&mut *client.lock().expect("nobody panics"));
    assert_eq!(seen, [("10.53.0.26".to_owned(), "EHLO out.test\r\n".to_owned())]);
    let ran = asked("source-ip = \"192.0.2.1\"", "nodane.secure.test");
    let why = "451 4.4.1 mx.nodane.secure.test: 10.53.0.25: cannot connect from 192.0.2.1: Cannot assign requested address (os error 99)";
    assert_eq!(report(&ran)["hosts"][0]["attempts"][0]["refusal"], why);
    let ran = asked("ip-strategy = \"ipv6-only\"", "nodane.secure.test");
    let why =
        "No mail server of the recipient's domain has an address: mx.nodane.secure.test: the mail host has no address";
    assert_eq!(report(&ran)["refusal"], format!("451 4.4.4 {why}"));
    assert!(client.lock().expect("nobody panics").is_empty());
}

#[test]
fn how_often_tls_is_tried_again_at_once_is_said_in_the_queue() {
    let world = World::start();
    let _sink = world.sink();
    // Its certificate is for names.
    let domain = format!("[{}]", World::MAIL_HOST);
    for (retries, attempts) in [(0, 1), (1, 2), (3, 2)] {
        let more = format!("[queue]\nimmediate-retries = {retries}\n");
        let report = report(&probe_by(&world, &configuration(&world, true, &more), &[&domain, "--json"]));
        assert_eq!(report["hosts"][0]["attempts"].as_array().map(Vec::len), Some(attempts), "{retries}");
        assert_eq!(report["goes"], retries > 0);
    }
}
