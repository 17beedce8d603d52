//! The commands: what they print, what they exit with, and what they leave alone (spec §2).

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Fake, Gateway, Ran, Scratch, plain, run};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailward"));
    command.args(arguments).env_remove("MAILWARD_CONFIG").env_remove("MAILWARD_LOG");
    command
}

fn mailward(arguments: &[&str]) -> Ran {
    run(&command(arguments), b"")
}

fn check(file: &Path) -> Ran {
    mailward(&["check", "--config", &file.display().to_string()])
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(name)
}

fn imap() -> Fake {
    Fake::start(|talk, _| plain::serve("imap", talk))
}

/// A configuration with one listener here.
fn configuration(hostname: &str, bind: &str) -> String {
    format!(
        "[server]\nhostname = \"{hostname}\"\n[server.listener.imap]\nbind = \"{bind}\"\nprotocol = \"imap\"\n\
         [certificate.main]\nself-signed = [\"localhost\"]\n[backend.mail]\naddress = \"127.0.0.1:1\"\n"
    )
}

#[test]
fn check_says_nothing_of_a_good_configuration_and_exits_with_0() {
    let scratch = Scratch::new("check");
    let file = scratch.write("proxy.toml", configuration("mail.example.org", "127.0.0.1:0"));
    // A hard limit as high as servers have: the warning about it has a test of its own.
    let ran = check(&file).succeeds();
    let text = ran.text();
    assert!(text.lines().all(|line| line.contains("file descriptors")), "{text}");
}

#[test]
fn check_prints_every_problem_with_its_place_and_exits_with_1() {
    for entry in fs::read_dir(fixture("bad")).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        let ran = check(&path).fails();
        assert_eq!(ran.code, Some(1));
        let text = fs::read_to_string(&path).expect("text");
        let expected: Vec<_> = text.lines().map_while(|line| line.strip_prefix("#! ")).collect();
        let folder = format!("{}/", fixture("bad").display());
        let printed = ran.text().replace(&folder, "");
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{}", path.display());
    }
}

#[test]
fn check_exits_with_0_where_there_are_warnings_alone() {
    let ran = check(&fixture("good/warnings.toml"));
    let certificates = fs::read_to_string(fixture("good/warnings.toml")).expect("text");
    assert!(certificates.contains("#! "), "the fixture has warnings");
    ran.succeeds().prints(": warning: ");
}

#[test]
fn check_reads_certificates_and_says_what_is_wrong_with_them() {
    let scratch = Scratch::new("check");
    let text = configuration("mail.example.org", "127.0.0.1:0");
    let text = text
        .replace("self-signed = [\"localhost\"]", "cert = \"%{file:mail.crt}%\"\nprivate-key = \"%{file:mail.key}%\"");
    let file = scratch.write("proxy.toml", text);
    check(&file).fails().prints("proxy.toml:").prints("mail.crt");
    scratch.write("mail.crt", "nothing");
    scratch.write("mail.key", "nothing");
    check(&file).fails().prints("certificate.main");
}

#[test]
fn check_reads_the_roots_and_says_what_is_wrong_with_them() {
    let scratch = Scratch::new("check");
    scratch.write("junk.pem", "junk");
    let acme = "[acme.company]\ndirectory = \"https://acme.internal/\"\ndomains = \"mail.internal\"\n\
                challenge = \"dns-01\"\nprovider = \"exec\"\ncommand = \"hook\"\nca = \"missing.pem\"\ndefault = true\n";
    let text = configuration("mail.example.org", "127.0.0.1:0").replace("[server]\n", "[server]\nca = \"junk.pem\"\n");
    let ran = check(&scratch.write("proxy.toml", text + acme)).fails();
    let (junk, missing) = (scratch.join("junk.pem"), scratch.join("missing.pem"));
    ran.prints(&format!("proxy.toml:1:1: server.ca: {}: no certificate found;", junk.display()))
        .prints(&format!("acme.company.ca: {}: No such file", missing.display()));
}

#[test]
fn check_reads_the_trust_anchors_and_says_what_is_wrong_with_them() {
    let scratch = Scratch::new("check");
    let resolver = "[resolver]\ndnssec = \"validate\"\n";
    let text = configuration("mail.example.org", "127.0.0.1:0") + resolver;
    check(&scratch.write("proxy.toml", &text)).succeeds();
    let line = text.lines().count() + 1;
    let file = scratch.write("proxy.toml", text + "trust-anchor = \"root.key\"\n");
    let path = scratch.join("root.key");
    let right = "name a file with DS or DNSKEY records of the root zone";
    check(&file).fails().prints(&format!(
        "proxy.toml:{line}:16: resolver.trust-anchor: {} cannot be read: No such file or directory (os error 2); {right}",
        path.display()
    ));
    scratch.write("root.key", "; nothing\n");
    let what = "there is no DS or DNSKEY record in it";
    check(&file).fails().prints(&format!("resolver.trust-anchor: {}: {what}; {right}", path.display()));
    let digest = "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
    scratch.write("root.key", format!(". IN DS 20326 8 2 {digest}\n"));
    check(&file).succeeds();
}

#[test]
fn check_opens_no_port_and_writes_nothing() {
    let scratch = Scratch::new("check");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let file = scratch.write("proxy.toml", configuration("mail.example.org", &address));
    check(&file).succeeds();
    let names: Vec<_> = fs::read_dir(scratch.path()).expect("a folder").flatten().map(|it| it.file_name()).collect();
    assert_eq!(names, ["proxy.toml"], "no certificate was kept");
}

#[test]
fn explain_shows_each_listener_of_the_shipped_configuration() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml");
    let text = mailward(&["check", "--explain", "--config", &shipped.display().to_string()]).succeeds().text();
    let listeners = [
        ("smtp", "2525", "STARTTLS, not required"),
        ("submission", "5587", "STARTTLS, required"),
        ("submissions", "5465", "implicit: from the first byte"),
        ("imap", "5143", "STARTTLS, required"),
        ("imaps", "5993", "implicit: from the first byte"),
        ("pop3", "5110", "STARTTLS, required"),
        ("pop3s", "5995", "implicit: from the first byte"),
    ];
    for (name, port, tls) in listeners {
        let part = part(&text, name);
        assert!(part.lines().next().is_some_and(|line| line.ends_with(&format!("127.0.0.1:{port}"))), "{part}");
        for row in [
            tls,
            "embedded",
            "TLSv1.2",
            "TLSv1.3",
            "TLS13_AES_256_GCM_SHA384",
            "X25519MLKEM768",
            "max-connections   1000",
        ] {
            assert!(part.contains(row), "{name}: no {row:?} in {part}");
        }
    }
}

/// What is explained of one listener.
fn part<'a>(text: &'a str, listener: &str) -> &'a str {
    let head = format!("{listener}: ");
    text.split("\n\n").find(|part| part.starts_with(&head)).unwrap_or_else(|| panic!("no {listener} in {text}"))
}

#[test]
fn explain_shows_what_the_example_of_the_documents_leaves() {
    let file = fixture("good/server-tls.toml").display().to_string();
    let text = mailward(&["check", "--explain", "--config", &file]).succeeds().text();
    let part = part(&text, "imap");
    for row in
        ["STARTTLS, required", "TLSv1.3", "TLS13_AES_128_GCM_SHA256", "TLS13_CHACHA20_POLY1305_SHA256", "1m", "8192"]
    {
        assert!(part.contains(row), "no {row:?} in {part}");
    }
    for gone in ["TLSv1.2", "TLS13_AES_256_GCM_SHA384", "TLS_ECDHE"] {
        assert!(!part.contains(gone), "{gone:?} in {part}");
    }
}

#[test]
fn the_option_comes_before_the_variable_and_that_before_the_file_in_the_current_folder() {
    let scratch = Scratch::new("order");
    let write =
        |name: &str| scratch.write(&format!("{name}.toml"), configuration(&format!("{name}.example"), "[::1]:0"));
    let (option, variable, _here) = (write("option"), write("variable"), write("proxy"));
    let explained = |command: &mut Command| run(command.current_dir(scratch.path()), b"").succeeds().text();
    let arguments = ["check", "--explain"];
    assert!(explained(&mut command(&arguments)).contains("proxy.example"));
    assert!(explained(command(&arguments).env("MAILWARD_CONFIG", &variable)).contains("variable.example"));
    let mut all = command(&arguments);
    all.arg("--config").arg(&option).env("MAILWARD_CONFIG", &variable);
    assert!(explained(&mut all).contains("option.example"));
    // A variable that is set to nothing is as good as none.
    assert!(explained(command(&arguments).env("MAILWARD_CONFIG", "")).contains("proxy.example"));
    // The option may stand before the command as well.
    let mut before = command(&["--config"]);
    before.arg(&option).args(arguments);
    assert!(explained(&mut before).contains("option.example"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let scratch = Scratch::new("unreadable");
    let nowhere = scratch.join("nowhere.toml");
    for arguments in [&["check"][..], &["serve"], &[]] {
        let mut command = command(arguments);
        let ran = run(command.arg("--config").arg(&nowhere), b"").fails();
        assert_eq!(ran.code, Some(1));
        ran.prints("nowhere.toml").prints("No such file");
    }
    check(scratch.path()).fails().prints("directory");
    check(&scratch.write("latin1.toml", b"[server]\nhostname = \"caf\xe9\"\n")).fails().prints("latin1.toml");
    let empty = check(&scratch.write("empty.toml", "")).fails();
    assert_eq!(empty.code, Some(1));
}

#[test]
fn a_port_in_use_is_named_and_nothing_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Gateway::builder()
        .listener("imap", "imap", imap().address())
        .with("imap", &format!("bind = [\"127.0.0.1:0\", \"{address}\"]"))
        .start_fails();
    assert!(output.contains(&address) && output.contains("cannot listen"), "{output}");
    assert!(output.contains("another program listens there") && !output.contains("\"listening\""), "{output}");
}

#[test]
fn an_address_that_the_machine_does_not_have_is_told_of_as_that() {
    // RFC 5737 §3: nobody's.
    let output = Gateway::builder()
        .listener("imap", "imap", imap().address())
        .with("imap", "bind = \"192.0.2.1:1143\"")
        .start_fails();
    assert!(output.contains("192.0.2.1:1143: cannot listen") && output.contains("that this machine has"), "{output}");
}

#[test]
fn a_second_instance_on_the_same_port_is_refused() {
    let imap = imap();
    let port = support::reserve_port();
    let builder = || {
        Gateway::builder()
            .listener("imap", "imap", imap.address())
            .with("imap", &format!("bind = \"{}\"", port.address()))
    };
    let first = builder().start();
    let output = builder().start_fails();
    assert!(output.contains(&port.address().to_string()), "{output}");
    support::Talk::to(first.address("imap")).expect("* OK");
    // One that ended leaves the port free, whatever the kernel still remembers of its connections.
    drop(first);
    support::Talk::to(builder().start().address("imap")).expect("* OK");
}

#[test]
fn running_as_root_is_warned_about() {
    let gateway = Gateway::builder().listener("imap", "imap", imap().address()).start();
    let is_root = rustix::process::geteuid().is_root();
    let warned = gateway
        .count(|line| line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("as root")));
    assert_eq!(warned, usize::from(is_root));
}

#[test]
fn check_warns_where_the_sessions_do_not_fit_into_the_descriptor_limit() {
    let scratch = Scratch::new("descriptors");
    let text = configuration("mail.example.org", "127.0.0.1:0").replace("[server]\n", "[server]\nworkers = 10\n");
    let file = scratch.write("proxy.toml", text);
    let under = |limit: &str| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(env!("CARGO_BIN_EXE_mailward"));
        run(command.args(["check", "--config"]).arg(&file), b"").succeeds()
    };
    under("1000").prints("warning").prints("hard limit is 1000").prints("LimitNOFILE");
    // Two for each of 8192 sessions, 64 refusals, a socket for each worker, and 128 besides.
    under("16586").prints_no("hard limit");
    under("16585").prints("hard limit");
}

#[test]
fn completions_and_the_manual_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = mailward(&["completions", shell]).succeeds();
        for word in ["mailward", "check", "explain", "completions"] {
            assert!(ran.text().contains(word), "{shell}: no {word}");
        }
    }
    let syntax = mailward(&["completions", "bash"]);
    run(Command::new("bash").arg("-n"), &syntax.out).succeeds();
    let manual = mailward(&["man"]).succeeds().text();
    assert!(manual.contains(".TH") && manual.contains("mailward") && manual.contains("\\-\\-config"), "{manual}");
}

#[test]
fn help_and_version_are_printed_and_a_mistake_is_told() {
    mailward(&["--help"]).succeeds().prints("check").prints("--config");
    mailward(&["--version"]).succeeds().prints(env!("CARGO_PKG_VERSION"));
    for mistake in [&["chekc"][..], &["check", "--explian"], &["completions", "csh"], &["--log-format", "xml"]] {
        let ran = mailward(mistake).fails();
        assert_eq!(ran.code, Some(2), "{mistake:?}");
        assert!(ran.text().is_empty() && !ran.err.is_empty());
    }
}

#[test]
fn a_mistake_in_the_variable_for_the_log_is_told() {
    let wrong = run(command(&["check"]).env("MAILWARD_LOG", "inof"), b"").fails();
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.text().is_empty() && wrong.err.contains("MAILWARD_LOG: \"inof\" is not a level"), "{}", wrong.err);
}
