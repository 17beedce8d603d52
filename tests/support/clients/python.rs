//! Python's own mail clients, sievelib, and pyOpenSSL with its newer OpenSSL, by the scripts in `tests/support/python`.

use std::path::Path;
use std::process::Command;

use super::target::{Security, Target};
use crate::support::{PASSWORD, Ran, Running, Scratch, run, start};

/// The Python clients of one server.
#[derive(Debug)]
pub struct Python {
    target: Target,
}

impl Python {
    /// Talks with this server.
    pub fn at(target: &Target) -> Self {
        Self { target: target.clone() }
    }

    /// `smtplib`: sends a message with CRLF line ends byte for byte, logged in as `user` unless that is empty. Prints the EHLO
    /// keywords as they were at the end.
    pub fn smtp(&self, user: &str, from: &str, to: &str, message: &[u8]) -> Ran {
        run(self.script("smtp.py").args(["--user", user, from, to]), message)
    }

    /// `imaplib`: prints the last message of INBOX byte for byte.
    pub fn imap_fetch(&self, user: &str) -> Ran {
        run(self.script("imap.py").args(["--user", user, "fetch"]), b"")
    }

    /// `imaplib`: puts a message into INBOX by a literal.
    pub fn imap_append(&self, user: &str, message: &[u8]) -> Ran {
        run(self.script("imap.py").args(["--user", user, "append"]), message)
    }

    /// `imaplib`: prints the capabilities before and after the login.
    pub fn imap_capabilities(&self, user: &str) -> Ran {
        run(self.script("imap.py").args(["--user", user, "capabilities"]), b"")
    }

    /// `imaplib`: prints `idling` when INBOX is selected and IDLE accepted, then the line that announces a new message, then ends
    /// IDLE, logs out and prints `done`.
    pub fn imap_idle(&self, user: &str) -> Running {
        start(self.script("imap.py").args(["--user", user, "idle"]))
    }

    /// `poplib`: prints the last message byte for byte.
    pub fn pop3_fetch(&self, user: &str) -> Ran {
        run(self.script("pop3.py").args(["--user", user, "fetch"]), b"")
    }

    /// `poplib`: prints what CAPA lists before the login.
    pub fn pop3_capabilities(&self) -> Ran {
        run(self.script("pop3.py").arg("capabilities"), b"")
    }

    /// Logs in by this SASL mechanism (PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256) over `smtp`, `imap` or `pop3`, and prints `logged in`.
    /// SMTP sends the first response with the command if `initial` says so.
    pub fn login(&self, protocol: &str, mechanism: &str, initial: bool, user: &str) -> Ran {
        let initial: &[&str] = if initial { &["--initial"] } else { &[] };
        run(self.script("login.py").args(["--user", user, protocol, mechanism]).args(initial), b"")
    }

    /// sievelib: stores a script as `test`, makes it the active one, and prints it as the server gives it back.
    pub fn sieve(&self, user: &str, script: &str) -> Ran {
        // sievelib takes the authority from nowhere but OpenSSL's default place.
        let ca = self.target.authority();
        run(self.script("sieve.py").env("SSL_CERT_FILE", ca).args(["--user", user]), script.as_bytes())
    }

    /// pyOpenSSL: does a handshake offering these groups (OpenSSL's names, colons between), after STARTTLS of this protocol if the
    /// target says so. Prints `version`, `cipher` and `group` of what was agreed on, a line each, and the OpenSSL it is.
    pub fn handshake(&self, protocol: &str, groups: &str) -> Ran {
        let scratch = Scratch::new("openssl");
        let settings =
            format!("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nGroups = {groups}\n");
        let settings = scratch.write("openssl.cnf", settings);
        run(self.script("handshake.py").env("OPENSSL_CONF", settings).arg(protocol), b"")
    }

    fn script(&self, name: &str) -> Command {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venv").join("bin/python");
        assert!(python.exists(), "{} is missing; tests/run installs it", python.display());
        let mut command = Command::new(python);
        command.args(["-B", "-W", "ignore"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python").join(name));
        command.args(["--host", &self.target.host(), "--port", &self.target.port(), "--name", &self.target.name]);
        command.args(["--ca", &self.target.authority(), "--password", PASSWORD, "--security"]);
        command.arg(match self.target.security {
            Security::Plain => "plain",
            Security::StartTls => "starttls",
            Security::Implicit => "implicit",
        });
        command
    }
}
