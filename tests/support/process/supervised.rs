//! Servers that run as long as a test holds them.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::wait::eventually;

/// Runs the program given as arguments until standard input ends, then ends the whole process group, itself included.
/// Standard input is a pipe that the test holds: it ends when the value is dropped, and also when the test is killed.
const SUPERVISE: &str = r#"{ "$@" </dev/null; echo "exit code $?" >ended; } & cat >/dev/null; kill -s KILL 0"#;

/// A server with all its processes. Dropping it ends them.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    shell: Child,
    directory: PathBuf,
}

impl Supervised {
    /// Starts `command`, which must stay in the foreground and in its process group, in `directory`, and waits until `ready`
    /// says so. Panics with the server's output and `log` when it ends before that, or is never ready.
    pub fn start(command: &Command, directory: &Path, ready: impl Fn() -> bool) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        assert!(Path::new(&name).exists(), "{name} is missing; tests/run installs it");
        let server = Self { shell: supervise(command, directory), name, directory: directory.to_owned() };
        let ended = directory.join("ended");
        let is_up = eventually(|| if ended.exists() { Some(false) } else { ready().then_some(true) });
        assert!(is_up == Some(true), "{} does not run: {}", server.name, server.output());
        server
    }

    /// The process group that holds every process of the server.
    pub fn group(&self) -> u32 {
        self.shell.id()
    }

    /// What the server printed and logged so far.
    pub fn output(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        ["ended", "output", "log"].map(read).join("\n")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            eprintln!("--- the last that {} said\n{}", self.name, lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

fn supervise(command: &Command, directory: &Path) -> Child {
    let output = File::create(directory.join("output")).expect("the server's directory is writable");
    let errors = output.try_clone().expect("a descriptor can be copied");
    Command::new("/bin/sh")
        .args(["-c", SUPERVISE, "supervise"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .expect("/bin/sh")
}
