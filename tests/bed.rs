//! The test bed itself, without mailward: every server and client that the other tests rely on does here what they rely on.

mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use support::{
    ALICE, Curl, Dovecot, Exim, Mbsync, Named, Postfix, Python, Recorder, Scratch, Supervised, Swaks, Target,
    assert_carries, eventually, message,
};

const BOB: &str = "bob@example.net";

#[test]
fn dovecot_serves_imap_pop3_and_managesieve_to_its_users() {
    let dovecot = Dovecot::builder().start();
    let (imap, pop3) = (Target::plain(dovecot.imap()), Target::plain(dovecot.pop3()));
    Python::at(&imap).imap_append("alice", &message("hello", 2_000)).succeeds();
    assert_eq!(Python::at(&imap).imap_fetch("alice@example.org").succeeds().out, message("hello", 2_000));
    assert_eq!(Python::at(&pop3).pop3_fetch("alice").succeeds().out, message("hello", 2_000));
    Curl::imap(&imap, "INBOX;MAILINDEX=1").login("alice").run().succeeds().prints("Subject: hello");
    Curl::imap(&imap, "").login("nobody").run().fails();
    let script = "require \"fileinto\";\r\nkeep;\r\n";
    Python::at(&Target::plain(dovecot.sieve())).sieve("bob", script).succeeds().prints("require \"fileinto\"");
}

#[test]
fn dovecot_takes_mail_by_lmtp_and_stores_what_came() {
    let dovecot = Dovecot::builder().start();
    let lmtp = Target::plain(dovecot.lmtp());
    Swaks::at(&lmtp).lmtp().send(BOB, ALICE, &message("by lmtp", 5_000)).succeeds();
    assert_carries(&dovecot.delivery("alice"), &message("by lmtp", 5_000));
    assert!(dovecot.lmtp_socket().exists(), "LMTP listens on a unix socket too");
    Swaks::at(&lmtp).lmtp().send(BOB, "nobody@example.org", b"\r\n").fails().prints("550 5.1.1");
}

#[test]
fn dovecot_without_plaintext_passwords_lists_logindisabled_unless_it_trusts_the_client() {
    let strict = Dovecot::builder().refuse_plaintext().start();
    let imap = Target::plain(strict.imap());
    Curl::imap(&imap, "")
        .arguments(&["--verbose", "--request", "CAPABILITY"])
        .run()
        .succeeds()
        .prints(" LOGINDISABLED");
    Python::at(&imap).imap_capabilities("alice").fails().prints("PRIVACYREQUIRED");
    let trusting = Dovecot::builder().refuse_plaintext().trust("127.0.0.1").start();
    Python::at(&Target::plain(trusting.imap())).imap_capabilities("alice").succeeds().prints_no("LOGINDISABLED");
}

#[test]
fn postfix_delivers_to_dovecot_byte_for_byte() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let message = message("to dovecot", 3_000_000);
    Python::at(&Target::plain(postfix.smtp()))
        .smtp("", BOB, ALICE, &message)
        .succeeds()
        .prints("CHUNKING")
        .prints("SMTPUTF8");
    assert_carries(&dovecot.delivery("alice"), &message);
    assert_carries(&Python::at(&Target::plain(dovecot.imap())).imap_fetch("alice").succeeds().out, &message);
}

#[test]
fn postfix_takes_25_megabytes() {
    let postfix = Postfix::builder().start();
    Swaks::at(&Target::plain(postfix.smtp())).send(BOB, ALICE, &message("large", 25 << 20)).succeeds();
    let lines_end_in_lf = String::from_utf8(message("large", 25 << 20)).expect("text").replace("\r\n", "\n");
    assert!(postfix.delivery().ends_with(lines_end_in_lf.as_bytes()), "the stored message differs");
}

#[test]
fn submission_asks_dovecot_for_the_password_and_mail_for_others_is_thrown_away() {
    let dovecot = Dovecot::builder().start();
    let postfix = Postfix::builder().deliver_to(&dovecot).start();
    let submission = Target::plain(postfix.submission());
    Swaks::at(&submission).login("alice").send(ALICE, "stranger@example.com", &message("out", 500)).succeeds();
    postfix.await_relayed("stranger@example.com");
    Curl::smtp(&submission).login("alice").send(ALICE, "bob@example.org", &message("in", 500)).succeeds();
    assert_carries(&dovecot.delivery("bob"), &message("in", 500));
    let wrong = ["--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "wrong"];
    Swaks::at(&submission).arguments(&wrong).send(ALICE, ALICE, b"\r\n").fails().prints("535 5.7.8");
    Swaks::at(&submission).send(BOB, ALICE, b"\r\n").fails().prints("554 5.7.1");
}

#[test]
fn postfix_relays_for_strangers_only_where_it_trusts_them() {
    let careful = Postfix::builder().start();
    let stranger = |postfix: &Postfix| {
        Swaks::at(&Target::plain(postfix.smtp())).send(BOB, "stranger@example.com", &message("relay", 500))
    };
    stranger(&careful).fails().prints("554 5.7.1");
    assert_eq!(careful.relayed(), Vec::<String>::new());
    let trusting = Postfix::builder().trust("127.0.0.1").start();
    stranger(&trusting).succeeds();
    trusting.await_relayed("stranger@example.com");
}

#[test]
fn exim_sends_by_bdat_where_that_is_offered() {
    let recorder = Recorder::start();
    let message = message("by bdat", 200_000);
    Exim::to(recorder.address()).send(BOB, &[ALICE], &message).succeeds().prints("=> alice@example.org");
    let session = recorder.session();
    assert!(session.commands.iter().any(|it| it.starts_with("BDAT ")), "{:?}", session.commands);
    assert!(!session.commands.iter().any(|it| it == "DATA"), "{:?}", session.commands);
    assert_carries(&session.content, &message);
}

#[test]
fn exim_sends_by_data_when_told_to() {
    let recorder = Recorder::start();
    Exim::to(recorder.address())
        .by_data()
        .send(BOB, &[ALICE], &message("by data", 2_000))
        .succeeds()
        .prints("=> alice");
    let session = recorder.session();
    assert!(session.commands.iter().any(|it| it == "DATA"), "{:?}", session.commands);
    assert!(!session.commands.iter().any(|it| it.starts_with("BDAT")), "{:?}", session.commands);
}

#[test]
fn mbsync_fetches_and_uploads() {
    let dovecot = Dovecot::builder().start();
    let imap = Target::plain(dovecot.imap());
    Python::at(&imap).imap_append("alice", &message("from afar", 2_000)).succeeds();
    let mbsync = Mbsync::at(&imap, "alice");
    mbsync.put(&message("from here", 2_000));
    mbsync.sync().succeeds();
    assert_eq!(dovecot.deliveries("alice", 2).len(), 2);
    assert_eq!(mbsync.messages().len(), 2);
}

#[test]
fn imaplib_idles_until_a_message_comes() {
    let dovecot = Dovecot::builder().start();
    let mut idle = Python::at(&Target::plain(dovecot.imap())).imap_idle("alice");
    assert_eq!(idle.line(), "idling");
    Swaks::at(&Target::plain(dovecot.lmtp())).lmtp().send(BOB, ALICE, &message("now", 500)).succeeds();
    assert_eq!(idle.line(), "* 1 EXISTS");
    assert_eq!(idle.line(), "done");
}

#[test]
fn bind_answers_for_its_zones_and_those_it_copies() {
    let records = "hello TXT \"one\"\nhello TXT \"another\"";
    let primary = Named::builder().zone_with("example.org", records, "").zone("sub.example.org").start();
    let secondary = Named::builder().secondary("example.org", &primary).start();
    for named in [&primary, &secondary] {
        assert_eq!(named.texts("hello.example.org"), ["another", "one"]);
        assert!(named.texts("hello.sub.example.org").is_empty());
    }
}

#[test]
fn dropping_a_server_ends_all_its_processes_and_no_other() {
    let (first, second) = (Dovecot::builder().start(), Dovecot::builder().start());
    let (gone, stays) = (first.group(), second.group());
    assert!(processes_of(gone) > 3, "Dovecot has more than one process");
    drop(first);
    await_end(gone);
    assert!(processes_of(stays) > 3);
    let postfix = Postfix::builder().start();
    let group = postfix.group();
    assert!(processes_of(group) > 3, "Postfix has more than one process");
    drop(postfix);
    await_end(group);
}

/// Waits until no process of a group is left: they were killed, and the kernel takes its time.
#[track_caller]
fn await_end(group: u32) {
    assert!(eventually(|| (processes_of(group) == 0).then_some(())).is_some(), "{} are left", processes_of(group));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let scratch = Scratch::new("broken");
    let mut dovecot = Command::new("/usr/sbin/dovecot");
    dovecot.arg("-F").arg("-c").arg(scratch.write("dovecot.conf", "no_such_setting = yes\n"));
    let refused = catch_unwind(AssertUnwindSafe(|| Supervised::start(&dovecot, scratch.path(), || false)));
    let said = *refused.expect_err("it must not start").downcast::<String>().expect("a panic with a message");
    assert!(said.contains("Unknown setting: no_such_setting"), "{said}");
}

/// The processes of a group that are not mere remains waiting for init.
fn processes_of(group: u32) -> usize {
    let processes = fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // Behind the name in parentheses: state, parent, group.
        let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').map(ToOwned::to_owned).collect();
        Some((fields.first()?.clone(), fields.get(2)?.parse::<u32>().ok()?))
    });
    processes.filter(|(state, its_group)| *its_group == group && state != "Z").count()
}
