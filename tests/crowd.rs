//! Crowds that only want places, beside a client that wants its mail: it is served in less than a second all the while, memory
//! stays within its bound, and when the crowd has gone no place and no descriptor is held for it. The second is the release build's, which
//! `tests/run --full` measures.
//!
//! The crowds come from processes of their own, since one may not have descriptors for so many.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use support::{Fake, Gateway, Running, Talk, eventually, figure, is_full, plain, release_build, size, start};

/// Who wants mail.
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
/// Where a crowd comes from, and the first of the addresses where a large one does.
const ROGUE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const ROGUES: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 0);

/// How many processes a crowd is made of, and how many come in a second to each listener.
const PROCESSES: usize = 4;
const RATE: usize = 4000;

/// What a place may cost beyond what the gateway has when it is idle: a stalled handshake, which is the dearest.
const PLACE: u64 = 24 * 1024;
/// What the tables of clients may cost, which are bounded by themselves.
const TABLES: u64 = 48 << 20;

/// How they behave, and at which listener.
const MANNERS: [(&str, &str); 4] = [("silent", "smtp"), ("half", "smtp"), ("command", "smtp"), ("handshake", "imaps")];

/// One crowd at a time: what is measured is how it is beside one.
static ALONE: Mutex<()> = Mutex::new(());

struct Bed {
    _alone: MutexGuard<'static, ()>,
    gateway: Gateway,
    smtp: SocketAddr,
    imaps: SocketAddr,
    count: usize,
    places: usize,
    idle: u64,
}

fn bed() -> Bed {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = size("connections of a crowd", 3000, 20_000);
    let places = count * 2 / 5;
    let lines = format!(
        "max-connections = {places}\ntimeout.crowded = \"100ms\"\nlimit.client-connections = 50\nlimit.handshakes = {places}"
    );
    let mut builder = Gateway::builder()
        .server(&lines)
        .listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
        .implicit("imaps", "imap", Fake::start(|talk, _| plain::serve("imap", talk)).address());
    if is_full() {
        builder = builder.program(&release_build());
    }
    let gateway = builder.start();
    // They are in the log, which a crowd makes long.
    let (smtp, imaps) = (gateway.address("smtp"), gateway.address("imaps"));
    let mut bed = Bed { _alone: alone, gateway, smtp, imaps, count, places, idle: 0 };
    bed.visit();
    bed.idle = bed.gateway.memory();
    bed
}

/// How long an honest client may take from its connection to the end of its session.
fn patience() -> Duration {
    Duration::from_secs(if is_full() { 1 } else { 4 })
}

/// What goes on until this is dropped, by a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Bed {
    /// One client of each listener, from the connection to the end of its session: the longer of both times.
    fn visit(&self) -> Duration {
        let roots = || self.gateway.authority.roots();
        let began = Instant::now();
        let mut imap = Talk::from(HONEST, self.imaps).tls(roots());
        plain::greet("imap", &mut imap);
        plain::log_in("imap", &mut imap);
        imap.send("o LOGOUT\r\n").until("o OK");
        let (imap, began) = (began.elapsed(), Instant::now());
        let mut smtp = Talk::from(HONEST, self.smtp);
        plain::greet("smtp", &mut smtp);
        plain::start_tls("smtp", &mut smtp);
        let mut smtp = smtp.tls(roots());
        plain::log_in("smtp", &mut smtp);
        smtp.ask("QUIT", "221");
        imap.max(began.elapsed())
    }

    fn crowd(&self, listener: &str, manner: &str, source: Ipv4Addr, spread: bool) -> Vec<Running> {
        let address = if listener == "smtp" { self.smtp } else { self.imaps };
        let each = self.count / PROCESSES;
        let process = |number: usize| {
            let first = if spread {
                u32::from(source) + u32::try_from(number * each).expect("a number")
            } else {
                source.into()
            };
            let spread = if spread { each } else { 1 };
            // What it costs to be a crowd is not what is measured.
            let mut command = Command::new("nice");
            command
                .args(["-n", "19", "python3"])
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/crowd.py"));
            command.args([address.ip().to_string(), address.port().to_string(), each.to_string()]);
            command.args([(RATE / PROCESSES).to_string(), manner.to_owned()]);
            command.args([Ipv4Addr::from_bits(first).to_string(), spread.to_string()]);
            start(&command)
        };
        (0..PROCESSES).map(process).collect()
    }

    /// Lets a crowd come, and go, and has honest clients served meanwhile.
    fn stand(&self, listener: &str, manner: &str, source: Ipv4Addr, spread: bool) {
        let over = AtomicBool::new(false);
        let (times, most) = thread::scope(|scope| {
            let visits = scope.spawn(|| {
                let mut times = vec![self.visit()];
                while !over.load(Relaxed) {
                    times.push(self.visit());
                }
                times
            });
            let memory = scope.spawn(|| {
                let mut most = 0;
                while !over.load(Relaxed) {
                    most = most.max(self.gateway.memory());
                    thread::sleep(Duration::from_millis(100));
                }
                most
            });
            let over = Ends(&over);
            let mut crowd = self.crowd(listener, manner, source, spread);
            for process in &mut crowd {
                assert_eq!(process.line(), "all have come");
            }
            // They hold on for as long as it takes to be noticed.
            thread::sleep(Duration::from_secs(1));
            drop(crowd);
            drop(over);
            (visits.join().expect("every visit is served"), memory.join().expect("figures"))
        });
        let from = if spread { "as many addresses" } else { "one address" };
        let what = format!("{} {manner} connections from {from}", self.count);
        let slowest = times.iter().max().copied().unwrap_or_default();
        assert!(times.len() > 3 && slowest < patience(), "{what}: {times:?}");
        assert!(most < self.bound(), "{what}: {most} bytes, and {} are the bound", self.bound());
        let grown = most.saturating_sub(self.idle) >> 20;
        figure(&format!("{what}: {} visits, the slowest {slowest:?}, {grown} MiB more", times.len()));
    }

    /// The most memory that a crowd may cost, in bytes.
    fn bound(&self) -> u64 {
        self.idle + PLACE * self.places as u64 + TABLES
    }

    /// Nothing is held any more of what was there for a crowd.
    fn is_as_before(&self) {
        let open = || std::fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).map_or(usize::MAX, Iterator::count);
        let over = eventually(|| (open() < 100).then_some(()));
        assert!(over.is_some(), "{} descriptors are left", open());
        // What is not given back yet is there for the next crowd: four of them have needed no more than one may.
        let kept = self.gateway.memory();
        assert!(kept < self.bound(), "{kept} bytes are left");
        figure(&format!("after the crowds {} MiB are not given back yet", kept.saturating_sub(self.idle) >> 20));
        assert!(self.visit() < patience());
    }
}

#[test]
fn a_crowd_from_one_address_takes_no_more_than_its_places() {
    let bed = bed();
    for (manner, listener) in MANNERS {
        bed.stand(listener, manner, ROGUE, false);
    }
    bed.is_as_before();
    bed.gateway.log_line("the summary", |line| line["reason"] == "client-connections" && line["refused"].is_u64());
}

#[test]
fn a_crowd_from_many_addresses_makes_room_for_who_gets_on() {
    let bed = bed();
    for (manner, listener) in MANNERS {
        bed.stand(listener, manner, ROGUES, true);
    }
    bed.is_as_before();
    bed.gateway.log_line("one that had to go", |line| line["reason"] == "crowded-out");
}
