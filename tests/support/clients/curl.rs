//! curl, for SMTP, IMAP and POP3.

use std::process::Command;

use super::target::{Security, Target};
use crate::support::{PASSWORD, Ran, run};

/// A curl command in the making.
#[derive(Debug)]
pub struct Curl {
    target: Target,
    scheme: &'static str,
    path: String,
    arguments: Vec<String>,
}

impl Curl {
    /// Talks SMTP or submission.
    pub fn smtp(target: &Target) -> Self {
        Self::new(target, ["smtp", "smtps"], "client.example.net")
    }

    /// Talks IMAP. The path is what follows the host in curl's URL: `INBOX;MAILINDEX=1` prints the first message, an empty one
    /// lists the folders.
    pub fn imap(target: &Target, path: &str) -> Self {
        Self::new(target, ["imap", "imaps"], path)
    }

    /// Talks POP3. The path `1` prints the first message, an empty one lists the messages.
    pub fn pop3(target: &Target, path: &str) -> Self {
        Self::new(target, ["pop3", "pop3s"], path)
    }

    /// Logs in as this user, with the password that every user has.
    pub fn login(self, user: &str) -> Self {
        self.arguments(&["--user", &format!("{user}:{PASSWORD}")])
    }

    /// Adds options, for what has no method here.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Sends a message with CRLF line ends, byte for byte.
    pub fn send(&self, from: &str, to: &str, message: &[u8]) -> Ran {
        run(self.command().args(["--mail-from", from, "--mail-rcpt", to, "--upload-file", "-"]), message)
    }

    /// Runs; standard output is what the server gave, standard error (with `--verbose`) the dialogue.
    pub fn run(&self) -> Ran {
        run(&self.command(), b"")
    }

    fn new(target: &Target, [starting_plain, implicit]: [&'static str; 2], path: &str) -> Self {
        let scheme = if target.security == Security::Implicit { implicit } else { starting_plain };
        Self { target: target.clone(), scheme, path: path.into(), arguments: Vec::new() }
    }

    fn command(&self) -> Command {
        let Target { security, name, .. } = &self.target;
        let port = self.target.port();
        let mut command = Command::new("curl");
        // -q: the machine's own .curlrc has no say.
        command.args(["-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "100"]);
        command.args(["--resolve", &format!("{name}:{port}:{}", self.target.host())]);
        if *security != Security::Plain {
            command.args(["--ssl-reqd", "--cacert", &self.target.authority()]);
        }
        command.args(&self.arguments);
        command.arg(format!("{}://{name}:{port}/{}", self.scheme, self.path));
        command
    }
}
