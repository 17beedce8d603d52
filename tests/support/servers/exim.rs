//! Exim as a sender: it takes messages and hands each at once to one host, by BDAT where that offers CHUNKING.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::template::{fill, number_of};
use crate::support::namespace::Namespace;
use crate::support::{Ran, Scratch, run, run_within};

/// Where Exim sends, and how.
#[derive(Debug)]
pub struct Exim {
    to: SocketAddr,
    tls: Option<(PathBuf, String)>,
    chunking: bool,
    lmtp: bool,
}

impl Exim {
    /// An Exim that sends to this address without TLS, by BDAT if it may.
    pub fn to(address: SocketAddr) -> Self {
        Self { to: address, tls: None, chunking: true, lmtp: false }
    }

    /// Sends only after STARTTLS, naming this server, and only if `ca` vouches for the certificate.
    pub fn tls(mut self, server_name: &str, ca: &Path) -> Self {
        self.tls = Some((ca.to_owned(), server_name.to_owned()));
        self
    }

    /// Sends by DATA, whatever is offered.
    pub fn by_data(mut self) -> Self {
        self.chunking = false;
        self
    }

    /// Sends by LMTP.
    pub fn lmtp(mut self) -> Self {
        self.lmtp = true;
        self
    }

    /// Sends a message and waits for the outcome: exit code 0 means that Exim took it, its log (printed to standard error, with
    /// `=>` for each delivery, `==` or `**` for a failed one) what became of it.
    pub fn send(&self, from: &str, to: &[&str], message: &[u8]) -> Ran {
        let (scratch, exim) = self.lay_out();
        let mut command = Command::new(exim);
        command.arg("-C").arg(scratch.join("exim.conf")).args(SEND).args(["-f", from]).args(to);
        let mut ran = run(&command, message);
        ran.err += &std::fs::read_to_string(scratch.join("log/mainlog")).unwrap_or_default();
        ran
    }

    /// An Exim with a queue, in a namespace.
    pub fn queue_in(self, namespace: &Namespace) -> EximQueue {
        let (scratch, exim) = self.lay_out();
        let command = namespace.command(&exim.display().to_string());
        EximQueue { command, scratch }
    }

    /// Makes its directories and its configuration. Returns where its program is.
    fn lay_out(&self) -> (Scratch, PathBuf) {
        let scratch = Scratch::new("exim");
        let user = number_of("/etc/passwd", "Debian-exim");
        scratch.directory_of("spool", user, user, 0o750);
        scratch.directory_of("log", user, user, 0o750);
        // Exim starts itself again as its own user, who may have no way into the checkout.
        let exim = scratch.program("exim", &program());
        scratch.write("exim.conf", self.configuration(scratch.path(), &exim));
        (scratch, exim)
    }

    fn configuration(&self, directory: &Path, exim: &Path) -> String {
        let yes = |is: bool| if is { "*" } else { "" };
        let tls = self.tls.is_some();
        let values = [
            ("DIR", directory.display().to_string()),
            ("EXIM", exim.display().to_string()),
            ("HOST", self.to.ip().to_string().replace(':', "::")),
            ("PORT", self.to.port().to_string()),
            ("PROTOCOL", if self.lmtp { "lmtp" } else { "smtp" }.into()),
            ("CHUNKING", yes(self.chunking).into()),
            ("REQUIRE_TLS", yes(tls).into()),
            ("AVOID_TLS", yes(!tls).into()),
            ("CA", self.tls.as_ref().map(|(ca, _)| ca.display().to_string()).unwrap_or_default()),
            ("SERVER_NAME", self.tls.as_ref().map(|(_, name)| name.clone()).unwrap_or_default()),
        ];
        fill("exim/exim.conf", &values.each_ref().map(|(name, value)| (*name, value.as_str())))
    }
}

/// -odf delivers before it returns; with -i a line of a single dot does not end the message.
const SEND: [&str; 2] = ["-odf", "-i"];

/// An Exim that keeps what it cannot deliver. It runs only while it is told to do something.
#[derive(Debug)]
pub struct EximQueue {
    command: Command,
    scratch: Scratch,
}

impl EximQueue {
    /// Who is told what could not be delivered: Exim itself, which throws it away.
    pub const SENDER: &str = "bob@exim.example.net";

    /// Takes a message, and tries once to deliver it.
    pub fn send(&self, limit: Duration, to: &[&str], message: &[u8]) {
        let mut command = self.command();
        command.args(SEND).args(["-f", Self::SENDER]).args(to);
        run_within(limit, &command, message).succeeds();
    }

    /// Tries to deliver what waits, whenever it was tried last.
    pub fn flush(&self) {
        run(self.command().arg("-qff"), b"").succeeds();
    }

    /// How many messages wait to be delivered.
    pub fn queued(&self) -> usize {
        let printed = run(self.command().arg("-bpc"), b"").succeeds().text();
        printed.trim().parse().expect("a count")
    }

    /// Its log: `=>` and `->` for each delivery, `==` or `**` for a failed one.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log/mainlog")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).arg("-C").arg(self.scratch.join("exim.conf"));
        command
    }
}

/// Exim conflicts with Postfix as a package, so `tests/run` unpacks it here.
pub(super) fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("exim").join("usr/sbin/exim4");
    assert!(program.exists(), "{} is missing; tests/run installs it", program.display());
    program
}
