//! What an idle session costs (spec §7, promise 8). What it costs in a build that is optimised: `guard.rs`.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mailward::{
    config,
    inbound::{World, session::size_of_future},
    net::{dns::Resolver, stage::stages},
    snapshot::{Lasting, Service, Snapshot},
};
use support::{Gateway, eventually_within, figure, idle, plain, size};
use tokio::sync::Semaphore;

/// What the future of a session may have at most, in bytes.
const FUTURE: usize = 1_184;

/// What an idle session may cost at most in the debug build, in bytes: two sockets' tasks, a TLS connection, its record.
const IDLE: u64 = 40_000;

/// Held by whoever measures: pages of the program's file are shared with another mailward, and count anew when that starts or ends.
static ALONE: Mutex<()> = Mutex::new(());

/// How long memory may stay when it is needed no more. It is given back within two seconds; the machine may have much else to do.
const RETURN: Duration = Duration::from_secs(10);

#[test]
fn the_future_of_an_idle_session_is_small() {
    let text = "[server.listener.imaps]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\ntls.implicit = true\n\
                [certificate.main]\nself-signed = [\"localhost\"]\n[backend.mail]\naddress = \"127.0.0.1:1\"\n";
    let (config, mut problems) = config::parse(text, Path::new("proxy.toml")).expect("a good configuration");
    let built = Snapshot::build(config, &Lasting::default(), false, &mut problems);
    let snapshot = built.expect("a snapshot").snapshot;
    let Service::Mail(mail) = &snapshot.entry("imaps").expect("a listener").service else { panic!("it is for mail") };
    assert!(!problems.fatal());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bytes = runtime.block_on(async {
        let (_, stages) = stages();
        let world = World {
            resolver: Resolver::new(tokio::runtime::Handle::current()),
            handshakes: Arc::new(Semaphore::new(1)),
            gate: Arc::default(),
            stages,
            sessions: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        size_of_future(mail.clone(), Arc::new(world), stream)
    });
    figure(&format!("the future of a session: {bytes} bytes"));
    assert!(bytes <= FUTURE, "{bytes} bytes");
}

/// Memory for each session, idle after the login and idle after a download of 256 KiB.
fn measure(gateway: &Gateway, count: usize) -> [u64; 2] {
    // What is needed once, and not for each session.
    drop(idle::sessions(gateway, 20));
    let before = gateway.proportional_set();
    let mut talks = idle::sessions(gateway, count);
    let each = |after: u64| after.saturating_sub(before) / count as u64;
    let idle = each(gateway.proportional_set());
    for talk in &mut talks {
        talk.send("f FETCH 262144\r\n").until("f OK");
    }
    let after = each(gateway.proportional_set());
    for talk in &mut talks {
        plain::nothing("imap", talk);
    }
    figure(&format!(
        "memory for each of {count} idle IMAPS sessions (debug build, Pss): {idle} bytes after the login, {after} after \
         a download of 256 KiB"
    ));
    [idle, after]
}

#[test]
fn an_idle_session_costs_little_and_a_download_leaves_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = size("idle sessions", 300, 2_000);
    idle::allow_descriptors(count);
    let (builder, _backend) = idle::imaps();
    let [idle, after] = measure(&builder.start(), count);
    assert!(idle <= IDLE, "{idle} bytes for each session");
    // A buffer that stays would be of 16 KiB at least: a TLS record.
    assert!(after <= idle + 12_000, "{after} bytes for each session after a download, {idle} before");
}

#[test]
fn memory_is_given_back_after_a_storm() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = size("sessions of a storm", 1_500, 8_000);
    idle::allow_descriptors(count);
    let (builder, _backend) = idle::imaps();
    let gateway = builder.start();
    // What is needed once, and not for each session.
    drop(idle::sessions(&gateway, 20));
    let before = gateway.memory_in_silence();
    let storm = idle::sessions(&gateway, count);
    let needed = gateway.memory() - before;
    let over = Instant::now();
    drop(storm);
    let kept = || gateway.memory().saturating_sub(before);
    let taken = eventually_within(RETURN, || (kept() <= needed / 10).then(|| over.elapsed()));
    let taken = taken.unwrap_or_else(|| panic!("{} of {needed} bytes are kept after {RETURN:?}", kept()));
    let needed = needed >> 20;
    figure(&format!("nine tenths of the {needed} MiB of {count} idle sessions are given back within {taken:.1?}"));
}
