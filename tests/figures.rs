//! What an idle session costs (spec §7, promise 8).

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use mailward::{
    config,
    inbound::{World, session::size_of_future},
    net::{dns::Resolver, stage::stages},
    snapshot::{Lasting, Service, Snapshot},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Fake, Gateway, GatewayBuilder, Talk, figure, is_full, plain, release_build, size};
use tokio::sync::Semaphore;

/// What the future of a session may have at most, in bytes.
const FUTURE: usize = 2_048;

/// What an idle session may cost at most in the debug build, in bytes: two sockets' tasks, a TLS connection, its record.
const IDLE: u64 = 40_000;

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

/// A gateway for IMAP over TLS, whose backend is outside of its process.
fn imaps() -> (GatewayBuilder, Fake) {
    let backend = Fake::start(|talk, _| plain::serve("imap", talk));
    let builder = Gateway::builder().server("max-connections = 10000\nlimit.handshakes = 1000");
    (builder.implicit("imaps", "imap", backend.address()), backend)
}

fn session(gateway: &Gateway, address: SocketAddr) -> Talk {
    let mut talk = Talk::to(address).tls(gateway.authority.roots());
    plain::greet("imap", &mut talk);
    plain::log_in("imap", &mut talk);
    talk
}

/// So many sessions, logged in by a few threads at a time.
fn sessions(gateway: &Gateway, count: usize) -> Vec<Talk> {
    let address = gateway.address("imaps");
    let open = move |count| (0..count).map(|_| session(gateway, address)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let half = scope.spawn(move || open(count / 2));
        let mut all = open(count - count / 2);
        all.extend(half.join().expect("no session fails"));
        all
    })
}

/// Two descriptors of this process for each session, and some more.
fn allow_descriptors(count: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
    let needed = 2 * count as u64 + 256;
    assert!(maximum.is_none_or(|most| most >= needed), "this test needs a hard limit of {needed} descriptors");
}

/// Memory for each session, idle after the login and idle after a download of 256 KiB.
fn measure(gateway: &Gateway, build: &str, count: usize) -> [u64; 2] {
    // What is needed once, and not for each session.
    drop(sessions(gateway, 20));
    let before = gateway.proportional_set();
    let mut talks = sessions(gateway, count);
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
        "memory for each of {count} idle IMAPS sessions ({build} build, Pss): {idle} bytes after the login, {after} after \
         a download of 256 KiB"
    ));
    [idle, after]
}

#[test]
fn an_idle_session_costs_little_and_a_download_leaves_nothing_behind() {
    let count = size("idle sessions", 300, 2_000);
    allow_descriptors(count);
    let (builder, _backend) = imaps();
    let [idle, after] = measure(&builder.start(), "debug", count);
    assert!(idle <= IDLE, "{idle} bytes for each session");
    // A buffer that stays would be of 16 KiB at least: a TLS record.
    assert!(after <= idle + 12_000, "{after} bytes for each session after a download, {idle} before");
}

/// The release build takes minutes, so that it is left to the long run.
#[test]
fn an_idle_session_of_the_release_build_costs_no_more() {
    if !is_full() {
        return figure("memory of the release build: measured by tests/run --full alone");
    }
    let count = 2_000;
    allow_descriptors(count);
    let (builder, _backend) = imaps();
    let [idle, after] = measure(&builder.program(&release_build()).start(), "release", count);
    assert!(idle <= IDLE && after <= idle + 12_000, "{idle} and {after} bytes for each session");
}
