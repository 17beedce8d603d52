//! Backends that greet with a refusal: it is never hidden (spec §4.2).

use crate::support::{DIALECTS, Dialect, Fake, Gateway, Talk, dialect};
use crate::{implicit, in_front_of, knock};

/// A gateway in front of one backend that refuses every session in these words.
fn refusing(dialect: &'static Dialect, greeting: &'static str) -> Gateway {
    let fake = Fake::start(move |mut talk, _| {
        let _ = talk.try_send(greeting);
        talk.rest();
    });
    in_front_of(Gateway::builder(), dialect, fake.address()).start()
}

#[test]
fn a_temporary_refusal_is_told_in_the_greeting_or_at_the_first_command() {
    for dialect in DIALECTS.iter().filter(|dialect| dialect.carries_mail()) {
        let gateway = refusing(dialect, "450 4.3.2 Overloaded\r\n");
        let mut entered = knock(dialect, &gateway);
        entered.expect("450 4.3.2 Overloaded");
        entered.send(dialect.hello.0).expect("421 4.3.2");
        entered.closes_in_order();
        let mut upgraded = dialect.starttls(&gateway, dialect.protocol);
        upgraded.send(dialect.hello.0).expect("421 4.3.2");
        upgraded.closes_in_order();
        let gateway = refusing(dialect, "421 4.3.2 Going down\r\n");
        let mut entered = knock(dialect, &gateway);
        entered.expect("421 4.3.2 Going down");
        entered.closes_in_order();
        gateway.session(&implicit(dialect), "refused");
    }
}

#[test]
fn a_permanent_refusal_is_passed_on_and_everything_behind_it_is_503() {
    for dialect in DIALECTS.iter().filter(|dialect| dialect.carries_mail()) {
        let gateway = refusing(dialect, "554-5.7.1 You are\r\n554 5.7.1 not welcome\r\n");
        let mut entered = knock(dialect, &gateway);
        entered.expect("554-5.7.1 You are");
        entered.expect("554 5.7.1 not welcome");
        let mut upgraded = dialect.starttls(&gateway, dialect.protocol);
        upgraded.send(dialect.hello.0).expect("554-5.7.1 You are");
        upgraded.expect("554 5.7.1 not welcome");
        for talk in [&mut entered, &mut upgraded] {
            talk.send(dialect.hello.0).expect("503 5.5.1");
            talk.ask("MAIL FROM:<bob@example.net>", "503 5.5.1");
            talk.ask("NOOP", "503 5.5.1");
            talk.ask("QUIT", "221");
            talk.closes_in_order();
        }
        gateway.session(dialect.protocol, "refused");
    }
}

#[test]
fn bye_of_imap_is_passed_on_at_once() {
    let gateway = refusing(dialect("imap"), "* BYE [ALERT] Not today\r\n");
    for mut talk in [knock(dialect("imap"), &gateway), dialect("imap").starttls(&gateway, "imap")] {
        talk.expect("* BYE [ALERT] Not today");
        talk.closes_in_order();
    }
    gateway.session("imap", "refused");
}

#[test]
fn err_of_pop3_is_the_greeting_or_the_answer_to_the_first_command() {
    let gateway = refusing(dialect("pop3"), "-ERR [SYS/TEMP] Locked\r\n");
    let mut entered = knock(dialect("pop3"), &gateway);
    entered.expect("-ERR [SYS/TEMP] Locked");
    entered.closes_in_order();
    let mut upgraded = dialect("pop3").starttls(&gateway, "pop3");
    upgraded.send("CAPA\r\n").expect("-ERR [SYS/TEMP] Locked");
    upgraded.closes_in_order();
    gateway.session("pop3", "refused");
}

#[test]
fn a_refusal_of_managesieve_is_bye_in_place_of_the_list() {
    for refusal in ["BYE (TRYLATER) \"Not today\"\r\n", "NO \"Not today\"\r\n"] {
        let gateway = refusing(dialect("managesieve"), refusal);
        let sieve = dialect("managesieve");
        for mut talk in [knock(sieve, &gateway), sieve.starttls(&gateway, "managesieve")] {
            let line: String = talk.line();
            assert!(line.starts_with("BYE ") && line.contains("Not today"), "{line}");
            talk.closes_in_order();
        }
        gateway.session("managesieve", "refused");
    }
}

#[test]
fn a_client_in_plaintext_learns_of_the_refusal_at_its_mail() {
    let gateway = refusing(dialect("smtp"), "554 5.7.1 Not welcome\r\n");
    let mut talk = Talk::to(gateway.address("smtp"));
    talk.reply("220");
    talk.send("EHLO a\r\n").reply("250");
    talk.ask("MAIL FROM:<bob@example.net>", "554 5.7.1 Not welcome");
    talk.ask("RCPT TO:<alice@example.org>", "503");
    talk.ask("QUIT", "221");
}
