//! The commands that speak to a running mailward, and the socket they speak over (spec §2, §5).

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use serde_json::Value;
use support::{Fake, Gateway, GatewayBuilder, NAME, Ran, Scratch, Talk, eventually, plain};

fn imap() -> Fake {
    Fake::start(|talk, _| plain::serve("imap", talk))
}

/// A gateway with one listener that speaks TLS from the first byte.
fn imaps(backend: &Fake) -> GatewayBuilder {
    Gateway::builder().implicit("imaps", "imap", backend.address())
}

fn socket(gateway: &Gateway) -> PathBuf {
    gateway.scratch.join("state/control.sock")
}

fn is_socket(path: &PathBuf) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Refused as a command line is: with exit code 1, not by a crash.
#[track_caller]
fn refused(ran: Ran) -> Ran {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran
}

#[test]
fn reload_says_that_it_is_done_or_prints_what_is_wrong() {
    let imap = imap();
    let gateway = imaps(&imap).start();
    gateway.command(&["reload"]).succeeds().prints("reloaded");
    gateway.log_line("a reload", |line| line["message"] == "the configuration was reloaded");
    gateway.edit("protocol = \"imap\"", "protocol = \"imapd\"");
    let told = refused(gateway.command(&["reload"])).text();
    let checked = refused(gateway.command(&["check"])).text();
    assert!(told.contains("proxy.toml:") && told.contains("\"imapd\" is unknown"), "{told}");
    assert_eq!(told, checked);
    Talk::to(gateway.address("imaps")).tls(gateway.authority.roots()).expect("* OK");
}

#[test]
fn a_signal_that_means_nothing_is_told_of_and_ends_nothing() {
    let imap = imap();
    let gateway = imaps(&imap).start();
    let mut talk = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    talk.expect("* OK");
    gateway.signal("USR1");
    let means = "SIGUSR1 means nothing here";
    gateway.log_line(means, |line| line["message"].as_str().is_some_and(|said| said.starts_with(means)));
    talk.ask("a NOOP", "a OK");
}

/// To wait for who writes into it would be for ever, and with it for every other signal.
#[test]
fn a_pipe_in_the_place_of_a_key_is_refused_and_the_process_goes_on() {
    let imap = imap();
    let mut gateway = imaps(&imap).start();
    let key = gateway.scratch.join("mail.key");
    assert!(fs::read_to_string(gateway.scratch.join("proxy.toml")).expect("text").contains("mail.key"));
    fs::remove_file(&key).expect("the key");
    support::run(std::process::Command::new("mkfifo").arg(&key), b"").succeeds();
    let told = refused(gateway.command(&["reload"])).text();
    assert!(told.contains("mail.key cannot be read: it is no regular file"), "{told}");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn policies_are_listed_and_forgotten_also_where_there_are_none() {
    let imap = imap();
    let gateway = imaps(&imap).start();
    gateway.command(&["policy", "list"]).succeeds().prints("no policy is known");
    let json: Value = serde_json::from_str(&gateway.command(&["policy", "list", "--json"]).succeeds().text()).unwrap();
    assert_eq!(json, serde_json::json!({ "policies": [] }));
    refused(gateway.command(&["policy", "forget", "a\n.example"])).prints(r#"of a policy of "a\n.example""#);
    assert!(!gateway.scratch.join("state/outbound.redb").exists(), "nothing relays");
}

#[test]
fn drain_ends_the_process_in_good_order_whatever_is_wrong_with_the_file_meanwhile() {
    let imap = imap();
    let mut gateway = imaps(&imap).start();
    gateway.edit("protocol = \"imap\"", "protocol = \"imapd\"");
    gateway.command(&["drain"]).succeeds().prints("stopping");
    assert_eq!(gateway.ended(), Some(0));
    assert!(!socket(&gateway).exists());
}

#[test]
fn while_it_drains_it_says_so() {
    let pop3 = Fake::start(|talk, _| plain::serve("pop3", talk));
    let mut gateway = Gateway::builder().implicit("pop3s", "pop3", pop3.address()).start();
    // POP3 sessions may finish.
    let mut held = Talk::to(gateway.address("pop3s")).tls(gateway.authority.roots());
    plain::greet("pop3", &mut held);
    plain::log_in("pop3", &mut held);
    gateway.command(&["drain"]).succeeds();
    gateway.log_line("the drain", |line| line["message"].as_str().is_some_and(|text| text.starts_with("stopping:")));
    refused(gateway.command(&["reload"])).prints("mailward is stopping");
    drop(held);
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn without_a_process_commands_say_so_and_fail() {
    let imap = imap();
    let mut gateway = imaps(&imap).start();
    let commands: [&[&str]; 6] = [
        &["reload"],
        &["drain"],
        &["certs", "renew", "main"],
        &["certs", "next-key", "main"],
        &["policy", "list"],
        &["policy", "forget", "example.org"],
    ];
    gateway.signal("KILL");
    gateway.ended();
    // What it has left looks like a socket, and nobody answers there.
    assert!(is_socket(&socket(&gateway)));
    for left in [true, false] {
        for command in commands {
            refused(gateway.command(command)).prints("no mailward runs that answers at").prints("state/control.sock");
        }
        if left {
            fs::remove_file(socket(&gateway)).expect("the socket");
        }
    }
}

#[test]
fn the_socket_is_its_owners_alone_and_a_dead_ones_is_replaced() {
    let imap = imap();
    let mut gateway = imaps(&imap).start();
    let mode = |path: PathBuf| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(socket(&gateway)), mode(gateway.scratch.join("state"))), (0o600, 0o700));
    gateway.signal("TERM");
    gateway.ended();
    drop(UnixListener::bind(socket(&gateway)).expect("a socket"));
    gateway.start_again();
    gateway.command(&["reload"]).succeeds();
    assert_eq!(mode(socket(&gateway)), 0o600);
}

#[test]
fn a_socket_that_somebody_answers_on_is_left_to_them() {
    let imap = imap();
    let run = Scratch::new("run");
    let path = run.join("mailward.sock");
    let _theirs = UnixListener::bind(&path).expect("a socket");
    let output = imaps(&imap).server(&format!("control = \"{}\"", path.display())).start_fails();
    assert!(
        output.contains("mailward.sock: there is no control socket to be had")
            && output.contains("another mailward answers there"),
        "{output}"
    );
    assert!(!output.contains("\"listening\"") && is_socket(&path), "{output}");

    let builder = imaps(&imap);
    let path = builder.scratch().join("state/control.sock");
    fs::create_dir_all(builder.scratch().join("state")).expect("a directory");
    let _theirs = UnixListener::bind(&path).expect("a socket");
    let mut gateway = builder.start();
    let warned = gateway.log_line("a warning", |line| line["error"] == "another mailward answers there");
    assert_eq!(warned["level"], "WARN");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    assert!(is_socket(&path), "it is not ours to remove");
}

#[test]
fn a_socket_that_cannot_be_had_stops_the_start_only_where_the_file_names_it() {
    let imap = imap();
    let builder = imaps(&imap);
    builder.scratch().write("state", "a file, and no directory");
    let gateway = builder.start();
    gateway.log_line("a warning", |line| line["level"] == "WARN" && line["error"].as_str().is_some());
    let builder = imaps(&imap).server("state = \"taken\"\ncontrol = \"taken/control.sock\"");
    builder.scratch().write("taken", "a file, and no directory");
    let output = builder.start_fails();
    assert!(output.contains("taken/control.sock: there is no control socket to be had"), "{output}");
}

#[test]
fn another_path_takes_effect_at_the_next_restart() {
    let imap = imap();
    let mut gateway = imaps(&imap).server("drain = \"1s\"").start();
    gateway.edit("drain = \"1s\"", "drain = \"1s\"\nstate = \"elsewhere\"");
    assert!(gateway.reload());
    for key in ["server.state", "server.control"] {
        gateway.log_line(key, |line| line["key"] == key && line["message"].as_str().is_some_and(is_of_restart));
    }
    assert!(is_socket(&socket(&gateway)) && !gateway.scratch.join("elsewhere").exists());
    gateway.signal("TERM");
    gateway.start_again();
    assert!(!socket(&gateway).exists() && is_socket(&gateway.scratch.join("elsewhere/control.sock")));
    gateway.command(&["reload"]).succeeds();
}

fn is_of_restart(text: &str) -> bool {
    text == "this setting takes effect at the next restart"
}

/// What is sent back to these bytes.
fn said_to(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket(gateway)).expect("a connection");
    stream.write_all(bytes).expect("room for them");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply
}

#[test]
fn junk_and_silence_on_the_socket_hold_nobody_up() {
    let imap = imap();
    let gateway = imaps(&imap).start();
    for junk in [&b"GET / HTTP/1.1\r\n"[..], b"\"unban\"\n", b"{\"acme\":{\"renew\":{}}}\n", b"\x16\x03\x01\n"] {
        let reply: Value = serde_json::from_str(&said_to(&gateway, junk)).expect("JSON");
        assert!(reply["refused"].as_str().is_some_and(|text| text.contains("no request")), "{reply}");
    }
    let silent: Vec<_> = (0..8).map(|_| UnixStream::connect(socket(&gateway)).expect("a connection")).collect();
    for mut half in silent.iter() {
        half.write_all(b"\"reload").expect("room for it");
    }
    gateway.command(&["reload"]).succeeds();
    assert!(gateway.reload());
    Talk::to(gateway.address("imaps")).tls(gateway.authority.roots()).expect("* OK");
    drop(silent);
    assert_eq!(said_to(&gateway, b"\"reload\"\n"), "{\"done\":\"reloaded\"}\n");
}

/// What `certs` printed, without how far from now each moment is, which another day changes.
fn without_distances(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once(" UTC (").map_or(line, |(moment, _)| moment)).collect()
}

#[test]
fn certs_tells_of_every_certificate_from_the_process_and_without_it_from_the_files() {
    let imap = imap();
    let mut gateway = imaps(&imap)
        .certificates(
            "[certificate.main]\ncert = \"%{file:mail.crt}%\"\nprivate-key = \"%{file:mail.key}%\"\ndefault = true\n\
             [certificate.spare]\nself-signed = \"spare.example.org\"\n",
        )
        .start();
    let shown = gateway.shown("imaps", &gateway.authority.roots()).expect("a certificate");
    let running = gateway.command(&["certs"]).succeeds().text();
    let main = running.split("\n\n").next().expect("the first");
    assert!(main.starts_with("certificate.main\n"), "{running}");
    for row in [format!("names       {NAME}, localhost"), format!("TLSA        3 1 1 {}", shown.key)] {
        assert!(main.contains(&row), "{row}: {running}");
    }
    assert!(main.contains("in force") && main.contains("issuer") && main.contains("mail.crt"), "{running}");
    assert!(running.contains("certificate.spare\n  names       spare.example.org\n"), "{running}");
    let json: Value = serde_json::from_slice(&gateway.command(&["certs", "--json"]).succeeds().out).expect("JSON");
    assert_eq!(json["running"], true);
    assert_eq!(json["certificates"][0]["tlsa"], format!("3 1 1 {}", shown.key));
    assert_eq!(json["certificates"][0]["state"], "in-force");

    gateway.signal("TERM");
    gateway.ended();
    let resting = gateway.command(&["certs"]).succeeds().text();
    let (said, rest) = resting.split_once("\n\n").expect("a word about where it is from");
    assert!(said.starts_with("no mailward runs") && said.ends_with("from the files:"), "{resting}");
    assert_eq!(without_distances(rest), without_distances(&running));
    let json: Value = serde_json::from_slice(&gateway.command(&["certs", "--json"]).succeeds().out).expect("JSON");
    assert_eq!((json["running"].as_bool(), json["certificates"].as_array().map(Vec::len)), (Some(false), Some(2)));
}

#[test]
fn certs_tells_of_a_certificate_that_is_not_there_yet() {
    let imap = imap();
    let builder = imaps(&imap).certificates(
        "[certificate.main]\nself-signed = \"localhost\"\n\
         [acme.main]\ndirectory = \"https://127.0.0.1:1/\"\ndomains = \"mail.example.org\"\ndefault = true\n\
         key-type = [\"ecdsa-p256\", \"rsa-2048\"]\n",
    );
    builder.write();
    let gateway = builder.start();
    let found = eventually(|| {
        let text = gateway.command(&["certs"]).succeeds().text();
        text.contains("last error").then_some(text)
    });
    let text = found.expect("an authority that cannot be reached");
    for words in ["acme.main/ecdsa-p256\n", "acme.main/rsa-2048\n", "there is none yet", "certificate.main\n"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    refused(gateway.command(&["certs", "renew", "other"])).prints("there is no [acme.other]").prints("main");
    refused(gateway.command(&["certs", "renew", "main/ecdsa-p384"])).prints("main/ecdsa-p384");
    refused(gateway.command(&["certs", "renew", "main", "--next-key"])).prints("next-key main");
    let told = gateway.command(&["certs", "next-key", "main/rsa-2048"]).succeeds().text();
    let next = told.split_once(": TLSA ").map(|(_, record)| record.trim().to_owned()).expect("a record");
    assert!(told.starts_with("main/rsa-2048: "), "{told}");
    gateway.command(&["certs"]).succeeds().prints(&format!("next TLSA   {next}"));
    gateway.command(&["certs", "renew", "main"]).succeeds().prints("main/ecdsa-p256").prints("main/rsa-2048");
    let file = gateway.scratch.join("certs/acme/main/rsa-2048.next.pem");
    assert_eq!(fs::metadata(file).expect("the next key").permissions().mode() & 0o777, 0o600);
}

#[test]
fn certs_without_a_process_does_not_make_what_is_not_there() {
    let imap = imap();
    let mut gateway = imaps(&imap).certificates("[certificate.main]\nself-signed = \"localhost\"\n").start();
    gateway.signal("TERM");
    gateway.ended();
    fs::remove_dir_all(gateway.scratch.join("certs")).expect("certs/");
    let text = gateway.command(&["certs"]).succeeds().text();
    assert!(text.contains("there is none yet") && text.contains("made when mailward starts"), "{text}");
    assert!(!text.contains("TLSA") && !gateway.scratch.join("certs").exists(), "{text}");
    gateway.edit("protocol = \"imap\"", "protocol = \"imapd\"");
    refused(gateway.command(&["certs"])).prints("\"imapd\" is unknown");
}
