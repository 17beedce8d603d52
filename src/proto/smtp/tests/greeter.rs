//! The dialogue before TLS.

use std::sync::Arc;

use super::talk::{LIMITS, settings};
use crate::proto::{
    Farewell, Greeter as _, Input, Opening, Outcome, Protocol, Settings, Step, Violation,
    smtp::{Extensions, Guard, SmtpGreeter, reply::Reply},
};

/// What comes of `said` when it arrives in pieces of `size`: the replies, the outcome, and what is left.
fn dialogue(settings: &Settings, said: &[u8], size: usize) -> (String, Result<Step, Violation>, Vec<u8>) {
    let mut greeter = SmtpGreeter::new(Arc::new(settings.clone()));
    greeter.learn(Some(known()), &mut Vec::new());
    let (mut input, mut output, mut step) = (Input::new(), Vec::new(), Ok(Step::More));
    greeter.greet(&mut output);
    for piece in said.chunks(size.max(1)) {
        input.push(piece);
        if step == Ok(Step::More) {
            step = greeter.step(&mut input, &mut output);
        }
    }
    (String::from_utf8(output).unwrap(), step, input.take())
}

fn known() -> Extensions {
    let reply = b"250-mx.example\r\n250-SIZE 1000\r\n250-DSN\r\n250 AUTH PLAIN LOGIN GSSAPI\r\n";
    Extensions::listed_in(&Reply::first(reply).unwrap().unwrap())
}

/// The replies to `said`, which are the same in pieces of every size.
fn replies(settings: &Settings, said: &str) -> Vec<String> {
    let (output, step, _) = dialogue(settings, said.as_bytes(), said.len());
    for size in 1..said.len() {
        let pieces = dialogue(settings, said.as_bytes(), size);
        assert_eq!((&pieces.0, &pieces.1), (&output, &step), "{said:?} in pieces of {size}");
    }
    output.lines().skip(1).map(ToOwned::to_owned).collect()
}

fn open(protocol: Protocol) -> Settings {
    Settings { require: false, ..settings(protocol) }
}

#[test]
fn each_protocol_has_its_greeting() {
    for (protocol, greeting) in [(Protocol::Smtp, "ESMTP"), (Protocol::Submission, "ESMTP"), (Protocol::Lmtp, "LMTP")] {
        assert_eq!(dialogue(&settings(protocol), b"", 1).0, format!("220 mw.example {greeting}\r\n"));
    }
}

#[test]
fn where_tls_is_required_little_else_is_offered() {
    assert_eq!(
        replies(&settings(Protocol::Smtp), "ehlo c.example \r\n"),
        ["250-mw.example", "250-ENHANCEDSTATUSCODES", "250 STARTTLS"]
    );
    assert_eq!(
        replies(&settings(Protocol::Lmtp), "LHLO c\r\n"),
        ["250-mw.example", "250-PIPELINING", "250-ENHANCEDSTATUSCODES", "250 STARTTLS"]
    );
}

#[test]
fn small_commands_are_answered_in_order() {
    let said = "HELO c\r\nNOOP x\r\nRSET\nVRFY a\r\nHELP\r\nQUIT\r\n";
    let told = replies(&settings(Protocol::Smtp), said);
    let codes: Vec<_> = told.iter().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "252", "214", "221"]);
    assert_eq!(dialogue(&settings(Protocol::Smtp), said.as_bytes(), 100).1, Ok(Step::Done(Outcome::Closed)));
}

#[test]
fn tls_begins_with_nothing_left_over() {
    for said in ["STARTTLS\r\n", "starttls  \r\n", "EHLO c\r\nSTARTTLS\n"] {
        for size in 1..=said.len() {
            let (output, step, left) = dialogue(&settings(Protocol::Smtp), said.as_bytes(), size);
            assert!(matches!(step, Ok(Step::Done(Outcome::StartTls(_)))), "{said:?}");
            assert!(output.ends_with("220 2.0.0 Ready to start TLS\r\n") && left.is_empty());
        }
    }
}

#[test]
fn any_byte_behind_starttls_ends_the_session() {
    for protocol in [Protocol::Smtp, Protocol::Submission, Protocol::Lmtp] {
        for injected in ["\n", "\0", "R", "NOOP\r\n", "EHLO c\r\nMAIL FROM:<a@b>\r\n", "\x16\x03\x01", "STARTTLS\r\n"] {
            for settings in [settings(protocol), open(protocol)] {
                let said = format!("STARTTLS\r\n{injected}");
                let (output, step, _) = dialogue(&settings, said.as_bytes(), said.len());
                assert_eq!(step, Err(Violation::InjectedBeforeTls), "{injected:?}");
                assert!(output.ends_with("503 5.5.1 Nothing may follow STARTTLS before the handshake\r\n"));
                assert!(!output.contains("220 2.0.0"));
            }
        }
    }
}

#[test]
fn starttls_has_no_parameter() {
    assert!(replies(&settings(Protocol::Smtp), "STARTTLS now\r\nNOOP\r\n")[0].starts_with("501 5.5.4 "));
}

#[test]
fn without_tls_nothing_gets_on() {
    for verb in ["MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "AUTH PLAIN AGEAYg==", "AUTH LOGIN", "EXPN x"] {
        let told = replies(&settings(Protocol::Submission), &format!("{verb}\r\n"));
        assert!(told.len() == 1 && told[0].starts_with("530 5.7.0 "), "{verb}: {told:?}");
    }
    let closed = Settings { guard: Guard { require_auth: true, rcpt_domains: None }, ..open(Protocol::Submission) };
    assert!(replies(&closed, "MAIL FROM:<a@b>\r\n")[0].starts_with("530 5.7.0 "), "nobody could log in");
}

#[test]
fn lmtp_takes_neither_helo_nor_ehlo() {
    let told = replies(&settings(Protocol::Lmtp), "EHLO c\r\nHELO c\r\nVRFY x\r\n");
    assert!(told[0].starts_with("500 ") && told[1].starts_with("500 ") && told[2].starts_with("530 "));
    assert!(replies(&settings(Protocol::Smtp), "LHLO c\r\n")[0].starts_with("500 "));
}

#[test]
fn a_name_is_needed() {
    let long = format!("EHLO {}\r\n", "x".repeat(160));
    assert!(replies(&settings(Protocol::Smtp), &long)[0].starts_with("250"));
    for said in ["EHLO\r\n", "HELO  \r\n", "EHLO a b\r\n"] {
        assert!(replies(&settings(Protocol::Smtp), said)[0].starts_with("501 5.5.4 "), "{said:?}");
    }
    for said in ["EHLO a\x1bb\r\n", "EHLO a\0\r\n", "EHLO a\rb\r\n"] {
        assert!(replies(&settings(Protocol::Smtp), said)[0].starts_with("500 5.5.2 "), "{said:?}");
    }
}

#[test]
fn long_lines_are_refused_and_endless_ones_end_the_session() {
    let long = format!("NOOP {}\r\nRSET\r\n", "x".repeat(LIMITS.line));
    let told = replies(&settings(Protocol::Smtp), &long);
    assert!(told[0].starts_with("500 5.5.2 ") && told[1].starts_with("250 "));
    let endless = vec![b'x'; LIMITS.line * 17];
    for size in [1, 100, endless.len()] {
        assert_eq!(dialogue(&settings(Protocol::Smtp), &endless, size).1, Err(Violation::LineTooLong));
    }
}

#[test]
fn patience_has_limits() {
    let smtp = settings(Protocol::Smtp);
    let (output, step, _) = dialogue(&smtp, "BOGUS\r\n".repeat(LIMITS.errors + 1).as_bytes(), 1000);
    assert_eq!(step, Err(Violation::TooManyErrors));
    assert_eq!(output.matches("500 5.5.1 ").count(), LIMITS.errors);
    assert!(output.ends_with("421 4.7.0 Too many errors, closing\r\n"));
    let step = dialogue(&smtp, "NOOP\r\n".repeat(LIMITS.commands).as_bytes(), 1000).1;
    assert_eq!(step, Ok(Step::More));
    let step = dialogue(&smtp, "NOOP\r\n".repeat(LIMITS.commands + 1).as_bytes(), 1000).1;
    assert_eq!(step, Err(Violation::TooManyCommands));
}

#[test]
fn a_browser_is_sent_away_at_once() {
    let (output, step, _) = dialogue(&settings(Protocol::Smtp), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100);
    assert_eq!(step, Err(Violation::HttpRequest));
    assert_eq!(output.lines().count(), 2);
}

#[test]
fn the_octets_of_a_refused_chunk_are_no_commands() {
    let told = replies(&settings(Protocol::Smtp), "BDAT 10 LAST\r\nSTARTTLS\r\nNOOP\r\n");
    assert!(told.len() == 2 && told[0].starts_with("530 5.7.0 ") && told[1].starts_with("250 "), "{told:?}");
    assert!(replies(&open(Protocol::Smtp), "BDAT 0 LAST\r\n")[0].starts_with("503 5.5.1 "));
    let step = |said: &str| dialogue(&settings(Protocol::Smtp), said.as_bytes(), 100).1;
    assert_eq!(step("BDAT 1001\r\n"), Err(Violation::TooMuchDiscarded));
    assert_eq!(step("BDAT x\r\n"), Err(Violation::BadLength));
}

#[test]
fn an_open_listener_offers_what_the_backend_has() {
    assert_eq!(
        replies(&open(Protocol::Smtp), "EHLO c\r\n"),
        ["250-mw.example", "250-DSN", "250-SIZE 1000", "250 STARTTLS"]
    );
}

#[test]
fn the_first_hello_asks_what_the_backend_has() {
    let mut greeter = SmtpGreeter::new(Arc::new(open(Protocol::Smtp)));
    let (mut input, mut output) = (Input::new(), Vec::new());
    input.push(b"NOOP\r\nEHLO c\r\nNOOP\r\n");
    for _ in 0..2 {
        assert_eq!(greeter.step(&mut input, &mut output), Ok(Step::Done(Outcome::AskExtensions)));
    }
    assert_eq!(output, b"250 2.0.0 OK\r\n", "nothing behind EHLO is answered before it");
    output.clear();
    greeter.learn(None, &mut output);
    assert_eq!(output, b"250-mw.example\r\n250 STARTTLS\r\n");
    assert_eq!(greeter.step(&mut input, &mut output), Ok(Step::More));
    input.push(b"EHLO c\r\n");
    assert_eq!(greeter.step(&mut input, &mut output), Ok(Step::More), "asked once");
}

#[test]
fn mail_in_plaintext_goes_on_with_all_that_was_said() {
    for (said, command, offered) in [
        ("EHLO c.example \r\n", Some("EHLO c.example"), known()),
        ("ehlo c\r\nhelo d\r\n", Some("HELO d"), Extensions::default()),
        ("NOOP\r\n", None, Extensions::default()),
    ] {
        let rest = "MAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<a@b>\r\n";
        let (_, step, left) = dialogue(&open(Protocol::Smtp), format!("{said}{rest}").as_bytes(), 100);
        let command = command.map(|command| command.as_bytes().to_vec());
        assert_eq!(step, Ok(Step::Done(Outcome::Plaintext(Opening::Hello { command, offered }))));
        assert_eq!(left, rest.as_bytes());
    }
}

#[test]
fn what_needs_a_mail_first_does_not_go_on() {
    let told = replies(&open(Protocol::Smtp), "MAIL <a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    assert!(told[0].starts_with("501 ") && told[1].starts_with("503 ") && told[2].starts_with("503 "));
}

#[test]
fn a_password_in_plaintext_needs_its_permission() {
    let said = "EHLO c\r\nAUTH PLAIN AGEAYg==\r\n";
    assert!(replies(&open(Protocol::Submission), said).last().unwrap().starts_with("530 5.7.0 "));
    let permitted = Settings { plaintext_auth: true, ..open(Protocol::Submission) };
    let (output, step, left) = dialogue(&permitted, said.as_bytes(), 100);
    assert!(output.contains("250-AUTH PLAIN LOGIN\r\n"));
    assert!(matches!(step, Ok(Step::Done(Outcome::Plaintext(_)))));
    assert_eq!(left, b"AUTH PLAIN AGEAYg==\r\n");
}

#[test]
fn a_client_that_comes_in_vain_is_sent_to_the_next_server() {
    let mut output = Vec::new();
    SmtpGreeter::new(Arc::new(settings(Protocol::Smtp))).farewell(Farewell::Busy, &mut output);
    assert!(output.starts_with(b"421 4.3.2 "));
}
