//! Sessions that are logged in and silent, many at a time: what they cost in memory.

use std::net::SocketAddr;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::fake::Fake;
use super::talk::Talk;
use super::{Gateway, GatewayBuilder, plain};

/// A gateway for IMAP over TLS, whose backend is outside of its process, with room for crowds from one address.
pub fn imaps() -> (GatewayBuilder, Fake) {
    let backend = Fake::start(|talk, _| plain::serve("imap", talk));
    let builder = Gateway::builder().server("max-connections = 10000\nlimit.handshakes = 1000");
    (builder.implicit("imaps", "imap", backend.address()), backend)
}

/// So many sessions, logged in by a few threads at a time.
pub fn sessions(gateway: &Gateway, count: usize) -> Vec<Talk> {
    let address = gateway.address("imaps");
    let open = move |count| (0..count).map(|_| session(gateway, address)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let half = scope.spawn(move || open(count / 2));
        let mut all = open(count - count / 2);
        all.extend(half.join().expect("no session fails"));
        all
    })
}

fn session(gateway: &Gateway, address: SocketAddr) -> Talk {
    let mut talk = Talk::to(address).tls(gateway.authority.roots());
    plain::greet("imap", &mut talk);
    plain::log_in("imap", &mut talk);
    talk
}

/// Two descriptors of this process for each session, and some more.
pub fn allow_descriptors(count: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
    let needed = 2 * count as u64 + 256;
    assert!(maximum.is_none_or(|most| most >= needed), "this test needs a hard limit of {needed} descriptors");
}
