//! testssl.sh, which knows what a TLS server should no longer do.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::target::{Security, Target};
use crate::support::{Scratch, process::ran::run_within};

/// It opens hundreds of connections, one after the other.
const LIMIT: Duration = Duration::from_secs(900);

/// A run of testssl.sh over protocols, ciphers, forward secrecy and vulnerabilities.
#[derive(Debug)]
pub struct Testssl {
    findings: Vec<Finding>,
}

/// One line of its judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `TLS1_3`, `cipherlist_aNULL`, `ROBOT`.
    pub id: String,
    /// `OK`, `INFO`, `LOW`, `MEDIUM`, `HIGH`, `CRITICAL`, or `WARN` and `FATAL` where it could not look.
    pub severity: String,
    /// What was seen, in its words.
    pub text: String,
}

impl Testssl {
    /// Examines a server; `protocol` names it for STARTTLS: smtp, lmtp, imap, pop3. It talks to this server and nobody else.
    #[track_caller]
    pub fn examine(target: &Target, protocol: &str) -> Self {
        let scratch = Scratch::new("testssl");
        let json = scratch.join("findings.json");
        let mut command = Command::new("testssl");
        command.args([
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--nodns",
            "none",
            "--openssl",
            "/usr/bin/openssl",
        ]);
        command.args(["--connect-timeout", "10", "--openssl-timeout", "10", "--add-ca", &target.authority()]);
        command.args(["--protocols", "--std", "--pfs", "--vulnerable"]);
        command.arg("--jsonfile").arg(&json);
        if target.security == Security::StartTls {
            command.args(["--starttls", protocol]);
        }
        command.arg(target.address.to_string()).current_dir(scratch.path());
        // Its exit code counts what it would rather have seen; the findings tell more.
        let ran = run_within(LIMIT, &command, b"");
        let findings = read(&json);
        assert!(findings.iter().any(|it| it.id == "scanTime" && it.severity == "INFO"), "it did not finish: {ran:?}");
        Self { findings }
    }

    /// Every finding.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings at MEDIUM or worse, and those where it could not look.
    pub fn faults(&self) -> Vec<Finding> {
        // The engine is the local OpenSSL's, for ciphers that no server here has.
        let is_fault = |it: &&Finding| {
            !["OK", "INFO", "DEBUG", "LOW"].contains(&it.severity.as_str()) && it.id != "engine_problem"
        };
        self.findings.iter().filter(is_fault).cloned().collect()
    }
}

/// Reads the JSON by Python, which has a reader for it, as lines of three fields.
fn read(json: &Path) -> Vec<Finding> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/findings.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(json);
    let lines = crate::support::run(&command, b"").succeeds().text();
    let finding = |line: &str| {
        let mut fields = line.splitn(3, '\t').map(ToOwned::to_owned);
        Some(Finding { id: fields.next()?, severity: fields.next()?, text: fields.next()? })
    };
    lines.lines().filter_map(finding).collect()
}
