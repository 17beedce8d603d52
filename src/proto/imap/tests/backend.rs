//! What of a backend's bytes reaches the client.

use super::*;
use crate::proto::{Complaint, Farewell};

const LOST: &str = "* BYE [UNAVAILABLE] the connection to the mail server was lost\r\n";

#[test]
fn the_greeting_passes_filtered_where_the_client_has_had_none() {
    let mut joint = Joint::ungreeted(Start::Greeting);
    let greeting =
        "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED IDLE AUTH=EXTERNAL AUTH=PLAIN] Dovecot ready.\r\n";
    assert_eq!(joint.greet(greeting), "* OK [CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN] Dovecot ready.\r\n");
    assert_eq!(joint.filter.complaint(), Some(Complaint::LoginRefusedInPlaintext));
    assert_eq!(joint.filter.complaint(), None);
    let mut joint = Joint::ungreeted(Start::Greeting);
    assert_eq!(joint.greet("* OK hi\n"), "* OK hi\r\n");
}

#[test]
fn the_greeting_is_swallowed_where_the_client_has_had_one() {
    for start in [Start::Greeted, Start::Opened(crate::proto::Opening::Nothing)] {
        let mut joint = Joint::ungreeted(start);
        assert_eq!(joint.greet("* OK [CAPABILITY IMAP4rev1 ID LOGINDISABLED] hi\r\n"), "");
        assert_eq!(joint.filter.complaint(), Some(Complaint::LoginRefusedInPlaintext));
        assert_eq!(joint.client("a ID NIL\r\n"), onward("a ID NIL\r\n"));
    }
}

#[test]
fn a_refusal_is_never_hidden() {
    for start in [Start::Greeting, Start::Greeted] {
        let mut joint = Joint::ungreeted(start);
        assert_eq!(joint.greet("* BYE too busy\r\n"), "* BYE too busy\r\n");
        assert_eq!(joint.end, Some(Ending::Refused));
    }
}

#[test]
fn nobody_is_logged_in_by_a_greeting() {
    for start in [Start::Greeting, Start::Greeted] {
        let mut joint = Joint::ungreeted(start);
        assert_eq!(joint.greet("* preauth welcome\r\n"), LOST);
        assert_eq!(joint.end, Some(Ending::Backend(Violation::Preauth)));
        assert_eq!(joint.filter.complaint(), Some(Complaint::Preauth));
    }
    let mut joint = Joint::offering("ID");
    joint.client("a NOOP\r\n");
    assert_eq!(joint.backend("* PREAUTH welcome\r\n"), answer(LOST));
    assert_eq!(joint.end, Some(Ending::Backend(Violation::Preauth)));
}

#[test]
fn a_list_is_filtered_wherever_it_stands() {
    for (sent, received) in [
        ("* CAPABILITY IMAP4rev1 STARTTLS AUTH=SCRAM-SHA-1-PLUS ID\r\n", "* CAPABILITY IMAP4rev1 ID\r\n"),
        ("* capability STARTTLS {3}\r\n", "* capability {3}\r\n"),
        ("* OK [CAPABILITY X STARTTLS] hi\r\n", "* OK [CAPABILITY X] hi\r\n"),
        ("a OK [capability UNAUTHENTICATE IDLE] done\r\n", "a OK [capability IDLE] done\r\n"),
        ("a NO [CAPABILITY LOGINDISABLED] no\r\n", "a NO [CAPABILITY] no\r\n"),
        ("* BYE [CAPABILITY STARTTLS] no\r\n", "* BYE [CAPABILITY] no\r\n"),
    ] {
        let mut joint = Joint::offering("ID");
        joint.client("a CAPABILITY\r\n");
        assert_eq!(joint.backend(sent), answer(received), "{sent}");
    }
}

#[test]
fn the_list_in_the_login_reply_is_filtered_and_is_the_last_thing_looked_at() {
    let mut joint = Joint::offering("ID");
    joint.client("a LOGIN tim x\r\n");
    let replies = "* CAPABILITY STARTTLS A\r\na OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE IDLE STARTTLS] in\r\n* CAPABILITY STARTTLS\r\n";
    let expected = "* CAPABILITY A\r\na OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* CAPABILITY STARTTLS\r\n";
    assert_eq!(joint.backend(replies), answer(expected));
    assert!(joint.filter.steps_aside());
}

#[test]
fn other_replies_pass_byte_for_byte() {
    let replies = "* OK Waiting for authentication process to respond..\r\n* ID (\"name\" {9}\r\na OK x\r\n\0 \"v\" {0}\r\n {1}\r\nz)\n* X {3+}\r\na BAD  no {3}\r\n";
    let mut joint = Joint::offering("ID");
    joint.client("a LOGIN tim x\r\n");
    assert_eq!(joint.backend(replies), answer(replies));
    assert_eq!(joint.client("b NOOP\r\n"), onward("b NOOP\r\n"));
}

#[test]
fn a_backends_literals_are_bounded_before_login() {
    for size in ["65537", "99999999999999999999"] {
        let mut joint = Joint::offering("ID");
        joint.client("a NOOP\r\n");
        assert_eq!(joint.backend(format!("* ID (\"name\" {{{size}}}\r\n")), answer(LOST));
        assert_eq!(joint.end, Some(Ending::Backend(Violation::Backend)));
    }
}

#[test]
fn a_backends_lines_are_bounded_before_login() {
    let mut joint = Joint::offering("ID");
    joint.client("a NOOP\r\n");
    assert_eq!(joint.backend(format!("* {}", "x".repeat(70_000))), answer(LOST));
    assert_eq!(joint.end, Some(Ending::Backend(Violation::Backend)));
}

#[test]
fn what_the_backend_says_unasked_ends_the_session() {
    for line in ["* OK still here", "* 3 EXISTS", "a OK x", "+ go", "* PREAUTH x", "junk"] {
        let mut joint = Joint::offering("ID");
        assert_eq!(joint.backend(format!("{line}\r\n")), answer(LOST), "{line}");
        assert_eq!(joint.end, Some(Ending::Backend(Violation::Backend)));
        assert_eq!(joint.filter.complaint(), Some(Complaint::SpokeUnasked));
    }
}

#[test]
fn a_backend_may_take_its_leave_unasked() {
    let mut joint = Joint::offering("ID");
    assert_eq!(joint.backend("* BYE autologout\r\n"), answer("* BYE autologout\r\n"));
    assert_eq!(joint.end, Some(Ending::Closed));
}

#[test]
fn an_answer_to_nothing_that_was_asked_ends_the_session() {
    for line in ["b OK x", "A OK x", "+ go on", "a DONE", "*", "a", "", "a OK x\0", "* OK x\ry"] {
        let mut joint = Joint::offering("ID");
        joint.client("a LOGIN tim x\r\n");
        assert_eq!(joint.backend(format!("{line}\r\n")), answer(LOST), "{line:?}");
        assert_eq!(joint.end, Some(Ending::Backend(Violation::Backend)));
        assert!(!joint.filter.steps_aside());
    }
}

#[test]
fn a_second_challenge_before_the_response_ends_the_session() {
    let mut joint = Joint::offering("AUTH=PLAIN");
    joint.client("a AUTHENTICATE PLAIN\r\n");
    joint.backend("+ \r\n");
    assert_eq!(joint.backend("+ \r\n"), answer(LOST));
    assert_eq!(joint.end, Some(Ending::Backend(Violation::Backend)));
}

#[test]
fn logout_ends_in_good_order() {
    let mut joint = Joint::offering("ID");
    joint.client("a LOGOUT\r\nb NOOP\r\n");
    assert_eq!(joint.backend("* BYE x\r\n"), answer("* BYE x\r\n"));
    assert_eq!(joint.end, None);
    assert_eq!(joint.backend("a OK done\r\n"), answer("a OK done\r\n"));
    assert_eq!(joint.end, Some(Ending::Closed));
}

#[test]
fn a_bye_in_the_middle_of_a_login_is_followed_by_the_answer_at_most() {
    let mut joint = Joint::offering("ID");
    joint.client("a LOGIN tim x\r\n");
    assert_eq!(joint.backend("* BYE too many\r\n"), answer("* BYE too many\r\n"));
    let mut wire = Wire::default();
    assert!(!joint.filter.farewell(Farewell::Draining, &mut wire));
    assert_eq!(joint.backend("a NO no\r\n"), answer("a NO no\r\n"));
    assert_eq!(joint.end, Some(Ending::Closed));
}

#[test]
fn a_lost_backend_is_told_of_unless_it_had_said_goodbye() {
    let lost = |joint: &mut Joint| {
        let mut wire = Wire::default();
        let flow = joint.filter.backend_lost(&mut wire);
        (shown(&wire.to_client), flow)
    };
    let mut joint = Joint::offering("ID");
    assert_eq!(lost(&mut joint), (LOST.to_owned(), Flow::End(Ending::BackendLost)));
    joint.client("a LOGIN tim x\r\n");
    assert_eq!(lost(&mut joint), (LOST.to_owned(), Flow::End(Ending::BackendLost)));
    joint.backend("* BYE enough\r\n");
    assert_eq!(lost(&mut joint), (String::new(), Flow::End(Ending::Closed)));
    let mut joint = Joint::offering("ID");
    joint.client("a NOOP\r\n");
    joint.backend("* ID (\"a\" {5}\r\nab");
    assert_eq!(lost(&mut joint), (String::new(), Flow::End(Ending::BackendLost)));
}

#[test]
fn a_farewell_is_said_between_responses_alone() {
    let says = |joint: &mut Joint| {
        let mut wire = Wire::default();
        let spoken = joint.filter.farewell(Farewell::Timeout, &mut wire);
        assert_eq!(spoken, wire.to_client == b"* BYE autologout, idle for too long\r\n");
        assert_eq!(spoken, !wire.to_client.is_empty());
        spoken
    };
    let mut joint = Joint::offering("ID");
    assert!(says(&mut joint));
    joint.client("a LOGIN tim x\r\n");
    assert!(says(&mut joint));
    joint.backend("* ID (\"a\" {5}\r\nab");
    assert!(!says(&mut joint));
    joint.backend("cde ");
    assert!(!says(&mut joint));
    joint.backend("\"c\")\r\n");
    assert!(says(&mut joint));
    joint.backend("a OK in\r\n");
    assert!(!says(&mut joint));
}
