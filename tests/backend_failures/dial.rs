//! Backends that do not come as far as a greeting.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{DIALECTS, Dialect, Fake, Gateway, Talk, dialect, eventually, figure, nobody, size};
use crate::{LATEST, greeting, in_front_of, knock, reset};

/// What a backend does instead of greeting.
type Fault = fn(&Dialect, &mut Talk);

/// All of it. A backend that does nothing more is closed.
const FAULTS: [(&str, Fault); 8] = [
    ("silent", |_, talk| _ = talk.rest()),
    ("dribbling", |dialect, talk| {
        let start = &greeting(dialect)[..1];
        let _ = talk.try_send(if dialect.carries_mail() { "220-" } else { start });
        while talk.is_silent_for(Duration::from_millis(30)) && talk.try_send(dribble(dialect)).is_ok() {}
    }),
    ("endless", |dialect, talk| {
        let _ = talk.try_send(&greeting(dialect)[..3]);
        let piece = if dialect.carries_mail() { "-x\r\n220" } else { "x" }.repeat(1000);
        while talk.try_send(&piece).is_ok() {}
    }),
    ("of another protocol", |_, talk| {
        let _ = talk.try_send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        talk.rest();
    }),
    ("of no protocol", |_, talk| {
        let _ = talk.try_send([0x16, 0x03, 0x01, 0x00, 0x00, 0xff, b'\n']);
        talk.rest();
    }),
    ("closing", |_, _| {}),
    ("closing in the middle", |dialect, talk| _ = talk.try_send(&greeting(dialect)[..4])),
    ("resetting", |_, talk| reset(talk)),
];

/// What keeps a greeting incomplete.
fn dribble(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" | "pop3" => "",
        "managesieve" => "\r\n",
        _ => "x",
    }
}

/// The words for a backend that is down, and an orderly end.
#[track_caller]
fn assert_down(dialect: &Dialect, talk: &mut Talk, what: &str) {
    let line = talk.line();
    assert!(line.starts_with(dialect.down), "{what} {}: {line:?}", dialect.protocol);
    talk.closes_in_order();
}

#[test]
fn a_backend_that_does_not_greet_is_down_and_the_next_client_is_served() {
    for (what, fault) in FAULTS {
        let fakes: Vec<_> = DIALECTS.iter().map(|dialect| (dialect, faulty(dialect, fault))).collect();
        let builder = Gateway::builder();
        let builder = fakes.iter().fold(builder, |builder, (dialect, (fake, _))| {
            let quick = "timeout.greeting = \"1s\"";
            let name = dialect.protocol;
            in_front_of(builder, dialect, fake.address()).backend(name, quick).backend(&crate::implicit(dialect), quick)
        });
        let gateway = &builder.start();
        std::thread::scope(|scope| {
            for (dialect, (_, mended)) in &fakes {
                scope.spawn(move || {
                    let begun = Instant::now();
                    assert_down(dialect, &mut dialect.starttls(gateway, dialect.protocol), what);
                    assert_down(dialect, &mut knock(dialect, gateway), what);
                    assert!(begun.elapsed() < LATEST, "{what} {}: {:?}", dialect.protocol, begun.elapsed());
                    *mended.lock().expect("a switch") = true;
                    // It is left out for two seconds, and clients are sent away meanwhile.
                    let greeted = || !knock(dialect, gateway).heard().starts_with(dialect.down);
                    eventually(|| greeted().then_some(())).expect("the address is tried again");
                    dialect.ask(&mut dialect.enter(gateway, &crate::implicit(dialect)), dialect.noop);
                    gateway.session(dialect.protocol, "backend-down");
                });
            }
        });
    }
}

/// A backend with this fault, until the switch is thrown; then it greets and answers the first two commands.
fn faulty(dialect: &'static Dialect, fault: Fault) -> (Fake, Arc<Mutex<bool>>) {
    let mended = Arc::new(Mutex::new(false));
    let switch = mended.clone();
    let fake = Fake::start(move |mut talk, _| {
        if !*switch.lock().expect("a switch") {
            return fault(dialect, &mut talk);
        }
        let _ = talk.try_send(greeting(dialect));
        for _ in 0..2 {
            if !talk.some().is_empty() {
                let _ = talk.try_send(format!("{} fine\r\n", dialect.noop.1.trim_end()));
            }
        }
        talk.rest();
    });
    (fake, mended)
}

#[test]
fn a_backend_that_refuses_connections_is_down_and_greeted_so_for_a_moment() {
    let (gateway, dead) = (Gateway::builder(), nobody());
    let gateway = DIALECTS.iter().fold(gateway, |builder, dialect| in_front_of(builder, dialect, dead)).start();
    for dialect in &DIALECTS {
        assert_down(dialect, &mut knock(dialect, &gateway), "refused");
        assert_down(dialect, &mut dialect.starttls(&gateway, dialect.protocol), "refused");
        // While that is known, the next is told so in place of the greeting, for two seconds.
        let told = eventually(|| {
            let first = Talk::to(gateway.address(dialect.protocol)).line();
            (!first.starts_with(dialect.down)).then_some(first)
        });
        assert!(told.is_some(), "{}: greeted again", dialect.protocol);
    }
    let warnings = gateway.log().iter().filter(|line| line["message"] == "no address of the backend answers").count();
    assert_eq!(warnings, 2 * DIALECTS.len(), "each backend is complained about once");
}

#[test]
fn two_hundred_faulty_sessions_leave_no_descriptor_behind() {
    let count = size("faulty sessions counted for descriptors", 200, 2000);
    let fake = Fake::start(move |mut talk, number| {
        let (_, fault) = FAULTS[2 + number % 6];
        if number.is_multiple_of(7) {
            let _ = talk.try_send(greeting(dialect("imap")));
            reset(&talk);
        } else {
            fault(dialect("imap"), &mut talk);
        }
    });
    let gateway = in_front_of(Gateway::builder(), dialect("imap"), fake.address()).start();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("/proc").count();
    let visit = |number: usize| {
        let mut talk = Talk::to(gateway.address("imaps"));
        if number.is_multiple_of(5) {
            return;
        }
        talk = talk.tls(gateway.authority.roots());
        let _ = talk.try_send("n NOOP\r\n");
        if !number.is_multiple_of(3) {
            talk.rest();
        }
    };
    (0..8).for_each(visit);
    let settled = |most: usize| eventually(|| Some(descriptors()).filter(|count| *count <= most));
    let before = settled(descriptors()).expect("a count");
    (0..count).for_each(visit);
    let after = settled(before).unwrap_or_else(descriptors);
    figure(&format!("descriptors before and after {count} faulty sessions: {before}, {after}"));
    assert!(after <= before, "{after} descriptors, and {before} before");
    assert!(gateway.log().iter().all(|line| line["level"] != "ERROR"));
}
