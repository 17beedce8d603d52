//! What a backend offers and a client must not have: taken out of every list, and refused where it is asked for anyway.

use crate::support::{Dialect, Gateway, Talk, Witness, dialect};
use crate::{World, implicit, listeners, world};

/// What no client may read of a backend's list. The witness offers all of it.
const HIDDEN: [&str; 12] = [
    "STARTTLS",
    "STLS",
    "LOGINDISABLED",
    "-PLUS",
    "EXTERNAL",
    "BURL",
    "UNAUTHENTICATE",
    "XCLIENT",
    "XFORWARD",
    "X-EXPS",
    "REQUIRETLS",
    "XCLIENT",
];

/// Everything that can hold a list, and how its last line starts.
fn lists(dialect: &Dialect) -> Vec<(&'static str, &'static str)> {
    match dialect.protocol {
        "imap" => vec![("c CAPABILITY\r\n", "c OK"), ("l LOGIN alice secret\r\n", "l OK")],
        "pop3" => vec![("CAPA\r\n", "."), ("AUTH\r\n", "."), ("USER alice\r\n", "+OK"), ("PASS secret\r\n", "+OK")],
        "managesieve" => vec![("CAPABILITY\r\n", "OK"), ("capability\r\n", "OK")],
        "lmtp" => vec![("LHLO a\r\n", "250 "), ("lhlo b\r\n", "250 ")],
        _ => vec![("EHLO a\r\n", "250 "), ("ehlo b\r\n", "250 "), ("EHLO c\r\n", "250 ")],
    }
}

/// What has to be left of the lists.
fn kept(dialect: &Dialect) -> &'static [&'static str] {
    match dialect.protocol {
        "imap" => &["* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN\r\n", "l OK [CAPABILITY IMAP4rev1 "],
        "pop3" => &["UIDL\r\n", "SASL PLAIN\r\n", "+OK\r\nPLAIN\r\n.\r\n"],
        "managesieve" => &["\"SASL\" \"PLAIN\"\r\n", "\"SIEVE\" \"fileinto\"\r\n"],
        _ => &["250-PIPELINING\r\n", "250-CHUNKING\r\n", "250-AUTH PLAIN LOGIN\r\n", "250-AUTH=LOGIN\r\n"],
    }
}

#[test]
fn what_cannot_pass_is_on_no_list_at_any_stage() {
    let World { gateway, backends } = &world("");
    for (dialect, _) in backends {
        let mut seen = String::new();
        let mut entered = Talk::to(gateway.address(&implicit(dialect))).tls(gateway.authority.roots());
        seen += &entered.until(dialect.welcome);
        let mut upgraded = dialect.starttls(gateway, dialect.protocol);
        if dialect.protocol == "managesieve" {
            seen += &upgraded.until("OK");
        }
        for talk in [&mut entered, &mut upgraded] {
            for list in lists(dialect) {
                seen += &dialect.ask(talk, list);
            }
        }
        if dialect.protocol == "submission" {
            dialect.ask(&mut entered, dialect.login);
            seen += &dialect.ask(&mut entered, dialect.hello);
        }
        for hidden in HIDDEN {
            assert!(!seen.to_ascii_uppercase().contains(hidden), "{}: {hidden} in {seen}", dialect.protocol);
        }
        for kept in kept(dialect) {
            assert!(seen.contains(kept), "{}: {kept:?} not in {seen}", dialect.protocol);
        }
    }
}

/// Commands that ask for what is not offered, and how the refusal starts.
fn forbidden(dialect: &Dialect) -> Vec<(&'static str, &'static str)> {
    let mail = vec![
        ("XCLIENT ADDR=192.0.2.1\r\n", "502 5.5.1"),
        ("xclient NAME=spoof\r\n", "502 5.5.1"),
        ("XFORWARD ADDR=192.0.2.1\r\n", "502 5.5.1"),
        ("X-EXPS GSSAPI\r\n", "502 5.5.1"),
        ("BURL imap://x/ LAST\r\n", "502 5.5.1"),
        ("TURN\r\n", "50"),
        ("AUTH EXTERNAL =\r\n", "504 5.5.4"),
        ("AUTH SCRAM-SHA-256-PLUS biws\r\n", "504 5.5.4"),
        ("STARTTLS\r\n", "503 5.5.1"),
    ];
    match dialect.protocol {
        "imap" => vec![
            ("a XCLIENT ADDR=192.0.2.1\r\n", "a BAD"),
            ("a UNAUTHENTICATE\r\n", "a BAD"),
            ("a AUTHENTICATE EXTERNAL =\r\n", "a NO"),
            ("a AUTHENTICATE SCRAM-SHA-256-PLUS biws\r\n", "a NO"),
            ("a AUTHENTICATE scram-sha-256-plus\r\n", "a NO"),
            ("a STARTTLS\r\n", "a BAD"),
        ],
        "pop3" => vec![
            ("XCLIENT ADDR=192.0.2.1\r\n", "-ERR"),
            ("AUTH EXTERNAL =\r\n", "-ERR"),
            ("AUTH SCRAM-SHA-256-PLUS biws\r\n", "-ERR"),
            ("STLS\r\n", "-ERR"),
        ],
        "managesieve" => vec![
            ("XCLIENT \"ADDR=192.0.2.1\"\r\n", "NO"),
            ("UNAUTHENTICATE\r\n", "NO"),
            ("AUTHENTICATE \"EXTERNAL\" \"=\"\r\n", "NO"),
            ("AUTHENTICATE \"SCRAM-SHA-256-PLUS\" \"biws\"\r\n", "NO"),
            ("STARTTLS\r\n", "NO"),
        ],
        _ => mail,
    }
}

#[test]
fn hidden_is_also_refused_and_never_reaches_the_backend() {
    let World { gateway, backends } = &world("limit.errors = 100");
    for (dialect, witness) in backends {
        for mut talk in [dialect.upgrade(gateway, dialect.protocol), dialect.enter(gateway, &implicit(dialect))] {
            for (command, refusal) in forbidden(dialect) {
                let line = talk.send(command).line();
                assert!(line.starts_with(refusal), "{} {command:?}: {line:?}", dialect.protocol);
            }
            dialect.ask(&mut talk, dialect.noop);
        }
        let heard = witness.heard().to_ascii_uppercase();
        for hidden in
            ["XCLIENT", "XFORWARD", "X-EXPS", "BURL", "TURN", "EXTERNAL", "PLUS", "UNAUTH", "STARTTLS", "STLS"]
        {
            assert!(!heard.contains(hidden), "{}: {hidden} in {heard}", dialect.protocol);
        }
    }
}

#[test]
fn commands_for_a_trusted_proxy_are_refused_after_the_login_and_in_a_transaction_too() {
    let World { gateway, backends } = &world("limit.errors = 100");
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        let mut talk = dialect.log_in(gateway, &implicit(dialect));
        talk.ask("MAIL FROM:<bob@example.net>", "250");
        for (command, refusal) in forbidden(dialect) {
            talk.send(command).expect(&refusal[..1]);
        }
        talk.ask("RCPT TO:<alice@example.org>", "250");
        drop(talk);
        assert!(!witness.heard().to_ascii_uppercase().contains("XCLIENT"), "{}", dialect.protocol);
    }
}

#[test]
fn the_octets_of_a_bdat_that_was_not_offered_are_not_read_as_commands() {
    for protocol in ["smtp", "submission", "lmtp"] {
        let dialect = dialect(protocol);
        let witness = Witness::lacking(dialect, "CHUNKING");
        let gateway = listeners(Gateway::builder(), dialect, &witness).start();
        let mut talk = dialect.log_in(&gateway, &implicit(dialect));
        let octets = "MAIL FROM:<smuggled@example.net>\r\n";
        for last in ["", " LAST"] {
            talk.send(format!("BDAT {}{last}\r\n", octets.len())).taken().send(&octets[..9]).taken();
            talk.send(&octets[9..]).expect("502 5.5.1");
        }
        talk.ask("BDAT 0 LAST", "502 5.5.1");
        talk.ask("NOOP", "250");
        talk.ask("QUIT", "221");
        drop(talk);
        assert!(!witness.heard().contains("smuggled") && !witness.heard().contains("BDAT"), "{}", witness.heard());
    }
}

#[test]
fn an_address_in_id_is_taken_out_however_it_is_written() {
    let World { gateway, backends } = &world("");
    let (imap, witness) = backends.iter().find(|(dialect, _)| dialect.protocol == "imap").expect("imap");
    let mut talk = imap.enter(gateway, "imaps");
    for id in [
        "a ID (\"name\" \"kept\" \"x-originating-ip\" \"192.0.2.1\")\r\n",
        "a ID (\"X-Originating-IP\" \"192.0.2.1\" \"X-Originating-Port\" \"1\" \"x-connected-ip\" \"192.0.2.1\")\r\n",
        "a ID (\"x\\-originating-ip\" \"192.0.2.1\")\r\n",
        "a ID ({16+}\r\nx-originating-ip {9+}\r\n192.0.2.1)\r\n",
        "a ID (\"name\" {44+}\r\nx\r\nb ID (\"x-originating-ip\" \"192.0.2.1\")\r\n\r\n \"os\" \"x\")\r\n",
    ] {
        let answer = talk.send(id).until("a ");
        assert!(answer.contains("a OK") || answer.contains("a BAD"), "{id:?}: {answer:?}");
        imap.ask(&mut talk, imap.noop);
    }
    talk.send("a ID (\"x-originating-ip\" {9}\r\n").expect("+ ");
    talk.send("192.0.2.1)\r\n").until("a OK");
    drop(talk);
    let heard = witness.heard();
    assert!(heard.contains("a ID (\"name\" \"kept\")\r\n"), "{heard}");
    assert!(!heard.to_ascii_lowercase().contains("originating") && !heard.contains("192.0.2.1"), "{heard}");
}
