//! What a backend is told of who the client is, and that a client has no say in it.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use support::{DOMAIN, Dovecot, Fake, Gateway, PASSWORD, Postfix, Scratch, Talk, eventually, plain};

/// Where the client is; mailward itself comes from 127.0.0.1.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

const VERSIONS: [&str; 2] = ["proxy-v1", "proxy-v2"];

/// A connection of the client's to a listener.
fn client(gateway: &Gateway, listener: &str) -> Talk {
    Talk::from(CLIENT, gateway.address(listener))
}

/// Waits until the log of a server says this.
#[track_caller]
fn await_log(log: impl Fn() -> String, words: &str) {
    assert!(eventually(|| log().contains(words).then_some(())).is_some(), "no {words:?} in {}", log());
}

#[test]
fn postfix_sees_the_client_by_either_version() {
    let postfix = Postfix::builder().proxied().start();
    for (number, identity) in VERSIONS.iter().enumerate() {
        let gateway = Gateway::builder()
            .listener("smtp", "smtp", postfix.smtp())
            .backend("smtp", &format!("identity = \"{identity}\""))
            .start();
        let mut talk = client(&gateway, "smtp");
        talk.reply("220");
        talk.ask("STARTTLS", "220");
        talk = talk.tls(gateway.authority.roots());
        talk.send("EHLO client.example.net\r\n").reply("250");
        talk.ask("QUIT", "221");
        let connects = || postfix.log().matches("connect from unknown[127.0.0.7]").count();
        // "disconnect" ends with the same words.
        let is_logged = eventually(|| (connects() == 2 * (number + 1)).then_some(()));
        assert!(is_logged.is_some(), "{identity}: {}", postfix.log());
        assert!(!postfix.log().contains("unknown[127.0.0.1]:"), "{}", postfix.log());
    }
}

#[test]
fn mailward_asks_for_extensions_in_its_own_name() {
    for identity in VERSIONS {
        let postfix = Postfix::builder().proxied().start();
        let gateway = Gateway::builder()
            .listener("smtp", "smtp", postfix.smtp())
            .backend("smtp", &format!("identity = \"{identity}\""))
            .start();
        let mut talk = client(&gateway, "smtp");
        talk.reply("220");
        let list = talk.send("EHLO client.example.net\r\n").reply("250");
        assert!(list.contains("8BITMIME") && list.contains("SIZE"), "{identity}: {list}\n{}", postfix.log());
        assert!(!postfix.log().contains("127.0.0.7"), "{}", postfix.log());
        talk.ask("MAIL FROM:<stranger@example.net>", "250");
        await_log(|| postfix.log(), " connect from unknown[127.0.0.7]");
    }
}

/// A Dovecot that takes passwords from nobody without TLS, and mailward in front of it.
fn behind_dovecot(identity: &str) -> (Dovecot, Gateway) {
    let dovecot = Dovecot::builder().refuse_plaintext().start();
    let identity = format!("identity = \"{identity}\"");
    let gateway = Gateway::builder()
        .listener("imap", "imap", dovecot.proxied_imap())
        .backend("imap", &identity)
        .implicit("imaps", "imap", dovecot.proxied_imap())
        .backend("imaps", &identity)
        .listener("clear", "imap", dovecot.proxied_imap())
        .with("clear", "tls.enable = false\ntls.require = false\nplaintext-auth = true")
        .backend("clear", &identity)
        .start();
    (dovecot, gateway)
}

/// An IMAP session in TLS, up to the greeting.
fn imap(gateway: &Gateway, listener: &str) -> Talk {
    let mut talk = client(gateway, listener);
    if listener == "imap" {
        talk.expect("* OK");
        talk.ask("s STARTTLS", "s OK");
        return talk.tls(gateway.authority.roots());
    }
    talk = talk.tls(gateway.authority.roots());
    talk.expect("* OK");
    talk
}

#[test]
fn dovecot_sees_the_client_and_that_it_has_tls() {
    let (dovecot, gateway) = behind_dovecot("proxy-v2");
    for (listener, user) in [("imap", "alice"), ("imaps", "bob")] {
        let mut talk = imap(&gateway, listener);
        talk.send(format!("l LOGIN {user} \"{PASSWORD}\"\r\n")).until("l OK");
        talk.send("o LOGOUT\r\n").until("o OK");
        await_log(|| dovecot.log(), &format!("Login: user=<{user}>, method=PLAIN, rip=127.0.0.7"));
    }
    let log = dovecot.log();
    let logins: Vec<_> = log.lines().filter(|line| line.contains("Login: user=")).collect();
    assert!(logins.iter().all(|line| line.contains(", secured,")), "{logins:?}");
    // Who has none is not said to have it.
    let mut talk = client(&gateway, "clear");
    talk.expect("* OK");
    talk.send(format!("l LOGIN alice \"{PASSWORD}\"\r\n")).until("l NO");
}

#[test]
fn a_line_does_not_tell_of_tls() {
    let (dovecot, gateway) = behind_dovecot("proxy-v1");
    let mut talk = imap(&gateway, "imaps");
    talk.send(format!("l LOGIN alice \"{PASSWORD}\"\r\n")).until("l NO");
    talk.send("o LOGOUT\r\n").until("o OK");
    await_log(|| dovecot.log(), "rip=127.0.0.7");
}

/// A Postfix that lets mailward say who the client is, and relays anywhere for its neighbours, of whom mailward is one.
fn trusting_postfix() -> Postfix {
    Postfix::builder().trust("127.0.0.1/32").further("smtpd_authorized_xclient_hosts = 127.0.0.1\n").start()
}

const XCLIENT: &str = "identity = \"xclient\"";

#[test]
fn postfix_sees_the_client_by_xclient_and_relays_for_it_no_more_than_without_mailward() {
    let postfix = trusting_postfix();
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .with("smtp", "rcpt-domains = \"*\"")
        .backend("smtp", XCLIENT)
        .implicit("smtps", "smtp", postfix.smtp())
        .with("smtps", "rcpt-domains = \"*\"")
        .backend("smtps", XCLIENT)
        .listener("clear", "smtp", postfix.smtp())
        .with("clear", "tls.enable = false\nrcpt-domains = \"*\"")
        .backend("clear", XCLIENT)
        .start();
    for (number, listener) in ["smtp", "smtps", "clear"].iter().enumerate() {
        let mut talk = client(&gateway, listener);
        if *listener == "smtp" {
            plain::greet("smtp", &mut talk);
            plain::start_tls("smtp", &mut talk);
        }
        if *listener != "clear" {
            talk = talk.tls(gateway.authority.roots());
        }
        if *listener != "smtp" {
            talk.reply("220 postfix.example.org");
        }
        let list = talk.send("EHLO client.example.net\r\n").reply("250");
        assert!(!list.contains("XCLIENT"), "{list}");
        talk.ask("XCLIENT ADDR=203.0.113.9", "502");
        talk.ask("XFORWARD ADDR=203.0.113.9", "502");
        talk.ask("MAIL FROM:<stranger@example.net>", "250");
        talk.ask("RCPT TO:<anybody@example.com>", "554 5.7.1");
        talk.ask(&format!("RCPT TO:<ann@{DOMAIN}>"), "250");
        talk.ask("DATA", "354");
        talk.send("Subject: x\r\n\r\nx\r\n.\r\n").reply("250");
        talk.ask("QUIT", "221");
        let delivered = eventually(|| postfix.messages().into_iter().nth(number)).expect("a message");
        let delivered = String::from_utf8_lossy(&delivered).into_owned();
        assert!(delivered.contains("Received: from client.example.net (unknown [127.0.0.7])"), "{delivered}");
    }
    assert!(postfix.relayed().is_empty() && !postfix.log().contains("203.0.113"), "{}", postfix.log());
    assert!(!postfix.log().contains("client=unknown[127.0.0.1]"), "{}", postfix.log());
}

#[test]
fn dovecot_sees_the_client_by_xclient() {
    let postfix = Postfix::builder().trust("127.0.0.1/32").start();
    let dovecot = Dovecot::builder().trust("127.0.0.1").relay_to(postfix.smtp()).start();
    let gateway = Gateway::builder()
        .implicit("submission", "submission", dovecot.submission())
        .backend("submission", XCLIENT)
        .listener("lmtp", "lmtp", dovecot.lmtp())
        .with("lmtp", "tls.enable = false\ntls.require = false")
        .backend("lmtp", XCLIENT)
        .start();
    let mut talk = client(&gateway, "submission").tls(gateway.authority.roots());
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk.ask("XCLIENT LOGIN=bob ADDR=203.0.113.9", "502");
    let credentials = STANDARD.encode(format!("\0alice\0{PASSWORD}"));
    talk.ask(&format!("AUTH PLAIN {credentials}"), "235");
    talk.ask("QUIT", "221");
    await_log(|| dovecot.log(), "submission-login: Info: Login: user=<alice>, method=PLAIN, rip=127.0.0.7");
    let mut talk = client(&gateway, "lmtp");
    talk.reply("220");
    talk.send("LHLO client.example.net\r\n").reply("250");
    talk.ask("MAIL FROM:<stranger@example.net>", "250");
    talk.ask(&format!("RCPT TO:<bob@{DOMAIN}>"), "250");
    talk.ask("DATA", "354");
    talk.send("Subject: x\r\n\r\nx\r\n.\r\n").reply("250");
    let delivered = String::from_utf8_lossy(&dovecot.delivery("bob")).into_owned();
    assert!(delivered.contains("Received: from client.example.net ([127.0.0.7])"), "{delivered}");
}

#[test]
fn dovecot_sees_the_client_by_id_whatever_the_client_says() {
    let dovecot = Dovecot::builder().trust("127.0.0.1").start();
    let gateway = Gateway::builder()
        .listener("imap", "imap", dovecot.imap())
        .backend("imap", "identity = \"imap-id\"")
        .implicit("imaps", "imap", dovecot.imap())
        .backend("imaps", "identity = \"imap-id\"")
        .start();
    for (listener, user) in [("imap", "alice"), ("imaps", "bob")] {
        let mut talk = imap(&gateway, listener);
        let lie = "ID (\"name\" \"x\" \"X-Originating-IP\" \"203.0.113.9\" \"x-originating-port\" {1+}\r\n1 \"x-session-id\" \"y\")";
        let answer = talk.send(format!("a {lie}\r\n")).until("a OK");
        assert!(answer.contains("* ID ") && !answer.contains("\ni "), "{answer}");
        talk.send(format!("l LOGIN {user} \"{PASSWORD}\"\r\n")).until("l OK");
        talk.send(format!("b {lie}\r\n")).until("b ");
        talk.send("o LOGOUT\r\n").until("o OK");
        await_log(|| dovecot.log(), &format!("Login: user=<{user}>, method=PLAIN, rip=127.0.0.7, lip=127.0.0.1"));
    }
    assert!(!dovecot.log().contains("203.0.113"), "{}", dovecot.log());
}

#[test]
fn an_imap_server_that_does_not_take_id_is_not_used_without() {
    let backend = Fake::start(|mut talk, number| {
        talk.send("* OK ready\r\n").expect("i ID (\"x-originating-ip\" \"127.0.0.7\" ");
        match number {
            0 => talk.send("i BAD what?\r\n").closes(),
            1 => talk.send("* ID NIL\r\ni OK\r\n* CAPABILITY IMAP4rev1\r\n").closes(),
            _ => {
                talk.send("* ID NIL\r\ni OK\r\n").expect("a NOOP");
                talk.send("a OK\r\n");
            }
        }
    });
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", backend.address())
        .backend("imaps", "identity = \"imap-id\"")
        .start();
    for (number, reason) in ["identity-refused", "backend-spoke-unasked"].into_iter().enumerate() {
        let mut talk = client(&gateway, "imaps").tls(gateway.authority.roots());
        talk.expect("* BYE [UNAVAILABLE]");
        talk.closes();
        assert_eq!(gateway.nth_session("imaps", number)["reason"], reason);
    }
    let mut talk = client(&gateway, "imaps").tls(gateway.authority.roots());
    talk.expect("* OK ready");
    talk.ask("a NOOP", "a OK");
}

#[test]
fn a_backend_that_does_not_take_xclient_is_not_used_without() {
    let lists = Fake::start(|mut talk, _| {
        talk.send("220 backend\r\n").expect("EHLO ");
        talk.send("250-backend\r\n250 XCLIENT NAME ADDR\r\n").expect("XCLIENT NAME=[UNAVAILABLE] ADDR=127.0.0.7");
        talk.send("550 5.7.0 insufficient authorization\r\n").closes();
    });
    let lists_not = Fake::start(|mut talk, _| {
        talk.send("220 backend\r\n").expect("EHLO ");
        talk.send("250-backend\r\n250 PIPELINING\r\n").closes();
    });
    let more = Fake::start(|mut talk, _| {
        talk.send("220 backend\r\n").expect("EHLO ");
        talk.send("250-backend\r\n250 XCLIENT ADDR\r\n220 backend\r\n").closes();
    });
    let blocks = Fake::start(|mut talk, _| {
        talk.send("220 backend\r\n").expect("EHLO ");
        talk.send("250-backend\r\n250 XCLIENT ADDR\r\n").expect("XCLIENT ADDR=127.0.0.7");
        talk.send("554 5.7.1 blocked\r\n").closes();
    });
    let gateway = Gateway::builder()
        .implicit("refused", "smtp", lists.address())
        .backend("refused", XCLIENT)
        .implicit("unlisted", "smtp", lists_not.address())
        .backend("unlisted", XCLIENT)
        .implicit("more", "smtp", more.address())
        .backend("more", XCLIENT)
        .implicit("blocked", "smtp", blocks.address())
        .backend("blocked", XCLIENT)
        .start();
    for (listener, reason) in
        [("refused", "identity-refused"), ("unlisted", "identity-refused"), ("more", "backend-spoke-unasked")]
    {
        for number in 0..2 {
            let mut talk = client(&gateway, listener).tls(gateway.authority.roots());
            talk.reply("421 4.3.2");
            talk.closes();
            let line = gateway.nth_session(listener, number);
            assert_eq!((&line["outcome"], &line["reason"]), (&"backend-lost".into(), &reason.into()), "{line}");
        }
        let warned = gateway.count(|line| line["backend"] == listener && line["level"] == "WARN");
        assert_eq!(warned, 1, "{listener}: {:?}", gateway.log());
    }
    let mut talk = client(&gateway, "blocked").tls(gateway.authority.roots());
    talk.reply("554 5.7.1 blocked");
    assert_eq!(gateway.count(|line| line["backend"] == "blocked" && line["level"] == "WARN"), 0);
}

#[test]
fn a_message_tells_where_it_comes_from() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().ask(&dovecot).start();
    const RECEIVED: &str = "identity = \"received\"";
    let gateway = Gateway::builder()
        .implicit("smtps", "smtp", postfix.smtp())
        .backend("smtps", RECEIVED)
        .listener("clear", "smtp", postfix.smtp())
        .with("clear", "tls.enable = false")
        .backend("clear", RECEIVED)
        .implicit("submissions", "submission", postfix.submission())
        .backend("submissions", RECEIVED)
        .start();
    let mut seen = Vec::new();
    // Those of one second stand in the maildir in any order.
    let mut delivered = || {
        let message = eventually(|| postfix.messages().into_iter().find(|message| !seen.contains(message)));
        seen.push(message.expect("a message"));
        String::from_utf8_lossy(seen.last().expect("it")).into_owned()
    };
    let open = |talk: &mut Talk| {
        talk.ask("MAIL FROM:<stranger@example.net>", "250");
        talk.ask(&format!("RCPT TO:<ann@{DOMAIN}>"), "250");
    };
    const MESSAGE: &str = "Subject: x\r\n\r\nx\r\n";
    let from = "\nReceived: from client.example.net ([127.0.0.7])\n\tby mail.example.org with ";

    let mut talk = client(&gateway, "smtps").tls(gateway.authority.roots());
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    open(&mut talk);
    talk.ask("DATA", "354");
    talk.send(format!("{MESSAGE}.\r\n")).reply("250");
    let by_data = delivered();
    open(&mut talk);
    talk.send(format!("BDAT 5\r\n{}", &MESSAGE[..5])).reply("250");
    talk.send(format!("BDAT {} LAST\r\n{}", MESSAGE.len() - 5, &MESSAGE[5..])).reply("250");
    talk.ask("QUIT", "221");
    let session = &gateway.session("smtps", "ok")["session"];
    for (delivered, message) in [(by_data, 1), (delivered(), 2)] {
        let field = format!("{from}ESMTPS id {session}-{message}\n\ttls TLS_AES_256_GCM_SHA384 (TLSv1.3 ");
        assert!(delivered.contains(&field), "no {field:?} in {delivered}");
        // At the front of the message, below what Postfix puts there itself.
        let rest = delivered.split_once(&field).expect("the field").1;
        let (date, rest) = rest.split_once(";\n\t").expect("a date").1.split_once('\n').expect("an end");
        assert!(date.ends_with(" +0000") && date.split(' ').count() == 6, "{date}");
        assert!(rest.starts_with("Subject: x\n") && rest.ends_with("\n\nx\n"), "{delivered}");
    }

    let mut talk = client(&gateway, "clear");
    talk.reply("220");
    talk.ask("HELO client.example.net", "250");
    open(&mut talk);
    talk.ask("DATA", "354");
    talk.send(format!("Received: from nobody\r\n{MESSAGE}.\r\n")).reply("250");
    let plain = delivered();
    assert!(plain.contains(&format!("{from}SMTP id ")) && !plain.contains("\ttls "), "{plain}");

    let mut talk = client(&gateway, "submissions").tls(gateway.authority.roots());
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk.ask(&format!("AUTH PLAIN {}", STANDARD.encode(format!("\0alice\0{PASSWORD}"))), "235");
    open(&mut talk);
    talk.ask("DATA", "354");
    talk.send(format!("{MESSAGE}.\r\n")).reply("250");
    let submitted = delivered();
    assert!(submitted.contains(&format!("{from}ESMTPSA id ")), "{submitted}");
}

#[test]
fn a_client_has_no_say_in_who_it_is() {
    let postfix = Postfix::builder().proxied().start();
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .backend("smtp", "identity = \"proxy-v2\"")
        .implicit("smtps", "smtp", postfix.smtp())
        .backend("smtps", "identity = \"proxy-v2\"")
        .listener("clear", "smtp", postfix.smtp())
        .with("clear", "tls.enable = false")
        .backend("clear", "identity = \"proxy-v1\"")
        .start();
    const LIE: &str = "PROXY TCP4 203.0.113.9 203.0.113.1 40000 25";
    let mut talk = client(&gateway, "smtp");
    talk.send(format!("{LIE}\r\n")).reply("220");
    talk.reply("5");
    talk.ask("STARTTLS", "220");
    talk = talk.tls(gateway.authority.roots());
    talk.ask(LIE, "5");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk.ask("QUIT", "221");
    let mut talk = client(&gateway, "clear");
    talk.send(format!("{LIE}\r\n")).reply("220");
    talk.reply("5");
    talk.ask("QUIT", "221");
    for lie in [
        format!("{LIE}\r\n").as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xcb\0\x71\x01\x9c\x40\0\x19",
    ] {
        let mut talk = client(&gateway, "smtps");
        talk.send(lie);
        talk.rest();
    }
    assert_eq!(gateway.session("smtps", "tls-failed")["peer"].as_str().map(|peer| &peer[..10]), Some("127.0.0.7:"));
    let connects = || postfix.log().matches(": connect from unknown[127.0.0.7]").count();
    assert!(eventually(|| (connects() == 2).then_some(())).is_some(), "{}", postfix.log());
    assert!(!postfix.log().contains("203.0.113"), "{}", postfix.log());
}

#[test]
fn a_unix_socket_gets_the_header_too() {
    let scratch = Scratch::new("identity");
    let path = scratch.join("lmtp");
    let listener = UnixListener::bind(&path).expect("a unix socket");
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut header = [0; 16 + 12];
        // Nothing is said before the whole of it is there.
        stream.read_exact(&mut header).expect("a header");
        sender.send(header).expect("the test waits");
        stream.write_all(b"220 backend.internal ready\r\n").expect("mailward reads");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = Gateway::builder()
        .listener("lmtp", "lmtp", format!("unix:{}", path.display()))
        .with("lmtp", "tls.enable = false\ntls.require = false")
        .backend("lmtp", "identity = \"proxy-v2\"")
        .start();
    let mut talk = client(&gateway, "lmtp");
    talk.reply("220");
    let header = heard.recv().expect("a header");
    let port = |address: SocketAddr| address.port().to_be_bytes();
    let own = port(talk.socket().local_addr().expect("an address"));
    let listens = port(gateway.address("lmtp"));
    let expected = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x07\x7f\0\0\x01"[..], &own, &listens].concat();
    assert_eq!(header[..], expected);
}

#[test]
fn a_second_mailward_passes_on_what_the_first_one_tells() {
    let postfix = Postfix::builder().proxied().start();
    let second = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .with("smtp", "tls.enable = false\nproxy.trusted-networks = \"127.0.0.1\"")
        .backend("smtp", "identity = \"proxy-v1\"")
        .start();
    for identity in VERSIONS {
        let first = Gateway::builder()
            .implicit("smtps", "smtp", second.address("smtp"))
            .backend("smtps", &format!("identity = \"{identity}\""))
            .start();
        let mut talk = client(&first, "smtps").tls(first.authority.roots());
        talk.reply("220");
        talk.ask("QUIT", "221");
    }
    for number in 0..2 {
        let line = second.nth_session("smtp", number);
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.7:")), "{line}");
    }
    let told = second.count(|line| line["message"] == "the client comes by a proxy" && line["tls"] == "TLSv1.3");
    assert_eq!(told, 1);
    await_log(|| postfix.log(), " connect from unknown[127.0.0.7]");
    assert!(!postfix.log().contains(" connect from unknown[127.0.0.1]:"), "{}", postfix.log());
}

#[test]
fn a_backend_that_is_told_needs_no_domains() {
    let backend = Fake::start(|mut talk, _| {
        talk.expect("PROXY TCP4 127.0.0.7 127.0.0.1 ");
        plain::serve("smtp", talk);
    });
    let text = format!(
        "[server.listener.smtp]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\ntls.enable = false\n\
         [backend.smtp]\naddress = \"{}\"\nidentity = \"proxy-v1\"\n",
        backend.address()
    );
    let gateway = Gateway::builder().whole(&text).start();
    let mut talk = client(&gateway, "smtp");
    plain::greet("smtp", &mut talk);
    talk.ask("MAIL FROM:<stranger@example.net>", "250");
    talk.ask("RCPT TO:<anybody@example.com>", "250");
    drop(talk);
}
