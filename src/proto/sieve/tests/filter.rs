//! ManageSieve inside TLS.

use Says::{Backend as B, Client as C};

use crate::proto::harness::{LIMITS, Says, Session, plaintext, play, settings, soups, stir};
use crate::proto::{
    Complaint, Ending, Farewell, Flow, Opening, Phase, Protocol, RefusedLogin, Start, Violation, greeting_end,
};

const GREETING: &[u8] =
    b"\"IMPLEMENTATION\" \"old\"\r\n\"SASL\" \"PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS EXTERNAL\"\r\n\
    \"SIEVE\" {8}\r\nfileinto\r\n\"STARTTLS\"\r\n\"XCLIENT\" \"ADDR\"\r\n\"UNAUTHENTICATE\"\r\nOK \"ready\"\r\n";
const SHOWN: &str = "\"IMPLEMENTATION\" \"old\"\r\n\"SASL\" \"PLAIN LOGIN SCRAM-SHA-1\"\r\n\
    \"SIEVE\" {8}\r\nfileinto\r\nOK \"ready\"\r\n";
const LOST: &str = "BYE (TRYLATER) \"The mail server was lost, try again later\"\r\n";

/// A session after STARTTLS, whose list the client has had.
fn greeted() -> Session {
    let mut session = Session::new(settings(Protocol::ManageSieve), Start::Greeted, GREETING);
    assert_eq!(session.heard(), SHOWN);
    session
}

#[test]
fn a_greeting_ends_with_its_status() {
    let end = |input: &[u8]| greeting_end(Protocol::ManageSieve, input);
    assert_eq!(end(&[GREETING, b"more"].concat()), Ok(Some(GREETING.len())));
    for cut in 0..GREETING.len() {
        assert_eq!(end(&GREETING[..cut]), Ok(None), "cut at {cut}");
    }
    assert_eq!(end(b"BYE \"no\"\r\n"), Ok(Some(10)));
    for wrong in [b"220 smtp\r\n".as_slice(), b"* OK\r\n", b"\"a\rb\"\r\n", b"\"\0\"\r\n", b"\"open\r\n"] {
        assert_eq!(end(wrong), Err(Violation::Backend));
    }
}

#[test]
fn the_list_is_sent_on_filtered_after_either_kind_of_start() {
    for start in [Start::Greeting, Start::Greeted] {
        let mut session = Session::new(settings(Protocol::ManageSieve), start, GREETING);
        assert_eq!(session.heard(), SHOWN);
        assert_eq!(session.complaint(), None);
    }
}

#[test]
fn in_plaintext_the_client_has_had_a_list() {
    let opened = Start::Opened(Opening::Nothing);
    let mut session = Session::new(plaintext(Protocol::ManageSieve), opened, GREETING);
    assert_eq!(session.heard(), "");
    for hidden in ["EXTERNAL", "EXTERNAL ", "EXTERNAL\t="] {
        assert_eq!(session.client(format!("AUTHENTICATE \"{hidden}\"\r\n")), "");
        assert_eq!(session.heard(), "NO \"Unknown mechanism\"\r\n");
    }
    assert_eq!(session.client("AUTHENTICATE \"CRAM-MD5\"\r\n"), "AUTHENTICATE \"CRAM-MD5\"\r\n");
}

#[test]
fn a_client_logs_in_by_its_certificate() {
    let greeting = b"\"SASL\" \"EXTERNAL SCRAM-SHA-1-PLUS\"\r\nOK\r\n";
    let certified = || Session::certified(Protocol::ManageSieve, greeting);
    let mut session = certified();
    assert_eq!((session.heard().as_str(), session.complaint()), ("\"SASL\" \"EXTERNAL\"\r\nOK\r\n", None));
    assert_eq!(session.client("AUTHENTICATE \"EXTERNAL\" \"dGlt\"\r\n"), "AUTHENTICATE \"EXTERNAL\" \"dGlt\"\r\n");
    session.backend("NO \"who?\"\r\n");
    assert_eq!(session.filter().refused_login(), Some(RefusedLogin { user: Some("tim".to_owned()) }));
    assert_eq!(session.client("AUTHENTICATE \"EXTERNAL\"\r\n"), "AUTHENTICATE \"EXTERNAL\"\r\n");
    session.backend("\"\"\r\n");
    assert_eq!(session.client("\"\"\r\n"), "\"\"\r\n");
    session.backend("OK\r\n");
    assert_eq!((session.filter().steps_aside(), session.user()), (true, None));

    // RFC 5804 §2.1: an initial response that is empty is an empty string; some clients write it as elsewhere.
    for empty in ["\"\"", "\"=\""] {
        let mut session = certified();
        let command = format!("AUTHENTICATE \"external\" {empty}\r\n");
        assert_eq!(session.client(&command), command);
    }
}

#[test]
fn a_refusal_stands_in_place_of_the_list() {
    for start in [Start::Greeting, Start::Greeted, Start::Opened(Opening::Nothing)] {
        for greeting in ["BYE (TRYLATER) \"later\"\r\n", "\"SASL\" \"\"\r\nno (TRYLATER) \"later\"\r\n"] {
            let mut session = Session::new(settings(Protocol::ManageSieve), start.clone(), greeting.as_bytes());
            assert_eq!(session.heard(), "BYE (TRYLATER) \"later\"\r\n");
            assert_eq!(session.ended, Some(Ending::Refused));
        }
    }
}

#[test]
fn a_backend_without_mechanisms_is_complained_of_once() {
    for list in ["\"SASL\" \"\"\r\n", "\"SASL\" \"EXTERNAL\"\r\n", "\"SIEVE\" \"\"\r\n", "\"SASL\"\r\n"] {
        let greeting = format!("{list}OK\r\n");
        let mut session = Session::new(settings(Protocol::ManageSieve), Start::Greeted, greeting.as_bytes());
        assert_eq!(session.complaint(), Some(Complaint::LoginRefusedInPlaintext), "{list}");
        session.client("CAPABILITY\r\n");
        session.backend(&greeting);
        assert_eq!(session.complaint(), None);
    }
}

#[test]
fn authenticate_with_an_initial_response_logs_in() {
    let command = "AUTHENTICATE \"PLAIN\" \"AHRpbQBz\"\r\n";
    let mut session = greeted();
    assert_eq!(session.client(command), command);
    assert!(session.filter().awaits_login());
    let reply = "OK (SASL \"cnNwYXV0aA==\") \"in\"\r\n\"STARTTLS\"\r\nOK\r\n";
    assert_eq!(session.backend(reply), reply);
    assert!(session.filter().steps_aside() && !session.filter().awaits_login());
    assert_eq!(session.user().as_deref(), Some("tim"));
    assert_eq!(session.client("STARTTLS\0\r\r\n"), "STARTTLS\0\r\r\n");
    assert!(!session.farewell(Farewell::Draining));
    assert_eq!(session.lose_backend(), Flow::End(Ending::BackendLost));
    assert_eq!(session.heard(), "");
}

#[test]
fn literals_cross_byte_for_byte() {
    let command = "AUTHENTICATE {5+}\r\nPLAIN {8+}\r\nAHRpbQBz\r\n";
    let mut session = greeted();
    assert_eq!(session.client(command), command);
    session.backend("OK {4}\r\nOK\r\n\r\n");
    assert_eq!(session.user().as_deref(), Some("tim"));
    let noop = "NOOP {8+}\r\na\nb\r\r\n\0c\r\n";
    assert_eq!(greeted().client(noop), noop);
}

#[test]
fn a_command_goes_on_with_crlf() {
    assert_eq!(greeted().client("noop \"a\"\n"), "noop \"a\"\r\n");
}

#[test]
fn challenges_and_responses_pass_until_the_login() {
    let mut session = greeted();
    session.client("AUTHENTICATE \"SCRAM-SHA-1\" \"biwsbj10aW0scj0x\"\r\n");
    assert_eq!(session.backend("\"cj0x\"\r\n"), "\"cj0x\"\r\n");
    assert_eq!(session.filter().phase(), Phase::Command);
    assert_eq!(session.client("{8+}\r\nYz1iaXdz\r\nNOOP\r\n"), "{8+}\r\nYz1iaXdz\r\n");
    assert_eq!(session.filter().phase(), Phase::Transfer);
    assert_eq!(session.backend("{4}\r\ndj0x"), "");
    assert_eq!(session.backend("\r\n"), "{4}\r\ndj0x\r\n");
    assert_eq!(session.client(""), "\"*\"\r\n", "the pipelined NOOP is no response");
    assert!(!session.filter().steps_aside());

    let mut session = greeted();
    session.client("AUTHENTICATE \"LOGIN\"\r\n");
    session.backend("\"VXNlcg==\"\r\n");
    assert_eq!(session.client("\"dGlt\"\n"), "\"dGlt\"\r\n");
    session.backend("\"UGFzcw==\"\r\n");
    session.client("\"c2VjcmV0\"\r\n");
    session.backend("OK\r\n");
    assert_eq!(session.user().as_deref(), Some("tim"));
}

#[test]
fn a_cancelled_exchange_is_the_backends_to_answer() {
    let mut session = greeted();
    session.client("AUTHENTICATE \"PLAIN\"\r\n");
    session.backend("\"\"\r\n");
    assert_eq!(session.client("\"*\"\r\nNOOP\r\n"), "\"*\"\r\n");
    assert_eq!(session.backend("NO \"cancelled\"\r\n"), "NO \"cancelled\"\r\n");
    assert_eq!(session.client(""), "NOOP\r\n");
}

#[test]
fn a_response_that_is_not_one_string_is_cancelled() {
    for response in ["AHRp\r\n", "\"a\" \"b\"\r\n", "\"a\r\n", "\"a\0\"\r\n", "\"a\x1b\"\r\n", "\r\n", "{4}\r\n"] {
        let mut session = greeted();
        session.client("AUTHENTICATE \"PLAIN\"\r\n");
        session.backend("\"\"\r\n");
        assert_eq!(session.client(response), "\"*\"\r\n", "{response:?}");
        assert_eq!(session.heard(), "");
        session.backend("NO\r\n");
        assert_eq!(session.client("NOOP\r\n"), "NOOP\r\n");
    }
}

#[test]
fn sasl_strings_are_bounded_by_their_own_limit() {
    let quoted = format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", "A".repeat(LIMITS.line * 2));
    assert_eq!(greeted().client(&quoted), quoted);
    let literal = format!("AUTHENTICATE \"PLAIN\" {{{}+}}\r\n{}\r\n", LIMITS.auth - 5, "A".repeat(LIMITS.auth - 5));
    assert_eq!(greeted().client(&literal), literal);
    let mut session = greeted();
    session.client("AUTHENTICATE \"PLAIN\"\r\n");
    session.backend("\"\"\r\n");
    session.client(format!("{{{}+}}\r\n", LIMITS.auth + 1));
    assert_eq!(session.ended, Some(Ending::Client(Violation::LiteralTooLong)));
    assert_eq!(session.heard(), "BYE \"Literal too long\"\r\n");
}

#[test]
fn mechanisms_that_were_not_shown_are_refused() {
    for mechanism in ["EXTERNAL", "scram-sha-1-plus", "CRAM-MD5", "XCRAM-MD5-PLUS", ""] {
        let mut session = greeted();
        assert_eq!(session.client(format!("AUTHENTICATE \"{mechanism}\"\r\n")), "");
        assert_eq!(session.heard(), "NO \"Unknown mechanism\"\r\n");
    }
    assert_eq!(greeted().client("AUTHENTICATE \"pl\\ain\"\r\n"), "AUTHENTICATE \"pl\\ain\"\r\n");
}

#[test]
fn escapes_do_not_hide_a_mechanism() {
    assert_eq!(greeted().client("AUTHENTICATE \"EXT\\ERNAL\"\r\n"), "");
    assert_eq!(greeted().client("AUTHENTICATE {8+}\r\nEXTERNAL\r\n"), "");
}

#[test]
fn malformed_commands_are_refused() {
    for command in [
        "AUTHENTICATE PLAIN",
        "AUTHENTICATE ",
        "AUTHENTICATE \"PLAIN\" x",
        "AUTHENTICATE \"PLAIN",
        "AUTHENTICATE \"a\" \"b\" \"c\"",
        "CAPABILITY x",
        "NOOP x",
        "LOGOUT \"x\"",
        "NOOP \"a\\\"",
    ] {
        let mut session = greeted();
        assert_eq!(session.client(format!("{command}\r\n")), "", "{command}");
        assert!(session.heard().starts_with("NO \""), "{command}");
        assert_eq!(session.client("NOOP\r\n"), "NOOP\r\n");
    }
}

#[test]
fn what_needs_a_login_or_ends_here_is_refused() {
    for command in
        ["STARTTLS", "UNAUTHENTICATE", "XCLIENT ADDR=1", "LISTSCRIPTS", "PUTSCRIPT \"a\" {8+}\r\nLOGOUT\r\n", ""]
    {
        let mut session = greeted();
        assert_eq!(session.client(format!("{command}\r\n")), "", "{command}");
        assert!(session.heard().starts_with("NO \""), "{command}");
        assert_eq!(session.client("NOOP\r\n"), "NOOP\r\n");
    }
}

#[test]
fn capability_is_filtered_as_the_greeting_is() {
    let mut session = greeted();
    assert_eq!(session.client("CAPABILITY\r\nNOOP\r\n"), "CAPABILITY\r\n");
    assert_eq!(session.backend(&GREETING[..GREETING.len() - 1]), "");
    assert_eq!(session.backend("\n"), SHOWN);
    assert_eq!(session.client(""), "NOOP\r\n");
    assert_eq!(session.backend("OK (TAG \"x\") \"Done\"\r\n"), "OK (TAG \"x\") \"Done\"\r\n");
}

#[test]
fn the_last_list_counts() {
    let mut session = greeted();
    session.client("CAPABILITY\r\n");
    session.backend("\"SASL\" \"CRAM-MD5\"\r\nOK\r\n");
    assert_eq!(session.client("AUTHENTICATE \"PLAIN\"\r\n"), "");
    assert_eq!(session.client("AUTHENTICATE \"CRAM-MD5\"\r\n"), "AUTHENTICATE \"CRAM-MD5\"\r\n");
}

#[test]
fn a_backend_that_wants_encryption_is_complained_of() {
    let mut session = greeted();
    session.client("AUTHENTICATE \"PLAIN\" \"AHRpbQBz\"\r\n");
    assert_eq!(session.backend("NO (ENCRYPT-NEEDED) \"no\"\r\n"), "NO (ENCRYPT-NEEDED) \"no\"\r\n");
    assert_eq!(session.complaint(), Some(Complaint::LoginRefusedInPlaintext));
    let mut session = greeted();
    session.client("AUTHENTICATE \"PLAIN\" \"AHRpbQBz\"\r\n");
    session.backend("NO \"wrong\"\r\n");
    assert_eq!((session.complaint(), session.user()), (None, None));
    assert!(!session.filter().steps_aside());
}

#[test]
fn a_farewell_passes_and_ends_the_session_whenever_it_comes() {
    for command in ["", "NOOP\r\n", "CAPABILITY\r\n", "AUTHENTICATE \"PLAIN\" \"AHRpbQBz\"\r\n", "LOGOUT\r\n"] {
        let mut session = greeted();
        session.client(command);
        assert_eq!(session.backend("BYE \"idle"), "");
        assert_eq!(session.backend("\"\r\n"), "BYE \"idle\"\r\n", "{command}");
        assert_eq!(session.ended, Some(Ending::Closed), "{command}");
        assert_eq!(session.complaint(), None);
    }
}

#[test]
fn what_the_backend_says_unasked_ends_the_session() {
    for words in ["OK\r\n", "NO \"x\"\r\n", "\"SASL\"", "x", "B\r\n"] {
        let mut session = greeted();
        assert_eq!(session.backend(words), LOST, "{words}");
        assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
        assert_eq!(session.complaint(), Some(Complaint::SpokeUnasked));
    }
    let mut session = greeted();
    session.client("AUTHENTICATE \"PLAIN\"\r\n");
    session.backend("\"\"\r\nOK\r\n");
    assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
    assert!(!session.filter().steps_aside());
}

#[test]
fn a_malformed_reply_ends_the_session() {
    for reply in ["+OK\r\n", "\"challenge\"\r\n", "OK \0\r\n", "OK a\rb\r\n", "\r\n", "{99999999999}\r\n"] {
        let mut session = greeted();
        session.client("NOOP\r\n");
        assert_eq!(session.backend(reply), LOST, "{reply:?}");
        assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
    }
}

#[test]
fn replies_are_bounded() {
    for reply in [vec![b'O'; 65540], b"\"X\"\r\n".repeat(14000), b"\"X\" {65000}\r\n".repeat(6000)] {
        let mut session = greeted();
        session.client("CAPABILITY\r\n");
        session.backend(reply);
        assert_eq!(session.ended, Some(Ending::Backend(Violation::Backend)));
    }
}

#[test]
fn logout_ends_the_session_with_the_backends_reply() {
    let mut session = greeted();
    assert_eq!(session.client("LOGOUT\r\n"), "LOGOUT\r\n");
    assert_eq!(session.backend("OK \"bye\"\r\n"), "OK \"bye\"\r\n");
    assert_eq!(session.ended, Some(Ending::Closed));
}

#[test]
fn a_lost_backend_is_a_temporary_fault() {
    for command in ["", "AUTHENTICATE \"PLAIN\" \"AHRpbQBz\"\r\n"] {
        let mut session = greeted();
        session.client(command);
        assert_eq!(session.lose_backend(), Flow::End(Ending::BackendLost));
        assert_eq!(session.heard(), LOST);
    }
}

#[test]
fn farewells_are_said_until_the_login() {
    let mut session = greeted();
    assert!(session.farewell(Farewell::Timeout));
    assert_eq!(session.heard(), "BYE \"Too slow, goodbye\"\r\n");
    session.client("CAPABILITY\r\n");
    session.backend("\"SASL\" ");
    assert!(session.farewell(Farewell::Draining), "half a reply is held, not half-sent");
    assert_eq!(session.heard(), "BYE (TRYLATER) \"Going down, try again later\"\r\n");
}

#[test]
fn half_a_command_never_reaches_the_backend() {
    let mut session = greeted();
    assert_eq!(session.client("AUTHENTICATE \"PLAIN\" {8+}\r\nAHRp"), "");
    assert!(session.filter().client_ended());
}

#[test]
fn flawed_commands_never_go_on_and_take_their_literals_with_them() {
    let long = format!("NOOP \"{}\" {{8+}}\r\nLOGOUT\r\n", "x".repeat(LIMITS.line));
    for command in ["NOOP\0", "NOOP\rLOGOUT", "\x1b {8+}\r\nLOGOUT\r\n", "NOOP {8}", long.as_str()] {
        let mut session = greeted();
        assert_eq!(session.client(format!("{command}\r\nCAPABILITY\r\n")), "CAPABILITY\r\n", "{command:?}");
        assert_eq!(session.heard(), "NO \"Too long, or not a command\"\r\n");
    }
}

#[test]
fn limits_end_the_session() {
    let ends = |bytes: &[u8]| {
        let mut session = greeted();
        session.client(bytes);
        session.ended
    };
    assert_eq!(ends(&b"FOO\r\n".repeat(LIMITS.errors + 1)), Some(Ending::Client(Violation::TooManyErrors)));
    assert_eq!(ends(&vec![b'x'; LIMITS.auth + 1]), Some(Ending::Client(Violation::LineTooLong)));
    assert_eq!(ends(b"NOOP {129+}\r\n"), Some(Ending::Client(Violation::LiteralTooLong)));
    assert_eq!(ends(b"GET / HTTP/1.1\r\n"), Some(Ending::Client(Violation::HttpRequest)));

    let mut session = greeted();
    session.client("NOOP\r\n".repeat(LIMITS.commands + 1));
    for _ in 0..LIMITS.commands {
        session.backend("OK\r\n");
    }
    assert_eq!(session.ended, Some(Ending::Client(Violation::TooManyCommands)));
}

#[test]
fn no_soup_is_understood_by_halves() {
    let client = [
        "NOOP ",
        "AUTHENTICATE ",
        "\"PLAIN\"",
        "\"EXTERNAL\"",
        "CAPABILITY",
        "{3+}",
        "{8}",
        "{0+}",
        "\"*\"",
        "\"",
        "\\",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        "LOGOUT",
        "{200+}",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    let backend = [
        "OK",
        "NO ",
        "BYE",
        "\"SASL\" ",
        "\"PLAIN EXTERNAL\"",
        "\"",
        "{4}",
        "{4}\r\nOK\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "OK\r\n",
        "NO\r\n",
        "\"\"\r\n",
    ];
    for (client, backend) in soups(&client, 1000).zip(soups(&backend, 1000)) {
        stir(&settings(Protocol::ManageSieve), GREETING, &client, &backend);
    }
}

#[test]
fn it_does_not_matter_how_the_bytes_arrive() {
    let dialogues: [&[Says]; 6] = [
        &[
            C(b"CAPABILITY\n"),
            B(b"\"SASL\" {5}\r\nPLAIN\r\n\"STARTTLS\"\r\nOK\r\n"),
            C(b"AUTHENTICATE \"PLAIN\" {8+}\r\nAHRpbQBz\r\n"),
            B(b"OK \"in\"\r\n\"STARTTLS\"\r\n"),
            C(b"LISTSCRIPTS\r\n"),
        ],
        &[
            C(b"AUTHENTICATE \"LOGIN\"\r\n"),
            B(b"{8}\r\nVXNlcg==\r\n"),
            C(b"{4+}\r\ndGlt\r\n"),
            B(b"\"\"\r\n"),
            C(b"\"c2VjcmV0\"\r\n"),
            B(b"OK\r\n"),
        ],
        &[C(b"NOOP {4+}\r\na\r\nb\r\n"), B(b"OK (TAG {4}\r\na\r\nb) \"\"\r\n"), C(b"LOGOUT\r\n"), B(b"OK\r\n")],
        &[C(b"FOO {9+}\r\nLOGOUT\r\n\"\r\nSTARTTLS\r\nNOOP\0\r\nFOO\r\n")],
        &[
            C(b"AUTHENTICATE \"PLAIN\"\r\n"),
            B(b"\"\"\r\n"),
            C(b"A\0 {3+}\r\n\"*\"\r\n"),
            B(b"NO\r\n"),
            C(b"NOOP\r\n"),
            B(b"bad\r\n"),
        ],
        &[C(b"CAPABILITY\r\n"), B(b"BYE {4}\r\nidle\r\n")],
    ];
    for dialogue in dialogues {
        for start in [Start::Greeting, Start::Greeted] {
            play(&settings(Protocol::ManageSieve), &start, GREETING, dialogue);
        }
    }
    let login = play(&settings(Protocol::ManageSieve), &Start::Greeted, GREETING, dialogues[0]);
    let list = "\"SASL\" \"PLAIN\"\r\nOK\r\nOK \"in\"\r\n\"STARTTLS\"\r\n";
    assert_eq!(login.to_client, format!("{SHOWN}{list}"));
    assert_eq!(login.to_backend, "CAPABILITY\r\nAUTHENTICATE \"PLAIN\" {8+}\r\nAHRpbQBz\r\nLISTSCRIPTS\r\n");
    assert_eq!(login.user.as_deref(), Some("tim"));
}
