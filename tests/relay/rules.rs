//! The rules of a relay (RFC 5321 and its extensions), with mail.

use std::time::{Duration, Instant};

use crate::bed::{Bed, SENDER, assert_begins, deliver, deliver_by_smtp};
use crate::support::{MailHosts, Said, Talk, World, message, stuffed};

#[test]
fn s1_a_server_that_stalls_is_given_up_before_the_sender_gives_up() {
    let second = "[queue.timeout]\ngreeting = \"1s\"\nrcpt = \"1s\"\ndata = \"1s\"\ndata-end = \"1s\"\n";
    let tls = "[queue.tls.default]\ntimeout.tls = \"1s\"\n[queue.tls.invalid-tls]\ntimeout.tls = \"1s\"\n";
    let bed = Bed::new(&format!("{second}{tls}"));
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for (phase, reply) in [
        ("", "451 4.4.1 "),
        ("EHLO", "451 4.4.2 "),
        ("STARTTLS", "451 4.7.5 "),
        ("MAIL", "451 4.4.2 "),
        ("RCPT", "451 4.4.2 "),
        ("DATA", "451 4.4.2 "),
        (".", "451 4.4.2 Delivery status unknown"),
    ] {
        let stalls = move |said: &Said<'_>| {
            let is_it = said.command == phase || (!phase.is_empty() && said.command.starts_with(phase));
            is_it.then_some(MailHosts::SILENCE)
        };
        hosts.become_those(MailHosts::builder(&bed.world).saying(stalls));
        let begun = Instant::now();
        let mut talk = bed.lmtp();
        talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
        talk.send("RCPT TO:<bob@insecure.test>\r\n");
        let mut said = talk.reply("");
        if said.starts_with('2') {
            talk.send("DATA\r\n");
            said = talk.reply("");
        }
        if said.starts_with('3') {
            talk.send(stuffed(&message("stall", 1000)));
            said = talk.reply("");
        }
        assert_begins(&said, reply);
        // The next shortest of the times is 15 s, and the session goes on.
        assert!(begun.elapsed() < Duration::from_secs(12), "{phase}: {:?}", begun.elapsed());
        talk.ask("NOOP", "250");
    }
}

#[test]
fn s1_all_that_comes_before_the_answer_to_a_recipient_has_one_limit() {
    let bed = Bed::new("[queue]\ntimeout.total = \"2s\"\n");
    let addresses = [&World::OTHER_HOSTS[..], &[World::MAIL_HOST]].concat();
    let hosts = MailHosts::builder(&bed.world).at(&addresses).start(&bed.world);
    for (phase, domain) in [("", "order.insecure.test"), ("MAIL", "insecure.test"), ("RCPT", "insecure.test")] {
        let stalls = move |said: &Said<'_>| {
            let is_it = said.command == phase || (!phase.is_empty() && said.command.starts_with(phase));
            is_it.then_some(MailHosts::SILENCE)
        };
        hosts.become_those(MailHosts::builder(&bed.world).saying(stalls));
        let begun = Instant::now();
        assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.4.1 ");
        // A server alone may take 30 s for its greeting, and 60 s for each of the others.
        assert!(begun.elapsed() < Duration::from_secs(12), "{phase}: {:?}", begun.elapsed());
    }
}

#[test]
fn s1_a_sender_that_stalls_in_the_middle_of_a_message_is_told_so() {
    let bed = Bed::new("[queue]\ntimeout.block = \"1s\"\n");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for (mut talk, listener) in [(bed.lmtp(), "lmtp"), (bed.smtp(), "smtp")] {
        talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
        talk.ask("RCPT TO:<bob@insecure.test>", "250");
        talk.ask("DATA", "354");
        talk.send("Subject: half\r\n\r\nhalf").expect("421 4.4.2 ");
        talk.closes();
        bed.gateway.session(listener, "timeout");
    }
    assert!(hosts.all().iter().all(|visit| visit.messages.is_empty()));
}

#[test]
fn who_sends_too_much_of_a_refused_message_is_told_so() {
    let small =
        "bind = \"127.0.0.1:2600\"\nprotocol = \"lmtp\"\nrelay = true\nlimit.message = 65536\nlimit.discard = 1024";
    let bed = Bed::new(&format!("[server.listener.small]\n{small}\n"));
    let _hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let mut talk = bed.world.talk(([127, 0, 0, 1], 2600).into());
    talk.reply("220");
    talk.send("LHLO old.example.org\r\n").reply("250");
    talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
    talk.ask("RCPT TO:<bob@insecure.test>", "250");
    talk.ask("DATA", "354");
    talk.send(stuffed(&message("large", 100_000))).expect("552 5.3.4 ");
    talk.expect("421 4.7.0 Too much");
    assert_eq!(bed.gateway.session("small", "violation")["reason"], "too-much-discarded");
}

#[test]
fn s2_whatever_only_looks_like_an_end_is_part_of_the_one_message() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let ends =
        ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\r\n.\r\r\n", "\r\n.\r\r\n", "\r\n\0.\r\n"];
    let mut sender = bed.lmtp();
    let mut by_smtp = bed.smtp();
    for end in ends {
        for talk in [&mut sender, &mut by_smtp] {
            hosts.messages();
            let before = hosts.messages().len();
            talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
            talk.ask("RCPT TO:<bob@insecure.test>", "250");
            talk.ask("DATA", "354");
            let second = "MAIL FROM:<mallory@old.example.org>\r\nRCPT TO:<victim@insecure.test>\r\nDATA\r\nsecond\r\n";
            talk.send(format!("Subject: first\r\n\r\nfirst{end}{second}.\r\n"));
            talk.expect("250 2.0.0 [mx.insecure.test] taken");
            talk.ask("NOOP", "250");
            let messages = hosts.messages();
            assert_eq!(messages.len(), before + 1, "{end:?}");
            let message = String::from_utf8_lossy(&messages[before]).into_owned();
            assert!(message.ends_with(second), "{end:?}: {message:?}");
            let newlines = message.matches(['\r', '\n']).count();
            assert_eq!(newlines, 2 * message.matches("\r\n").count(), "{end:?}: {message:?}");
        }
    }
    let senders = hosts.visits().into_iter().flat_map(|visit| visit.commands);
    assert!(senders.filter(|command| command.starts_with("MAIL")).all(|command| command.contains(SENDER)));
}

#[test]
fn s2_a_dot_is_one_wherever_reads_end() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let mut talk = bed.lmtp();
    talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
    talk.ask("RCPT TO:<bob@insecure.test>", "250");
    talk.ask("DATA", "354");
    let sent = b".a\r\n..\r\n.\r\nb.\r\n.";
    for byte in stuffed(b".a\r\n..\r\n.\r\nb.\r\n.\r\n") {
        talk.send([byte]);
    }
    talk.expect("250");
    assert!(hosts.messages()[0].ends_with(&[&sent[..], b"\r\n"].concat()));
}

#[test]
fn s3_one_field_is_added_and_nothing_else_changed() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let sent = message("unchanged", 50_000);
    deliver(&mut bed.lmtp(), &["bob@insecure.test"], &sent);
    deliver_by_smtp(&mut bed.smtp(), &["bob@insecure.test"], &sent);
    for (arrived, with) in hosts.messages().iter().zip(["LMTP", "ESMTP"]) {
        let added = arrived.strip_suffix(&*sent).expect("what was sent");
        let added = String::from_utf8(added.to_vec()).expect("text");
        let lines: Vec<_> = added.split_inclusive("\r\n").collect();
        assert_eq!(lines[0], "Received: from old.example.org ([127.0.0.1])\r\n");
        assert!(lines[1].starts_with(&format!("\tby gate.test with {with} id ")), "{added}");
        assert!(lines[1..].iter().all(|line| line.starts_with('\t') && line.ends_with("\r\n")), "{added}");
    }
    assert_eq!(hosts.messages().len(), 2);
}

#[test]
fn s4_a_message_that_comes_back_is_refused() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let to = ["bob@insecure.test"];
    let mut sent = message("round", 1000);
    for times in 1..=2 {
        assert_begins(&deliver(&mut bed.lmtp(), &to, &sent)[0], "250 ");
        assert_eq!(hosts.messages().len(), times);
        sent = hosts.messages().pop().expect("it arrived");
    }
    assert_begins(&deliver(&mut bed.lmtp(), &to, &sent)[0], "554 5.4.6 ");
    let everywhere = [b"Received: by x\r\n".repeat(101), message("far", 1000)].concat();
    assert_begins(&deliver(&mut bed.lmtp(), &to, &everywhere)[0], "554 5.4.6 ");
    let visits = hosts.all();
    assert_eq!(visits.iter().map(|visit| visit.messages.len()).sum::<usize>(), 2);
}

#[test]
fn s5_hosts_have_their_turns_in_order_and_we_are_none_of_them() {
    let bed = Bed::new("");
    let [a, b, c] = World::OTHER_HOSTS;
    let refuse = |said: &Said<'_>| said.command.is_empty().then_some("554 5.7.1 nobody is welcome");
    let hosts = MailHosts::builder(&bed.world).at(&World::OTHER_HOSTS).saying(refuse).start(&bed.world);
    let order = |domain: &str, reply: &str| {
        hosts.forget();
        assert_begins(&bed.send(&format!("bob@{domain}")), reply);
        hosts.order()
    };
    assert_eq!(order("order.insecure.test", "451 4.4.1 "), [a, b, c]);
    assert_eq!(order("ours.insecure.test", "451 4.4.1 "), [a]);
    assert_eq!(order("only-ours.insecure.test", "554 5.4.6 "), [""; 0]);
    let mut firsts = [false, false];
    // Chance alone would fail this one time in 2 to the power of 39.
    for _ in 0..40 {
        let equal = order("equal.insecure.test", "451 4.4.1 ");
        assert!(equal == [a, b, c] || equal == [b, a, c], "{equal:?}");
        firsts[usize::from(equal[0] == b)] = true;
        if firsts == [true, true] {
            break;
        }
    }
    assert_eq!(firsts, [true, true]);
    // A word about the envelope is the last one.
    hosts.become_those(MailHosts::builder(&bed.world).clear().saying(|said| {
        let answers = said.command.starts_with("RCPT") && said.at == World::OTHER_HOSTS[1];
        if said.at == World::OTHER_HOSTS[0] && said.command.is_empty() {
            return Some("421 4.3.2 going down");
        }
        answers.then_some("450 4.2.0 greylisted")
    }));
    assert_eq!(order("order.insecure.test", "450 4.2.0 [b.insecure.test] greylisted"), [a, b]);
}

#[test]
fn s7_recipients_of_other_domains_are_told_to_come_again() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let mut talk = bed.smtp();
    talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
    talk.ask("RCPT TO:<bob@insecure.test>", "250");
    talk.ask("RCPT TO:<bob@secure.test>", "452 4.5.3 ");
    talk.ask("RCPT TO:<carol@insecure.test>", "250");
    talk.ask("DATA", "354");
    talk.send(stuffed(&message("first", 1000))).reply("250");
    assert_begins(&deliver_by_smtp(&mut talk, &["bob@secure.test"], &message("second", 1000)), "250 ");
    let recipients = hosts.visits().into_iter().flat_map(|visit| visit.commands);
    let recipients: Vec<_> = recipients.filter(|command| command.starts_with("RCPT")).collect();
    let expected = ["RCPT TO:<bob@insecure.test>", "RCPT TO:<carol@insecure.test>", "RCPT TO:<bob@secure.test>"];
    assert_eq!((hosts.messages().len(), recipients), (2, expected.map(str::to_owned).to_vec()));
}

#[test]
fn s8_each_recipient_has_a_reply_of_its_own_in_order_duplicates_too() {
    let bed = Bed::new("");
    let words = |said: &Said<'_>| match said.command {
        "RCPT TO:<later@insecure.test>" => Some("450 4.2.1 later"),
        "RCPT TO:<never@insecure.test>" => Some("550 5.1.1 never"),
        "." if said.at == World::OTHER_HOSTS[0] => Some("452 4.3.1 no room"),
        _ => None,
    };
    let addresses = [World::MAIL_HOST, World::OTHER_HOSTS[0]];
    let hosts = MailHosts::builder(&bed.world).at(&addresses).saying(words).start(&bed.world);
    let to = [
        "ok@insecure.test",
        "later@insecure.test",
        "dave@ours.insecure.test",
        "never@insecure.test",
        "ok@insecure.test",
    ];
    let mut talk = bed.lmtp();
    let said = deliver(&mut talk, &to, &message("five", 3000));
    let expected = [
        "250 2.0.0 [mx.insecure.test] taken",
        "450 4.2.1 [mx.insecure.test] later",
        "452 4.3.1 [a.insecure.test] no room",
        "550 5.1.1 [mx.insecure.test] never",
        "250 2.0.0 [mx.insecure.test] taken",
    ];
    assert_eq!(said, expected);
    // Each host had the message once.
    assert_eq!(hosts.messages().len(), 2);
    // RFC 2033 §4.2: DATA without recipients.
    talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
    talk.ask("RCPT TO:<never@insecure.test>", "550 5.1.1 ");
    talk.ask("DATA", "503 5.5.1 ");
}

#[test]
fn s9_a_message_that_is_declared_too_large_is_not_sent() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).offering("PIPELINING\nSIZE 1000").start(&bed.world);
    for mut talk in [bed.lmtp(), bed.smtp()] {
        talk.ask(&format!("MAIL FROM:<{SENDER}> SIZE=5000"), "250");
        talk.ask("RCPT TO:<bob@insecure.test>", "552 5.3.4 ");
        talk.ask("RSET", "250");
        talk.ask("QUIT", "221");
    }
    assert!(hosts.all().iter().all(|visit| visit.messages.is_empty() && visit.torn.is_empty()));
    let verbs = hosts.verbs();
    assert!(!verbs.contains(&"DATA".to_owned()) && !verbs.contains(&"MAIL".to_owned()), "{verbs:?}");
    // What is not declared is the server's to judge.
    let judging = |said: &Said<'_>| (said.command == ".").then_some("552 5.3.4 too large");
    hosts.become_those(MailHosts::builder(&bed.world).offering("SIZE 1000").saying(judging));
    assert_eq!(bed.send("bob@insecure.test"), "552 5.3.4 [mx.insecure.test] too large");
}

#[test]
fn s10_an_address_that_is_not_ascii_goes_only_where_it_is_understood() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let mut talk = bed.lmtp();
    let mut try_it = |reply: &str| {
        talk.ask(&format!("MAIL FROM:<{SENDER}> SMTPUTF8"), "250");
        talk.ask("RCPT TO:<jürgen@insecure.test>", reply);
        talk.ask("RSET", "250");
    };
    try_it("553 5.6.7 ");
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    // It is looked at anew in a session of its own.
    drop(bed.lmtp());
    let mut talk = bed.smtp();
    talk.ask(&format!("MAIL FROM:<{SENDER}> SMTPUTF8"), "555 5.5.4 ");
    hosts.become_those(MailHosts::builder(&bed.world).offering("8BITMIME\nSMTPUTF8"));
    let mut talk = bed.lmtp();
    talk.ask(&format!("MAIL FROM:<{SENDER}> BODY=8BITMIME SMTPUTF8"), "250");
    talk.ask("RCPT TO:<jürgen@insecure.test>", "250");
    talk.ask("DATA", "354");
    talk.send(stuffed(&message("utf8", 1000))).reply("250");
    let commands = hosts.visits().pop().expect("a visit").commands;
    assert!(commands.contains(&format!("MAIL FROM:<{SENDER}> BODY=8BITMIME SMTPUTF8")), "{commands:?}");
    assert!(commands.contains(&"RCPT TO:<jürgen@insecure.test>".to_owned()), "{commands:?}");
}

#[test]
fn s11_what_recipients_servers_would_have_to_keep_is_not_offered() {
    let bed = Bed::new("");
    for (mut talk, hello) in [(bed.lmtp(), "LHLO"), (bed.smtp(), "EHLO")] {
        let list = talk.send(format!("{hello} old.example.org\r\n")).reply("250");
        for keyword in ["DSN", "CHUNKING", "BINARYMIME", "REQUIRETLS", "AUTH"] {
            assert!(!list.contains(keyword), "{list}");
        }
        assert!(list.contains("PIPELINING") && list.contains("ENHANCEDSTATUSCODES") && list.contains("8BITMIME"));
        assert_eq!(list.contains("LIMITS RCPTMAX="), hello == "EHLO", "{list}");
        talk.ask(&format!("MAIL FROM:<{SENDER}> RET=HDRS"), "555 5.5.4 ");
        talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
        talk.ask("RCPT TO:<bob@insecure.test> NOTIFY=SUCCESS", "555 5.5.4 ");
    }
}

#[test]
fn s12_requiretls_goes_on_to_a_verified_host_that_has_it_and_to_no_other() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert!(!bed.smtp().send("EHLO old.example.org\r\n").reply("250").contains("REQUIRETLS"));
    let (mut talk, list) = bed.smtp_in_tls();
    assert!(list.contains("REQUIRETLS"), "{list}");
    let ask = |talk: &mut Talk, to: &str, reply: &str| {
        talk.ask(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"), "250");
        talk.ask(&format!("RCPT TO:<{to}>"), reply);
    };
    ask(&mut talk, "bob@secure.test", "550 5.7.30 ");
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    hosts.become_those(MailHosts::builder(&bed.world).offering("REQUIRETLS"));
    let (mut talk, _) = bed.smtp_in_tls();
    // RFC 8689 §4.2.1: neither DNSSEC nor a policy says that this is one of the domain's hosts.
    ask(&mut talk, "bob@insecure.test", "550 5.7.30 ");
    talk.ask("RSET", "250");
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    ask(&mut talk, "bob@secure.test", "250 ");
    talk.ask("DATA", "354");
    talk.send(stuffed(&message("secret", 1000))).reply("250");
    let commands = hosts.visits().pop().expect("a visit").commands;
    assert!(commands.contains(&format!("MAIL FROM:<{SENDER}> REQUIRETLS")), "{commands:?}");
}

#[test]
fn s13_a_hundred_pipelined_recipients_of_three_domains_are_answered_in_order() {
    let bed = Bed::new("");
    // Each reply names its recipient; every fifth is refused.
    let words = |said: &Said<'_>| {
        let to = said.command.strip_prefix("RCPT TO:<")?.split('@').next()?;
        let is_refused = to.trim_start_matches('u').parse::<u32>().is_ok_and(|number| number % 5 == 0);
        Some(if is_refused { format!("550 5.1.1 {to}") } else { format!("250 2.1.5 {to}") })
    };
    let hosts = MailHosts::builder(&bed.world).saying(words).start(&bed.world);
    let domains = ["insecure.test", "secure.test", "odd.insecure.test"];
    let to: Vec<_> = (1..=100).map(|number| format!("u{number}@{}", domains[number % 3])).collect();
    let mut group = format!("MAIL FROM:<{SENDER}>\r\n");
    to.iter().for_each(|to| group += &format!("RCPT TO:<{to}>\r\n"));
    group += "DATA\r\n";
    let mut talk = bed.lmtp();
    talk.send(&group).reply("250");
    for number in 1..=100 {
        let start = if number % 5 == 0 { "550 5.1.1" } else { "250 2.1.5" };
        let line = talk.expect(start);
        assert!(line.trim_end().ends_with(&format!("] u{number}")), "{line}");
    }
    talk.expect("354");
    talk.send(stuffed(&message("hundred", 5000)));
    (0..80).for_each(|_| drop(talk.expect("250 2.0.0 ")));
    talk.ask("NOOP", "250");
    assert_eq!(hosts.messages().len(), 3);
    // By SMTP those of one domain are taken, and all others come again.
    let mut talk = bed.smtp();
    talk.send(&group).reply("250");
    for number in 1..=100 {
        let start = match (number % 3, number % 5) {
            (1, 0) => "550 5.1.1 ",
            (1, _) => "250 2.1.5 ",
            _ => "452 4.5.3 ",
        };
        talk.expect(start);
    }
    talk.expect("354");
    talk.send(stuffed(&message("hundred", 5000))).reply("250");
    assert_eq!(hosts.messages().len(), 4);
}

#[test]
fn requiretls_goes_on_to_the_host_that_can_keep_it() {
    let bed = Bed::new("");
    let words = |said: &Said<'_>| {
        (said.visit == 0 && said.command.starts_with("EHLO")).then_some("250-mx without\r\n250 STARTTLS")
    };
    let _hosts = MailHosts::builder(&bed.world).offering("REQUIRETLS").saying(words).start(&bed.world);
    let (mut talk, _) = bed.smtp_in_tls();
    talk.ask(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"), "250");
    talk.ask("RCPT TO:<bob@order.secure.test>", "250");
    let hosts: Vec<_> = bed.attempts("order.secure.test").iter().map(|line| line["mx"].to_string()).collect();
    assert!(hosts.len() > 1 && hosts.first() != hosts.last(), "{hosts:?}");
}
