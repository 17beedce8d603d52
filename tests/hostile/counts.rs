//! Clients that try too often, and clients that are none.

use crate::support::dialect;
use crate::{STAGES, World, implicit, world};

#[test]
fn a_browser_is_sent_away_at_its_first_line() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends {
        for verb in ["GET / HTTP/1.1", "POST /mail HTTP/1.1", "OPTIONS * HTTP/1.0", "CONNECT x:25 HTTP/1.1"] {
            for (stage, enter) in STAGES {
                let mut talk = enter(dialect, gateway);
                let request = format!("{verb}\r\nHost: mail.example.org\r\n\r\n{}", dialect.noop.0);
                let answer = talk.send(request).line();
                let words = match dialect.protocol {
                    "imap" => "* BYE",
                    "pop3" => "-ERR",
                    "managesieve" => "BYE",
                    _ => "421 4.7.0",
                };
                assert!(answer.starts_with(words), "{verb} {} {stage}: {answer:?}", dialect.protocol);
                talk.closes();
            }
        }
        assert_eq!(gateway.session(dialect.protocol, "violation")["reason"], "http-request");
        let heard = witness.heard();
        assert!(!heard.contains("HTTP") && !heard.contains("Host"), "{}: {heard}", dialect.protocol);
    }
}

#[test]
fn too_many_commands_end_the_session_before_tls_and_before_login() {
    let World { gateway, backends } = &world("limit.commands = 20");
    for (dialect, _) in backends {
        for (stage, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            if stage == "inside TLS" && dialect.login.0.is_empty() {
                continue;
            }
            let mut answered = 0;
            let last = loop {
                if talk.try_send(dialect.noop.0).is_err() {
                    break talk.line();
                }
                let line = talk.line();
                if !line.starts_with(dialect.noop.1) {
                    break line;
                }
                answered += 1;
            };
            // The greeting of SMTP is a command too.
            assert!((19..=20).contains(&answered), "{} {stage}: {answered}", dialect.protocol);
            assert!(last.to_ascii_lowercase().contains("too many commands"), "{} {stage}: {last:?}", dialect.protocol);
            talk.closes();
        }
    }
}

#[test]
fn too_many_errors_end_the_session_before_tls_and_before_login() {
    let World { gateway, backends } = &world("limit.errors = 3");
    for (dialect, witness) in backends {
        for (stage, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            let wrong = if dialect.protocol == "imap" { "a WRONG\r\n" } else { "XWRONG\r\n" };
            for _ in 0..3 {
                let line = talk.send(wrong).line();
                assert!(!line.to_ascii_lowercase().contains("too many"), "{} {stage}: {line:?}", dialect.protocol);
            }
            let _ = talk.try_send(wrong);
            let rest = String::from_utf8_lossy(&talk.rest()).to_ascii_lowercase();
            assert!(rest.contains("too many errors"), "{} {stage}: {rest:?}", dialect.protocol);
        }
        assert!(!witness.heard().contains("WRONG"), "{}", dialect.protocol);
    }
}

#[test]
fn a_client_that_is_logged_in_may_say_as_much_as_it_likes() {
    let World { gateway, backends } = &world("limit.commands = 20\nlimit.errors = 3");
    for (dialect, _) in backends {
        let mut talk = dialect.log_in(gateway, &implicit(dialect));
        if dialect.protocol == "smtp" || dialect.protocol == "lmtp" {
            talk.ask("MAIL FROM:<bob@example.net>", "250");
        }
        for _ in 0..30 {
            dialect.ask(&mut talk, dialect.noop);
        }
        dialect.ask(&mut talk, dialect.quit);
    }
}

#[test]
fn plain_text_on_a_port_of_tls_and_tls_on_a_port_of_plain_text_are_closed() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends {
        let mut plain = crate::support::Talk::to(gateway.address(&implicit(dialect)));
        plain.send("EHLO plain.example.net\r\nQUIT\r\n");
        let rest = plain.rest();
        assert!(rest.is_empty() || rest[0] == 21, "{}: {:?}", dialect.protocol, String::from_utf8_lossy(&rest));
        let mut tls = dialect.connect(gateway, dialect.protocol);
        tls.send([0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x00]);
        tls.closes();
        assert_eq!(gateway.session(dialect.protocol, "violation")["reason"], "tls-to-starttls-port");
        assert_eq!(witness.connections(), 0, "{}", dialect.protocol);
    }
    dialect("imap").enter(gateway, "imaps");
}
