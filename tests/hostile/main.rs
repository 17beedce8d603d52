//! Clients as they should not be: what mailward does with each, and what its backend never learns of it.

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod endings;
mod hidden;
mod limits;
mod logs;
mod slow;
mod smuggling;

use support::{DIALECTS, Dialect, Gateway, GatewayBuilder, Talk, Witness};

/// Every protocol, with STARTTLS (by its name) and with TLS from the first byte (its name with an `s` behind it), each in
/// front of a witness.
struct World {
    gateway: Gateway,
    backends: Vec<(&'static Dialect, Witness)>,
}

/// All of it, with these lines in `[server]`.
fn world(server: &str) -> World {
    let backends: Vec<_> = DIALECTS.iter().map(|dialect| (dialect, Witness::start(dialect))).collect();
    let builder = backends
        .iter()
        .fold(Gateway::builder().server(server), |builder, (dialect, witness)| listeners(builder, dialect, witness));
    World { gateway: builder.start(), backends }
}

fn listeners(builder: GatewayBuilder, dialect: &Dialect, witness: &Witness) -> GatewayBuilder {
    let name = dialect.protocol;
    builder.listener(name, name, witness.address()).implicit(&implicit(dialect), name, witness.address())
}

/// The listener with TLS from the first byte.
fn implicit(dialect: &Dialect) -> String {
    format!("{}s", dialect.protocol)
}

/// Goes to where a client's next command is answered.
type Enter = fn(&Dialect, &Gateway) -> Talk;

/// Both places where a client can misbehave, and how to get there: before TLS, and inside it before the login.
const STAGES: [(&str, Enter); 2] = [
    ("before TLS", |dialect, gateway| dialect.connect(gateway, dialect.protocol)),
    ("inside TLS", |dialect, gateway| dialect.enter(gateway, &implicit(dialect))),
];
