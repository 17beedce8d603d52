//! Commands: what passes, what is refused, and that replies keep their order.

use super::talk::{LIMITS, Talk, both, settings};
use crate::proto::{
    Ending, Filter as _, Flow, Leg, Phase, Protocol, Settings, Violation, Wire,
    smtp::{DomainPattern, Guard, Hygiene},
};

fn smtp(drips: bool) -> Talk {
    Talk::inside_tls(settings(Protocol::Smtp), drips)
}

fn guarded() -> Settings {
    let rcpt_domains = Some(vec![DomainPattern::Exact("example.org".into())]);
    Settings { guard: Guard { require_auth: false, rcpt_domains }, ..settings(Protocol::Smtp) }
}

#[test]
fn a_session_goes_through() {
    both(|drips| {
        let mut talk = smtp(drips);
        talk.hello("EHLO", &["PIPELINING", "SIZE 1000"]);
        talk.exchange("MAIL FROM:<a@b>", "250 2.1.0 ok").exchange("RCPT TO:<c@d>", "250-2.1.5\r\n250 ok");
        talk.exchange("rset", "250 ok").exchange("VRFY a", "252 x").exchange("EXPN a", "550 no");
        talk.exchange("HELP", "214 x").exchange("NOOP x", "250 ok");
        talk.exchange("QUIT", "221 2.0.0 bye");
        assert_eq!(talk.ending, Some(Ending::Closed));
    });
}

#[test]
fn a_command_goes_on_with_crlf() {
    both(|drips| {
        let mut talk = smtp(drips);
        assert_eq!(talk.client("NOOP\n").asked(), "NOOP\r\n");
    });
}

#[test]
fn the_list_is_filtered_and_what_it_hides_is_refused() {
    both(|drips| {
        let mut talk = smtp(drips);
        talk.client("EHLO c\r\n").asked();
        let told = talk.backend("250-mx\r\n250-STARTTLS\r\n250-XCLIENT ADDR\r\n250-ETRN\r\n250 BURL\r\n").told();
        assert_eq!(told, "250-mx\r\n250 ETRN\r\n");
        assert!(talk.client("XCLIENT ADDR=1.2.3.4\r\n").told().starts_with("502 5.5.1 "));
        assert!(talk.client("BURL imap://x LAST\r\n").told().starts_with("502 5.5.1 "));
        assert!(talk.client("STARTTLS\r\n").told().starts_with("503 5.5.1 "));
        assert_eq!(talk.asked(), "");
        talk.exchange("etrn b.example", "250 ok");
    });
}

#[test]
fn before_the_list_only_the_base_verbs_pass() {
    let mut talk = smtp(false);
    talk.exchange("NOOP", "250 ok").exchange("MAIL FROM:<a@b>", "503 hello first");
    for verb in ["ETRN x", "AUTH PLAIN", "XFORWARD x"] {
        assert!(talk.client(format!("{verb}\r\n")).told().starts_with("502 5.5.1 "), "{verb}");
    }
    assert_eq!(talk.asked(), "");
}

#[test]
fn helo_forgets_the_list() {
    let mut talk = smtp(false);
    talk.hello("EHLO", &["PIPELINING", "ETRN"]).exchange("HELO c", "250 mx");
    assert!(talk.client("ETRN x\r\n").told().starts_with("502 "));
}

#[test]
fn starttls_without_tls_is_not_offered() {
    let mut talk =
        Talk::begun(settings(Protocol::Smtp), crate::proto::Start::Greeting, Leg::Plaintext, "220 mx\r\n", false);
    assert_eq!(talk.told(), "220 mx\r\n");
    assert!(talk.client("STARTTLS\r\n").told().starts_with("502 5.5.1 "));
}

#[test]
fn lmtp_has_lhlo_alone_and_smtp_has_it_not() {
    let mut lmtp = Talk::inside_tls(settings(Protocol::Lmtp), false);
    assert!(lmtp.client("EHLO c\r\nHELO c\r\n").told().lines().all(|line| line.starts_with("500 5.5.1 ")));
    assert_eq!(lmtp.asked(), "");
    lmtp.exchange("LHLO c", "250 mx");
    let mut smtp = smtp(false);
    assert!(smtp.client("LHLO c\r\n").told().starts_with("500 5.5.1 "));
    assert_eq!(smtp.asked(), "");
}

#[test]
fn lines_that_could_be_read_in_two_ways_never_go_on() {
    both(|drips| {
        let lines = ["NOOP\rRSET\r\n", "NO\0OP\r\n", " NOOP\r\n", "RCPT\tTO:<a@b>\r\n", "\r\n", "NOOP \x08\r\n"];
        for line in lines {
            let mut talk = smtp(drips);
            assert!(talk.client(line).told().starts_with("500 5.5.2 "), "{line:?}");
            assert_eq!(talk.asked(), "", "{line:?}");
        }
        let mut talk = smtp(drips);
        let long = format!("NOOP {}\r\nNOOP\r\n", "x".repeat(LIMITS.line));
        assert!(talk.client(long).told().starts_with("500 5.5.2 "));
        assert_eq!(talk.asked(), "NOOP\r\n", "and the session is in step behind it");
    });
}

#[test]
fn an_endless_line_ends_the_session() {
    both(|drips| {
        let mut talk = smtp(drips);
        talk.client("x".repeat(LIMITS.line * 17));
        assert_eq!(talk.ending, Some(Ending::Client(Violation::LineTooLong)));
    });
}

#[test]
fn a_browser_is_sent_away_at_once() {
    both(|drips| {
        let mut talk = smtp(drips);
        talk.client("POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b>\r\n");
        assert_eq!(talk.ending, Some(Ending::Client(Violation::HttpRequest)));
        assert_eq!(talk.told().lines().count(), 1);
        assert_eq!(talk.asked(), "");
    });
}

#[test]
fn mistakes_are_counted_until_a_mail_is_accepted() {
    let mut talk = smtp(false);
    talk.client("BOGUS\r\n".repeat(LIMITS.errors));
    assert_eq!(talk.ending, None);
    assert!(talk.client("BOGUS\r\n").told().ends_with("421 4.7.0 Too many errors, closing\r\n"));
    assert_eq!(talk.ending, Some(Ending::Client(Violation::TooManyErrors)));
    let mut talk = smtp(false);
    talk.hello("EHLO", &[]).exchange("MAIL FROM:<a@b>", "250 ok");
    talk.client("BOGUS\r\n".repeat(LIMITS.errors + 5));
    assert_eq!(talk.ending, None);
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    both(|drips| {
        let mut talk = Talk::inside_tls(guarded(), drips);
        talk.hello("EHLO", &["PIPELINING"]);
        let group = "MAIL FROM:<a@b>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<a@evil.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
        talk.client(group);
        assert_eq!(talk.asked(), "MAIL FROM:<a@b>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
        assert_eq!(talk.told(), "", "our own reply waits for those before it");
        assert_eq!(talk.filter.phase(), Phase::Transfer);
        let told = talk.backend("250 mail\r\n250 one\r\n250 two\r\n354 go\r\n").told();
        let codes: Vec<_> = told.lines().map(|line| &line[..line.len().min(9)]).collect();
        assert_eq!(codes, ["250 mail", "250 one", "554 5.7.1", "250 two", "354 go"]);
    });
}

#[test]
fn a_backend_without_pipelining_gets_one_command_at_a_time() {
    both(|drips| {
        let mut talk = smtp(drips);
        talk.hello("EHLO", &["SIZE"]);
        assert_eq!(talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBOGUS\r\n").asked(), "MAIL FROM:<a@b>\r\n");
        assert_eq!(talk.backend("250 ok\r\n").asked(), "RCPT TO:<a@b>\r\n");
        assert_eq!(talk.told(), "250 ok\r\n");
        assert!(talk.backend("250 ok\r\n").told().starts_with("250 ok\r\n502 5.5.1 "));
    });
}

#[test]
fn the_queue_of_replies_is_bounded() {
    let mut talk = smtp(false);
    talk.hello("EHLO", &["PIPELINING"]);
    talk.client("NOOP\r\n".repeat(250));
    assert_eq!(talk.asked().lines().count(), 100);
    assert_eq!(talk.backend("250 ok\r\n".repeat(100)).asked().lines().count(), 100);
    assert_eq!(talk.backend("250 ok\r\n".repeat(100)).asked().lines().count(), 50);
}

#[test]
fn nothing_is_read_behind_a_command_whose_reply_decides_how() {
    for command in ["EHLO c", "HELO c", "DATA", "AUTH PLAIN AGEAYg==", "QUIT"] {
        let mut filter = smtp(false);
        filter.hello("EHLO", &["PIPELINING", "AUTH PLAIN"]).client(format!("{command}\r\n"));
        assert_eq!(filter.filter.client(b"NOOP\r\n", &mut Wire::default()), Flow::Wait, "{command}");
    }
}

#[test]
fn what_the_guard_refuses_never_goes_on() {
    both(|drips| {
        for (line, code) in [
            ("RCPT TO:<a@evil.example>", "554 5.7.1"),
            ("RCPT TO:<a%evil.example@example.org>", "554 5.7.1"),
            ("RCPT TO:<@example.org:a@evil.example>", "554 5.7.1"),
            ("RCPT TO:<\"a@evil.example\"@example.org>", "554 5.7.1"),
            ("RCPT TO:<a>", "554 5.7.1"),
            ("rcpt to: a@evil.example", "554 5.7.1"),
            ("RCPT TO :<a@example.org>", "501 5.1.3"),
            ("RCPT <a@example.org>", "501 5.1.3"),
            ("RCPT TO:<a@example.org> <b@evil.example>", "501 5.1.3"),
            ("RCPT TO:<a@example.org", "501 5.1.3"),
        ] {
            let mut talk = Talk::inside_tls(guarded(), drips);
            talk.hello("EHLO", &["PIPELINING"]).exchange("MAIL FROM:<a@b>", "250 ok");
            assert!(talk.client(format!("{line}\r\n")).told().starts_with(code), "{line}");
            assert_eq!(talk.asked(), "", "{line}");
        }
        let mut talk = Talk::inside_tls(guarded(), drips);
        for line in ["RCPT TO:<a@Example.ORG>", "rcpt to: <a@example.org>", "RCPT  TO:a@example.org BY=1"] {
            talk.exchange(line, "250 ok");
        }
    });
}

#[test]
fn the_guards_refusals_are_no_mistakes() {
    let mut talk = Talk::inside_tls(guarded(), false);
    talk.client("RCPT TO:<a@evil.example>\r\n".repeat(LIMITS.errors * 3));
    assert_eq!(talk.ending, None);
    assert_eq!(talk.told().matches("554 5.7.1 ").count(), LIMITS.errors * 3);
}

#[test]
fn the_guard_holds_without_tls_too() {
    let mut talk = Talk::begun(guarded(), crate::proto::Start::Greeting, Leg::Plaintext, "220 mx\r\n", false);
    talk.told();
    assert!(talk.client("RCPT TO:<a@evil.example>\r\n").told().starts_with("554 5.7.1 "));
    assert_eq!(talk.asked(), "");
}

#[test]
fn verbs_that_begin_a_message_unjudged_or_swap_the_sides_are_hidden() {
    let mut talk = smtp(false);
    talk.hello("EHLO", &["SEND", "SOML", "SAML", "TURN", "ATRN"]).exchange("MAIL FROM:<a@b>", "250 ok");
    for verb in ["SEND FROM:<a@b>", "SOML FROM:<a@b>", "SAML FROM:<a@b>", "TURN", "ATRN"] {
        assert!(talk.client(format!("{verb}\r\n")).told().starts_with("502 5.5.1 "), "{verb}");
    }
    assert_eq!(talk.asked(), "");
}

#[test]
fn replies_are_written_with_crlf_and_without_control_bytes() {
    both(|drips| {
        let mut talk = smtp(drips);
        talk.client("NOOP\r\n");
        assert_eq!(talk.backend("250-a\x1b[2J\n250 b\n").told(), "250-a[2J\r\n250 b\r\n");
    });
}

#[test]
fn commands_that_the_operator_refuses_never_go_on() {
    both(|drips| {
        let hygiene = Hygiene { hidden: ["VRFY", "EXPN", "ETRN"].map(str::to_owned).to_vec(), ..Hygiene::default() };
        let mut talk = Talk::inside_tls(Settings { hygiene, ..settings(Protocol::Smtp) }, drips);
        talk.client("EHLO c\r\n").asked();
        let told = talk.backend("250-mx\r\n250-ETRN\r\n250-VRFY\r\n250-EXPN\r\n250 DSN\r\n").told();
        assert_eq!(told, "250-mx\r\n250 DSN\r\n");
        for (line, code) in [("vrfy a", "252 2.5.0 "), ("EXPN all", "252 2.5.0 "), ("ETRN b.example", "502 5.5.1 ")] {
            assert!(talk.client(format!("{line}\r\n")).told().starts_with(code), "{line}");
        }
        assert_eq!(talk.asked(), "");
    });
}

#[test]
fn parameters_and_sizes_are_judged_before_the_backend_sees_them() {
    both(|drips| {
        let hygiene = Hygiene { hidden: vec!["DSN".into()], largest: Some(1000), ..Hygiene::default() };
        let mut talk = Talk::inside_tls(Settings { hygiene, ..settings(Protocol::Smtp) }, drips);
        talk.client("EHLO c\r\n").asked();
        assert_eq!(talk.backend("250-mx\r\n250-DSN\r\n250 SIZE 5000\r\n").told(), "250-mx\r\n250 SIZE 1000\r\n");
        assert!(talk.client("MAIL FROM:<a@b> SIZE=1001\r\n").told().starts_with("552 5.3.4 "));
        assert!(talk.client("MAIL FROM:<a@b> RET=HDRS\r\n").told().starts_with("555 5.5.4 "));
        assert_eq!(talk.asked(), "");
        talk.exchange("MAIL FROM:<a@b> SIZE=1000", "250 ok");
        assert!(talk.client("RCPT TO:<a@b> NOTIFY=NEVER\r\n").told().starts_with("555 5.5.4 "));
        assert_eq!(talk.asked(), "");
    });
}
