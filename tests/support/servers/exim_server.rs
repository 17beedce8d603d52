//! Exim as a server: SMTP, delivering everything into one maildir.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::dovecot::{greets, messages_in};
use super::exim::program;
use super::template::{fill, number_of};
use crate::support::Scratch;
use crate::support::namespace::Namespace;
use crate::support::process::port::{Port, reserve_port};
use crate::support::process::supervised::Supervised;

/// A running Exim that takes mail.
#[derive(Debug)]
pub struct EximServer {
    #[allow(dead_code, reason = "it runs as long as it is held")]
    server: Supervised,
    smtp: SocketAddr,
    #[allow(dead_code, reason = "nobody else takes it")]
    port: Option<Port>,
    scratch: Scratch,
}

impl EximServer {
    /// Starts it, without TLS, and waits until it greets.
    pub fn start() -> Self {
        let port = reserve_port();
        let address = port.address();
        let mut server = Self::start_at(address, None, |program| Command::new(program), || greets(address, "220 "));
        server.port = Some(port);
        server
    }

    /// Starts it on port 25 of an address in a namespace, with STARTTLS by this certificate.
    pub fn mail_host(namespace: &Namespace, address: &str, certificate: &Path, key: &Path) -> Self {
        let address = SocketAddr::new(address.parse().expect("an address"), 25);
        let program = |program: &Path| namespace.command(&program.display().to_string());
        Self::start_at(address, Some((certificate, key)), program, || namespace.inside(|| greets(address, "220 ")))
    }

    fn start_at(
        smtp: SocketAddr,
        tls: Option<(&Path, &Path)>,
        command: impl Fn(&Path) -> Command,
        greets: impl Fn() -> bool,
    ) -> Self {
        let scratch = Scratch::new("exim-server");
        let user = number_of("/etc/passwd", "Debian-exim");
        for name in ["spool", "log", "mail"] {
            scratch.directory_of(name, user, user, 0o750);
        }
        // Exim starts itself again as its own user, who may have no way into the checkout.
        let exim = scratch.program("exim", &program());
        let values = [
            ("DIR", scratch.path().display().to_string()),
            ("EXIM", exim.display().to_string()),
            ("HOST", smtp.ip().to_string()),
            ("PORT", smtp.port().to_string()),
            ("TLS", if tls.is_some() { "*" } else { "" }.into()),
            ("CERTIFICATE", tls.map(|(certificate, _)| certificate.display().to_string()).unwrap_or_default()),
            ("KEY", tls.map(|(_, key)| key.display().to_string()).unwrap_or_default()),
        ];
        let text = fill("exim/server.conf", &values.each_ref().map(|(name, value)| (*name, value.as_str())));
        let mut command = command(&exim);
        // -bdf: as a daemon in the foreground; -q1h: whatever could not be delivered at once is tried again.
        command.arg("-C").arg(scratch.write("exim.conf", text)).args(["-bdf", "-q1h"]);
        let server = Supervised::start(&command, scratch.path(), greets);
        Self { server, smtp, port: None, scratch }
    }

    /// Where SMTP is served.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// The messages that it delivered, as stored (LF line ends).
    pub fn messages(&self) -> Vec<Vec<u8>> {
        messages_in(&self.scratch.join("mail"))
    }
}
