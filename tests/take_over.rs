//! A new binary takes over, and what a service manager sees (spec §5): the same listening sockets all along, so that no
//! connection is refused or reset, and an old process that goes on where the new one cannot.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{Fake, Gateway, Talk, eventually, figure, plain, reserve_port, size};

const TAKEN_OVER: &str = "another process has taken over";

/// A gateway and the processes that come after it. The last one ends with this.
struct Line {
    gateway: Gateway,
    last: u32,
}

impl Line {
    fn of(gateway: Gateway) -> Self {
        let last = gateway.pid();
        Self { gateway, last }
    }

    /// Has the last process start another, and waits until that one has taken over.
    #[track_caller]
    fn hand_over(&mut self) {
        let before = self.gateway.log_length();
        signal(self.last, "USR2");
        let new = eventually(|| {
            let new = self.gateway.log_since(before);
            let told = new.split_inclusive('\n').find(|line| line.contains(TAKEN_OVER) && line.ends_with('\n'))?;
            serde_json::from_str::<Value>(told).ok()?["process"].as_u64()
        });
        let new = new.unwrap_or_else(|| panic!("nobody took over: {}", self.gateway.log_since(before)));
        self.last = u32::try_from(new).expect("a process id");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.last != self.gateway.pid() {
            signal(self.last, "KILL");
            eventually(|| ended(self.last).then_some(()));
        }
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {process}");
}

/// Whether the process is gone, or waits for nothing but to be buried (proc_pid_stat(5): state Z).
fn ended(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

fn fake(protocol: &'static str) -> Fake {
    Fake::start(move |talk, _| plain::serve(protocol, talk))
}

/// Comes, is greeted, and goes. A process that stops may send it away.
fn come_and_go(address: SocketAddr) {
    let mut talk = Talk::to(address);
    talk.reply("220");
    talk.send("QUIT\r\n");
    let last = talk.line();
    assert!(last.starts_with("221") || last.starts_with("421"), "{last:?}");
}

#[test]
fn take_overs_and_reloads_under_load_refuse_and_reset_nobody() {
    let rounds = size("take-overs under load", 6, 50);
    let smtp = fake("smtp");
    let gateway = Gateway::builder().server("drain = \"2s\"").listener("smtp", "smtp", smtp.address()).start();
    let address = gateway.address("smtp");
    let mut line = Line::of(gateway);
    let (stop, sessions) = (&AtomicBool::new(false), &AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        come_and_go(address);
                        sessions.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..rounds {
            let before = sessions.load(Relaxed);
            line.hand_over();
            signal(line.last, "HUP");
            let served = eventually(|| {
                (sessions.load(Relaxed) > before + 8 || clients.iter().any(|client| client.is_finished())).then_some(())
            });
            if served.is_none() || clients.iter().any(|client| client.is_finished()) {
                break;
            }
        }
        stop.store(true, Relaxed);
        for client in clients {
            client.join().expect("every client is served");
        }
    });
    let told = |what: &str| line.gateway.count(|line| line["message"] == what);
    assert_eq!(told(TAKEN_OVER), rounds);
    // The last of them may have sessions yet, for as long as `drain`.
    let ended = eventually(|| (told("stopped") == rounds).then_some(()));
    assert!(ended.is_some(), "every process but the last has ended: {} of {rounds}", told("stopped"));
    figure(&format!(
        "{rounds} take-overs: {} sessions begun meanwhile, none refused, none reset",
        sessions.load(Relaxed)
    ));
}

#[test]
fn a_running_session_ends_where_its_protocol_lets_it_and_commands_reach_the_new_process() {
    let (smtp, imap) = (fake("smtp"), fake("imap"));
    let gateway = Gateway::builder()
        .server("drain = \"60s\"\nstate = \"state\"")
        .listener("smtp", "smtp", smtp.address())
        .implicit("imaps", "imap", imap.address())
        .start();
    let mut held = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    plain::greet("imap", &mut held);
    plain::log_in("imap", &mut held);
    let mut line = Line::of(gateway);
    let old = line.last;
    // The new process is started with the settings of now, and has what it needs of the old one's sockets.
    line.gateway.edit("mail.example.org", "new.example.org");
    plain::nothing("imap", &mut held);
    line.hand_over();
    // Until it has stopped accepting, the old one may still get a client.
    let smtp = line.gateway.address("smtp");
    let greeted = eventually(|| Talk::to(smtp).line().starts_with("220 new.example.org").then_some(()));
    assert!(greeted.is_some(), "{}", line.gateway.output());
    line.gateway.command(&["reload"]).succeeds();
    held.closes();
    assert!(eventually(|| ended(old).then_some(())).is_some(), "{}", line.gateway.output());
    assert_eq!(line.gateway.ended(), Some(0));
    line.gateway.command(&["drain"]).succeeds();
    assert!(eventually(|| ended(line.last).then_some(())).is_some());
}

#[test]
fn a_process_that_cannot_start_changes_nothing() {
    let smtp = fake("smtp");
    let gateway = Gateway::builder().listener("smtp", "smtp", smtp.address()).start();
    let address = gateway.address("smtp");
    let good = "protocol = \"smtp\"";
    gateway.edit(good, "protocol = \"snail\"");
    gateway.signal("USR2");
    let told =
        gateway.log_line("the failure", |line| line["message"] == "the new process cannot take over; this one goes on");
    assert!(told["error"].as_str().is_some_and(|error| error.contains("exit status: 1")), "{told}");
    assert!(gateway.output().contains("smtp, submission, lmtp"), "{}", gateway.output());
    come_and_go(address);
    // And what is mended takes over.
    gateway.edit("protocol = \"snail\"", good);
    let mut line = Line::of(gateway);
    line.hand_over();
    come_and_go(address);
    assert_eq!(line.gateway.ended(), Some(0));
}

#[test]
fn a_program_that_was_replaced_by_something_else_changes_nothing() {
    let smtp = fake("smtp");
    let builder = Gateway::builder().listener("smtp", "smtp", smtp.address());
    let program = builder.scratch().program("mailward", Path::new(env!("CARGO_BIN_EXE_mailward")));
    let gateway = builder.program(&program).start();
    let script = gateway.scratch.write("script", "#!/bin/sh\nexit 3\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("an executable one");
    let new = gateway.scratch.program("mailward.new", &script);
    fs::rename(&new, &program).expect("in its place");
    gateway.signal("USR2");
    let told = gateway.log_line("the failure", |line| line["level"] == "ERROR");
    assert!(told["error"].as_str().is_some_and(|error| error.contains("exit status: 3")), "{told}");
    come_and_go(gateway.address("smtp"));
}

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service manager's end of sd_notify(3).
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { socket }
    }

    /// The next message that is not about the watchdog.
    #[track_caller]
    fn next(&self) -> String {
        loop {
            let message = self.any();
            if message.trim() != "WATCHDOG=1" {
                return message;
            }
        }
    }

    #[track_caller]
    fn any(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }
}

#[test]
fn a_service_manager_is_told_of_the_start_a_reload_a_successor_and_the_end() {
    let smtp = fake("smtp");
    let builder = Gateway::builder().listener("smtp", "smtp", smtp.address());
    let path = builder.scratch().join("notify");
    let manager = Manager::at(&path);
    let gateway = builder.environment("NOTIFY_SOCKET", &path.display().to_string()).start();
    assert!(manager.next().starts_with("READY=1\n"));
    gateway.signal("HUP");
    let reloading = manager.next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(manager.next().starts_with("READY=1\n"));
    // A reload that is refused ends too.
    gateway.edit("protocol = \"smtp\"", "protocol = \"snail\"");
    gateway.signal("HUP");
    assert!(manager.next().starts_with("RELOADING=1\n"));
    assert!(manager.next().starts_with("READY=1\n"));
    gateway.edit("protocol = \"snail\"", "protocol = \"smtp\"");
    let mut line = Line::of(gateway);
    line.hand_over();
    assert_eq!(manager.next(), format!("MAINPID={}\n", line.last));
    assert!(manager.next().starts_with("READY=1\n"));
    signal(line.last, "TERM");
    let stopping = manager.next();
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC="), "{stopping}");
}

#[test]
fn a_watchdog_hears_of_a_process_that_works_and_nothing_of_one_that_stands_still() {
    let smtp = fake("smtp");
    let builder = Gateway::builder().listener("smtp", "smtp", smtp.address());
    let path = builder.scratch().join("notify");
    let manager = Manager::at(&path);
    let gateway = builder
        .environment("NOTIFY_SOCKET", &path.display().to_string())
        .environment("WATCHDOG_USEC", "200000")
        .start();
    assert!(manager.next().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.any(), "WATCHDOG=1\n");
    }
    gateway.signal("STOP");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
    let mut bytes = [0; 64];
    while manager.socket.recv(&mut bytes).is_ok() {}
    manager.socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    gateway.signal("CONT");
    assert_eq!(manager.any(), "WATCHDOG=1\n");
}

/// What a service manager does: it opens the socket, and the program finds it as descriptor 3 (sd_listen_fds(3)).
const ACTIVATE: &str = "import os, socket, sys
s = socket.create_server(('127.0.0.2', int(sys.argv[1])), backlog=64)
if s.fileno() == 3: os.set_inheritable(3, True)
else: os.dup2(s.fileno(), 3); s.close()
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])";

#[test]
fn sockets_of_a_service_manager_are_served_by_every_worker_and_handed_on() {
    let (smtp, port) = (fake("smtp"), reserve_port());
    let number = port.number().to_string();
    // Nobody but the one who opened it could have this port: it was opened without SO_REUSEPORT.
    let gateway = Gateway::builder()
        .under(&["python3", "-c", ACTIVATE, &number])
        .listener("smtp", "smtp", smtp.address())
        .with("smtp", &format!("bind = \"{}\"", port.address()))
        .start();
    for _ in 0..16 {
        come_and_go(port.address());
    }
    assert!(gateway.reload());
    come_and_go(port.address());
    assert_eq!(gateway.count(|line| line["level"] == "WARN" && line["address"].is_string()), 0);
    let mut line = Line::of(gateway);
    line.hand_over();
    for _ in 0..16 {
        come_and_go(port.address());
    }
}

#[test]
fn a_socket_that_no_listener_wants_is_told_of() {
    let (smtp, port) = (fake("smtp"), reserve_port());
    let number = port.number().to_string();
    let gateway = Gateway::builder()
        .under(&["python3", "-c", ACTIVATE, &number])
        .listener("smtp", "smtp", smtp.address())
        .start();
    come_and_go(gateway.address("smtp"));
    let told = gateway.log_line("the warning", |line: &Value| {
        line["level"] == "WARN" && line["address"] == port.address().to_string()
    });
    assert!(
        told["message"].as_str().is_some_and(|text| text.starts_with("the service manager listens here")),
        "{told}"
    );
}
