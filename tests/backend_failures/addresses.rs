//! Several addresses, tried in order; names and unix sockets (spec §3.3).

use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::support::{DIALECTS, Fake, Gateway, Witness, dialect, nobody};

#[test]
fn the_first_address_that_greets_is_taken_and_those_behind_it_are_not_asked() {
    for dialect in &DIALECTS {
        let (good, spare) = (Witness::start(dialect), Witness::start(dialect));
        let silent = Fake::start(|mut talk, _| _ = talk.rest());
        let addresses =
            [nobody(), silent.address(), good.address(), spare.address()].map(|address| format!("\"{address}\""));
        let gateway = Gateway::builder()
            .implicit("any", dialect.protocol, good.address())
            .backend("any", &format!("address = [{}]", addresses.join(", ")))
            .backend("any", "timeout.greeting = \"1s\"")
            .start();
        for _ in 0..2 {
            let mut talk = dialect.log_in(&gateway, "any");
            dialect.ask(&mut talk, dialect.quit);
        }
        assert_eq!((good.connections(), spare.connections()), (2, 0), "{}", dialect.protocol);
        // Once it has failed it is left out for a while.
        assert!((1..=2).contains(&silent.connections()), "{}: {}", dialect.protocol, silent.connections());
        assert!(
            gateway.session("any", "ok")["backend"]
                .as_str()
                .is_some_and(|backend| { backend == format!("any/{}", good.address()) })
        );
    }
}

#[test]
fn a_backend_that_refuses_the_session_is_not_passed_over_for_the_next_address() {
    let refusing = Fake::start(|mut talk, _| _ = talk.send("* BYE not you\r\n").rest());
    let spare = Witness::start(dialect("imap"));
    let gateway = Gateway::builder()
        .implicit("any", "imap", spare.address())
        .backend("any", &format!("address = [\"{}\", \"{}\"]", refusing.address(), spare.address()))
        .start();
    let mut talk = crate::support::Talk::to(gateway.address("any")).tls(gateway.authority.roots());
    talk.expect("* BYE not you");
    assert_eq!(spare.connections(), 0);
}

#[test]
fn a_backend_can_be_found_by_name() {
    let witness = Witness::start(dialect("imap"));
    let gateway = Gateway::builder().implicit("any", "imap", format!("localhost:{}", witness.address().port())).start();
    let mut talk = dialect("imap").log_in(&gateway, "any");
    dialect("imap").ask(&mut talk, dialect("imap").quit);
}

#[test]
fn a_name_that_nobody_knows_is_a_backend_that_is_down() {
    let witness = Witness::start(dialect("imap"));
    let gateway = Gateway::builder()
        .implicit("any", "imap", "no-such-host.invalid:143")
        .implicit("both", "imap", witness.address())
        .backend("both", &format!("address = [\"no-such-host.invalid:143\", \"{}\"]", witness.address()))
        .start();
    let mut talk = crate::support::Talk::to(gateway.address("any")).tls(gateway.authority.roots());
    talk.expect("* BYE [UNAVAILABLE]");
    talk.closes_in_order();
    dialect("imap").enter(&gateway, "both");
}

#[test]
fn a_backend_can_be_a_unix_socket() {
    let witness = Witness::start(dialect("lmtp"));
    let builder = Gateway::builder();
    let path = builder.scratch().join("lmtp");
    let to = witness.address();
    let listener = UnixListener::bind(&path).expect("a unix socket");
    thread::spawn(move || {
        for unix in listener.incoming().flatten() {
            bridge(unix, TcpStream::connect(to).expect("the witness"));
        }
    });
    let gateway = builder.implicit("relative", "lmtp", "unix:lmtp").implicit("full", "lmtp", unix(&path)).start();
    for listener in ["relative", "full"] {
        let mut talk = dialect("lmtp").enter(&gateway, listener);
        talk.ask("MAIL FROM:<bob@example.net>", "250");
        talk.ask("RCPT TO:<alice@example.org>", "250");
        talk.ask("DATA", "354");
        talk.ask("over a unix socket\r\n.", "250");
        talk.ask("QUIT", "221");
    }
    assert_eq!(witness.messages(), 2);
    let mut gone = Gateway::builder().implicit("gone", "lmtp", "unix:not-there").start();
    let mut talk = crate::support::Talk::to(gone.address("gone")).tls(gone.authority.roots());
    talk.expect("421 4.3.2");
    assert!(gone.runs());
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Copies both ways until one side ends.
fn bridge(unix: UnixStream, tcp: TcpStream) {
    let (mut from, mut to) = (tcp.try_clone().expect("a socket"), unix.try_clone().expect("a socket"));
    thread::spawn(move || copy(&mut from, &mut to));
    let (mut from, mut to) = (unix, tcp);
    thread::spawn(move || {
        copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

fn copy(from: &mut impl std::io::Read, to: &mut impl std::io::Write) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}
