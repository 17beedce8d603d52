//! Dovecot: IMAP, POP3, LMTP, ManageSieve, and the password check for Postfix, all in plaintext.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, iter};

use super::template::{MAIL_USER, fill};
use crate::support::process::port::{Port, reserve_port};
use crate::support::process::supervised::Supervised;
use crate::support::process::wait::eventually;
use crate::support::{HOST, PASSWORD, Scratch};

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    server: Supervised,
    ports: Ports,
    scratch: Scratch,
}

/// What a test may ask of Dovecot before it starts.
#[derive(Debug, Default)]
pub struct DovecotBuilder {
    refuse_plaintext: bool,
    trusted: Option<String>,
    relay: Option<SocketAddr>,
    further: String,
}

#[derive(Debug)]
struct Ports {
    imap: Port,
    pop3: Port,
    lmtp: Port,
    sieve: Port,
    sasl: Port,
    proxied: Port,
    submission: Port,
}

impl Dovecot {
    /// A Dovecot that lets everybody log in without TLS, until the builder says otherwise.
    pub fn builder() -> DovecotBuilder {
        DovecotBuilder::default()
    }

    /// Where IMAP is served.
    pub fn imap(&self) -> SocketAddr {
        self.ports.imap.address()
    }

    /// Where IMAP is served behind a PROXY header, which is believed from 127.0.0.1.
    pub fn proxied_imap(&self) -> SocketAddr {
        self.ports.proxied.address()
    }

    /// Where POP3 is served.
    pub fn pop3(&self) -> SocketAddr {
        self.ports.pop3.address()
    }

    /// Where LMTP is served.
    pub fn lmtp(&self) -> SocketAddr {
        self.ports.lmtp.address()
    }

    /// The unix socket where LMTP is served too.
    pub fn lmtp_socket(&self) -> PathBuf {
        self.scratch.join("run/lmtp")
    }

    /// Where ManageSieve is served.
    pub fn sieve(&self) -> SocketAddr {
        self.ports.sieve.address()
    }

    /// Where Postfix asks whether a password is right (Dovecot's own protocol).
    pub fn sasl(&self) -> SocketAddr {
        self.ports.sasl.address()
    }

    /// Where submission is served by a Dovecot that was told where to relay.
    pub fn submission(&self) -> SocketAddr {
        self.ports.submission.address()
    }

    /// The messages in a user's INBOX as stored, with CRLF line ends, oldest first.
    pub fn messages(&self, user: &str) -> Vec<Vec<u8>> {
        messages_in(&self.scratch.join("mail").join(user).join("Maildir"))
    }

    /// Waits for the first message in a user's INBOX and returns it.
    #[track_caller]
    pub fn delivery(&self, user: &str) -> Vec<u8> {
        self.deliveries(user, 1).remove(0)
    }

    /// Waits until a user's INBOX has `count` messages and returns them all, oldest first.
    #[track_caller]
    pub fn deliveries(&self, user: &str, count: usize) -> Vec<Vec<u8>> {
        let arrived = eventually(|| Some(self.messages(user)).filter(|messages| messages.len() >= count));
        arrived.unwrap_or_else(|| {
            panic!("{user} has {} messages, not {count}: {}", self.messages(user).len(), self.log());
        })
    }

    /// What Dovecot printed and logged so far.
    pub fn log(&self) -> String {
        self.server.output()
    }

    /// The process group of all its processes.
    pub fn group(&self) -> u32 {
        self.server.group()
    }
}

impl DovecotBuilder {
    /// Refuses passwords without TLS: IMAP lists LOGINDISABLED, POP3 and ManageSieve offer no mechanism.
    pub fn refuse_plaintext(mut self) -> Self {
        self.refuse_plaintext = true;
        self
    }

    /// Takes connections from this network (`login_trusted_networks`) for secure ones, and believes what they say about the client.
    pub fn trust(mut self, network: &str) -> Self {
        self.trusted = Some(network.into());
        self
    }

    /// Serves submission too, and relays what it takes to this address.
    pub fn relay_to(mut self, address: SocketAddr) -> Self {
        self.relay = Some(address);
        self
    }

    /// Adds lines to the end of the configuration.
    pub fn further(mut self, lines: &str) -> Self {
        self.further += lines;
        self
    }

    /// Starts it and waits until it greets.
    pub fn start(self) -> Dovecot {
        let scratch = Scratch::new("dovecot");
        let ports = Ports::reserve();
        for name in ["run", "state"] {
            scratch.directory(name);
        }
        scratch.directory_of("mail", MAIL_USER, MAIL_USER, 0o700);
        scratch.write("users", users());
        let configuration = scratch.write("dovecot.conf", self.configuration(scratch.path(), &ports));
        let mut command = Command::new("/usr/sbin/dovecot");
        command.arg("-F").arg("-c").arg(configuration);
        let imap = ports.imap.address();
        let server = Supervised::start(&command, scratch.path(), || greets(imap, "* OK"));
        Dovecot { server, ports, scratch }
    }

    fn configuration(&self, directory: &Path, ports: &Ports) -> String {
        let number = |port: &Port| port.number().to_string();
        let values = [
            ("DIR", directory.display().to_string()),
            ("ADDRESS", HOST.to_string()),
            ("UID", MAIL_USER.to_string()),
            ("REFUSE_PLAINTEXT", if self.refuse_plaintext { "yes" } else { "no" }.into()),
            ("TRUSTED", self.trusted.clone().unwrap_or_default()),
            ("IMAP", number(&ports.imap)),
            ("POP3", number(&ports.pop3)),
            ("LMTP", number(&ports.lmtp)),
            ("SIEVE", number(&ports.sieve)),
            ("SASL", number(&ports.sasl)),
            ("PROXIED", number(&ports.proxied)),
        ];
        fill("dovecot/dovecot.conf", &values.each_ref().map(|(name, value)| (*name, value.as_str())))
            + &self.relay.map(|address| submission(ports.submission.number(), address)).unwrap_or_default()
            + &self.further
    }
}

impl Ports {
    fn reserve() -> Self {
        Self {
            imap: reserve_port(),
            pop3: reserve_port(),
            lmtp: reserve_port(),
            sieve: reserve_port(),
            sasl: reserve_port(),
            proxied: reserve_port(),
            submission: reserve_port(),
        }
    }
}

/// The lines that make it serve submission.
fn submission(port: u16, relay: SocketAddr) -> String {
    format!(
        "protocols = $protocols submission\n\
         submission_relay_host = {}\nsubmission_relay_port = {}\n\
         service submission-login {{\n  inet_listener submission {{\n    port = {port}\n  }}\n}}\n",
        relay.ip(),
        relay.port()
    )
}

/// Whether a server at this address begins with these words.
pub fn greets(address: SocketAddr, words: &str) -> bool {
    greets_behind("", address, words)
}

/// Whether a server at this address, once it has a header, begins with these words.
pub fn greets_behind(header: &str, address: SocketAddr, words: &str) -> bool {
    let Ok(mut connection) = TcpStream::connect(address) else { return false };
    let _ = connection.set_read_timeout(Some(Duration::from_secs(10)));
    if connection.write_all(header.as_bytes()).is_err() {
        return false;
    }
    let mut greeting = String::new();
    BufReader::new(&connection).read_line(&mut greeting).is_ok() && greeting.starts_with(words)
}

/// The messages of a maildir, oldest first.
pub fn messages_in(maildir: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = ["cur", "new"]
        .iter()
        .filter_map(|folder| fs::read_dir(maildir.join(folder)).ok())
        .flat_map(|entries| entries.map(|entry| entry.expect("a readable directory").path()))
        .collect();
    files.sort_by_key(|file| file.file_name().map(ToOwned::to_owned));
    // A reader may move a file from new to cur in between.
    files.iter().filter_map(|file| fs::read(file).ok()).collect()
}

/// Dovecot's password file.
fn users() -> String {
    let names = ["alice".into(), "bob".into()].into_iter().chain((1..=64).map(|number| format!("user{number}")));
    names.zip(iter::repeat(PASSWORD)).map(|(name, password)| format!("{name}:{{PLAIN}}{password}\n")).collect()
}
