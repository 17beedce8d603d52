//! A backend that is spoken to as a TLS strategy says (`backend.<id>.tls.strategy`): when in TLS, when in clear, and when not at all.

mod support;

use std::sync::{Arc, Mutex};

use support::gateway::secured::{greeting_before, showing, yes};
use support::{
    Authority, DIALECTS, Dialect, Fake, Gateway, GatewayBuilder, Kind, Secured, Talk, Way, World, dialect, eventually,
    mailward, plain,
};

/// Strategies for every test.
const STRATEGIES: &str = "
[queue.tls.strict]
starttls = \"require\"
[queue.tls.lax]
allow-invalid-certs = true
[queue.tls.clear]
starttls = \"disable\"
[queue.tls.hasty]
allow-invalid-certs = true
timeout.tls = \"300ms\"
[queue.tls.off]
dane = \"disable\"
allow-invalid-certs = true
";

/// One that asks for DNSSEC, which not every resolver of the tests has.
const DANE: &str = "[queue.tls.dane]\ndane = \"require\"";

/// A gateway in the making that knows these strategies and believes in this authority, if it is one.
fn builder(ca: &str) -> GatewayBuilder {
    let builder = Gateway::builder();
    builder.scratch().write("backend-ca.pem", ca);
    let believed = if ca.is_empty() { "" } else { "ca = [\"backend-ca.pem\"]" };
    builder.server(&format!("{believed}\n{STRATEGIES}"))
}

/// A gateway in front of one backend that is spoken to by this strategy.
fn by(strategy: &str, ca: &str, protocol: &str, backend: impl ToString) -> Gateway {
    builder(ca).implicit("in", protocol, backend).backend("in", &format!("tls.strategy = \"{strategy}\"")).start()
}

/// A client in TLS, of which nothing was read.
fn client(gateway: &Gateway) -> Talk {
    Talk::to(gateway.address("in")).tls(gateway.authority.roots())
}

/// Has a client served; returns the greeting.
fn served(gateway: &Gateway, dialect: &Dialect) -> String {
    let mut talk = client(gateway);
    let greeting = talk.until(dialect.welcome);
    dialect.ask(&mut talk, dialect.hello);
    dialect.ask(&mut talk, dialect.noop);
    dialect.ask(&mut talk, dialect.quit);
    greeting
}

/// Has a client told that nobody is there; returns why, by the log.
fn turned_away(gateway: &Gateway, mut talk: Talk, dialect: &Dialect) -> String {
    talk.send(dialect.injection);
    assert!(talk.until(dialect.down).starts_with(dialect.down));
    talk.closes();
    assert_eq!(gateway.session("in", "backend-down")["bytes_in"], 0);
    let left_out = "an address of the backend does not answer; it is left out for a while";
    let line = gateway.log_line("an address to be left out", |line| line["message"] == left_out);
    let reason = line["reason"].as_str().expect("a reason").to_owned();
    let down =
        gateway.log_line("the backend to be down", |line| line["message"] == "no address of the backend answers");
    assert!(down["reasons"].as_str().is_some_and(|reasons| reasons.contains(&reason)), "{down}");
    reason
}

fn refused(gateway: &Gateway, dialect: &Dialect) -> String {
    turned_away(gateway, client(gateway), dialect)
}

/// A backend that says these things, each but the first behind a line, and then serves `protocol` in clear; and all that
/// it heard meanwhile.
fn saying(protocol: &'static str, words: &[&'static str]) -> (Fake, Arc<Mutex<String>>) {
    let (words, heard) = (words.to_vec(), Arc::<Mutex<String>>::default());
    let noted = heard.clone();
    let fake = Fake::start(move |mut talk, _| {
        for (number, words) in words.iter().enumerate() {
            if number > 0 {
                let line = talk.heard();
                noted.lock().expect("no poison").push_str(&line);
            }
            let _ = talk.try_send(words);
        }
        match protocol {
            // It sends no list that nobody has asked for.
            "managesieve" => while !talk.heard().is_empty() && talk.try_send("OK\r\n").is_ok() {},
            _ => plain::serve_greeted(protocol, talk),
        }
    });
    (fake, heard)
}

/// What a backend without TLS says before a session can begin in clear.
fn without_tls(protocol: &str) -> Vec<&'static str> {
    let greeting = greeting_before(protocol);
    match protocol {
        "imap" => vec![greeting, "1 BAD what\r\n"],
        "pop3" => vec![greeting, "-ERR what\r\n"],
        "managesieve" => vec![greeting, "NO \"what\"\r\n"],
        "lmtp" => vec![greeting, "250-x\r\n250 STARTTLS\r\n", "454 not now\r\n"],
        "submission" => vec![greeting, "502 what\r\n"],
        _ => vec![greeting, "250-x\r\n250 PIPELINING\r\n"],
    }
}

#[test]
fn where_it_is_optional_tls_is_used_if_the_backend_offers_it() {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1"], Kind::Ecdsa);
    for dialect in &DIALECTS {
        let backend = Secured::start(dialect.protocol, Way::StartTls, showing(&issued));
        for strategy in ["default", "strict"] {
            let gateway = by(strategy, authority.pem(), dialect.protocol, backend.fake.address());
            // What it said in clear may be anybody's, and reaches nobody.
            let greeting = served(&gateway, dialect);
            assert!(!greeting.contains("BEFORE") && !greeting.contains("<1@before>"), "{greeting}");
        }
        assert_eq!(backend.inside(), 2, "{}", dialect.protocol);
        assert_eq!(backend.resumed(), 0, "each certificate is looked at");
    }
}

#[test]
fn where_it_is_optional_a_session_goes_on_in_clear_if_the_backend_has_no_tls() {
    for dialect in &DIALECTS {
        let (fake, heard) = saying(dialect.protocol, &without_tls(dialect.protocol));
        let gateway = by("default", "", dialect.protocol, fake.address());
        assert!(served(&gateway, dialect).contains("BEFORE"), "{}", dialect.protocol);
        let clear = "there is no TLS: a session goes on in clear";
        gateway.log_line("a word about it", |line| line["message"] == clear && line["backend"] == "in");
        let heard = heard.lock().expect("no poison").clone();
        let expected = match dialect.protocol {
            "imap" => "1 STARTTLS\r\n",
            "pop3" => "STLS\r\n",
            "managesieve" => "STARTTLS\r\n",
            "lmtp" => "LHLO mail.example.org\r\nSTARTTLS\r\n",
            _ => "EHLO mail.example.org\r\n",
        };
        assert_eq!(heard, expected, "{}", dialect.protocol);
    }
}

#[test]
fn where_it_is_required_a_backend_without_tls_is_down() {
    for dialect in &DIALECTS {
        let (fake, heard) = saying(dialect.protocol, &without_tls(dialect.protocol));
        let gateway = by("strict", "", dialect.protocol, fake.address());
        let reason = refused(&gateway, dialect);
        let expected = "127.0.0.1 does not offer TLS, which the strategy makes mandatory; correct it there, or have \
                        queue.tls.strict ask for less";
        assert_eq!(reason, expected, "{}", dialect.protocol);
        assert!(!heard.lock().expect("no poison").contains("injected"), "{}", dialect.protocol);
    }
}

#[test]
fn where_it_is_disabled_nobody_asks_for_tls() {
    let imap = dialect("imap");
    let (fake, heard) = saying("imap", &[greeting_before("imap")]);
    assert!(served(&by("clear", "", "imap", fake.address()), imap).contains("BEFORE"));
    assert_eq!(*heard.lock().expect("no poison"), "");
}

#[test]
fn a_wrong_certificate_is_refused_unless_any_will_do() {
    let imap = dialect("imap");
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (issued, why) in [
        (stranger.issue(&["127.0.0.1"], Kind::Ecdsa), "127.0.0.1: the certificate is not trusted: BadSignature"),
        (
            authority.issue(&["backend.internal"], Kind::Ecdsa),
            "127.0.0.1: the certificate is for backend.internal, and not for 127.0.0.1",
        ),
    ] {
        let backend = Secured::start("imap", Way::StartTls, showing(&issued));
        for strategy in ["default", "strict"] {
            let gateway = by(strategy, authority.pem(), "imap", backend.fake.address());
            let expected = format!("{why}; correct it there, or have queue.tls.{strategy} ask for less");
            assert_eq!(refused(&gateway, imap), expected);
        }
        served(&by("lax", authority.pem(), "imap", backend.fake.address()), imap);
        // The others were judged behind their handshakes, of which the backend may hear later than the client does.
        eventually(|| (backend.inside() == 3).then_some(())).expect("three handshakes");
        assert!(!backend.before().contains("injected"));
    }
}

#[test]
fn a_handshake_that_comes_to_nothing_is_never_followed_by_words_in_clear() {
    let smtp = dialect("smtp");
    let (greeting, list, go) = (greeting_before("smtp"), "250-x\r\n250 STARTTLS\r\n", yes("smtp"));
    for (words, why) in [
        (vec![greeting, list, "220 go on\r\n", "250 this is clear\r\n"], "127.0.0.1: "),
        (vec![greeting, list, "421 off\r\n"], "it has no TLS, and no session can go on behind what it said: 421 off"),
        (vec![greeting, "450 no\r\n"], "it has no TLS, and no session can go on behind what it said: 450 no"),
        (vec![greeting, "250 x\r\n250 y\r\n"], "it has no TLS, and no session can go on behind what it said: 250 x"),
        (vec!["554 go away\r\n"], "it refuses the connection before TLS: 554 go away"),
    ] {
        let (fake, heard) = saying("smtp", &words);
        let reason = refused(&by("lax", "", "smtp", fake.address()), smtp);
        assert!(reason.starts_with(why), "{reason}");
        let heard = heard.lock().expect("no poison").clone();
        assert!(!heard.contains("MAIL") && !heard.contains("client.example.net"), "{heard:?}");
    }
    // Who says more than it was asked for in front of TLS is not believed at all.
    let (fake, _) = saying("smtp", &[greeting, list, "220 go on\r\n250 more\r\n"]);
    let gateway = by("lax", "", "smtp", fake.address());
    client(&gateway).until("421 ");
    gateway.log_line("a complaint", |line| line["advice"].as_str().is_some_and(|advice| advice.contains("before TLS")));

    let silent = Fake::start(move |mut talk, _| {
        for words in [greeting, list, go] {
            let _ = talk.try_send(words);
            talk.heard();
        }
        talk.rest();
    });
    let reason = refused(&by("hasty", "", "smtp", silent.address()), smtp);
    assert!(reason.starts_with("127.0.0.1: no TLS within 300ms; "), "{reason}");
}

#[test]
fn requiretls_is_offered_where_no_strategy_lets_it_go() {
    let authority = Authority::new();
    let config = showing(&authority.issue(&["127.0.0.1"], Kind::Ecdsa));
    let backend = Secured::serving("smtp", Way::StartTls, config, |mut talk| {
        while !talk.heard().is_empty() {
            let _ = talk.try_send("250-x\r\n250-REQUIRETLS\r\n250 SIZE\r\n");
        }
    });
    for (strategy, expected) in [("strict", true), ("default", false), ("lax", false)] {
        let gateway = by(strategy, authority.pem(), "smtp", backend.fake.address());
        let mut talk = client(&gateway);
        talk.reply("220");
        let list = talk.send("EHLO client.example.net\r\n").reply("250");
        assert_eq!(list.contains("REQUIRETLS"), expected, "{strategy}: {list}");
    }
}

#[test]
fn the_doctor_tells_that_sessions_go_in_clear_and_why_an_address_cannot_be_had() {
    let examined = |strategy: &str, words: &[&'static str]| {
        let (fake, _) = saying("imap", words);
        let builder = builder("").implicit("in", "imap", fake.address());
        let builder = builder.backend("in", &format!("tls.strategy = \"{strategy}\""));
        builder.write();
        let file = builder.scratch().join("proxy.toml").display().to_string();
        let (code, text) = mailward(&["--config", &file, "doctor"]);
        println!("{text}");
        (code, text)
    };
    let (_, text) = examined("default", &without_tls("imap"));
    assert!(text.contains("it has no STARTTLS, and sessions go there in clear"), "{text}");
    let (code, text) = examined("strict", &without_tls("imap"));
    assert!(text.contains("127.0.0.1 does not offer TLS, which the strategy makes mandatory"), "{text}");
    assert_eq!(code, Some(1));
    assert!(!examined("clear", &[greeting_before("imap")]).1.contains("in clear"));
}

/// A gateway in a world, in front of one of its mail hosts.
fn in_world(world: &World, strategy: &str, host: &str, more: &str) -> Gateway {
    builder("")
        .server(more)
        .under(&world.namespace.prefix())
        .implicit("in", "smtp", host)
        .backend("in", &format!("tls.strategy = \"{strategy}\""))
        .start()
}

/// Has a client in the world served.
fn served_in(world: &World, gateway: &Gateway) {
    let mut talk = world.namespace.inside(|| client(gateway));
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk.ask("QUIT", "221");
}

/// Has a client in the world told that nobody is there; returns why, without the advice.
fn refused_in(world: &World, gateway: &Gateway) -> String {
    let talk = world.namespace.inside(|| client(gateway));
    let reason = turned_away(gateway, talk, dialect("smtp"));
    reason.split("; ").next().unwrap_or_default().to_owned()
}

#[test]
fn a_named_backend_is_held_to_its_tlsa_records() {
    let world = World::start();
    let sink = world.sink();
    // Nobody believes in its authority: a record that matches is all it has.
    for strategy in ["default", "strict", "dane", "clear"] {
        served_in(&world, &in_world(&world, strategy, "mx.secure.test", DANE));
    }
    let heard = sink.heard();
    assert_eq!(heard.iter().filter(|verb| *verb == "STARTTLS").count(), 4, "{heard:?}");
    let gateway = in_world(&world, "default", "mx.secure.test", "");
    served_in(&world, &gateway);
    let line = gateway.log_line("a word about it", |line| line["message"] == "a session goes on in TLS");
    assert_eq!((&line["host"], &line["assurance"]), (&"mx.secure.test".into(), &"verified".into()));
    for strategy in ["default", "lax", "clear"] {
        let reason = refused_in(&world, &in_world(&world, strategy, "mx.bad.secure.test", ""));
        assert_eq!(reason, "mx.bad.secure.test: the certificate matches none of the TLSA records", "{strategy}");
    }
    served_in(&world, &in_world(&world, "off", "mx.bad.secure.test", ""));
    let _clear = (drop(sink), world.sink_with(&["--clear"]));
    let reason = refused_in(&world, &in_world(&world, "lax", "mx.secure.test", ""));
    assert_eq!(reason, "mx.secure.test does not offer TLS, which DANE makes mandatory");
    served_in(&world, &in_world(&world, "lax", "mx.nodane.secure.test", ""));
}

#[test]
fn records_that_are_not_there_are_missed_where_they_are_required() {
    let world = World::start();
    let _sink = world.sink();
    for (host, why) in [
        ("mx.nodane.secure.test", "it has no TLSA records"),
        ("mx.unus.secure.test", "none of its TLSA records can be used"),
        ("mx.insecure.test", "DNSSEC does not vouch for its addresses"),
    ] {
        let reason = refused_in(&world, &in_world(&world, "dane", host, DANE));
        assert_eq!(reason, format!("DANE is required, and {host} has none: {why}"));
        served_in(&world, &in_world(&world, "lax", host, ""));
    }
    // The certificate counts, where no record does.
    let reason = refused_in(&world, &in_world(&world, "default", "mx.insecure.test", ""));
    assert_eq!(reason, "mx.insecure.test: the certificate is not trusted: UnknownIssuer");
}

#[test]
fn what_cannot_be_looked_up_puts_a_backend_out_of_reach() {
    let world = World::start();
    let sink = world.sink();
    let why = "could not be looked up: DNSSEC validation failed";
    for strategy in ["lax", "dane", "clear"] {
        let reason = refused_in(&world, &in_world(&world, strategy, "mx.cb.secure.test", DANE));
        assert!(reason.starts_with(&format!("the TLSA records of mx.cb.secure.test {why}")), "{strategy}: {reason}");
    }
    let dead = "[resolver]\ntype = \"custom\"\ncustom = \"127.0.0.9\"";
    let reason = refused_in(&world, &in_world(&world, "lax", "mx.nodane.secure.test", dead));
    assert!(reason.starts_with("the TLSA records of mx.nodane.secure.test could not be looked up: "), "{reason}");
    assert_eq!(sink.heard(), [""; 0], "nothing was said to it");
    // Where nothing of DNSSEC is believed, nobody asks.
    served_in(&world, &in_world(&world, "lax", "mx.bad.secure.test", "[resolver]\ndnssec = \"off\""));
}
