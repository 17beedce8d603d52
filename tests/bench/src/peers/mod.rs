//! The proxies that are measured: how each is set up, and why so.
//!
//! All have the same to do: one service, one backend in clear on loopback. The client leaves no choice of version,
//! suite and group, so no proxy is told any. Apart from that each has its defaults, but where its file says why not.

mod haproxy;
mod hitch;
mod mailward;
mod nginx;
mod stunnel;
mod yardsticks;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::certificates::{Certificate, Hosted};
use crate::plan::{Scenario, Service, Work};

/// What a proxy is to the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Ours: all others are held against the first of these.
    Ours,
    /// One that people use.
    Product,
    /// What there is to be reached.
    Yardstick,
}

/// A proxy that can be measured.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its name, and its column's.
    pub name: &'static str,
    /// What it is to the table.
    pub kind: Kind,
    /// What it can do.
    pub can: Can,
    /// Files that it needs, and the Debian package of each.
    pub needs: &'static [(&'static str, &'static str)],
    /// What tells its version; nothing where it is built here.
    pub version: &'static [&'static str],
    /// Writes its configuration, and says how it is started. Without it there is no proxy at all.
    pub command: Option<fn(&Setup) -> Command>,
}

/// A program and its arguments; or why there is none, in words.
type Command = Result<Vec<String>, String>;

/// What a proxy can do, beside TLS from the first byte.
#[derive(Clone, Copy, Debug)]
pub struct Can {
    /// TLS at all.
    pub tls: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// A certificate for each of many hosts.
    pub many_certificates: bool,
    /// SMTP in its own words up to the first recipient, so that only then there is a backend.
    pub asks_recipient: bool,
}

/// What a proxy is to be.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// An empty folder of its own, its working directory.
    pub folder: &'a Path,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it serves there.
    pub service: Service,
    /// The backend behind it.
    pub backend: SocketAddr,
    /// What nginx asks for the backend.
    pub auth_http: SocketAddr,
    /// Its workers.
    pub workers: usize,
    /// What it shows, or what it shows to whoever asks for none of `hosted`.
    pub certificate: &'a Certificate,
    /// What it shows to those who ask for it.
    pub hosted: Option<&'a Hosted>,
    /// The build of mailward.
    pub mailward: &'a Path,
    /// The other build of mailward.
    pub other: &'a Path,
}

impl Setup<'_> {
    /// Writes a file into the folder and returns its path.
    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(shown(&path))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn words<const COUNT: usize>(words: [&str; COUNT]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// All of them, in the order of the columns and of their turns.
pub const PEERS: [Peer; 10] = [
    mailward::MAILWARD,
    mailward::OTHER,
    haproxy::HAPROXY,
    nginx::STREAM,
    nginx::MAIL,
    hitch::HITCH,
    stunnel::STUNNEL,
    yardsticks::TLS,
    yardsticks::PLAIN,
    yardsticks::DIRECT,
];

impl Peer {
    /// Whether a scenario is one for it.
    pub fn takes(&self, scenario: &Scenario) -> bool {
        (self.can.tls || !scenario.is_about_tls())
            && (self.can.starttls || !scenario.service.starts_in_clear())
            && (self.can.many_certificates || scenario.work != Work::Certificates)
            && (self.command.is_some() || !matches!(scenario.work, Work::Idle | Work::IdleMany | Work::Held))
    }

    /// The packages of Debian that have what it needs and what is not there.
    pub fn missing_packages(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().filter(|(file, _)| !PathBuf::from(file).exists()).map(|(_, package)| *package)
    }
}
