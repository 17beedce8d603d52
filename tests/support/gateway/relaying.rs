//! mailward on the way out, inside of a world.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{Gateway, GatewayBuilder};
use crate::support::World;

/// The listener for LMTP, and the one for SMTP.
pub const LMTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2424);
/// The listener for SMTP.
pub const SMTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

/// A gateway with both listeners in the world's namespace, which believes in the world's authority and has further
/// `tables`. TLS with a remote may take two seconds.
pub fn relaying(world: &World, tables: &str) -> GatewayBuilder {
    let builder = Gateway::builder().under(&world.namespace.prefix());
    let text = configuration(&world.scratch.join("ca.pem"), &builder.scratch().join("state"), tables);
    builder.whole(&text)
}

fn configuration(ca: &Path, state: &Path, tables: &str) -> String {
    format!(
        "[server]\nhostname = \"gate.test\"\nca = [\"{}\"]\nstate = \"{}\"\nworkers = 2\n\
         [server.listener.lmtp]\nbind = \"{LMTP}\"\nprotocol = \"lmtp\"\nrelay = true\n\
         [server.listener.smtp]\nbind = \"{SMTP}\"\nprotocol = \"smtp\"\nrelay = true\n\
         [queue.tls.default]\ntimeout.tls = \"2s\"\n[queue.tls.invalid-tls]\ntimeout.tls = \"2s\"\nallow-invalid-certs = true\n\
         {tables}",
        ca.display(),
        state.display()
    )
}
