//! The first certificate from an ACME authority, Debian's Pebble: by each challenge, for each kind of account, key and chain,
//! and what listeners say until it is there.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Instant;

use support::{Fake, Gateway, NAME, Named, Pebble, Python, Ran, SClient, Security, Shown, Target, figure, plain, run};

fn bind(address: SocketAddr) -> String {
    format!("bind = \"{address}\"")
}

fn curl(arguments: &[&str]) -> Ran {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include"]).args(arguments);
    run(&command, b"")
}

#[test]
fn tls_alpn_01_gets_a_chain_that_real_clients_verify_on_every_kind_of_listener() {
    let pebble = Pebble::builder().start();
    let begun = Instant::now();
    let gateway =
        Gateway::imaps_from(&pebble).listener("smtp", "smtp", "embedded").listener("pop3", "pop3", "embedded").start();
    let shown = gateway.shows("imaps", &pebble.roots(0));
    figure(&format!("a certificate by tls-alpn-01 from pebble with its sleeps: {} ms", begun.elapsed().as_millis()));
    assert_eq!(shown.names, [NAME]);

    let root = pebble.root(0);
    let smtp = Target::starttls(gateway.address("smtp"), NAME, &root);
    let pop3 = Target::starttls(gateway.address("pop3"), NAME, &root);
    let imaps = Target::implicit(gateway.address("imaps"), NAME, &root);
    for (target, protocol) in [(&smtp, "smtp"), (&pop3, "pop3"), (&imaps, "imap")] {
        let seen = SClient::at(target, protocol).handshake();
        assert!(seen.report().contains("Verify return code: 0 (ok)"), "{}", seen.report());
    }
    Python::at(&imaps).login("imap", "PLAIN", false, "alice").succeeds().prints("logged in");
    assert_eq!(
        kept(&gateway),
        [("acme/main", 0o700), ("acme/main/account.json", 0o600), ("acme/main/ecdsa-p256.pem", 0o600)]
    );
}

/// The cache's files that must be there, and their modes.
fn kept(gateway: &Gateway) -> [(&'static str, u32); 3] {
    ["acme/main", "acme/main/account.json", "acme/main/ecdsa-p256.pem"].map(|name| {
        let metadata = fs::metadata(gateway.scratch.join(name)).expect("the cache");
        (name, metadata.permissions().mode() & 0o777)
    })
}

#[test]
fn tls_alpn_01_is_answered_by_an_http_listener_with_implicit_tls_too() {
    let pebble = Pebble::builder().start();
    let gateway = Gateway::builder()
        .http("web")
        .with("web", &(bind(pebble.tls()) + "\ntls.implicit = true"))
        .implicit("imaps", "imap", "embedded")
        .acme("main", &pebble.directory(), &pebble.ca())
        .start();
    gateway.shows("imaps", &pebble.roots(0));
    let url = format!("https://{NAME}:{}/", pebble.tls().port());
    let resolve = format!("{NAME}:{}:{}", pebble.tls().port(), pebble.tls().ip());
    let root = pebble.root(0).display().to_string();
    curl(&["--cacert", &root, "--resolve", &resolve, &url]).succeeds().prints("404");
}

#[test]
fn http_01_is_answered_by_an_http_listener() {
    let pebble = Pebble::builder().start();
    let gateway = Gateway::builder()
        .http("web")
        .with("web", &(bind(pebble.http()) + "\nredirect-https = true"))
        .implicit("imaps", "imap", "embedded")
        .acme("main", &pebble.directory(), &pebble.ca())
        .acme_with("main", "challenge = \"http-01\"")
        .start();
    gateway.shows("imaps", &pebble.roots(0));
    let web = format!("http://{}", pebble.http());
    curl(&[&format!("{web}/.well-known/acme-challenge/unknown")]).succeeds().prints("404");
    curl(&["--header", &format!("Host: {NAME}"), &format!("{web}/mail?a=b")])
        .succeeds()
        .prints(&format!("ocation: https://{NAME}/mail?a=b"));
}

#[test]
fn dns_01_issues_for_a_domain_and_its_wildcard_by_signed_updates() {
    let named = Named::builder().zone("example.org").start();
    let pebble = Pebble::builder().resolver(named.address()).start();
    let provider = format!(
        "challenge = \"dns-01\"\nprovider = \"rfc2136-tsig\"\nhost = \"{}\"\nport = {}\nkey = \"{}\"\nsecret = \"{}\"\n\
         tsig-algorithm = \"hmac-sha256\"\npolling-interval = \"1s\"\ndomains = [\"example.org\", \"*.example.org\"]",
        named.address().ip(),
        named.address().port(),
        Named::KEY,
        Named::SECRET
    );
    let gateway = Gateway::imaps_from(&pebble).acme_with("main", &provider).start();
    let shown = gateway.shows("imaps", &pebble.roots(0));
    assert_eq!(shown.names, ["*.example.org", "example.org"]);
    assert_eq!(named.texts("_acme-challenge.example.org"), [""; 0], "what was written is removed");
}

#[test]
fn dns_01_issues_by_a_command_of_the_operators() {
    let pebble = Pebble::builder().start();
    let builder = Gateway::imaps_from(&pebble);
    // RECORDS present NAME VALUE
    let hook = "#!/bin/sh\n[ \"$2\" = present ] && what=set-txt || what=clear-txt\necho \"$2 $3\" >>\"$0.calls\"\n\
                exec curl --silent --fail --data \"{\\\"host\\\":\\\"$3\\\",\\\"value\\\":\\\"$4\\\"}\" \"http://$1/$what\"\n";
    let hook = builder.scratch().write("hook", hook);
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("own file");
    let provider = format!(
        "challenge = \"dns-01\"\nprovider = \"exec\"\ncommand = [\"{}\", \"{}\"]",
        hook.display(),
        pebble.records()
    );
    let gateway = builder.acme_with("main", &provider).start();
    gateway.shows("imaps", &pebble.roots(0));
    let calls = fs::read_to_string(gateway.scratch.join("hook.calls")).expect("the hook was called");
    assert_eq!(calls, format!("present _acme-challenge.{NAME}.\nwithdraw _acme-challenge.{NAME}.\n"));
}

#[test]
fn an_account_that_the_authority_knows_is_bound_to_by_its_key() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::builder().hurried().binding("kid-1", key).start();
    let gateway = Gateway::imaps_from(&pebble).start();
    gateway.certs_say("externalAccountRequired");
    assert_eq!(gateway.shown("imaps", &pebble.roots(0)), None);
    gateway.edit("[acme.main]\n", &format!("[acme.main]\neab.kid = \"kid-1\"\neab.hmac-key = \"{key}\"\n"));
    assert!(gateway.reload());
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
}

#[test]
fn the_preferred_chain_is_the_one_that_is_served() {
    let pebble = Pebble::builder().hurried().alternates(2).start();
    let preferred = format!("preferred-chain = \"{}\"", pebble.root_name(2));
    let gateway = Gateway::imaps_from(&pebble).acme_with("main", &preferred).start();
    gateway.shows("imaps", &pebble.roots(2));
    assert_eq!(gateway.shown("imaps", &pebble.roots(0)), None, "the default chain");
    let target = Target::implicit(gateway.address("imaps"), NAME, &pebble.root(2));
    SClient::at(&target, "imap").handshake();
}

#[test]
fn where_no_chain_leads_to_the_preferred_root_the_default_one_is_served_with_a_warning() {
    let pebble = Pebble::builder().hurried().alternates(1).start();
    let gateway = Gateway::imaps_from(&pebble).acme_with("main", "preferred-chain = \"No Such Root\"").start();
    gateway.shows("imaps", &pebble.roots(0));
    gateway.log_line("a warning", |line| line["level"] == "WARN" && line.to_string().contains("No Such Root"));
}

#[test]
fn a_list_of_key_types_keeps_a_certificate_of_each() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).acme_with("main", "key-type = [\"ecdsa-p384\", \"rsa-2048\"]").start();
    let target = Target::implicit(gateway.address("imaps"), NAME, &pebble.root(0));
    for (signature, kind) in [("ECDSA+SHA384", "ECDSA"), ("RSA-PSS+SHA256", "RSA-PSS")] {
        let seen = support::eventually(|| {
            let ran = SClient::at(&target, "imap").signatures(signature).run();
            (ran.code == Some(0)).then(|| ran.all())
        });
        let seen = seen.unwrap_or_else(|| panic!("no certificate for {signature}: {}", gateway.certs()));
        assert!(seen.contains(&format!("Peer signature type: {kind}\n")), "{seen}");
    }
}

#[test]
fn until_the_first_certificate_is_there_every_listener_answers_and_none_goes_on() {
    let mut pebble = Pebble::builder().hurried().start();
    pebble.stop();
    let mut builder = Gateway::imaps_from(&pebble);
    for protocol in plain::PROTOCOLS {
        let backend = Fake::start(move |talk, _| plain::serve(protocol, talk));
        builder = builder.listener(protocol, protocol, backend.address());
    }
    let gateway = builder.start();
    for (protocol, farewell) in [
        ("smtp", "421"),
        ("submission", "421"),
        ("lmtp", "421"),
        ("imap", "* BYE"),
        ("pop3", "-ERR"),
        ("managesieve", "BYE"),
    ] {
        let mut talk = gateway.talk(protocol, Security::Plain);
        talk.expect(farewell);
        talk.closes();
    }
    assert_eq!(gateway.shown("imaps", &pebble.roots(0)), None);
    pebble.start_again();
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
    for protocol in plain::PROTOCOLS {
        let mut talk = gateway.talk(protocol, Security::StartTls);
        plain::greet(protocol, &mut talk);
        plain::start_tls(protocol, &mut talk);
        assert!(Shown::on(talk, &pebble.roots(0)).is_some(), "{protocol}");
    }
}

#[test]
fn a_self_signed_certificate_stands_in_until_the_first_one_is_there() {
    let mut pebble = Pebble::builder().hurried().start();
    pebble.stop();
    let gateway = Gateway::builder()
        .certificates("[certificate.meanwhile]\nself-signed = [\"localhost\"]\n")
        .implicit("imaps", "imap", "embedded")
        .with("imaps", &bind(pebble.tls()))
        .acme("main", &pebble.directory(), &pebble.ca())
        .start();
    let meanwhile = Target::implicit(
        gateway.address("imaps"),
        "localhost",
        &gateway.scratch.join("certs/meanwhile-self-signed.crt"),
    );
    SClient::at(&meanwhile, "imap").handshake();
    assert_eq!(gateway.shown("imaps", &pebble.roots(0)), None);
    pebble.start_again();
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
}
