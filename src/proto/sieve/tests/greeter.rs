//! ManageSieve before TLS.

use crate::proto::harness::{LIMITS, plaintext, settings, soups, talk, talk_any, talk_in};
use crate::proto::{Farewell, Opening, Outcome, Protocol, Violation, greeter};

const LIST: &str = "\"IMPLEMENTATION\" \"mailward\"\r\n\"SASL\" \"\"\r\n\"SIEVE\" \"\"\r\n\"STARTTLS\"\r\n\
                    \"VERSION\" \"1.0\"\r\nOK \"mail.test ready\"\r\n";
const ENCRYPT: &str = "NO (ENCRYPT-NEEDED) \"Use STARTTLS first\"\r\n";
const FLAWED: &str = "NO \"Too long, or not a command\"\r\n";

/// What the greeter says to `input`, which comes to no end.
fn said(input: impl AsRef<[u8]>) -> String {
    let talk = talk_any(&settings(Protocol::ManageSieve), input.as_ref());
    assert_eq!(talk.end, Ok(None));
    talk.said
}

/// How the session ends that `input` ends.
fn end(input: impl AsRef<[u8]>) -> (String, Violation) {
    let talk = talk_any(&settings(Protocol::ManageSieve), input.as_ref());
    (talk.said, talk.end.unwrap_err())
}

#[test]
fn the_greeting_is_the_list() {
    let mut greeting = Vec::new();
    greeter(&settings(Protocol::ManageSieve).into()).greet(&mut greeting);
    assert_eq!(String::from_utf8(greeting).unwrap(), LIST);
    assert_eq!(said("CAPABILITY\r\n"), LIST);
    assert_eq!(said("capability \n"), LIST);
}

#[test]
fn a_plaintext_listener_offers_plain() {
    let list = talk_any(&plaintext(Protocol::ManageSieve), b"CAPABILITY\r\n").said;
    assert!(list.contains("\"SASL\" \"PLAIN\"\r\n") && list.contains("\"STARTTLS\"\r\n"), "{list}");
}

#[test]
fn noop_gives_its_tag_back() {
    assert_eq!(said("NOOP\r\n"), "OK \"Done\"\r\n");
    assert_eq!(said("noop \"a b\"\r\n"), "OK (TAG \"a b\") \"Done\"\r\n");
    assert_eq!(said("NOOP {3+}\r\na\"\\\r\n"), "OK (TAG \"a\\\"\\\\\") \"Done\"\r\n");
    assert_eq!(
        said(br#"NOOP "a\"b\\""#.iter().chain(b"\r\n").copied().collect::<Vec<_>>()),
        "OK (TAG \"a\\\"b\\\\\") \"Done\"\r\n"
    );
    assert_eq!(said("NOOP {4+}\r\na\r\nb\r\n"), "OK (TAG {4}\r\na\r\nb) \"Done\"\r\n");
    assert_eq!(said("NOOP {3+}\r\na  \r\n"), "OK (TAG \"a  \") \"Done\"\r\n");
    assert_eq!(said("NOOP \"\"\r\n"), "OK (TAG \"\") \"Done\"\r\n");
}

#[test]
fn logout_ends_the_session() {
    let talk = talk_any(&settings(Protocol::ManageSieve), b"LOGOUT\r\n");
    assert_eq!((talk.said.as_str(), talk.end), ("OK \"Goodbye\"\r\n", Ok(Some(Outcome::Closed))));
}

#[test]
fn everything_else_needs_encryption() {
    for command in
        ["AUTHENTICATE \"PLAIN\"", "authenticate \"PLAIN\" \"AHRpbQBz\"", "LISTSCRIPTS", "XCLIENT", "", " NOOP"]
    {
        assert_eq!(said(format!("{command}\r\n")), ENCRYPT, "{command}");
    }
}

#[test]
fn arguments_that_a_command_does_not_take_are_refused() {
    for command in [
        "STARTTLS \"x\"",
        "STARTTLS now",
        "CAPABILITY \"x\"",
        "LOGOUT 1",
        "NOOP 1",
        "NOOP \"a\" \"b\"",
        "NOOP \"a",
        "NOOP \"a\\\"",
        "NOOP {3+}\r\nabcd",
    ] {
        assert_eq!(said(format!("{command}\r\n")), "NO \"These arguments do not fit the command\"\r\n", "{command}");
    }
}

#[test]
fn a_literal_is_never_taken_for_a_command() {
    assert_eq!(said("AUTHENTICATE \"PLAIN\" {10+}\r\nSTARTTLS\r\n\r\nNOOP\r\n"), format!("{ENCRYPT}OK \"Done\"\r\n"));
    assert_eq!(said("PUTSCRIPT {1+}\r\nx {8+}\r\nLOGOUT\r\n\r\nNOOP\r\n"), format!("{ENCRYPT}OK \"Done\"\r\n"));
    let long = format!("AUTHENTICATE \"{}\" {{8+}}\r\nLOGOUT\r\n\r\nNOOP\r\n", "x".repeat(LIMITS.line));
    assert_eq!(said(long), format!("{FLAWED}OK \"Done\"\r\n"));
    let wide = format!("AUTHENTICATE \"PLAIN\" {{{}+}}\r\n{}\r\nNOOP\r\n", LIMITS.literal, "NOOP\r\n--".repeat(16));
    assert_eq!(said(wide), format!("{FLAWED}OK \"Done\"\r\n"));
}

#[test]
fn a_quoted_string_that_looks_like_a_literal_is_none() {
    assert_eq!(said("NOOP \"{8+}\"\r\nNOOP\r\n"), "OK (TAG \"{8+}\") \"Done\"\r\nOK \"Done\"\r\n");
}

#[test]
fn a_literal_that_waits_for_permission_is_refused() {
    assert_eq!(said("AUTHENTICATE \"PLAIN\" {8}\r\nNOOP\r\n"), format!("{FLAWED}OK \"Done\"\r\n"));
}

#[test]
fn literal_bombs_end_the_session() {
    for bomb in ["A {129+}\r\n", "A {4294967296+}\r\n", "A {99999999999999999999999999+}\r\n"] {
        assert_eq!(end(bomb), ("BYE \"Literal too long\"\r\n".into(), Violation::LiteralTooLong), "{bomb}");
    }
    assert_eq!(end(format!("A {{100+}}\r\n{} {{29+}}\r\n", "x".repeat(100))).1, Violation::LiteralTooLong);
    assert_eq!(end("{0+}\r\n".repeat(200)).1, Violation::LineTooLong);
}

#[test]
fn starttls_begins_tls_on_an_empty_input() {
    for command in ["STARTTLS\r\n", "starttls\n", "StartTLS \t\r\n", "STARTTLS\t\r\n", "NOOP\r\nSTARTTLS\r\n"] {
        let talk = talk_any(&settings(Protocol::ManageSieve), command.as_bytes());
        assert!(talk.said.ends_with("OK \"Begin TLS\"\r\n"), "{}", talk.said);
        assert!(matches!(talk.end, Ok(Some(Outcome::StartTls(_)))), "{command:?}");
    }
}

#[test]
fn nothing_follows_starttls_into_tls_wherever_the_reads_are_cut() {
    for injected in ["X", "NOOP\r\n", "\r\n", "\x16\x03\x01"] {
        let input = format!("NOOP {{2+}}\r\nab\r\nSTARTTLS\r\n{injected}");
        let behind = input.len() - injected.len();
        for cut in 1..=input.len() {
            let talk = talk_in(settings(Protocol::ManageSieve), input.as_bytes(), [cut, input.len()]);
            if cut == behind {
                assert!(matches!(talk.end, Ok(Some(Outcome::StartTls(_)))));
                assert_eq!(talk.left, "");
            } else {
                assert_eq!(talk.end, Err(Violation::InjectedBeforeTls), "{input:?} cut at {cut}");
                assert!(talk.said.contains("Done\"\r\nNO ") && !talk.said.contains("Begin"), "{}", talk.said);
            }
        }
    }
}

#[test]
fn a_login_opens_the_plaintext_session_and_is_left_whole() {
    let long = format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", "A".repeat(LIMITS.line + 10));
    for login in ["AUTHENTICATE \"PLAIN\"\r\n", "authenticate {5+}\r\n", long.as_str()] {
        let talk = talk_any(&plaintext(Protocol::ManageSieve), format!("NOOP\r\n{login}").as_bytes());
        assert_eq!((talk.said.as_str(), talk.end), ("OK \"Done\"\r\n", Ok(Some(Outcome::Plaintext(Opening::Nothing)))));
        assert_eq!(talk.left, login);
    }
    let with_literal = "AUTHENTICATE \"PLAIN\" {4+}\r\nAHRp\r\n";
    assert_eq!(talk(plaintext(Protocol::ManageSieve), with_literal.as_bytes()).left, with_literal);
}

#[test]
fn a_literal_that_looks_like_a_login_opens_nothing() {
    let talk = talk_any(&plaintext(Protocol::ManageSieve), b"NOOP {23+}\r\nAUTHENTICATE \"PLAIN\" \r\n\r\n");
    assert_eq!(talk.end, Ok(None));
    assert!(talk.said.starts_with("OK (TAG "), "{}", talk.said);
}

#[test]
fn plaintext_needs_both_settings() {
    let mut only_one = plaintext(Protocol::ManageSieve);
    only_one.require = true;
    assert_eq!(talk(only_one, b"AUTHENTICATE \"PLAIN\"\r\n").said, ENCRYPT);
    let mut only_other = settings(Protocol::ManageSieve);
    only_other.require = false;
    assert_eq!(talk(only_other, b"AUTHENTICATE \"PLAIN\"\r\n").said, ENCRYPT);
    let both = talk(plaintext(Protocol::ManageSieve), b"LISTSCRIPTS\r\n");
    assert_eq!(both.said, "NO \"Log in first\"\r\n");
}

#[test]
fn long_lines_and_control_characters_are_refused() {
    for command in [format!("NOOP \"{}\"", "x".repeat(LIMITS.line)), "NO\0OP".into(), "NOOP\rX".into(), "\x1b".into()] {
        assert_eq!(said(format!("{command}\r\nNOOP\r\n")), format!("{FLAWED}OK \"Done\"\r\n"), "{command:?}");
    }
    assert_eq!(end(vec![b'x'; LIMITS.auth + 1]), ("BYE \"Line too long\"\r\n".into(), Violation::LineTooLong));
}

#[test]
fn no_soup_is_understood_by_halves() {
    let fragments = [
        "NOOP ",
        "AUTHENTICATE ",
        "\"PLAIN\"",
        "{3+}",
        "{8}",
        "{0+}",
        "{200+}",
        "\"",
        "\\",
        "STARTTL",
        "LOGOUT",
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
        talk_any(&settings(Protocol::ManageSieve), &soup);
        talk_any(&plaintext(Protocol::ManageSieve), &soup);
    }
}

#[test]
fn commands_errors_and_browsers_end_the_session() {
    assert_eq!(end("FOO\r\n".repeat(LIMITS.errors + 1)).1, Violation::TooManyErrors);
    assert_eq!(end("NOOP\r\n".repeat(LIMITS.commands + 1)).1, Violation::TooManyCommands);
    assert_eq!(
        end("GET / HTTP/1.1\r\nHost: x\r\n"),
        ("BYE \"This is not a web server\"\r\n".into(), Violation::HttpRequest)
    );
}

#[test]
fn a_client_that_cannot_be_served_is_told_to_come_back() {
    let mut words = Vec::new();
    for farewell in [Farewell::Busy, Farewell::BackendDown, Farewell::BackendLost, Farewell::Draining] {
        words.clear();
        greeter(&settings(Protocol::ManageSieve).into()).farewell(farewell, &mut words);
        assert!(words.starts_with(b"BYE (TRYLATER) \"") && words.ends_with(b"\"\r\n"), "{farewell:?}");
    }
    words.clear();
    greeter(&settings(Protocol::ManageSieve).into()).farewell(Farewell::Timeout, &mut words);
    assert_eq!(words, b"BYE \"Too slow, goodbye\"\r\n");
}
