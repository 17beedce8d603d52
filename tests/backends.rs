//! Several addresses of one backend: which a session goes to, what becomes of one that fails, and how it comes back.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use support::{
    DIALECTS, Fake, Gateway, GatewayBuilder, Port, Talk, Witness, eventually, figure, nobody, reserve_port, size,
};

/// An SMTP server that can be killed with all its sessions, and come back at the same address. It answers NOOP with its
/// own name.
struct Mortal {
    name: String,
    address: SocketAddr,
    /// Nobody else listens there while it is dead.
    _port: Port,
    served: Arc<AtomicUsize>,
    /// How often it was killed, counted before it is.
    deaths: AtomicUsize,
    life: Mutex<Option<Life>>,
}

struct Life {
    listener: TcpListener,
    accepting: JoinHandle<Vec<TcpStream>>,
}

impl Mortal {
    fn start(name: &str) -> Self {
        let port = reserve_port();
        let mortal = Self {
            name: name.to_owned(),
            address: port.address(),
            _port: port,
            served: Arc::default(),
            deaths: AtomicUsize::new(0),
            life: Mutex::new(None),
        };
        mortal.revive();
        mortal
    }

    fn revive(&self) {
        let listener = TcpListener::bind(self.address).expect("the same address again");
        let (accepting, name, served) =
            (listener.try_clone().expect("a socket"), self.name.clone(), self.served.clone());
        let accepting = thread::spawn(move || {
            let mut streams = Vec::new();
            while let Ok((stream, _)) = accepting.accept() {
                streams.push(stream.try_clone().expect("a socket"));
                let (name, served) = (name.clone(), served.clone());
                thread::spawn(move || serve(&name, &served, Talk::over(stream)));
            }
            streams
        });
        *self.life.lock().expect("a life") = Some(Life { listener, accepting });
    }

    fn kill(&self) {
        self.deaths.fetch_add(1, Relaxed);
        let Life { listener, accepting } = self.life.lock().expect("a life").take().expect("it lives");
        // Wakes whoever accepts.
        SockRef::from(&listener).shutdown(std::net::Shutdown::Both).expect("a listening socket");
        let streams = accepting.join().expect("no panic");
        drop(listener);
        for stream in streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// How many sessions have said EHLO.
    fn served(&self) -> usize {
        self.served.load(Relaxed)
    }
}

fn serve(name: &str, served: &AtomicUsize, mut talk: Talk) {
    let mut reply = "220 ready\r\n".to_owned();
    while talk.try_send(&reply).is_ok() {
        let line = talk.heard();
        reply = match line.split_whitespace().next().unwrap_or_default() {
            "" => return,
            "EHLO" => {
                served.fetch_add(1, Relaxed);
                "250 backend.internal\r\n".to_owned()
            }
            "QUIT" => {
                let _ = talk.try_send("221 2.0.0 bye\r\n");
                return talk.cut();
            }
            _ => format!("250 2.0.0 {name}\r\n"),
        };
    }
}

/// A gateway in front of backends at these addresses, an SMTP listener with TLS from the first byte.
fn in_front_of(addresses: &str, lines: &str) -> GatewayBuilder {
    Gateway::builder().implicit("mx", "smtp", nobody()).backend("mx", &format!("address = [{addresses}]\n{lines}"))
}

fn listed(mortals: &[Mortal]) -> String {
    mortals.iter().map(|mortal| format!("\"{}\"", mortal.address)).collect::<Vec<_>>().join(", ")
}

/// A session that has said EHLO.
#[track_caller]
fn session(gateway: &Gateway) -> Talk {
    let mut talk = Talk::to(gateway.address("mx")).tls(gateway.authority.roots());
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk
}

/// A session that has come and gone.
#[track_caller]
fn visit(gateway: &Gateway) {
    session(gateway).ask("QUIT", "221");
}

fn tells(line: &Value, message: &str, address: SocketAddr) -> bool {
    line["message"].as_str().is_some_and(|text| text.starts_with(message)) && line["address"] == address.to_string()
}

const FAILS: &str = "an address of the backend does not answer";
const RETURNS: &str = "an address of the backend answers again";

#[test]
fn backends_killed_and_revived_under_load_lose_their_own_sessions_and_no_others() {
    let rounds = size("backends killed and revived under load", 9, 60);
    let mortals = ["a", "b", "c"].map(Mortal::start);
    let gateway = in_front_of(&listed(&mortals), "order = \"least-sessions\"\ncheck.interval = \"100ms\"").start();
    let (stop, whole, lost) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (gateway, mortals, stop, whole, lost) = (&gateway, &mortals, &stop, &whole, &lost);
        // Whatever ends this, the threads end with it.
        let _stop = StopWhenDropped(stop);
        let load: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        match live(gateway, mortals, 4 << number) {
                            true => whole.fetch_add(1, Relaxed),
                            false => lost.fetch_add(1, Relaxed),
                        };
                    }
                })
            })
            .collect();
        for round in 0..rounds {
            let mortal = &mortals[round % 3];
            let told = |message| gateway.count(|line| tells(line, message, mortal.address));
            let (failed, returned) = (told(FAILS), told(RETURNS));
            let before = mortal.served();
            eventually(|| (mortal.served() > before).then_some(())).expect("sessions come to each");
            mortal.kill();
            eventually(|| (told(FAILS) > failed).then_some(())).expect("it is told that an address fails");
            mortal.revive();
            eventually(|| (told(RETURNS) > returned).then_some(())).expect("it is told that it is back");
        }
        stop.store(true, Relaxed);
        load.into_iter().for_each(|thread| thread.join().expect("no session ends but by its own backend"));
    });
    let (whole, lost) = (whole.load(Relaxed), lost.load(Relaxed));
    figure(&format!(
        "{rounds} backends killed and revived: {whole} sessions whole, {lost} told 421 with their backend"
    ));
    assert!(whole > rounds && lost > 0, "{whole} whole, {lost} lost");
    assert_eq!(gateway.count(|line| line["message"] == "session" && line["outcome"] == "backend-down"), 0);
}

/// A session of so many commands; says whether it lived to its end. If not, it was told 421, and its backend is one
/// that was killed meanwhile.
#[track_caller]
fn live(gateway: &Gateway, mortals: &[Mortal], commands: usize) -> bool {
    let deaths = || mortals.iter().map(|mortal| mortal.deaths.load(Relaxed)).collect::<Vec<_>>();
    let before = deaths();
    let mut talk = Talk::to(gateway.address("mx")).tls(gateway.authority.roots());
    talk.reply("220");
    let mut name = None;
    for number in 0..=commands + 1 {
        let (command, code) = match number {
            0 => ("EHLO client.example.net\r\n", "250 "),
            // A backend may be killed before it answers this too.
            number if number > commands => ("QUIT\r\n", "221 "),
            _ => ("NOOP\r\n", "250 "),
        };
        let line = talk.send(command).line();
        if line.starts_with("421 4.3.2") {
            talk.closes_in_order();
            let died = |mortal: &(&Mortal, usize)| mortal.0.deaths.load(Relaxed) > mortal.1;
            let mut dead = mortals.iter().zip(before).filter(died);
            // Before the first answer nobody knows where it was.
            assert!(dead.any(|(mortal, _)| name.as_ref().is_none_or(|name| *name == mortal.name)), "{name:?} lives");
            return false;
        }
        assert!(line.starts_with(code), "{line:?}");
        if (1..=commands).contains(&number) {
            name = line.split_whitespace().last().map(str::to_owned);
        }
    }
    true
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// An address at which a connection neither comes about nor is refused: the queue is full, and nobody accepts.
struct Silence {
    address: SocketAddr,
    _held: (Socket, Vec<TcpStream>),
}

fn silence() -> Silence {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(0).expect("a queue");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
    }
    Silence { address, _held: (socket, queued) }
}

#[test]
fn an_address_that_fails_costs_one_client_one_connect_deadline_and_nobody_after_that_but_one_that_tries_again() {
    let silence = silence();
    let good = Mortal::start("good");
    let addresses = format!("\"{}\", \"{}\"", silence.address, good.address);
    let gateway = in_front_of(&addresses, "timeout.connect = \"2s\"").start();
    let took = || {
        let began = Instant::now();
        visit(&gateway);
        began.elapsed()
    };
    let first = took();
    assert!((Duration::from_secs(2)..Duration::from_millis(3900)).contains(&first), "{first:?}");
    // The address is tried again 2 s after it failed, and then not for 4 s.
    let until = Instant::now() + Duration::from_secs(5);
    let times: Vec<_> = thread::scope(|scope| {
        let client = |_| scope.spawn(|| std::iter::from_fn(|| (Instant::now() < until).then(took)).collect::<Vec<_>>());
        let clients: Vec<_> = (0..4).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().expect("every session is served")).collect()
    });
    let slow: Vec<_> = times.iter().filter(|time| **time >= Duration::from_millis(1950)).collect();
    assert_eq!(slow.len(), 1, "{slow:?} of {}", times.len());
    assert!(*slow[0] < Duration::from_millis(3900), "{slow:?}");
    figure(&format!("beside an address that fails: {} sessions, one of them late, by {:?}", times.len(), slow[0]));
    assert_eq!(gateway.count(|line| tells(line, FAILS, silence.address)), 1);
    let reason = gateway.log_line("why", |line| tells(line, FAILS, silence.address))["reason"].clone();
    assert_eq!(reason, "no connection within 2s");
}

#[test]
fn while_every_address_is_left_out_clients_are_sent_away_at_once() {
    let silence = silence();
    let gateway = in_front_of(&format!("\"{}\"", silence.address), "timeout.connect = \"3s\"").start();
    let refused = || {
        let began = Instant::now();
        Talk::to(gateway.address("mx")).tls(gateway.authority.roots()).expect("421 4.3.2");
        began.elapsed()
    };
    assert!(refused() >= Duration::from_secs(3));
    // For two seconds, that is.
    for _ in 0..3 {
        assert!(refused() < Duration::from_millis(2500));
    }
}

#[test]
fn weights_are_the_shares_of_the_sessions() {
    let mortals = ["a", "b", "c"].map(Mortal::start);
    let member = |mortal: &Mortal, weight| format!("{{ address = \"{}\", weight = {weight} }}", mortal.address);
    let addresses = [member(&mortals[0], 3), format!("\"{}\"", mortals[1].address), member(&mortals[2], 0)].join(", ");
    let gateway = in_front_of(&addresses, "order = \"round-robin\"").start();
    (0..40).for_each(|_| visit(&gateway));
    assert_eq!([0, 1, 2].map(|one: usize| mortals[one].served()), [30, 10, 0]);
}

#[test]
fn least_sessions_counts_those_that_are_there() {
    let mortals = ["a", "b"].map(Mortal::start);
    let gateway = in_front_of(&listed(&mortals), "order = \"least-sessions\"").start();
    let mut held: Vec<_> = (0..12).map(|_| session(&gateway)).collect();
    assert_eq!([0, 1].map(|one: usize| mortals[one].served()), [6, 6]);
    // The sessions of one end, and the next ones all go there.
    let mut ended = 0;
    held.retain_mut(|talk| {
        let on_first = talk.ask("NOOP", "250").ends_with("a\r\n");
        if on_first {
            talk.ask("QUIT", "221");
            ended += 1;
        }
        !on_first
    });
    eventually(|| (gateway.count(|line| line["message"] == "session") == ended).then_some(()))
        .expect("they have ended");
    held.extend((0..6).map(|_| session(&gateway)));
    assert_eq!([0, 1].map(|one: usize| mortals[one].served()), [12, 6]);
}

#[test]
fn an_address_that_comes_back_gets_its_share_slowly() {
    for order in ["in-order", "round-robin", "least-sessions"] {
        let mortals = ["a", "b"].map(Mortal::start);
        let lines = format!("order = \"{order}\"\nslow-start = \"10m\"\ncheck.interval = \"100ms\"");
        let gateway = in_front_of(&listed(&mortals), &lines).start();
        mortals[0].kill();
        gateway.log_line(FAILS, |line| tells(line, FAILS, mortals[0].address));
        mortals[0].revive();
        gateway.log_line(RETURNS, |line| tells(line, RETURNS, mortals[0].address));
        let before = mortals.each_ref().map(Mortal::served);
        let held: Vec<_> = (0..40).map(|_| session(&gateway)).collect();
        let after = mortals.each_ref().map(Mortal::served);
        assert!(after[0] - before[0] <= 10, "{order}: {}", after[0] - before[0]);
        // Where there is no other, it takes all.
        mortals[1].kill();
        let mut talk = session(&gateway);
        assert!(talk.ask("NOOP", "250").ends_with("a\r\n"), "{order}");
        drop(held);
    }
}

#[test]
fn an_address_that_a_reload_takes_out_keeps_its_sessions_and_gets_no_new_ones() {
    let mortals = ["a", "b"].map(Mortal::start);
    let gateway = in_front_of(&listed(&mortals), "").start();
    let first = format!("\"{}\"", mortals[0].address);
    for (old, new) in [
        (first.clone(), format!("{{ address = {first}, weight = 0 }}")),
        (format!("{{ address = {first}, weight = 0 }}, "), String::new()),
    ] {
        let mut held = session(&gateway);
        let sessions = mortals[0].served();
        gateway.edit(&old, &new);
        assert!(gateway.reload());
        (0..3).for_each(|_| visit(&gateway));
        assert_eq!(mortals[0].served(), sessions, "{new}");
        held.ask("NOOP", "250");
        held.ask("QUIT", "221");
    }
    // It comes back as it was.
    gateway.edit("address = [", &format!("address = [{first}, "));
    assert!(gateway.reload());
    let mut talk = session(&gateway);
    assert!(talk.ask("NOOP", "250").ends_with("a\r\n"));
}

#[test]
fn what_is_known_of_an_address_outlives_a_reload() {
    let silence = silence();
    let good = Mortal::start("good");
    let addresses = format!("\"{}\", \"{}\"", silence.address, good.address);
    let gateway = in_front_of(&addresses, "timeout.connect = \"3s\"").start();
    visit(&gateway);
    assert!(gateway.reload());
    let began = Instant::now();
    visit(&gateway);
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!(gateway.count(|line| tells(line, FAILS, silence.address)), 1);
}

#[test]
fn checks_speak_the_protocol_and_take_leave() {
    for dialect in &DIALECTS {
        let witness = Witness::start(dialect);
        let gateway = Gateway::builder()
            .implicit("any", dialect.protocol, witness.address())
            .backend("any", "check.interval = \"50ms\"")
            .start();
        eventually(|| (witness.connections() >= 3).then_some(())).expect("checks");
        drop(gateway);
        let heard = witness.heard();
        let whole: Vec<_> = heard.split_inclusive("\r\n").collect();
        assert!(
            whole.len() >= 2 && whole.iter().all(|line| *line == dialect.quit.0),
            "{}: {heard:?}",
            dialect.protocol
        );
    }
}

#[test]
fn a_check_finds_what_fails_before_a_client_does() {
    let refuses = Arc::new(AtomicBool::new(false));
    let switch = refuses.clone();
    let checked = Fake::start(move |mut talk, _| {
        if switch.load(Relaxed) {
            let _ = talk.try_send("421 4.3.2 going down\r\n");
            talk.rest();
        } else {
            support::plain::serve("smtp", talk);
        }
    });
    let spare = Mortal::start("spare");
    let addresses = format!("\"{}\", \"{}\"", checked.address(), spare.address);
    let gateway = in_front_of(&addresses, "check.interval = \"100ms\"\ncheck.timeout = \"10s\"").start();
    visit(&gateway);
    assert_eq!(spare.served(), 0);
    refuses.store(true, Relaxed);
    let told = gateway.log_line("a refusal", |line| tells(line, FAILS, checked.address()));
    assert_eq!(told["reason"], "it refuses: 421 4.3.2 going down");
    (0..5).for_each(|_| visit(&gateway));
    assert_eq!(spare.served(), 5);
    refuses.store(false, Relaxed);
    gateway.log_line("its return", |line| tells(line, RETURNS, checked.address()));
    visit(&gateway);
    assert_eq!(spare.served(), 5);
}
