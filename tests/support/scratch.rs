//! Directories that live as long as a test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A path in a socket's address has at most 107 bytes, and Dovecot's and Postfix's sockets lie up to this deep in a scratch
/// directory.
const LONGEST_ROOT: usize = 50;

/// A new, empty directory, removed when dropped; kept when the test panics, so that it can be looked at.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory; `name` is a hint for whoever looks.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let path = root().join(format!("{name}-{}-{number}", std::process::id()));
        let scratch = Self(path);
        let _ = fs::remove_dir_all(&scratch.0);
        make(&scratch.0);
        scratch
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a directory in it, open to every user as Postfix and Dovecot demand.
    pub fn directory(&self, name: &str) -> PathBuf {
        make(&self.0.join(name));
        self.0.join(name)
    }

    /// Makes a directory in it that belongs to another user and group; needs root.
    pub fn directory_of(&self, name: &str, user: u32, group: u32, mode: u32) -> PathBuf {
        let path = self.directory(name);
        chown(&path, Some(user), Some(group)).expect("root may give a directory away");
        set_mode(&path, mode);
        path
    }

    /// Copies a program into it and returns its path. Another program does that: as long as this process could write to
    /// the file it could not be run (ETXTBSY), and a child that another test is just starting could too.
    pub fn program(&self, name: &str, from: &Path) -> PathBuf {
        let path = self.join(name);
        let copied = Command::new("cp").arg("--preserve=mode").arg(from).arg(&path).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} can be copied", from.display());
        path
    }

    /// Writes a file in it and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.0.join(name), text).expect("the scratch directory is writable");
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// `target/tmp`, unless the checkout lies where a server's unprivileged user cannot go, or too deep for the names of sockets.
fn root() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let is_open = |path: &Path| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o001 != 0);
    if target.as_os_str().len() <= LONGEST_ROOT && target.ancestors().all(is_open) {
        target
    } else {
        std::env::temp_dir()
    }
}

fn make(path: &Path) {
    fs::create_dir_all(path).expect("the scratch directory is writable");
    set_mode(path, 0o755);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own directory");
}
