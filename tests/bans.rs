//! Bans: what a client is banned for, what that means, who never is, and how an operator sees and lifts it.

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use support::{Fake, Gateway, GatewayBuilder, Talk, eventually, plain};

/// Who misbehaves.
const ROGUE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// Who does not.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
/// Who may.
const EXEMPT: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

/// The protocols that have a login.
const LOGINS: [&str; 4] = ["submission", "imap", "pop3", "managesieve"];

/// A backend that takes everything but a login.
fn refusing(protocol: &'static str) -> SocketAddr {
    let answer = move |line: &str| -> String {
        let tag = line.split_whitespace().next().unwrap_or_default();
        match (protocol, line.to_ascii_uppercase()) {
            ("imap", line) if line.contains("CAPABILITY") => format!("* CAPABILITY IMAP4rev1\r\n{tag} OK\r\n"),
            ("imap", line) if line.contains("LOGOUT") => format!("* BYE\r\n{tag} OK\r\n"),
            ("imap", line) if line.contains("DOWN") => format!("{tag} NO [UNAVAILABLE] nobody can look\r\n"),
            ("imap", _) => format!("{tag} NO [AUTHENTICATIONFAILED] no\r\n"),
            ("pop3", line) if line.starts_with("USER") => "+OK\r\n".into(),
            ("pop3", line) if line.starts_with("PASS BUSY") => "-ERR [IN-USE] later\r\n".into(),
            ("pop3", _) => "-ERR [AUTH] no\r\n".into(),
            ("managesieve", _) => "NO \"no\"\r\n".into(),
            (_, line) if line.starts_with("EHLO") => "250-backend.internal\r\n250 AUTH PLAIN\r\n".into(),
            _ => "535 5.7.8 no\r\n".into(),
        }
    };
    let greeting = match protocol {
        "imap" => "* OK [CAPABILITY IMAP4rev1] ready\r\n",
        "pop3" => "+OK ready\r\n",
        "managesieve" => "\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN\"\r\n\"VERSION\" \"1.0\"\r\nOK\r\n",
        _ => "220 backend.internal ready\r\n",
    };
    let serve = move |mut talk: Talk, _| {
        let mut reply = greeting.to_owned();
        while talk.try_send(&reply).is_ok() {
            let line = talk.heard();
            if line.is_empty() {
                return;
            }
            reply = answer(&line);
        }
    };
    Fake::start(serve).address()
}

/// Each protocol with a login, in TLS from the first byte, by its name, before a backend that refuses all; and smtp.
fn gateway(auto_ban: &str) -> Gateway {
    builder(auto_ban).start()
}

fn builder(auto_ban: &str) -> GatewayBuilder {
    let builder = Gateway::builder().server(&format!("{auto_ban}\nexempt-networks = \"127.0.9.0/24\""));
    let builder =
        LOGINS.into_iter().fold(builder, |builder, protocol| builder.implicit(protocol, protocol, refusing(protocol)));
    builder.listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
}

/// A login that is refused.
#[track_caller]
fn fail(gateway: &Gateway, protocol: &str, source: Ipv4Addr) -> Talk {
    let mut talk = Talk::from(source, gateway.address(protocol)).tls(gateway.authority.roots());
    plain::greet(protocol, &mut talk);
    fail_again(protocol, &mut talk);
    talk
}

#[track_caller]
fn fail_again(protocol: &str, talk: &mut Talk) {
    match protocol {
        "imap" => drop(talk.ask("a LOGIN \"ann address=192.0.2.1\" x", "a NO")),
        "pop3" => {
            talk.ask("USER ann", "+OK");
            talk.ask("PASS x", "-ERR");
        }
        "managesieve" => drop(talk.ask("AUTHENTICATE \"PLAIN\" \"AGFubgB4\"", "NO")),
        _ => {
            talk.send("EHLO client.example.net\r\n").reply("250");
            talk.ask("AUTH PLAIN AGFubgB4", "535");
        }
    }
}

/// Whether a new client of the smtp listener is greeted.
fn is_served(gateway: &Gateway, source: Ipv4Addr) -> bool {
    Talk::from(source, gateway.address("smtp")).heard().starts_with("220")
}

#[track_caller]
fn is_banned(gateway: &Gateway, reason: &str) {
    let line = gateway.log_line("the ban", |line| line["message"] == "client banned");
    assert_eq!((&line["address"], &line["reason"]), (&"127.0.0.7".into(), &reason.into()));
    assert!(!is_served(gateway, ROGUE), "it is served all the same");
    assert!(is_served(gateway, OTHER));
}

#[test]
fn refused_logins_ban_a_client_on_every_listener_and_running_sessions_go_on() {
    for protocol in LOGINS {
        let gateway = gateway("auto-ban.auth.rate = \"2/1h\"");
        let mut running = fail(&gateway, protocol, ROGUE);
        fail(&gateway, protocol, ROGUE);
        assert!(is_served(&gateway, ROGUE), "{protocol}");
        fail(&gateway, protocol, ROGUE);
        is_banned(&gateway, "auth");
        Talk::from(ROGUE, gateway.address(protocol)).heard();
        fail_again(protocol, &mut running);
        for _ in 0..4 {
            fail(&gateway, protocol, EXEMPT);
        }
        assert!(is_served(&gateway, EXEMPT), "{protocol}");
    }
}

#[test]
fn a_login_that_is_not_refused_for_its_credentials_is_no_fault() {
    let gateway = gateway("auto-ban.auth.rate = \"1/1h\"");
    let mut imap = Talk::from(ROGUE, gateway.address("imap")).tls(gateway.authority.roots());
    plain::greet("imap", &mut imap);
    let mut pop3 = Talk::from(ROGUE, gateway.address("pop3")).tls(gateway.authority.roots());
    plain::greet("pop3", &mut pop3);
    for _ in 0..3 {
        imap.ask("a LOGIN down x", "a NO");
        pop3.ask("USER ann", "+OK");
        pop3.ask("PASS busy", "-ERR");
    }
    fail_again("imap", &mut imap);
    gateway.log_line("the one refused login", |line| line["message"] == "login refused");
    assert_eq!(gateway.count(|line| line["message"] == "login refused"), 1);
    assert!(is_served(&gateway, ROGUE));
}

#[test]
fn rules_broken_before_tls_ban_a_client() {
    for words in ["GET / HTTP/1.1\r\n", "EHLO x\r\nSTARTTLS\r\nMAIL FROM:<>\r\n"] {
        let gateway = gateway("auto-ban.abuse.rate = \"2/1h\"");
        for _ in 0..3 {
            let mut talk = Talk::from(ROGUE, gateway.address("smtp"));
            talk.reply("220");
            talk.send(words).rest();
        }
        is_banned(&gateway, "abuse");
    }
}

#[test]
fn handshakes_that_come_to_nothing_ban_a_client_but_never_on_smtp() {
    let gateway = gateway("auto-ban.scan.rate = \"2/1h\"");
    let before = |outcome: &str| gateway.count(|line| line["message"] == "session" && line["outcome"] == outcome);
    for number in 0..5 {
        let mut talk = Talk::from(ROGUE, gateway.address("smtp"));
        talk.reply("220");
        plain::start_tls("smtp", &mut talk);
        talk.send("no TLS at all\r\n").heard();
        assert!(eventually(|| (before("tls-failed") > number).then_some(())).is_some());
    }
    assert!(is_served(&gateway, ROGUE));
    for _ in 0..3 {
        Talk::from(ROGUE, gateway.address("imap")).send("no TLS at all\r\n").heard();
    }
    is_banned(&gateway, "scan");
}

#[test]
fn behind_a_proxy_the_client_is_banned_and_never_the_proxy() {
    let gateway = builder("auto-ban.abuse.rate = \"1/1h\"\nproxy.trusted-networks = \"127.0.0.1\"").start();
    let come = |last: u8| {
        let mut talk = Talk::to(gateway.address("smtp"));
        talk.send(format!("PROXY TCP4 192.0.2.{last} 192.0.2.1 40000 25\r\n"));
        let line = talk.heard();
        (talk, line)
    };
    for _ in 0..2 {
        come(7).0.send("GET / HTTP/1.1\r\n").rest();
    }
    let line = gateway.log_line("the ban", |line| line["message"] == "client banned");
    assert_eq!(line["address"], "192.0.2.7");
    assert_eq!(come(7).1, "");
    assert_eq!(gateway.session("smtp", "limited")["reason"], "banned");
    assert!(come(8).1.starts_with("220"));
}

#[test]
fn bans_are_listed_and_lifted_and_outlive_a_reload_and_a_restart() {
    let mut gateway = gateway("auto-ban.abuse.rate = \"1/1h\"\nauto-ban.duration = \"2h\"");
    let told = gateway.command(&["bans"]);
    assert_eq!((told.code, told.text().as_str()), (Some(0), "nobody is banned\n"));
    for _ in 0..2 {
        Talk::from(ROGUE, gateway.address("smtp")).send("GET / HTTP/1.1\r\n").heard();
    }
    is_banned(&gateway, "abuse");
    let listed = gateway.command(&["bans"]).text();
    assert!(listed.starts_with("127.0.0.7               abuse   until "), "{listed}");
    // The next second is short of two hours.
    assert!([" UTC (in 2 hours)\n", " UTC (in 1 hour)\n"].iter().any(|end| listed.ends_with(end)), "{listed}");
    let json: serde_json::Value = serde_json::from_str(&gateway.command(&["bans", "--json"]).text()).expect("JSON");
    assert_eq!((&json["bans"][0]["client"], &json["bans"][0]["reason"]), (&"127.0.0.7".into(), &"abuse".into()));

    assert!(gateway.reload());
    assert!(!is_served(&gateway, ROGUE), "a reload has lifted it");
    gateway.signal("TERM");
    gateway.start_again();
    assert!(!is_served(&gateway, ROGUE), "a restart has lifted it");

    for (whom, code) in [("127.0.0.8", 1), ("nobody", 1), ("127.0.0.0/24", 0)] {
        let lifted = gateway.command(&["unban", whom]);
        assert_eq!(lifted.code, Some(code), "{whom}: {}", lifted.all());
    }
    assert!(is_served(&gateway, ROGUE));
    assert_eq!(gateway.command(&["unban", "--all"]).text(), "bans lifted: 0\n");

    gateway.signal("TERM");
    gateway.ended();
    gateway.scratch.write("state/bans.json", "[{\"client\": \"127.0");
    gateway.start_again();
    gateway.log_line("a warning", |line| {
        line["level"] == "WARN" && line["path"].as_str().is_some_and(|path| path.ends_with("bans.json"))
    });
    assert!(is_served(&gateway, ROGUE));
}

/// The lines of the log that a filter of `deploy/fail2ban` finds, and the address that it finds there. What fail2ban
/// stands in for its tags is written out here, and the time that it cuts off before it looks.
fn found(filter: &str, log: &str) -> Vec<String> {
    const SEARCH: &str = r#"
import configparser, re, sys
filter = configparser.RawConfigParser()
filter.read(sys.argv[1])
address = r"(?P<ip>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:]+:[0-9a-fA-F:.]*)"
expressions = [line.strip() for line in filter["Definition"]["failregex"].split("\n") if line.strip()]
for line in sys.stdin:
    line = re.sub(r"^\s*\S+T\S+Z|(?<=\"timestamp\":\")[^\"]*", "", line.rstrip("\n"), count=1)
    for expression in expressions:
        match = re.search(expression.replace("<ADDR>", address).replace("<SUBNET>", address[:-1] + r"(?:/\d+)?)"), line)
        if match:
            print(match.group("ip"))
            break
"#;
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fail2ban/filter.d").join(filter);
    let mut command = Command::new("python3");
    command.args(["-c", SEARCH]).arg(filter);
    let ran = support::run(&command, log.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.text().lines().map(str::to_owned).collect()
}

/// What a terminal, or a journal, has of the lines (`inbound::gate` has a test that it is so).
const TEXT: &str = "\
2026-11-22T07:00:00.000000Z  INFO login refused address=192.0.2.7 session=1 listener=imaps protocol=\"imap\" user=ann\\u{20}address=192.0.2.1
2026-11-22T07:00:00.000000Z  INFO login refused address=2001:db8::7 session=2 listener=imaps protocol=\"imap\" user=
2026-11-22T07:00:00.000000Z  INFO session session=3 listener=imaps user=login\\u{20}refused\\u{20}address=192.0.2.1
2026-11-22T07:00:00.000000Z  INFO client banned address=192.0.2.7 reason=\"auth\" seconds=3600
2026-11-22T07:00:00.000000Z  INFO client banned address=2001:db8::/64 reason=\"auth\" seconds=3600
";

#[test]
fn fail2ban_finds_refused_logins_and_bans_and_no_address_that_a_client_wrote() {
    assert_eq!(found("mailward.conf", TEXT), ["192.0.2.7", "2001:db8::7"]);
    assert_eq!(found("mailward-bans.conf", TEXT), ["192.0.2.7", "2001:db8::/64"]);
    let gateway = gateway("auto-ban.auth.rate = \"2/1h\"");
    for _ in 0..3 {
        fail(&gateway, "imap", ROGUE);
    }
    is_banned(&gateway, "auth");
    let log = fs::read_to_string(gateway.scratch.join("log")).expect("a log");
    assert_eq!(found("mailward.conf", &log), ["127.0.0.7"; 3], "{log}");
    assert_eq!(found("mailward-bans.conf", &log), ["127.0.0.7"], "{log}");
}
