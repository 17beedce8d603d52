//! No byte from before TLS reaches the protocol inside it, in either direction (spec §7, promise 2).
//!
//! RFC 3207 §6, RFC 9051 §6.2.1; CVE-2011-0411, CVE-2021-33515, CVE-2014-3556, CVE-2021-38371.

mod support;

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use support::{DIALECTS, Dialect, Fake, Gateway, NAME, Talk, Witness, dialect, size};

/// Every protocol with STARTTLS (by its name) and with TLS from the first byte (its name with an `s` behind it), each
/// in front of a witness.
struct World {
    gateway: Gateway,
    witnesses: Vec<(&'static Dialect, Witness)>,
}

fn world() -> World {
    let witnesses: Vec<_> = DIALECTS.iter().map(|dialect| (dialect, Witness::start(dialect))).collect();
    let gateway = witnesses
        .iter()
        .fold(Gateway::builder(), |builder, (dialect, witness)| in_front_of(builder, dialect, witness.address()));
    World { gateway: gateway.start(), witnesses }
}

fn in_front_of(
    builder: support::GatewayBuilder,
    dialect: &Dialect,
    backend: std::net::SocketAddr,
) -> support::GatewayBuilder {
    let name = dialect.protocol;
    builder.listener(name, name, backend).implicit(&format!("{name}s"), name, backend)
}

/// A connection that has been greeted, up to the wish for TLS.
fn before_tls(dialect: &Dialect, gateway: &Gateway) -> Talk {
    let mut talk = dialect.connect(gateway, dialect.protocol);
    dialect.ask(&mut talk, dialect.hello);
    talk
}

fn client(gateway: &Gateway) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    Arc::new(config.with_root_certificates(gateway.authority.roots()).with_no_client_auth())
}

/// The refusal of bytes behind STARTTLS, and the end.
#[track_caller]
fn assert_refused(dialect: &Dialect, talk: &mut Talk, what: &str) {
    for start in dialect.refuses_injection {
        let line = talk.line();
        assert!(line.starts_with(start), "{} {what}: expected {start:?}, and there came {line:?}", dialect.protocol);
    }
    let rest = talk.rest();
    assert!(rest.is_empty(), "{} {what}: {:?}", dialect.protocol, String::from_utf8_lossy(&rest));
}

/// Nothing injected has reached the backend; where TLS is required it has not even been dialled.
#[track_caller]
fn assert_untouched(dialect: &Dialect, witness: &Witness) {
    let heard = witness.heard();
    assert!(!heard.contains("injected"), "{}: {heard}", dialect.protocol);
    // A public MX asks its backend, once, what a client without TLS may be offered.
    assert_eq!(witness.connections(), usize::from(dialect.protocol == "smtp"), "{}: {heard}", dialect.protocol);
}

#[test]
fn a_command_in_the_same_write_as_starttls_ends_the_session() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        let mut talk = before_tls(dialect, gateway);
        talk.send([dialect.starttls.0, dialect.injection].concat());
        assert_refused(dialect, &mut talk, "whole");
        let session = gateway.session(dialect.protocol, "violation");
        assert_eq!(session["reason"], "bytes-behind-starttls", "{session}");
        assert_untouched(dialect, witness);
    }
}

#[test]
fn an_injected_command_is_refused_wherever_it_is_cut_in_two() {
    let World { gateway, witnesses } = &world();
    let longest = DIALECTS.iter().map(|dialect| dialect.starttls.0.len() + dialect.injection.len()).sum();
    size("positions at which an injected command is cut", longest, longest);
    std::thread::scope(|scope| {
        for (dialect, witness) in witnesses {
            scope.spawn(move || {
                let bytes = [dialect.starttls.0, dialect.injection].concat();
                for cut in 1..bytes.len() {
                    inject_cut(dialect, gateway, &bytes, cut);
                }
                assert_untouched(dialect, witness);
            });
        }
    });
}

fn inject_cut(dialect: &Dialect, gateway: &Gateway, bytes: &str, cut: usize) {
    let mut talk = before_tls(dialect, gateway);
    talk.send(&bytes[..cut]);
    if cut == dialect.starttls.0.len() {
        // A dialogue as it should be, until something else than a handshake comes.
        talk.expect(dialect.starttls.1);
        talk.send(&bytes[cut..]);
        return assert_no_tls(dialect, &mut talk);
    }
    talk.taken();
    let _ = talk.try_send(&bytes[cut..]);
    assert_refused(dialect, &mut talk, &format!("cut at {cut}"));
}

/// What comes now is at most a TLS alert (RFC 8446 §5.1: content type 21), and then the end.
#[track_caller]
fn assert_no_tls(dialect: &Dialect, talk: &mut Talk) {
    let rest = talk.rest();
    assert!(rest.is_empty() || rest[0] == 21, "{}: {:?}", dialect.protocol, String::from_utf8_lossy(&rest));
}

#[test]
fn a_command_in_front_of_the_client_hello_makes_the_handshake_fail() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        let mut talk = before_tls(dialect, gateway);
        dialect.ask(&mut talk, dialect.starttls);
        talk.send(dialect.injection);
        talk.try_tls(client(gateway)).expect_err("no handshake comes of this");
        let session = gateway.session(dialect.protocol, "tls-failed");
        assert_eq!(session["tls"], "", "{session}");
        assert_untouched(dialect, witness);
    }
}

#[test]
fn a_client_hello_in_the_same_segment_as_starttls_is_refused_in_the_clear() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        let mut hello = Vec::new();
        let mut tls = ClientConnection::new(client(gateway), NAME.try_into().expect("a name")).expect("a client");
        tls.write_tls(&mut hello).expect("a hello");
        let mut talk = before_tls(dialect, gateway);
        talk.send([dialect.starttls.0.as_bytes(), &hello].concat());
        assert_refused(dialect, &mut talk, "with a ClientHello");
        assert_untouched(dialect, witness);
    }
}

#[test]
fn part_of_an_injected_command_is_refused_as_the_whole() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        for part in ["\r\n", "\n", "\0", " ", &dialect.injection[..3], dialect.starttls.0] {
            let mut talk = before_tls(dialect, gateway);
            talk.send([dialect.starttls.0, part].concat());
            assert_refused(dialect, &mut talk, &format!("with {part:?}"));
        }
        assert_untouched(dialect, witness);
    }
}

#[test]
fn commands_in_front_of_starttls_are_answered_and_do_no_harm() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        let mut talk = before_tls(dialect, gateway);
        talk.send([dialect.noop.0, dialect.starttls.0].concat());
        talk.expect(dialect.noop.1);
        talk.expect(dialect.starttls.1);
        let mut talk = talk.tls(gateway.authority.roots());
        if dialect.protocol == "managesieve" {
            talk.until("OK");
        }
        dialect.ask(&mut talk, dialect.quit);
        drop(talk);
        assert!(!witness.heard().contains("NOOP"), "{}: {}", dialect.protocol, witness.heard());
    }
}

#[test]
fn what_a_backend_sends_behind_its_greeting_never_reaches_the_client() {
    let behind = |dialect: &Dialect| match dialect.protocol {
        "imap" => "* OK injected\r\ns OK injected\r\n",
        "pop3" => "+OK injected\r\n",
        "managesieve" => "OK \"injected\"\r\n",
        _ => "250 injected\r\n",
    };
    let fakes: Vec<_> = DIALECTS
        .iter()
        .map(|dialect| {
            let greeting = [greeting(dialect), behind(dialect)].concat();
            (dialect, Fake::start(move |mut talk, _| _ = talk.send(&greeting).rest()))
        })
        .collect();
    let gateway =
        fakes.iter().fold(Gateway::builder(), |builder, (dialect, fake)| in_front_of(builder, dialect, fake.address()));
    let gateway = gateway.start();
    for (dialect, _) in &fakes {
        let (starttls, implicit) = (dialect.protocol, format!("{}s", dialect.protocol));
        let mut upgraded = dialect.starttls(&gateway, starttls);
        upgraded.expect(dialect.down);
        upgraded.closes();
        let mut entered = Talk::to(gateway.address(&implicit)).tls(gateway.authority.roots());
        entered.expect(dialect.down);
        entered.closes();
        for listener in [starttls, &implicit] {
            let session = gateway.session(listener, "backend-lost");
            assert_eq!(session["reason"], "backend-spoke-unasked", "{session}");
        }
        gateway.log_line("a warning", |line| line["level"] == "WARN" && line["backend"] == starttls);
    }
}

#[test]
fn what_a_backend_sends_a_moment_after_its_greeting_never_reaches_the_client() {
    let fakes: Vec<_> = DIALECTS
        .iter()
        .map(|dialect| {
            let serve = move |mut talk: Talk, _| {
                talk.send(greeting(dialect)).taken();
                let _ = talk.try_send(match dialect.protocol {
                    "imap" => "* 1 EXISTS\r\n",
                    "pop3" => "+OK injected\r\n",
                    "managesieve" => "OK \"injected\"\r\n",
                    _ => "250 injected\r\n",
                });
                talk.rest();
            };
            (dialect, Fake::start(serve))
        })
        .collect();
    let gateway =
        fakes.iter().fold(Gateway::builder(), |builder, (dialect, fake)| in_front_of(builder, dialect, fake.address()));
    let gateway = gateway.start();
    for (dialect, _) in &fakes {
        let mut upgraded = dialect.starttls(&gateway, dialect.protocol);
        if dialect.protocol == "managesieve" {
            upgraded.until("OK");
        }
        // Nothing is asked: what comes is mailward's own, and the end.
        assert_lost(dialect, &mut upgraded);
        let mut entered = Talk::to(gateway.address(&format!("{}s", dialect.protocol))).tls(gateway.authority.roots());
        entered.until(dialect.welcome);
        assert_lost(dialect, &mut entered);
        gateway.session(dialect.protocol, "backend-lost");
    }
}

#[track_caller]
fn assert_lost(dialect: &Dialect, talk: &mut Talk) {
    let line = talk.line();
    assert!(line.starts_with(dialect.lost), "{}: {line:?}", dialect.protocol);
    talk.closes();
}

/// A greeting in good order.
fn greeting(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" => "* OK [CAPABILITY IMAP4rev1] ready\r\n",
        "pop3" => "+OK ready\r\n",
        "managesieve" => "\"SASL\" \"PLAIN\"\r\nOK \"ready\"\r\n",
        _ => "220 backend ready\r\n",
    }
}

#[test]
fn a_backend_that_greets_with_preauth_is_refused_and_complained_about() {
    let fake = Fake::start(|mut talk, _| _ = talk.send("* PREAUTH [CAPABILITY IMAP4rev1] welcome, root\r\n").rest());
    let gateway = in_front_of(Gateway::builder(), dialect("imap"), fake.address()).start();
    let mut upgraded = dialect("imap").starttls(&gateway, "imap");
    upgraded.expect("* BYE [UNAVAILABLE]");
    upgraded.closes();
    let mut entered = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    entered.expect("* BYE [UNAVAILABLE]");
    entered.closes();
    let complaint = gateway.log_line("a complaint", |line| line["message"] == "the backend cannot be used as it is");
    assert!(complaint["advice"].as_str().is_some_and(|advice| advice.contains("PREAUTH")), "{complaint}");
    assert_eq!(gateway.session("imaps", "backend-lost")["reason"], "backend-preauth");
}

#[test]
fn starttls_is_refused_inside_tls_and_never_reaches_the_backend() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        let (command, _) = dialect.starttls;
        for mut talk in
            [dialect.upgrade(gateway, dialect.protocol), dialect.enter(gateway, &format!("{}s", dialect.protocol))]
        {
            for form in [command.to_owned(), command.to_ascii_lowercase(), command.replace("\r\n", " \n")] {
                talk.send(form).expect(dialect.starttls_again);
            }
            dialect.ask(&mut talk, dialect.noop);
            dialect.ask(&mut talk, dialect.quit);
        }
        let heard = witness.heard().to_ascii_uppercase();
        assert!(heard.contains("NOOP"), "{heard}");
        assert!(!heard.contains("STARTTLS") && !heard.contains("STLS"), "{heard}");
    }
}

#[test]
fn starttls_takes_trailing_blanks_and_no_argument() {
    let World { gateway, witnesses } = &world();
    for (dialect, _) in witnesses {
        let mut talk = before_tls(dialect, gateway);
        dialect.ask(&mut talk, dialect.starttls_argument);
        dialect.ask(&mut talk, dialect.noop);
        talk.send(dialect.starttls.0.replace("\r\n", "  \r\n")).expect(dialect.starttls.1);
        let mut talk = talk.tls(gateway.authority.roots());
        if dialect.protocol == "managesieve" {
            talk.until("OK");
        }
        dialect.ask(&mut talk, dialect.hello);
        dialect.ask(&mut talk, dialect.noop);
    }
}

#[test]
fn nothing_that_was_said_before_tls_is_known_inside_it() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        let mut talk = dialect.connect(gateway, dialect.protocol);
        let (said, reply) = match dialect.protocol {
            "imap" => ("i ID (\"name\" \"forgotten\")\r\n", "i OK"),
            "pop3" => ("USER forgotten\r\n", "-ERR"),
            "managesieve" => ("NOOP \"forgotten\"\r\n", "OK"),
            "lmtp" => ("LHLO forgotten\r\n", "250 "),
            _ => ("EHLO forgotten\r\n", "250 "),
        };
        dialect.ask(&mut talk, (said, reply));
        dialect.ask(&mut talk, dialect.starttls);
        let mut talk = talk.tls(gateway.authority.roots());
        if dialect.protocol == "managesieve" {
            talk.until("OK");
        }
        dialect.ask(&mut talk, dialect.noop);
        dialect.ask(&mut talk, dialect.quit);
        drop(talk);
        let heard = witness.heard();
        assert!(heard.contains("NOOP") && !heard.contains("forgotten"), "{}: {heard}", dialect.protocol);
    }
}

#[test]
fn a_transaction_begun_in_plaintext_cannot_turn_to_tls() {
    let witness = Witness::start(dialect("smtp"));
    let gateway = Gateway::builder().listener("smtp", "smtp", witness.address()).start();
    let mut talk = dialect("smtp").connect(&gateway, "smtp");
    talk.send("EHLO plain.example.net\r\n").until("250 ");
    talk.ask("MAIL FROM:<bob@example.net>", "250");
    talk.ask("STARTTLS", "503 5.5.1");
    talk.ask("RCPT TO:<alice@example.org>", "250");
    talk.ask("QUIT", "221");
    drop(talk);
    assert!(!witness.heard().contains("STARTTLS"), "{}", witness.heard());
}

#[test]
fn a_client_that_is_not_let_on_without_tls_costs_the_backend_nothing() {
    let World { gateway, witnesses } = &world();
    for (dialect, witness) in witnesses {
        if dialect.protocol == "smtp" {
            continue;
        }
        let mut talk = before_tls(dialect, gateway);
        let password = dialect.login.0;
        let refusal = match dialect.protocol {
            "imap" => "l NO [PRIVACYREQUIRED]",
            "pop3" => "-ERR",
            "managesieve" => "NO (ENCRYPT-NEEDED)",
            _ => "530 5.7.0",
        };
        let login = if password.is_empty() { "MAIL FROM:<bob@example.net>\r\n" } else { password };
        talk.send(login).expect(refusal);
        dialect.ask(&mut talk, dialect.quit);
        talk.closes();
        assert_eq!(witness.connections(), 0, "{}", dialect.protocol);
    }
}
