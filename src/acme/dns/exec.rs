//! A command of the operator's that writes and removes the record: the way to every DNS service that has an interface of
//! its own.
//!
//! It is called `COMMAND… present NAME VALUE` and `COMMAND… withdraw NAME VALUE`, NAME being
//! `_acme-challenge.example.org.` with the dot at its end, once for each record. It must add to the records that NAME has
//! and remove that one alone, return only when the zone's name servers show it, and exit with 0. Removing what is not there
//! is no failure. No shell reads the words (VALUE may begin with `-`); of our environment it gets what is no secret; its
//! standard input is empty; nothing else of ours is open in it.

use std::{
    env, fmt, io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    process::{Child, Command},
    time::timeout,
};

use super::{DnsError, message::Owner};
use crate::config::Exec;

/// What a command is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Write the record.
    Present,
    /// Remove it.
    Withdraw,
}

/// Of the environment, what programs need to run at all.
const ENVIRONMENT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Runs the command for one record.
///
/// # Errors
/// [`DnsError::NoCommand`], [`DnsError::Failed`], [`DnsError::Late`].
pub(super) async fn run(hook: &Exec, verb: Verb, name: &Owner, value: &str) -> Result<(), DnsError> {
    let (program, own) = hook
        .command
        .split_first()
        .ok_or(DnsError::NoCommand { command: String::new(), error: io::ErrorKind::NotFound.into() })?;
    let verb = if verb == Verb::Present { "present" } else { "withdraw" };
    let name = name.fmt_with_dot().to_string();
    // Not the arguments of the configuration: there may be a password among them.
    let command = format!("{program} {verb} {name}");
    let arguments = own.iter().map(String::as_str).chain([verb, &name, value]);
    let mut running = match Running::start(program, arguments) {
        Ok(running) => running,
        Err(error) => return Err(DnsError::NoCommand { command, error }),
    };
    match timeout(hook.timeout, running.end()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(DnsError::Failed { command, status: status.to_string(), said: running.said.to_string() }),
        Ok(Err(error)) => Err(DnsError::NoCommand { command, error }),
        Err(_) => {
            running.kill();
            // A process that the kernel does not let go is not worth waiting for.
            let _ = timeout(REAPED, running.end()).await;
            Err(DnsError::Late { command, timeout: hook.timeout, said: running.said.to_string() })
        }
    }
}

/// How long a killed command may take to be gone.
const REAPED: Duration = Duration::from_secs(1);

/// A command that runs, in a process group of its own. Dropping it ends that group.
struct Running {
    child: Child,
    /// Both its standard output and its standard error.
    output: pipe::Receiver,
    said: Said,
}

impl Running {
    fn start<'a>(program: &str, arguments: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let (output, theirs) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        let environment = ENVIRONMENT.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs);
        Ok(Self { child: command.spawn()?, output, said: Said::default() })
    }

    /// Waits for its end and keeps the last that it says. What it leaves running in the background is let be, and not
    /// waited for, though that may hold the pipe open.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    self.read_rest();
                    return status;
                }
                read = self.output.read(&mut buffer) => match read? {
                    0 => return self.child.wait().await,
                    length => self.said.add(&buffer[..length]),
                },
            }
        }
    }

    /// Reads what the command wrote before it ended: it is in the pipe, though the runtime may not know that yet.
    fn read_rest(&mut self) {
        let mut rest = vec![0; PIPE];
        if let Ok(length) = rustix::io::read(&self.output, &mut rest) {
            self.said.add(&rest[..length]);
        }
    }

    fn kill(&self) {
        // A child that has been waited for has no number any more, and its group is not ours to end.
        let group = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        // It may have ended just now.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// As much as a pipe holds (pipe(7)).
const PIPE: usize = 65_536;

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last that a command said.
#[derive(Default)]
struct Said(Vec<u8>);

/// How much is kept of it, in bytes, and how many lines are shown.
const KEPT: usize = 512;
const LINES: usize = 3;

impl Said {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }
}

/// In quotation marks and escaped: it may hold what others have sent.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match &lines[lines.len().saturating_sub(LINES)..] {
            [] => f.write_str("nothing"),
            last => write!(f, "{:?}", last.join(" / ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use super::*;
    use crate::acme::dns::place::owner;

    /// Runs a script as the command.
    async fn hook(script: &str, timeout: Duration) -> Result<(), DnsError> {
        let command = ["/bin/sh", "-c", script, "hook", "own"].map(str::to_owned).to_vec();
        run(&Exec { command, timeout }, Verb::Present, &owner("example.org").unwrap(), "-value_").await
    }

    const LONG: Duration = Duration::from_secs(60);

    /// What a script printed, which ends with a failure to have it shown.
    async fn printed(script: &str) -> String {
        match hook(&format!("{script}; exit 3"), LONG).await {
            Err(DnsError::Failed { said, status, .. }) if status == "exit status: 3" => said,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_command_is_told_what_to_do_with_which_record() {
        assert_eq!(printed("echo $#: \"$@\"").await, "\"4: own present _acme-challenge.example.org. -value_\"");
        assert!(hook("true", LONG).await.is_ok());
    }

    #[tokio::test]
    async fn a_command_inherits_nothing_but_what_programs_need() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        assert_eq!(printed(&format!("ls -l /proc/self/fd | grep -c 'socket:.{inode}]'")).await, "\"0\"");
        assert_eq!(printed("readlink /proc/self/fd/0").await, "\"/dev/null\"");
        let names = printed("env | cut -d= -f1 | grep -vxE 'PWD|OLDPWD|SHLVL|_'").await;
        let names: Vec<_> = names.trim_matches('"').split(" / ").collect();
        assert!(names.contains(&"PATH") && names.iter().all(|name| ENVIRONMENT.contains(name)), "{names:?}");
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_lines_and_forges_none() {
        assert_eq!(
            printed("seq 100000; echo >&2; echo 'no \u{1b}[1m\"such\" zone' >&2").await,
            r#""99999 / 100000 / no \u{1b}[1m\"such\" zone""#
        );
        assert_eq!(
            printed("printf '\\342\\200\\256 \\342\\200\\250.\\033\\r.'").await,
            r#""\u{202e} \u{2028}.\u{1b}\r.""#
        );
        assert_eq!(printed("true").await, "nothing");
        let endless = printed("head -c 300000 /dev/zero | tr '\\0' x").await;
        assert_eq!(endless.len(), KEPT + 2);
        let error = hook("kill -s TERM $$", LONG).await.unwrap_err().to_string();
        assert!(error.contains("signal: 15"), "{error}");
        assert!(error.contains("/bin/sh present _acme-challenge.example.org.") && !error.contains("own"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_is_late_is_ended_with_all_that_it_started() {
        let begun = Instant::now();
        // Long enough for a shell to come to its words on a machine that has much else to do.
        let error = hook("sleep 600 & echo $!; echo $$; wait", Duration::from_secs(2)).await.unwrap_err();
        let DnsError::Late { said, .. } = error else { panic!("{error}") };
        let numbers: Vec<_> = said.trim_matches('"').split(" / ").collect();
        assert_eq!(numbers.len(), 2, "{said}");
        assert!(!Path::new("/proc").join(numbers[1]).exists(), "the command itself was waited for");
        // Whoever takes in orphans on this machine may leave it as a zombie; it does not run.
        await_end(numbers[0], begun).await;
    }

    /// Waits until a process runs no more: it was killed, and the kernel takes its time.
    async fn await_end(process: impl std::fmt::Display, begun: Instant) {
        while fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|state| !state.contains(") Z ")) {
            assert!(begun.elapsed() < LONG, "it still runs");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_command_that_is_given_up_is_ended() {
        let begun = Instant::now();
        let mut running = Running::start("/bin/sleep", ["600"].into_iter()).unwrap();
        let group = running.child.id().unwrap();
        drop(timeout(Duration::from_millis(1), running.end()).await);
        drop(running);
        await_end(group, begun).await;
    }

    #[tokio::test]
    async fn what_stays_in_the_background_is_not_waited_for() {
        let begun = Instant::now();
        let said = printed("sleep 600 & echo $!").await;
        assert!(begun.elapsed() < LONG);
        let background = said.trim_matches('"').parse().ok().and_then(Pid::from_raw).expect("a number");
        assert!(rustix::process::kill_process(background, Signal::KILL).is_ok(), "it was let be");
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let command = vec!["/nowhere/hook".to_owned()];
        let name = owner("example.org").unwrap();
        let error = run(&Exec { command, timeout: LONG }, Verb::Withdraw, &name, "value").await.unwrap_err();
        let expected =
            "the command \"/nowhere/hook withdraw _acme-challenge.example.org.\" cannot be started: No such file";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
