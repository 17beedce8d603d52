//! POP3 before TLS.

use crate::proto::harness::{LIMITS, plaintext, settings, soups, talk, talk_any, talk_in};
use crate::proto::{Farewell, Opening, Outcome, Protocol, Violation, greeter};

/// What the greeter says to `input`, which comes to no end.
fn said(input: &str) -> String {
    let talk = talk_any(&settings(Protocol::Pop3), input.as_bytes());
    assert_eq!(talk.end, Ok(None), "{input:?}");
    talk.said
}

#[test]
fn the_greeting_has_no_timestamp() {
    let mut greeting = Vec::new();
    greeter(&settings(Protocol::Pop3).into()).greet(&mut greeting);
    assert_eq!(greeting, b"+OK mail.test ready\r\n");
}

#[test]
fn capa_offers_stls_and_no_login() {
    let list = said("CAPA\r\n");
    assert_eq!(list, "+OK What I can do:\r\nSTLS\r\nRESP-CODES\r\nIMPLEMENTATION mailward\r\n.\r\n");
    assert_eq!(said("capa \n"), list);
}

#[test]
fn a_plaintext_listener_offers_user() {
    let talk = talk_any(&plaintext(Protocol::Pop3), b"CAPA\r\n");
    assert!(talk.said.contains("\r\nUSER\r\n") && talk.said.contains("\r\nSTLS\r\n"), "{}", talk.said);
}

#[test]
fn noop_is_answered_and_quit_ends_the_session() {
    assert_eq!(said("NOOP\r\n"), "+OK\r\n");
    let quit = talk_any(&settings(Protocol::Pop3), b"QUIT\r\n");
    assert_eq!((quit.said.as_str(), quit.end), ("+OK Goodbye\r\n", Ok(Some(Outcome::Closed))));
}

#[test]
fn no_login_is_taken_and_no_continuation_sent() {
    for login in ["USER tim", "PASS secret", "APOP tim 0123", "AUTH", "AUTH PLAIN", "AUTH PLAIN AHRpbQBz", "auth login"]
    {
        assert_eq!(said(&format!("{login}\r\n")), "-ERR Use STLS first\r\n", "{login}");
    }
}

#[test]
fn the_line_behind_a_refused_auth_is_a_command() {
    assert_eq!(said("AUTH LOGIN\r\nNOOP\r\n"), "-ERR Use STLS first\r\n+OK\r\n");
}

#[test]
fn other_commands_are_unknown() {
    for command in ["", " STLS", "XCLIENT ADDR=1.2.3.4", "LANG", "UTF8", "STAT", "STLSX", "CAPA x"] {
        assert_eq!(said(&format!("{command}\r\n")), "-ERR Unknown command\r\n", "{command}");
    }
}

#[test]
fn stls_begins_tls_on_an_empty_input() {
    for command in ["STLS\r\n", "stls\n", "STLS \t\r\n", "NOOP\r\nSTLS\r\n"] {
        let talk = talk_any(&settings(Protocol::Pop3), command.as_bytes());
        assert!(talk.said.ends_with("+OK Begin TLS\r\n"), "{}", talk.said);
        assert!(matches!(talk.end, Ok(Some(Outcome::StartTls(_)))), "{command:?}");
    }
}

#[test]
fn stls_takes_no_argument() {
    assert_eq!(said("STLS now\r\n"), "-ERR STLS takes no argument\r\n");
}

#[test]
fn nothing_follows_stls_into_tls_wherever_the_reads_are_cut() {
    for injected in ["X", "USER tim\r\n", "\r\n", "\x16\x03\x01"] {
        let input = format!("NOOP\r\nSTLS\r\n{injected}");
        let behind = "NOOP\r\nSTLS\r\n".len();
        for cut in 1..=input.len() {
            let talk = talk_in(settings(Protocol::Pop3), input.as_bytes(), [cut, input.len()]);
            if cut == behind {
                assert!(matches!(talk.end, Ok(Some(Outcome::StartTls(_)))));
                assert_eq!(talk.left, "");
            } else {
                assert_eq!(talk.end, Err(Violation::InjectedBeforeTls), "{input:?} cut at {cut}");
                assert!(talk.said.starts_with("+OK\r\n-ERR ") && !talk.said.contains("Begin"), "{}", talk.said);
            }
        }
    }
}

#[test]
fn a_login_opens_the_plaintext_session_and_is_left_whole() {
    let long = format!("AUTH PLAIN {}\r\n", "A".repeat(LIMITS.line + 10));
    for login in ["USER tim\r\n", "apop tim 0123\r\n", "AUTH\r\n", "AUTH PLAIN\r\n", long.as_str()] {
        let talk = talk_any(&plaintext(Protocol::Pop3), format!("NOOP\r\n{login}").as_bytes());
        assert_eq!((talk.said.as_str(), talk.end), ("+OK\r\n", Ok(Some(Outcome::Plaintext(Opening::Nothing)))));
        assert_eq!(talk.left, login);
    }
}

#[test]
fn plaintext_needs_both_settings() {
    let mut only_one = plaintext(Protocol::Pop3);
    only_one.require = true;
    assert_eq!(talk(only_one, b"USER tim\r\n").said, "-ERR Use STLS first\r\n");
    let mut only_other = settings(Protocol::Pop3);
    only_other.require = false;
    assert_eq!(talk(only_other, b"USER tim\r\n").said, "-ERR Use STLS first\r\n");
}

#[test]
fn a_line_too_long_is_refused_and_the_session_stays_in_step() {
    let input = format!("USER {}\r\nNOOP\r\n", "x".repeat(LIMITS.line));
    assert_eq!(said(&input), "-ERR Line too long\r\n+OK\r\n");
}

#[test]
fn an_endless_line_ends_the_session() {
    let talk = talk_any(&settings(Protocol::Pop3), &vec![b'x'; LIMITS.auth + 1]);
    assert_eq!(talk.end, Err(Violation::LineTooLong));
    assert_eq!(talk.said, "-ERR Line too long, goodbye\r\n");
}

#[test]
fn nul_and_lone_cr_are_refused() {
    assert_eq!(said("ST\0LS\r\nNOOP\r\n"), "-ERR NUL and CR cannot be part of a command\r\n+OK\r\n");
    assert_eq!(said("NOOP\rSTLS\r\nNOOP\r\n"), "-ERR NUL and CR cannot be part of a command\r\n+OK\r\n");
}

#[test]
fn no_soup_is_understood_by_halves() {
    let fragments = [
        "NOOP",
        "CAPA",
        "AUTH ",
        "USER ",
        "STL",
        "QUIT",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    for soup in soups(&fragments, 150) {
        talk_any(&settings(Protocol::Pop3), &soup);
        talk_any(&plaintext(Protocol::Pop3), &soup);
    }
}

#[test]
fn too_many_errors_end_the_session() {
    let talk = talk_any(&settings(Protocol::Pop3), "FOO\r\n".repeat(LIMITS.errors + 1).as_bytes());
    assert_eq!(talk.end, Err(Violation::TooManyErrors));
    assert_eq!(talk.said.lines().count(), LIMITS.errors + 1);
    assert_eq!(said(&"FOO\r\n".repeat(LIMITS.errors)).lines().count(), LIMITS.errors);
}

#[test]
fn too_many_commands_end_the_session() {
    let talk = talk_any(&settings(Protocol::Pop3), "NOOP\r\n".repeat(LIMITS.commands + 1).as_bytes());
    assert_eq!(talk.end, Err(Violation::TooManyCommands));
    assert_eq!(said(&"NOOP\r\n".repeat(LIMITS.commands)).lines().count(), LIMITS.commands);
}

#[test]
fn a_browser_is_shown_out_at_once() {
    let talk = talk_any(&settings(Protocol::Pop3), b"GET / HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(talk.end, Err(Violation::HttpRequest));
    assert_eq!(talk.said.lines().count(), 1);
}

#[test]
fn a_client_that_cannot_be_served_is_told_to_come_back() {
    let mut words = Vec::new();
    for farewell in [Farewell::Busy, Farewell::BackendDown, Farewell::BackendLost, Farewell::Draining] {
        words.clear();
        greeter(&settings(Protocol::Pop3).into()).farewell(farewell, &mut words);
        assert!(words.starts_with(b"-ERR [SYS/TEMP] ") && words.ends_with(b"\r\n"), "{farewell:?}");
    }
    words.clear();
    greeter(&settings(Protocol::Pop3).into()).farewell(Farewell::Timeout, &mut words);
    assert_eq!(words, b"-ERR Too slow, goodbye\r\n");
}
