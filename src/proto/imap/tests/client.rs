//! What of a client's commands reaches the backend.

use super::*;
use crate::proto::{Complaint, Phase, RefusedLogin};

/// A filter whose backend offers most things.
fn rich() -> Joint {
    Joint::offering("SASL-IR ID LANGUAGE LITERAL+ AUTH=PLAIN AUTH=LOGIN AUTH=EXTERNAL AUTH=SCRAM-SHA-256-PLUS")
}

#[test]
fn commands_that_have_their_place_before_login_pass_and_end_in_crlf() {
    for (command, sent) in [
        ("a capability\n", "a CAPABILITY\r\n"),
        ("a NOOP \r\n", "a NOOP\r\n"),
        ("a logout\r\n", "a LOGOUT\r\n"),
        ("a LOGIN  tim   \"se cret\"\n", "a LOGIN tim \"se cret\"\r\n"),
        ("a LOGIN DOM\\tim p%*]\r\n", "a LOGIN DOM\\tim p%*]\r\n"),
        ("a LOGIN \"t\\\"im\" \"\"\r\n", "a LOGIN \"t\\\"im\" \"\"\r\n"),
        ("a LANGUAGE\r\n", "a LANGUAGE\r\n"),
        ("a LANGUAGE DE \"EN\"\r\n", "a LANGUAGE DE \"EN\"\r\n"),
        ("a AUTHENTICATE plain\r\n", "a AUTHENTICATE plain\r\n"),
        ("a AUTHENTICATE PLAIN AGEAYg==\r\n", "a AUTHENTICATE PLAIN AGEAYg==\r\n"),
        ("a AUTHENTICATE LOGIN =\r\n", "a AUTHENTICATE LOGIN =\r\n"),
    ] {
        assert_eq!(rich().client(command), onward(sent), "{command:?}");
    }
}

#[test]
fn everything_else_is_answered_by_mailward() {
    for command in [
        "a STARTTLS",
        "a UNAUTHENTICATE",
        "a SELECT INBOX",
        "a IDLE",
        "a XCLIENT ADDR=1",
        "a X",
        "a APPEND x {3}",
        "a",
        "a COMPRESS DEFLATE",
        "a NOOP x",
        "a CAPABILITY x",
        "a LOGIN tim",
        "a LOGIN a b c",
        "a LOGIN (a) b",
        "a LOGIN",
        "a LOGIN \"a\"\"b\" c",
        "a AUTHENTICATE",
        "a AUTHENTICATE PLAIN a b",
        "a AUTHENTICATE PLAIN a*",
        "a LOGIN \0 x",
        "a AUTHENTICATE \"PLAIN\"",
        "a LOGIN a b\rb NOOP",
        "a ID",
        "a LANGUAGE (DE)",
    ] {
        let (said, onward) = rich().client(format!("{command}\r\n"));
        assert!(said.starts_with("a BAD ") && said.lines().count() == 1 && onward.is_empty(), "{command:?}: {said}");
    }
    for tag in ["*", "+", "", "a\x1b"] {
        assert_eq!(rich().client(format!("{tag} NOOP\r\n")), answer("* BAD a command begins with a tag\r\n"));
    }
}

#[test]
fn what_is_not_on_the_list_is_refused() {
    for command in ["a ID NIL", "a LANGUAGE", "a AUTHENTICATE PLAIN AGEAYg=="] {
        let mut joint = Joint::offering("AUTH=PLAIN");
        assert!(joint.client(format!("{command}\r\n")).0.starts_with("a BAD "), "{command}");
    }
    for mechanism in ["EXTERNAL", "external", "SCRAM-SHA-256-PLUS", "GSSAPI"] {
        let refused = answer("a NO this mechanism is not offered\r\n");
        assert_eq!(rich().client(format!("a AUTHENTICATE {mechanism}\r\n")), refused, "{mechanism}");
    }
}

/// A session with a client whose certificate the backend was told of.
fn certified(list: &str) -> Joint {
    let mut joint = Joint::with(ImapFilter::new(Arc::new(settings()), Start::Greeted, Leg::Certified));
    joint.greet(&format!("* OK [CAPABILITY IMAP4rev1 {list}] hi\r\n"));
    joint
}

#[test]
fn a_client_logs_in_by_its_certificate() {
    let mut at_once = certified("SASL-IR AUTH=EXTERNAL");
    assert_eq!(at_once.client("a AUTHENTICATE external =\r\n"), onward("a AUTHENTICATE external =\r\n"));
    assert_eq!(at_once.backend("a OK in\r\n"), answer("a OK in\r\n"));
    assert_eq!((at_once.filter.steps_aside(), at_once.filter.user()), (true, None));

    let mut asked = certified("AUTH=EXTERNAL");
    assert_eq!(asked.client("a AUTHENTICATE EXTERNAL\r\n"), onward("a AUTHENTICATE EXTERNAL\r\n"));
    assert_eq!(asked.backend("+ \r\n"), answer("+ \r\n"));
    assert_eq!(asked.client("dGlt\r\n"), onward("dGlt\r\n"));
    assert_eq!(asked.backend("a NO who?\r\n"), answer("a NO who?\r\n"));
    assert_eq!(asked.filter.refused_login(), Some(RefusedLogin { user: Some("tim".to_owned()) }));
    assert_eq!(asked.client("b AUTHENTICATE EXTERNAL\r\n"), onward("b AUTHENTICATE EXTERNAL\r\n"));
    assert_eq!(asked.backend("+ \r\n"), answer("+ \r\n"));
    assert_eq!(asked.client("\r\n"), onward("\r\n"));
    assert_eq!(asked.backend("b OK in\r\n"), answer("b OK in\r\n"));
    assert!(asked.filter.steps_aside());
}

#[test]
fn a_certificate_opens_no_mechanism_that_the_backend_does_not_offer() {
    let refused = answer("a NO this mechanism is not offered\r\n");
    assert_eq!(certified("AUTH=PLAIN").client("a AUTHENTICATE EXTERNAL\r\n"), refused);
}

#[test]
fn without_a_list_the_backend_decides_about_mechanisms_but_not_about_hidden_ones() {
    let mut joint = Joint::ungreeted(Start::Greeted);
    joint.greet("* OK The Microsoft Exchange IMAP4 service is ready.\r\n");
    assert_eq!(joint.client("a AUTHENTICATE EXTERNAL\r\n"), answer("a NO this mechanism is not offered\r\n"));
    assert_eq!(joint.client("a ID NIL\r\n"), answer("a BAD not offered\r\n"));
    assert_eq!(joint.client("a AUTHENTICATE PLAIN\r\n"), onward("a AUTHENTICATE PLAIN\r\n"));
}

#[test]
fn the_latest_list_counts() {
    let mut joint = Joint::offering("ID");
    joint.client("a CAPABILITY\r\n");
    joint.backend("* CAPABILITY IMAP4rev1 AUTH=LOGIN\r\na OK done\r\n");
    assert_eq!(joint.client("b ID NIL\r\n"), answer("b BAD not offered\r\n"));
    assert_eq!(joint.client("c AUTHENTICATE LOGIN\r\n"), onward("c AUTHENTICATE LOGIN\r\n"));
}

#[test]
fn one_command_at_a_time_is_with_the_backend() {
    let mut joint = rich();
    assert_eq!(joint.client("a CAPABILITY\r\nb STARTTLS\r\nc NOOP\r\n"), onward("a CAPABILITY\r\n"));
    assert_eq!(joint.filter.phase(), Phase::Transfer);
    assert_eq!(joint.backend("* CAPABILITY IMAP4rev1\r\n"), answer("* CAPABILITY IMAP4rev1\r\n"));
    let expected = ("a OK done\r\nb BAD not offered\r\n".to_owned(), "c NOOP\r\n".to_owned());
    assert_eq!(joint.backend("a OK done\r\n"), expected);
    assert_eq!(joint.backend("c OK done\r\n"), answer("c OK done\r\n"));
    assert_eq!(joint.filter.phase(), Phase::Command);
}

#[test]
fn a_sasl_exchange_passes_line_by_line() {
    let mut joint = rich();
    assert_eq!(joint.client("a AUTHENTICATE LOGIN\r\ndGlt\r\n"), onward("a AUTHENTICATE LOGIN\r\n"));
    assert_eq!(joint.backend("+\r\n"), ("+\r\n".to_owned(), "dGlt\r\n".to_owned()));
    assert_eq!(joint.backend("+ UGFzc3dvcmQ6\r\n"), answer("+ UGFzc3dvcmQ6\r\n"));
    assert_eq!(joint.filter.phase(), Phase::Command);
    assert_eq!(joint.client("c2VjcmV0\n"), onward("c2VjcmV0\r\n"));
    assert!(joint.filter.awaits_login());
    assert_eq!(joint.backend("a OK in\r\n"), answer("a OK in\r\n"));
    assert!(joint.filter.steps_aside() && !joint.filter.awaits_login());
    assert_eq!(joint.filter.user(), Some("tim"));
}

#[test]
fn an_exchange_can_be_cancelled_and_another_begun() {
    let mut joint = rich();
    joint.client("a AUTHENTICATE PLAIN\r\n");
    joint.backend("+ \r\n");
    assert_eq!(joint.client("*\r\n"), onward("*\r\n"));
    assert_eq!(joint.backend("a BAD cancelled\r\n"), answer("a BAD cancelled\r\n"));
    assert_eq!(joint.client("b AUTHENTICATE PLAIN AGJvYgBwYXNz\r\n"), onward("b AUTHENTICATE PLAIN AGJvYgBwYXNz\r\n"));
    joint.backend("b OK in\r\n");
    assert_eq!(joint.filter.user(), Some("bob"));
}

#[test]
fn a_response_that_is_none_cancels_the_exchange() {
    for response in ["b NOOP", "AGE\0", "AGE\rb NOOP", "{3+}", "A B", "\u{e9}"] {
        let mut joint = rich();
        joint.client("a AUTHENTICATE PLAIN\r\n");
        joint.backend("+ \r\n");
        assert_eq!(joint.client(format!("{response}\r\n")), onward("*\r\n"), "{response:?}");
    }
}

#[test]
fn a_response_is_bounded() {
    let mut joint = rich();
    joint.client("a AUTHENTICATE PLAIN\r\n");
    joint.backend("+ \r\n");
    let line = format!("{}\r\n", "A".repeat(LIMITS.auth));
    assert_eq!(joint.client(&line), onward(&line));
    joint.backend("+ \r\n");
    assert_eq!(joint.client(format!("A{line}")), answer("* BYE line too long\r\n"));
    assert_eq!(joint.end, Some(Ending::Client(Violation::LineTooLong)));
}

#[test]
fn no_last_words_stand_in_a_literal_of_the_backends() {
    let mut joint = rich();
    joint.client("a AUTHENTICATE PLAIN\r\n");
    joint.backend("+ \r\n* ID (\"name\" {9}\r\nabc");
    assert_eq!(joint.client("A".repeat(LIMITS.auth + 2)), answer(""));
    assert_eq!(joint.end, Some(Ending::Client(Violation::LineTooLong)));
}

#[test]
fn an_exchange_without_end_is_too_many_commands() {
    let mut joint = rich();
    joint.client("a AUTHENTICATE PLAIN\r\n");
    for _ in 0..LIMITS.commands {
        joint.backend("+ \r\n");
        joint.client("AAAA\r\n");
    }
    assert_eq!(joint.end, Some(Ending::Client(Violation::TooManyCommands)));
}

#[test]
fn what_is_pipelined_behind_the_login_is_not_looked_at() {
    let mut joint = rich();
    joint.client("a LOGIN tim x\r\nb XWHATEVER {3}\r\n\0");
    let (said, onward) = joint.backend("a OK in\r\n* 3 EXISTS");
    assert_eq!(said, "a OK in\r\n* 3 EXISTS");
    assert_eq!(onward, "b XWHATEVER {3}\r\n\0");
    assert_eq!(joint.filter.user(), Some("tim"));
}

#[test]
fn a_failed_login_is_followed_by_another() {
    let mut joint = rich();
    joint.client("a LOGIN tim x\r\n");
    assert_eq!(joint.backend("a NO [AUTHENTICATIONFAILED] no\r\n"), answer("a NO [AUTHENTICATIONFAILED] no\r\n"));
    assert!(joint.filter.awaits_login() && joint.filter.complaint().is_none() && joint.filter.user().is_none());
    assert_eq!(joint.client("b LOGIN bob y\r\n"), onward("b LOGIN bob y\r\n"));
    joint.backend("b OK in\r\n");
    assert_eq!(joint.filter.user(), Some("bob"));
}

#[test]
fn the_user_is_what_the_name_stands_for() {
    for (name, user) in
        [("tim", "tim"), ("\"a\\\"b c\"", "a\"b c"), ("DOM\\tim", "DOM\\tim"), ("{4+}\r\nt\r\nm", "t\r\nm")]
    {
        let mut joint = rich();
        joint.client(format!("a LOGIN {name} x\r\n"));
        joint.backend("a OK in\r\n");
        assert_eq!(joint.filter.user(), Some(user), "{name}");
    }
}

#[test]
fn a_privacy_required_answer_to_a_login_is_complained_about_once() {
    let mut joint = rich();
    joint.client("a LOGIN tim x\r\n");
    joint.backend("a NO [PRIVACYREQUIRED] Plaintext authentication disallowed\r\n");
    assert_eq!(joint.filter.complaint(), Some(Complaint::LoginRefusedInPlaintext));
    joint.client("b LOGIN tim x\r\n");
    joint.backend("b NO [PRIVACYREQUIRED] Plaintext authentication disallowed\r\n");
    assert_eq!(joint.filter.complaint(), None);
}

#[test]
fn no_login_passes_on_a_plaintext_leg_that_was_not_permitted() {
    let mut joint = Joint::with(ImapFilter::new(Arc::new(settings()), Start::Greeting, Leg::Plaintext));
    let greeting = "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] hi\r\n";
    assert_eq!(joint.greet(greeting), greeting);
    for command in ["a LOGIN tim x", "a AUTHENTICATE PLAIN"] {
        assert_eq!(joint.client(format!("{command}\r\n")), answer("a NO [PRIVACYREQUIRED] not without TLS\r\n"));
    }
    assert_eq!(joint.client("a LOGIN {3}\r\n"), answer("a BAD no literal is taken here\r\n"));
}

#[test]
fn a_permitted_plaintext_login_passes() {
    let filter =
        ImapFilter::new(Arc::new(plaintext_settings()), Start::Opened(crate::proto::Opening::Nothing), Leg::Plaintext);
    let mut joint = Joint::with(filter);
    assert_eq!(joint.greet("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"), "");
    assert_eq!(joint.client("a LOGIN tim x\r\n"), onward("a LOGIN tim x\r\n"));
}

#[test]
fn errors_and_commands_are_counted_before_login() {
    let mut joint = rich();
    let (said, _) = joint.client("a STARTTLS\r\n".repeat(LIMITS.errors + 2));
    assert!(said.ends_with("a BAD not offered\r\n* BYE too many errors\r\n"));
    assert_eq!(said.lines().count(), LIMITS.errors + 2);
    assert_eq!(joint.end, Some(Ending::Client(Violation::TooManyErrors)));
    let mut joint = rich();
    for _ in 0..LIMITS.commands {
        joint.client("a NOOP\r\n");
        joint.backend("a OK\r\n");
    }
    assert_eq!(joint.end, None);
    assert_eq!(joint.client("a NOOP\r\n"), answer("* BYE too many commands\r\n"));
    assert_eq!(joint.end, Some(Ending::Client(Violation::TooManyCommands)));
}

#[test]
fn a_line_is_bounded_and_little_of_it_is_held() {
    let mut joint = rich();
    let long = format!("a LOGIN tim {}\r\nb NOOP\r\n", "x".repeat(LIMITS.line));
    for byte in long.bytes() {
        joint.read(Side::Client, &[byte]);
    }
    assert_eq!(joint.sent(), ("a BAD line too long\r\n".to_owned(), "b NOOP\r\n".to_owned()));
    assert!(joint.held <= LIMITS.line + 2);
    let mut joint = rich();
    assert_eq!(joint.client("x".repeat(5000)), answer("* BYE line too long\r\n"));
    assert_eq!(joint.end, Some(Ending::Client(Violation::LineTooLong)));
}

#[test]
fn a_browser_inside_tls_is_shown_out_at_once() {
    let mut joint = rich();
    assert_eq!(joint.client("GET / HTTP/1.1\r\nHost: a\r\n"), answer("* BYE this is not a web server\r\n"));
    assert_eq!(joint.end, Some(Ending::Client(Violation::HttpRequest)));
}

#[test]
fn a_client_that_ends_in_the_middle_of_a_command_is_cut_off() {
    for (sent, whole) in
        [("a NOOP\r\n", true), ("a NO", false), ("a LOGIN {3}\r\n", false), ("a LOGIN {3+}\r\ntim", false)]
    {
        let mut joint = rich();
        joint.client(sent);
        assert_eq!(joint.filter.client_ended(), whole, "{sent:?}");
    }
    assert!(rich().filter.client_ended());
    let mut joint = rich();
    joint.client("a AUTHENTICATE PLAIN\r\n");
    joint.backend("+ \r\n");
    assert!(joint.filter.client_ended());
    joint.client("AGE");
    assert!(!joint.filter.client_ended());
}
