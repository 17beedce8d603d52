//! Clients of every kind work through mailward as if it were not there.

mod support;

use std::fmt::Write as _;

use support::{
    ALICE, Curl, Dovecot, Exim, Fake, Gateway, Mbsync, PASSWORD, Postfix, Python, SClient, Security, Swaks, Talk,
    assert_carries, message, run, size, stuffed,
};

const BOB: &str = "bob@example.net";

/// Postfix and Dovecot behind a gateway with every protocol, STARTTLS and implicit.
struct World {
    dovecot: Dovecot,
    postfix: Postfix,
    gateway: Gateway,
}

fn world(dovecot: &str) -> World {
    let dovecot = Dovecot::builder().trust("127.0.0.1").further(dovecot).start();
    let postfix = Postfix::builder().deliver_to(&dovecot).further("smtputf8_enable = yes\n").start();
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .listener("submission", "submission", postfix.submission())
        .implicit("submissions", "submission", postfix.submission())
        .listener("lmtp", "lmtp", dovecot.lmtp())
        .implicit("lmtps", "lmtp", dovecot.lmtp())
        .listener("imap", "imap", dovecot.imap())
        .implicit("imaps", "imap", dovecot.imap())
        .listener("pop3", "pop3", dovecot.pop3())
        .implicit("pop3s", "pop3", dovecot.pop3())
        .listener("sieve", "managesieve", dovecot.sieve())
        .implicit("sieves", "managesieve", dovecot.sieve())
        .start();
    World { dovecot, postfix, gateway }
}

#[test]
fn every_mechanism_of_the_backend_logs_in_and_names_its_user() {
    let World { gateway, .. } = &world("auth_mechanisms = plain login cram-md5 scram-sha-256\n");
    for (number, mechanism) in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"].into_iter().enumerate() {
        let ways = [("smtp", "submission"), ("imap", "imap"), ("pop3", "pop3")];
        for (protocol, listener) in ways {
            let user = format!("user{}", number + 1);
            let starttls = Python::at(&gateway.starttls(listener));
            starttls.login(protocol, mechanism, false, &user).succeeds().prints("logged in");
            named(gateway, listener, &user);
            // With the first response in the command; LOGIN has that too, though not by its draft.
            let implicit = if protocol == "smtp" { "submissions".into() } else { format!("{listener}s") };
            let user = format!("user{}", number + 11);
            let initial = mechanism != "CRAM-MD5";
            let ran = Python::at(&gateway.implicit(&implicit)).login(protocol, mechanism, initial, &user);
            ran.succeeds().prints("logged in");
            named(gateway, &implicit, &user);
        }
    }
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let login = ["--auth", mechanism, "--auth-user", "bob", "--auth-password", PASSWORD];
        let swaks = Swaks::at(&gateway.starttls("submission"));
        swaks.arguments(&login).arguments(&["--quit-after", "AUTH"]).run().succeeds();
        let login = Curl::imap(&gateway.implicit("imaps"), "INBOX").login("bob");
        login.arguments(&["--login-options", &format!("AUTH={mechanism}"), "--request", "NOOP"]).run().succeeds();
        let login = Curl::pop3(&gateway.starttls("pop3"), "").login("bob");
        login.arguments(&["--login-options", &format!("AUTH={mechanism}")]).run().succeeds();
    }
    for listener in ["submission", "imaps", "pop3"] {
        named(gateway, listener, "bob");
    }
    assert!(!gateway.output().contains(PASSWORD), "a password in the log");
}

/// Waits for a session of a listener that ended well and belonged to this user.
#[track_caller]
fn named(gateway: &Gateway, listener: &str, user: &str) {
    gateway.log_line(&format!("a session of {user} at {listener}"), |line| {
        line["message"] == "session" && line["listener"] == listener && line["outcome"] == "ok" && line["user"] == user
    });
}

#[test]
fn an_imap_login_works_in_every_form_of_string() {
    let World { gateway, .. } = &world("");
    for security in [Security::StartTls, Security::Implicit] {
        let name = format!("{} \"{PASSWORD}\"", "user1");
        for (said, prompts) in [
            (format!("a LOGIN {name}\r\n"), 0),
            (format!("a login \"user1\" {{{}}}\r\n{PASSWORD}\r\n", PASSWORD.len()), 1),
            (format!("a LOGIN {{5}}\r\nuser1 {{{}}}\r\n{PASSWORD}\r\n", PASSWORD.len()), 2),
            (format!("a LOGIN {{5+}}\r\nuser1 {{{}+}}\r\n{PASSWORD}\r\n", PASSWORD.len()), 0),
            (format!("a LOGIN \"us\\\"er1\" \"{PASSWORD}\"\r\n"), -1),
            (format!("a AUTHENTICATE PLAIN {}\r\n", plain("user1", PASSWORD)), 0),
            (format!("a AUTHENTICATE PLAIN\r\n{}\r\n", plain("user1", PASSWORD)), 1),
        ] {
            let mut talk = imap(gateway, security);
            let (mut pieces, mut prompted) = (said.split_inclusive("\r\n"), 0);
            if prompts > 0 {
                talk.send(pieces.next().expect("a line"));
                for piece in pieces {
                    talk.expect("+");
                    prompted += 1;
                    talk.send(piece);
                }
            } else {
                talk.send(&said);
            }
            assert!(prompts <= 0 || prompted == prompts, "{said}");
            if prompts < 0 {
                talk.expect("a NO");
                continue;
            }
            talk.until("a OK");
            talk.send("b SELECT INBOX\r\n").until("b OK");
            talk.send("c LOGOUT\r\n").until("c OK");
        }
    }
    named(gateway, "imap", "user1");
    named(gateway, "imaps", "user1");
}

#[test]
fn passwords_with_quotes_backslashes_and_eight_bit_letters_arrive_as_they_were_typed() {
    let password = "g\u{fc}nther \"the\\best\" {3}";
    let further =
        format!("passdb {{\n driver = static\n args = password={{PLAIN.b64}}{}\n}}\n", base64(password.as_bytes()));
    let World { gateway, .. } = &world(&further);
    let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
    for said in [
        format!("a LOGIN odd \"{quoted}\"\r\n"),
        format!("a LOGIN odd {{{}+}}\r\n{password}\r\n", password.len()),
        format!("a AUTHENTICATE PLAIN {}\r\n", plain("odd", password)),
    ] {
        let mut talk = imap(gateway, Security::StartTls);
        talk.send(&said).until("a OK");
        talk.send("b LOGOUT\r\n").until("b OK");
    }
    let mut talk = gateway.talk("pop3s", Security::Implicit);
    talk.expect("+OK");
    talk.ask("USER odd", "+OK");
    talk.ask(&format!("PASS {password}"), "+OK");
    talk.ask("QUIT", "+OK");
    drop(talk);
    named(gateway, "imap", "odd");
    named(gateway, "pop3s", "odd");
}

#[test]
fn what_is_pipelined_behind_a_login_is_done_behind_it() {
    let World { gateway, .. } = &world("");
    let mut talk = imap(gateway, Security::Implicit);
    talk.send(format!(
        "a CAPABILITY\r\nb ID NIL\r\nc LOGIN alice \"{PASSWORD}\"\r\nd SELECT INBOX\r\ne UID SEARCH ALL\r\nf LOGOUT\r\n"
    ));
    for tag in ["a OK", "b OK", "c OK", "d OK", "e OK", "f OK"] {
        talk.until(tag);
    }
    talk.closes();
    let mut talk = gateway.talk("pop3s", Security::Implicit);
    talk.expect("+OK");
    talk.send(format!("CAPA\r\nUSER alice\r\nPASS {PASSWORD}\r\nSTAT\r\nUIDL\r\nQUIT\r\n"));
    talk.until(".\r\n");
    (0..4).for_each(|_| drop(talk.expect("+OK")));
    talk.expect(".");
    talk.expect("+OK");
    let mut talk = gateway.talk("sieves", Security::Implicit);
    talk.until("OK");
    let login = plain("alice", PASSWORD);
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{login}\"\r\nLISTSCRIPTS\r\nNOOP \"x\"\r\nLOGOUT\r\n"));
    (0..4).for_each(|_| drop(talk.until("OK")));
}

#[test]
fn appended_octets_come_back_unchanged() {
    let World { gateway, .. } = &world("");
    let mut octets = b"Subject: octets\r\n\r\n".to_vec();
    let count = size("bytes of the appended message", 2 << 20, 20 << 20);
    // Every octet but NUL, which no message may have, and lone CRs and LFs, which Dovecot mends.
    let octet = |at: usize| u8::try_from(at % 251 + at / 251 % 5).expect("a byte");
    octets.extend((0..count).map(|at| if matches!(octet(at), 0 | b'\r' | b'\n') { b'.' } else { octet(at) }));
    octets.extend_from_slice(b"\r\na LOGOUT\r\n");
    let mut talk = imap(gateway, Security::StartTls);
    talk.send(format!("a LOGIN alice \"{PASSWORD}\"\r\n")).until("a OK");
    let mut said = format!("b APPEND INBOX (\\Seen) {{{}+}}\r\n", octets.len()).into_bytes();
    said.extend_from_slice(&octets);
    said.extend_from_slice(b"\r\nc SELECT INBOX\r\nd FETCH 1 BODY.PEEK[]\r\n");
    talk.send(said).until("b OK");
    talk.until("c OK");
    let announced = talk.until("* 1 FETCH");
    assert!(announced.trim_end().ends_with(&format!("{{{}}}", octets.len())), "{announced}, not {}", octets.len());
    assert!(talk.bytes(octets.len()) == octets, "the message came back changed");
    talk.until("d OK");
    talk.send("e APPEND INBOX {3}\r\n").expect("+");
    talk.send("x\r\n\r\n").until("e OK");
}

#[test]
fn the_lists_before_and_after_the_login_agree_with_dovecots_own() {
    let World { dovecot, gateway, .. } = &world("");
    let mut direct = Talk::to(dovecot.imap());
    let greeting = direct.expect("* OK");
    let own_before = capabilities(&greeting);
    let own_after = capabilities(&direct.send(format!("a LOGIN alice \"{PASSWORD}\"\r\n")).until("a OK"));
    for security in [Security::StartTls, Security::Implicit] {
        let mut talk = imap(gateway, security);
        let before = capabilities(&talk.send("a CAPABILITY\r\n").until("a OK"));
        let expected: Vec<_> =
            own_before.iter().filter(|it| !["STARTTLS", "LOGINDISABLED"].contains(&it.as_str())).cloned().collect();
        assert_eq!(before, expected);
        let after = capabilities(&talk.send(format!("b LOGIN alice \"{PASSWORD}\"\r\n")).until("b OK"));
        assert_eq!(after, own_after);
        assert_eq!(capabilities(&talk.send("c CAPABILITY\r\n").until("c OK")), own_after);
        // Only what belongs to the login itself is on the first list alone.
        let gone = before.iter().filter(|it| !after.contains(it) && !it.starts_with("AUTH="));
        assert_eq!(gone.collect::<Vec<_>>(), Vec::<&String>::new());
        talk.send("d LOGOUT\r\n").until("d OK");
    }
    Python::at(&gateway.starttls("imap")).imap_capabilities("alice").succeeds().prints_no("STARTTLS\n");
}

/// The words of the last capability list in a text.
fn capabilities(text: &str) -> Vec<String> {
    let (_, list) = text.rsplit_once("CAPABILITY ").unwrap_or_else(|| panic!("no list in {text:?}"));
    list.split(['\r', ']']).next().unwrap_or_default().split(' ').map(str::to_owned).collect()
}

#[test]
fn apop_works_where_tls_comes_first_and_is_not_to_be_had_where_it_does_not() {
    let World { gateway, .. } = &world("auth_mechanisms = plain apop\n");
    let script = "import poplib, ssl, sys\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        client = poplib.POP3_SSL('localhost', int(sys.argv[1]), context=context, timeout=60)\n\
        print(client.getwelcome(), client.apop('alice', sys.argv[3]), client.stat())\n\
        client.quit()\n";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script, &gateway.address("pop3s").port().to_string()]);
    python.arg(gateway.ca()).arg(PASSWORD);
    run(&python, b"").succeeds().prints("+OK Logged in");
    named(gateway, "pop3s", "alice");
    let mut talk = gateway.talk("pop3", Security::Plain);
    assert!(!talk.expect("+OK").contains('<'));
    talk.ask("STLS", "+OK");
    let mut talk = talk.tls(gateway.authority.roots());
    talk.ask("APOP alice c4c9334bac560ecc979e58001b3e22fb", "-ERR");
    talk.ask("USER alice", "+OK");
    talk.ask(&format!("PASS {PASSWORD}"), "+OK");
    Curl::pop3(&gateway.implicit("pop3s"), "")
        .login("alice")
        .arguments(&["--login-options", "AUTH=+APOP", "--verbose"])
        .run()
        .succeeds()
        .prints("APOP alice");
}

#[test]
fn managesieve_repeats_its_list_in_tls_and_takes_a_second_login_attempt() {
    let World { gateway, .. } = &world("");
    let mut talk = gateway.talk("sieve", Security::Plain);
    assert!(talk.until("OK").contains("\"SASL\" \"\""));
    talk.ask("STARTTLS", "OK");
    let mut talk = talk.tls(gateway.authority.roots());
    let list = talk.until("OK");
    assert!(list.contains("\"SASL\" \"PLAIN") && list.contains("\"IMPLEMENTATION\" \"Dovecot"), "{list}");
    assert!(!list.contains("STARTTLS"), "{list}");
    talk.ask("STARTTLS", "NO");
    talk.ask(&format!("AUTHENTICATE \"PLAIN\" \"{}\"", plain("bob", "wrong")), "NO");
    talk.send(format!("AUTHENTICATE \"PLAIN\" \"{}\"\r\n", plain("bob", PASSWORD))).until("OK");
    talk.send("CAPABILITY\r\n").until("OK");
    talk.send("PUTSCRIPT \"one\" {7+}\r\nkeep;\r\n\r\n").until("OK");
    assert!(talk.send("GETSCRIPT \"one\"\r\n").until("OK").contains("keep;"));
    talk.send("LOGOUT\r\n").until("OK");
    drop(talk);
    named(gateway, "sieve", "bob");
    let literal = plain("bob", PASSWORD);
    let mut talk = gateway.talk("sieves", Security::Implicit);
    talk.until("OK");
    talk.send(format!("AUTHENTICATE \"PLAIN\" {{{}+}}\r\n{literal}\r\n", literal.len())).until("OK");
    talk.send("LOGOUT\r\n").until("OK");
    drop(talk);
    named(gateway, "sieves", "bob");
    // By a challenge, which is an empty string or literal, and an answer.
    let mut talk = gateway.talk("sieves", Security::Implicit);
    talk.until("OK");
    talk.send("AUTHENTICATE \"LOGIN\"\r\n");
    for answer in ["alice", PASSWORD] {
        let challenge = talk.line();
        if challenge.starts_with('{') {
            talk.line();
        }
        assert!(challenge.starts_with(['"', '{']), "{challenge}");
        talk.send(format!("\"{}\"\r\n", base64(answer.as_bytes())));
    }
    talk.until("OK");
    talk.send("LOGOUT\r\n").until("OK");
    drop(talk);
    named(gateway, "sieves", "alice");
}

#[test]
fn each_lmtp_recipient_has_its_own_answer() {
    let World { dovecot, gateway, .. } = &world("");
    let sent = message("lmtp", 50_000);
    for (number, security) in [Security::StartTls, Security::Implicit].into_iter().enumerate() {
        let mut talk = lmtp(gateway, security);
        talk.send(format!(
            "MAIL FROM:<{BOB}>\r\nRCPT TO:<{ALICE}>\r\nRCPT TO:<not an address>\r\nRCPT TO:<user1@example.org>\r\nDATA\r\n"
        ));
        ["250", "250", "5", "250", "354"].into_iter().for_each(|reply| drop(talk.reply(reply)));
        talk.send(stuffed(&sent));
        assert!(talk.reply("250").contains("alice"));
        assert!(talk.reply("250").contains("user1"));
        talk.ask("NOOP", "250");
        talk.ask("QUIT", "221");
        talk.closes();
        for user in ["alice", "user1"] {
            assert_carries(dovecot.deliveries(user, number + 1).last().expect("a message"), &sent);
        }
    }
    let exim = Exim::to(gateway.address("lmtp")).tls(support::NAME, &gateway.ca()).lmtp();
    exim.send(BOB, &["user2@example.org", "user3@example.org"], &sent).succeeds().prints("=> user2").prints("user3@");
    assert_carries(&dovecot.delivery("user2"), &sent);
    assert_carries(&dovecot.delivery("user3"), &sent);
    Swaks::at(&gateway.implicit("lmtps")).lmtp().send(BOB, "user4@example.org", &sent).succeeds();
}

#[test]
fn exim_sends_by_smtp_in_every_way() {
    let World { dovecot, gateway, .. } = &world("");
    let sent = message("exim", 200_000);
    let smtp = || Exim::to(gateway.address("smtp"));
    smtp().tls(support::NAME, &gateway.ca()).send(BOB, &["user1@example.org"], &sent).succeeds().prints("=> user1");
    smtp().tls(support::NAME, &gateway.ca()).by_data().send(BOB, &["user2@example.org"], &sent).prints("=> user2");
    smtp().send(BOB, &["user3@example.org"], &sent).succeeds().prints("=> user3");
    for user in ["user1", "user2", "user3"] {
        assert_carries(&dovecot.delivery(user), &sent);
    }
    smtp().send(BOB, &["x@example.com"], &sent).prints("** x@example.com").prints("554 5.7.1");
}

#[test]
fn mail_parameters_reach_the_backend_as_they_were_said() {
    let World { dovecot, postfix, gateway } = &world("");
    let sent = message("parameters", 2_000);
    let (mut talk, list) = gateway.smtp("smtp", Security::StartTls);
    for keyword in ["SMTPUTF8", "8BITMIME", "DSN", "SIZE 52428800", "CHUNKING", "PIPELINING", "VRFY", "ETRN"] {
        assert!(list.contains(keyword), "{keyword}: {list}");
    }
    assert!(!list.contains("STARTTLS"), "{list}");
    talk.ask(
        "MAIL FROM:<j\u{f6}rg@b\u{fc}cher.example> SMTPUTF8 BODY=8BITMIME SIZE=2500 RET=HDRS ENVID=QQ314159",
        "250",
    );
    talk.ask("RCPT TO:<alice@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;alice+40x@example.net", "250");
    talk.ask("RCPT TO:<bj\u{f6}rn@example.org>", "250");
    talk.ask("RSET", "250");
    talk.ask(&format!("MAIL FROM:<{BOB}> SIZE=99999999999"), "552");
    // Postfix keeps that size in mind.
    talk.ask("RSET", "250");
    talk.ask(&format!("MAIL FROM:<{BOB}> BODY=8BITMIME RET=FULL ENVID=E1"), "250");
    talk.ask("RCPT TO:<alice@example.org> NOTIFY=SUCCESS ORCPT=rfc822;alice@example.net", "250");
    talk.ask("DATA", "354");
    talk.send(stuffed(&sent)).reply("250");
    assert_carries(&dovecot.delivery("alice"), &sent);
    // The report of the success that was asked for.
    postfix.await_relayed(BOB);
    for (command, reply) in [
        ("VRFY alice@example.org", "252"),
        ("NOOP", "250"),
        ("NOOP with words", "250"),
        ("HELP", "5"),
        ("EXPN list", "50"),
        ("WIZ", "502 5.5.1"),
        ("DATA", "503"),
        ("QUIT", "221"),
    ] {
        talk.ask(command, reply);
    }
    talk.closes();
}

#[test]
fn two_hundred_pipelined_recipients_are_answered_in_order() {
    let World { dovecot, gateway, .. } = &world("");
    let (mut talk, _) = gateway.smtp("smtp", Security::StartTls);
    let mut group = format!("MAIL FROM:<{BOB}>\r\n");
    let (count, strange) = (200, 20);
    for number in 1..=count {
        let domain = if number % strange == 0 { "example.com" } else { "example.org" };
        let _ = write!(group, "RCPT TO:<user{}@{domain}> NOTIFY=NEVER\r\n", number % 64 + 1);
    }
    talk.send(group + "DATA\r\n");
    talk.reply("250");
    for number in 1..=count {
        talk.reply(if number % strange == 0 { "554 5.7.1" } else { "250" });
    }
    talk.reply("354");
    let sent = message("to many", 3_000);
    talk.send(stuffed(&sent)).reply("250");
    talk.ask("QUIT", "221");
    for user in ["user2", "user64", "user33"] {
        assert_carries(&dovecot.delivery(user), &sent);
    }
}

#[test]
fn chunks_lines_of_any_length_and_several_messages_pass_in_one_session() {
    let World { dovecot, gateway, .. } = &world("");
    let (mut talk, _) = gateway.smtp("smtp", Security::StartTls);
    let mut long = message("long line", 500);
    long.extend(std::iter::repeat_n(b'x', 30_000));
    long.extend_from_slice(b"\r\n.\r\nbehind a lone dot\r\n");
    // By DATA, by one chunk, by many with commands between, and by DATA again.
    envelope(&mut talk, "user1");
    talk.ask("DATA", "354");
    talk.send(stuffed(&long)).reply("250");
    envelope(&mut talk, "user1");
    talk.send([format!("BDAT {} LAST\r\n", long.len()).as_bytes(), &long].concat()).reply("250");
    envelope(&mut talk, "user1");
    for chunk in long.chunks(4_000) {
        talk.send(format!("BDAT {}\r\n", chunk.len())).send(chunk).reply("250");
    }
    talk.send("BDAT 0 LAST\r\n").reply("250");
    envelope(&mut talk, "user1");
    talk.send("bdat 3\r\nabcRSET\r\n");
    talk.reply("250");
    talk.reply("250");
    envelope(&mut talk, "user1");
    talk.ask("DATA", "354");
    for piece in stuffed(&long).chunks(7_000) {
        talk.send(piece);
    }
    talk.reply("250");
    talk.ask("QUIT", "221");
    let arrived = dovecot.deliveries("user1", 4);
    arrived.iter().for_each(|message| assert_carries(message, &long));
    assert_eq!(arrived.len(), 4);
}

#[test]
fn a_backend_without_extensions_gets_none() {
    let old = Fake::start(|mut talk, _| {
        talk.send("220 old\r\n");
        while let Some(line) = Some(talk.line()).filter(|line| !line.is_empty()) {
            let reply = match line.split([' ', '\r']).next().unwrap_or_default() {
                "EHLO" => "250-old\r\n250-8bitmime \r\n250-auth=LOGIN\r\n250 AUTH LOGIN\r\n",
                "BDAT" => "250 a chunk\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            let _ = talk.try_send(reply);
        }
    });
    let gateway = Gateway::builder().listener("smtp", "smtp", old.address()).start();
    let (mut talk, list) = gateway.smtp("smtp", Security::StartTls);
    assert_eq!(list, "250-old\r\n250-8bitmime\r\n250-auth=LOGIN\r\n250 AUTH LOGIN\r\n");
    talk.ask("MAIL FROM:<a@example.net>", "250");
    talk.ask("RCPT TO:<b@example.org>", "250");
    talk.send("BDAT 10 LAST\r\nQUIT\r\nRSET").reply("502 5.5.1");
    talk.send("\r\nNOOP\r\n").reply("500");
    talk.reply("250");
    talk.ask("QUIT", "221");
    talk.closes();
}

#[test]
fn s_client_starts_tls_in_every_protocol() {
    let World { gateway, .. } = &world("");
    let ends = [
        ("smtp", "smtp", "QUIT\r\n", "221"),
        ("submission", "smtp", "QUIT\r\n", "221"),
        ("lmtp", "lmtp", "QUIT\r\n", "221"),
        ("imap", "imap", "a LOGOUT\r\n", "a OK"),
        ("pop3", "pop3", "QUIT\r\n", "+OK"),
        ("sieve", "sieve", "LOGOUT\r\n", "OK"),
    ];
    for (listener, protocol, end, reply) in ends {
        let target = gateway.starttls(listener);
        assert_eq!(SClient::at(&target, protocol).handshake().version(), "TLSv1.3", "{listener}");
        SClient::at(&target, protocol).version("-tls1_2").talk(end.as_bytes()).succeeds().prints(reply);
    }
}

#[test]
fn s_client_changes_its_keys_and_asks_for_ours() {
    let World { gateway, .. } = &world("");
    let mut client = SClient::at(&gateway.implicit("imaps"), "imap").version("-tls1_3").typed();
    let mut until = |said: &str, awaited: &str| {
        if !said.is_empty() {
            client.say(said);
        }
        let mut updates = 0;
        loop {
            let line = client.line();
            updates += usize::from(line.starts_with("<<< ") && line.ends_with(", KeyUpdate"));
            if line.contains(awaited) {
                return updates;
            }
        }
    };
    assert_eq!(until("", "* OK "), 0);
    assert_eq!(until(&format!("a1 LOGIN user1 \"{PASSWORD}\""), "a1 OK"), 0);
    // `K` asks for an update in return, and `k` does not.
    for (round, order) in ["K", "k", "K", "K", "k"].into_iter().enumerate() {
        // It is answered once more has to be said.
        until(order, ">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        assert_eq!(until(&format!("b{round} NOOP"), &format!("b{round} OK")), usize::from(order == "K"));
        assert_eq!(until(&format!("c{round} SELECT INBOX"), &format!("c{round} OK")), 0);
    }
    assert_eq!(until("d1 LOGOUT", "d1 OK"), 0);
    named(gateway, "imaps", "user1");
}

#[test]
fn the_usual_programs_read_and_write_in_every_way() {
    let World { dovecot, gateway, .. } = &world("");
    let sent = message("usual", 30_000);
    Swaks::at(&gateway.implicit("submissions")).login("alice").send(ALICE, ALICE, &sent).succeeds();
    assert_carries(&dovecot.delivery("alice"), &sent);
    Curl::smtp(&gateway.implicit("submissions")).login("alice").send(ALICE, "bob@example.org", &sent).succeeds();
    assert_carries(&dovecot.delivery("bob"), &sent);
    for target in [gateway.starttls("imap"), gateway.implicit("imaps")] {
        Python::at(&target).imap_append("user1", &sent).succeeds();
        Curl::imap(&target, "INBOX;MAILINDEX=1").login("user1").run().succeeds().prints("Subject: usual");
        let mut named = target.clone();
        named.name = "localhost".into();
        let mbsync = Mbsync::at(&named, "user1");
        mbsync.put(b"Subject: up\n\nup\n");
        mbsync.sync().succeeds();
        assert!(mbsync.messages().len() >= 2);
    }
    for target in [gateway.starttls("pop3"), gateway.implicit("pop3s")] {
        Python::at(&target).pop3_capabilities().succeeds().prints("UIDL").prints("SASL").prints_no("STLS");
        Curl::pop3(&target, "1").login("alice").run().succeeds().prints("Subject: usual");
    }
    for target in [gateway.starttls("sieve"), gateway.implicit("sieves")] {
        Python::at(&target).sieve("alice", "keep;\r\n").succeeds().prints("keep;");
    }
}

/// An IMAP session before its login; after STARTTLS the list that was there before it is forgotten.
fn imap(gateway: &Gateway, security: Security) -> Talk {
    let listener = if security == Security::Implicit { "imaps" } else { "imap" };
    let mut talk = gateway.talk(listener, security);
    talk.expect("* OK [CAPABILITY ");
    if security == Security::StartTls {
        talk.ask("s STARTTLS", "s OK");
        return talk.tls(gateway.authority.roots());
    }
    talk
}

/// An LMTP session behind LHLO.
fn lmtp(gateway: &Gateway, security: Security) -> Talk {
    let listener = if security == Security::Implicit { "lmtps" } else { "lmtp" };
    let mut talk = gateway.talk(listener, security);
    talk.reply("220");
    if security == Security::StartTls {
        talk.ask("STARTTLS", "220");
        talk = talk.tls(gateway.authority.roots());
    }
    talk.send("LHLO client.example.net\r\n").reply("250");
    talk
}

fn envelope(talk: &mut Talk, user: &str) {
    talk.send(format!("MAIL FROM:<{BOB}>\r\nRCPT TO:<{user}@example.org>\r\n"));
    talk.reply("250");
    talk.reply("250");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The response of PLAIN.
fn plain(user: &str, password: &str) -> String {
    base64(format!("\0{user}\0{password}").as_bytes())
}
