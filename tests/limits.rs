//! Limits of the process: how many sessions, how many handshakes, how many descriptors; and which addresses it is on.

mod support;

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::{Fake, Gateway, GatewayBuilder, Talk, eventually, plain, reserve_port};

fn fake(protocol: &'static str) -> Fake {
    Fake::start(move |talk, _| plain::serve(protocol, talk))
}

/// What each protocol says to a client for whom there is no place, or no backend.
fn refusal(protocol: &str) -> &'static str {
    match protocol {
        "imap" => "* BYE [UNAVAILABLE]",
        "pop3" => "-ERR [SYS/TEMP]",
        "managesieve" => "BYE (TRYLATER)",
        _ => "421 4.3.2",
    }
}

/// A gateway with a listener for each protocol, named like it, with these lines.
fn with_each_protocol(lines: &str, backend: impl Fn(&'static str) -> SocketAddr) -> GatewayBuilder {
    plain::PROTOCOLS.into_iter().fold(Gateway::builder(), |builder, protocol| {
        builder.listener(protocol, protocol, backend(protocol)).with(protocol, lines)
    })
}

/// A session that has logged in after TLS from the first byte.
fn session(gateway: &Gateway, address: SocketAddr, protocol: &str) -> Talk {
    let mut talk = Talk::to(address).tls(gateway.authority.roots());
    plain::greet(protocol, &mut talk);
    plain::log_in(protocol, &mut talk);
    talk
}

/// Whether a new client of a listener with STARTTLS is greeted now.
fn is_greeted(address: SocketAddr) -> bool {
    let line = Talk::to(address).heard();
    ["220", "* OK", "+OK", "\"IMPLEMENTATION\""].iter().any(|greeting| line.starts_with(greeting))
}

#[test]
fn beyond_max_connections_clients_are_told_to_come_again_in_their_protocols_words() {
    let gateway = with_each_protocol("max-connections = 2", |protocol| fake(protocol).address()).start();
    for protocol in plain::PROTOCOLS {
        let address = gateway.address(protocol);
        let mut places = [Talk::to(address), Talk::to(address)];
        for talk in &mut places {
            plain::greet(protocol, talk);
        }
        for _ in 0..3 {
            let mut late = Talk::to(address);
            late.expect(refusal(protocol));
            late.closes();
        }
        assert_eq!(gateway.session(protocol, "limited")["reason"], "max-connections");
        let [first, mut second] = places;
        drop(first);
        assert!(eventually(|| is_greeted(address).then_some(())).is_some(), "{protocol}: no place came back");
        // Who is there already does not notice.
        plain::start_tls(protocol, &mut second);
    }
}

#[test]
fn beyond_max_connections_implicit_tls_is_closed_without_a_word() {
    let imap = fake("imap");
    let gateway =
        Gateway::builder().implicit("imaps", "imap", imap.address()).with("imaps", "max-connections = 1").start();
    let mut first = session(&gateway, gateway.address("imaps"), "imap");
    for _ in 0..3 {
        Talk::to(gateway.address("imaps")).closes();
    }
    gateway.session("imaps", "limited");
    plain::nothing("imap", &mut first);
    assert_eq!(imap.connections(), 1);
}

#[test]
fn a_place_comes_back_however_its_session_ended() {
    let imap = fake("imap");
    let gateway =
        Gateway::builder().implicit("imaps", "imap", imap.address()).with("imaps", "max-connections = 1").start();
    let address = gateway.address("imaps");
    let endings: [fn(&Gateway, SocketAddr); 5] = [
        |_, address| drop(TcpStream::connect(address)),
        |_, address| drop(Talk::to(address).try_send("not TLS\r\n")),
        |gateway, address| try_session(gateway, address).iter_mut().for_each(Talk::cut),
        |gateway, address| drop(try_session(gateway, address).map(|mut talk| talk.send("o LOGOUT\r\n").rest())),
        |gateway, address| drop(try_session(gateway, address)),
    ];
    let sessions = || gateway.count(|line| line["message"] == "session");
    let served = || gateway.count(|line| line["message"] == "session" && line["outcome"] != "limited");
    for (number, ending) in endings.into_iter().enumerate() {
        // One place, which comes back a moment after its session has its line in the log: who is early comes again.
        let came_in = eventually(|| {
            let (all, before) = (sessions(), served());
            ending(&gateway, address);
            eventually(|| (sessions() > all).then_some(())).expect("a line for each session");
            (served() > before).then_some(())
        });
        assert!(came_in.is_some(), "no place came back before ending {number}");
    }
}

/// A session that has logged in after TLS from the first byte, if there is a place for it.
fn try_session(gateway: &Gateway, address: SocketAddr) -> Option<Talk> {
    let mut talk = Talk::to(address).try_tls(trusting(gateway)).ok()?;
    plain::greet("imap", &mut talk);
    plain::log_in("imap", &mut talk);
    Some(talk)
}

fn trusting(gateway: &Gateway) -> std::sync::Arc<rustls::ClientConfig> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    config.expect("versions").with_root_certificates(gateway.authority.roots()).with_no_client_auth().into()
}

#[test]
fn without_descriptors_accepting_waits_and_running_sessions_go_on() {
    let imap = fake("imap");
    let gateway = Gateway::builder()
        .listener("imap", "imap", imap.address())
        .implicit("imaps", "imap", imap.address())
        .under(&["prlimit", "--nofile=64:64"])
        .start();
    let mut held = session(&gateway, gateway.address("imaps"), "imap");
    let many: Vec<_> = (0..80).map(|_| Talk::to(gateway.address("imap"))).collect();
    let waiting = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.starts_with("connections cannot be accepted"))
    };
    gateway.log_line("accept to fail", waiting);
    let before = gateway.processor_time();
    // Not a wait for something to happen: the time in which nothing should.
    thread::sleep(Duration::from_secs(2));
    let used = gateway.processor_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} in two seconds of waiting");
    plain::nothing("imap", &mut held);
    drop(many);
    let served = eventually(|| is_greeted(gateway.address("imap")).then_some(()));
    assert!(served.is_some(), "nobody is served after the shortage");
    plain::nothing("imap", &mut held);
    // Told when it begins, not at each attempt.
    assert!(gateway.count(waiting) < 10, "{}", gateway.count(waiting));
    drop(held);
    session(&gateway, gateway.address("imaps"), "imap");
}

#[test]
fn a_shortage_of_descriptors_is_not_held_against_the_backend() {
    let gateway = Gateway::builder()
        .listener("imap", "imap", fake("imap").address())
        .under(&["prlimit", "--nofile=64:64"])
        .start();
    let mut first = Talk::to(gateway.address("imap"));
    plain::greet("imap", &mut first);
    let many: Vec<_> = (0..80).map(|_| Talk::to(gateway.address("imap"))).collect();
    gateway.log_line("accept to fail", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("connections cannot be accepted"))
    });
    plain::start_tls("imap", &mut first);
    first.tls(gateway.authority.roots()).expect(refusal("imap"));
    assert_eq!(gateway.session("imap", "limited")["reason"], "shortage");
    gateway.log_line("a warning", |line| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("for want of resources"))
    });
    // Who comes next is greeted, as nothing is known against the backend.
    drop(many);
    assert_eq!(gateway.count(|line| line["message"] == "no address of the backend answers"), 0);
    let served = eventually(|| is_greeted(gateway.address("imap")).then_some(()));
    assert!(served.is_some(), "nobody is served after the shortage");
}

#[test]
fn a_listener_that_needs_more_descriptors_than_there_are_is_warned_about() {
    let gateway = Gateway::builder()
        .listener("imap", "imap", fake("imap").address())
        .under(&["prlimit", "--nofile=100:200"])
        .start();
    let warning = gateway.log_line("a warning", |line| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("file descriptors"))
    });
    assert!(warning["message"].as_str().is_some_and(|text| text.contains("hard limit is 200")), "{warning}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).expect("/proc");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let fields: Vec<_> = files.split_whitespace().collect();
    assert_eq!(fields[3..5], ["200", "200"], "the soft limit is raised");
}

#[test]
fn handshakes_at_once_are_limited_and_a_stalled_one_gives_its_place_back() {
    let gateway = Gateway::builder()
        .server("limit.handshakes = 1\ntls.timeout = \"2s\"")
        .implicit("imaps", "imap", fake("imap").address())
        .start();
    let address = gateway.address("imaps");
    let began = Instant::now();
    let mut stalled = Talk::to(address);
    // The head of a record, and nothing of what it announces. Once that is read, the place is taken.
    stalled.send([0x16, 0x03, 0x01, 0x02, 0x00]).taken();
    let next = eventually(|| Talk::to(address).try_tls(trusting(&gateway)).ok());
    assert!(next.is_some(), "the place never came back");
    assert!(gateway.session("imaps", "timeout")["reason"] == "handshake");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(1_000), "{waited:?}: two handshakes were under way");
    stalled.rest();
    session(&gateway, address, "imap");
}

#[test]
fn one_listener_serves_all_its_addresses_of_both_families() {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("this machine has an IPv6 loopback address");
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", fake("smtp").address())
        .with("smtp", "bind = [\"127.0.0.1:0\", \"[::1]:0\", \"127.0.0.3:0\"]\nmax-connections = 3")
        .start();
    let addresses = gateway.addresses("smtp", 3);
    let mut talks: Vec<_> = addresses.iter().map(|address| Talk::to(*address)).collect();
    for talk in &mut talks {
        talk.reply("220");
    }
    // The places are the listener's, not each address's.
    for address in &addresses {
        Talk::to(*address).expect("421 4.3.2");
    }
    talks.iter_mut().for_each(|talk| drop(talk.ask("QUIT", "221")));
    for peer in ["127.0.0.1:", "[::1]:"] {
        gateway.log_line(peer, |line| {
            line["outcome"] == "ok" && line["peer"].as_str().is_some_and(|text| text.starts_with(peer))
        });
    }
}

#[test]
fn the_unspecified_ipv6_address_takes_ipv4_too_and_its_peers_look_like_ipv4() {
    let port = reserve_port();
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", fake("smtp").address())
        .with("smtp", &format!("bind = \"[::]:{}\"", port.number()))
        .start();
    for address in ["127.0.0.1", "[::1]"] {
        let mut talk = Talk::to(format!("{address}:{}", port.number()).parse().expect("an address"));
        talk.reply("220");
        talk.ask("QUIT", "221");
        gateway.log_line(address, |line| {
            line["outcome"] == "ok" && line["peer"].as_str().is_some_and(|text| text.starts_with(address))
        });
    }
}

#[test]
fn the_unspecified_ipv6_address_leaves_ipv4_to_a_listener_of_the_same_port() {
    let port = reserve_port();
    let gateway = Gateway::builder()
        .listener("six", "smtp", fake("smtp").address())
        .with("six", &format!("bind = \"[::]:{}\"", port.number()))
        .listener("four", "imap", fake("imap").address())
        .with("four", &format!("bind = \"0.0.0.0:{}\"", port.number()))
        .start();
    Talk::to(format!("[::1]:{}", port.number()).parse().expect("an address")).expect("220");
    Talk::to(format!("127.0.0.1:{}", port.number()).parse().expect("an address")).expect("* OK");
    drop(gateway);
}

#[test]
fn clients_are_greeted_with_a_refusal_while_the_backend_is_known_to_be_down() {
    let down = plain::PROTOCOLS.map(|protocol| (protocol, reserve_port()));
    let address = |protocol| down.iter().find(|(name, _)| *name == protocol).expect("each").1.address();
    let gateway = with_each_protocol("", address).start();
    for (protocol, backend) in down.iter().map(|(protocol, port)| (*protocol, port.address())) {
        let listener = gateway.address(protocol);
        let refused = eventually(|| {
            let mut first = Talk::to(listener);
            if !first.heard().starts_with(refusal(protocol)) {
                // Nobody has tried for a while: this one does.
                first = Talk::to(listener);
                plain::greet(protocol, &mut first);
                plain::start_tls(protocol, &mut first);
                let mut inside = first.tls(gateway.authority.roots());
                let said = inside.heard();
                assert!(said.starts_with(refusal(protocol)), "{protocol} inside TLS: {said:?}");
                first = Talk::to(listener);
                return first.heard().starts_with(refusal(protocol)).then_some(());
            }
            Some(())
        });
        assert!(refused.is_some(), "{protocol}: the backend is never known to be down");
        let warnings = |line: &serde_json::Value| {
            line["backend"] == protocol && line["message"] == "no address of the backend answers"
        };
        assert_eq!(gateway.count(warnings), 1, "{protocol}: told once");
        let _back = Fake::at(backend, move |talk, _| plain::serve(protocol, talk));
        let served = eventually(|| is_greeted(listener).then_some(()));
        assert!(served.is_some(), "{protocol}: refused though the backend is back");
        let mut talk = Talk::to(listener);
        plain::greet(protocol, &mut talk);
        plain::start_tls(protocol, &mut talk);
        plain::log_in(protocol, &mut after_tls(protocol, talk.tls(gateway.authority.roots())));
        gateway.log_line("the good news", |line| {
            line["backend"] == protocol && line["message"] == "the backend answers again"
        });
    }
}

/// ManageSieve repeats its list after STARTTLS.
fn after_tls(protocol: &str, mut talk: Talk) -> Talk {
    if protocol == "managesieve" {
        plain::greet(protocol, &mut talk);
    }
    talk
}
