//! Backends that are in good order and not what the client takes them for: what is relayed is relayed exactly.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{DIALECTS, Dialect, Fake, Gateway, Talk, Witness, dialect};
use crate::{greeting, implicit, in_front_of};

#[test]
fn lmtp_answers_once_for_each_accepted_recipient() {
    let lmtp = dialect("lmtp");
    let witness = Witness::start(lmtp);
    let gateway = in_front_of(Gateway::builder(), lmtp, witness.address()).start();
    let mut talk = lmtp.enter(&gateway, "lmtps");
    for _ in 0..2 {
        talk.send(
            "MAIL FROM:<bob@example.net>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<nobody@example.org>\r\n\
             RCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n",
        );
        for reply in ["250", "250", "550", "250", "250", "354"] {
            talk.expect(reply);
        }
        talk.send("for three\r\n.\r\nNOOP\r\n");
        for reply in ["250 2.0.0 Taken", "250 2.0.0 Taken", "250 2.0.0 Taken", "250 2.0.0 Fine"] {
            talk.expect(reply);
        }
    }
    talk.ask("QUIT", "221");
    talk.closes_in_order();
    assert_eq!(witness.messages(), 2);
}

/// An exchange of several steps: the client's lines, and the backend's replies to each.
fn exchange(dialect: &Dialect) -> [(&'static str, &'static str); 3] {
    match dialect.protocol {
        "imap" => [
            ("a AUTHENTICATE SCRAM-SHA-256\r\n", "+ \r\n"),
            ("biwsbj11c2VyLHI9cg==\r\n", "+ cj1yLHM9cyxpPTQwOTY=\r\n"),
            ("Yz1iaXdzLHI9cixwPXA=\r\n", "a OK [CAPABILITY IMAP4rev1] welcome\r\n"),
        ],
        "pop3" => [
            ("AUTH SCRAM-SHA-256\r\n", "+ \r\n"),
            ("biwsbj11c2VyLHI9cg==\r\n", "+ cj1yLHM9cyxpPTQwOTY=\r\n"),
            ("Yz1iaXdzLHI9cixwPXA=\r\n", "+OK welcome\r\n"),
        ],
        "managesieve" => [
            ("AUTHENTICATE \"SCRAM-SHA-256\" \"biwsbj11c2VyLHI9cg==\"\r\n", "\"cj1yLHM9cyxpPTQwOTY=\"\r\n"),
            ("{20+}\r\nYz1iaXdzLHI9cixwPXA=\r\n", "\"dj12\"\r\n"),
            ("\"\"\r\n", "OK (SASL \"dj12\") \"welcome\"\r\n"),
        ],
        _ => [
            ("AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9cg==\r\n", "334 cj1yLHM9cyxpPTQwOTY=\r\n"),
            ("Yz1iaXdzLHI9cixwPXA=\r\n", "334 dj12\r\n"),
            ("\r\n", "235 2.7.0 welcome\r\n"),
        ],
    }
}

/// A backend that holds this exchange, and then answers `noop` or, where the exchange was cancelled, refuses it.
fn authenticating(dialect: &'static Dialect) -> Fake {
    Fake::start(move |mut talk, _| {
        talk.send(match dialect.protocol {
            "imap" => "* OK [CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256] ready\r\n",
            "managesieve" => "\"SASL\" \"SCRAM-SHA-256\"\r\nOK \"ready\"\r\n",
            _ => greeting(dialect),
        });
        if dialect.carries_mail() {
            talk.line();
            talk.send("250-x\r\n250-PIPELINING\r\n250 AUTH SCRAM-SHA-256\r\n");
        }
        for (line, reply) in exchange(dialect) {
            let said = talk.bytes(2);
            if said.contains(&b'*') {
                let _ = talk.try_send(cancelled(dialect));
                talk.rest();
                return;
            }
            assert_eq!([said, talk.bytes(line.len() - 2)].concat(), line.as_bytes());
            talk.send(reply);
        }
        if !talk.line().is_empty() {
            talk.send(format!("{} fine\r\n", dialect.noop.1.trim_end()));
        }
        talk.rest();
    })
}

fn cancelled(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" => "a BAD cancelled\r\n",
        "pop3" => "-ERR cancelled\r\n",
        "managesieve" => "NO \"cancelled\"\r\n",
        _ => "501 5.7.0 cancelled\r\n",
    }
}

#[test]
fn a_login_of_several_steps_is_relayed_step_by_step() {
    for dialect in DIALECTS.iter().filter(|dialect| !dialect.login.0.is_empty()) {
        let fake = authenticating(dialect);
        let gateway = in_front_of(Gateway::builder(), dialect, fake.address()).start();
        for mut talk in [dialect.enter(&gateway, &implicit(dialect)), dialect.upgrade(&gateway, dialect.protocol)] {
            for (line, reply) in exchange(dialect) {
                talk.send(line).expect(reply);
            }
            dialect.ask(&mut talk, dialect.noop);
        }
        let session =
            gateway.log_line("a session", |line| line["listener"] == dialect.protocol && line["user"].is_string());
        assert_eq!(session["user"], "user", "{session}");
    }
}

#[test]
fn a_login_can_be_cancelled_at_each_step() {
    for dialect in DIALECTS.iter().filter(|dialect| !dialect.login.0.is_empty()) {
        let fake = authenticating(dialect);
        let gateway = in_front_of(Gateway::builder(), dialect, fake.address()).start();
        for steps in 1..3 {
            let mut talk = dialect.enter(&gateway, &implicit(dialect));
            for (line, reply) in &exchange(dialect)[..steps] {
                talk.send(line).expect(reply);
            }
            let star = if dialect.protocol == "managesieve" { "\"*\"\r\n" } else { "*\r\n" };
            talk.send(star).expect(cancelled(dialect));
        }
    }
}

#[test]
fn a_backend_without_pipelining_gets_one_command_at_a_time_from_a_client_that_pipelines() {
    let early = Arc::new(Mutex::new(Vec::new()));
    for dialect in &DIALECTS {
        let noted = early.clone();
        let fake = Fake::start(move |mut talk: Talk, _| {
            talk.send(greeting(dialect));
            if dialect.carries_mail() {
                talk.line();
                talk.send("250-x\r\n250 SIZE\r\n");
            }
            for number in 0..5 {
                let line = talk.line();
                // Whatever comes before the answer came too early.
                if !talk.is_silent_for(Duration::from_millis(20)) {
                    noted.lock().expect("a list").push(line);
                }
                let _ = talk.try_send(match dialect.protocol {
                    "imap" => format!("n{number} OK fine\r\n"),
                    "pop3" => format!("+OK {number}\r\n"),
                    "managesieve" => format!("OK \"{number}\"\r\n"),
                    _ => format!("250 2.0.0 {number}\r\n"),
                });
            }
            talk.rest();
        });
        let gateway = in_front_of(Gateway::builder(), dialect, fake.address()).start();
        let mut talk = dialect.enter(&gateway, &implicit(dialect));
        let all = (0..5)
            .map(|number| if dialect.protocol == "imap" { format!("n{number} NOOP\r\n") } else { "NOOP\r\n".into() });
        talk.send(all.collect::<String>());
        for number in 0..5 {
            let line = talk.line();
            assert!(line.contains(&number.to_string()), "{} {number}: {line:?}", dialect.protocol);
        }
        assert_eq!(*early.lock().expect("a list"), Vec::<String>::new(), "{}", dialect.protocol);
    }
}
