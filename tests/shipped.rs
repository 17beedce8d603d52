//! The shipped `proxy.toml` as it stands: started in a copy of its directory, and every command that it prints is run.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{Python, Scratch, Target, eventually, run};

/// mailward, started as a newcomer does: in a directory with `proxy.toml`, without an argument.
struct Started {
    child: Child,
    directory: Scratch,
}

impl Started {
    fn in_directory(directory: Scratch) -> Self {
        let file = |name: &str| fs::File::create(directory.join(name)).expect("the directory is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_mailward"))
            .current_dir(directory.path())
            .env_remove("MAILWARD_CONFIG")
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .expect("mailward is built");
        let mut started = Self { child, directory };
        let up = eventually(|| match started.child.try_wait() {
            Ok(None) => started.printed().ends_with("\"embedded\".\n").then_some(true),
            _ => Some(false),
        });
        assert!(up == Some(true), "it does not run: {}{}", started.printed(), started.read("log"));
        started
    }

    fn printed(&self) -> String {
        self.read("out")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    /// The commands that it printed.
    fn commands(&self) -> Vec<String> {
        let text = self.printed();
        let commands = text.lines().map(str::trim_start);
        commands.filter(|line| line.starts_with("swaks ") || line.starts_with("curl ")).map(str::to_owned).collect()
    }

    /// Ends it, and keeps the directory.
    fn stop(mut self) -> Scratch {
        let sent = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        let ended = eventually(|| self.child.try_wait().ok().flatten());
        assert_eq!(ended.and_then(|status| status.code()), Some(0));
        std::mem::replace(&mut self.directory, Scratch::new("empty"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a newcomer has after unpacking: the files of the repository that this is about.
fn copy() -> Scratch {
    let directory = Scratch::new("shipped");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(top.join("proxy.toml"), directory.join("proxy.toml")).expect("the shipped configuration");
    let text = fs::read(top.join("README.md")).unwrap_or_else(|_| b"Subject: by curl\n\nread me\n".to_vec());
    directory.write("README.md", text);
    directory
}

#[test]
fn the_shipped_configuration_runs_and_every_command_it_prints_works() {
    let started = Started::in_directory(copy());
    let commands = started.commands();
    let kinds: Vec<_> = ["swaks ", "curl -k --ssl-reqd smtp:", "curl -k 'imaps:", "curl -k --ssl-reqd pop3:"].into();
    assert_eq!(commands.len(), kinds.len(), "{commands:?}");
    for (command, kind) in commands.iter().zip(kinds) {
        assert!(command.starts_with(kind), "{command}");
        // -q where curl would read the machine's own settings; nothing else is changed.
        let ran = run(Command::new("sh").args(["-c", command]).current_dir(started.directory.path()), b"").succeeds();
        if kind.contains("imaps") || kind.contains("pop3") {
            ran.prints("This is a test mailing").prints("Subject: test");
        }
    }

    read_by_python(&started);
    certificate_is_kept_and_used_again(started);
}

/// A client that checks the certificate reads what curl sent, by IMAP and by POP3.
fn read_by_python(started: &Started) {
    let ca = started.directory.join("certs/main-self-signed.crt");
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let sent = String::from_utf8_lossy(&fs::read(started.directory.join("README.md")).expect("a file")).into_owned();
    let first = sent.lines().next().expect("a line");
    for target in [Target::implicit(at(5993), "localhost", &ca), Target::starttls(at(5143), "localhost", &ca)] {
        Python::at(&target).imap_fetch("ann").succeeds().prints(first);
    }
    for target in [Target::implicit(at(5995), "localhost", &ca), Target::starttls(at(5110), "localhost", &ca)] {
        Python::at(&target).pop3_fetch("ann").succeeds().prints(first);
    }
    // Another user has another mailbox.
    Python::at(&Target::implicit(at(5995), "localhost", &ca)).pop3_fetch("bob").fails();
    // Mail goes out by submission, logged in, too.
    let message = b"Subject: submitted\r\n\r\nhello\r\n";
    let submission = Target::starttls(at(5587), "localhost", &ca);
    Python::at(&submission).smtp("ann", "ann@example.org", "bob@example.org", message).succeeds();
    Python::at(&Target::implicit(at(5993), "localhost", &ca)).imap_fetch("bob").succeeds().prints("Subject: submitted");
}

fn certificate_is_kept_and_used_again(started: Started) {
    let mode = |directory: &Scratch, name: &str| {
        fs::metadata(directory.join(name)).expect("a file").permissions().mode() & 0o777
    };
    let files: Vec<_> = fs::read_dir(started.directory.join("certs")).expect("certs/").flatten().collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(mode(&started.directory, "certs/main-self-signed.key"), 0o600);
    assert_eq!(mode(&started.directory, "certs/main-self-signed.crt"), 0o644);
    let before = started.read("certs/main-self-signed.crt");
    let directory = started.stop();
    let again = Started::in_directory(directory);
    assert_eq!(again.read("certs/main-self-signed.crt"), before);
    assert_eq!(mode(&again.directory, "certs/main-self-signed.key"), 0o600);
    let ca = again.directory.join("certs/main-self-signed.crt");
    let imaps = Target::implicit(SocketAddr::from(([127, 0, 0, 1], 5993)), "localhost", &ca);
    // It forgets its mail at the end, as it says.
    Python::at(&imaps).imap_fetch("ann").fails();
    assert!(!again.read("log").contains("ERROR"), "{}", again.read("log"));
}
