//! Literals before TLS and before login: never read as commands, never without a bound.

use super::*;

const REFUSED: &str = "NO [PRIVACYREQUIRED] STARTTLS comes first\r\n";

fn says(bytes: &str) -> String {
    greeted(settings(), bytes).0
}

#[test]
fn a_synchronizing_literal_gets_no_prompt_before_tls() {
    for command in ["a LOGIN {3}", "a LOGIN tim {3}", "a LOGIN ~{3}", "a LOGIN {0}", "a AUTHENTICATE {5}"] {
        assert_eq!(says(&format!("{command}\r\n")), format!("a {REFUSED}"), "{command}");
    }
    for command in ["a FOO {3}", "a NOOP {3}", "a {3}", "* {3}", "{3}"] {
        let said = says(&format!("{command}\r\n"));
        assert!(said.contains(" BAD ") && !said.contains('+'), "{command}: {said}");
    }
}

#[test]
fn a_non_synchronizing_literal_is_swallowed_with_all_that_follows_it() {
    assert_eq!(says("a LOGIN {3+}\r\ntim {6+}\r\nx\r\nyz\n\r\nb NOOP\r\n"), format!("a {REFUSED}b OK completed\r\n"));
    assert_eq!(says("a LOGIN {0+}\r\n {0+}\r\n\r\nb NOOP\r\n"), format!("a {REFUSED}b OK completed\r\n"));
    assert_eq!(says("a LOGIN ~{8+}\r\nb NOOP\r\n x\r\nc NOOP\r\n"), format!("a {REFUSED}c OK completed\r\n"));
    assert_eq!(
        says("* FOO {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n"),
        "* BAD a command begins with a tag\r\nc OK completed\r\n"
    );
    // The second literal would have to be asked for, which ends the command.
    assert_eq!(says("a LOGIN {3+}\r\ntim {6}\r\nb NOOP\r\n"), format!("a {REFUSED}b OK completed\r\n"));
}

#[test]
fn a_refused_commands_literal_is_swallowed_whatever_was_refused() {
    let long = "x".repeat(LIMITS.line);
    assert_eq!(
        says(&format!("a LOGIN {long} {{8+}}\r\nb NOOP\r\n\r\nc NOOP\r\n")),
        "a BAD line too long\r\nc OK completed\r\n"
    );
    let bad = "a BAD a line may not hold NUL or a lone CR\r\nc OK completed\r\n";
    assert_eq!(says("a LOGIN \0 {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n"), bad);
}

#[test]
fn literals_are_bounded_together() {
    let half = "x".repeat(LIMITS.literal / 2);
    let whole = format!("a LOGIN {{500+}}\r\n{half} {{500+}}\r\n{half}\r\n");
    assert_eq!(says(&whole), format!("a {REFUSED}"));
    for bomb in [format!("a LOGIN {{500+}}\r\n{half} {{501+}}\r\n"), "a NOOP {1001+}\r\n".to_owned()] {
        let (said, end) = greeted(settings(), bomb);
        assert_eq!((said.as_str(), end), ("* BYE literal too long\r\n", Some(Err(Violation::LiteralTooLong))));
    }
}

#[test]
fn the_lines_between_literals_are_bounded_together() {
    let (said, end) = greeted(settings(), format!("a LOGIN {}", "{0+}\r\n".repeat(1000)));
    assert_eq!((said.as_str(), end), ("* BYE line too long\r\n", Some(Err(Violation::LineTooLong))));
}

#[test]
fn a_number_beyond_all_bounds_is_refused() {
    assert_eq!(says("a LOGIN {99999999999999999999}\r\nb NOOP\r\n"), format!("a {REFUSED}b OK completed\r\n"));
    assert!(says("a ID (\"a\" {99999999999999999999}\r\n").starts_with("a BAD "));
    let (_, end) = greeted(settings(), "a LOGIN {99999999999999999999+}\r\n");
    assert_eq!(end, Some(Err(Violation::LiteralTooLong)));
}

#[test]
fn an_id_before_tls_may_have_literals() {
    let mut hall = Hall::new(settings());
    assert_eq!(hall.ask("a ID (\"name\" {8}\r\n"), "+ OK\r\n");
    assert_eq!(hall.ask("b NOOP\r\n \"os\" {0}\r\n"), "+ OK\r\n");
    assert_eq!(hall.ask(")\r\nc NOOP\r\n"), "* ID NIL\r\na OK completed\r\nc OK completed\r\n");
    assert_eq!(says("a ID (\"a\" {1+}\r\nb)\r\n"), "a BAD non-synchronizing literals are not offered\r\n");
    assert_eq!(says("a ID (\"a\" ~{1}\r\n"), "a BAD no binary literal is taken here\r\n");
    assert_eq!(says("a ID (\"a\" {1001}\r\n"), "a BAD literal too long\r\n");
}

#[test]
fn a_login_with_literals_is_collected_and_goes_on_as_it_was_written() {
    let mut joint = Joint::offering("ID");
    assert_eq!(joint.client("a LOGIN {3}\r\n"), answer("+ OK\r\n"));
    assert_eq!(joint.client("t\"m \"a b\"\r\n"), onward("a LOGIN {3}\r\n"));
    assert_eq!(joint.backend("+ go on\r\n"), onward("t\"m \"a b\"\r\n"));
    assert_eq!(joint.backend("a OK in\r\n"), answer("a OK in\r\n"));
    assert_eq!(joint.filter.user(), Some("t\"m"));
}

#[test]
fn every_literal_waits_for_the_backend() {
    let mut joint = Joint::offering("ID");
    assert_eq!(
        joint.client("a LOGIN {3}\r\ntim {4}\r\nb\r\nc\r\n"),
        ("+ OK\r\n+ OK\r\n".into(), "a LOGIN {3}\r\n".into())
    );
    assert_eq!(joint.backend("+\r\n"), onward("tim {4}\r\n"));
    assert_eq!(joint.backend("+ \r\n"), onward("b\r\nc\r\n"));
    assert_eq!(joint.backend("a NO no\r\n"), answer("a NO no\r\n"));
}

#[test]
fn a_backend_that_refuses_a_literal_gets_none() {
    let mut joint = Joint::offering("ID");
    joint.client("a LOGIN {3}\r\ntim x\r\n");
    assert_eq!(joint.backend("a NO later\r\n"), answer("a NO later\r\n"));
    assert_eq!(joint.client("b NOOP\r\n"), onward("b NOOP\r\n"));
}

#[test]
fn a_success_before_the_password_was_sent_is_none() {
    let mut joint = Joint::offering("ID");
    joint.client("a LOGIN {3}\r\ntim x\r\n");
    let (said, _) = joint.backend("a OK in\r\n");
    assert!(said.starts_with("* BYE [UNAVAILABLE]"));
    assert_eq!(joint.end, Some(Ending::Backend(Violation::Backend)));
    assert!(!joint.filter.steps_aside());
}

#[test]
fn a_non_synchronizing_literal_passes_where_it_is_offered() {
    let mut joint = Joint::offering("LITERAL+");
    let login = "a LOGIN {3+}\r\ntim {5+}\r\na\r\nb \r\n";
    assert_eq!(joint.client(login), onward(login));
    let mut joint = Joint::offering("LITERAL-");
    assert_eq!(joint.client(login), onward(login));
}

#[test]
fn a_non_synchronizing_literal_is_swallowed_where_it_is_not_offered() {
    let refused = "a BAD non-synchronizing literals are not offered\r\n";
    let mut joint = Joint::offering("ID");
    assert_eq!(joint.client("a LOGIN {8+}\r\nb NOOP\r\n x\r\n"), answer(refused));
    let mut joint = Joint::ungreeted(Start::Greeted);
    joint.greet("* OK hi\r\n");
    assert_eq!(joint.client("a LOGIN {8+}\r\nb NOOP\r\n x\r\n"), answer(refused));
    assert_eq!(joint.client("b NOOP\r\n"), onward("b NOOP\r\n"));
}

#[test]
fn literal_minus_stops_at_4096_bytes() {
    let wide = Settings { limits: Limits { literal: 9000, ..LIMITS }, ..settings() };
    let login = |size: usize| format!("a LOGIN tim {{{size}+}}\r\n{}\r\n", "x".repeat(size));
    let after = |list: &str, size| {
        let mut joint = Joint::with(ImapFilter::new(Arc::new(wide.clone()), Start::Greeted, Leg::Tls));
        joint.greet(&format!("* OK [CAPABILITY {list}] hi\r\n"));
        joint.client(login(size))
    };
    assert_eq!(after("LITERAL-", 4096), onward(&login(4096)));
    assert!(after("LITERAL-", 4097).0.starts_with("a BAD "));
    assert_eq!(after("LITERAL+", 4097), onward(&login(4097)));
}

#[test]
fn a_login_literal_over_the_limit_is_refused_before_it_comes() {
    let mut joint = Joint::offering("LITERAL+");
    assert_eq!(joint.client("a LOGIN {1001}\r\n"), answer("a BAD literal too long\r\n"));
    assert_eq!(joint.client("a LOGIN {99999999999999999999}\r\n"), answer("a BAD literal too long\r\n"));
    assert_eq!(joint.client("a LOGIN {3}\r\ntim {998}\r\n"), answer("+ OK\r\na BAD literal too long\r\n"));
    assert_eq!(joint.client("a LOGIN ~{3}\r\n"), answer("a BAD no binary literal is taken here\r\n"));
    assert_eq!(joint.client("b NOOP\r\n"), onward("b NOOP\r\n"));
    let mut joint = Joint::offering("LITERAL+");
    assert_eq!(joint.client("a LOGIN {1001+}\r\n"), answer("* BYE literal too long\r\n"));
    assert_eq!(joint.end, Some(Ending::Client(Violation::LiteralTooLong)));
}

#[test]
fn what_looks_like_a_literal_to_some_servers_alone_goes_to_none() {
    for command in [
        "a LOGIN tim{3}\r\nfoo\r\n",
        "a LOGIN tim x{3+}\r\nfoo\r\n",
        "a LOGIN tim {3} \r\n",
        "a LOGIN \"a {3}\r\nfoo\r\n",
    ] {
        let mut joint = Joint::offering("LITERAL+");
        let (said, onward) = joint.client(command);
        assert!(said.ends_with("a BAD wrong arguments\r\n") && onward.is_empty(), "{command:?}: {said}");
    }
}
