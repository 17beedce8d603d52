//! Clients that take their time, or all of the memory: every wait has an end, and every buffer a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::{Dialect, Fake, Gateway, Talk, dialect, eventually, figure, size};
use crate::{STAGES, World, implicit, world};

/// When a deadline of 1200 ms is at the earliest taken for passed.
const EARLIEST: Duration = Duration::from_millis(1100);
/// How long after a deadline a session that has none must still be there.
const LATER: Duration = Duration::from_millis(500);
/// How late a noisy machine may be.
const LATEST: Duration = Duration::from_secs(10);

/// Asserts that the session that began at `begun` ended when its deadline had passed.
#[track_caller]
fn assert_in_time(begun: Instant, what: &str) {
    let lasted = begun.elapsed();
    assert!((EARLIEST..LATEST).contains(&lasted), "{what}: {lasted:?}");
}

/// How a client learns that it was too slow.
fn too_slow(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" => "* BYE",
        "pop3" => "-ERR Too slow",
        "managesieve" => "BYE \"Too slow",
        _ => "421 4.4.2",
    }
}

#[test]
fn a_command_that_is_dripped_ends_at_the_commands_deadline() {
    let World { gateway, backends } = &world("timeout.command = \"1200ms\"");
    for (dialect, witness) in backends {
        for (stage, enter) in STAGES {
            let begun = Instant::now();
            let mut talk = enter(dialect, gateway);
            while talk.is_silent_for(Duration::from_millis(40)) && talk.try_send("y").is_ok() {}
            let last = talk.line();
            assert!(last.starts_with(too_slow(dialect)), "{} {stage}: {last:?}", dialect.protocol);
            assert_in_time(begun, dialect.protocol);
            talk.closes();
        }
        assert!(!witness.heard().contains('y'), "{}", dialect.protocol);
        gateway.session(dialect.protocol, "timeout");
    }
}

#[test]
fn a_client_that_never_logs_in_ends_at_the_logins_deadline_however_busy_it_is() {
    let World { gateway, backends } = &world("timeout.login = \"1200ms\"\nlimit.commands = 100000");
    for (dialect, _) in backends.iter().filter(|(dialect, _)| !dialect.login.0.is_empty()) {
        for starttls in [true, false] {
            let begun = Instant::now();
            let mut talk = if starttls {
                dialect.connect(gateway, dialect.protocol)
            } else {
                dialect.enter(gateway, &implicit(dialect))
            };
            let mut last = dialect.noop.1.to_owned();
            while begun.elapsed() < LATEST && last.starts_with(dialect.noop.1) {
                talk.is_silent_for(Duration::from_millis(20));
                let _ = talk.try_send(dialect.noop.0);
                last = talk.line();
            }
            assert_in_time(begun, dialect.protocol);
            // Where a command is with the backend, POP3 has words that do not sound like the answer to a password.
            let told = last.starts_with(too_slow(dialect)) || last.starts_with(dialect.lost);
            assert!(told, "{}: {last:?}", dialect.protocol);
        }
    }
}

#[test]
fn a_login_in_time_stops_the_logins_clock() {
    let World { gateway, backends } = &world("timeout.login = \"2s\"");
    for (dialect, _) in backends {
        let begun = Instant::now();
        let mut talk = dialect.log_in(gateway, &implicit(dialect));
        if begun.elapsed() < Duration::from_secs(2) {
            assert!(talk.is_silent_for(Duration::from_secs(2).saturating_sub(begun.elapsed()) + LATER));
        }
        dialect.ask(&mut talk, dialect.noop);
    }
}

#[test]
fn a_silent_session_ends_at_the_idle_deadline_without_a_word_that_could_be_taken_for_an_answer() {
    let World { gateway, backends } = &world("timeout.idle = \"1200ms\"\ntimeout.command = \"1200ms\"");
    for (dialect, _) in backends {
        let begun = Instant::now();
        let mut talk = dialect.log_in(gateway, &implicit(dialect));
        if dialect.carries_mail() {
            talk.expect("421 4.4.2");
        }
        talk.closes_in_order();
        assert_in_time(begun, dialect.protocol);
        gateway.session(&implicit(dialect), "timeout");
    }
}

#[test]
fn a_body_that_stops_ends_at_the_idle_deadline_and_is_no_message() {
    let World { gateway, backends } = &world("timeout.idle = \"1200ms\"");
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        let mut talk = dialect.log_in(gateway, &implicit(dialect));
        for command in ["MAIL FROM:<bob@example.net>", "RCPT TO:<alice@example.org>"] {
            talk.ask(command, "250");
        }
        talk.ask("DATA", "354");
        let begun = Instant::now();
        talk.send("Subject: half\r\n\r\nhalf a mess");
        talk.expect("421 4.4.2");
        assert_in_time(begun, dialect.protocol);
        drop(talk);
        assert_eq!((witness.messages(), witness.heard().contains("\r\n.\r\n")), (0, false));
    }
}

/// A backend that sends for ever once it was asked for something behind the login, and counts.
fn flood(sent: Arc<AtomicU64>, stalled: Arc<AtomicUsize>) -> Fake {
    Fake::start(move |mut talk, _| {
        talk.send("* OK [CAPABILITY IMAP4rev1] ready\r\n");
        if talk.line().is_empty() {
            return;
        }
        talk.send("l OK welcome\r\n");
        talk.line();
        talk.socket().set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let line = "* 1 EXISTS\r\n".repeat(1000);
        while talk.try_send(&line).is_ok() {
            sent.fetch_add(line.len() as u64, Relaxed);
        }
        stalled.fetch_add(1, Relaxed);
        // Held open: the session is to be measured as it stands.
        talk.rest();
    })
}

#[test]
fn a_client_that_does_not_read_costs_a_buffer_and_no_more() {
    let count = size("sessions of clients that do not read", 20, 100);
    let (sent, stalled) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let fake = flood(sent.clone(), stalled.clone());
    let gateway = Gateway::builder().implicit("imaps", "imap", fake.address()).start();
    for _ in 0..4 {
        dialect("imap").enter(&gateway, "imaps");
    }
    let before = gateway.memory();
    let talks: Vec<_> = (0..count)
        .map(|_| {
            let mut talk = dialect("imap").log_in(&gateway, "imaps");
            talk.send("s SELECT INBOX\r\n");
            talk
        })
        .collect();
    eventually(|| (stalled.load(Relaxed) >= count).then_some(())).expect("every backend is held up");
    let each = gateway.memory().saturating_sub(before) / count as u64;
    let sent = sent.load(Relaxed) / count as u64;
    figure(&format!("a client that does not read costs {} KiB, with {} KiB sent to it", each >> 10, sent >> 10));
    assert!(each < 400 << 10, "{each} bytes for each session");
    assert!(sent < 64 << 20, "{sent} bytes were taken from each backend");
    drop(talks);
    let mut next = dialect("imap").log_in(&gateway, "imaps");
    next.send("n NOOP\r\n").expect("* 1 EXISTS");
}

#[test]
fn a_backend_that_does_not_read_holds_the_client_up_and_costs_a_buffer_and_no_more() {
    let fake = Fake::start(|mut talk, _| {
        talk.send("220 ready\r\n").line();
        for reply in ["250 fine\r\n", "250 fine\r\n", "250 fine\r\n", "354 go on\r\n"] {
            talk.send(reply);
            if reply.starts_with("250") {
                talk.line();
            }
        }
        // Nothing is read of the message until the test ends.
        std::thread::park();
    });
    let gateway = Gateway::builder().implicit("smtps", "smtp", fake.address()).start();
    let smtp = dialect("smtp");
    let mut talk = smtp.enter(&gateway, "smtps");
    let before = gateway.memory();
    talk.ask("MAIL FROM:<bob@example.net>", "250");
    talk.ask("RCPT TO:<alice@example.org>", "250");
    talk.ask("DATA", "354");
    talk.socket().set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let (line, mut sent) = ("x".repeat(70) + "\r\n", 0);
    let lines = line.repeat(200);
    while talk.try_send(&lines).is_ok() && sent < 200 << 20 {
        sent += lines.len();
    }
    let grown = gateway.memory().saturating_sub(before);
    assert!(sent < 64 << 20, "{sent} bytes were taken from the client");
    assert!(grown < 4 << 20, "memory grew by {grown} bytes");
}

#[test]
fn an_endless_reply_of_a_backend_before_login_ends_the_session_in_bounded_memory() {
    let fake = |dialect: &'static Dialect| {
        Fake::start(move |mut talk: Talk, _| {
            let (greeting, line) = match dialect.protocol {
                "imap" => ("* OK [CAPABILITY IMAP4rev1] ready\r\n", "y"),
                "pop3" => ("+OK ready\r\n", "y"),
                "managesieve" => ("OK \"ready\"\r\n", "y"),
                _ => ("220 ready\r\n", "250-y\r\n"),
            };
            talk.send(greeting).line();
            let piece = line.repeat(1000);
            while talk.try_send(&piece).is_ok() {}
        })
    };
    for dialect in &crate::support::DIALECTS {
        let fake = fake(dialect);
        let gateway = Gateway::builder().implicit("any", dialect.protocol, fake.address()).start();
        let visit = || {
            let mut talk = Talk::to(gateway.address("any")).tls(gateway.authority.roots());
            talk.until(dialect.welcome);
            let first = if dialect.hello.0.is_empty() { dialect.noop.0 } else { dialect.hello.0 };
            talk.send(first).expect(dialect.lost);
            talk.closes();
        };
        // The first handshakes of a process, one on each worker, load what the later ones use.
        (0..4).for_each(|_| visit());
        let before = gateway.memory();
        visit();
        let grown = gateway.memory().saturating_sub(before);
        assert!(grown < 4 << 20, "{}: memory grew by {grown} bytes", dialect.protocol);
        assert_eq!(gateway.session("any", "backend-lost")["reason"], "backend-broke-protocol");
    }
}
