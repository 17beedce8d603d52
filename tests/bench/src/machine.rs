//! Where this is measured, and with what: figures mean nothing without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::peers::{Kind, Peer};

/// Lines about machine, versions and settings, for below the table.
pub fn notes(peers: &[&Peer], mailward: &Path) -> String {
    let mut versions: Vec<_> = peers.iter().filter_map(|peer| version(peer, mailward)).collect();
    versions.extend(first_line(&["openssl", "version"]));
    versions.dedup();
    format!(
        "{}; Linux {}; load average at the start {}\n{}\n{SETTINGS}",
        processor(),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        versions.join("; "),
    )
}

const SETTINGS: &str = "\
Medians; in brackets how many times mailward's. CPU is that of a proxy's own processes, the kernel's work for them
included. TLS 1.3, X25519, AES-128-GCM, ECDSA P-256 unless said otherwise; loopback; a client that checks no
certificate. One worker: the proxy has a processor for itself, load and backend share another; NOOP: all three share
one. Two workers: nothing is pinned. A session counts from connect to the backend's first answer (LOGIN, EHLO; RCPT with
nginx mail, which answers EHLO itself) and its end. A message is MAIL, RCPT, DATA and its text, one after the other.
Idle bytes are what the proportional set size grows by for each session. mailward's figures include a log line for each
session; the others log nothing. Much of the lead in handshakes, and some in bulk, is the crypto library's (aws-lc
beside Debian's OpenSSL): `plain rustls` has the same library and none of the rest. How each proxy is set up, and why,
stands in tests/bench/src/peers.
";

fn version(peer: &Peer, mailward: &Path) -> Option<String> {
    match peer.kind {
        Kind::Ours if peer.name == "mailward" => first_line(&[&mailward.display().to_string(), "--version"]),
        Kind::Product => first_line(peer.version),
        _ => None,
    }
}

/// The first line with a digit in it, of either output: not everything that is printed before it says something.
fn first_line(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let told = Command::new(program).args(arguments).output().ok()?;
    let text = [told.stdout, told.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    Some(line.trim().to_owned())
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let models: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": ")).collect();
    let name = models.first().map_or("an unknown processor", |(_, name)| name);
    format!("{} × {name}", models.len().max(1))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
