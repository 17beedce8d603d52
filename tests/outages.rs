//! What mailward stands on fails: its log, its backends, its clients half-way.

mod support;

use std::fs::{File, OpenOptions};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Fake, Gateway, Talk, mailward, nobody, reserve_port};

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let port = reserve_port();
    let builder = Gateway::builder().listener("smtp", "smtp", "embedded");
    let builder = builder.with("smtp", &format!("bind = \"{}\"", port.address()));
    builder.write();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut running = Command::new(env!("CARGO_BIN_EXE_mailward"))
        .env("MAILWARD_CONFIG", builder.scratch().join("proxy.toml"))
        .stdin(Stdio::null())
        .stdout(File::create(builder.scratch().join("out")).expect("the directory is writable"))
        .stderr(full)
        .spawn()
        .expect("mailward is built");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(port.address()).is_err() {
        assert!(running.try_wait().expect("a status").is_none(), "it gave up");
        assert!(Instant::now() < deadline, "it does not listen");
        thread::yield_now();
    }
    for _ in 0..3 {
        let mut client = Talk::to(port.address());
        client.reply("220 ");
        client.ask("QUIT", "221 ");
        client.closes();
    }
    let killed = Command::new("kill").args(["-s", "TERM", &running.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    assert_eq!(running.wait().expect("a status").code(), Some(0));
}

#[test]
fn a_level_that_does_not_exist_does_not_turn_the_log_off() {
    let (code, _) = mailward(&["--log-level", "verbose", "check"]);
    assert_eq!(code, Some(2));
}

#[test]
fn all_who_wait_for_a_silent_backend_wait_for_it_once() {
    let silent = Fake::start(|mut backend, _| {
        backend.rest();
    });
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", silent.address())
        .backend("smtp", "timeout.greeting = \"1s\"")
        .start();
    let address = gateway.address("smtp");
    let began = Instant::now();
    let clients: Vec<_> = (0..12)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Talk::to(address);
                client.reply("220 ");
                client.send("EHLO client.example\r\n");
                client.reply("250");
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("an answer to EHLO"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn the_time_for_the_login_bounds_the_dialling_of_many_addresses() {
    let silent: Vec<_> = (0..4)
        .map(|_| {
            Fake::start(|mut backend, _| {
                backend.rest();
            })
        })
        .collect();
    let addresses: Vec<_> = silent.iter().map(|backend| format!("\"{}\"", backend.address())).collect();
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", nobody())
        .with("imaps", "timeout.login = \"2s\"")
        .backend("imaps", &format!("address = [{}]\ntimeout.greeting = \"5s\"", addresses.join(", ")))
        .start();
    let mut client = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    client.reply("* BYE [UNAVAILABLE]");
    assert!(client.closes_with_notify());
    let line = gateway.session("imaps", "backend-down");
    assert_eq!(line["reason"], "dial-timeout");
    assert!(line["ms"].as_u64().is_some_and(|ms| ms < 5000), "{line}");
}

#[test]
fn a_client_that_ends_its_sending_after_a_silence_still_gets_the_last_words() {
    let backend = Fake::start(|mut backend, _| {
        backend.send("* OK ready\r\n");
        let tag = backend.line().split(' ').next().unwrap_or_default().to_owned();
        backend.send(format!("{tag} OK logged in\r\n"));
        backend.rest();
        backend.send("* BYE last words\r\n");
    });
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", backend.address())
        .with("imaps", "timeout.half-close = \"2s\"")
        .start();
    let mut client = Talk::to(gateway.address("imaps")).tls(gateway.authority.roots());
    client.reply("* OK");
    client.ask("a LOGIN user pass", "a OK");
    // The silence itself is what is tested.
    thread::sleep(Duration::from_millis(2500));
    client.end_sending();
    client.reply("* BYE last words");
}

#[test]
fn one_listener_has_an_address_of_which_another_has_all_others() {
    let reserved = reserve_port();
    let port = reserved.number();
    let gateway = Gateway::builder()
        .listener("all", "smtp", nobody())
        .with("all", &format!("bind = \"0.0.0.0:{port}\""))
        .listener("one", "lmtp", nobody())
        .with("one", &format!("bind = \"127.0.0.1:{port}\""))
        .start();
    assert!(gateway.reload());
    Talk::to(([127, 0, 0, 2], port).into()).expect("220 mail.example.org ESMTP");
    Talk::to(([127, 0, 0, 1], port).into()).expect("220 mail.example.org LMTP");
}
