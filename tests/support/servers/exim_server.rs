//! Exim as a server: SMTP in plaintext, delivering everything into one maildir.

use std::net::SocketAddr;
use std::process::Command;

use super::dovecot::{greets, messages_in};
use super::exim::program;
use super::template::{fill, number_of};
use crate::support::process::port::{Port, reserve_port};
use crate::support::process::supervised::Supervised;
use crate::support::{HOST, Scratch};

/// A running Exim that takes mail.
#[derive(Debug)]
pub struct EximServer {
    #[allow(dead_code, reason = "it runs as long as it is held")]
    server: Supervised,
    smtp: Port,
    scratch: Scratch,
}

impl EximServer {
    /// Starts it and waits until it greets.
    pub fn start() -> Self {
        let (smtp, scratch) = (reserve_port(), Scratch::new("exim-server"));
        let user = number_of("/etc/passwd", "Debian-exim");
        for name in ["spool", "log", "mail"] {
            scratch.directory_of(name, user, user, 0o750);
        }
        // Exim starts itself again as its own user, who may have no way into the checkout.
        let exim = scratch.program("exim", &program());
        let values = [
            ("DIR", scratch.path().display().to_string()),
            ("EXIM", exim.display().to_string()),
            ("HOST", HOST.to_string()),
            ("PORT", smtp.number().to_string()),
        ];
        let text = fill("exim/server.conf", &values.each_ref().map(|(name, value)| (*name, value.as_str())));
        let mut command = Command::new(exim);
        // -bdf: as a daemon in the foreground; -q1h: whatever could not be delivered at once is tried again.
        command.arg("-C").arg(scratch.write("exim.conf", text)).args(["-bdf", "-q1h"]);
        let address = smtp.address();
        let server = Supervised::start(&command, scratch.path(), || greets(address, "220 "));
        Self { server, smtp, scratch }
    }

    /// Where SMTP is served.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp.address()
    }

    /// The messages that it delivered, as stored (LF line ends).
    pub fn messages(&self) -> Vec<Vec<u8>> {
        messages_in(&self.scratch.join("mail"))
    }
}
