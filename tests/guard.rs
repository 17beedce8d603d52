//! What a session costs does not change unnoticed: instructions of the processor, which callgrind counts, system calls, which strace
//! counts, and memory, all held against what was recorded in `tests/fixtures/costs`. None depends on how fast the machine is, or on what
//! else it does.
//!
//! All are of a build that is optimised, but quick to make (the profile `guard`), and each figure is a difference: what starting
//! costs is not in it. Code that has become better has other figures too: then `tests/run --record` writes the file anew, and its
//! difference belongs to the change that made it. Other compilers, processors and kernels than the recorded ones have others: there only
//! what is far off is noticed.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::{ClientConfig, client::Resumption};
use support::{Fake, Gateway, Security, Talk, built, figure, idle, message, plain, run};

/// By how much a figure may differ from the recorded one, as a part of that.
const TOLERANCE: f64 = 0.02;

/// The same for what differs more by chance: a read of an upload may bring part of a record again and again, which is then copied, a timer
/// may ring during a session, and memory comes in pages.
const LOOSE: f64 = 0.06;

/// The same where the compiler, the processor or the kernel is another.
const ELSEWHERE: f64 = 0.25;

const UPLOAD: &str = "instructions for a MiB from an SMTP client";
const SYSTEM_CALLS: &str = "system calls for 100 IMAPS sessions, waiting and memory aside";
const IDLE_BYTES: &str = "bytes for an idle session";
const USED_BYTES: &str = "bytes for an idle session after a download";

/// Sessions of each kind whose instructions are counted.
const SESSIONS: usize = 40;

/// Sessions whose system calls are counted.
const TRACED: usize = 100;

/// All but those by which a thread waits and is woken, and gets or gives memory: how many there are depends on who is faster.
const CALLS: &str = "--trace=!epoll_wait,futex,restart_syscall,madvise,mmap,munmap,statx";

/// Times that a MiB goes each way. A connection's window grows over the first dozen; before that a read mostly brings part of a record.
const TRANSFERS: usize = 24;
const MEBIBYTE: usize = 1 << 20;

/// Sessions that are idle at once.
const IDLE: usize = 1_000;

/// What something costs: its name and unit, and how much.
type Cost = (&'static str, u64);

#[test]
fn nothing_costs_other_than_was_recorded() {
    let program = built("guard");
    let mut measured = instructions(&program);
    measured.push(system_calls(&program));
    measured.extend(memory(&program));
    if std::env::var_os("MAILWARD_RECORD").is_some() {
        fs::write(record(), written(&measured)).expect("the record is writable");
        return;
    }
    let recorded = fs::read_to_string(record()).expect("the record");
    let tools = recorded.lines().nth(1).unwrap_or_default().trim_start_matches("# ");
    let are_same = tools == made_with();
    for (what, count) in &measured {
        figure(&format!("{what}: {count}"));
    }
    if !are_same {
        figure(&format!("the record of that was made with {tools}, and this is {}", made_with()));
    }
    let tolerance = |what| match what {
        _ if !are_same => ELSEWHERE,
        UPLOAD | SYSTEM_CALLS | IDLE_BYTES | USED_BYTES => LOOSE,
        _ => TOLERANCE,
    };
    let complaints: Vec<_> =
        measured.iter().filter_map(|cost| complaint(&recorded, *cost, tolerance(cost.0))).collect();
    let advice = "Where that is as it should be: tests/run --record";
    assert!(complaints.is_empty(), "{}\n{advice}", complaints.join("\n"));
}

#[test]
fn three_hundredths_more_or_less_are_noticed() {
    let recorded = written(&[("instructions", 1_000_000)]);
    assert_eq!(complaint(&recorded, ("instructions", 1_019_000), TOLERANCE), None);
    assert_eq!(complaint(&recorded, ("instructions", 981_000), TOLERANCE), None);
    for (what, count) in [("instructions", 1_030_000), ("instructions", 970_000), ("bytes", 1)] {
        assert!(complaint(&recorded, (what, count), TOLERANCE).is_some(), "{what}: {count}");
    }
}

fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/costs")
}

fn written(costs: &[Cost]) -> String {
    let mut text = format!("# Measured by tests/guard.rs, written by tests/run --record, with\n# {}\n", made_with());
    for (what, count) in costs {
        let _ = writeln!(text, "{what}: {count}");
    }
    text
}

/// What figures depend on besides the code.
fn made_with() -> String {
    let version = |program: &str| run(Command::new(program).arg("--version"), b"").succeeds().text().trim().to_owned();
    let processor = fs::read_to_string("/proc/cpuinfo").expect("/proc");
    let has_avx2 = processor.lines().any(|line| line.starts_with("flags") && line.contains(" avx2 "));
    let wide = if has_avx2 { "with AVX2" } else { "without AVX2" };
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    format!("{}, {}, {model} {wide}, Linux {}", version("rustc"), version("valgrind"), kernel.trim())
}

/// What there is to say of a figure that is not as recorded.
fn complaint(recorded: &str, (what, count): Cost, tolerance: f64) -> Option<String> {
    let line = recorded.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
    let Some(before) = line.and_then(|number| number.parse::<u64>().ok()) else {
        return Some(format!("{what}: {count}, and nothing is recorded"));
    };
    let change = count as f64 / before as f64 - 1.0;
    (change.abs() > tolerance).then(|| format!("{what}: {count}, and recorded is {before}: {:+.1} %", change * 100.0))
}

/// Instructions for each session and each MiB.
fn instructions(program: &Path) -> Vec<Cost> {
    let imap = Fake::start(|talk, _| plain::serve("imap", talk));
    let smtp = Fake::start(|talk, _| plain::serve("smtp", talk));
    let builder = Gateway::builder().implicit("imaps", "imap", imap.address()).listener("smtp", "smtp", smtp.address());
    let counts = builder.scratch().join("counts");
    let into = format!("--callgrind-out-file={}", counts.display());
    let gateway = builder
        .program(program)
        .environment("MAILWARD_LOG", "info")
        .under(&["valgrind", "--quiet", "--tool=callgrind", &into])
        .start();
    let [fresh, returning] = [false, true].map(|resumes| client(&gateway, resumes));
    let mut counted = Counted { gateway, counts, dumps: 0, ended: 0 };
    // What is needed once, and not for each session.
    counted.sessions(&returning, 3);
    vec![
        ("instructions for an IMAPS session with a full handshake", counted.sessions(&fresh, SESSIONS)),
        ("instructions for an IMAPS session that is resumed", counted.sessions(&returning, SESSIONS)),
        ("instructions for a MiB to an IMAP client", counted.downloads()),
        (UPLOAD, counted.uploads()),
    ]
}

/// A gateway whose instructions are counted.
struct Counted {
    gateway: Gateway,
    /// Where callgrind writes, with the number of the dump behind it.
    counts: PathBuf,
    dumps: usize,
    /// How many sessions there were.
    ended: usize,
}

impl Counted {
    /// Instructions for each of so many sessions, one at a time.
    fn sessions(&mut self, client: &Arc<ClientConfig>, count: usize) -> u64 {
        self.so_far();
        for _ in 0..count {
            session(&self.gateway, client);
        }
        self.ended += count;
        self.gateway.nth_session("imaps", self.ended - 1);
        self.so_far() / count as u64
    }

    fn downloads(&mut self) -> u64 {
        let mut talk = imap(&self.gateway, &client(&self.gateway, false));
        self.least(|| {
            talk.send(format!("f FETCH {MEBIBYTE}\r\n")).until("f OK");
        })
    }

    fn uploads(&mut self) -> u64 {
        let (mut talk, _) = self.gateway.smtp("smtp", Security::StartTls);
        let message = message("guard", MEBIBYTE);
        self.least(|| {
            talk.send_mail("bob@example.net", &["alice@example.org"], &message);
        })
    }

    /// Instructions of the transfer that took the fewest: how much comes at once is not always the same, and others took more for it.
    fn least(&mut self, mut transfer: impl FnMut()) -> u64 {
        self.so_far();
        let counts = (0..TRANSFERS).map(|_| {
            transfer();
            self.so_far()
        });
        counts.min().expect("some transfers")
    }

    /// Instructions since this was last asked.
    fn so_far(&mut self) -> u64 {
        let mut dump = Command::new("callgrind_control");
        run(dump.arg("--dump").arg(self.gateway.pid().to_string()), b"").succeeds();
        self.dumps += 1;
        let file = self.counts.with_extension(self.dumps.to_string());
        let text = fs::read_to_string(file).expect("what callgrind wrote");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|count| count.trim().parse().ok()).expect("a count")
    }
}

/// System calls of so many sessions, one at a time.
fn system_calls(program: &Path) -> Cost {
    let backend = Fake::start(|talk, _| plain::serve("imap", talk));
    let builder = Gateway::builder().implicit("imaps", "imap", backend.address());
    let trace = builder.scratch().join("calls");
    let into = format!("--output={}", trace.display());
    let gateway = builder
        .program(program)
        .environment("MAILWARD_LOG", "info")
        .under(&["strace", "--daemonize", "--follow-forks", "--quiet=all", &into, CALLS])
        .start();
    let client = client(&gateway, false);
    let mut ended = 0;
    let mut calls_of = |sessions: usize| {
        let calls = || fs::read_to_string(&trace).expect("what strace wrote").lines().count() as u64;
        let before = calls();
        (0..sessions).for_each(|_| session(&gateway, &client));
        ended += sessions;
        gateway.nth_session("imaps", ended - 1);
        calls() - before
    };
    // What is needed once, and not for each session.
    calls_of(3);
    (SYSTEM_CALLS, calls_of(TRACED))
}

/// A session from its beginning to its end.
fn session(gateway: &Gateway, client: &Arc<ClientConfig>) {
    let mut talk = imap(gateway, client);
    talk.send("o LOGOUT\r\n").until("o OK");
    talk.rest();
}

/// A session that is logged in.
fn imap(gateway: &Gateway, client: &Arc<ClientConfig>) -> Talk {
    let mut talk = Talk::to(gateway.address("imaps")).tls_with(client.clone());
    plain::greet("imap", &mut talk);
    plain::log_in("imap", &mut talk);
    talk
}

/// A client, and whether it resumes sessions.
fn client(gateway: &Gateway, resumes: bool) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let roots = versions.expect("a version").with_root_certificates(gateway.authority.roots());
    let mut config = roots.with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// Bytes of memory for each session that is idle, after its login and after a download.
fn memory(program: &Path) -> Vec<Cost> {
    idle::allow_descriptors(IDLE);
    let (builder, _backend) = idle::imaps();
    let gateway = builder.program(program).environment("MAILWARD_LOG", "info").start();
    // What is needed once, and not for each session.
    drop(idle::sessions(&gateway, 20));
    let before = gateway.memory_in_silence();
    let mut talks = idle::sessions(&gateway, IDLE);
    let each = || gateway.memory_in_silence().saturating_sub(before) / IDLE as u64;
    let idle = each();
    for talk in &mut talks {
        talk.send("f FETCH 262144\r\n").until("f OK");
    }
    vec![(IDLE_BYTES, idle), (USED_BYTES, each())]
}
