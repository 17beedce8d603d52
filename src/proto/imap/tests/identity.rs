//! ID inside TLS: what a backend would believe of a proxy does not pass (RFC 2971).

use super::*;

#[test]
fn an_id_is_written_anew_under_its_tag() {
    let mut joint = Joint::offering("ID");
    assert_eq!(joint.client("a id ( \"name\"  \"x\" )\r\n"), onward("a ID (\"name\" \"x\")\r\n"));
    let reply = "* ID (\"name\" \"Dovecot\")\r\na OK done\r\n";
    assert_eq!(joint.backend(reply), answer(reply));
    assert_eq!(joint.client("b ID nil\r\n"), onward("b ID NIL\r\n"));
}

#[test]
fn the_clients_word_about_its_address_is_taken_out() {
    let mut joint = Joint::offering("ID");
    let command = "a ID (\"x-originating-ip\" \"127.0.0.1\" \"name\" \"x\" \"X-Session-Id\" \"1\")\r\n";
    assert_eq!(joint.client(command), onward("a ID (\"name\" \"x\")\r\n"));
}

#[test]
fn a_name_in_a_literal_is_read_like_any_other() {
    let mut joint = Joint::offering("ID");
    assert_eq!(joint.client("a ID ({16}\r\n"), answer("+ OK\r\n"));
    assert_eq!(joint.client("x-originating-ip {3}\r\n"), answer("+ OK\r\n"));
    assert_eq!(joint.client("::1 \"os\" \"y\")\r\n"), onward("a ID (\"os\" \"y\")\r\n"));
    let mut joint = Joint::offering("ID LITERAL+");
    let command = "a ID ({16+}\r\nx-originating-ip {3+}\r\n::1)\r\n";
    assert_eq!(joint.client(command), onward("a ID NIL\r\n"));
}

#[test]
fn no_second_command_hides_in_a_value() {
    let mut joint = Joint::offering("ID LITERAL+");
    let hidden = "x\r\nb ID (\"x-originating-ip\" \"::1\")\r\n";
    let command = format!("a ID (\"name\" {{{}+}}\r\n{hidden})\r\n", hidden.len());
    assert_eq!(joint.client(command), onward("a ID NIL\r\n"));
}

#[test]
fn no_id_passes_in_the_arguments_of_another_command() {
    for command in [
        "a LOGIN tim{33+}\r\nb ID (\"x-originating-ip\" \"::1\")\r\n\r\n",
        "a NOOP {33+}\r\nb ID (\"x-originating-ip\" \"::1\")\r\n\r\n",
        "a AUTHENTICATE PLAIN {33+}\r\nb ID (\"x-originating-ip\" \"::1\")\r\n\r\n",
    ] {
        let mut joint = Joint::offering("ID LITERAL+ SASL-IR AUTH=PLAIN");
        let (said, onward) = joint.client(command);
        assert!(said.starts_with("a BAD ") && onward.is_empty(), "{command:?}: {said} {onward}");
    }
}

#[test]
fn a_malformed_id_is_bad() {
    let many = format!("({})", vec!["\"a\" \"b\""; 31].join(" "));
    let deep = format!("{}{}", "(".repeat(90), ")".repeat(90));
    for list in ["", "(", "(\"a\")", "((\"a\" \"b\"))", "(a b)", "\"a\"", "NIL NIL", "(\"a\" \"b\") x", &deep, &many] {
        let wide = Settings { limits: Limits { line: 1000, ..LIMITS }, ..settings() };
        let mut joint = Joint::with(ImapFilter::new(Arc::new(wide), Start::Greeted, Leg::Tls));
        joint.greet("* OK [CAPABILITY IMAP4rev1 ID] hi\r\n");
        assert_eq!(joint.client(format!("a ID {list}\r\n")), answer("a BAD wrong arguments\r\n"), "{list}");
    }
}
