//! What the greeter answers.

use super::*;
use crate::proto::{Farewell, Opening, Outcome};

fn says(bytes: &str) -> String {
    greeted(settings(), bytes).0
}

#[test]
fn the_greeting_lists_starttls_and_no_login() {
    let mut output = Vec::new();
    ImapGreeter::new(Arc::new(settings())).greet(&mut output);
    assert_eq!(shown(&output), "* OK [CAPABILITY IMAP4rev1 ID STARTTLS LOGINDISABLED] mx.test ready\r\n");
}

#[test]
fn the_greeting_of_a_listener_with_plaintext_logins_permits_them() {
    let mut output = Vec::new();
    ImapGreeter::new(Arc::new(plaintext_settings())).greet(&mut output);
    assert_eq!(shown(&output), "* OK [CAPABILITY IMAP4rev1 ID STARTTLS] mx.test ready\r\n");
    let (said, _) = greeted(plaintext_settings(), "a CAPABILITY\r\n");
    assert_eq!(said, "* CAPABILITY IMAP4rev1 ID STARTTLS\r\na OK completed\r\n");
}

#[test]
fn its_own_commands_are_answered_in_any_case_and_with_trailing_blanks() {
    assert_eq!(says("a capability\r\n"), "* CAPABILITY IMAP4rev1 ID STARTTLS LOGINDISABLED\r\na OK completed\r\n");
    assert_eq!(says("b NOOP  \n"), "b OK completed\r\n");
    assert_eq!(says("c ID NIL\r\n"), "* ID NIL\r\nc OK completed\r\n");
    assert_eq!(says("d ID (\"name\" \"a(b\" \"os\" nil)\r\n"), "* ID NIL\r\nd OK completed\r\n");
}

#[test]
fn logout_is_answered_and_ends() {
    let (said, end) = greeted(settings(), "a LOGOUT\r\nb NOOP\r\n");
    assert_eq!(said, "* BYE closing the connection\r\na OK LOGOUT completed\r\n");
    assert_eq!(end, Some(Ok(Step::Done(Outcome::Closed))));
}

#[test]
fn commands_for_the_backend_want_tls_first() {
    let refused = "a NO [PRIVACYREQUIRED] STARTTLS comes first\r\n";
    for command in [
        "a LOGIN tim secret",
        "a LOGIN",
        "a LOGIN {3}",
        "a AUTHENTICATE PLAIN",
        "a authenticate plain AGEAYg==",
        "a SELECT INBOX",
        "a APPEND x {3}",
        "a UNAUTHENTICATE",
        "a LANGUAGE",
        "a IDLE",
    ] {
        assert_eq!(says(&format!("{command}\r\n")), refused, "{command}");
    }
}

#[test]
fn what_is_unknown_or_malformed_is_bad() {
    for command in
        ["a", "a XCLIENT x", "a FOO", "a NOOP x", "a CAPABILITY x", "a LOGOUT x", "a ID", "a ID ((", "a ID NIL x"]
    {
        let said = says(&format!("{command}\r\n"));
        assert!(said.starts_with("a BAD ") && said.ends_with("\r\n"), "{command}: {said}");
    }
    assert_eq!(says("a NO\0OP\r\n"), "a BAD a line may not hold NUL or a lone CR\r\n");
    assert_eq!(says("a NOOP\rb NOOP\r\n"), "a BAD a line may not hold NUL or a lone CR\r\n");
}

#[test]
fn a_bad_tag_is_never_said_back() {
    let long = "t".repeat(129);
    for tag in ["*", "+", "", "a+", "\x1b[31m", "a\x7f", "\u{e9}", long.as_str()] {
        assert_eq!(says(&format!("{tag} NOOP\r\n")), "* BAD a command begins with a tag\r\n", "{tag:?}");
    }
    assert_eq!(says("\r\n"), "* BAD a command begins with a tag\r\n");
    assert_eq!(says("+ LOGIN {3}\r\nb NOOP\r\n"), "* BAD a command begins with a tag\r\nb OK completed\r\n");
}

#[test]
fn the_line_after_a_refused_exchange_is_a_new_command() {
    let said = says("a AUTHENTICATE PLAIN\r\nb NOOP\r\nc LOGIN {3}\r\nd NOOP\r\n");
    let refused = "NO [PRIVACYREQUIRED] STARTTLS comes first\r\n";
    assert_eq!(said, format!("a {refused}b OK completed\r\nc {refused}d OK completed\r\n"));
}

#[test]
fn a_line_that_is_too_long_is_bad_and_the_next_is_read() {
    let long = format!("a LOGIN tim {}\r\n", "x".repeat(LIMITS.line));
    assert_eq!(says(&format!("{long}b NOOP\r\n")), "a BAD line too long\r\nb OK completed\r\n");
    let exact = format!("a LOGIN {}\r\n", "x".repeat(LIMITS.line - 8));
    assert!(says(&exact).starts_with("a NO "));
}

#[test]
fn a_line_without_end_ends_the_session() {
    let mut hall = Hall::new(settings());
    for _ in 0..100 {
        hall.read(&[b'x'; 50]);
    }
    assert_eq!(hall.end, Some(Err(Violation::LineTooLong)));
    assert_eq!(hall.said(), "* BYE line too long\r\n");
    assert!(hall.input.peek().len() < 300);
}

#[test]
fn an_initial_response_may_be_as_long_as_a_sasl_line() {
    let line = |length| format!("a AUTHENTICATE PLAIN {}\r\n", "A".repeat(length));
    assert!(says(&line(LIMITS.auth - 21)).starts_with("a NO [PRIVACYREQUIRED]"));
    assert_eq!(says(&line(LIMITS.auth)), "a BAD line too long\r\n");
}

#[test]
fn errors_are_counted() {
    let (said, end) = greeted(settings(), "a FOO\r\n".repeat(LIMITS.errors));
    assert_eq!((said.lines().count(), end), (LIMITS.errors, None));
    let (said, end) = greeted(settings(), "a SELECT x\r\n".repeat(LIMITS.errors + 2));
    assert_eq!(end, Some(Err(Violation::TooManyErrors)));
    assert!(said.ends_with("a NO [PRIVACYREQUIRED] STARTTLS comes first\r\n* BYE too many errors\r\n"));
    assert_eq!(said.lines().count(), LIMITS.errors + 2);
}

#[test]
fn commands_are_counted() {
    let (said, end) = greeted(settings(), "a NOOP\r\n".repeat(LIMITS.commands));
    assert_eq!((said.lines().count(), end), (LIMITS.commands, None));
    let (said, end) = greeted(settings(), "a NOOP\r\n".repeat(LIMITS.commands + 1));
    assert_eq!(end, Some(Err(Violation::TooManyCommands)));
    assert!(said.ends_with("a OK completed\r\n* BYE too many commands\r\n"));
}

#[test]
fn a_browser_is_shown_out_at_once() {
    let (said, end) = greeted(settings(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((said.as_str(), end), ("* BYE this is not a web server\r\n", Some(Err(Violation::HttpRequest))));
    let (_, end) = greeted(settings(), format!("POST /{} HTTP/1.1\r\n", "x".repeat(LIMITS.line)));
    assert_eq!(end, Some(Err(Violation::HttpRequest)));
}

#[test]
fn a_permitted_plaintext_login_is_left_whole() {
    for command in ["a LOGIN tim x", "a LOGIN {3}", "a AUTHENTICATE PLAIN AGEAYg==", "a SELECT INBOX"] {
        let mut hall = Hall::new(plaintext_settings());
        let rest = format!("{command}\r\nb NOOP\r\n");
        assert_eq!(hall.ask(format!("0 NOOP\r\n{rest}")), "0 OK completed\r\n");
        assert_eq!(hall.end, Some(Ok(Step::Done(Outcome::Plaintext(Opening::Nothing)))));
        assert_eq!(shown(hall.input.peek()), rest);
    }
}

#[test]
fn plaintext_needs_both_of_its_settings() {
    for settings in [Settings { require: false, ..settings() }, Settings { plaintext_auth: true, ..settings() }] {
        let (said, end) = greeted(settings.clone(), "a LOGIN tim x\r\n");
        assert_eq!((said.as_str(), end), ("a NO [PRIVACYREQUIRED] STARTTLS comes first\r\n", None));
        assert!(greeted(settings, "a CAPABILITY\r\n").0.contains("LOGINDISABLED"));
    }
}

#[test]
fn what_no_backend_would_know_does_not_reach_one_in_plaintext() {
    for command in ["a FOO\r\n", "* LOGIN tim x\r\n", "a LOGIN\0 tim x\r\n"] {
        let (said, end) = greeted(plaintext_settings(), command);
        assert!(said.contains(" BAD ") && end.is_none(), "{command:?}");
    }
}

#[test]
fn every_farewell_is_a_bye() {
    let greeter = ImapGreeter::new(Arc::new(settings()));
    let farewells =
        [Farewell::Busy, Farewell::BackendDown, Farewell::BackendLost, Farewell::Draining, Farewell::Timeout];
    for farewell in farewells {
        let mut output = Vec::new();
        greeter.farewell(farewell, &mut output);
        let said = shown(&output);
        assert!(said.starts_with("* BYE ") && said.ends_with("\r\n") && said.lines().count() == 1, "{said}");
        assert_eq!(said.contains("[UNAVAILABLE]"), farewell != Farewell::Timeout);
    }
}
