//! Certificates from files: which one a client sees, what is wrong with one, and how a new one comes into force.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::{Authority, Gateway, GatewayBuilder, Kind, NAME, SClient, Talk, mailward, run};

/// A table for a pair of files in the gateway's directory.
fn pair(file: &str, further: &str) -> String {
    format!(
        "[certificate.{file}]\ncert = \"%{{file:{file}.crt}}%\"\nprivate-key = \"%{{file:{file}.key}}%\"\n{further}\n"
    )
}

/// The common name of the certificate that a client sees which asks for `name`; an empty one asks for none.
#[track_caller]
fn shown(gateway: &Gateway, name: &str) -> String {
    shown_to(SClient::at(&gateway.implicit("imaps"), "imap").server_name(name))
}

#[track_caller]
fn shown_to(client: SClient) -> String {
    let seen = client.handshake();
    seen.subject().strip_prefix("CN = ").unwrap_or_else(|| panic!("no subject: {}", seen.report())).to_owned()
}

fn imaps() -> GatewayBuilder {
    Gateway::builder().implicit("imaps", "imap", "embedded")
}

/// What `mailward check` says: its exit code and all that it printed.
fn check(builder: &GatewayBuilder) -> (Option<i32>, String) {
    builder.write();
    mailward(&["check", "--config", &builder.scratch().join("proxy.toml").display().to_string()])
}

#[test]
fn a_certificate_comes_from_a_file_from_the_text_itself_or_from_the_environment() {
    let issued = Authority::new().issue(&["inline.example.org"], Kind::Ecdsa);
    let inline = format!(
        "[certificate.inline]\ncert = \"\"\"\n{}\"\"\"\nprivate-key = \"\"\"\n{}\"\"\"\n",
        issued.chain, issued.key
    );
    let variable = Authority::new().issue(&["env.example.org"], Kind::Rsa);
    let environment = "[certificate.env]\ncert = \"%{env:CHAIN}%\"\nprivate-key = \"%{env:KEY}%\"\n";
    let gateway = imaps()
        .certificates(&(pair("mail", "default = true") + &inline + environment))
        .environment("CHAIN", &variable.chain)
        .environment("KEY", &variable.key)
        .start();
    assert_eq!(shown(&gateway, NAME), NAME);
    assert_eq!(shown(&gateway, "inline.example.org"), "inline.example.org");
    assert_eq!(shown(&gateway, "env.example.org"), "env.example.org");
}

#[test]
fn the_name_asked_for_picks_exactly_then_by_a_wildcard_of_one_label_then_the_default() {
    let tables = [pair("exact", ""), pair("wild", ""), pair("mail", "default = true")].concat();
    let gateway = imaps()
        .issue("exact", &["mx.example.net", "UPPER.Example.NET"], Kind::Ecdsa)
        .issue("wild", &["*.example.net"], Kind::Rsa)
        .certificates(&tables)
        .start();
    for (asked, expected) in [
        ("mx.example.net", "mx.example.net"),
        ("MX.EXAMPLE.net", "mx.example.net"),
        ("upper.example.net", "mx.example.net"),
        ("imap.example.net", "*.example.net"),
        ("a.imap.example.net", NAME),
        ("a.mx.example.net", NAME),
        ("example.net", NAME),
        ("mail.example.org.evil.example", NAME),
        (NAME, NAME),
        ("", NAME),
    ] {
        assert_eq!(shown(&gateway, asked), expected, "{asked:?} was asked for");
    }
}

#[test]
fn a_certificate_alone_is_the_default() {
    let gateway = imaps().start();
    assert_eq!(shown(&gateway, ""), NAME);
    assert_eq!(shown(&gateway, "unknown.example"), NAME);
}

#[test]
fn a_key_that_does_not_fit_is_an_error_that_names_the_files_and_the_reason() {
    let builder = imaps().issue("other", &[NAME], Kind::Ecdsa);
    fs::copy(builder.scratch().join("other.key"), builder.scratch().join("mail.key")).expect("a copy");
    let (code, said) = check(&builder);
    assert_eq!(code, Some(1));
    let said = said + &builder.start_fails();
    for part in
        ["proxy.toml:", "certificate.main: ", "mail.crt with ", "mail.key: ", "does not fit the certificate for"]
    {
        assert_eq!(said.matches(part).count(), 2, "{part:?} in {said}");
    }
}

#[test]
fn a_directory_holds_pairs_in_both_layouts() {
    let builder =
        imaps().certificates(&(pair("mail", "default = true") + "[certificate.hosted]\ndirectory = \"hosted\"\n"));
    let (scratch, authority) = (builder.scratch(), Authority::new());
    scratch.directory("hosted/nested");
    authority.issue(&["flat.example"], Kind::Ecdsa).write(scratch, "hosted/flat.example");
    let nested = authority.issue(&["nested.example", "*.nested.example"], Kind::Rsa);
    scratch.write("hosted/nested/fullchain.pem", &nested.chain);
    scratch.write("hosted/nested/privkey.pem", &nested.key);
    scratch.write("hosted/README", "not a certificate");
    let gateway = builder.start();
    for (asked, expected) in [
        ("flat.example", "flat.example"),
        ("nested.example", "nested.example"),
        ("a.nested.example", "nested.example"),
        ("other.example", NAME),
    ] {
        assert_eq!(shown(&gateway, asked), expected, "{asked:?} was asked for");
    }
}

#[test]
fn a_broken_pair_in_a_directory_and_an_empty_directory_are_errors_that_name_the_file() {
    let builder =
        imaps().certificates(&(pair("mail", "default = true") + "[certificate.hosted]\ndirectory = \"hosted\"\n"));
    builder.scratch().directory("hosted");
    let (code, said) = check(&builder);
    assert!(code == Some(1) && said.contains("hosted: no pair found; expected NAME.crt with NAME.key"), "{said}");
    builder.scratch().write("hosted/a.crt", Authority::new().issue(&["a.example"], Kind::Ecdsa).chain);
    let (code, said) = check(&builder);
    assert!(code == Some(1) && said.contains("hosted/a.key: No such file"), "{said}");
    fs::rename(builder.scratch().join("hosted/a.crt"), builder.scratch().join("hosted/a.txt")).expect("a rename");
    builder.scratch().write("hosted/a.key", Authority::new().issue(&["a.example"], Kind::Ecdsa).key);
    let (code, said) = check(&builder);
    assert!(code == Some(1) && said.contains("hosted/a.crt: No such file"), "{said}");
    fs::rename(builder.scratch().join("hosted/a.txt"), builder.scratch().join("hosted/a.crt")).expect("a rename");
    let said = builder.start_fails();
    assert!(said.contains("hosted/a.crt: the private key does not fit the certificate for a.example"), "{said}");
}

#[test]
fn of_an_rsa_and_an_ecdsa_certificate_for_one_name_the_clients_abilities_choose() {
    let tables = pair("mail", "default = true") + &pair("rsa", "default = true");
    // The common names tell them apart; both stand for the same name.
    let gateway = imaps()
        .implicit("old", "imap", "embedded")
        .with("old", "tls.disable-protocols = \"TLSv1.3\"")
        .issue("mail", &["ecdsa.example.org", NAME], Kind::Ecdsa)
        .issue("rsa", &["rsa.example.org", NAME], Kind::Rsa)
        .certificates(&tables)
        .start();
    for (listener, name) in [("imaps", NAME), ("old", NAME), ("imaps", ""), ("old", "")] {
        let client = || SClient::at(&gateway.implicit(listener), "imap").server_name(name);
        let seen = |client: SClient| shown_to(client).split('.').next().unwrap_or_default().to_owned();
        assert_eq!(seen(client()), "ecdsa", "{listener}: a client that can do both");
        if listener == "imaps" {
            assert_eq!(seen(client().version("-tls1_3").signatures("RSA-PSS+SHA256")), "rsa");
            assert_eq!(seen(client().version("-tls1_3").signatures("ECDSA+SHA256")), "ecdsa");
        }
        assert_eq!(seen(client().version("-tls1_2").ciphers("ECDHE-RSA-AES256-GCM-SHA384")), "rsa");
        assert_eq!(seen(client().version("-tls1_2").ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")), "ecdsa");
        assert_eq!(seen(client().version("-tls1_2").signatures("RSA+SHA256:RSA-PSS+SHA256")), "rsa");
    }
}

#[test]
fn a_client_that_can_use_no_certificate_gets_a_handshake_failure() {
    let gateway = imaps().start();
    let client = || SClient::at(&gateway.implicit("imaps"), "imap");
    client().version("-tls1_3").signatures("RSA-PSS+SHA256").run().fails().prints("alert handshake failure");
    client().version("-tls1_2").ciphers("aRSA+AESGCM").run().fails().prints("alert handshake failure");
    assert_eq!(gateway.nth_session("imaps", 0)["reason"], "no-fitting-certificate");
    assert_eq!(gateway.nth_session("imaps", 1)["reason"], "no-common-cipher");
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let builder = imaps();
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let expired = Authority::new().issue_with(&[NAME], Kind::Ecdsa, |params| params.not_after = yesterday.into());
    expired.write(builder.scratch(), "mail");
    let (code, said) = check(&builder);
    assert!(code == Some(0) && said.contains("warning: certificate.main: it expired on "), "{said}");
    assert_eq!(shown(&builder.start(), NAME), NAME);
}

#[test]
fn a_chain_in_the_wrong_order_or_with_its_root_is_repaired_with_a_warning() {
    let builder = imaps();
    let root = Authority::new();
    let middle = root.intermediate();
    let leaf = middle.issue(&[NAME], Kind::Ecdsa);
    let scratch = builder.scratch();
    scratch.write("ca.pem", root.pem());
    scratch.write("mail.key", &leaf.key);
    scratch.write("mail.crt", format!("{}{}", leaf.chain, middle.pem()));
    let (code, said) = check(&builder);
    assert_eq!((code, said.as_str()), (Some(0), ""), "a proper chain");
    scratch.write("mail.crt", format!("{}{}{}", leaf.chain, middle.pem(), root.pem()));
    let (code, said) = check(&builder);
    assert!(code == Some(0) && said.contains("warning: certificate.main: its chain includes the root"), "{said}");
    scratch.write("mail.crt", format!("{}{}{}", middle.pem(), root.pem(), leaf.chain));
    let (code, said) = check(&builder);
    assert!(code == Some(0) && said.contains("warning: certificate.main: its chain is in the wrong order"), "{said}");

    let gateway = builder.start();
    let client = SClient::at(&gateway.implicit("imaps"), "imap").arguments(&["-showcerts"]);
    let seen = client.handshake();
    assert_eq!(seen.report().matches("BEGIN CERTIFICATE").count(), 2, "leaf and intermediate: {}", seen.report());
    assert_eq!(seen.subject(), format!("CN = {NAME}"));
}

#[test]
fn several_certificates_need_a_default_and_only_one_of_each_key_type() {
    let two = |kind: Kind, first: &str, second: &str| {
        imaps()
            .issue("second", &["second.example"], kind)
            .certificates(&(pair("mail", first) + &pair("second", second)))
    };
    let (code, said) = check(&two(Kind::Ecdsa, "", ""));
    assert!(code == Some(1) && said.contains("certificate.mail.default: is true nowhere"), "{said}");
    let (code, said) = check(&two(Kind::Ecdsa, "default = true", "default = true"));
    assert!(code == Some(1) && said.contains("certificate.mail and certificate.second are both the default"), "{said}");
    let (code, said) = check(&two(Kind::Rsa, "default = true", "default = true"));
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let (code, said) = check(&two(Kind::Ecdsa, "default = true", "default = false"));
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

#[test]
fn an_encrypted_key_is_an_error_that_says_how_to_decrypt_it() {
    let builder = imaps().issue("mail", &[NAME], Kind::Rsa);
    let plain = builder.scratch().join("mail.key");
    let original = fs::read(&plain).expect("the key");
    // As PKCS#8 and as OpenSSL's own older form.
    for arguments in [&["pkey", "-aes256"][..], &["rsa", "-traditional", "-aes256"]] {
        builder.scratch().write("plain.key", &original);
        let mut encrypt = Command::new("openssl");
        encrypt.args(arguments).args(["-passout", "pass:secret", "-in"]).arg(builder.scratch().join("plain.key"));
        encrypt.arg("-out").arg(&plain);
        run(&encrypt, b"").succeeds();
        let (code, said) = check(&builder);
        let expected = "mail.key: private key: the private key is encrypted; decrypt it first";
        assert!(code == Some(1) && said.contains(expected), "{said}");
    }
}

#[test]
fn a_missing_or_empty_certificate_file_is_an_error_that_names_it() {
    let builder = imaps();
    builder.scratch().write("mail.crt", "");
    let (code, said) = check(&builder);
    assert!(code == Some(1) && said.contains("mail.key: certificate: no certificate found"), "{said}");
    fs::remove_file(builder.scratch().join("mail.crt")).expect("it is there");
    let said = builder.start_fails();
    assert!(said.contains("mail.crt cannot be read: No such file"), "{said}");
}

/// Waits for the word that a certificate came into force by itself.
fn read_anew(gateway: &Gateway, name: &str) {
    gateway.log_line("a certificate to be read anew", |line| {
        line["message"] == "a certificate was read anew" && line["name"] == name
    });
}

#[test]
fn a_changed_pair_is_picked_up_by_itself_once_both_files_fit_and_sessions_go_on() {
    let gateway = imaps().start();
    let mut running = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    running.expect("* OK");
    running.send("a LOGIN alice secret\r\n").until("a OK");

    let new = gateway.authority.issue(&["new.example.org", NAME], Kind::Ecdsa);
    gateway.scratch.write("mail.crt", &new.chain);
    gateway.log_line("the half-written pair to be refused", |line| {
        line["message"].as_str().is_some_and(|text| {
            text.contains("does not fit the certificate") && text.ends_with("the one before it stays in force")
        })
    });
    assert_eq!(shown(&gateway, NAME), NAME);
    gateway.scratch.write("mail.key", &new.key);
    read_anew(&gateway, "new.example.org");
    assert_eq!(shown(&gateway, NAME), "new.example.org");
    running.send("b NOOP\r\n").until("b OK");
}

#[test]
fn in_a_directory_new_pairs_appear_and_what_was_there_survives_while_it_is_replaced() {
    let builder =
        imaps().certificates(&(pair("mail", "default = true") + "[certificate.hosted]\ndirectory = \"hosted\"\n"));
    builder.scratch().directory("hosted");
    let authority = Authority::new();
    authority.issue(&["one.example"], Kind::Ecdsa).write(builder.scratch(), "hosted/one");
    let gateway = builder.start();
    assert_eq!(shown(&gateway, "two.example"), NAME);
    authority.issue(&["two.example"], Kind::Ecdsa).write(&gateway.scratch, "hosted/two");
    read_anew(&gateway, "two.example");
    assert_eq!(shown(&gateway, "two.example"), "two.example");

    let (hosted, aside) = (gateway.scratch.join("hosted"), gateway.scratch.join("aside"));
    fs::rename(&hosted, &aside).expect("a rename");
    gateway.log_line("the missing directory to be noticed", |line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("certificate.hosted: ") && text.contains("No such file"))
    });
    assert_eq!(shown(&gateway, "one.example"), "one.example");
    authority.issue(&["newer.example", "one.example"], Kind::Ecdsa).write(&gateway.scratch, "aside/one");
    fs::rename(&aside, &hosted).expect("a rename");
    read_anew(&gateway, "newer.example");
    assert_eq!(shown(&gateway, "one.example"), "newer.example");
    assert_eq!(shown(&gateway, "two.example"), "two.example");
}

/// Waits for a warning that holds `part` and says that nothing has changed by it.
fn kept_out_of_force(gateway: &Gateway, part: &str) {
    gateway.log_line("the change to be kept out of force", |line| {
        line["level"] == "WARN"
            && line["message"].as_str().is_some_and(|text| text.contains(part) && text.ends_with("stay in force"))
    });
}

#[test]
fn a_second_pair_that_leaves_no_default_does_not_come_into_force_by_itself() {
    let builder = imaps().certificates("[certificate.hosted]\ndirectory = \"hosted\"\n");
    builder.scratch().directory("hosted");
    let authority = Authority::new();
    authority.issue(&["one.example"], Kind::Ecdsa).write(builder.scratch(), "hosted/one");
    let gateway = builder.start();
    authority.issue(&["two.example"], Kind::Ecdsa).write(&gateway.scratch, "hosted/two");
    kept_out_of_force(&gateway, "there are several certificates and none is the default");
    assert_eq!(shown(&gateway, ""), "one.example");
    assert_eq!(shown(&gateway, "two.example"), "one.example");
}

#[test]
fn a_renewal_with_a_key_that_no_cipher_is_left_for_does_not_come_into_force_by_itself() {
    let without_rsa = "tls.disable-protocols = \"TLSv1.3\"\ntls.disable-ciphers = [\"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\", \
                       \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\", \"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256\"]";
    let gateway = imaps().with("imaps", without_rsa).start();
    gateway.authority.issue(&["new.example.org", NAME], Kind::Rsa).write(&gateway.scratch, "mail");
    kept_out_of_force(&gateway, "every cipher that");
    assert_eq!(shown(&gateway, NAME), NAME);
    gateway.authority.issue(&["newer.example.org", NAME], Kind::Ecdsa).write(&gateway.scratch, "mail");
    read_anew(&gateway, "newer.example.org");
    assert_eq!(shown(&gateway, NAME), "newer.example.org");
}

#[test]
fn a_pipe_in_the_place_of_a_certificate_holds_up_nothing() {
    let mut gateway = imaps().start();
    let chain = gateway.scratch.join("mail.crt");
    let pipe = gateway.scratch.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    fs::rename(&pipe, &chain).expect("a rename");
    let told = "it is no regular file; the one before it stays in force";
    gateway.log_line("a word on the pipe", |line| line["message"].as_str().is_some_and(|text| text.ends_with(told)));
    assert_eq!(shown(&gateway, NAME), NAME);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn a_reload_swaps_certificates_without_dropping_a_session_and_a_broken_one_keeps_the_old() {
    let gateway = imaps().start();
    let mut running = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    running.expect("* OK");
    running.send("a LOGIN alice secret\r\n").until("a OK");

    gateway.authority.issue(&["two.example.org", NAME], Kind::Rsa).write(&gateway.scratch, "mail");
    assert!(gateway.reload());
    assert_eq!(shown(&gateway, NAME), "two.example.org");
    running.send("b NOOP\r\n").until("b OK");

    gateway.scratch.write("mail.key", Authority::new().issue(&[NAME], Kind::Rsa).key);
    assert!(!gateway.reload());
    gateway.log_line("the reason", |line| {
        line["level"] == "ERROR" && line["message"].as_str().is_some_and(|text| text.contains("does not fit"))
    });
    assert_eq!(shown(&gateway, NAME), "two.example.org");
    running.send("c LOGOUT\r\n").until("c OK");
    assert_eq!(gateway.session("imaps", "ok")["user"], "alice");
}

#[test]
fn a_self_signed_certificate_is_made_at_the_first_start_with_a_private_key_file_and_not_by_check() {
    let builder = imaps().certificates("[certificate.dev]\nself-signed = [\"localhost\", \"mail.test\"]\n");
    let (code, said) = check(&builder);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(!builder.scratch().join("certs").exists(), "check has written");
    let gateway = builder.start();
    let (certificate, key) =
        (gateway.scratch.join("certs/dev-self-signed.crt"), gateway.scratch.join("certs/dev-self-signed.key"));
    let mode = fs::metadata(&key).expect("a key file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for name in ["localhost", "mail.test"] {
        let mut target = gateway.implicit("imaps");
        (target.name, target.ca) = (name.into(), certificate.clone());
        SClient::at(&target, "imap").handshake();
    }
    let made = fs::read(&certificate).expect("a certificate file");
    assert!(gateway.reload());
    assert_eq!(fs::read(&certificate).expect("a certificate file"), made, "it is kept");
}
