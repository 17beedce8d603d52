//! A network, and a view of the files, that is a test's own.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Scratch;
use super::process::supervised::Supervised;

/// A network of nothing but loopback, on which every port is free, and an `/etc/resolv.conf` of its own. It is gone
/// with the value, and with the test that is killed.
#[derive(Debug)]
pub struct Namespace {
    process: String,
    _holder: Supervised,
}

/// Holds the namespace: says by which process it can be entered, and sleeps. In a new one there is room for ten datagrams
/// in a socket of Unix's: a Postfix that has more to log at its start waits for itself.
const HOLD: &str = r#"
set -e
resolv_conf=$1
shift
ip link set lo up
echo 512 >/proc/sys/net/unix/max_dgram_qlen
for address; do ip address add "$address" dev lo; done
mount --bind "$resolv_conf" /etc/resolv.conf
echo $$ >process.new
mv process.new process
exec sleep infinity
"#;

impl Namespace {
    /// Makes one whose loopback has these addresses too, each with the length of its prefix, and whose resolver is the
    /// file's.
    pub fn new(scratch: &Scratch, addresses: &[&str], resolv_conf: &Path) -> Self {
        let directory = scratch.directory("namespace");
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "--net", "sh", "-c", HOLD, "sh"]).arg(resolv_conf).args(addresses);
        let file = directory.join("process");
        let holder = Supervised::start(&command, &directory, || file.exists());
        let process = fs::read_to_string(file).expect("it was written").trim().to_owned();
        Self { process, _holder: holder }
    }

    /// What a command begins with that is to run in it. Its working directory is the root.
    pub fn prefix(&self) -> [&str; 5] {
        ["/usr/bin/nsenter", "--mount", "--net", "--target", &self.process]
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        let [enter, arguments @ ..] = self.prefix();
        let mut command = Command::new(enter);
        command.args(arguments).arg(program);
        command
    }

    /// Does something of this process in it: what sockets are opened meanwhile are its own.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.process)).expect("its holder runs");
        let inside = || {
            // The thread alone goes there, and those that it makes.
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
            work()
        };
        let done = thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
