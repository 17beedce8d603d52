//! Clients that mean harm, or are no TLS clients at all: nothing crosses, nothing grows, the log stays legible, and the next client
//! is served.

mod support;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Fake, Gateway, NAME, SClient, Talk, client_hello, handshake_message, record};

const TLS12: [u8; 2] = [3, 3];

/// The content types of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A gateway in front of a backend that must not be dialled, and the short limit that ends whoever says too little.
struct Guarded {
    gateway: Gateway,
    backend: Fake,
}

impl Guarded {
    fn start() -> Self {
        let backend = Fake::start(|mut talk, _| {
            let _ = talk.try_send("* OK backend\r\n");
            talk.rest();
        });
        let gateway = Gateway::builder()
            .implicit("imaps", "imap", backend.address())
            .with("imaps", "tls.timeout = \"2s\"")
            .listener("imap", "imap", backend.address())
            .with("imap", "tls.timeout = \"2s\"")
            .start();
        Self { gateway, backend }
    }

    /// Sends these bytes in place of a handshake, on the implicit port and after STARTTLS, and returns the answers to the last.
    #[track_caller]
    fn attack(&self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        for listener in ["imaps", "imap"] {
            let mut talk = Talk::to(self.gateway.address(listener));
            if listener == "imap" {
                talk.expect("* OK");
                talk.ask("a STARTTLS", "a OK");
            }
            let begun = Instant::now();
            // The other side may close in the middle of it.
            let _ = talk.try_send(bytes);
            answer = talk.rest();
            assert!(begun.elapsed() < Duration::from_secs(20), "{listener} took {:?}", begun.elapsed());
            assert!(answer.len() < 20_000, "{listener} answered {} bytes", answer.len());
            assert!(!answer.windows(4).any(|four| four == b"* OK"), "{listener}: plaintext crossed");
        }
        answer
    }

    /// The reason of the session that ended as number `number` on each listener.
    #[track_caller]
    fn reasons(&self, number: usize) -> [String; 2] {
        ["imaps", "imap"].map(|listener| {
            let session = self.gateway.nth_session(listener, number);
            session["reason"].as_str().unwrap_or_default().to_owned()
        })
    }

    /// An honest client is served, and the backend saw nobody else.
    #[track_caller]
    fn serves_on(mut self) {
        assert_eq!(self.backend.connections(), 0, "the backend was dialled");
        for target in [self.gateway.implicit("imaps"), self.gateway.starttls("imap")] {
            SClient::at(&target, "imap").handshake();
        }
        assert!(self.gateway.runs());
        let fault = self.gateway.log().into_iter().find(|line| line["level"] == "ERROR");
        assert_eq!(fault, None);
    }
}

/// The answer is one fatal alert record, of one of these kinds.
#[track_caller]
fn assert_alert(answer: &[u8], kinds: &[u8]) {
    assert!(answer.len() == 7 && answer[0] == ALERT && answer[5] == 2, "no alert: {answer:?}");
    assert!(kinds.contains(&answer[6]), "alert {}", answer[6]);
}

#[test]
fn plaintext_of_any_protocol_in_place_of_tls_is_closed_with_nothing_crossing() {
    let guarded = Guarded::start();
    let words = [
        "EHLO a\r\n",
        "a LOGIN alice secret\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n",
        "QUIT\r\n",
        "\0\0\0\0\0\0",
    ];
    for (number, words) in words.into_iter().enumerate() {
        guarded.attack(words.as_bytes());
        for reason in guarded.reasons(number) {
            // Two bytes are not yet a record, so that the limit ends them.
            assert!(reason == "not-tls" || (words.len() < 5 && reason == "handshake"), "{words:?}: {reason}");
        }
    }
    guarded.serves_on();
}

#[test]
fn a_clienthello_to_a_starttls_port_is_closed_at_once() {
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", "embedded")
        .listener("imap", "imap", "embedded")
        .listener("pop3", "pop3", "embedded")
        .listener("sieve", "managesieve", support::nobody())
        .start();
    for listener in ["smtp", "imap", "pop3", "sieve"] {
        let mut talk = Talk::to(gateway.address(listener));
        let begun = Instant::now();
        talk.send(client_hello(NAME)).rest();
        assert!(begun.elapsed() < Duration::from_secs(15), "{listener}: {:?}", begun.elapsed());
        let session = gateway.session(listener, "violation");
        assert_eq!(session["reason"], "tls-to-starttls-port", "{session}");
    }
}

#[test]
fn a_hello_that_claims_16_megabytes_is_refused_at_its_header() {
    let guarded = Guarded::start();
    let before = guarded.gateway.memory();
    let claim = record(HANDSHAKE, TLS12, &[1, 0xff, 0xff, 0xff, 3, 3]);
    // rustls closes without an alert here.
    let answer = guarded.attack(&claim);
    assert!(answer.len() <= 7, "{answer:?}");
    assert_eq!(guarded.reasons(0), ["broken-handshake"; 2]);
    // The same from many, with as much behind it as they get rid of.
    for _ in 0..20 {
        guarded.attack(&[claim.clone(), record(HANDSHAKE, TLS12, &[0; 16_000]).repeat(20)].concat());
    }
    let grown = guarded.gateway.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    guarded.serves_on();
}

#[test]
fn a_hello_in_records_of_one_byte_is_bounded_by_the_limit_and_a_whole_one_is_understood() {
    let guarded = Guarded::start();
    let one_byte_each =
        |bytes: &[u8]| bytes.iter().flat_map(|byte| record(HANDSHAKE, TLS12, &[*byte])).collect::<Vec<_>>();
    let hello = client_hello(NAME);
    let handshake = &hello[5..];
    // The whole of it is a proper hello, however it comes (RFC 8446 §5.1): the server answers or refuses, within the limit.
    let answer = guarded.attack(&one_byte_each(handshake));
    assert!(!answer.is_empty(), "neither a flight nor an alert");
    // Half of it is not.
    guarded.attack(&one_byte_each(&handshake[..handshake.len() / 2]));
    // 64 KiB claimed, and never complete.
    let claim = handshake_message(1, &[0; 65_000]);
    guarded.attack(&one_byte_each(&claim[..30_000]));
    guarded.serves_on();
}

#[test]
fn floods_of_alerts_change_cipher_specs_and_empty_records_are_refused() {
    let guarded = Guarded::start();
    let hello = client_hello(NAME);
    let floods = [
        record(ALERT, TLS12, &[1, 90]).repeat(5_000),
        record(CHANGE_CIPHER_SPEC, TLS12, &[1]).repeat(5_000),
        record(HANDSHAKE, TLS12, &[]).repeat(5_000),
        record(APPLICATION_DATA, TLS12, &[]).repeat(5_000),
        record(24, TLS12, &[1, 0, 100]).repeat(5_000),
    ];
    for (number, flood) in floods.iter().enumerate() {
        guarded.attack(flood);
        guarded.attack(&[&hello[..], flood].concat());
        for number in [2 * number, 2 * number + 1] {
            for listener in ["imaps", "imap"] {
                let session = guarded.gateway.nth_session(listener, number);
                assert!(
                    ["tls-failed", "timeout"].contains(&session["outcome"].as_str().unwrap_or_default()),
                    "{session}"
                );
            }
        }
    }
    guarded.serves_on();
}

#[test]
fn a_record_longer_than_the_protocol_allows_is_refused_at_its_header() {
    let guarded = Guarded::start();
    let mut header = vec![HANDSHAKE, 3, 1, 0xff, 0xff];
    header.extend([0; 1000]);
    guarded.attack(&header);
    for reason in guarded.reasons(0) {
        assert!(["broken-handshake", "not-tls"].contains(&reason.as_str()), "{reason}");
    }
    guarded.serves_on();
}

#[test]
fn a_hello_spoiled_at_any_place_harms_nobody() {
    let guarded = Guarded::start();
    let hello = client_hello(NAME);
    let step = hello.len() / support::size("places where a ClientHello is spoiled", 40, 400).min(hello.len());
    for at in (0..hello.len()).step_by(step.max(1)) {
        let mut spoiled = hello.clone();
        spoiled[at] ^= 0xff;
        let mut talk = Talk::to(guarded.gateway.address("imaps"));
        let _ = talk.try_send(&spoiled);
        talk.end_sending();
        talk.rest();
    }
    guarded.serves_on();
}

/// A hello for a name of `length` bytes, in which the name is replaced by `odd` repeated.
fn hello_for(length: usize, odd: &[u8]) -> Vec<u8> {
    let labels: String = "a".repeat(62) + ".";
    let name: String = labels.repeat(5).chars().take(length - 1).collect::<String>() + "b";
    let mut hello = client_hello(&name);
    let at = hello.windows(length).position(|window| window == name.as_bytes()).expect("the name is in it");
    for (place, byte) in hello[at..at + length].iter_mut().zip(odd.iter().cycle()) {
        *place = *byte;
    }
    hello
}

#[test]
fn odd_and_huge_server_names_crash_nothing_and_reach_the_log_escaped_or_not_at_all() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    let mut number = 0;
    // s_client sends what rustls' client would not. The default certificate is for every name that is one.
    let long = format!("{}.example.org", vec!["x".repeat(60); 3].join("."));
    for name in [&*long, "UPPER.example.org", "under_score.example.org", "1.2.3.4", "xn--mnchen-3ya.example"] {
        SClient::at(&gateway.implicit("imaps"), "imap").server_name(name).handshake();
        let sni = gateway.nth_session("imaps", number)["sni"].as_str().unwrap_or_default().to_owned();
        assert!(sni.len() <= 64 + '…'.len_utf8(), "{sni}");
        number += 1;
    }
    let odd: [&[u8]; 8] =
        [b"\r\n", b"\x1b[31m", b"a\0", b"\xff\xfe", b"\x7f", "\u{202e}".as_bytes(), b"../", b"\",\"outcome\":\"ok"];
    for odd in odd {
        for length in [10, 250] {
            let mut talk = Talk::to(gateway.address("imaps"));
            talk.send(hello_for(length, odd));
            let answer = talk.rest();
            assert_alert(&answer, &[47, 50]);
            let session = gateway.nth_session("imaps", number);
            assert_eq!((&session["outcome"], &session["sni"]), (&"tls-failed".into(), &"".into()), "{session}");
            number += 1;
        }
    }
    for name in ["x".repeat(255), "x.".repeat(127), ".".repeat(200)] {
        SClient::at(&gateway.implicit("imaps"), "imap").server_name(&name).run().fails().prints("alert");
    }
    let log = std::fs::read_to_string(gateway.scratch.join("log")).expect("a log in UTF-8");
    let raw = log.chars().find(|char| (char.is_control() && *char != '\n') || *char == '\u{202e}');
    assert_eq!(raw, None, "raw characters in the log");
    assert!(gateway.log().iter().all(serde_json::Value::is_object), "a line that is no record");
    SClient::at(&gateway.implicit("imaps"), "imap").handshake();
}

/// Sends `bytes` to `address` in TLS, with more on the raw socket behind them, and returns what came back before the end.
fn tampered(gateway: &Gateway, address: SocketAddr, raw: &[u8]) -> Vec<u8> {
    let mut talk = Talk::to(address).tls(gateway.authority.roots());
    talk.expect("* OK");
    let mut socket = talk.socket();
    let _ = socket.write_all(raw);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

#[test]
fn plaintext_and_corrupt_records_inside_a_session_end_it_and_nothing_crosses() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    let address = gateway.address("imaps");
    let attacks: [&[u8]; 5] = [
        b"a LOGIN alice secret\r\n",
        &record(APPLICATION_DATA, TLS12, &[7; 64]),
        &record(HANDSHAKE, TLS12, &handshake_message(1, &[0; 64])),
        &record(CHANGE_CIPHER_SPEC, TLS12, &[1]),
        &record(APPLICATION_DATA, TLS12, &[]).repeat(1_000),
    ];
    for (number, raw) in attacks.into_iter().enumerate() {
        let answer = tampered(&gateway, address, raw);
        assert!(answer.len() < 1_000 && !answer.windows(4).any(|four| four == b"a OK"), "{answer:?}");
        let session = gateway.nth_session("imaps", number);
        assert_eq!((&session["outcome"], &session["user"]), (&"client-lost".into(), &"".into()), "{session}");
        assert_eq!(session["bytes_in"], 0, "{session}");
    }
    SClient::at(&gateway.implicit("imaps"), "imap").handshake();
}

#[test]
fn a_key_update_is_followed_and_a_flood_of_them_ends_the_session() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    let connect = || {
        let mut talk = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
        talk.expect("* OK");
        talk
    };
    let mut talk = connect();
    talk.update_keys().expect("TLS 1.3");
    talk.ask("a NOOP", "a OK");
    talk.update_keys().expect("TLS 1.3");
    talk.ask("b NOOP", "b OK");

    let mut flood = connect();
    let _ = (0..10_000).try_for_each(|_| flood.update_keys());
    flood.rest();
    assert_eq!(gateway.session("imaps", "client-lost")["user"], "");
    connect();
}

#[test]
fn a_client_may_not_renegotiate() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    let mut command = std::process::Command::new("openssl");
    let (address, ca) = (gateway.address("imaps").to_string(), gateway.ca().display().to_string());
    command.args(["s_client", "-connect", &address, "-tls1_2", "-legacy_renegotiation", "-CAfile", &ca]);
    // `R` at the beginning of a line begins a renegotiation, unless -nocommands is there.
    let ran = support::run(&command, b"R\n").fails().prints("RENEGOTIATING");
    // The greeting may come before the alert, and be no answer that OpenSSL expects to its second hello.
    let refused = ["no renegotiation", "unexpected record"].iter().any(|reason| ran.all().contains(reason));
    assert!(refused, "{}", ran.all());
    assert_eq!(ran.all().matches("depth=0").count(), 1, "a second handshake: {}", ran.all());
    SClient::at(&gateway.implicit("imaps"), "imap").handshake();
}

#[test]
fn no_compression_is_agreed_on_and_a_hello_without_the_null_method_is_refused() {
    let gateway = Gateway::builder().implicit("imaps", "imap", "embedded").start();
    for version in ["-tls1_2", "-tls1_3"] {
        let seen = SClient::at(&gateway.implicit("imaps"), "imap").version(version).arguments(&["-comp"]).handshake();
        assert!(seen.report().contains("Compression: NONE"), "{}", seen.report());
    }
    // In the hello the methods stand behind the session id and the suites: here DEFLATE alone.
    let mut hello = client_hello(NAME);
    let session = 5 + 4 + 2 + 32;
    let suites = session + 1 + usize::from(hello[session]);
    let methods = suites + 2 + usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    assert_eq!(hello[methods..methods + 2], [1, 0], "the place of the methods");
    hello[methods + 1] = 1;
    assert_alert(&Talk::to(gateway.address("imaps")).send(hello).rest(), &[47, 40]);
}

/// What each protocol's listener agrees to by ALPN when it is offered `offer`: its choice, or `None` where it refuses.
fn alpn(gateway: &Gateway, listener: &str, protocol: &str, offer: &str) -> Option<String> {
    let target = if listener.ends_with("-implicit") { gateway.implicit(listener) } else { gateway.starttls(listener) };
    let client = SClient::at(&target, protocol);
    let ran = if offer.is_empty() { client.run() } else { client.alpn(offer).run() };
    if ran.code != Some(0) {
        assert!(ran.all().contains("no application protocol"), "{}", ran.all());
        return None;
    }
    let text = ran.all();
    Some(text.split_once("ALPN protocol: ").map_or("", |(_, rest)| rest.lines().next().unwrap_or_default()).to_owned())
}

#[test]
fn each_protocol_agrees_to_its_own_alpn_names_alone() {
    // OpenSSL cannot do STARTTLS for ManageSieve and LMTP as mailward's greetings have it, so that these are implicit too.
    let protocols = ["smtp", "submission", "imap", "pop3", "managesieve"];
    let names: [&[&str]; 5] = [&["smtp", "esmtp"], &["smtp", "esmtp"], &["imap"], &["pop3"], &["managesieve"]];
    let builder = protocols.iter().fold(Gateway::builder(), |builder, protocol| {
        let backend = if *protocol == "managesieve" { support::nobody().to_string() } else { "embedded".into() };
        builder.implicit(&format!("{protocol}-implicit"), protocol, backend)
    });
    let gateway = builder.listener("smtp", "smtp", "embedded").start();
    let all = ["smtp", "esmtp", "imap", "pop3", "managesieve", "h2", "http/1.1", "lmtp", "IMAP", "acme-tls/1"];
    for (protocol, own) in protocols.iter().zip(names) {
        let listener = format!("{protocol}-implicit");
        for name in all {
            let expected = own.contains(&name).then(|| name.to_owned());
            assert_eq!(alpn(&gateway, &listener, protocol, name), expected, "{name} offered to {protocol}");
        }
        let mixed = format!("h2,{}", own[0]);
        assert_eq!(
            alpn(&gateway, &listener, protocol, &mixed).as_deref(),
            Some(own[0]),
            "{mixed} offered to {protocol}"
        );
        assert_eq!(alpn(&gateway, &listener, protocol, "").as_deref(), Some(""), "nothing offered to {protocol}");
        let refused = gateway.session(&listener, "tls-failed");
        assert_eq!(refused["reason"], "alpn-of-another-protocol", "{refused}");
        gateway.log_line("the agreed name", |line| line["listener"] == *listener && line["alpn"] == own[0]);
    }
    assert_eq!(alpn(&gateway, "smtp", "smtp", "smtp").as_deref(), Some("smtp"), "after STARTTLS");
    assert_eq!(alpn(&gateway, "smtp", "smtp", "imap"), None, "after STARTTLS");
}

#[test]
fn lmtp_has_no_alpn_name_and_ignores_what_is_offered() {
    let gateway = Gateway::builder().implicit("lmtp-implicit", "lmtp", support::nobody()).start();
    for offer in ["", "lmtp", "smtp", "h2"] {
        assert_eq!(alpn(&gateway, "lmtp-implicit", "lmtp", offer).as_deref(), Some(""), "{offer:?} offered");
    }
}

/// The fields of a session's line, in the order of the documentation.
const FIELDS: [&str; 19] = [
    "session",
    "listener",
    "protocol",
    "peer",
    "sni",
    "alpn",
    "tls",
    "cipher",
    "group",
    "client_tls",
    "resumed",
    "client_cert",
    "user",
    "backend",
    "bytes_in",
    "bytes_out",
    "ms",
    "outcome",
    "reason",
];

#[test]
fn the_line_of_a_session_has_all_its_fields_however_the_session_ended() {
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", "embedded")
        .listener("smtp", "smtp", "embedded")
        .with("smtp", "max-connections = 1")
        .listener("down", "imap", support::nobody())
        .start();
    SClient::at(&gateway.implicit("imaps"), "imap")
        .alpn("imap")
        .talk(b"a LOGIN alice secret\r\nb LOGOUT\r\n")
        .succeeds();
    let session = gateway.session("imaps", "ok");
    for (field, value) in [("sni", NAME), ("alpn", "imap"), ("tls", "TLSv1.3"), ("group", "X25519"), ("user", "alice")]
    {
        assert_eq!(session[field], value, "{field} in {session}");
    }
    assert!(session["bytes_in"].as_u64() > Some(10) && session["bytes_out"].as_u64() > Some(10), "{session}");

    Talk::to(gateway.address("imaps")).send("no TLS at all\r\n").rest();
    let mut violation = Talk::to(gateway.address("down"));
    violation.expect("* OK");
    violation.send("a STARTTLS\r\nb NOOP\r\n").rest();
    let mut waiting = Talk::to(gateway.address("smtp"));
    waiting.reply("220");
    Talk::to(gateway.address("smtp")).rest();
    waiting.ask("QUIT", "221");
    waiting.rest();
    let mut down = Talk::to(gateway.address("down"));
    down.expect("* OK");
    down.ask("a STARTTLS", "a OK");
    down.tls(gateway.authority.roots()).rest();
    for (listener, outcome) in
        [("imaps", "tls-failed"), ("down", "violation"), ("smtp", "limited"), ("smtp", "ok"), ("down", "backend-down")]
    {
        gateway.session(listener, outcome);
    }
    let lines: Vec<_> = gateway.log().into_iter().filter(|line| line["message"] == "session").collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for line in lines {
        let fields: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected = [&FIELDS[..], &["timestamp", "level", "message"]].concat();
        expected.sort_unstable();
        let mut sorted = fields.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{line}");
        for field in ["session", "bytes_in", "bytes_out", "ms"] {
            assert!(line[field].is_u64(), "{field} in {line}");
        }
        assert!(
            line["resumed"].is_boolean() && line["peer"].as_str().is_some_and(|it| it.starts_with("127.0.0.1:")),
            "{line}"
        );
    }
}
