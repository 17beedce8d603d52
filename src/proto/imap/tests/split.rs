//! However the bytes are cut into reads, the outcome is the same.

use super::*;

/// Client bytes for the greeter. None has bytes behind STARTTLS, where the reads do matter (see `starttls`).
fn greeter_dialogues() -> Vec<Vec<u8>> {
    let long = "x".repeat(LIMITS.line);
    [
        "a CAPABILITY\r\nb NOOP\r\nc ID NIL\r\nd LOGOUT\r\n".to_owned(),
        "a LOGIN {3}\r\nb LOGIN {3+}\r\ntim {2+}\r\n\r\n\r\nc ID (\"a\" {3}\r\nx\ry \"b\" NIL)\r\nd STARTTLS \r\n"
            .to_owned(),
        format!("a FOO {long} {{8+}}\r\nb NOOP\r\n\r\nc NOOP\r\n"),
        format!("a FOO {long} {{8}}\r\nc NOOP\r\nd {long}{long} ~{{99999999999999999999}}\r\ne NOOP\r\n"),
        format!("a LOGIN {{3+}}\r\ntim {long}{{0+}}\r\n{{1+}}\r\nx\r\nb NOOP\r\n"),
        format!("a AUTHENTICATE PLAIN {long}{long}\r\nb AUTHENTICATE PLAIN {long}{long}{long}\r\nc NOOP\r\n"),
        "* NOOP\r\n\r\na NO\0OP\r\nb\rc NOOP\r\nd NOOP\ne FOO\r\nf FOO\r\ng FOO\r\nh NOOP\r\n".to_owned(),
        "a NOOP\r\nGET / HTTP/1.1\r\n".to_owned(),
        format!("GET {long}/ HTTP/1.1\r\n"),
        "a LOGIN {1000+}\r\n".to_owned() + &"z".repeat(1000) + " {1+}\r\nx\r\n",
        "a STARTTLS x\r\nb NOOP {99999999999999999999+}\r\n".to_owned(),
        "x".repeat(LIMITS.line + LIMITS.literal + 1) + "\r\na NOOP\r\n",
        "x".repeat(LIMITS.line + LIMITS.literal) + "\r\na NOOP\r\n",
    ]
    .map(String::into_bytes)
    .into()
}

fn greet_in(reads: &[&[u8]]) -> (String, Option<Result<Step, Violation>>, Vec<u8>) {
    let mut hall = Hall::new(settings());
    for read in reads {
        hall.read(read);
    }
    let rest = if hall.end.is_some() { Vec::new() } else { hall.input.take() };
    (hall.said(), hall.end, rest)
}

#[test]
fn the_greeter_does_not_see_where_reads_end() {
    for bytes in greeter_dialogues() {
        let whole = greet_in(&[&bytes]);
        assert!(!whole.0.is_empty());
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(greet_in(&single), whole, "{}", shown(&bytes));
        for cut in 1..bytes.len() {
            assert_eq!(greet_in(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}: {}", shown(&bytes));
        }
    }
}

/// Dialogues inside TLS: who sends what, in this order.
fn filter_dialogues() -> Vec<Vec<(Side, Vec<u8>)>> {
    let client = |text: &str| (Side::Client, text.as_bytes().to_vec());
    let backend = |text: &str| (Side::Backend, text.as_bytes().to_vec());
    let long = "x".repeat(LIMITS.line);
    vec![
        vec![
            client("a CAPABILITY\r\nb ID (\"x-a\" {3}\r\nx\ry \"n\" {2}\r\nhi)\r\nc LOGIN {3}\r\nti"),
            backend("* CAPABILITY IMAP4rev1 STARTTLS ID\r\na OK done\r\n"),
            backend(
                "* ID (\"name\" {10}\r\nb OK no\r\n) \"v\" {0}\r\n)\r\nb OK [CAPABILITY ID LOGINDISABLED] done\r\n",
            ),
            client("m \"pass\"\r\nd SELECT INBOX\r\n"),
            backend("+ go\r\n* OK wait\r\n"),
            backend("c OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE IDLE] in\r\n* 3 EX"),
            client("e NOOP"),
        ],
        vec![
            client("a AUTHENTICATE LOGIN\r\ndGlt\r\nc2Vj cmV0\r\nb STARTTLS\r\nc LOGIN tim{3+}\r\nfoo\r\n"),
            backend("+ VXNlcg==\r\n"),
            backend("+\r\n"),
            backend("a BAD cancelled\r\n"),
            client("d AUTHENTICATE PLAIN AGJvYgBw\r\ne NOOP\r\n"),
            backend("d NO [PRIVACYREQUIRED] no\r\n"),
            backend("e OK\r\n* BYE off\r\n"),
        ],
        vec![
            client(&format!("a LOGIN {long} {{8+}}\r\nb NOOP\r\n\r\nc LOGIN {{4+}}\r\na\r\nb {{2}}\r\n\r\n\r\n")),
            backend("+\r\n"),
            backend("c NO no {3}\r\n"),
            client("d LOGOUT\r\ne NOOP\r\n"),
            backend("* BYE bye\r\nd OK done\r\n"),
        ],
        vec![client("a NOOP\r\n"), backend("* ID (\"a\" {3}\r\nabc {70000}\r\n")],
        vec![client("a NOOP\r\n"), backend("a OK\r\n* OK unasked\r\n")],
        vec![client("a NOOP\r\nb FOO {1001+}\r\n"), backend("a OK\r\n")],
        vec![client("* NOOP\r\n\0\r\na FOO\r\nb\rc\r\nd SELECT {3}\r\ne ID {99999999999999999999}\r\nf NOOP\r\n")],
    ]
}

/// What the client was sent, what the backend was sent, how it ended, and who is said to have logged in.
type Trace = (String, String, Option<Ending>, Option<String>);

fn join_in<'a>(reads: impl IntoIterator<Item = (Side, &'a [u8])>) -> Trace {
    let mut joint = Joint::offering("ID LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN");
    for (side, bytes) in reads {
        joint.read(side, bytes);
    }
    let (said, onward) = joint.sent();
    (said, onward, joint.end, joint.filter.user().map(str::to_owned))
}

#[test]
fn the_filter_does_not_see_where_reads_end() {
    for dialogue in filter_dialogues() {
        let whole = join_in(dialogue.iter().map(|(side, bytes)| (*side, bytes.as_slice())));
        let single = dialogue.iter().flat_map(|(side, bytes)| bytes.chunks(1).map(|byte| (*side, byte)));
        assert_eq!(join_in(single), whole);
        for (at, (_, cut_bytes)) in dialogue.iter().enumerate() {
            for cut in 1..cut_bytes.len() {
                let reads = dialogue.iter().enumerate().flat_map(|(turn, (side, bytes))| {
                    let (front, back) = bytes.split_at(if turn == at { cut } else { bytes.len() });
                    [(*side, front), (*side, back)]
                });
                assert_eq!(join_in(reads), whole, "read {at} cut at {cut}");
            }
        }
    }
}

#[test]
fn the_first_dialogue_ends_in_a_login() {
    let (said, onward, end, user) =
        join_in(filter_dialogues()[0].iter().map(|(side, bytes)| (*side, bytes.as_slice())));
    assert_eq!((end, user.as_deref()), (None, Some("tim")));
    assert!(said.ends_with("c OK [CAPABILITY IMAP4rev1 IDLE] in\r\n* 3 EX"));
    let expected = "a CAPABILITY\r\nb ID (\"n\" \"hi\")\r\nc LOGIN {3}\r\ntim \"pass\"\r\nd SELECT INBOX\r\ne NOOP";
    assert_eq!(onward, expected);
}

#[test]
fn the_greeting_ends_where_it_ends_however_much_has_come() {
    let greeting = b"* OK [CAPABILITY IMAP4rev1] hi\r\n";
    for cut in 0..greeting.len() {
        assert_eq!(greeting_end(&greeting[..cut]), Ok(None), "{cut}");
    }
    assert_eq!(greeting_end(greeting), Ok(Some(greeting.len())));
}

#[test]
fn no_bytes_at_all_make_the_machines_fall() {
    // A small generator of numbers: the same every time, and no two runs of bytes alike.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % bound
    };
    let parts = [
        "a ",
        "* ",
        "+ ",
        "LOGIN ",
        "ID ",
        "(",
        ")",
        "\"",
        "\\",
        "{3}",
        "{3+}",
        "~{0+}",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "OK ",
        "NOOP",
        "AUTHENTICATE PLAIN",
        "[CAPABILITY ",
        "]",
        "BYE",
        "x",
        " ",
        "CAPABILITY",
        "\u{e9}",
        "{99999999999999999999}",
        "{1001}",
    ];
    for _ in 0..3000 {
        let reads: Vec<_> = (0..random(60)).map(|_| (random(3), parts[random(parts.len())])).collect();
        let sided =
            reads.iter().map(|(side, part)| (if *side == 0 { Side::Backend } else { Side::Client }, part.as_bytes()));
        let (_, onward, _, _) = join_in(sided);
        assert!(!onward.contains('\0'));
        let bytes: Vec<_> = reads.iter().map(|(_, part)| part.as_bytes()).collect();
        greet_in(&bytes);
    }
}
