//! `openssl s_client`: the independent view on what TLS was agreed on.

use std::process::Command;

use super::target::{Security, Target};
use crate::support::{Ran, Running, run, start};

/// An `openssl s_client` command in the making.
#[derive(Debug)]
pub struct SClient {
    target: Target,
    protocol: String,
    server_name: String,
    verify: bool,
    arguments: Vec<String>,
}

/// What s_client reports of a handshake.
#[derive(Debug)]
pub struct Handshake {
    report: String,
}

impl SClient {
    /// Connects to this server, and fails unless the certificate is the target's; `protocol` names it for STARTTLS as s_client does:
    /// smtp, lmtp, imap, pop3, sieve.
    pub fn at(target: &Target, protocol: &str) -> Self {
        Self {
            target: target.clone(),
            protocol: protocol.into(),
            server_name: target.name.clone(),
            verify: true,
            arguments: Vec::new(),
        }
    }

    /// Sends this name as SNI instead of the target's, and takes any certificate; an empty one sends none.
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = name.into();
        self.verify = false;
        self
    }

    /// Offers only this version, as an option of s_client: `-tls1_2`, `-tls1_3`.
    pub fn version(self, option: &str) -> Self {
        self.arguments(&[option])
    }

    /// Offers only these cipher suites of TLS 1.2, by OpenSSL's names, in this order.
    pub fn ciphers(self, names: &str) -> Self {
        self.arguments(&["-cipher", names])
    }

    /// Offers only these cipher suites of TLS 1.3, in this order.
    pub fn suites(self, names: &str) -> Self {
        self.arguments(&["-ciphersuites", names])
    }

    /// Offers only these groups, in this order.
    pub fn groups(self, names: &str) -> Self {
        self.arguments(&["-groups", names])
    }

    /// Offers only these signature algorithms: `RSA-PSS+SHA256`, `ECDSA+SHA256`.
    pub fn signatures(self, names: &str) -> Self {
        self.arguments(&["-sigalgs", names])
    }

    /// Offers these protocols by ALPN.
    pub fn alpn(self, names: &str) -> Self {
        self.arguments(&["-alpn", names])
    }

    /// Adds options, for what has no method here.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Does the handshake and closes; panics unless it succeeded.
    #[track_caller]
    pub fn handshake(self) -> Handshake {
        Handshake { report: self.run().succeeds().all() }
    }

    /// Does the handshake and closes, whatever becomes of it.
    pub fn run(self) -> Ran {
        run(&self.command(), b"")
    }

    /// Does the handshake, sends these bytes, and prints what the server says until it closes. The last command must make it.
    pub fn talk(self, bytes: &[u8]) -> Ran {
        run(&self.arguments(&["-quiet"]).command(), bytes)
    }

    /// Does the handshake, sends these bytes, reads until the server closes, and reports of the handshake; panics unless it succeeded.
    #[track_caller]
    pub fn converse(self, bytes: &[u8]) -> Handshake {
        Handshake { report: run(&self.arguments(&["-ign_eof"]).command(), bytes).succeeds().all() }
    }

    /// Connects and waits for lines to send, ended by CRLF, with all handshake messages among what it prints. A line that begins with `K`,
    /// `k` or `R` is an order to s_client itself, with all that it reads at once.
    pub fn typed(self) -> Running {
        start(self.connecting().args(["-crlf", "-msg"]))
    }

    fn command(&self) -> Command {
        let mut command = self.connecting();
        command.arg("-nocommands");
        command
    }

    fn connecting(&self) -> Command {
        let Target { address, security, name, .. } = &self.target;
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string()]);
        match security {
            Security::StartTls => drop(command.args(["-starttls", &self.protocol, "-name", "client.example.net"])),
            Security::Implicit => {}
            Security::Plain => panic!("s_client speaks TLS"),
        }
        match self.server_name.as_str() {
            "" => drop(command.arg("-noservername")),
            name => drop(command.args(["-servername", name])),
        }
        if self.verify {
            command.args(["-CAfile", &self.target.authority(), "-verify_hostname", name, "-verify_return_error"]);
        }
        command.args(&self.arguments);
        command
    }
}

impl Handshake {
    /// The version: `TLSv1.2`, `TLSv1.3`.
    pub fn version(&self) -> &str {
        self.between("New, ", ", ")
    }

    /// The cipher suite by OpenSSL's name.
    pub fn cipher(&self) -> &str {
        self.between("Cipher is ", "\n")
    }

    /// The group of the key exchange as s_client calls it: `X25519`, `ECDH, prime256v1`, `ECDH, secp384r1`.
    pub fn group(&self) -> &str {
        let text = self.between("Server Temp Key: ", "\n");
        text.rsplit_once(", ").map_or(text, |(group, _bits)| group)
    }

    /// The kind of key that signed: `RSA-PSS`, `RSA`, `ECDSA`.
    pub fn signature(&self) -> &str {
        self.between("Peer signature type: ", "\n")
    }

    /// The subject of the server's certificate.
    pub fn subject(&self) -> &str {
        self.between("subject=", "\n")
    }

    /// The protocol agreed on by ALPN; empty when none was.
    pub fn alpn(&self) -> &str {
        self.between("ALPN protocol: ", "\n")
    }

    /// Whether an earlier session was resumed.
    pub fn resumed(&self) -> bool {
        self.report.contains("\nReused, ")
    }

    /// All that s_client printed.
    pub fn report(&self) -> &str {
        &self.report
    }

    fn between(&self, start: &str, end: &str) -> &str {
        let rest = self.report.split_once(start).map_or("", |(_, rest)| rest);
        rest.split_once(end).map_or(rest, |(text, _)| text).trim()
    }
}
