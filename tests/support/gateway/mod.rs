//! mailward itself as a test runs it: the real binary, with a configuration, certificates and a log of its own.

mod acme;
pub mod authority;
pub mod dialect;
pub mod fake;
pub mod hello;
pub mod idle;
pub mod plain;
pub mod relaying;
pub mod secured;
pub mod shown;
pub mod talk;
pub mod witness;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::wait::eventually;
use super::{Ran, Scratch, Security, Target, run};
use authority::{Authority, Kind};
use talk::Talk;

/// The name in the certificate that a gateway has by default.
pub const NAME: &str = "mail.example.org";

/// A gateway in the making. Each listener has a backend of its own.
#[derive(Debug)]
pub struct GatewayBuilder {
    server: String,
    tables: Vec<(String, String)>,
    whole: Option<String>,
    certificates: Option<String>,
    environment: Vec<(String, String)>,
    prefix: Vec<String>,
    program: PathBuf,
    scratch: Scratch,
    authority: Authority,
}

/// A running mailward. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    launch: Launch,
    /// Its directory: `proxy.toml`, `ca.pem`, `mail.crt`, `mail.key`, `log`.
    pub scratch: Scratch,
    /// The authority that its certificate is from.
    pub authority: Authority,
}

/// How it is started.
#[derive(Debug)]
struct Launch {
    line: Vec<String>,
    environment: Vec<(String, String)>,
    listeners: usize,
}

impl Gateway {
    /// A gateway without listeners, with one ECDSA certificate for [`NAME`] and `localhost`.
    pub fn builder() -> GatewayBuilder {
        let (scratch, authority) = (Scratch::new("gateway"), Authority::new());
        scratch.write("ca.pem", authority.pem());
        authority.issue(&[NAME, "localhost"], Kind::Ecdsa).write(&scratch, "mail");
        GatewayBuilder {
            server: String::new(),
            tables: Vec::new(),
            whole: None,
            certificates: None,
            environment: Vec::new(),
            prefix: Vec::new(),
            program: env!("CARGO_BIN_EXE_mailward").into(),
            scratch,
            authority,
        }
    }

    /// The first address of a listener; waits until it is open.
    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        let line = self.log_line(&format!("listener {listener} to be open"), |line| {
            line["message"] == "listening" && line["listener"] == listener
        });
        line["address"].as_str().and_then(|address| address.parse().ok()).expect("a socket address")
    }

    /// Every address of a listener, in the order in which they were opened; waits until there are `count`.
    #[track_caller]
    pub fn addresses(&self, listener: &str, count: usize) -> Vec<SocketAddr> {
        let found = eventually(|| {
            let log = self.log();
            let lines = log.iter().filter(|line| line["message"] == "listening" && line["listener"] == listener);
            let all: Vec<_> = lines.filter_map(|line| line["address"].as_str()?.parse().ok()).collect();
            (all.len() >= count).then_some(all)
        });
        found.unwrap_or_else(|| panic!("{count} addresses of {listener}; the log: {:#?}", self.log()))
    }

    /// A listener as a client that uses STARTTLS sees it.
    #[track_caller]
    pub fn starttls(&self, listener: &str) -> Target {
        Target::starttls(self.address(listener), NAME, &self.ca())
    }

    /// A listener as a client that uses TLS from the first byte sees it.
    #[track_caller]
    pub fn implicit(&self, listener: &str) -> Target {
        Target::implicit(self.address(listener), NAME, &self.ca())
    }

    /// A connection to a listener on which nothing was said yet; TLS is up where it is implicit.
    #[track_caller]
    pub fn talk(&self, listener: &str, security: Security) -> Talk {
        let talk = Talk::to(self.address(listener));
        if security == Security::Implicit { talk.tls(self.authority.roots()) } else { talk }
    }

    /// An SMTP session that has come as far as the reply to EHLO, and that reply.
    #[track_caller]
    pub fn smtp(&self, listener: &str, security: Security) -> (Talk, String) {
        let mut talk = self.talk(listener, security);
        talk.reply("220");
        if security == Security::StartTls {
            talk.ask("STARTTLS", "220");
            talk = talk.tls(self.authority.roots());
        }
        let list = talk.send("EHLO client.example.net\r\n").reply("250");
        (talk, list)
    }

    /// Runs a command of `mailward` for this gateway's configuration to its end.
    pub fn command(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailward"));
        command.args(arguments).env("MAILWARD_CONFIG", self.scratch.join("proxy.toml"));
        run(&command, b"")
    }

    /// The authority's certificate, a PEM file.
    pub fn ca(&self) -> PathBuf {
        self.scratch.join("ca.pem")
    }

    /// Every line of the log so far.
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.scratch.join("log")).unwrap_or_default();
        // The last line may be half-written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.into()))).collect()
    }

    /// Waits for a line of the log; `what` says what for.
    #[track_caller]
    pub fn log_line(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = eventually(|| self.log().into_iter().find(&fits));
        found.unwrap_or_else(|| panic!("waited for {what}; the log: {:#?}", self.log()))
    }

    /// Waits for the line of a session that ended with this outcome.
    #[track_caller]
    pub fn session(&self, listener: &str, outcome: &str) -> Value {
        self.log_line(&format!("a session of {listener} that ended {outcome}"), |line| {
            line["message"] == "session" && line["listener"] == listener && line["outcome"] == outcome
        })
    }

    /// Waits for the line of the listener's session that ended as number `number`, from 0.
    #[track_caller]
    pub fn nth_session(&self, listener: &str, number: usize) -> Value {
        let is_session = |line: &Value| line["message"] == "session" && line["listener"] == listener;
        let found = eventually(|| self.log().into_iter().filter(is_session).nth(number));
        found.unwrap_or_else(|| panic!("waited for session {number} of {listener}; the log: {:#?}", self.log()))
    }

    /// Sends a signal by its name: `HUP`, `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended by itself and returns its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        eventually(|| self.child.try_wait().ok().flatten()).and_then(|status| status.code())
    }

    /// Waits until it has ended, and starts it anew with its configuration as it is now. The log begins anew too.
    #[track_caller]
    pub fn start_again(&mut self) {
        // Which may have been by a signal.
        let ended = eventually(|| self.child.try_wait().ok().flatten());
        assert!(ended.is_some(), "mailward should have ended: {}", self.output());
        self.child = self.launch.spawn(&self.scratch);
        self.await_listeners();
    }

    #[track_caller]
    fn await_listeners(&mut self) {
        let opened = |it: &Self| it.log().iter().filter(|line| line["message"] == "listening").count();
        let up = eventually(|| match self.runs() {
            true => (opened(self) >= self.launch.listeners).then_some(true),
            false => Some(false),
        });
        assert!(up == Some(true), "mailward does not run: {}", self.output());
    }

    /// Replaces text in `proxy.toml`, which must be there.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.scratch.join("proxy.toml")).expect("proxy.toml");
        assert!(text.contains(from), "{from:?} is not in proxy.toml:\n{text}");
        self.scratch.write("proxy.toml", text.replace(from, to));
    }

    /// Reloads and waits until the log says that it was done (or refused). Only what is new of the log is read, which
    /// may be long.
    #[track_caller]
    pub fn reload(&self) -> bool {
        let before = self.log_length();
        self.signal("HUP");
        let told = eventually(|| {
            let new = self.log_since(before);
            let done = new.contains("\"the configuration was reloaded\"");
            (done || new.contains("\"the configuration was not reloaded")).then_some(done)
        });
        told.expect("a word about the reload")
    }

    /// The length of the log so far, in bytes.
    pub fn log_length(&self) -> u64 {
        fs::metadata(self.scratch.join("log")).map_or(0, |log| log.len())
    }

    /// The whole lines that were added to the log since it had this length.
    pub fn log_since(&self, length: u64) -> String {
        let mut new = String::new();
        let mut log = fs::File::open(self.scratch.join("log")).expect("a log");
        log.seek(SeekFrom::Start(length)).expect("a file");
        log.read_to_string(&mut new).expect("text");
        new.truncate(new.rfind('\n').map_or(0, |end| end + 1));
        new
    }

    /// How many lines of the log fit.
    pub fn count(&self, fits: impl Fn(&Value) -> bool) -> usize {
        self.log().iter().filter(|line| fits(line)).count()
    }

    /// The processor time it has used, in user and kernel mode.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("/proc");
        // proc_pid_stat(5): utime and stime are fields 14 and 15, and the second, in brackets, may hold anything.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
        // Linux tells user space 100 ticks a second whatever the kernel's own are.
        Duration::from_millis((ticks(14) + ticks(15)) * 10)
    }

    /// The memory that is the process's own, in bytes: not the program's file, of which each process has a smaller part
    /// the more of them run, so that it grows whenever another test's ends.
    pub fn memory(&self) -> u64 {
        self.rollup("Anonymous:")
    }

    /// [`Self::memory`], once sessions are silent and it has not fallen for two seconds: what they can do without is given back a second
    /// or so after they were busy.
    pub fn memory_in_silence(&self) -> u64 {
        let (mut least, mut since) = (self.memory(), Instant::now());
        while since.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(50));
            let now = self.memory();
            if now < least {
                (least, since) = (now, Instant::now());
            }
        }
        least
    }

    /// Proportional set size of the process, in bytes, which is to be compared while no other mailward starts or ends.
    pub fn proportional_set(&self) -> u64 {
        self.rollup("Pss:")
    }

    fn rollup(&self, field: &str) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("/proc");
        let line = rollup.lines().find(|line| line.starts_with(field)).expect("the field");
        line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number") * 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.scratch.join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the last that mailward said\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

impl GatewayBuilder {
    /// Adds a listener on a free port of 127.0.0.1, with STARTTLS, in front of `backend`.
    pub fn listener(mut self, id: &str, protocol: &str, backend: impl ToString) -> Self {
        let backend = backend.to_string();
        self.tables.push((
            format!("server.listener.{id}"),
            format!("bind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\nbackend = \"{id}\"\n"),
        ));
        self.tables.push((format!("backend.{id}"), format!("address = \"{backend}\"\n")));
        if protocol == "smtp" && backend != "embedded" { self.with(id, "rcpt-domains = \"example.org\"") } else { self }
    }

    /// Adds a listener that speaks TLS from the first byte.
    pub fn implicit(self, id: &str, protocol: &str, backend: impl ToString) -> Self {
        self.listener(id, protocol, backend).with(id, "tls.implicit = true")
    }

    /// Adds a listener that speaks HTTP, on a free port of 127.0.0.1.
    pub fn http(mut self, id: &str) -> Self {
        let table = "bind = \"127.0.0.1:0\"\nprotocol = \"http\"\n";
        self.tables.push((format!("server.listener.{id}"), table.into()));
        self
    }

    /// Adds lines to a listener's table; a line for a key that is there already replaces it.
    pub fn with(self, id: &str, lines: &str) -> Self {
        self.table(&format!("server.listener.{id}"), lines)
    }

    /// Adds lines to the table of a listener's backend; a line for a key that is there already replaces it.
    pub fn backend(self, id: &str, lines: &str) -> Self {
        self.table(&format!("backend.{id}"), lines)
    }

    fn table(mut self, name: &str, lines: &str) -> Self {
        let (_, table) = self.tables.iter_mut().find(|(table, _)| table == name).expect("a table that was added");
        for line in lines.lines() {
            let key = format!("{} =", line.split('=').next().unwrap_or_default().trim());
            let rest: Vec<_> = table.lines().filter(|old| !old.starts_with(&key)).collect();
            *table = format!("{}\n{line}\n", rest.join("\n"));
        }
        self
    }

    /// Adds lines to `[server]`, or whole tables.
    pub fn server(mut self, lines: &str) -> Self {
        self.server += lines;
        self.server.push('\n');
        self
    }

    /// Takes this text for the whole configuration, whatever else was said.
    pub fn whole(mut self, text: &str) -> Self {
        self.whole = Some(text.into());
        self
    }

    /// Replaces the one certificate by these tables. Files are made by [`Self::issue`].
    pub fn certificates(mut self, tables: &str) -> Self {
        self.certificates = Some(tables.into());
        self
    }

    /// Issues a certificate into `NAME.crt` and `NAME.key` of the directory.
    pub fn issue(self, file: &str, names: &[&str], kind: Kind) -> Self {
        self.authority.issue(names, kind).write(&self.scratch, file);
        self
    }

    /// Sets a variable of its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it by this command, which ends by running its arguments: `prlimit --nofile=64`.
    pub fn under(mut self, command: &[&str]) -> Self {
        self.prefix = command.iter().map(ToString::to_string).collect();
        self
    }

    /// Runs this program in place of the one that was built with the tests.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.into();
        self
    }

    /// The directory, for files that the configuration names.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Writes `proxy.toml` and returns its text.
    pub fn write(&self) -> String {
        let mut text = format!("[server]\nhostname = \"{NAME}\"\nworkers = 2\n{}\n", self.server);
        let default = "[certificate.main]\ncert = \"%{file:mail.crt}%\"\nprivate-key = \"%{file:mail.key}%\"\n";
        text += self.certificates.as_deref().unwrap_or(default);
        for (name, lines) in &self.tables {
            let _ = write!(text, "\n[{name}]\n{lines}");
        }
        let text = self.whole.clone().unwrap_or(text);
        self.scratch.write("proxy.toml", &text);
        text
    }

    /// Starts it and waits until every listener is open. Panics with its log where it does not start.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        gateway.await_listeners();
        gateway
    }

    /// Starts it and waits until it has given up; returns all that it printed.
    #[track_caller]
    pub fn start_fails(self) -> String {
        let mut gateway = self.spawn();
        assert_eq!(gateway.ended(), Some(1), "mailward should not have started: {}", gateway.output());
        gateway.output()
    }

    fn spawn(self) -> Gateway {
        let text = self.write();
        let program = self.program.display().to_string();
        let launch = Launch {
            line: self.prefix.into_iter().chain([program]).collect(),
            environment: self.environment,
            listeners: text.lines().filter(|line| line.starts_with("[server.listener.")).count(),
        };
        Gateway { child: launch.spawn(&self.scratch), launch, scratch: self.scratch, authority: self.authority }
    }
}

impl Launch {
    fn spawn(&self, scratch: &Scratch) -> Child {
        let open = |name: &str| fs::File::create(scratch.join(name)).expect("the directory is writable");
        Command::new(&self.line[0])
            .args(&self.line[1..])
            .args(["--log-format", "json", "--log-level", "debug"])
            .env("MAILWARD_CONFIG", scratch.join("proxy.toml"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(open("out"))
            .stderr(open("log"))
            .spawn()
            .expect("mailward is built")
    }
}

impl Gateway {
    /// All that it printed.
    pub fn output(&self) -> String {
        let read = |name| fs::read_to_string(self.scratch.join(name)).unwrap_or_default();
        read("out") + &read("log")
    }
}

/// Runs `mailward` with these arguments to its end: exit code and standard output.
pub fn mailward(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailward")).args(arguments).output().expect("mailward is built");
    let _ = std::io::stderr().write_all(&output.stderr);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The release build of now. It takes minutes where there is none, so that it is left to the long run.
pub fn release_build() -> PathBuf {
    built("release")
}

/// mailward of now in this profile, which is built unless it is there.
pub fn built(profile: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    // What cargo tells a test of its package would have the build scripts of others run anew, and all be built again.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            build.env_remove(name);
        }
    }
    let built = build.args(["build", "--profile", profile, "--locked", "--bin", "mailward"]).status();
    assert!(built.is_ok_and(|status| status.success()), "the {profile} build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join(profile).join("mailward")
}
