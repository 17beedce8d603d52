//! swaks, the SMTP test tool.

use std::process::Command;

use super::target::{Security, Target};
use crate::support::{PASSWORD, Ran, Scratch, run, stuffed};

/// A swaks command in the making. What it prints is the whole dialogue; its exit code tells the step that failed.
#[derive(Debug)]
pub struct Swaks {
    target: Target,
    arguments: Vec<String>,
}

impl Swaks {
    /// Talks SMTP with this server.
    pub fn at(target: &Target) -> Self {
        Self { target: target.clone(), arguments: Vec::new() }
    }

    /// Logs in with PLAIN as this user, with the password that every user has.
    pub fn login(self, user: &str) -> Self {
        self.arguments(&["--auth", "PLAIN", "--auth-user", user, "--auth-password", PASSWORD])
    }

    /// Speaks LMTP.
    pub fn lmtp(self) -> Self {
        self.arguments(&["--protocol", "LMTP"])
    }

    /// Adds options, for what has no method here.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Sends a message with CRLF line ends, byte for byte.
    pub fn send(&self, from: &str, to: &str, message: &[u8]) -> Ran {
        let scratch = Scratch::new("swaks");
        let stuffed = stuffed(message);
        // Left alone as told, swaks adds nothing but the last line end.
        let content = stuffed.strip_suffix(b"\r\n").expect("the final dot has a line end");
        let data = format!("@{}", scratch.write("message", content).display());
        run(self.command().args(["--from", from, "--to", to, "--no-data-fixup", "--data", &data]), b"")
    }

    /// Runs without a message of the test's; `--quit-after` and the like tell where to stop.
    pub fn run(&self) -> Ran {
        run(&self.command(), b"")
    }

    fn command(&self) -> Command {
        let Target { security, name, .. } = &self.target;
        let mut command = Command::new("swaks");
        command.args(["--server", &self.target.host(), "--port", &self.target.port()]);
        command.args(["--helo", "client.example.net", "--timeout", "60"]);
        match security {
            Security::Plain => {}
            Security::StartTls => drop(command.arg("--tls")),
            Security::Implicit => drop(command.arg("--tls-on-connect")),
        }
        if *security != Security::Plain {
            command.args(["--tls-verify", "--tls-ca-path", &self.target.authority(), "--tls-sni", name]);
        }
        command.args(&self.arguments);
        command
    }
}
