//! How a session begins: the backend's greeting, its refusal, and clients that come from plaintext.

use super::talk::{LIMITS, Talk, both, settings};
use crate::proto::{
    Complaint, Ending, Filter as _, Leg, Opening, Protocol, Settings, Start, Violation, smtp::Extensions,
};

fn offered() -> Extensions {
    Extensions { size: Some(Some(1000)), eight_bit_mime: true, dsn: true, pipelining: true, ..Extensions::default() }
}

fn opened(command: Option<&str>, drips: bool) -> Talk {
    let start = Start::Opened(Opening::Hello { command: command.map(Into::into), offered: offered() });
    Talk::begun(Settings { require: false, ..settings(Protocol::Smtp) }, start, Leg::Plaintext, "220 mx\r\n", drips)
}

#[test]
fn a_greeting_is_passed_on_where_the_client_had_none() {
    let begin = |start| Talk::begun(settings(Protocol::Smtp), start, Leg::Tls, "220-mx\x07\n220 hi\r\n", false);
    assert_eq!(begin(Start::Greeting).told(), "220-mx\r\n220 hi\r\n");
    assert_eq!(begin(Start::Greeted).told(), "");
}

#[test]
fn bytes_behind_the_greeting_are_a_violation() {
    both(|drips| {
        let mut talk = Talk::inside_tls(settings(Protocol::Smtp), drips);
        assert!(talk.backend("250 smuggled\r\n").told().starts_with("421 4.3.2 "));
        assert_eq!(talk.ending, Some(Ending::Backend(Violation::Backend)));
        assert_eq!(talk.complaint(), Some(Complaint::SpokeUnasked));
    });
}

#[test]
fn what_is_no_greeting_ends_the_session() {
    for greeting in ["* OK IMAP\r\n", "354 x\r\n"] {
        let mut talk = Talk::begun(settings(Protocol::Smtp), Start::Greeted, Leg::Tls, greeting, false);
        assert!(talk.told().starts_with("421 4.3.2 "));
        assert_eq!(talk.ending, Some(Ending::Backend(Violation::Backend)));
    }
}

#[test]
fn a_temporary_refusal_is_told_at_the_first_command() {
    both(|drips| {
        let mut talk = Talk::begun(settings(Protocol::Smtp), Start::Greeted, Leg::Tls, "450 busy\r\n", drips);
        assert!(talk.cut, "the backend is let go");
        assert_eq!(talk.told(), "");
        assert!(talk.client("EHLO c\r\nQUIT\r\n").told().starts_with("421 4.3.2 "));
        assert_eq!(talk.ending, Some(Ending::Refused));
    });
}

#[test]
fn a_refusing_greeting_is_passed_on_where_the_client_had_none() {
    let begin = |greeting| Talk::begun(settings(Protocol::Smtp), Start::Greeting, Leg::Tls, greeting, false);
    let mut talk = begin("421 go away\r\n");
    assert_eq!((talk.told().as_str(), talk.ending), ("421 go away\r\n", Some(Ending::Refused)));
    let mut talk = begin("554 no service\r\n");
    assert_eq!((talk.told().as_str(), talk.ending), ("554 no service\r\n", None));
    assert!(talk.client("EHLO c\r\n").told().starts_with("503 5.5.1 "));
    assert!(talk.client("QUIT\r\n").told().starts_with("221 "));
    assert_eq!(talk.ending, Some(Ending::Refused));
}

#[test]
fn a_permanent_refusal_is_the_reply_to_ehlo_and_503_from_there() {
    both(|drips| {
        let greeting = "554-5.7.1 you are\r\n554 5.7.1 blocked\r\n";
        let mut talk = Talk::begun(settings(Protocol::Smtp), Start::Greeted, Leg::Tls, greeting, drips);
        assert!(talk.client("NOOP\r\n").told().starts_with("503 5.5.1 "));
        assert_eq!(talk.client("EHLO c\r\n").told(), greeting);
        assert!(talk.client("MAIL FROM:<a@b>\r\n").told().starts_with("503 5.5.1 "));
        assert!(talk.client("HELO c\r\n").told().starts_with("503 5.5.1 "));
        assert_eq!(talk.client("QUIT\r\n").told(), "221 2.0.0 Bye\r\n");
        assert_eq!((talk.ending, talk.asked().as_str()), (Some(Ending::Refused), ""));
    });
}

#[test]
fn a_refused_client_cannot_go_on_for_ever() {
    let mut talk = Talk::begun(settings(Protocol::Smtp), Start::Greeted, Leg::Tls, "554 no\r\n", false);
    talk.client("NOOP\r\n".repeat(LIMITS.commands + 1));
    assert_eq!(talk.ending, Some(Ending::Client(Violation::TooManyCommands)));
}

#[test]
fn a_plaintext_client_is_introduced_and_goes_on() {
    both(|drips| {
        let mut talk = opened(Some("EHLO c.example"), drips);
        assert_eq!(talk.client("MAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<a@b>\r\n").asked(), "EHLO c.example\r\n");
        let reply = "250-mx\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-DSN\r\n250 PIPELINING\r\n";
        assert_eq!(talk.backend(reply).asked(), "MAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<a@b>\r\n");
        assert_eq!(talk.told(), "", "the client had its reply");
        assert_eq!(talk.backend("250 ok\r\n250 ok\r\n").told(), "250 ok\r\n250 ok\r\n");
        assert!(talk.client("STARTTLS\r\n").told().starts_with("503 5.5.1 "));
    });
}

#[test]
fn a_client_without_hello_is_not_introduced() {
    let mut talk = opened(None, false);
    assert_eq!(talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n").asked(), "MAIL FROM:<a@b>\r\n");
}

#[test]
fn a_backend_that_lacks_what_was_offered_gets_one_command_at_a_time() {
    let mut talk = opened(Some("HELO c"), false);
    talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n").asked();
    assert_eq!(talk.backend("250-mx\r\n250 PIPELINING\r\n").asked(), "MAIL FROM:<a@b>\r\n");
}

#[test]
fn only_the_use_of_a_missing_extension_ends_the_session() {
    both(|drips| {
        let mut talk = opened(Some("EHLO c"), drips);
        talk.asked();
        talk.backend("250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n");
        talk.exchange("MAIL FROM:<a@b> SIZE=10 AUTH=<>", "250 ok").exchange("RCPT TO:<a@b>", "250 ok");
        talk.client("RSET\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n");
        assert_eq!(talk.ending, None, "in its turn");
        assert!(talk.backend("250 ok\r\n").told().starts_with("250 ok\r\n421 4.3.2 "));
        assert_eq!((talk.ending, talk.asked().as_str()), (Some(Ending::Refused), "RSET\r\n"));
    });
}

#[test]
fn a_backend_that_knows_no_ehlo_is_told_helo() {
    both(|drips| {
        for reply in ["500 what?\r\n", "502 what?\r\n"] {
            let mut talk = opened(Some("EHLO c.example"), drips);
            assert_eq!(talk.client("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n").asked(), "EHLO c.example\r\n");
            assert_eq!(talk.backend(reply).asked(), "HELO c.example\r\n");
            assert_eq!(talk.backend("250 mx\r\n").asked(), "MAIL FROM:<a@b>\r\n");
            assert_eq!((talk.told().as_str(), talk.ending), ("", None));
        }
        let mut talk = opened(Some("EHLO c"), drips);
        assert!(talk.backend("500 what?\r\n500 what?\r\n").told().starts_with("421 4.3.2 "));
        assert_eq!((talk.asked().as_str(), talk.ending), ("EHLO c\r\nHELO c\r\n", Some(Ending::Refused)));
    });
}

#[test]
fn a_refused_introduction_is_temporary_for_the_client() {
    for reply in ["550 no\r\n", "450 no\r\n", "354 no\r\n"] {
        let mut talk = opened(Some("EHLO c"), false);
        assert!(talk.client("MAIL FROM:<a@b>\r\n").backend(reply).told().starts_with("421 4.3.2 "), "{reply}");
        assert_eq!(talk.ending, Some(Ending::Refused));
    }
}

#[test]
fn a_refusal_of_a_plaintext_client_is_told_at_its_mail() {
    let start = Start::Opened(Opening::Hello { command: Some(b"EHLO c".to_vec()), offered: offered() });
    let mut talk = Talk::begun(settings(Protocol::Smtp), start, Leg::Plaintext, "554 no\r\n", false);
    assert_eq!(talk.client("MAIL FROM:<a@b>\r\n").told(), "554 no\r\n");
    assert_eq!(talk.asked(), "");
    assert!(!talk.filter.awaits_login());
}
