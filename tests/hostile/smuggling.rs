//! SMTP smuggling (VU#302671; CVE-2023-51764, -51765, -51766): only the client's own CRLF.CRLF ends a message, and the
//! backend never sees one that is anything else.

use crate::support::{Dialect, Gateway, Talk, size};
use crate::{World, implicit, world};

/// What one server or another takes for the end of a message.
const FORMS: [&str; 19] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\n\n.\n",
    "\r\r.\r\r",
    "\r\r\n.\r\n",
    "\r\n.\r\0\n",
    "\n.\r",
    "\r.\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\n\0.\0\n",
    "\r\n..\n",
    "\r..\r",
    "a\nb",
    "a\rb",
];

/// Ends that a blank or a dot makes none: they are text, and go on as they are.
const TEXTS: [&str; 4] = ["\r\n. \r\n", "\r\n..\r\n", "\r\n \r\n", "\r\nx\0.\r\n"];

/// What has to be said to have such a message refused.
const REJECT: &str = "bare-newline = \"reject\"";

/// What an attacker would have the backend take for the next commands.
const SMUGGLED: &str = "MAIL FROM:<smuggled@example.net>\r\nRCPT TO:<smuggled@example.org>\r\nDATA\r\nsmuggled";

/// Up to the message, for two recipients.
fn transaction(dialect: &Dialect, gateway: &Gateway) -> Talk {
    let mut talk = dialect.log_in(gateway, &implicit(dialect));
    talk.ask("MAIL FROM:<bob@example.net>", "250");
    talk.ask("RCPT TO:<alice@example.org>", "250");
    talk.ask("RCPT TO:<nobody@example.org>", "550");
    talk.ask("RCPT TO:<carol@example.org>", "250");
    talk.ask("DATA", "354");
    talk
}

/// How many replies a message gets.
fn verdicts(dialect: &Dialect) -> usize {
    if dialect.protocol == "lmtp" { 2 } else { 1 }
}

#[test]
fn a_bare_newline_is_refused_and_ends_no_message_at_the_backend() {
    let World { gateway, backends } = &world(REJECT);
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        for form in FORMS {
            for before in ["Subject: first\r\n\r\nfirst", "first\r\n", ""] {
                let mut talk = transaction(dialect, gateway);
                talk.send(format!("{before}{form}{SMUGGLED}\r\n.\r\n"));
                assert_refused(dialect, &mut talk, form);
            }
        }
        assert_nothing_smuggled(dialect, &witness.heard());
        assert_eq!(witness.messages(), 0, "{}", dialect.protocol);
    }
}

#[test]
fn a_bare_newline_is_refused_wherever_it_is_cut_in_two() {
    let World { gateway, backends } = &world(REJECT);
    let cuts: usize = FORMS.iter().map(|form| form.len() + 1).sum();
    size("positions at which a smuggling form is cut", cuts, cuts);
    std::thread::scope(|scope| {
        for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
            scope.spawn(move || {
                for form in FORMS {
                    for cut in 0..=form.len() {
                        let mut talk = transaction(dialect, gateway);
                        talk.send(format!("first{}", &form[..cut])).taken();
                        talk.send(format!("{}{SMUGGLED}\r\n.\r\n", &form[cut..]));
                        assert_refused(dialect, &mut talk, &format!("{form:?} cut at {cut}"));
                    }
                }
                assert_nothing_smuggled(dialect, &witness.heard());
                assert_eq!(witness.messages(), 0, "{}", dialect.protocol);
            });
        }
    });
}

/// Every recipient is refused, and then the session.
#[track_caller]
fn assert_refused(dialect: &Dialect, talk: &mut Talk, what: &str) {
    for _ in 0..verdicts(dialect) {
        let reply = talk.line();
        assert!(reply.starts_with("550 5.6.11"), "{} {what:?}: {reply:?}", dialect.protocol);
    }
    let _ = talk.try_send("NOOP\r\n");
    let reply = talk.line();
    assert!(reply.starts_with("421 "), "{} {what:?}: {reply:?}", dialect.protocol);
    talk.closes();
}

#[track_caller]
fn assert_nothing_smuggled(dialect: &Dialect, heard: &str) {
    for never in ["smuggled", "\r\n.\r\n"] {
        assert!(!heard.contains(never), "{}: {never:?} in {heard:?}", dialect.protocol);
    }
    assert!(!heard.replace("\r\n", "").contains(['\r', '\n']), "{}: {heard:?}", dialect.protocol);
}

#[test]
fn a_bare_newline_is_made_a_line_end_of_the_message_wherever_it_is_cut_in_two() {
    let World { gateway, backends } = &world("");
    std::thread::scope(|scope| {
        for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
            scope.spawn(move || {
                let mut messages = 0;
                // With a bare CR before it, an end is one nevertheless.
                for form in FORMS.into_iter().filter(|form| !form.contains("\r\n.\r\n")) {
                    for cut in 0..=form.len() {
                        let mut talk = transaction(dialect, gateway);
                        talk.send(format!("first{}", &form[..cut])).taken();
                        talk.send(format!("{}{SMUGGLED}\r\n.\r\n", &form[cut..]));
                        for _ in 0..verdicts(dialect) {
                            talk.expect("250");
                        }
                        talk.ask("QUIT", "221");
                        messages += 1;
                    }
                }
                assert_eq!(witness.messages(), messages, "{}", dialect.protocol);
                assert_one_end_each(dialect, &witness.heard(), messages);
            });
        }
    });
}

/// No line of a message is a dot alone, even for a server that skips NULs.
#[track_caller]
fn assert_one_end_each(dialect: &Dialect, heard: &str, messages: usize) {
    assert!(!heard.replace("\r\n", "").contains(['\r', '\n']), "{}: {heard:?}", dialect.protocol);
    let without_nuls = heard.replace('\0', "");
    assert_eq!(without_nuls.lines().filter(|line| *line == ".").count(), messages, "{}: {heard:?}", dialect.protocol);
}

#[test]
fn what_only_looks_like_an_end_is_text_and_crosses_byte_for_byte() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        for text in TEXTS {
            let mut talk = transaction(dialect, gateway);
            let body = format!("Subject: text\r\n\r\nbefore{text}{SMUGGLED}\r\n.\r\n");
            talk.send(&body);
            for _ in 0..verdicts(dialect) {
                talk.expect("250");
            }
            talk.ask("QUIT", "221");
            drop(talk);
            assert!(witness.heard().contains(&body), "{} {text:?}", dialect.protocol);
        }
        assert_eq!(witness.messages(), TEXTS.len(), "{}", dialect.protocol);
    }
}

#[test]
fn octets_of_bdat_cross_byte_for_byte_whatever_they_are() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        let octets = format!("{}{SMUGGLED}\r\n.\r\nQUIT\r\n", FORMS.concat());
        for cut in [0, 1, octets.len() / 2, octets.len()] {
            let mut talk = dialect.log_in(gateway, &implicit(dialect));
            talk.ask("MAIL FROM:<bob@example.net>", "250");
            talk.ask("RCPT TO:<alice@example.org>", "250");
            talk.send(format!("BDAT {}\r\n{}", cut, &octets[..cut])).expect("250");
            talk.send(format!("BDAT {} LAST\r\n{}", octets.len() - cut, &octets[cut..])).expect("250");
            talk.ask("NOOP", "250");
            drop(talk);
            let heard = witness.heard();
            assert!(heard.contains(&octets[cut..]) && heard.contains(&octets[..cut]), "{}", dialect.protocol);
        }
        assert_eq!(witness.messages(), 4, "{}", dialect.protocol);
    }
}

#[test]
fn a_message_is_not_over_before_its_own_end() {
    let World { gateway, backends } = &world("");
    for (dialect, witness) in backends.iter().filter(|(dialect, _)| dialect.carries_mail()) {
        let mut talk = transaction(dialect, gateway);
        let end = "text\r\n.\r\n";
        for byte in end.bytes() {
            talk.send([byte]).taken();
        }
        for _ in 0..verdicts(dialect) {
            talk.expect("250");
        }
        talk.ask("QUIT", "221");
        drop(talk);
        assert_eq!(witness.messages(), 1, "{}", dialect.protocol);
        assert!(witness.heard().contains(end));
    }
}
