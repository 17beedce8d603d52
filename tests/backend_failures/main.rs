//! A backend's bad days: whatever it does, the client is told what is true, in bounded time, and the next one is served.
//!
//! Never a 5xx of ours for a fault of the backend's, never a success that it did not give (spec §4.3).

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod dial;
mod loss;
mod refusal;
mod relaying;

use std::net::SocketAddr;
use std::time::Duration;

use support::{Dialect, Gateway, GatewayBuilder, Talk};

/// How long a noisy machine may take for what should take a moment.
const LATEST: Duration = Duration::from_secs(15);

/// Adds a protocol's two listeners in front of one backend.
fn in_front_of(builder: GatewayBuilder, dialect: &Dialect, backend: SocketAddr) -> GatewayBuilder {
    let name = dialect.protocol;
    builder.listener(name, name, backend).implicit(&implicit(dialect), name, backend)
}

/// The listener with TLS from the first byte.
fn implicit(dialect: &Dialect) -> String {
    format!("{}s", dialect.protocol)
}

/// A handshake with the listener that has TLS from the first byte, and nothing read.
fn knock(dialect: &Dialect, gateway: &Gateway) -> Talk {
    Talk::to(gateway.address(&implicit(dialect))).tls(gateway.authority.roots())
}

/// A greeting in good order, with nothing to hide.
fn greeting(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" => "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n",
        "pop3" => "+OK ready\r\n",
        "managesieve" => "\"SASL\" \"PLAIN\"\r\nOK \"ready\"\r\n",
        _ => "220 ready\r\n",
    }
}

/// Closes a connection by a reset.
fn reset(talk: &Talk) {
    socket2::SockRef::from(talk.socket()).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
}
