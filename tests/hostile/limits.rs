//! Lines and literals that are too long, or hold what cannot stand in them.

use crate::support::{Dialect, Talk};
use crate::{STAGES, World, world};

/// Small limits, so that what is beyond them is quickly sent.
const LIMITS: &str = "limit.line = 512\nlimit.auth = 2048\nlimit.literal = 1024\nlimit.errors = 10";

/// A command of this length, without its line end. Its first word is one that a backend would answer.
fn command_of(dialect: &Dialect, length: usize) -> String {
    let start = dialect.noop.0.trim_end();
    format!("{start} {}", "y".repeat(length - start.len() - 1))
}

/// The refusal of a line, and that the session is still in step.
#[track_caller]
fn assert_refused(dialect: &Dialect, talk: &mut Talk, what: &str) {
    let line = talk.line();
    let refused = match dialect.protocol {
        "imap" => line.contains(" BAD "),
        _ => line.starts_with(dialect.bad),
    };
    assert!(refused, "{} {what}: {line:?}", dialect.protocol);
    dialect.ask(talk, dialect.noop);
}

#[test]
fn a_line_beyond_the_limit_is_refused_and_the_session_stays_in_step() {
    let World { gateway, backends } = &world(LIMITS);
    for (dialect, witness) in backends {
        for (stage, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            for length in [513, 600, 1500] {
                talk.send(command_of(dialect, length) + "\r\n");
                assert_refused(dialect, &mut talk, &format!("{length} bytes {stage}"));
            }
        }
        assert!(!witness.heard().contains("yy"), "{}", dialect.protocol);
    }
}

#[test]
fn a_line_without_an_end_ends_the_session() {
    let World { gateway, backends } = &world(LIMITS);
    // The first handshakes of a process load what the later ones use.
    (0..4).for_each(|_| drop(backends[0].0.enter(gateway, "smtps")));
    for (dialect, witness) in backends {
        for (stage, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            let before = gateway.memory();
            // How much of it is taken is mailward's affair; the last words come in any case.
            let _ = talk.try_send(command_of(dialect, 1 << 20));
            let last = talk.line();
            let words = match dialect.protocol {
                "imap" => "* BYE line too long",
                "pop3" => "-ERR Line too long",
                "managesieve" => "BYE \"Line too long\"",
                _ => "500 5.5.2",
            };
            assert!(last.starts_with(words), "{} {stage}: {last:?}", dialect.protocol);
            talk.closes();
            let grown = gateway.memory().saturating_sub(before);
            assert!(grown < 4 << 20, "{} {stage}: memory grew by {grown} bytes", dialect.protocol);
        }
        assert_eq!(gateway.session(dialect.protocol, "violation")["reason"], "line-too-long");
        assert!(!witness.heard().contains("yy"), "{}", dialect.protocol);
    }
}

#[test]
fn nul_and_a_lone_cr_are_refused_and_never_go_on() {
    let World { gateway, backends } = &world(LIMITS);
    for (dialect, witness) in backends {
        let noop = dialect.noop.0.trim_end();
        for (stage, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            for form in [format!("{noop} bad\0\r\n"), format!("{noop} bad\rbad\r\n"), format!("{noop} bad\r\r\n")] {
                talk.send(&form);
                assert_refused(dialect, &mut talk, &format!("{form:?} {stage}"));
            }
        }
        assert!(!witness.heard().contains("bad"), "{}: {}", dialect.protocol, witness.heard());
    }
}

#[test]
fn a_command_that_ends_in_lf_goes_on_with_crlf() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends {
        let mut talk = dialect.enter(gateway, &crate::implicit(dialect));
        let (command, reply) = dialect.noop;
        dialect.ask(&mut talk, (&command.replace('\r', ""), reply));
        dialect.ask(&mut talk, dialect.quit);
        drop(talk);
        let heard = witness.heard();
        assert!(
            heard.contains(command) && !heard.replace("\r\n", "").contains('\n'),
            "{}: {heard:?}",
            dialect.protocol
        );
    }
}

#[test]
fn a_command_is_the_same_however_it_arrives() {
    let World { gateway, backends } = &world("");
    for (dialect, _) in backends {
        for (_, enter) in STAGES {
            let mut talk = enter(dialect, gateway);
            for byte in dialect.noop.0.bytes() {
                talk.send([byte]).taken();
            }
            talk.expect(dialect.noop.1);
        }
    }
}

/// What is sent, and how the answer starts. No prompt for more may come.
fn assert_answers(world: &World, protocol: &str, commands: &[(&str, &str, &str)]) {
    for (command, before_tls, inside_tls) in commands {
        let (dialect, _) = world.backends.iter().find(|(dialect, _)| dialect.protocol == protocol).expect("a protocol");
        for (stage, enter) in STAGES {
            let mut talk = enter(dialect, &world.gateway);
            let expected = if stage == "before TLS" { before_tls } else { inside_tls };
            let line = talk.send(command).line();
            assert!(line.starts_with(expected), "{command:?} {stage}: {line:?}");
        }
    }
}

#[test]
fn a_literal_bomb_is_refused_before_it_is_asked_for() {
    let world = world(LIMITS);
    let nested = format!("a ID {}\r\n", "(".repeat(400));
    assert_answers(
        &world,
        "imap",
        &[
            ("a LOGIN {6}\r\n", "a NO [PRIVACYREQUIRED]", "+ "),
            ("a LOGIN {1025}\r\n", "a NO [PRIVACYREQUIRED]", "a BAD"),
            ("a LOGIN {4294967297}\r\n", "a NO [PRIVACYREQUIRED]", "a BAD"),
            ("a LOGIN {18446744073709551617}\r\n", "a NO [PRIVACYREQUIRED]", "a BAD"),
            ("a LOGIN {99999999999999999999999999999999}\r\n", "a ", "a BAD"),
            ("a LOGIN {-1}\r\n", "a NO [PRIVACYREQUIRED]", "a BAD"),
            ("a LOGIN {1025+}\r\n", "* BYE literal too long", "* BYE literal too long"),
            ("a NOOP {99999999}\r\n", "a BAD", "a BAD"),
            ("a AUTHENTICATE PLAIN {99999999}\r\n", "a NO [PRIVACYREQUIRED]", "a BAD"),
            ("a ID ~{10}\r\n", "a BAD", "a BAD"),
            (&nested, "a BAD", "a BAD"),
        ],
    );
    assert_answers(
        &world,
        "managesieve",
        &[
            ("AUTHENTICATE \"PLAIN\" {2049+}\r\n", "BYE \"Literal too long\"", "BYE \"Literal too long\""),
            ("NOOP {18446744073709551617+}\r\n", "BYE \"Literal too long\"", "BYE \"Literal too long\""),
            ("PUTSCRIPT \"x\" {4+}\r\nkeep\r\n", "NO (ENCRYPT-NEEDED)", "NO"),
        ],
    );
    for protocol in ["smtp", "submission", "lmtp"] {
        assert_answers(
            &world,
            protocol,
            &[
                ("BDAT 99999999999999999999\r\n", "501 5.5.4", "501 5.5.4"),
                ("BDAT -1\r\n", "501 5.5.4", "501 5.5.4"),
                ("BDAT 1 2\r\nx", "5", "501 5.5.4"),
            ],
        );
    }
}

#[test]
fn a_refused_literal_is_swallowed_and_not_read_as_commands() {
    let World { gateway, backends } = &world(LIMITS);
    let find = |protocol| backends.iter().find(|(dialect, _)| dialect.protocol == protocol).expect("a protocol");
    let (imap, witness) = find("imap");
    let mut talk = imap.connect(gateway, "imap");
    talk.send("a LOGIN {18+}\r\nb LOGOUT\r\nb LOGOUT \"x\"\r\n").expect("a NO [PRIVACYREQUIRED]");
    imap.ask(&mut talk, imap.noop);
    let (sieve, _) = find("managesieve");
    let mut talk = sieve.connect(gateway, "managesieve");
    talk.send("AUTHENTICATE \"PLAIN\" {8+}\r\nLOGOUT\r\n\r\n").expect("NO (ENCRYPT-NEEDED)");
    sieve.ask(&mut talk, sieve.noop);
    assert_eq!(witness.connections(), 0);
}
