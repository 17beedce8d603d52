//! mailward's own part of TLS, and the player that holds its records against rustls.

#[path = "../../../src/tls/hello.rs"]
#[allow(dead_code, reason = "the target looks at one thing in it")]
mod hello;
#[path = "../../../src/tls/play/mod.rs"]
#[allow(dead_code, reason = "the unit tests need more of it")]
mod play;
#[path = "../../../src/tls/record/mod.rs"]
mod record;
#[path = "../../../src/tls/stream.rs"]
mod stream;

pub use hello::offered_version;

/// Plays what a client sends behind its handshake to plain rustls and to mailward's records; panics where there is a difference.
pub fn play(data: &[u8]) {
    let _ = play::play(data);
}
