//! What it costs to go through mailward: messages per second beside a Postfix that relays the same ones to the same
//! server, and the time that one message takes longer.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Postfix, Supervised, Talk, World, figure, is_full, message, relaying, release_build, run};

/// Messages in one run, in how many sessions at once, and how long they are.
const MESSAGES: usize = 2_000;
const SESSIONS: usize = 10;
const LENGTH: usize = 10_000;

/// How often everything is measured, in turns, so that what else the machine does is the same for all.
const ROUNDS: usize = 3;

/// How many messages are sent one by one.
const SINGLE: usize = 300;

/// Where the server of the recipients is.
const DOMAIN: u8 = 0;

/// A sender's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    name: &'static str,
    address: SocketAddr,
    lmtp: bool,
}

/// Takes everything, throws it away, and offers no TLS, which Postfix would do otherwise.
fn sink(world: &World) -> Supervised {
    let address = SocketAddr::from((World::host(DOMAIN), 25));
    let mut command = world.namespace.command("/usr/sbin/smtp-sink");
    command.args(["-u", "nobody", &address.to_string(), "1000"]);
    let is_there = || world.namespace.inside(|| std::net::TcpStream::connect(address).is_ok());
    Supervised::start(&command, &world.scratch.directory("smtp-sink"), is_there)
}

/// Messages per second, up to the time when the last of them is no longer with the sender or in the queue.
fn rate(world: &World, way: Way, is_done: impl Fn() -> bool) -> f64 {
    let mut command = world.namespace.command("/usr/sbin/smtp-source");
    command.args(["-s", &SESSIONS.to_string(), "-m", &MESSAGES.to_string(), "-l", &LENGTH.to_string()]);
    command.args(["-f", "bob@example.org", "-t", &to()]);
    command.args(way.lmtp.then_some("-L")).arg(format!("inet:{}", way.address));
    let begun = Instant::now();
    run(&command, b"").succeeds();
    support::eventually(|| is_done().then_some(())).expect("an empty queue");
    MESSAGES as f64 / begun.elapsed().as_secs_f64()
}

fn to() -> String {
    format!("alice@{}", World::domain(DOMAIN))
}

/// One message in a session of its own.
fn once(world: &World, way: Way, text: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut talk = world.namespace.inside(|| Talk::to(way.address));
    talk.reply("220");
    talk.send(if way.lmtp { "LHLO a\r\n" } else { "EHLO a\r\n" }).reply("250");
    talk.send_mail("bob@example.org", &[to()], text);
    let taken = begun.elapsed();
    talk.ask("QUIT", "221");
    taken
}

fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    values[values.len() / 2]
}

#[test]
fn mailward_is_no_slower_than_a_postfix_that_relays() {
    if !is_full() {
        return figure("speed on the way out: measured with the release build by tests/run --full alone");
    }
    let world = World::start();
    let _sink = sink(&world);
    let _gateway = relaying(&world, "").program(&release_build()).start();
    let postfix = Postfix::builder().trust("127.0.0.0/8").send_by("smtp").further("disable_dns_lookups = no\n");
    let postfix = postfix.start_in(&world.namespace);
    let direct = Way { name: "direct", address: (World::host(DOMAIN), 25).into(), lmtp: false };
    let lmtp = Way { name: "mailward by LMTP", address: relaying::LMTP, lmtp: true };
    let smtp = Way { name: "mailward by SMTP", address: relaying::SMTP, lmtp: false };
    let relay = Way { name: "Postfix", address: postfix.smtp(), lmtp: false };

    let ways = [lmtp, smtp, relay];
    let mut rates = ways.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (way, rates) in ways.iter().zip(&mut rates) {
            rates.push(rate(&world, *way, || *way != relay || postfix.queued() == 0));
        }
    }
    let [by_lmtp, by_smtp, by_postfix] = rates.map(|mut rates| median(&mut rates));
    figure(&format!(
        "{MESSAGES} messages of {LENGTH} bytes in {SESSIONS} sessions to one server: {by_lmtp:.0} per second through mailward \
         by LMTP, {by_smtp:.0} by SMTP; {by_postfix:.0} through Postfix"
    ));

    let text = message("speed", LENGTH);
    let ways = [direct, lmtp, smtp];
    let mut times = ways.map(|_| Vec::new());
    for _ in 0..SINGLE {
        for (way, times) in ways.iter().zip(&mut times) {
            times.push(once(&world, *way, &text));
        }
    }
    let [direct, by_lmtp_once, by_smtp_once] = times.map(|mut times| median(&mut times));
    figure(&format!(
        "one message at a time: {direct:.2?} straight to the server, {by_lmtp_once:.2?} through mailward by LMTP, \
         {by_smtp_once:.2?} by SMTP"
    ));

    // What it must not be, on whichever machine: what it is stands in the figures.
    assert!(by_lmtp > by_postfix / 2.0 && by_smtp > by_postfix / 2.0);
    assert!(by_lmtp_once < direct + Duration::from_millis(100) && by_smtp_once < direct + Duration::from_millis(100));
}
