//! The `http` listener: what it answers, what it refuses, and what a connection may cost it. That an authority is answered there
//! is for the tests of certificates by ACME to show.

mod support;

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Gateway, NAME, Ran, Security, Talk, client_hello, eventually, offering, run};

fn web() -> Gateway {
    Gateway::builder().http("web").start()
}

fn redirecting() -> Gateway {
    Gateway::builder().http("web").with("web", "redirect-https = true").start()
}

/// An answer's head, in lower case.
struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    /// Reads one that has no body.
    #[track_caller]
    fn read(talk: &mut Talk) -> Self {
        let head = talk.until("\r\n").to_lowercase();
        let status = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
        Self { status: status.unwrap_or_else(|| panic!("no status line: {head:?}")), head }
    }

    /// The value of a field, which must not be there twice.
    #[track_caller]
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice: {}", self.head);
        value
    }

    fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// Sends these bytes over a new connection and reads the answer to them.
#[track_caller]
fn ask(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Answer {
    Answer::read(Talk::to(gateway.address("web")).send(bytes))
}

/// A whole request without a body.
fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn curl(arguments: &[&str]) -> Ran {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include"]).args(arguments);
    run(&command, b"")
}

#[test]
fn what_is_no_challenge_is_not_found_and_nothing_is_said_of_the_server() {
    let gateway = web();
    for target in ["/", "/.well-known/acme-challenge/unknown", "/../../proxy.toml", "/proxy.toml", "/%2e%2e/mail.key"] {
        let answer = ask(&gateway, get(target, NAME));
        assert_eq!((answer.status, answer.field("content-length")), (404, Some("0")), "{target}");
        assert_eq!((answer.field("server"), answer.field("location")), (None, None), "{target}");
    }
}

#[test]
fn other_methods_are_not_allowed_and_the_ones_that_are_are_named() {
    let gateway = redirecting();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"] {
        let answer = ask(&gateway, format!("{method} / HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
        assert_eq!((answer.status, answer.field("allow")), (405, Some("get, head")), "{method}");
    }
    assert_eq!(ask(&gateway, format!("CONNECT {NAME}:25 HTTP/1.1\r\nHost: {NAME}\r\n\r\n")).status, 405);
}

#[test]
fn clients_are_sent_to_the_same_place_over_https() {
    let gateway = redirecting();
    let address = gateway.address("web");
    let ran = curl(&["--header", "Host: Mail.example.org:8080", &format!("http://{address}/mail/?a=b%0d%0a&c")]);
    ran.succeeds().prints("301 Moved Permanently").prints("ocation: https://Mail.example.org/mail/?a=b%0d%0a&c\r\n");
    for (target, host, expected) in [
        ("/", "[2001:db8::1]:80", "https://[2001:db8::1]/"),
        ("//evil.example/", NAME, "https://mail.example.org//evil.example/"),
        ("http://imap.example.org:80/x", NAME, "https://imap.example.org/x"),
    ] {
        let answer = ask(&gateway, get(target, host));
        assert_eq!((answer.status, answer.field("location")), (301, Some(expected)));
    }
    let head = ask(&gateway, format!("HEAD /x HTTP/1.1\r\nHost: {NAME}\r\n\r\n"));
    assert_eq!((head.status, head.field("location")), (301, Some("https://mail.example.org/x")));
}

#[test]
fn whatever_a_request_says_of_its_host_nobody_is_sent_elsewhere_and_no_field_is_added() {
    let gateway = redirecting();
    for host in [
        "",
        "evil.example/mail.example.org",
        "user@mail.example.org",
        "mail.example.org:80@evil.example",
        "mail.example.org\\.evil.example",
        "mail.example.org?",
        "mail.example.org#",
        "mail example org",
        "mail.example.org%0d%0aSet-Cookie:x",
        "mail.example.org\rSet-Cookie: x",
        "mail.example.org\u{0}",
        "mail.example.org\tx",
        "m\u{e4}il.example.org",
        "[2001:db8::1",
        "1.2.3",
    ] {
        let answer = ask(&gateway, get("/", host));
        assert_eq!((answer.status, answer.field("location")), (400, None), "{host:?}");
        assert!(!answer.head.contains("set-cookie"), "{}", answer.head);
    }
    for bytes in [
        // A bare LF ends a field too, so that this is a request with a field of its own and nothing of it comes back.
        format!("GET / HTTP/1.1\r\nHost: {NAME}\nSet-Cookie: x\r\n\r\n"),
        format!("GET /\tx HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
        format!("GET /\u{e4} HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
        format!("GET http://user@{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
        format!("GET {NAME}:80 HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
        format!("GET * HTTP/1.1\r\nHost: {NAME}\r\n\r\n"),
    ] {
        let answer = ask(&gateway, &bytes);
        assert!(matches!(answer.field("location"), None | Some("https://mail.example.org/")), "{}", answer.head);
        assert!(
            matches!(answer.status, 400 | 301) && !answer.head.contains("set-cookie"),
            "{bytes:?}: {}",
            answer.head
        );
    }
}

#[test]
fn a_request_names_one_host_unless_it_is_of_http_1_0() {
    let gateway = web();
    assert_eq!(ask(&gateway, "GET / HTTP/1.1\r\n\r\n").status, 400);
    assert_eq!(ask(&gateway, format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nHost: {NAME}\r\n\r\n")).status, 400);
    let mut talk = Talk::to(gateway.address("web"));
    assert_eq!(Answer::read(talk.send("GET / HTTP/1.0\r\n\r\n")).status, 404);
    talk.closes();
    // There is nowhere to send such a client.
    assert_eq!(ask(&redirecting(), "GET / HTTP/1.0\r\n\r\n").status, 400);
}

#[test]
fn a_head_that_is_too_long_or_has_too_many_fields_is_refused() {
    let gateway = web();
    let long = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n{}\r\n", "X: y\r\n".repeat(64));
    let target = get(&format!("/{}", "x".repeat(9000)), NAME);
    // One that never ends is refused when it has become too long.
    let endless = "GET / HTTP/1.1\r\n".to_owned() + &"X: y\r\n".repeat(1500);
    for bytes in [long, many, target, endless] {
        let mut talk = Talk::to(gateway.address("web"));
        let answer = Answer::read(talk.send(&bytes));
        assert_eq!((answer.status, answer.closes()), (431, true), "{}", answer.head);
        talk.closes();
    }
    assert_eq!(ask(&gateway, get(&format!("/{}", "x".repeat(7000)), NAME)).status, 404);
    let enough = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n{}\r\n", "X: y\r\n".repeat(63));
    assert_eq!(ask(&gateway, enough).status, 404);
}

#[test]
fn what_is_no_http_is_told_so_and_let_go() {
    let gateway = web();
    for bytes in [client_hello(NAME), b"EHLO client.example.net\r\n\r\n".to_vec(), b"\0\0\0\0\r\n\r\n".to_vec()] {
        let mut talk = Talk::to(gateway.address("web"));
        assert_eq!(Answer::read(talk.send(&bytes)).status, 400);
        talk.closes();
    }
    let session = gateway.session("web", "violation");
    assert_eq!((&session["protocol"], &session["reason"]), (&"http".into(), &"bad-request".into()));
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let gateway = redirecting();
    let mut talk = Talk::to(gateway.address("web"));
    talk.send(["/a", "/b", "/c"].map(|target| get(target, NAME)).concat());
    for target in ["/a", "/b", "/c"] {
        let answer = Answer::read(&mut talk);
        assert_eq!(answer.field("location"), Some(&*format!("https://{NAME}{target}")));
        assert!(!answer.closes());
    }
    talk.end_sending();
    talk.closes();
    assert_eq!(gateway.session("web", "ok")["protocol"], "http");
}

#[test]
fn a_connection_brings_a_hundred_requests_and_no_more() {
    let gateway = web();
    let mut talk = Talk::to(gateway.address("web"));
    // The last stand in the same packets as those before them, and are not looked at.
    talk.send(get("/", NAME).repeat(150));
    for number in 1..=100 {
        let answer = Answer::read(&mut talk);
        assert_eq!((answer.status, answer.closes()), (404, number == 100), "{number}");
    }
    talk.closes();
}

#[test]
fn what_follows_a_head_is_neither_asked_for_nor_taken_for_a_request() {
    let gateway = web();
    let hidden = get("/hidden", NAME);
    let length = hidden.len();
    for (start, status) in [("POST", 405), ("GET", 404)] {
        for body in [
            format!("Content-Length: {length}\r\n\r\n{hidden}"),
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n"),
            "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n".to_owned(),
        ] {
            let mut talk = Talk::to(gateway.address("web"));
            let answer = Answer::read(talk.send(format!("{start} / HTTP/1.1\r\nHost: {NAME}\r\n{body}")));
            assert_eq!((answer.status, answer.closes()), (status, true), "{start} {body:?}");
            talk.closes();
        }
    }
    assert_eq!(gateway.count(|line| line["path"] == "/hidden"), 0);
}

/// A gateway whose clients have so many seconds for each request.
fn hurried(seconds: u32) -> Gateway {
    Gateway::builder().http("web").with("web", &format!("timeout.command = \"{seconds}s\"")).start()
}

#[test]
fn a_request_has_its_time_however_its_bytes_drip() {
    let gateway = hurried(1);
    let address = gateway.address("web");
    let begun = Instant::now();
    let mut talk = Talk::to(address);
    talk.send("GET / HTTP/1.1\r\n");
    // Each byte well within the time that the whole has.
    while talk.try_send("X").is_ok() && begun.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(15), "{took:?}");
    assert_eq!(gateway.session("web", "timeout")["reason"], "request");
}

#[test]
fn a_connection_may_be_silent_for_as_long_as_a_request_may_take_from_the_last_answer_on() {
    let gateway = hurried(3);
    let address = gateway.address("web");
    let begun = Instant::now();
    let mut talk = Talk::to(address);
    for _ in 0..2 {
        sleep(Duration::from_millis(1700));
        assert_eq!(Answer::read(talk.send(get("/", NAME))).status, 404);
    }
    talk.closes();
    assert!(begun.elapsed() >= Duration::from_millis(6300), "{:?}", begun.elapsed());
    assert_eq!(gateway.session("web", "timeout")["reason"], "request");
}

#[test]
fn over_tls_the_same_is_said_to_those_who_want_http() {
    let gateway = Gateway::builder().http("web").with("web", "tls.implicit = true").start();
    let address = gateway.address("web");
    let (resolve, ca) = (format!("{NAME}:{}:{}", address.port(), address.ip()), gateway.ca().display().to_string());
    let url = format!("https://{NAME}:{}/", address.port());
    curl(&["--cacert", &ca, "--resolve", &resolve, &url]).succeeds().prints("404");
    let session = gateway.session("web", "ok");
    assert_eq!((&session["alpn"], &session["sni"]), (&"http/1.1".into(), &NAME.into()), "{session}");

    let offer = |names: &[&[u8]]| {
        let mut config = offering(gateway.authority.roots(), |_| {});
        config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        Talk::to(address).try_tls(config.into())
    };
    assert!(offer(&[b"h2", b"http/1.1"]).is_ok());
    // Without a table that asks for it, nobody validates here.
    for names in [&[b"h2".as_slice()][..], &[b"imap"], &[b"acme-tls/1"]] {
        assert!(offer(names).is_err(), "{names:?}");
        gateway.log_line("the reason", |line| line["reason"] == "alpn-of-another-protocol");
    }
    let mut talk = gateway.talk("web", Security::Implicit);
    assert_eq!(
        Answer::read(talk.send(get("/", NAME).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))).status,
        404
    );
    talk.closes_in_order();
    // Nothing is said in clear.
    assert_eq!(Talk::to(address).send(get("/", NAME)).rest()[..1], [21], "an alert");
}

#[test]
fn a_client_beyond_max_connections_is_told_to_come_back() {
    let gateway = Gateway::builder().http("web").with("web", "max-connections = 1").start();
    let mut first = Talk::to(gateway.address("web"));
    assert_eq!(Answer::read(first.send(get("/", NAME))).status, 404);
    let mut second = Talk::to(gateway.address("web"));
    assert_eq!(Answer::read(&mut second).status, 503);
    second.closes();
    assert_eq!(gateway.session("web", "limited")["reason"], "max-connections");
    first.end_sending();
    first.closes();
    gateway.session("web", "ok");
    // The place comes back a moment after the line in the log.
    assert!(eventually(|| (ask(&gateway, get("/", NAME)).status == 404).then_some(())).is_some());
}

#[test]
fn a_stop_closes_silent_connections_at_once_and_lets_a_request_that_has_begun_be_answered() {
    let mut gateway = web();
    let address = gateway.address("web");
    // In the order in which they are told, so that the first knows once the others are gone.
    let mut busy = Talk::to(address);
    busy.send("GET / HTTP/1.1\r\n").taken();
    let mut idle = Talk::to(address);
    assert_eq!(Answer::read(idle.send(get("/", NAME))).status, 404);
    let mut fresh = Talk::to(address);
    gateway.signal("TERM");
    idle.closes();
    fresh.closes();
    let answer = Answer::read(busy.send(format!("Host: {NAME}\r\n\r\n")));
    assert_eq!((answer.status, answer.closes()), (404, true));
    busy.closes();
    assert_eq!(gateway.ended(), Some(0));
    let drained = |line: &Value| line["outcome"] == "drained" && line["listener"] == "web";
    // The fresh one may not have been accepted when the stop began.
    assert!(gateway.count(drained) >= 2, "{:#?}", gateway.log());
}

#[test]
fn each_request_has_a_line_in_the_log_that_it_cannot_forge() {
    let gateway = web();
    let long = "x".repeat(200);
    ask(&gateway, "GET /a\\b?secret HTTP/1.1\r\nHost: mail\u{202e}.example\r\n\r\n");
    ask(&gateway, get(&format!("/{long}"), NAME));
    let line = gateway.log_line("the first request", |line| line["message"] == "request");
    assert_eq!(line["level"], "DEBUG");
    assert_eq!((&line["method"], &line["status"]), (&"GET".into(), &404.into()), "{line}");
    assert_eq!((&line["path"], &line["host"]), (&"/a\\\\b".into(), &"mail\\u{202e}.example".into()), "{line}");
    let line =
        gateway.log_line("the second request", |line| line["path"].as_str().is_some_and(|path| path.contains("xx")));
    assert!(line["path"].as_str().is_some_and(|path| path.len() < 70), "{line}");
}

#[test]
fn a_reload_changes_what_clients_are_told_and_keeps_the_socket() {
    let gateway = web();
    assert_eq!(ask(&gateway, get("/", NAME)).status, 404);
    gateway.edit("protocol = \"http\"", "protocol = \"http\"\nredirect-https = true");
    assert!(gateway.reload());
    assert_eq!(ask(&gateway, get("/", NAME)).status, 301);
    assert_eq!(gateway.addresses("web", 1).len(), 1);
}
