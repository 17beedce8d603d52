//! What peers say never forges a line of the log, and what they keep secret never stands in it (spec §6).

use crate::support::{Dialect, Gateway, NAME, Talk};
use crate::{STAGES, World, implicit, world};

/// `\0eve\r\n{"level":"ERROR","message":"forged"}\x1b[31m\u{202e}\u{85}\0secret`
const FORGED: &str = "AGV2ZQ0KeyJsZXZlbCI6IkVSUk9SIiwibWVzc2FnZSI6ImZvcmdlZCJ9G1szMW3igK7ChQBzZWNyZXQ=";

/// A password that stands nowhere else, and its base64 in the forms that carry it.
const PASSWORD: &str = "Corr3ct-H0rse";
const PASSWORD_FORMS: [&str; 5] =
    [PASSWORD, "Q29ycjNjdC1IMHJzZQ==", "Q29ycjNjdC1IMHJzZQ", "AGFsaWNlAENvcnIzY3QtSDByc2U=", "Corr3ct"];

/// The raw log, once `count` sessions have ended.
fn log(gateway: &Gateway, count: usize) -> Vec<u8> {
    crate::support::eventually(|| {
        (gateway.log().iter().filter(|line| line["message"] == "session").count() >= count).then_some(())
    })
    .expect("every session has its line");
    std::fs::read(gateway.scratch.join("log")).expect("a log")
}

/// One JSON object a line, and no byte that a terminal would obey.
#[track_caller]
fn assert_clean(gateway: &Gateway, log: &[u8]) {
    let text = std::str::from_utf8(log).expect("the log is UTF-8");
    for char in text.chars().filter(|char| *char != '\n') {
        let hidden = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!char.is_control() && !hidden, "{char:?} in {text}");
    }
    for line in gateway.log() {
        assert!(line.is_object(), "{line}");
        assert_ne!(line["message"], "forged", "{line}");
        let user = line["user"].as_str().unwrap_or_default();
        assert!(!user.chars().any(char::is_control), "{line}");
        assert!(user.len() <= 64 + '…'.len_utf8(), "{line}");
    }
}

/// Logins whose user name would forge a line of the log.
fn forged_logins(dialect: &Dialect) -> Vec<String> {
    match dialect.protocol {
        "imap" => vec![
            format!("l AUTHENTICATE PLAIN {FORGED}\r\n"),
            "l LOGIN {38+}\r\neve\r\n{\"message\":\"forged\"}\x1b[31m\x07\x08\x7fxx secret\r\n".into(),
            format!("l LOGIN {} secret\r\n", "y".repeat(2000)),
        ],
        "pop3" => vec![format!("AUTH PLAIN {FORGED}\r\n"), "USER \u{202e}eve\r\nPASS secret\r\n".into()],
        "managesieve" => vec![format!("AUTHENTICATE \"PLAIN\" \"{FORGED}\"\r\n")],
        "submission" => vec![format!("AUTH PLAIN {FORGED}\r\n")],
        _ => Vec::new(),
    }
}

#[test]
fn a_user_name_cannot_forge_a_line_of_the_log() {
    let World { gateway, backends } = &world("");
    let mut sessions = 0;
    for (dialect, witness) in backends {
        for login in forged_logins(dialect) {
            let mut talk = dialect.enter(gateway, &implicit(dialect));
            talk.send(login).line();
            let _ = talk.try_send(dialect.quit.0);
            talk.rest();
            drop(talk);
            sessions += 1;
            witness.heard();
        }
    }
    let log = log(gateway, sessions);
    assert_clean(gateway, &log);
    let users: Vec<_> = gateway.log().iter().filter_map(|line| line["user"].as_str().map(ToOwned::to_owned)).collect();
    assert!(users.iter().any(|user| user.starts_with("eve\\r\\n{")), "{users:?}");
}

#[test]
fn what_clients_say_before_a_login_cannot_forge_a_line_of_the_log() {
    let World { gateway, backends } = &world("limit.errors = 100");
    let forged = "\x1b[31m{\"message\":\"forged\"}\u{85}\u{202e}";
    for (dialect, _) in backends {
        for (_, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            let verb = dialect.hello.0.split(' ').next().unwrap_or_default();
            for line in [format!("{verb} {forged}"), format!("{forged} NOOP"), format!("a {forged}"), forged.into()] {
                talk.send(line + "\r\n").line();
            }
            let _ = talk.try_send(dialect.quit.0);
            talk.rest();
        }
    }
    let log = log(gateway, 2 * backends.len());
    assert_clean(gateway, &log);
    assert!(!String::from_utf8_lossy(&log).contains("forged"));
}

#[test]
fn a_server_name_cannot_forge_a_line_of_the_log() {
    let World { gateway, .. } = &world("");
    let mut hello = hello(gateway);
    let at = hello.windows(NAME.len()).position(|bytes| bytes == NAME.as_bytes()).expect("SNI");
    for name in
        [&b"mail\r\nforged\x1b[1m"[..], b"mail\0example.org", b"\xff\xfe\x85\x80.example.org", b"mail..xample.org"]
    {
        hello[at..at + NAME.len()].copy_from_slice(name);
        let mut talk = Talk::to(gateway.address("imaps"));
        talk.send(&hello).rest();
    }
    let log = log(gateway, 4);
    assert_clean(gateway, &log);
    let mut next = crate::support::dialect("imap").enter(gateway, "imaps");
    next.send("n NOOP\r\n").expect("n OK");
}

/// The first flight of a client that wants [`NAME`].
fn hello(gateway: &Gateway) -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(gateway.authority.roots()).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), NAME.try_into().expect("a name")).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a hello");
    hello
}

/// Every way to say a password, as whole dialogues: a line, and what its answer starts with.
fn logins(dialect: &Dialect) -> Vec<Vec<(&'static str, &'static str)>> {
    match dialect.protocol {
        "imap" => vec![
            vec![("l LOGIN alice Corr3ct-H0rse\r\n", "l OK")],
            vec![("l LOGIN \"alice\" \"Corr3ct-H0rse\"\r\n", "l OK")],
            vec![("l LOGIN alice {13+}\r\nCorr3ct-H0rse\r\n", "l OK")],
            vec![("l LOGIN {5}\r\n", "+"), ("alice {13}\r\n", "+"), ("Corr3ct-H0rse\r\n", "l OK")],
            vec![("l AUTHENTICATE PLAIN AGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "l OK")],
            vec![("l AUTHENTICATE PLAIN\r\n", "+"), ("AGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "l OK")],
            vec![("l LOGIN alice Corr3ct-H0rse too many\r\n", "l BAD")],
        ],
        "pop3" => vec![
            vec![("USER alice\r\n", "+OK"), ("PASS Corr3ct-H0rse\r\n", "+OK")],
            vec![("AUTH PLAIN AGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "+OK")],
            vec![("AUTH PLAIN\r\n", "+ "), ("AGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "+OK")],
            vec![("PASS Corr3ct-H0rse\x1b\r\n", "-ERR")],
        ],
        "managesieve" => vec![
            vec![("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAENvcnIzY3QtSDByc2U=\"\r\n", "OK")],
            vec![("AUTHENTICATE \"PLAIN\" {28+}\r\nAGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "OK")],
            vec![("AUTHENTICATE \"PLAIN\"\r\n", "\"\""), ("\"AGFsaWNlAENvcnIzY3QtSDByc2U=\"\r\n", "OK")],
        ],
        "submission" => vec![
            vec![("AUTH PLAIN AGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "235")],
            vec![("AUTH PLAIN\r\n", "334"), ("AGFsaWNlAENvcnIzY3QtSDByc2U=\r\n", "235")],
            vec![("AUTH LOGIN\r\n", "334"), ("YWxpY2U=\r\n", "334"), ("Q29ycjNjdC1IMHJzZQ==\r\n", "235")],
            vec![("AUTH PLAIN not base64 Corr3ct-H0rse\r\n", "501")],
        ],
        _ => Vec::new(),
    }
}

#[test]
fn no_password_stands_in_the_log_in_any_form() {
    let World { gateway, backends } = &world("");
    let mut sessions = 0;
    for (dialect, witness) in backends {
        for login in logins(dialect) {
            let mut talk = dialect.enter(gateway, &implicit(dialect));
            for (line, answer) in login {
                talk.send(line).until(answer);
            }
            drop(talk);
            // Said before TLS it is refused, and as little to be seen.
            let mut talk = dialect.connect(gateway, dialect.protocol);
            talk.send(logins(dialect)[0][0].0);
            talk.line();
            drop(talk);
            sessions += 2;
        }
        witness.heard();
    }
    let log = String::from_utf8(log(gateway, sessions)).expect("UTF-8");
    for form in PASSWORD_FORMS {
        assert!(!log.contains(form), "{form} stands in the log");
    }
    let named = gateway.log().iter().filter(|line| line["user"] == "alice").count();
    assert!(named >= 11, "{named} sessions know their user");
}
