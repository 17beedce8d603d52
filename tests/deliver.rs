//! Mail goes out and comes back through mailward, between real clients and real servers.

mod support;

use support::{
    ALICE, Curl, Dovecot, Exim, Gateway, Mbsync, Postfix, Python, Swaks, Talk, assert_carries, figure, message, size,
};

const BOB: &str = "bob@example.net";

/// Postfix and Dovecot behind a gateway with every protocol, STARTTLS and implicit.
struct World {
    dovecot: Dovecot,
    #[allow(dead_code, reason = "it runs as long as it is held")]
    postfix: Postfix,
    gateway: Gateway,
}

fn world() -> World {
    let dovecot = Dovecot::builder().trust("127.0.0.1").start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .listener("submission", "submission", postfix.submission())
        .implicit("submissions", "submission", postfix.submission())
        .listener("lmtp", "lmtp", dovecot.lmtp())
        .listener("imap", "imap", dovecot.imap())
        .implicit("imaps", "imap", dovecot.imap())
        .listener("pop3", "pop3", dovecot.pop3())
        .implicit("pop3s", "pop3", dovecot.pop3())
        .listener("sieve", "managesieve", dovecot.sieve())
        .start();
    World { dovecot, postfix, gateway }
}

#[test]
fn a_message_goes_out_by_every_way_and_comes_back_by_every_way() {
    let World { dovecot, gateway, .. } = &world();
    let sent = message("all ways", 20_000);
    Swaks::at(&gateway.starttls("smtp")).send(BOB, ALICE, &sent).succeeds();
    assert_carries(&dovecot.delivery("alice"), &sent);
    Curl::smtp(&gateway.starttls("submission")).login("alice").send(ALICE, "user1@example.org", &sent).succeeds();
    assert_carries(&dovecot.delivery("user1"), &sent);
    Python::at(&gateway.implicit("submissions")).smtp("alice", ALICE, "user2@example.org", &sent).succeeds();
    assert_carries(&dovecot.delivery("user2"), &sent);
    Swaks::at(&gateway.starttls("lmtp")).lmtp().send(BOB, "user3@example.org", &sent).succeeds();
    assert_carries(&dovecot.delivery("user3"), &sent);

    let stored = Python::at(&gateway.implicit("imaps")).imap_fetch("user1").succeeds().out;
    assert_carries(&stored, &sent);
    assert_eq!(Python::at(&gateway.starttls("imap")).imap_fetch("user1").succeeds().out, stored);
    assert_eq!(Python::at(&gateway.implicit("pop3s")).pop3_fetch("user1").succeeds().out, stored);
    assert_eq!(Python::at(&gateway.starttls("pop3")).pop3_fetch("user1").succeeds().out, stored);
    let read = Curl::imap(&gateway.implicit("imaps"), "INBOX;MAILINDEX=1").login("user1").run().succeeds();
    assert_carries(&read.out, &sent);
    let read = Curl::pop3(&gateway.starttls("pop3"), "1").login("user1").run().succeeds();
    assert_carries(&read.out, &sent);

    let session = gateway.session("submissions", "ok");
    assert_eq!(session["user"], "alice", "{session}");
    assert!(session["bytes_in"].as_u64().is_some_and(|bytes| bytes > 20_000), "{session}");
}

#[test]
fn a_sieve_script_is_stored_and_read_back() {
    let World { gateway, .. } = &world();
    let script = "require \"fileinto\";\r\nkeep;\r\n";
    Python::at(&gateway.starttls("sieve")).sieve("bob", script).succeeds().prints("require \"fileinto\"");
    assert_eq!(gateway.session("sieve", "ok")["user"], "bob");
}

#[test]
fn mbsync_fetches_and_uploads_through_starttls_and_implicit_tls() {
    let World { gateway, .. } = &world();
    let sent = message("mbsync", 100_000);
    Python::at(&gateway.implicit("imaps")).imap_append("alice", &sent).succeeds();
    for mut target in [gateway.starttls("imap"), gateway.implicit("imaps")] {
        target.name = "localhost".into();
        let mbsync = Mbsync::at(&target, "alice");
        mbsync.sync().succeeds();
        let fetched = mbsync.messages();
        let subject =
            |message: &&Vec<u8>| message.starts_with(b"Subject: mbsync") || find(message, b"\nSubject: mbsync");
        assert_carries(&crlf(fetched.iter().find(subject).expect("the message")), &sent);
        mbsync.put(b"Subject: from mbsync\n\nup\n");
        mbsync.sync().succeeds();
    }
    let uploaded = Python::at(&gateway.implicit("imaps")).imap_fetch("alice").succeeds().text();
    assert!(uploaded.contains("Subject: from mbsync"), "{uploaded}");
}

#[test]
fn a_large_message_comes_back_byte_for_byte_by_data_and_by_bdat() {
    let World { dovecot, gateway, .. } = &world();
    let bytes = size("bytes of the large message", 6_000_000, 25_000_000);
    let sent = message("large", bytes);
    Python::at(&gateway.starttls("smtp")).smtp("", BOB, ALICE, &sent).succeeds();
    assert_carries(&dovecot.delivery("alice"), &sent);
    let stored = Python::at(&gateway.implicit("imaps")).imap_fetch("alice").succeeds().out;
    assert_carries(&stored, &sent);
    let stored = Python::at(&gateway.implicit("pop3s")).pop3_fetch("alice").succeeds().out;
    assert_carries(&stored, &sent);
    send_by_bdat(gateway, "user1@example.org", &sent);
    assert_carries(&dovecot.delivery("user1"), &sent);
}

#[test]
fn exim_sends_by_bdat_through_starttls() {
    let World { dovecot, gateway, .. } = &world();
    let sent = message("exim", 300_000);
    let exim = Exim::to(gateway.address("smtp")).tls(support::NAME, &gateway.ca());
    exim.send(BOB, &[ALICE], &sent).succeeds().prints("=>").prints(" K ");
    assert_carries(&dovecot.delivery("alice"), &sent);
    assert_eq!(gateway.session("smtp", "ok")["tls"], "TLSv1.3");
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What mbsync fetched: it stores LF line ends and adds a field of its own.
fn crlf(message: &[u8]) -> Vec<u8> {
    message
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"X-TUID: "))
        .flat_map(|line| match line.strip_suffix(b"\n") {
            Some(text) => [text, b"\r\n"].concat(),
            None => line.to_vec(),
        })
        .collect()
}

/// Sends in three chunks, pipelined, the last one empty.
fn send_by_bdat(gateway: &Gateway, to: &str, message: &[u8]) {
    let mut talk = Talk::to(gateway.address("smtp"));
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk.ask("STARTTLS", "220");
    let mut talk = talk.tls(gateway.authority.roots());
    let list = talk.send("EHLO client.example.net\r\n").reply("250");
    assert!(list.contains("CHUNKING"), "{list}");
    talk.send(format!("MAIL FROM:<{BOB}>\r\nRCPT TO:<{to}>\r\n"));
    talk.reply("250");
    talk.reply("250");
    let (first, second) = message.split_at(message.len() / 3);
    for chunk in [first, second] {
        talk.send(format!("BDAT {}\r\n", chunk.len())).send(chunk);
    }
    talk.send("BDAT 0 LAST\r\n");
    for _ in 0..3 {
        talk.reply("250");
    }
    talk.ask("QUIT", "221");
    talk.closes();
}

#[test]
fn idle_announces_a_new_message() {
    let World { gateway, .. } = &world();
    let mut idle = Python::at(&gateway.implicit("imaps")).imap_idle("alice");
    assert_eq!(idle.line(), "idling");
    Swaks::at(&gateway.starttls("smtp")).send(BOB, ALICE, &message("wake up", 1_000)).succeeds();
    assert!(idle.line().ends_with("EXISTS"));
    assert_eq!(idle.line(), "done");
}

#[test]
fn fifty_sessions_work_at_once() {
    let World { dovecot, gateway, .. } = &world();
    let count = size("sessions at once", 50, 50);
    let sent = message("many", 30_000);
    let (smtp, imaps) = (gateway.address("smtp"), gateway.address("imaps"));
    let begun = std::time::Instant::now();
    let barrier = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        for number in 1..=count {
            let (sent, barrier) = (&sent, &barrier);
            scope.spawn(move || {
                let user = format!("user{number}");
                let mut talk = Talk::to(smtp);
                talk.reply("220");
                talk.send("EHLO a\r\n").reply("250");
                talk.ask("STARTTLS", "220");
                let mut talk = talk.tls(gateway.authority.roots());
                talk.send("EHLO a\r\n").reply("250");
                talk.ask(&format!("MAIL FROM:<{BOB}>"), "250");
                talk.ask(&format!("RCPT TO:<{user}@example.org>"), "250");
                talk.ask("DATA", "354");
                // All have come this far: so many sessions are open at once.
                barrier.wait();
                talk.send(support::stuffed(sent)).reply("250");
                let mut reader = Talk::to(imaps).tls(gateway.authority.roots());
                reader.expect("* OK");
                reader.send(format!("a LOGIN {user} \"open sesame\"\r\n")).until("a OK");
                barrier.wait();
                assert_carries(&dovecot.delivery(&user), sent);
                reader.send("b SELECT INBOX\r\n").until("b OK");
                reader.send("c LOGOUT\r\n").until("c OK");
            });
        }
    });
    figure(&format!("{count} sessions at once took {:?}", begun.elapsed()));
}

#[test]
fn a_dovecot_that_lists_logindisabled_is_usable_where_it_trusts_mailward_and_complained_about_where_not() {
    let trusting = Dovecot::builder().refuse_plaintext().trust("127.0.0.1").start();
    let strict = Dovecot::builder().refuse_plaintext().start();
    let gateway =
        Gateway::builder().implicit("good", "imap", trusting.imap()).implicit("bad", "imap", strict.imap()).start();
    Python::at(&gateway.implicit("good")).imap_capabilities("alice").succeeds();
    let seen = Python::at(&gateway.implicit("bad")).imap_capabilities("alice").fails();
    assert!(!seen.all().contains("LOGINDISABLED"), "{}", seen.all());
    let complaint = gateway.log_line("a warning about the backend", |line| {
        line["message"] == "the backend cannot be used as it is" && line["backend"] == "bad"
    });
    assert!(complaint["advice"].as_str().is_some_and(|advice| advice.contains("login_trusted_networks")));
}
