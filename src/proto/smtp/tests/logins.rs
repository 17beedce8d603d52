//! AUTH: the exchange stays in step, and what it opens stays shut without it.

use super::talk::{LIMITS, Talk, both, settings};
use crate::proto::{
    Complaint, Ending, Filter as _, Leg, Limits, Phase, Protocol, RefusedLogin, Settings, Start, Violation,
    smtp::{DomainPattern, Guard},
};

fn guarded() -> Settings {
    let guard = Guard { require_auth: true, rcpt_domains: Some(vec![DomainPattern::Exact("example.org".into())]) };
    Settings { guard, ..settings(Protocol::Submission) }
}

fn session(drips: bool) -> Talk {
    let mut talk = Talk::inside_tls(guarded(), drips);
    talk.hello("EHLO", &["PIPELINING", "AUTH PLAIN LOGIN SCRAM-SHA-256 EXTERNAL"]);
    talk
}

#[test]
fn plain_with_its_initial_response_logs_in() {
    both(|drips| {
        let mut talk = session(drips);
        assert!(talk.filter.awaits_login());
        talk.exchange("AUTH PLAIN AGFubmEAc2VjcmV0", "235 2.7.0 welcome");
        assert!(!talk.filter.awaits_login());
        assert_eq!(talk.filter.user(), Some("anna"));
        talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@anywhere.example>", "250 ok");
    });
}

#[test]
fn login_asks_twice() {
    both(|drips| {
        let mut talk = session(drips);
        talk.exchange("auth login", "334 VXNlcm5hbWU6");
        assert_eq!(talk.filter.phase(), Phase::Command);
        assert!(!talk.filter.client_ended(), "in the middle of an exchange");
        talk.exchange("YW5uYQ==", "334 UGFzc3dvcmQ6").exchange("c2VjcmV0", "235 welcome");
        assert_eq!(talk.filter.user(), Some("anna"));
        talk.exchange("AUTH PLAIN AAA=", "503 already");
        assert_eq!((talk.filter.user(), talk.filter.awaits_login()), (Some("anna"), false));
    });
}

#[test]
fn a_long_name_never_leaves_its_place_to_the_password() {
    let limits = Limits { auth: 8192, ..LIMITS };
    let mut talk = Talk::inside_tls(Settings { limits, ..guarded() }, false);
    talk.hello("EHLO", &["AUTH LOGIN"]).exchange("AUTH LOGIN", "334 VXNlcm5hbWU6");
    talk.exchange(&"YW5u".repeat(1500), "334 UGFzc3dvcmQ6").exchange("c2VjcmV0", "235 welcome");
    assert!(talk.filter.user().unwrap().starts_with("annann"));
}

#[test]
fn a_failed_login_opens_nothing() {
    both(|drips| {
        let mut talk = session(drips);
        talk.exchange("AUTH PLAIN AGFubmEAc2VjcmV0", "535 5.7.8 no");
        assert_eq!((talk.filter.user(), talk.filter.awaits_login()), (None, true));
        assert!(talk.client("MAIL FROM:<a@b>\r\n").told().starts_with("530 5.7.0 "));
        assert!(talk.client("RCPT TO:<a@anywhere.example>\r\n").told().starts_with("554 5.7.1 "));
        assert_eq!(talk.asked(), "");
    });
}

#[test]
fn an_anonymous_login_opens_nothing() {
    both(|drips| {
        let mut talk = Talk::inside_tls(guarded(), drips);
        talk.hello("EHLO", &["AUTH ANONYMOUS"]);
        talk.exchange("AUTH anonymous YQ==", "235 welcome");
        assert!(talk.client("MAIL FROM:<a@b>\r\n").told().starts_with("530 5.7.0 "));
        assert!(talk.client("RCPT TO:<a@anywhere.example>\r\n").told().starts_with("554 5.7.1 "));
    });
}

#[test]
fn nothing_is_read_behind_auth() {
    both(|drips| {
        let mut talk = session(drips);
        let asked = talk.client("AUTH PLAIN AGFubmEAc2VjcmV0\r\nMAIL FROM:<a@b>\r\n").asked();
        assert_eq!(asked, "AUTH PLAIN AGFubmEAc2VjcmV0\r\n");
        let told = talk.backend("535 no\r\n").told();
        assert!(told.starts_with("535 no\r\n530 5.7.0 "), "judged as what the reply made of the client: {told}");
    });
}

#[test]
fn a_star_cancels() {
    both(|drips| {
        let mut talk = session(drips);
        talk.exchange("AUTH PLAIN", "334 ").exchange("*", "501 cancelled").exchange("NOOP", "250 ok");
    });
}

#[test]
fn a_response_that_is_none_cancels() {
    both(|drips| {
        for response in ["MAIL FROM:<a@b>", "a b", "ab\0c", "a\rb"] {
            let mut talk = session(drips);
            talk.exchange("AUTH PLAIN", "334 ");
            assert_eq!(talk.client(format!("{response}\r\n")).asked(), "*\r\n", "{response:?}");
            assert_eq!(talk.backend("501 cancelled\r\n").told(), "501 cancelled\r\n");
            talk.exchange("NOOP", "250 ok");
        }
        let mut talk = session(drips);
        talk.exchange("AUTH PLAIN", "334 ");
        assert_eq!(talk.client(format!("{}\r\n", "x".repeat(LIMITS.auth + 1))).asked(), "*\r\n");
    });
}

#[test]
fn a_sasl_line_may_be_longer_than_a_command() {
    both(|drips| {
        let mut talk = session(drips);
        let line = format!("AUTH XOAUTH2 {}", "x".repeat(LIMITS.auth - "AUTH XOAUTH2 ".len()));
        assert!(line.len() > LIMITS.line);
        talk.exchange(&line, "334 ").exchange(&"x".repeat(LIMITS.auth), "535 no");
    });
}

#[test]
fn mechanisms_that_cannot_pass_are_refused_here() {
    let mut talk = session(false);
    assert!(talk.client("AUTH EXTERNAL\r\n").told().starts_with("504 5.5.4 "));
    assert!(talk.client("AUTH SCRAM-SHA-256-PLUS cA==\r\n").told().starts_with("504 5.5.4 "));
    assert!(talk.client("AUTH PLAIN a:b\r\n").told().starts_with("501 5.5.4 "));
    assert_eq!(talk.asked(), "");
}

/// A session with a client whose certificate the backend was told of.
fn certified(drips: bool) -> Talk {
    let mut talk = Talk::begun(guarded(), Start::Greeted, Leg::Certified, "220 mx\r\n", drips);
    assert_eq!(talk.hello("EHLO", &["AUTH EXTERNAL"]).complaint(), None);
    talk
}

#[test]
fn a_client_logs_in_by_its_certificate() {
    both(|drips| {
        for (command, user) in [("AUTH external =", None), ("AUTH EXTERNAL", None), ("AUTH EXTERNAL dGlt", Some("tim"))]
        {
            let mut talk = certified(drips);
            if command.ends_with("EXTERNAL") {
                talk.exchange(command, "334 ").exchange("", "235 2.7.0 welcome");
            } else {
                talk.exchange(command, "235 2.7.0 welcome");
            }
            assert_eq!((talk.filter.user(), talk.filter.awaits_login()), (user, false), "{command}");
            talk.exchange("MAIL FROM:<a@b>", "250 ok").exchange("RCPT TO:<a@anywhere.example>", "250 ok");
        }
    });
}

#[test]
fn a_refused_certificate_is_a_refused_login_and_opens_nothing() {
    let mut talk = certified(false);
    talk.exchange("AUTH EXTERNAL dGlt", "535 5.7.8 no");
    assert_eq!(talk.filter.refused_login(), Some(RefusedLogin { user: Some("tim".to_owned()) }));
    talk.exchange("AUTH EXTERNAL =", "535 5.7.8 no");
    assert_eq!(talk.filter.refused_login(), Some(RefusedLogin { user: None }));
    assert!(talk.client("MAIL FROM:<a@b>\r\n").told().starts_with("530 5.7.0 "));
}

#[test]
fn without_tls_no_password_passes() {
    both(|drips| {
        let mut talk = Talk::begun(settings(Protocol::Smtp), Start::Greeting, Leg::Plaintext, "220 mx\r\n", drips);
        talk.told();
        talk.client("EHLO c\r\n").asked();
        assert_eq!(talk.backend("250-mx\r\n250 AUTH PLAIN\r\n").told(), "250 mx\r\n");
        assert!(talk.client("AUTH PLAIN AGFubmEAc2VjcmV0\r\n").told().starts_with("538 5.7.11 "));
        assert!(talk.client("AUTH LOGIN\r\n").told().starts_with("538 5.7.11 "));
        assert_eq!(talk.asked(), "");
    });
}

#[test]
fn plaintext_auth_lets_a_password_pass() {
    let permitting = Settings { plaintext_auth: true, require: false, ..guarded() };
    let mut talk = Talk::begun(permitting, Start::Greeting, Leg::Plaintext, "220 mx\r\n", false);
    talk.told();
    talk.hello("EHLO", &["AUTH PLAIN"]).exchange("AUTH PLAIN AGFubmEAc2VjcmV0", "235 ok");
}

#[test]
fn a_backend_where_nobody_can_log_in_is_complained_about_once() {
    let mut talk = Talk::inside_tls(guarded(), false);
    talk.hello("EHLO", &["SIZE"]);
    assert_eq!(talk.complaint(), Some(Complaint::LoginRefusedInPlaintext));
    talk.hello("EHLO", &["AUTH EXTERNAL"]);
    assert_eq!(talk.complaint(), None);
    assert_eq!(session(false).complaint(), None);
    let mut open = Talk::inside_tls(settings(Protocol::Smtp), false);
    assert_eq!(open.hello("EHLO", &[]).complaint(), None);
}

#[test]
fn commands_before_login_are_limited() {
    let mut talk = session(false);
    for _ in 1..LIMITS.commands {
        talk.exchange("NOOP", "250 ok");
    }
    talk.client("NOOP\r\n");
    assert_eq!(talk.ending, Some(Ending::Client(Violation::TooManyCommands)));
}
