//! SMTP smuggling (VU#302671; CVE-2023-51764, -51765, -51766) against real servers: whatever a client puts in the place of an
//! end of data, they take one message through mailward, or none where it is told to refuse such a message. Postfix has its
//! own protection off.

mod support;

use std::iter;
use std::net::SocketAddr;

use support::{EximServer, Gateway, Postfix, Security, Talk, eventually, message, size, stuffed};

/// What may stand for the CRLF before the dot, with NULs for servers that skip them.
const BEFORE: [&str; 9] = ["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\0\n", "\r\n\0", "\n\0", "\r\0"];

/// The dot, and the dot of a server that takes one away first.
const DOTS: [&str; 2] = [".", ".."];

/// What may stand for the CRLF behind the dot.
const BEHIND: [&str; 9] = ["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\0\n", "\0\r\n", "\0\n", "\0\r"];

/// A message up to the form, and one whose lines end in LF: there are servers that go by the first.
const FIRST: [&str; 2] = ["Subject: first\r\n\r\nfirst", "Subject: first\n\nfirst"];

const ENVELOPE: &str = "MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";

/// What an attacker would have the server take for the next commands, and the message's own end.
const SMUGGLED: &str = "MAIL FROM:<smuggled@example.net>\r\nRCPT TO:<smuggled@example.org>\r\nDATA\r\n\
                        Subject: smuggled\r\n\r\nsmuggled\r\n.\r\n";

/// A message's own end, and what is no end to any server: lines that begin with two dots.
const NO_LOOK_ALIKES: [&str; 3] = ["\r\n.\r\n", "\r\n..\r\n", "\r\n..\0\r\n"];

/// Every look-alike of the end that can be made of these: among them all that were published.
fn forms() -> Vec<String> {
    let dotted = BEFORE.iter().flat_map(|before| DOTS.map(|dot| format!("{before}{dot}")));
    let all = dotted.flat_map(|dotted| BEHIND.map(|behind| format!("{dotted}{behind}")));
    all.filter(|form| !NO_LOOK_ALIKES.iter().any(|text| form.contains(text))).collect()
}

/// One message with a form in it.
struct Attempt {
    first: &'static str,
    form: String,
    /// Where the form is cut in two; `None`: all of it is sent in one piece with DATA.
    cut: Option<usize>,
}

impl Attempt {
    /// Every form by every way, or by one of its ways each.
    fn all() -> Vec<Self> {
        let forms: Vec<Vec<Self>> = forms().iter().map(|form| Self::ways(form)).collect();
        let all = forms.iter().map(Vec::len).sum();
        if size("attempts to smuggle to a real server", forms.len(), all) == all {
            return forms.into_iter().flatten().collect();
        }
        let one = |(index, mut ways): (usize, Vec<Self>)| ways.swap_remove(index % ways.len());
        forms.into_iter().enumerate().map(one).collect()
    }

    fn ways(form: &str) -> Vec<Self> {
        let cuts = iter::once(None).chain((0..=form.len()).map(Some));
        // By turns: which of the two it is has little to do with the cut.
        cuts.zip(FIRST.into_iter().cycle()).map(|(cut, first)| Self { first, form: form.to_owned(), cut }).collect()
    }

    /// Sends it, and hears all but the reply to the message.
    fn send(&self, talk: &mut Talk) {
        let Self { first, form, cut } = self;
        if let Some(cut) = cut {
            begin(talk);
            talk.send(format!("{first}{}", &form[..*cut])).taken();
            talk.send(format!("{}{SMUGGLED}", &form[*cut..]));
        } else {
            talk.send(format!("{ENVELOPE}{first}{form}{SMUGGLED}"));
            replies(talk, &["250", "250", "354"]);
        }
    }
}

/// A gateway with a listener for each value of `bare-newline`, named by it.
fn before(server: SocketAddr) -> Gateway {
    let builder = ["normalize", "reject", "pass"].into_iter().fold(Gateway::builder(), |builder, mode| {
        builder.listener(mode, "smtp", server).with(mode, &format!("bare-newline = \"{mode}\""))
    });
    builder.start()
}

/// Comes to the body of a message.
fn begin(talk: &mut Talk) {
    talk.send(ENVELOPE);
    replies(talk, &["250", "250", "354"]);
}

fn replies(talk: &mut Talk, starts: &[&str]) {
    for start in starts {
        talk.reply(start);
    }
}

/// A server's messages.
type Messages<'s> = dyn Fn() -> Vec<Vec<u8>> + 's;

/// Waits for so many messages, each of them with all that a form was to part.
fn assert_whole(messages: &Messages<'_>, count: usize) {
    assert!(eventually(|| (messages().len() >= count).then_some(())).is_some(), "{} of {count}", messages().len());
    let messages = messages();
    assert_eq!(messages.len(), count);
    for message in messages {
        let text = String::from_utf8_lossy(&message);
        assert!(text.contains("Subject: first") && text.contains("MAIL FROM:<smuggled@example.net>"), "{text:?}");
    }
}

/// One reply to each attempt, and one message in the end.
fn assert_one_message_each(gateway: &Gateway, messages: &Messages<'_>) {
    let attempts = Attempt::all();
    for attempt in &attempts {
        let mut talk = gateway.smtp("normalize", Security::StartTls).0;
        attempt.send(&mut talk);
        talk.reply("250");
        // Nothing else was answered, and no message is under way. (Exim would think for a while before it answers QUIT.)
        talk.ask("DATA", "503");
    }
    assert_whole(messages, attempts.len());
}

/// The same where such a message is refused: none of them, and the next one that is in order.
fn assert_no_message(gateway: &Gateway, messages: &Messages<'_>) {
    for attempt in Attempt::all() {
        let mut talk = gateway.smtp("reject", Security::StartTls).0;
        attempt.send(&mut talk);
        talk.reply("550 5.6.11");
        talk.ask("NOOP", "421");
        talk.closes();
    }
    let mut talk = gateway.smtp("reject", Security::StartTls).0;
    begin(&mut talk);
    talk.send(format!("{}\r\n{SMUGGLED}", FIRST[0])).reply("250");
    assert_whole(messages, 1);
}

/// The same where all goes on as it is, to a server that knows the end of a message itself.
fn assert_one_message_each_by_the_server(gateway: &Gateway, messages: &Messages<'_>) {
    let forms = forms();
    for form in &forms {
        let mut talk = gateway.smtp("pass", Security::StartTls).0;
        begin(&mut talk);
        talk.send(format!("{}{form}{SMUGGLED}", FIRST[0])).reply("250");
        talk.ask("DATA", "503");
    }
    assert_whole(messages, forms.len());
}

/// Whether LF.LF is an end to a server that nobody stands before, which then takes what follows for commands.
fn is_smuggled_through(server: SocketAddr) -> bool {
    FIRST.iter().any(|first| {
        let mut talk = Talk::to(server);
        talk.reply("220");
        talk.send("EHLO client.example.net\r\n").reply("250");
        begin(&mut talk);
        talk.send(format!("{first}\n.\n{SMUGGLED}QUIT\r\n"));
        // The second is the reply to QUIT, or to what was smuggled in before it.
        talk.reply("250");
        talk.reply("2").starts_with("250")
    })
}

fn postfix(forbids_bare_newlines: bool) -> Postfix {
    let value = if forbids_bare_newlines { "yes" } else { "no" };
    Postfix::builder().further(&format!("smtpd_forbid_bare_newline = {value}\n")).start()
}

#[test]
fn the_servers_alone_are_smuggled_through() {
    assert!(is_smuggled_through(postfix(false).smtp()), "Postfix needs no protection: the tests show nothing");
    assert!(is_smuggled_through(EximServer::start().smtp()), "Exim needs no protection: the tests show nothing");
}

#[test]
fn postfix_without_its_own_protection_takes_one_message() {
    let postfix = postfix(false);
    assert_one_message_each(&before(postfix.smtp()), &|| postfix.messages());
    assert!(!postfix.log().contains("from=<smuggled@example.net>"));
}

#[test]
fn exim_takes_one_message() {
    let exim = EximServer::start();
    assert_one_message_each(&before(exim.smtp()), &|| exim.messages());
}

#[test]
fn postfix_takes_no_message_where_bare_newlines_are_refused() {
    let postfix = postfix(false);
    assert_no_message(&before(postfix.smtp()), &|| postfix.messages());
}

#[test]
fn exim_takes_no_message_where_bare_newlines_are_refused() {
    let exim = EximServer::start();
    assert_no_message(&before(exim.smtp()), &|| exim.messages());
}

#[test]
fn what_is_passed_is_one_message_at_servers_that_protect_themselves() {
    let (postfix, exim) = (postfix(true), EximServer::start());
    assert_one_message_each_by_the_server(&before(postfix.smtp()), &|| postfix.messages());
    assert_one_message_each_by_the_server(&before(exim.smtp()), &|| exim.messages());
}

#[test]
fn octets_of_bdat_are_one_message() {
    let (postfix, exim) = (postfix(false), EximServer::start());
    let octets = format!("{}{}{SMUGGLED}", FIRST[0], forms().concat());
    for (server, messages) in
        [(postfix.smtp(), &(|| postfix.messages()) as &Messages<'_>), (exim.smtp(), &|| exim.messages())]
    {
        let gateway = before(server);
        let (mut talk, list) = gateway.smtp("normalize", Security::StartTls);
        assert!(list.contains("CHUNKING"), "{list}");
        talk.send("MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
        talk.send(format!("BDAT {} LAST\r\n{octets}QUIT\r\n", octets.len()));
        replies(&mut talk, &["250", "250", "250", "221"]);
        talk.closes();
        assert_whole(messages, 1);
    }
}

/// What has Exim take octets of BDAT for commands: a size that it reads modulo 2^32, and a command between two chunks.
fn attacks_by_bdat() -> [String; 2] {
    let (first, second) = ("Subject: first\r\n\r\nfirst\r\n", "Subject: smuggled\r\n\r\nsmuggled\r\n");
    let smuggled = format!(
        "RSET\r\nMAIL FROM:<smuggled@example.net>\r\nRCPT TO:<smuggled@example.org>\r\nBDAT {} LAST\r\n{second}",
        second.len()
    );
    let (length, others) = (first.len(), smuggled.len());
    [
        format!("BDAT {} LAST\r\n{first}{smuggled}QUIT\r\n", (1 << 32) + length as u64),
        format!("BDAT {length}\r\n{first}VRFY a\r\nBDAT {others} LAST\r\n{smuggled}QUIT\r\n"),
    ]
}

#[test]
fn no_octets_of_bdat_are_commands_to_exim() {
    let exim = EximServer::start();
    let smuggled = || {
        let messages = exim.messages();
        let head = |message: &Vec<u8>| String::from_utf8_lossy(message).split("\n\n").next().map(str::to_owned);
        messages.iter().filter_map(head).filter(|head| head.contains("Subject: smuggled")).count()
    };
    let send = |mut talk: Talk, attack: &str| {
        talk.send("MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n");
        replies(&mut talk, &["250", "250"]);
        talk.send(attack);
        talk.rest()
    };
    for (count, attack) in attacks_by_bdat().iter().enumerate() {
        let mut talk = Talk::to(exim.smtp());
        talk.reply("220");
        talk.send("EHLO client.example.net\r\n").reply("250");
        send(talk, attack);
        assert!(eventually(|| (smuggled() == count + 1).then_some(())).is_some(), "Exim needs no protection: {attack}");
    }
    let gateway = before(exim.smtp());
    for attack in attacks_by_bdat() {
        send(gateway.smtp("pass", Security::StartTls).0, &attack);
    }
    let mut talk = gateway.smtp("pass", Security::StartTls).0;
    begin(&mut talk);
    talk.send("Subject: honest\r\n\r\nhonest\r\n.\r\n").reply("250");
    let arrived = || exim.messages().iter().any(|message| String::from_utf8_lossy(message).contains("honest"));
    assert!(eventually(|| arrived().then_some(())).is_some(), "{} messages", exim.messages().len());
    assert_eq!(smuggled(), attacks_by_bdat().len(), "those that went straight to Exim");
}

#[test]
fn a_signed_message_with_proper_line_ends_arrives_byte_for_byte() {
    // What is signed with `simple` may not change in one byte (RFC 6376 §3.4).
    let signature = "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.net; s=one;\r\n\th=from:to:subject;\r\n\t\
                     bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n";
    let sent = [signature.as_bytes(), &message("signed", 200_000)].concat();
    let postfix = postfix(false);
    let gateway = before(postfix.smtp());
    for (count, mode) in ["normalize", "reject", "pass"].into_iter().enumerate() {
        let mut talk = gateway.smtp(mode, Security::StartTls).0;
        begin(&mut talk);
        // Of a length that puts the ends of reads anywhere in a line.
        for piece in stuffed(&sent).chunks(997) {
            talk.send(piece);
        }
        talk.reply("250");
        let stored = eventually(|| postfix.messages().into_iter().nth(count)).expect("a delivery");
        let stored = String::from_utf8(stored).expect("the message is UTF-8").replace('\n', "\r\n");
        support::assert_carries(stored.as_bytes(), &sent);
    }
}
