//! A reload changes everything or nothing, and loses no session (spec §5, promise 5).

mod support;

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::Value;
use support::gateway::authority::Issued;
use support::{Fake, Gateway, Kind, NAME, Port, Talk, eventually, figure, plain, reserve_port, size};

/// A plain backend of this protocol.
fn fake(protocol: &'static str) -> Fake {
    Fake::start(move |talk, _| plain::serve(protocol, talk))
}

fn tls(gateway: &Gateway, talk: Talk) -> Talk {
    talk.tls(gateway.authority.roots())
}

/// A session inside TLS, by STARTTLS, that has said its hello or logged in.
fn by_starttls(gateway: &Gateway, address: SocketAddr, protocol: &str) -> Talk {
    let mut talk = Talk::to(address);
    plain::greet(protocol, &mut talk);
    plain::start_tls(protocol, &mut talk);
    let mut talk = tls(gateway, talk);
    plain::log_in(protocol, &mut talk);
    talk
}

/// A session that began with TLS and has logged in.
fn by_implicit(gateway: &Gateway, address: SocketAddr, protocol: &str) -> Talk {
    let mut talk = tls(gateway, Talk::to(address));
    plain::greet(protocol, &mut talk);
    plain::log_in(protocol, &mut talk);
    talk
}

fn certificate(talk: &Talk) -> Vec<u8> {
    talk.connection().peer_certificates().and_then(|chain| chain.first()).expect("a certificate").to_vec()
}

/// The certificate that a new session is shown.
fn shown(gateway: &Gateway) -> Vec<u8> {
    certificate(&tls(gateway, Talk::to(gateway.address("imaps"))))
}

fn refusals(gateway: &Gateway) -> usize {
    gateway.count(|line| line["message"].as_str().is_some_and(|text| text.starts_with("the configuration was not")))
}

fn install(gateway: &Gateway, issued: &Issued) {
    issued.write(&gateway.scratch, "mail");
}

#[test]
fn many_reloads_under_load_refuse_no_connection_and_lose_no_session() {
    let count = size("reloads under load", 60, 200);
    let (smtp, imap) = (fake("smtp"), fake("imap"));
    let gateway =
        Gateway::builder().listener("smtp", "smtp", smtp.address()).implicit("imaps", "imap", imap.address()).start();
    let (starttls, implicit) = (gateway.address("smtp"), gateway.address("imaps"));
    let pairs = [Kind::Ecdsa, Kind::Rsa].map(|kind| gateway.authority.issue(&[NAME, "localhost"], kind));
    let (stop, sessions, commands) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (gateway, stop, sessions, commands) = (&gateway, &stop, &sessions, &commands);
    let seen = thread::scope(|scope| {
        // Whatever ends this, the threads end with it.
        let _stop = StopWhenDropped(stop);
        for (address, protocol) in [(starttls, "smtp"), (implicit, "imap")] {
            let mut held = match protocol {
                "smtp" => by_starttls(gateway, address, protocol),
                _ => by_implicit(gateway, address, protocol),
            };
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    plain::nothing(protocol, &mut held);
                    commands.fetch_add(1, Relaxed);
                }
            });
        }
        let come_and_go = |make: fn(&Gateway, SocketAddr, &str) -> Talk, address, protocol: &'static str| {
            scope.spawn(move || {
                let mut seen = HashSet::new();
                while !stop.load(Relaxed) {
                    let mut talk = make(gateway, address, protocol);
                    plain::nothing(protocol, &mut talk);
                    seen.insert(certificate(&talk));
                    sessions.fetch_add(1, Relaxed);
                }
                seen
            })
        };
        let threads = [come_and_go(by_starttls, starttls, "smtp"), come_and_go(by_implicit, implicit, "imap")];
        for number in 0..count {
            install(gateway, &pairs[number % 2]);
            assert!(gateway.reload(), "{number}");
            if number % 10 == 5 {
                broken_in_between(gateway);
            }
        }
        // The load has to see both, however slow this machine is.
        let enough = sessions.load(Relaxed) + 8;
        for pair in pairs.iter().cycle().take(2 * count) {
            install(gateway, pair);
            assert!(gateway.reload());
            if sessions.load(Relaxed) > enough {
                break;
            }
        }
        stop.store(true, Relaxed);
        threads.map(|thread| thread.join().expect("no session fails")).into_iter().flatten().collect::<HashSet<_>>()
    });
    assert!(seen.len() >= 2, "{} certificates", seen.len());
    let bad = |line: &Value| line["message"] == "session" && !["ok", "client-lost"].contains(&text(&line["outcome"]));
    assert_eq!(gateway.count(bad), 0);
    figure(&format!(
        "{count} reloads: {} sessions begun meanwhile, {} commands in two held ones, none lost",
        sessions.load(Relaxed),
        commands.load(Relaxed)
    ));
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A configuration that cannot be used is refused, once, and the next one that can is taken.
fn broken_in_between(gateway: &Gateway) {
    let before = refusals(gateway);
    gateway.edit("hostname =", "hostnam =");
    assert!(!gateway.reload());
    assert_eq!(refusals(gateway), before + 1);
    gateway.edit("hostnam =", "hostname =");
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_told_once_with_its_place() {
    let imap = fake("imap");
    let gateway = Gateway::builder().implicit("imaps", "imap", imap.address()).listener("imap", "imap", imap.address());
    let gateway = gateway.start();
    let before = shown(&gateway);
    install(&gateway, &gateway.authority.issue(&[NAME], Kind::Ecdsa));
    gateway.edit("[server.listener.imap]\n", "[server.listener.imap]\ntls.timeout = \"soon\"\nmax-conections = 3\n");
    assert!(!gateway.reload());
    let places = gateway.count(|line| {
        let message = text(&line["message"]);
        line["level"] == "ERROR" && message.contains("proxy.toml:") && message.contains("server.listener.imap.")
    });
    assert_eq!(places, 2, "{}", gateway.output());
    assert_eq!(refusals(&gateway), 1);
    plain::nothing("imap", &mut by_starttls(&gateway, gateway.address("imap"), "imap"));
    // The files are looked at without being told, but that takes a moment; what counts is that none is refused.
    if shown(&gateway) != before {
        gateway.log_line("why it is another", |line| line["message"] == "a certificate was read anew");
    }
}

#[test]
fn a_certificate_that_is_broken_at_a_reload_keeps_the_old_one() {
    let imap = fake("imap");
    let gateway = Gateway::builder().implicit("imaps", "imap", imap.address()).start();
    let before = shown(&gateway);
    for broken in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        gateway.scratch.write("mail.crt", broken);
        assert!(!gateway.reload(), "{broken}");
        assert_eq!(shown(&gateway), before, "{broken}");
    }
    fs::remove_file(gateway.scratch.join("mail.crt")).expect("it is there");
    assert!(!gateway.reload());
    assert_eq!(shown(&gateway), before);
}

#[test]
fn certificate_files_that_change_are_picked_up_unasked_once_both_fit() {
    let imap = fake("imap");
    let gateway = Gateway::builder().implicit("imaps", "imap", imap.address()).start();
    let mut held = by_implicit(&gateway, gateway.address("imaps"), "imap");
    let before = shown(&gateway);
    let new = gateway.authority.issue(&[NAME], Kind::Ecdsa);
    gateway.scratch.write("mail.crt", &new.chain);
    gateway.log_line("a word about the pair that does not fit", |line| {
        line["level"] == "WARN" && text(&line["message"]).ends_with("the one before it stays in force")
    });
    assert_eq!(shown(&gateway), before);
    gateway.scratch.write("mail.key", &new.key);
    gateway.log_line("the new certificate", |line| line["message"] == "a certificate was read anew");
    assert_ne!(shown(&gateway), before);
    plain::nothing("imap", &mut held);
}

#[test]
fn a_signal_that_comes_while_the_process_starts_is_heeded() {
    let imap = fake("imap");
    for number in 0..10 {
        let mut gateway = Gateway::builder().implicit("imaps", "imap", imap.address()).start();
        assert!(gateway.reload(), "{number}: {}", gateway.output());
        gateway.signal("TERM");
        assert_eq!(gateway.ended(), Some(0), "{number}");
    }
}

#[test]
fn a_connection_in_the_queue_of_a_kept_address_is_served_after_the_reload() {
    let smtp = fake("smtp");
    let gateway = Gateway::builder().listener("smtp", "smtp", smtp.address()).start();
    let address = gateway.address("smtp");
    // A process that stands still accepts nothing: the kernel queues.
    gateway.signal("STOP");
    let mut queued: Vec<_> = (0..16).map(|_| Talk::to(address)).collect();
    gateway.edit("hostname = \"mail.example.org\"", "hostname = \"new.example.org\"");
    gateway.signal("HUP");
    gateway.signal("CONT");
    for talk in &mut queued {
        talk.reply("220");
    }
    gateway.log_line("the reload", |line| line["message"] == "the configuration was reloaded");
    Talk::to(address).expect("220 new.example.org");
}

/// A gateway with two SMTP listeners, `one` and `two`, on ports that stay theirs.
fn two_listeners(smtp: &Fake) -> (Gateway, Port, Port) {
    let (one, two) = (reserve_port(), reserve_port());
    let bind = |port: &Port| format!("bind = \"{}\"", port.address());
    let gateway = Gateway::builder()
        .listener("one", "smtp", smtp.address())
        .with("one", &bind(&one))
        .listener("two", "smtp", smtp.address())
        .with("two", &bind(&two))
        .start();
    (gateway, one, two)
}

#[test]
fn listeners_come_and_go_and_change_their_names_and_running_sessions_do_not_notice() {
    let smtp = fake("smtp");
    let (gateway, one, two) = two_listeners(&smtp);
    let three = reserve_port();
    let mut on_one = by_starttls(&gateway, one.address(), "smtp");
    let mut on_two = by_starttls(&gateway, two.address(), "smtp");
    gateway.edit("[server.listener.one]", "[server.listener.renamed]");
    gateway.edit(&two.address().to_string(), &three.address().to_string());
    assert!(gateway.reload());
    plain::nothing("smtp", &mut on_one);
    plain::nothing("smtp", &mut on_two);
    by_starttls(&gateway, one.address(), "smtp").ask("QUIT", "221");
    gateway.session("renamed", "ok");
    by_starttls(&gateway, three.address(), "smtp").ask("QUIT", "221");
    gateway.session("two", "ok");
    let refused = eventually(|| TcpStream::connect(two.address()).is_err().then_some(()));
    assert!(refused.is_some(), "the address that is gone still answers");
    plain::nothing("smtp", &mut on_two);
    // What is gone comes back.
    gateway.edit(&three.address().to_string(), &two.address().to_string());
    assert!(gateway.reload());
    plain::nothing("smtp", &mut by_starttls(&gateway, two.address(), "smtp"));
    plain::nothing("smtp", &mut on_two);
}

#[test]
fn an_address_that_cannot_be_had_refuses_the_whole_reload() {
    let smtp = fake("smtp");
    let (gateway, one, two) = two_listeners(&smtp);
    let three = reserve_port();
    let taken = TcpListener::bind(three.address()).expect("a free port");
    gateway.edit(&two.address().to_string(), &three.address().to_string());
    gateway.edit("hostname = \"mail.example.org\"", "hostname = \"new.example.org\"");
    assert!(!gateway.reload());
    assert_eq!(refusals(&gateway), 1);
    gateway.log_line("the address", |line| text(&line["error"]).contains(&three.address().to_string()));
    for port in [&one, &two] {
        Talk::to(port.address()).expect("220 mail.example.org");
    }
    drop(taken);
    // A child that another test has just forked may hold it for a moment.
    assert!(eventually(|| gateway.reload().then_some(())).is_some(), "{}", gateway.output());
    Talk::to(one.address()).expect("220 new.example.org");
}

#[test]
fn an_address_may_grow_to_all_addresses_of_its_port_and_shrink_again() {
    let smtp = fake("smtp");
    let (gateway, one, two) = two_listeners(&smtp);
    let mut held = by_starttls(&gateway, one.address(), "smtp");
    let mut now = one.address().to_string();
    for (next, reached) in [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]"), ("127.0.0.2", "127.0.0.2")] {
        let (bind, reached) = (format!("{next}:{}", one.number()), format!("{reached}:{}", one.number()));
        gateway.edit(&now, &bind);
        assert!(gateway.reload(), "{now} to {bind}: {}", gateway.output());
        Talk::to(reached.parse().expect("an address")).reply("220");
        Talk::to(one.address()).reply("220");
        now = bind;
    }
    plain::nothing("smtp", &mut held);
    Talk::to(two.address()).reply("220");
}

#[test]
fn who_waits_in_the_queue_of_an_address_that_goes_is_served() {
    let smtp = fake("smtp");
    let (gateway, one, _two) = two_listeners(&smtp);
    for round in 0..20 {
        let (old, new) = (one.address(), format!("0.0.0.0:{}", one.number()));
        let (from, to) = if round % 2 == 0 { (old.to_string(), new) } else { (new, old.to_string()) };
        gateway.edit(&from, &to);
        // The queue is full of clients when the signal comes.
        gateway.signal("STOP");
        let mut queued: Vec<_> = (0..32).map(|_| Talk::to(old)).collect();
        gateway.signal("HUP");
        gateway.signal("CONT");
        let reloads = |line: &Value| line["message"] == "the configuration was reloaded";
        eventually(|| (gateway.count(reloads) == round + 1).then_some(())).expect("a reload");
        queued.push(Talk::to(old));
        for talk in &mut queued {
            talk.reply("220");
        }
    }
}

#[test]
fn changed_settings_hold_for_new_sessions_and_running_ones_keep_theirs() {
    let (old, new) = (fake("imap"), fake("imap"));
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", old.address())
        .listener("imap", "imap", old.address())
        .with("imap", "limit.errors = 3")
        .start();
    let mut logged_in = by_implicit(&gateway, gateway.address("imaps"), "imap");
    let mut early = Talk::to(gateway.address("imap"));
    plain::greet("imap", &mut early);
    gateway.edit("limit.errors = 3", "limit.errors = 1");
    gateway.edit(&old.address().to_string(), &new.address().to_string());
    assert!(gateway.reload());
    plain::nothing("imap", &mut logged_in);
    for _ in 0..3 {
        early.ask("x NONSENSE", "x BAD");
    }
    let mut late = Talk::to(gateway.address("imap"));
    plain::greet("imap", &mut late);
    late.ask("x NONSENSE", "x BAD");
    late.send("x NONSENSE\r\n").until("* BYE");
    // Its backend was chosen with its snapshot, at accept.
    plain::start_tls("imap", &mut early);
    plain::log_in("imap", &mut tls(&gateway, early));
    assert_eq!((old.connections(), new.connections()), (2, 0));
    by_implicit(&gateway, gateway.address("imaps"), "imap");
    assert_eq!((old.connections(), new.connections()), (2, 1));
}

#[test]
fn what_needs_a_restart_is_named() {
    let imap = fake("imap");
    let gateway = Gateway::builder().server("limit.handshakes = 300").implicit("imaps", "imap", imap.address()).start();
    assert!(gateway.reload());
    let warned = |key: &str| gateway.count(|line| line["level"] == "WARN" && line["key"] == key);
    assert_eq!((warned("server.workers"), warned("server.limit.handshakes")), (0, 0));
    gateway.edit("workers = 2", "workers = 3");
    gateway.edit("limit.handshakes = 300", "limit.handshakes = 400");
    assert!(gateway.reload());
    assert_eq!((warned("server.workers"), warned("server.limit.handshakes")), (1, 1));
    plain::nothing("imap", &mut by_implicit(&gateway, gateway.address("imaps"), "imap"));
}

#[test]
fn who_comes_beyond_a_lowered_limit_is_told_so_and_a_raised_one_holds_at_once() {
    let imap = fake("imap");
    let gateway =
        Gateway::builder().listener("imap", "imap", imap.address()).with("imap", "max-connections = 200").start();
    let address = gateway.address("imap");
    let greeted = || {
        let mut talk = Talk::to(address);
        plain::greet("imap", &mut talk);
        talk
    };
    let _sessions: Vec<_> = (0..60).map(|_| greeted()).collect();
    gateway.edit("max-connections = 200", "max-connections = 10");
    assert!(gateway.reload());
    for _ in 0..12 {
        Talk::to(address).expect("* BYE");
    }
    gateway.edit("max-connections = 10", "max-connections = 200");
    assert!(gateway.reload());
    let _more: Vec<_> = (0..8).map(|_| greeted()).collect();
}
