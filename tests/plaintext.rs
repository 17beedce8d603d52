//! Clients that go on without TLS: what they are offered, what passes, and what never does.

mod support;

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use support::{
    ALICE, Curl, Dovecot, Fake, Gateway, PASSWORD, Postfix, Python, Security, Swaks, Talk, Target, assert_carries,
    eventually, message, nobody, size, stuffed,
};

const BOB: &str = "bob@example.net";

/// What a fake backend was told, connection after connection.
type Heard = Arc<Mutex<Vec<(usize, String)>>>;

/// A small SMTP or LMTP server; the extensions of each connection are what `offer` says to its number.
fn server(heard: &Heard, offer: impl Fn(usize) -> &'static [&'static str] + Send + Sync + 'static) -> Fake {
    let heard = heard.clone();
    Fake::start(move |mut talk, number| {
        let _ = talk.try_send("220 fake ESMTP\r\n");
        while let Some(line) = command(&mut talk) {
            heard.lock().expect("no thread panicked").push((number, line.clone()));
            let reply = match line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" | "LHLO" => ehlo(offer(number)),
                "DATA" => "354 go on\r\n".to_owned(),
                "QUIT" => "221 bye\r\n".to_owned(),
                _ => "250 ok\r\n".to_owned(),
            };
            let _ = talk.try_send(&reply);
            if reply.starts_with("354") {
                talk.until(".\r\n");
                let _ = talk.try_send("250 taken\r\n");
            }
        }
    })
}

/// The next line without its end; `None` where the other side is gone.
fn command(talk: &mut Talk) -> Option<String> {
    Some(talk.line().trim_end().to_owned()).filter(|line| !line.is_empty())
}

fn ehlo(keywords: &[&str]) -> String {
    let lines: Vec<_> = std::iter::once("fake").chain(keywords.iter().copied()).collect();
    let (last, others) = lines.split_last().expect("there is a name");
    others.iter().map(|line| format!("250-{line}\r\n")).collect::<String>() + &format!("250 {last}\r\n")
}

fn heard(heard: &Heard, number: usize) -> Vec<String> {
    heard
        .lock()
        .expect("no thread panicked")
        .iter()
        .filter(|(of, _)| *of == number)
        .map(|(_, line)| line.clone())
        .collect()
}

/// The keywords of a reply to EHLO, in alphabetical order.
fn keywords(reply: &str) -> Vec<String> {
    let mut keywords: Vec<_> = reply.lines().skip(1).map(|line| line[4..].to_owned()).collect();
    keywords.sort();
    keywords
}

const ALL: &[&str] = &[
    "PIPELINING",
    "SIZE 5000000",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
    "VRFY",
    "ETRN",
    "AUTH PLAIN LOGIN",
    "STARTTLS",
    "XCLIENT NAME ADDR",
    "REQUIRETLS",
];

#[test]
fn mail_without_tls_arrives_byte_for_byte() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let gateway = Gateway::builder().listener("smtp", "smtp", postfix.smtp()).start();
    let plain = Target::plain(gateway.address("smtp"));
    let sent = message("in clear", size("bytes of the plaintext message", 1 << 20, 10 << 20));
    Swaks::at(&plain).send(BOB, ALICE, &sent).succeeds();
    Curl::smtp(&plain).send(BOB, "user1@example.org", &sent).succeeds();
    Python::at(&plain).smtp("", BOB, "user2@example.org", &sent).succeeds().prints("SMTPUTF8");
    for user in ["alice", "user1", "user2"] {
        assert_carries(&dovecot.delivery(user), &sent);
    }
    let session = gateway.session("smtp", "ok");
    assert_eq!((&session["tls"], &session["user"]), (&"".into(), &"".into()), "{session}");
    let (mut talk, list) = gateway.smtp("smtp", Security::Plain);
    assert_eq!(
        keywords(&list),
        ["8BITMIME", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 52428800", "SMTPUTF8", "STARTTLS"]
    );
    // Everything behind EHLO in one write, and two messages in one session.
    for number in [1, 2] {
        talk.send(format!(
            "MAIL FROM:<{BOB}> BODY=8BITMIME\r\nRCPT TO:<user3@example.org>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n"
        ));
        ["250", "250", "554 5.7.1", "354"].into_iter().for_each(|reply| drop(talk.reply(reply)));
        talk.send(stuffed(&sent)).reply("250");
        assert_carries(dovecot.deliveries("user3", number).last().expect("a message"), &sent);
    }
    talk.send("QUIT\r\n").reply("221");
    talk.closes();
}

#[test]
fn the_first_ehlo_asks_the_backend_once_for_all_that_wait() {
    let seen = Heard::default();
    let fake = server(&seen, |_| ALL);
    let gateway = Gateway::builder().listener("smtp", "smtp", fake.address()).start();
    let clients = 30;
    let barrier = Barrier::new(clients);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut talk = gateway.talk("smtp", Security::Plain);
                talk.reply("220");
                barrier.wait();
                let list = talk.send("EHLO a.example\r\n").reply("250");
                assert_eq!(
                    keywords(&list),
                    ["8BITMIME", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 5000000", "SMTPUTF8", "STARTTLS"]
                );
                talk.ask("QUIT", "221");
            });
        }
    });
    let (mut talk, _) = gateway.smtp("smtp", Security::Plain);
    assert_eq!(fake.connections(), 1);
    assert!(eventually(|| (heard(&seen, 0).len() == 2).then_some(())).is_some(), "{:?}", heard(&seen, 0));
    assert_eq!(heard(&seen, 0), ["EHLO mail.example.org", "QUIT"]);
    // A mail dials again, and begins as the client began.
    talk.send("MAIL FROM:<a@example.net> SIZE=10 BODY=8BITMIME RET=HDRS\r\nRCPT TO:<b@example.org> NOTIFY=NEVER\r\n");
    talk.reply("250");
    talk.reply("250");
    assert_eq!(fake.connections(), 2);
    assert_eq!(
        heard(&seen, 1),
        [
            "EHLO client.example.net",
            "MAIL FROM:<a@example.net> SIZE=10 BODY=8BITMIME RET=HDRS",
            "RCPT TO:<b@example.org> NOTIFY=NEVER"
        ]
    );
    talk.ask("QUIT", "221");
    talk.closes();
}

#[test]
fn of_several_addresses_only_what_all_have_is_offered() {
    let seen = Heard::default();
    let one = server(&seen, |_| &["SIZE 1000", "8BITMIME", "DSN", "PIPELINING"]);
    let two = server(&seen, |_| &["size 500", "8bitmime", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"]);
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", one.address())
        .backend("smtp", &format!("address = [\"{}\", \"{}\", \"{}\"]", one.address(), nobody(), two.address()))
        .start();
    let (mut talk, list) = gateway.smtp("smtp", Security::Plain);
    assert_eq!(keywords(&list), ["8BITMIME", "PIPELINING", "SIZE 500", "STARTTLS"]);
    talk.ask("QUIT", "221");
    assert_eq!((one.connections(), two.connections()), (1, 1));
}

#[test]
fn an_unreachable_backend_leaves_starttls_and_a_421_at_mail() {
    let gateway = Gateway::builder().listener("smtp", "smtp", nobody()).listener("lmtp", "lmtp", nobody());
    let gateway = gateway.with("lmtp", "tls.require = false").start();
    let (mut talk, list) = gateway.smtp("smtp", Security::Plain);
    assert_eq!(keywords(&list), ["STARTTLS"]);
    talk.ask("MAIL FROM:<a@example.net>", "421 4.3.2");
    talk.closes();
    assert_eq!(gateway.session("smtp", "backend-down")["listener"], "smtp");
    let mut talk = gateway.talk("lmtp", Security::Plain);
    talk.reply("220");
    assert_eq!(keywords(&talk.send("LHLO a\r\n").reply("250")), ["STARTTLS"]);
    talk.ask("MAIL FROM:<a@example.net>", "421 4.3.2");
    talk.closes();
}

#[test]
fn a_backend_that_says_nothing_is_waited_for_once_by_all() {
    // It takes connections and never greets.
    let silent = Fake::start(|mut talk, _| drop(talk.rest()));
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", silent.address())
        .backend("smtp", "timeout.greeting = \"1s\"")
        .start();
    let begun = std::time::Instant::now();
    let clients = 20;
    let barrier = Barrier::new(clients);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut talk = gateway.talk("smtp", Security::Plain);
                talk.reply("220");
                barrier.wait();
                assert_eq!(keywords(&talk.send("EHLO a\r\n").reply("250")), ["STARTTLS"]);
            });
        }
    });
    assert!(begun.elapsed().as_secs() < 10, "one after the other: {:?}", begun.elapsed());
    assert!(silent.connections() <= 3, "{} connections", silent.connections());
}

#[test]
fn a_silent_backend_is_waited_for_no_longer_than_a_command_may_take() {
    let silent = Fake::start(|mut talk, _| drop(talk.rest()));
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", silent.address())
        .with("smtp", "timeout.command = \"1s\"")
        .backend("smtp", "timeout.greeting = \"1h\"")
        .start();
    let mut talk = gateway.talk("smtp", Security::Plain);
    talk.reply("220");
    assert_eq!(keywords(&talk.send("EHLO a\r\n").reply("250")), ["STARTTLS"]);
}

#[test]
fn an_extension_that_is_gone_matters_only_where_it_is_used() {
    let offer = |number| -> &'static [&'static str] { if number == 0 { ALL } else { &["SIZE"] } };
    let used = [
        ("MAIL FROM:<a@example.net> BODY=8BITMIME", ""),
        ("MAIL FROM:<a@example.net> SMTPUTF8", ""),
        ("MAIL FROM:<a@example.net> RET=HDRS", ""),
        ("MAIL FROM:<a@example.net> SIZE=10", "RCPT TO:<b@example.org> NOTIFY=NEVER"),
    ];
    let seen = Heard::default();
    let fake = server(&seen, offer);
    let gateway = Gateway::builder().listener("smtp", "smtp", fake.address()).start();
    for (mail, rcpt) in used {
        let (mut talk, list) = gateway.smtp("smtp", Security::Plain);
        assert!(list.contains("8BITMIME"), "{list}");
        if !rcpt.is_empty() {
            talk.ask(mail, "250");
            talk.ask("RCPT TO:<b@example.org>", "250");
        }
        talk.ask(if rcpt.is_empty() { mail } else { rcpt }, "421 4.3.2");
        talk.closes();
    }
    // What does not use it passes, commands in a group one by one: the backend has no PIPELINING any more.
    let (mut talk, _) = gateway.smtp("smtp", Security::Plain);
    talk.send("MAIL FROM:<a@example.net> SIZE=10\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    ["250", "250", "354"].into_iter().for_each(|reply| drop(talk.reply(reply)));
    talk.send("hello\r\n.\r\n").reply("250 taken");
    // A new EHLO tells the truth.
    assert_eq!(keywords(&talk.send("EHLO again\r\n").reply("250")), ["SIZE"]);
    talk.ask("QUIT", "221");
}

#[test]
fn helo_is_enough_and_so_is_nothing() {
    let seen = Heard::default();
    let fake = server(&seen, |_| ALL);
    let gateway = Gateway::builder().listener("smtp", "smtp", fake.address()).start();
    let mut talk = gateway.talk("smtp", Security::Plain);
    talk.reply("220");
    assert_eq!(talk.send("HELO old.example\r\n").reply("250"), "250 mail.example.org\r\n");
    assert_eq!(fake.connections(), 0);
    talk.ask("MAIL FROM:<a@example.net>", "250");
    talk.ask("RCPT TO:<b@example.org>", "250");
    talk.ask("DATA", "354");
    talk.send("hello\r\n.\r\n").reply("250 taken");
    talk.ask("QUIT", "221");
    assert_eq!(heard(&seen, 0)[..2], ["HELO old.example", "MAIL FROM:<a@example.net>"]);
    let mut talk = gateway.talk("smtp", Security::Plain);
    talk.reply("220");
    talk.ask("MAIL FROM:<a@example.net>", "250");
    talk.ask("QUIT", "221");
    assert_eq!(heard(&seen, 1), ["MAIL FROM:<a@example.net>", "QUIT"]);
}

#[test]
fn lmtp_goes_on_in_plaintext_where_it_may() {
    let dovecot = Dovecot::builder().start();
    let gateway =
        Gateway::builder().listener("lmtp", "lmtp", dovecot.lmtp()).with("lmtp", "tls.require = false").start();
    let mut talk = gateway.talk("lmtp", Security::Plain);
    talk.reply("220");
    talk.ask("EHLO a", "500");
    let list = talk.send("LHLO client.example.net\r\n").reply("250");
    assert_eq!(keywords(&list), ["8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "STARTTLS"]);
    let sent = message("lmtp in clear", 20_000);
    talk.send(format!("MAIL FROM:<{BOB}>\r\nRCPT TO:<{ALICE}>\r\nRCPT TO:<user1@example.org>\r\nDATA\r\n"));
    ["250", "250", "250", "354"].into_iter().for_each(|reply| drop(talk.reply(reply)));
    talk.send(stuffed(&sent));
    talk.reply("250");
    talk.reply("250");
    talk.ask("QUIT", "221");
    assert_carries(&dovecot.delivery("alice"), &sent);
    assert_carries(&dovecot.delivery("user1"), &sent);
}

#[test]
fn smtp_in_plaintext_neither_offers_nor_takes_a_password() {
    let seen = Heard::default();
    let fake = server(&seen, |_| ALL);
    let gateway = Gateway::builder().listener("smtp", "smtp", fake.address()).start();
    let (mut talk, list) = gateway.smtp("smtp", Security::Plain);
    assert!(!list.contains("AUTH"), "{list}");
    talk.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "530 5.7.0");
    talk.ask("AUTH LOGIN", "530 5.7.0");
    talk.ask("MAIL FROM:<a@example.net>", "250");
    talk.ask("RSET", "250");
    talk.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "538 5.7.11");
    let list = talk.send("EHLO again\r\n").reply("250");
    assert_eq!(
        keywords(&list),
        [
            "8BITMIME",
            "CHUNKING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "ETRN",
            "PIPELINING",
            "SIZE 5000000",
            "SMTPUTF8",
            "VRFY"
        ]
    );
    talk.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "538 5.7.11");
    talk.ask("STARTTLS", "503 5.5.1");
    talk.ask("XCLIENT ADDR=192.0.2.1", "502 5.5.1");
    talk.ask("NOOP", "250");
    talk.ask("QUIT", "221");
    let told: Vec<_> = seen.lock().expect("no thread panicked").iter().map(|(_, line)| line.clone()).collect();
    let never = |line: &String| ["AUTH", "XCLIENT", "STARTTLS"].iter().any(|word| line.starts_with(word));
    assert!(!told.iter().any(never), "{told:?}");
}

#[test]
fn where_tls_is_required_scanners_cost_the_backend_nothing() {
    let fake = Fake::start(|mut talk, _| drop(talk.rest()));
    let protocols = ["smtp", "submission", "lmtp", "imap", "pop3", "managesieve"];
    let gateway = protocols.iter().fold(Gateway::builder(), |gateway, protocol| {
        gateway.listener(protocol, protocol, fake.address()).with(protocol, "tls.require = true")
    });
    let gateway = gateway.start();
    for _ in 0..50 {
        for protocol in protocols {
            let said = match protocol {
                "lmtp" => {
                    "LHLO scanner.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@example.org>\r\nDATA\r\nQUIT\r\n"
                }
                "imap" => "a CAPABILITY\r\nb LOGIN alice secret\r\nc AUTHENTICATE PLAIN\r\nd LOGOUT\r\n",
                "pop3" => "CAPA\r\nUSER alice\r\nPASS secret\r\nQUIT\r\n",
                "managesieve" => "CAPABILITY\r\nAUTHENTICATE \"PLAIN\"\r\nLOGOUT\r\n",
                _ => "EHLO scanner.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@example.org>\r\nDATA\r\nQUIT\r\n",
            };
            let refusals = match protocol {
                "imap" => "NO [PRIVACYREQUIRED]",
                "pop3" => "-ERR",
                "managesieve" => "NO (ENCRYPT-NEEDED)",
                _ => "530 5.7.0",
            };
            let mut talk = gateway.talk(protocol, Security::Plain);
            talk.send(said);
            let told = String::from_utf8(talk.rest()).expect("text");
            assert!(told.contains(refusals), "{protocol}: {told}");
            assert!(!told.contains("\r\n354") && !told.contains("\r\n334") && !told.contains("\r\n+ "), "{told}");
        }
    }
    assert_eq!(fake.connections(), 0);
}

#[test]
fn a_listener_without_tls_does_not_list_starttls_and_survives_the_command() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let off = "tls.enable = false\ntls.require = false";
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .with("smtp", "tls.enable = false")
        .listener("lmtp", "lmtp", dovecot.lmtp())
        .with("lmtp", off)
        .listener("imap", "imap", dovecot.imap())
        .with("imap", &format!("{off}\nplaintext-auth = true"))
        .listener("pop3", "pop3", dovecot.pop3())
        .with("pop3", &format!("{off}\nplaintext-auth = true"))
        .listener("sieve", "managesieve", dovecot.sieve())
        .with("sieve", &format!("{off}\nplaintext-auth = true"))
        .start();
    let (mut talk, list) = gateway.smtp("smtp", Security::Plain);
    assert!(!list.contains("STARTTLS") && list.contains("PIPELINING"), "{list}");
    talk.ask("STARTTLS", "50");
    transfer(&mut talk, ALICE);
    talk.ask("QUIT", "221");
    let mut talk = gateway.talk("lmtp", Security::Plain);
    talk.reply("220");
    assert!(!talk.send("LHLO a\r\n").reply("250").contains("STARTTLS"));
    talk.ask("STARTTLS", "50");
    transfer(&mut talk, ALICE);
    talk.ask("QUIT", "221");
    let mut talk = gateway.talk("imap", Security::Plain);
    assert!(!talk.expect("* OK").contains("STARTTLS"));
    assert!(!talk.send("a CAPABILITY\r\n").until("a OK").contains("STARTTLS"));
    talk.ask("b STARTTLS", "b BAD");
    talk.send(format!("c LOGIN alice \"{PASSWORD}\"\r\n")).until("c OK");
    talk.send("d SELECT INBOX\r\n").until("d OK");
    let mut talk = gateway.talk("pop3", Security::Plain);
    talk.expect("+OK");
    assert!(!talk.send("CAPA\r\n").until(".\r\n").contains("STLS"));
    talk.ask("STLS", "-ERR");
    talk.ask("USER alice", "+OK");
    talk.ask(&format!("PASS {PASSWORD}"), "+OK");
    let mut talk = gateway.talk("sieve", Security::Plain);
    assert!(!talk.until("OK").contains("STARTTLS"));
    talk.ask("STARTTLS", "NO");
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", plain("alice"))).until("OK");
}

#[test]
fn where_the_operator_permits_it_a_login_works_in_plaintext_and_in_tls() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let permit = "tls.require = false\nplaintext-auth = true";
    let gateway = Gateway::builder()
        .listener("submission", "submission", postfix.submission())
        .with("submission", permit)
        .listener("imap", "imap", dovecot.imap())
        .with("imap", permit)
        .listener("pop3", "pop3", dovecot.pop3())
        .with("pop3", permit)
        .listener("sieve", "managesieve", dovecot.sieve())
        .with("sieve", permit)
        .start();
    assert!(gateway.output().contains("plaintext-auth"), "no warning: {}", gateway.output());
    let plain = |listener| Target::plain(gateway.address(listener));
    for (submission, imap, pop3, sieve) in [
        (plain("submission"), plain("imap"), plain("pop3"), plain("sieve")),
        (gateway.starttls("submission"), gateway.starttls("imap"), gateway.starttls("pop3"), gateway.starttls("sieve")),
    ] {
        let sent = message("logged in", 5_000);
        Python::at(&submission).smtp("alice", ALICE, ALICE, &sent).succeeds();
        Curl::smtp(&submission).login("alice").send(ALICE, "user1@example.org", &sent).succeeds();
        Swaks::at(&submission).login("alice").send(ALICE, "user1@example.org", &sent).succeeds();
        assert_carries(&dovecot.delivery("alice"), &sent);
        assert_carries(&Python::at(&imap).imap_fetch("alice").succeeds().out, &sent);
        assert_carries(&Python::at(&pop3).pop3_fetch("alice").succeeds().out, &sent);
        Curl::imap(&imap, "INBOX;MAILINDEX=1").login("alice").run().succeeds().prints("Subject: logged in");
        Curl::pop3(&pop3, "1").login("alice").run().succeeds().prints("Subject: logged in");
        Python::at(&sieve).sieve("alice", "keep;\r\n").succeeds().prints("keep;");
    }
    for listener in ["submission", "imap", "pop3", "sieve"] {
        assert_eq!(gateway.session(listener, "ok")["user"], "alice");
    }
    // The guard stands in plaintext, too.
    let (mut talk, list) = gateway.smtp("submission", Security::Plain);
    assert!(list.contains("AUTH PLAIN LOGIN CRAM-MD5\r\n") && list.contains("STARTTLS"), "{list}");
    talk.ask("MAIL FROM:<alice@example.org>", "530 5.7.0");
}

#[test]
fn without_that_permission_no_credential_passes_in_clear() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let recorded = heard.clone();
    let fake = Fake::start(move |mut talk, _| recorded.lock().expect("no thread panicked").extend(talk.rest()));
    let gateway = Gateway::builder()
        .listener("imap", "imap", fake.address())
        .listener("pop3", "pop3", fake.address())
        .listener("sieve", "managesieve", fake.address())
        .listener("submission", "submission", fake.address())
        .with("submission", "tls.require = false")
        .listener("smtp", "smtp", fake.address())
        .with("smtp", "tls.require = true")
        .start();
    let mut talk = gateway.talk("imap", Security::Plain);
    assert!(talk.expect("* OK [CAPABILITY ").contains("LOGINDISABLED"));
    assert!(talk.send("a CAPABILITY\r\n").until("a OK").contains("LOGINDISABLED"));
    talk.ask("b LOGIN alice secret", "b NO [PRIVACYREQUIRED]");
    talk.ask("c LOGIN {5}", "c NO [PRIVACYREQUIRED]");
    talk.ask("d AUTHENTICATE PLAIN", "d NO [PRIVACYREQUIRED]");
    talk.ask("e LOGIN {5+}\r\nalice {6+}\r\nsecret", "e NO [PRIVACYREQUIRED]");
    talk.ask("f AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", "f NO [PRIVACYREQUIRED]");
    talk.send("g LOGOUT\r\n").until("g ");
    let mut talk = gateway.talk("pop3", Security::Plain);
    assert!(!talk.expect("+OK").contains('<'), "a timestamp invites to APOP");
    let list = talk.send("CAPA\r\n").until(".\r\n");
    assert!(!list.contains("USER") && !list.contains("SASL"), "{list}");
    for line in ["USER alice", "PASS secret", "AUTH PLAIN", "APOP alice c4c9334bac560ecc979e58001b3e22fb"] {
        talk.ask(line, "-ERR");
    }
    let mut talk = gateway.talk("sieve", Security::Plain);
    assert!(talk.until("OK").contains("\"SASL\" \"\"\r\n"));
    talk.ask("AUTHENTICATE \"PLAIN\"", "NO (ENCRYPT-NEEDED)");
    talk.ask("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"", "NO (ENCRYPT-NEEDED)");
    talk.ask("AUTHENTICATE \"PLAIN\" {20+}\r\nAGFsaWNlAHNlY3JldA==", "NO (ENCRYPT-NEEDED)");
    for listener in ["submission", "smtp"] {
        let (mut talk, list) = gateway.smtp(listener, Security::Plain);
        assert!(!list.contains("AUTH"), "{list}");
        talk.ask("AUTH LOGIN", "530 5.7.0");
        talk.ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "530 5.7.0");
        talk.ask("MAIL FROM:<a@example.net> AUTH=<alice@example.org>", "530 5.7.0");
        talk.ask("QUIT", "221");
    }
    assert_eq!((fake.connections(), heard.lock().expect("no thread panicked").len()), (0, 0));
    assert!(!gateway.output().contains("secret") && !gateway.output().contains("AGFsaWNl"));
}

/// Sends a short message that must be accepted.
fn transfer(talk: &mut Talk, to: &str) {
    talk.ask(&format!("MAIL FROM:<{BOB}>"), "250");
    talk.ask(&format!("RCPT TO:<{to}>"), "250");
    talk.ask("DATA", "354");
    talk.send("Subject: short\r\n\r\nhello\r\n.\r\n").reply("250");
}

/// The response of PLAIN with the right password.
fn plain(user: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{PASSWORD}"))
}
