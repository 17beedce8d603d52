//! Real servers that send: what they make of the replies.

use std::time::Duration;

use crate::bed::{Bed, LMTP, SMTP};
use crate::support::{Exim, MailHosts, Postfix, Said, eventually, message, stuffed};

/// How long Exim may take for a message. Only a broken test waits for so long.
const LIMIT: Duration = Duration::from_secs(60);

/// A Postfix that sends all mail by this.
fn postfix(bed: &Bed, transport: &str) -> Postfix {
    Postfix::builder().trust("127.0.0.0/8").send_by(transport).start_in(&bed.world.namespace)
}

/// Gives it a message.
fn give(bed: &Bed, postfix: &Postfix, to: &[&str]) {
    let mut talk = bed.world.talk(postfix.smtp());
    talk.reply("220");
    talk.send("EHLO old\r\n").reply("250");
    talk.ask("MAIL FROM:<bob@example.org>", "250");
    to.iter().for_each(|to| drop(talk.ask(&format!("RCPT TO:<{to}>"), "250")));
    talk.ask("DATA", "354");
    talk.send(stuffed(&message("from Postfix", 2000))).reply("250");
    talk.ask("QUIT", "221");
}

/// The recipients that the hosts were told of in transactions that came to a message, sorted.
fn recipients(hosts: &MailHosts) -> Vec<String> {
    let commands = hosts.visits().into_iter().flat_map(|visit| visit.commands);
    let mut all: Vec<_> =
        commands.filter_map(|command| Some(command.strip_prefix("RCPT TO:<")?.strip_suffix('>')?.to_owned())).collect();
    all.sort();
    all
}

#[test]
fn s7_postfix_comes_again_with_the_recipients_of_the_other_domain() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let postfix = postfix(&bed, &format!("smtp:[{}]:{}", SMTP.ip(), SMTP.port()));
    give(&bed, &postfix, &["bob@insecure.test", "carol@secure.test"]);
    let tried = |count| eventually(|| Some(postfix.deliveries()).filter(|all| all.len() >= count));
    let first = tried(2).unwrap_or_else(|| panic!("{}", postfix.log()));
    let deferred: Vec<_> = first.iter().filter(|delivery| delivery.status == "deferred").collect();
    assert!(deferred.len() == 1 && deferred[0].words.contains("452 4.5.3"), "{first:?}");
    postfix.flush();
    let all = tried(3).unwrap_or_else(|| panic!("{}", postfix.log()));
    assert_eq!(all[2].status, "sent", "{all:?}");
    assert!(eventually(|| (postfix.queued() == 0).then_some(())).is_some(), "{}", postfix.log());
    assert_eq!(
        (hosts.messages().len(), recipients(&hosts)),
        (2, vec!["bob@insecure.test".to_owned(), "carol@secure.test".to_owned()])
    );
}

#[test]
fn s7_exim_comes_again_at_once_in_the_same_session() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let exim = Exim::to(SMTP).queue_in(&bed.world.namespace);
    exim.send(LIMIT, &["bob@insecure.test", "carol@secure.test", "dave@insecure.test"], &message("from Exim", 2000));
    assert_eq!(exim.queued(), 0, "{}", exim.log());
    assert_eq!(hosts.messages().len(), 2);
    let expected = ["bob@insecure.test", "carol@secure.test", "dave@insecure.test"];
    assert_eq!(recipients(&hosts), expected);
    let sessions = bed.gateway.count(|line| line["message"] == "session" && line["listener"] == "smtp");
    assert!(sessions <= 1, "{sessions} sessions: {}", exim.log());
}

#[test]
fn s8_postfix_hears_of_each_recipient_what_its_server_said() {
    let bed = Bed::new("");
    let words = |said: &Said<'_>| match said.command {
        "RCPT TO:<later@insecure.test>" => Some("450 4.2.1 later"),
        "RCPT TO:<never@insecure.test>" => Some("550 5.1.1 never"),
        _ => None,
    };
    let hosts = MailHosts::builder(&bed.world).saying(words).start(&bed.world);
    let postfix = postfix(&bed, &format!("lmtp:inet:{LMTP}"));
    let to = [
        "bob@insecure.test",
        "later@insecure.test",
        "never@insecure.test",
        "carol@secure.test",
        "dave@bad.secure.test",
    ];
    give(&bed, &postfix, &to);
    let all = eventually(|| Some(postfix.deliveries()).filter(|all| all.len() >= to.len()));
    let mut all = all.unwrap_or_else(|| panic!("{}", postfix.log()));
    all.sort_by(|one, other| one.to.cmp(&other.to));
    let told: Vec<_> = all.iter().map(|delivery| (delivery.to.as_str(), delivery.status.as_str())).collect();
    let expected = [
        ("bob@insecure.test", "sent"),
        ("carol@secure.test", "sent"),
        ("dave@bad.secure.test", "deferred"),
        ("later@insecure.test", "deferred"),
        ("never@insecure.test", "bounced"),
    ];
    assert_eq!(told, expected, "{}", postfix.log());
    assert!(all[2].words.contains("451 4.7.5") && all[4].words.contains("[mx.insecure.test] never"), "{all:?}");
    assert_eq!(hosts.messages().len(), 2);
}

/// Postfix says QUIT with the end of its message. What was a failure before is none behind a success: not for a rule on `retry_num`,
/// which would send mail in clear for days.
#[test]
fn a_success_is_remembered_of_a_sender_that_says_no_more() {
    let rules = "[queue.strategy]\ntls = [{ if = \"retry_num > 0\", then = \"'clear'\" }, { else = \"'default'\" }]\n\
                 [queue.tls.clear]\nstarttls = \"disable\"\n";
    let bed = Bed::new(rules);
    let words = |said: &Said<'_>| said.command.starts_with("RCPT").then_some("450 4.2.1 greylisted");
    let hosts = MailHosts::builder(&bed.world).saying(words).start(&bed.world);
    let postfix = postfix(&bed, &format!("lmtp:inet:{LMTP}"));
    let tried = |count| eventually(|| Some(postfix.deliveries()).filter(|all| all.len() >= count));
    give(&bed, &postfix, &["bob@insecure.test"]);
    tried(1).unwrap_or_else(|| panic!("{}", postfix.log()));
    hosts.become_those(MailHosts::builder(&bed.world));
    postfix.flush();
    tried(2).unwrap_or_else(|| panic!("{}", postfix.log()));
    give(&bed, &postfix, &["bob@insecure.test"]);
    tried(3).unwrap_or_else(|| panic!("{}", postfix.log()));
    let attempts = bed.attempts("insecure.test");
    assert_eq!(attempts.iter().map(|line| &line["strategy"]).collect::<Vec<_>>(), ["default", "clear", "default"]);
}

/// A script that sends all it has, ends its side, and reads what it is told: what it sends tomorrow is another message, be it the same.
#[test]
fn who_ends_its_side_and_reads_on_has_heard_the_answer() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    for count in 1..=3 {
        let mut talk = bed.lmtp();
        talk.ask("MAIL FROM:<ann@old.example.org>", "250");
        talk.ask("RCPT TO:<bob@insecure.test>", "250");
        talk.ask("DATA", "354");
        talk.send([stuffed(&message("one", 2000)).as_slice(), b"QUIT\r\n"].concat());
        talk.socket().shutdown(std::net::Shutdown::Write).expect("a socket");
        talk.reply("250");
        talk.expect("221");
        talk.closes();
        assert_eq!(hosts.messages().len(), count);
    }
}
