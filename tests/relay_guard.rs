//! A gateway in front of a server that trusts its neighbours makes nobody an open relay.

mod support;

use support::{ALICE, Dovecot, Gateway, PASSWORD, Postfix, Security, Talk, assert_carries, mailward, message, stuffed};

/// A Postfix that relays anywhere for mailward's address, and the ways through mailward to it.
struct World {
    dovecot: Dovecot,
    postfix: Postfix,
    gateway: Gateway,
}

/// Postfix hangs up after twenty errors otherwise.
const PATIENT: &str = "smtpd_hard_error_limit = 1000\n";

fn world() -> World {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().trust("127.0.0.1").deliver_to(&dovecot).further(PATIENT).start();
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", postfix.smtp())
        .implicit("smtps", "smtp", postfix.smtp())
        // The smtp protocol with a backend that takes passwords.
        .listener("smtp-login", "smtp", postfix.submission())
        .listener("open", "smtp", postfix.smtp())
        .with("open", "rcpt-domains = \"*\"")
        .listener("submission", "submission", postfix.submission())
        .implicit("submissions", "submission", postfix.submission())
        .listener("lax", "submission", postfix.submission())
        .with("lax", "require-auth = false")
        .listener("narrow", "submission", postfix.submission())
        .with("narrow", "require-auth = false\nrcpt-domains = [\"*.example.org\", \"example.org\"]")
        .start();
    World { dovecot, postfix, gateway }
}

/// Every way to ask for a recipient elsewhere that is one command with one reply, without `RCPT ` and the line end.
const ELSEWHERE: [&str; 62] = [
    "TO:<x@example.com>",
    "to:<x@EXAMPLE.COM>",
    "To: <x@example.com>",
    "TO:\t<x@example.com>",
    "TO:  <x@example.com>",
    "TO :<x@example.com>",
    "TO:x@example.com",
    "TO: x@example.com",
    "TO:<x@example.com",
    "TO:x@example.com>",
    "TO:<<x@example.com>>",
    "TO:<x@example.com> NOTIFY=NEVER",
    // Domains that only look like the permitted one.
    "TO:<x@sub.example.org>",
    "TO:<x@notexample.org>",
    "TO:<x@example.org.example.com>",
    "TO:<x@example.org.>",
    "TO:<x@.example.org>",
    "TO:<x@example..org>",
    "TO:<x@example.org,example.com>",
    "TO:<x@example.org example.com>",
    "TO:<x@example.org(@example.com)>",
    "TO:<x(@example.org)@example.com>",
    "TO:<x@ex\u{e4}mple.org>",
    "TO:<x@xn--exmple-cua.org>",
    "TO:<x@\u{ff45}xample.org>",
    "TO:<x@example\u{3002}org>",
    // Routes.
    "TO:<@example.org:x@example.com>",
    "TO:<@example.org,@example.net:x@example.com>",
    "TO:<@example.com:alice@example.org>",
    "TO:@example.org:x@example.com",
    "TO:<x%example.com@example.org>",
    "TO:<x%example.com%example.net@example.org>",
    "TO:<example.com!x@example.org>",
    "TO:<example.com!x>",
    "TO:<x%example.com>",
    "TO:<x@example.com@example.org>",
    "TO:<x@example.org@example.com>",
    "TO:<x@example.com%example.org>",
    "TO:<x@example.org%example.com>",
    "TO:<example.com::x@example.org>",
    "TO:<x:example.com@example.org>",
    "TO:<IMCEASMTP-x+40example+2Ecom@example.org>",
    // Quotes.
    "TO:<\"x@example.com\"@example.org>",
    "TO:<\"x%example.com\"@example.org>",
    "TO:<\"example.com!x\"@example.org>",
    "TO:<\"@example.com:x\"@example.org>",
    "TO:<\"x\\@example.com\"@example.org>",
    "TO:<\"x\\\"@example.com\"@example.org>",
    "TO:<\"\\\"x@example.com\\\"\"@example.org>",
    "TO:<\"<x@example.com>\"@example.org>",
    "TO:<\"x\"@example.com\"@example.org>",
    "TO:<\"alice@example.org>\"@example.com>",
    "TO:<\"x@example.com\">",
    // Addresses of hosts, or none.
    "TO:<x@[192.0.2.1]>",
    "TO:<x@[127.0.0.1]>",
    "TO:<x@192.0.2.1>",
    "TO:<>",
    "TO:<x>",
    // Two in one.
    "TO:<alice@example.org> <x@example.com>",
    "TO:<alice@example.org>,<x@example.com>",
    "TO:<alice@example.org> X=<x@example.com>",
    "TO:<x@example.com> TO:<alice@example.org>",
];

/// What breaks the line, and the codes of the replies.
const BROKEN: [(&str, &[&str]); 8] = [
    ("RCPT TO:<x@example.com>\n", &["554 5.7.1"]),
    ("RCPT TO:<alice@example.org>\rRCPT TO:<x@example.com>\r\n", &["500 5.5.2"]),
    ("RCPT TO:<alice@example.org\nRCPT TO:<x@example.com>\n", &["501 5.1.3", "554 5.7.1"]),
    ("RCPT TO:<x@example.com\r>\r\n", &["500 5.5.2"]),
    ("RCPT TO:<alice@example.org\0@example.com>\r\n", &["500 5.5.2"]),
    ("RCPT\tTO:<x@example.com>\r\n", &["500 5.5.2"]),
    (" RCPT TO:<x@example.com>\r\n", &["500 5.5.2"]),
    ("RCPT TO:<x@example.com>\r\nRCPT TO:<y@example.com>\r\n", &["554 5.7.1", "554 5.7.1"]),
];

const SMTP: [(&str, Security); 3] =
    [("smtp", Security::Plain), ("smtp", Security::StartTls), ("smtps", Security::Implicit)];

#[test]
fn a_stranger_reaches_no_other_domain_by_any_form_of_address() {
    let World { dovecot, postfix, gateway } = &world();
    for (listener, security) in SMTP {
        let (mut talk, _) = gateway.smtp(listener, security);
        talk.ask("MAIL FROM:<stranger@example.net>", "250");
        for argument in ELSEWHERE {
            let reply = talk.send(format!("RCPT {argument}\r\n")).reply("5");
            assert!(
                ["554 5.7.1", "501 5.1.3", "500 5.5.2"].iter().any(|ours| reply.starts_with(ours)),
                "{argument}: {reply}"
            );
        }
        for (bytes, replies) in BROKEN {
            talk.send(bytes);
            replies.iter().for_each(|reply| drop(talk.reply(reply)));
        }
        talk.ask("RSET", "250");
        talk.ask("MAIL FROM:<>", "250");
        talk.ask("RCPT TO:<x@example.com>", "554 5.7.1");
        talk.send("EHLO again.example.net\r\n").reply("250");
        talk.ask("MAIL FROM:<alice@example.org>", "250");
        talk.ask("RCPT TO:<x@example.com>", "554 5.7.1");
        // With no recipient accepted the backend takes no message either.
        talk.ask("DATA", "5");
        talk.ask("QUIT", "221");
    }
    // What Postfix took before this one it has delivered by now, or it delivers it after.
    let sent = message("to alice", 500);
    let (mut talk, _) = gateway.smtp("smtp", Security::Plain);
    transfer(&mut talk, "stranger@example.net", &[ALICE], &sent);
    assert_carries(&dovecot.delivery("alice"), &sent);
    assert_eq!(postfix.relayed(), Vec::<String>::new());
}

#[test]
fn the_same_server_relays_for_the_same_stranger_without_mailward() {
    let World { postfix, .. } = &world();
    let mut talk = Talk::to(postfix.smtp());
    talk.reply("220");
    talk.send("EHLO client.example.net\r\n").reply("250");
    talk.ask("MAIL FROM:<stranger@example.net>", "250");
    let mut taken = Vec::new();
    for argument in ELSEWHERE {
        if talk.send(format!("RCPT {argument}\r\n")).reply("").starts_with("250") {
            taken.push(argument);
        }
    }
    for form in ["TO:<x@example.com>", "TO:x@example.com", "TO:<x@[192.0.2.1]>", "TO:<@example.org:x@example.com>"] {
        assert!(taken.contains(&form), "Postfix no longer takes {form}: {taken:?}");
    }
    talk.ask("DATA", "354");
    talk.send(stuffed(&message("relayed", 500))).reply("250");
    postfix.await_relayed("x@example.com");
}

#[test]
fn a_refused_recipient_leaves_the_others_of_a_pipelined_group_in_order() {
    let World { dovecot, postfix, gateway } = &world();
    let sent = message("group", 2_000);
    for (number, (listener, security)) in SMTP.into_iter().enumerate() {
        let (mut talk, _) = gateway.smtp(listener, security);
        talk.send(
            "MAIL FROM:<stranger@example.net>\r\nRCPT TO:<x@example.com>\r\nRCPT TO:<alice@example.org>\r\n\
             RCPT TO:<x%example.com@example.org>\r\nRCPT TO:<bob@EXAMPLE.org> NOTIFY=NEVER\r\nRCPT TO:<y@example.com>\r\nDATA\r\n",
        );
        for reply in ["250", "554 5.7.1", "250", "554 5.7.1", "250", "554 5.7.1", "354"] {
            talk.reply(reply);
        }
        talk.send(stuffed(&sent)).reply("250");
        talk.ask("QUIT", "221");
        talk.closes();
        for user in ["alice", "bob"] {
            assert_carries(dovecot.deliveries(user, number + 1).last().expect("a message"), &sent);
        }
    }
    assert_eq!(postfix.relayed(), Vec::<String>::new());
}

#[test]
fn every_server_has_a_postmaster() {
    let World { postfix, gateway, .. } = &world();
    for (listener, security) in SMTP {
        let (mut talk, _) = gateway.smtp(listener, security);
        talk.ask("MAIL FROM:<stranger@example.net>", "250");
        talk.ask("RCPT TO:<PostMaster>", "250");
        talk.ask("RCPT TO:<postmaster@example.org>", "250");
        talk.ask("RCPT TO:<postmaster@example.com>", "554 5.7.1");
        talk.ask("QUIT", "221");
    }
    assert_eq!(postfix.relayed(), Vec::<String>::new());
}

#[test]
fn submission_takes_no_mail_before_the_login_whatever_is_tried() {
    let World { postfix, gateway, .. } = &world();
    for (listener, security) in [("submission", Security::StartTls), ("submissions", Security::Implicit)] {
        let (mut talk, list) = gateway.smtp(listener, security);
        assert!(list.contains("AUTH ") && list.contains("PIPELINING"), "{list}");
        talk.send("MAIL FROM:<alice@example.org>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n");
        for reply in ["530 5.7.0", "503", "5"] {
            talk.reply(reply);
        }
        talk.ask("RSET", "250");
        talk.ask("MAIL FROM:<>", "530 5.7.0");
        talk.ask(&format!("AUTH PLAIN {}", plain("alice", "wrong")), "535");
        talk.ask("MAIL FROM:<alice@example.org>", "530 5.7.0");
        talk.ask("AUTH PLAIN", "334");
        talk.ask("*", "501");
        talk.ask("mail from:<alice@example.org> SIZE=10", "530 5.7.0");
        talk.ask("AUTH LOGIN", "334");
        talk.ask("YWxpY2U=", "334");
        talk.ask("MAIL FROM:<alice@example.org>", "5");
        talk.ask("MAIL FROM:<alice@example.org>", "530 5.7.0");
        talk.send("EHLO again.example.net\r\n").reply("250");
        talk.ask("MAIL FROM:<alice@example.org>", "530 5.7.0");
        talk.ask("HELO again.example.net", "250");
        talk.send("MAIL FROM:<alice@example.org>\r\n").reply("530 5.7.0");
        talk.ask("RCPT TO:<x@example.com>", "503");
        talk.ask("QUIT", "221");
    }
    let (mut talk, _) = gateway.smtp("submission", Security::Plain);
    talk.ask("MAIL FROM:<alice@example.org>", "530 5.7.0");
    talk.ask(&format!("AUTH PLAIN {}", plain("alice", PASSWORD)), "530 5.7.0");
    talk.ask("RCPT TO:<x@example.com>", "530 5.7.0");
    assert_eq!(postfix.relayed(), Vec::<String>::new());
}

#[test]
fn an_accepted_login_lifts_the_guard_and_nothing_else_does() {
    let World { postfix, gateway, .. } = &world();
    let ways =
        [("submission", Security::StartTls), ("submissions", Security::Implicit), ("smtp-login", Security::StartTls)];
    for (listener, security) in ways {
        let (mut talk, _) = gateway.smtp(listener, security);
        let guarded = listener == "smtp-login";
        talk.ask(&format!("AUTH PLAIN {}", plain("alice", "wrong")), "535");
        if guarded {
            talk.ask("MAIL FROM:<alice@example.org>", "250");
            talk.ask("RCPT TO:<x@example.com>", "554 5.7.1");
            talk.ask("RSET", "250");
        }
        talk.ask(&format!("AUTH PLAIN {}", plain("alice", PASSWORD)), "235");
        talk.send("EHLO again.example.net\r\n").reply("250");
        let to = format!("{listener}@example.com");
        transfer(&mut talk, ALICE, &[&to, "x@sub.example.org"], &message("out", 500));
        postfix.await_relayed(&to);
        talk.ask("QUIT", "221");
        assert_eq!(gateway.session(listener, "ok")["user"], "alice");
    }
    // Nobody else's session has anything of it.
    let (mut talk, _) = gateway.smtp("smtp-login", Security::StartTls);
    talk.ask("MAIL FROM:<alice@example.org>", "250");
    talk.ask("RCPT TO:<x@example.com>", "554 5.7.1");
}

#[test]
fn what_the_operator_opens_is_open_and_warned_about() {
    let World { postfix, gateway, .. } = &world();
    let told = gateway.output();
    for key in ["server.listener.open.rcpt-domains", "server.listener.lax.require-auth"] {
        assert!(told.contains(key), "no warning about {key}: {told}");
    }
    let file = gateway.scratch.join("proxy.toml");
    let (code, checked) = mailward(&["check", "--config", &file.display().to_string()]);
    assert_eq!(code, Some(0), "{checked}");
    for key in ["server.listener.open.rcpt-domains", "server.listener.lax.require-auth"] {
        assert!(checked.lines().any(|line| line.contains(key) && line.contains("warning")), "{key}: {checked}");
    }
    for (listener, security) in [("open", Security::Plain), ("lax", Security::StartTls)] {
        let (mut talk, _) = gateway.smtp(listener, security);
        let to = format!("{listener}@example.com");
        transfer(&mut talk, "stranger@example.net", &[&to], &message("open", 500));
        postfix.await_relayed(&to);
    }
    // A submission without login may have its domains, too.
    let (mut talk, _) = gateway.smtp("narrow", Security::StartTls);
    talk.ask("MAIL FROM:<stranger@example.net>", "250");
    talk.ask("RCPT TO:<x@example.com>", "554 5.7.1");
    talk.ask("RCPT TO:<x@sub.example.org>", "250");
    talk.ask("RCPT TO:<alice@example.org>", "250");
}

#[test]
fn an_smtp_listener_that_names_no_domains_does_not_start() {
    let builder = Gateway::builder().listener("smtp", "lmtp", "127.0.0.1:9");
    let told = builder.with("smtp", "protocol = \"smtp\"").start_fails();
    assert!(told.contains("server.listener.smtp.rcpt-domains") && told.contains("example.org"), "{told}");
}

/// Sends a message that must be accepted.
fn transfer(talk: &mut Talk, from: &str, to: &[&str], message: &[u8]) {
    talk.ask(&format!("MAIL FROM:<{from}>"), "250");
    to.iter().for_each(|to| drop(talk.ask(&format!("RCPT TO:<{to}>"), "250")));
    talk.ask("DATA", "354");
    talk.send(stuffed(message)).reply("250");
}

/// The response of PLAIN.
fn plain(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"))
}
