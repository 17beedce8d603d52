//! Programs that run to their end, with a time limit, and what they printed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// The limit of a client whose test says nothing else.
const LIMIT: Duration = Duration::from_secs(120);

/// What `timeout` exits with when it had to end the program.
const TIMED_OUT: i32 = 124;

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    what: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, byte for byte.
    pub out: Vec<u8>,
    /// Standard error as text.
    pub err: String,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Both outputs as text, for looking for something wherever it was printed.
    pub fn all(&self) -> String {
        self.text() + &self.err
    }

    /// Panics, showing everything, unless the program exited with 0.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert!(self.code == Some(0), "should have succeeded: {}", self.report());
        self
    }

    /// Panics, showing everything, unless the program refused: exited by itself with something other than 0.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(self.code.is_some_and(|code| code != 0 && code != TIMED_OUT), "should have failed: {}", self.report());
        self
    }

    /// Panics, showing everything, unless `text` was printed to either output.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.all().contains(text), "should have printed {text:?}: {}", self.report());
        self
    }

    /// Panics, showing everything, if `text` was printed to either output.
    #[track_caller]
    pub fn prints_no(self, text: &str) -> Self {
        assert!(!self.all().contains(text), "should not have printed {text:?}: {}", self.report());
        self
    }

    fn report(&self) -> String {
        let ended = match self.code {
            Some(TIMED_OUT) => "ran out of time".into(),
            Some(code) => format!("exit code {code}"),
            None => "ended by a signal".into(),
        };
        format!("{}\n{ended}\n--- out\n{}\n--- err\n{}", self.what, shorten(&self.text()), shorten(&self.err))
    }
}

/// Runs a command to its end with `input` as its standard input.
pub fn run(command: &Command, input: &[u8]) -> Ran {
    run_within(LIMIT, command, input)
}

/// Like [`run`], with a limit of its own.
pub fn run_within(limit: Duration, command: &Command, input: &[u8]) -> Ran {
    let mut child = spawn(limit, command);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let output = thread::scope(|scope| {
        // A program that ends without reading all of it closes the pipe; what it thought of the input is in its output.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("the program can be waited for")
    });
    ended(command, output)
}

/// Starts a command that the test talks with by lines.
pub fn start(command: &Command) -> Running {
    let mut child = spawn(LIMIT, command);
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    Running { what: format!("{command:?}"), child, lines }
}

/// A program that runs and prints. It ends with its limit at the latest, and when the value is dropped.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Waits for the next line of its standard output and returns it without its end; panics when there is none.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the program prints text");
        if line.is_empty() {
            let mut err = String::new();
            let _ = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut err));
            panic!("no more lines: {}\n--- err\n{err}", self.what);
        }
        line.trim_end().to_owned()
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("the program reads");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `timeout` hands SIGTERM on to the program; SIGKILL would leave that behind.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn spawn(limit: Duration, command: &Command) -> Child {
    let mut limited = Command::new("timeout");
    limited.arg("--kill-after=1").arg(limit.as_secs().to_string()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        limited.current_dir(directory);
    }
    limited.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    limited.spawn().expect("coreutils' timeout")
}

fn ended(command: &Command, output: Output) -> Ran {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() != Some(127), "{command:?} is missing; tests/run installs it\n{err}");
    Ran { what: format!("{command:?}"), code: output.status.code(), out: output.stdout, err }
}

/// The beginning and the end of a long text; a message of 25 MB helps nobody in a panic.
fn shorten(text: &str) -> String {
    const HALF: usize = 4_000;
    if text.len() <= 2 * HALF {
        return text.to_owned();
    }
    let (head, tail) = (text.floor_char_boundary(HALF), text.ceil_char_boundary(text.len() - HALF));
    format!("{}\n… {} bytes left out …\n{}", &text[..head], tail - head, &text[tail..])
}
