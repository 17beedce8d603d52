//! POP3 inside TLS.

use crate::proto::harness::{LIMITS, Says, Session, plaintext, play, settings, soups, stir};
use crate::proto::{
    Complaint, Ending, Farewell, Flow, Opening, Phase, Protocol, RefusedLogin, Start, Violation, greeting_end,
};
use Says::{Backend as B, Client as C};

const GREETING: &[u8] = b"+OK ready <1.2@old>\r\n";

/// A session in which the client has had mailward's greeting.
fn greeted() -> Session {
    Session::new(settings(Protocol::Pop3), Start::Greeted, GREETING)
}

/// A session over implicit TLS.
fn implicit(greeting: &[u8]) -> Session {
    Session::new(settings(Protocol::Pop3), Start::Greeting, greeting)
}

#[test]
fn a_greeting_is_one_line_that_says_ok_or_err() {
    let end = |input: &[u8]| greeting_end(Protocol::Pop3, input);
    assert_eq!(end(b"+OK hello\r\nmore"), Ok(Some(11)));
    assert_eq!(end(b"-ERR no\n"), Ok(Some(8)));
    for cut in 0..GREETING.len() {
        assert_eq!(end(&GREETING[..cut]), Ok(None));
    }
    for wrong in [b"2".as_slice(), b"+OX", b"* OK\r\n", b"+OKAY\r\n", b"+OK \0\r\n", b"+OK a\rb\r\n", b"\r\n"] {
        assert_eq!(end(wrong), Err(Violation::Backend));
    }
    assert_eq!(end(&[b"+OK ".to_vec(), vec![b'x'; 65536]].concat()), Err(Violation::Backend));
}

#[test]
fn implicit_tls_shows_the_banner_with_its_timestamp() {
    assert_eq!(implicit(GREETING).heard(), "+OK ready <1.2@old>\r\n");
    assert_eq!(implicit(b"+OK [XCLIENT] Dovecot ready. <1@x>\n").heard(), "+OK Dovecot ready. <1@x>\r\n");
    assert_eq!(implicit(b"+OK [xclient]\r\n").heard(), "+OK \r\n");
    assert_eq!(implicit(b"+OK [XCLIENT] a [XCL[XCLIENT]IENT] b [XCLIENT]\r\n").heard(), "+OK a [XCL IENT] b \r\n");
}

#[test]
fn after_stls_the_banner_is_swallowed() {
    assert_eq!(greeted().heard(), "");
    let opened = Start::Opened(Opening::Nothing);
    assert_eq!(Session::new(plaintext(Protocol::Pop3), opened, GREETING).heard(), "");
}

#[test]
fn a_refusal_is_the_greeting_of_implicit_tls() {
    let mut session = implicit(b"-ERR [IN-USE] later\r\n");
    assert_eq!(session.heard(), "-ERR [IN-USE] later\r\n");
    assert_eq!(session.ended, Some(Ending::Refused));
}

#[test]
fn a_refusal_answers_the_first_command_after_stls() {
    for gone in [false, true] {
        let mut session = Session::new(settings(Protocol::Pop3), Start::Greeted, b"-ERR [IN-USE] later\r\n");
        assert_eq!((session.heard().as_str(), session.ended), ("", None));
        if gone {
            assert_eq!(session.lose_backend(), Flow::More);
        }
        assert_eq!(session.client("CA"), "");
        assert_eq!(session.ended, None);
        assert_eq!(session.client("PA\r\nUSER tim\r\n"), "");
        assert_eq!(session.heard(), "-ERR [IN-USE] later\r\n");
        assert_eq!(session.ended, Some(Ending::Refused));
    }
}

#[test]
fn bytes_behind_a_refusal_are_ignored() {
    let mut session = Session::new(settings(Protocol::Pop3), Start::Greeted, b"-ERR later\r\n");
    assert_eq!(session.backend("+OK really\r\n"), "");
    session.client("USER\0\r\n");
    assert_eq!((session.heard().as_str(), session.ended), ("-ERR later\r\n", Some(Ending::Refused)));
}

#[test]
fn user_and_pass_log_in_and_the_filter_steps_aside() {
    let mut session = greeted();
    assert_eq!(session.client("user tim@x\n"), "user tim@x\r\n");
    assert_eq!(session.backend("+OK\n"), "+OK\r\n");
    assert!(session.filter().awaits_login());
    assert_eq!(session.client("PASS s e c \r\n"), "PASS s e c \r\n");
    assert_eq!(session.backend("+OK Logged in.\r\n+OK blind\n"), "+OK Logged in.\r\n+OK blind\n");
    assert!(session.filter().steps_aside() && !session.filter().awaits_login());
    assert_eq!(session.user().as_deref(), Some("tim@x"));
    assert_eq!(session.client("XCLIENT \0\rSTLS\r\n"), "XCLIENT \0\rSTLS\r\n");
    assert!(!session.farewell(Farewell::Draining));
    assert_eq!(session.heard(), "");
}

#[test]
fn a_refused_user_is_not_the_one_who_logs_in() {
    let mut session = greeted();
    session.client("USER tim\r\nUSER tom\r\nPASS x\r\n");
    session.backend("+OK\r\n");
    session.backend("-ERR no such\r\n");
    session.backend("+OK\r\n");
    assert_eq!(session.user().as_deref(), Some("tim"));

    let mut session = greeted();
    session.client("USER tim\r\nPASS wrong\r\n");
    session.backend("+OK\r\n");
    assert_eq!(session.backend("-ERR [AUTH] no\r\n"), "-ERR [AUTH] no\r\n");
    assert!(!session.filter().steps_aside());
    assert_eq!((session.user(), session.complaint()), (None, None));
}

#[test]
fn one_command_at_a_time_is_with_the_backend() {
    let mut session = greeted();
    assert_eq!(session.client("CAPA\r\nUSER tim\r\nPASS x\r\nSTAT\r\n"), "CAPA\r\n");
    assert_eq!(session.filter().phase(), Phase::Transfer);
    assert_eq!(session.backend("+OK\r\nUSER\r\n.\r\n"), "+OK\r\nUSER\r\n.\r\n");
    assert_eq!(session.client(""), "USER tim\r\n");
    session.backend("+OK\r\n");
    assert_eq!(session.client(""), "PASS x\r\n");
    session.backend("+OK\r\n");
    assert_eq!(session.client(""), "STAT\r\n");
    assert_eq!(session.held(), 0);
}

#[test]
fn apop_needs_the_timestamp_that_only_implicit_tls_shows() {
    let mut session = implicit(GREETING);
    assert_eq!(session.client("APOP tim 0123456789\r\n"), "APOP tim 0123456789\r\n");
    session.backend("+OK\r\n");
    assert!(session.filter().steps_aside());
    assert_eq!(session.user().as_deref(), Some("tim"));
    for mut session in [greeted(), implicit(b"+OK no timestamp\r\n"), implicit(b"+OK > x <\r\n")] {
        session.heard();
        assert_eq!(session.client("APOP tim 0123456789\r\n"), "");
        assert_eq!(session.heard(), "-ERR APOP is not possible here\r\n");
    }
}

#[test]
fn what_only_a_neighbour_may_say_is_refused() {
    for command in ["STLS", "XCLIENT ADDR=10.0.0.1", "XFOO", "STAT", "RETR 1", "HELP", "", " USER tim"] {
        let mut session = greeted();
        assert_eq!(session.client(format!("{command}\r\n")), "", "{command}");
        assert!(session.heard().starts_with("-ERR "), "{command}");
        assert_eq!(session.client("NOOP\r\n"), "NOOP\r\n");
    }
}

#[test]
fn utf8_noop_and_lang_pass() {
    for command in ["UTF8", "NOOP", "LANG en", "utf8 USER"] {
        let mut session = greeted();
        assert_eq!(session.client(format!("{command}\r\n")), format!("{command}\r\n"));
        assert_eq!(session.backend("+OK fine\r\n"), "+OK fine\r\n");
        assert_eq!(session.client("USER ä\r\n"), "USER Ã¤\r\n");
    }
}

#[test]
fn lang_without_a_language_is_a_list() {
    let mut session = greeted();
    assert_eq!(session.client("LANG\r\nNOOP\r\n"), "LANG\r\n");
    assert_eq!(session.backend("+OK\r\nen English\r\n"), "");
    assert_eq!(session.backend(".\r\n"), "+OK\r\nen English\r\n.\r\n");
    assert_eq!(session.client(""), "NOOP\r\n");
}

#[test]
fn capa_is_the_backends_list_without_what_ends_here() {
    let mut session = greeted();
    session.client("CAPA\r\n");
    let list = "+OK list\r\nTOP\r\nstls\r\nSTLS \r\n STLS\r\nUSER\r\nXCLIENT\r\nX-FOO bar\r\nSTLS\tx\r\n\
                SASL PLAIN EXTERNAL SCRAM-SHA-1-PLUS XOAUTH2\r\nIMPLEMENTATION old\n..dot\r\n.\r\n";
    let shown = "+OK list\r\nTOP\r\nUSER\r\nSASL PLAIN XOAUTH2\r\nIMPLEMENTATION old\r\n..dot\r\n.\r\n";
    assert_eq!(session.backend(list), shown);
    assert_eq!(session.complaint(), None);
}

#[test]
fn a_sasl_line_with_nothing_left_is_taken_out() {
    let mut session = greeted();
    session.client("CAPA\r\n");
    assert_eq!(session.backend("+OK\r\nSASL EXTERNAL\r\nUSER\r\n.\r\n"), "+OK\r\nUSER\r\n.\r\n");
    session.client("AUTH PLAIN\r\n");
    assert_eq!(session.heard(), "-ERR Unknown mechanism\r\n");
}

#[test]
fn a_refused_capa_is_one_line() {
    let mut session = greeted();
    assert_eq!(session.client("CAPA\r\nNOOP\r\n"), "CAPA\r\n");
    assert_eq!(session.backend("-ERR what?\r\n"), "-ERR what?\r\n");
    assert_eq!(session.client(""), "NOOP\r\n");
}

#[test]
fn a_backend_without_a_way_to_log_in_is_complained_of_once() {
    let mut session = greeted();
    session.client("CAPA\r\nCAPA\r\n");
    session.backend("+OK\r\nTOP\r\nSTLS\r\n.\r\n");
    assert_eq!(session.complaint(), Some(Complaint::LoginRefusedInPlaintext));
    session.backend("+OK\r\nTOP\r\nSASL EXTERNAL\r\n.\r\n");
    assert_eq!(session.complaint(), None);
}

#[test]
fn a_backend_that_refuses_plaintext_is_complained_of() {
    for (command, reply) in [
        ("USER tim", "-ERR [AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections."),
        ("PASS x", "-ERR Cleartext authentication disallowed"),
        ("AUTH PLAIN AHRpbQBz", "-ERR Plain text logins are not permitted"),
    ] {
        let mut session = greeted();
        session.client(format!("{command}\r\n"));
        assert_eq!(session.backend(format!("{reply}\r\n")), format!("{reply}\r\n"));
        assert_eq!(session.complaint(), Some(Complaint::LoginRefusedInPlaintext), "{reply}");
    }
}

#[test]
fn a_wrong_password_is_no_complaint() {
    for reply in ["-ERR [AUTH] wrong", "-ERR", "-ERR plaintext is fine", "-ERR account disabled"] {
        let mut session = greeted();
        session.client("PASS x\r\n");
        session.backend(format!("{reply}\r\n"));
        assert_eq!(session.complaint(), None, "{reply}");
    }
}

#[test]
fn auth_passes_challenges_and_responses_until_it_is_accepted() {
    let mut session = greeted();
    assert_eq!(session.client("AUTH SCRAM-SHA-1 biwsbj10aW0scj0x\r\n"), "AUTH SCRAM-SHA-1 biwsbj10aW0scj0x\r\n");
    assert_eq!(session.backend("+ cj0x\r\n"), "+ cj0x\r\n");
    assert_eq!(session.filter().phase(), Phase::Command);
    assert_eq!(session.client("Yz1iaXdz\n"), "Yz1iaXdz\r\n");
    assert_eq!(session.backend("+\r\n"), "+\r\n");
    assert_eq!(session.client("\r\nSTAT\r\n"), "\r\n");
    assert_eq!(session.backend("+OK\r\n"), "+OK\r\n");
    assert_eq!(session.user().as_deref(), Some("tim"));
    assert_eq!(session.client(""), "STAT\r\n");
}

#[test]
fn a_cancelled_auth_is_the_backends_to_answer() {
    let mut session = greeted();
    session.client("AUTH PLAIN\r\n");
    session.backend("+ \r\n");
    assert_eq!(session.client("*\r\nNOOP\r\n"), "*\r\n");
    assert_eq!(session.backend("-ERR cancelled\r\n"), "-ERR cancelled\r\n");
    assert_eq!(session.client(""), "NOOP\r\n");
}

#[test]
fn a_response_with_control_characters_is_cancelled() {
    for response in ["AHRp\0bQ==\r\n", "AHRp\rbQ==\r\n", "AHRp\x1bbQ==\r\n"] {
        let mut session = greeted();
        session.client("AUTH PLAIN\r\n");
        session.backend("+ \r\n");
        assert_eq!(session.client(response), "*\r\n");
        assert_eq!(session.heard(), "");
        assert_eq!(session.backend("-ERR cancelled\r\n"), "-ERR cancelled\r\n");
        assert_eq!(session.client("NOOP\r\n"), "NOOP\r\n");
    }
}

#[test]
fn responses_may_be_as_long_as_the_limit_for_them() {
    let initial = format!("AUTH PLAIN {}\r\n", "A".repeat(LIMITS.auth - 11));
    let mut session = greeted();
    assert_eq!(session.client(&initial), initial);
    session.backend("+ \r\n");
    let response = format!("{}\r\n", "A".repeat(LIMITS.auth));
    assert_eq!(session.client(&response), response);
    session.backend("+ \r\n");
    session.client(format!("A{response}"));
    assert_eq!(session.ended, Some(Ending::Client(Violation::LineTooLong)));
}

#[test]
fn mechanisms_that_were_not_shown_are_refused() {
    let mut session = greeted();
    assert_eq!(session.client("AUTH EXTERNAL =\r\n"), "");
    assert_eq!(session.client("AUTH scram-sha-1-plus\r\n"), "");
    session.heard();
    assert_eq!(session.client("CAPA\r\n"), "CAPA\r\n");
    session.backend("+OK\r\nSASL LOGIN\r\n.\r\n");
    assert_eq!(session.client("AUTH PLAIN\r\n"), "");
    assert_eq!(session.heard(), "-ERR Unknown mechanism\r\n");
    assert_eq!(session.client("AUTH\r\n"), "AUTH\r\n");
    session.backend("+OK\r\nPLAIN\r\n.\r\n");
    assert_eq!(session.client("AUTH login\r\n"), "AUTH login\r\n");
    session.backend("-ERR\r\n");
    assert_eq!(session.client("AUTH plain\r\n"), "AUTH plain\r\n");
}

#[test]
fn a_client_logs_in_by_its_certificate() {
    let certified = || Session::certified(Protocol::Pop3, b"+OK ready\r\n");
    let mut session = certified();
    session.client("CAPA\r\n");
    assert_eq!(session.backend("+OK\r\nSASL EXTERNAL X-PLUS\r\n.\r\n"), "+OK\r\nSASL EXTERNAL\r\n.\r\n");
    assert_eq!(session.complaint(), None);
    session.client("AUTH\r\n");
    assert_eq!(session.backend("+OK\r\nEXTERNAL\r\n.\r\n"), "+OK\r\nEXTERNAL\r\n.\r\n");
    assert_eq!(session.client("AUTH EXTERNAL dGlt\r\n"), "AUTH EXTERNAL dGlt\r\n");
    session.backend("-ERR [AUTH] who?\r\n");
    assert_eq!(session.filter().refused_login(), Some(RefusedLogin { user: Some("tim".to_owned()) }));
    assert_eq!(session.client("AUTH EXTERNAL\r\n"), "AUTH EXTERNAL\r\n");
    session.backend("+ \r\n");
    assert_eq!(session.client("\r\n"), "\r\n");
    session.backend("+OK in\r\n");
    assert!(session.filter().steps_aside());

    let mut session = certified();
    assert_eq!(session.client("AUTH external =\r\n"), "AUTH external =\r\n");
    session.backend("+OK in\r\n");
    assert_eq!((session.filter().steps_aside(), session.user()), (true, None));
}

#[test]
fn a_client_that_asked_for_no_list_may_try() {
    assert_eq!(greeted().client("AUTH NTLM\r\n"), "AUTH NTLM\r\n");
    assert_eq!(greeted().client("AUTH EXTERNAL\t=\r\n"), "", "a server may end words at a tab too");
}

#[test]
fn a_bare_auth_lists_what_passes() {
    let mut session = greeted();
    assert_eq!(session.client("AUTH \r\n"), "AUTH\r\n");
    let list = "+OK methods\r\nPLAIN\r\nEXTERNAL\r\nSCRAM-SHA-256-PLUS\r\nSCRAM-SHA-256\r\n.\r\n";
    assert_eq!(session.backend(list), "+OK methods\r\nPLAIN\r\nSCRAM-SHA-256\r\n.\r\n");
    assert_eq!(session.client("AUTH LOGIN\r\n"), "");
}

#[test]
fn what_the_backend_says_unasked_ends_the_session() {
    for words in ["+OK\r\n", "x", "-ERR timeout\r\n"] {
        let mut session = implicit(GREETING);
        session.heard();
        assert_eq!(session.backend(words), "-ERR [SYS/TEMP] The mail server was lost, try again later\r\n");
        assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
        assert_eq!(session.complaint(), Some(Complaint::SpokeUnasked));
    }
    let mut session = greeted();
    session.client("AUTH PLAIN\r\n");
    session.backend("+ \r\n+OK\r\n");
    assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
}

#[test]
fn a_second_reply_to_a_refused_login_is_unasked() {
    let mut session = greeted();
    session.client("PASS x\r\n");
    session.backend("-ERR\r\n+OK\r\n");
    assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
    assert!(!session.filter().steps_aside());
}

#[test]
fn a_malformed_reply_ends_the_session() {
    for reply in ["OK\r\n", "+ challenge\r\n", "+OK \0\r\n", "+OK a\rb\r\n", "\r\n", "+OKAY\r\n"] {
        let mut session = greeted();
        session.client("USER tim\r\n");
        assert_eq!(session.backend(reply), "-ERR [SYS/TEMP] The mail server was lost, try again later\r\n");
        assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)), "{reply:?}");
        assert_eq!(session.complaint(), None);
    }
}

#[test]
fn replies_are_bounded() {
    for reply in [vec![b'+'; 65540], b"+OK\r\n".iter().copied().chain(b"TOP\r\n".repeat(14000)).collect()] {
        let mut session = greeted();
        session.client("CAPA\r\n");
        session.backend(reply);
        assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
    }
}

#[test]
fn quit_ends_the_session_with_the_backends_reply() {
    let mut session = greeted();
    assert_eq!(session.client("QUIT\r\n"), "QUIT\r\n");
    assert_eq!(session.ended, None);
    assert_eq!(session.backend("+OK bye\r\n"), "+OK bye\r\n");
    assert_eq!(session.ended, Some(Ending::Closed));
}

#[test]
fn a_lost_backend_is_a_temporary_fault() {
    let lost = "-ERR [SYS/TEMP] The mail server was lost, try again later\r\n";
    for commands in ["", "USER tim\r\n", "QUIT\r\n"] {
        let mut session = greeted();
        session.client(commands);
        assert_eq!(session.lose_backend(), Flow::End(Ending::BackendLost));
        assert_eq!(session.heard(), lost);
    }
}

#[test]
fn nothing_is_said_after_the_login() {
    let mut session = greeted();
    session.client("PASS x\r\n");
    session.backend("+OK\r\n");
    assert_eq!(session.lose_backend(), Flow::End(Ending::BackendLost));
    assert_eq!(session.heard(), "");
}

#[test]
fn a_timeout_does_not_sound_like_a_wrong_password() {
    let mut session = greeted();
    assert!(session.farewell(Farewell::Timeout));
    assert_eq!(session.heard(), "-ERR Too slow, goodbye\r\n");
    session.client("PASS x\r\n");
    assert!(session.farewell(Farewell::Timeout));
    assert!(session.heard().starts_with("-ERR [SYS/TEMP] "));
    assert!(session.farewell(Farewell::Draining));
    assert!(session.heard().starts_with("-ERR [SYS/TEMP] "));
}

#[test]
fn half_a_command_never_reaches_the_backend() {
    let mut session = greeted();
    assert_eq!(session.client("PASS secr"), "");
    assert!(session.filter().client_ended());
}

#[test]
fn control_characters_never_go_on() {
    for command in ["USER a\0b\r\n", "USER a\rPASS b\r\n", "USER \x1b[2J\r\n", "USER a\x7f\r\n"] {
        let mut session = greeted();
        assert_eq!(session.client(command), "", "{command:?}");
        assert_eq!(session.heard(), "-ERR Control characters cannot be part of a command\r\n");
        assert_eq!(session.client("NOOP\r\n"), "NOOP\r\n");
    }
}

#[test]
fn long_lines_are_refused_and_endless_ones_end_the_session() {
    let mut session = greeted();
    assert_eq!(session.client(format!("USER {}\r\nNOOP\r\n", "x".repeat(LIMITS.line))), "NOOP\r\n");
    assert_eq!(session.heard(), "-ERR Line too long\r\n");
    session.backend("+OK\r\n");
    session.client("x".repeat(LIMITS.auth + 1));
    assert_eq!(session.ended, Some(Ending::Client(Violation::LineTooLong)));
}

#[test]
fn commands_and_errors_are_counted_until_the_login() {
    let mut session = greeted();
    session.client("STAT\r\n".repeat(LIMITS.errors + 1));
    assert_eq!(session.ended, Some(Ending::Client(Violation::TooManyErrors)));
    assert!(session.heard().ends_with("-ERR Too many errors, goodbye\r\n"));

    let mut session = greeted();
    session.client("NOOP\r\n".repeat(LIMITS.commands + 1));
    for _ in 0..LIMITS.commands {
        session.backend("+OK\r\n");
    }
    assert_eq!(session.ended, Some(Ending::Client(Violation::TooManyCommands)));
}

#[test]
fn a_browser_inside_tls_is_shown_out_at_once() {
    let mut session = greeted();
    session.client("POST / HTTP/1.1\r\n");
    assert_eq!(session.ended, Some(Ending::Client(Violation::HttpRequest)));
}

#[test]
fn no_soup_is_understood_by_halves() {
    let client = [
        "USER tim",
        "PASS x",
        "AUTH ",
        "PLAIN",
        "EXTERNAL",
        "CAPA",
        "*",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        "LANG",
        "STLS",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "APOP a b",
        "QUIT",
    ];
    let backend = [
        "+OK",
        "-ERR",
        "+ ",
        ".",
        "..",
        "USER",
        "SASL PLAIN EXTERNAL",
        "STLS",
        "XCLIENT",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "+OK\r\n",
        "-ERR\r\n",
        "+ \r\n",
    ];
    for (client, backend) in soups(&client, 1000).zip(soups(&backend, 1000)) {
        stir(&settings(Protocol::Pop3), GREETING, &client, &backend);
    }
}

#[test]
fn it_does_not_matter_how_the_bytes_arrive() {
    let dialogues: [&[Says]; 6] = [
        &[
            C(b"CAPA\r\n"),
            B(b"+OK\r\nSTLS\r\nUSER\r\n..x\r\n.\r\n"),
            C(b"USER tim\n"),
            B(b"+OK\r\n"),
            C(b"PASS x\r\n"),
            B(b"+OK in\r\n+OK blind\r\n"),
            C(b"STAT\r\n"),
        ],
        &[
            C(b"AUTH\r\n"),
            B(b"+OK\r\nPLAIN\r\nEXTERNAL\r\n.\r\n"),
            C(b"AUTH PLAIN\r\n"),
            B(b"+ \r\n"),
            C(b"AHRpbQBz\r\n"),
            B(b"+OK\r\n"),
        ],
        &[C(b"USER a\0\r\n"), C(b"STLS\r\n"), C(b"QUIT\r\n"), B(b"+OK bye\r\n")],
        &[C(b"XCLIENT a\r\nSTAT\r\nFOO\r\nFOO\r\n")],
        &[C(b"AUTH LOGIN\r\n"), B(b"+ VXNlcg==\r\n"), C(b"d\0m\r\n"), B(b"-ERR no\r\n"), C(b"NOOP\r\n"), B(b"bad\r\n")],
        &[C(b"LANG\r\n"), B(b"-ERR no\r\n"), C(b"PASS x\r\n"), B(b"-ERR plaintext disabled\r\n")],
    ];
    for dialogue in dialogues {
        for start in [Start::Greeting, Start::Greeted] {
            play(&settings(Protocol::Pop3), &start, GREETING, dialogue);
        }
    }
    let login = play(&settings(Protocol::Pop3), &Start::Greeted, GREETING, dialogues[0]);
    assert_eq!(login.to_client, "+OK\r\nUSER\r\n..x\r\n.\r\n+OK\r\n+OK in\r\n+OK blind\r\n");
    assert_eq!(login.to_backend, "CAPA\r\nUSER tim\r\nPASS x\r\nSTAT\r\n");
    assert_eq!(login.user.as_deref(), Some("tim"));
}
