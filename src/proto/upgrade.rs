//! The way to TLS with a backend: its greeting, then STARTTLS or STLS, from the client's side (RFC 3207 §4, RFC 9051
//! §6.2.1, RFC 2595 §4, RFC 5804 §2.2).
//!
//! Promises that TLS begins with nothing left of what the backend, or somebody in between, said before it, and that nothing
//! of that is used after it, the greeting included. What becomes of a backend without TLS is for who asks to say.

use super::{Emptied, Input, Protocol, Violation, imap, pop3, sieve, smtp};

/// A dialogue that ends where a handshake can begin.
#[derive(Debug)]
pub struct Upgrade {
    protocol: Protocol,
    hello: Vec<u8>,
    stage: Stage,
}

/// What an [`Upgrade`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Upgraded {
    /// More of the backend's bytes are needed.
    More,
    /// The backend waits for the handshake, and has said nothing beyond that.
    Ready(Emptied),
    /// There will be no TLS.
    Refused(Refusal),
}

/// How a backend has refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it has refused.
    pub at: Stage,
    /// The words of its reply: unescaped peer text.
    pub said: String,
    /// Whether a session without TLS can go on there: it was not the session that was refused, and nothing stands behind
    /// the reply.
    pub session_goes_on: bool,
}

/// What the backend is to answer next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection.
    Greeting,
    /// EHLO or LHLO, with a list that has STARTTLS on it. Only SMTP and LMTP need to be asked (RFC 3207 §4.2).
    List,
    /// STARTTLS or STLS.
    StartTls,
}

/// A whole reply of a backend, as far as the way to TLS depends on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// How many bytes of the input it takes up.
    pub(super) length: usize,
    /// Whether the way goes on.
    pub(super) is_yes: bool,
    /// Its words, for the operator.
    pub(super) text: &'a [u8],
}

impl Upgrade {
    /// A dialogue of which nothing was said yet, for a client that calls itself `hostname` (`server.hostname`).
    #[must_use]
    pub fn new(protocol: Protocol, hostname: &str) -> Self {
        Self { protocol, hello: smtp::hello(protocol, hostname), stage: Stage::Greeting }
    }

    /// What it is to answer next.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Uses up the reply in `input` and writes the next command to `output`.
    ///
    /// # Errors
    /// [`Violation::InjectedBeforeTls`] where something stands behind a reply, [`Violation::Backend`] where the backend
    /// does not speak the protocol.
    pub fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Upgraded, Violation> {
        let Some(answer) = self.answer(input.peek())? else { return Ok(Upgraded::More) };
        if !answer.is_yes {
            let said = String::from_utf8_lossy(answer.text).into_owned();
            let session_goes_on = leaves_the_session(self.stage, &said) && answer.length == input.peek().len();
            return Ok(Upgraded::Refused(Refusal { at: self.stage, said, session_goes_on }));
        }
        let length = answer.length;
        input.consume(length);
        // It was asked one thing, so anything more is an answer to what it has not been asked.
        let emptied = input.emptied().ok_or(Violation::InjectedBeforeTls)?;
        match self.stage {
            Stage::Greeting if self.is_smtp() => self.ask(Stage::List, output),
            Stage::Greeting | Stage::List => self.ask(Stage::StartTls, output),
            Stage::StartTls => return Ok(Upgraded::Ready(emptied)),
        }
        Ok(Upgraded::More)
    }

    fn answer<'a>(&self, input: &'a [u8]) -> Result<Option<Answer<'a>>, Violation> {
        match self.protocol {
            Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => smtp::upgrade_answer(self.stage, input),
            Protocol::Imap => imap::upgrade_answer(self.stage, input),
            Protocol::Pop3 => pop3::upgrade_answer(self.stage, input),
            Protocol::ManageSieve => sieve::upgrade_answer(input),
        }
    }

    fn ask(&mut self, stage: Stage, output: &mut Vec<u8>) {
        self.stage = stage;
        output.extend_from_slice(match (stage, self.protocol) {
            (Stage::List, _) => &self.hello,
            (_, Protocol::Imap) => imap::STARTTLS,
            (_, Protocol::Pop3) => b"STLS\r\n",
            _ => b"STARTTLS\r\n",
        });
    }

    const fn is_smtp(&self) -> bool {
        matches!(self.protocol, Protocol::Smtp | Protocol::Submission | Protocol::Lmtp)
    }
}

/// Whether a refusal is about TLS alone. The session is parted with by 421 (RFC 5321 §3.8) and BYE (RFC 9051 §7.1.5, RFC 5804
/// §1.2); who answers EHLO with 4xx is not there now.
fn leaves_the_session(stage: Stage, said: &str) -> bool {
    let said = said.to_ascii_uppercase();
    let parts = ["421", "* BYE", "BYE"].iter().any(|word| said.starts_with(word));
    match stage {
        Stage::Greeting => false,
        Stage::List => !said.starts_with('4'),
        Stage::StartTls => !parts,
    }
}

/// What stands for the greeting of a backend that has greeted before TLS. `None`: it greets inside TLS again.
///
/// The one that came in clear may be anybody's: a list in it, or a timestamp that a password is hashed with (RFC 1939 §7).
#[must_use]
pub fn greeting_for(protocol: Protocol, hostname: &str) -> Option<Vec<u8>> {
    let greeting = match protocol {
        Protocol::Smtp | Protocol::Submission => format!("220 {hostname} ESMTP\r\n"),
        Protocol::Lmtp => format!("220 {hostname} LMTP\r\n"),
        Protocol::Imap => format!("* OK {hostname} ready\r\n"),
        Protocol::Pop3 => format!("+OK {hostname} ready\r\n"),
        // RFC 5804 §2.2: the list is sent anew.
        Protocol::ManageSieve => return None,
    };
    Some(greeting.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the dialogue comes to where the backend answers with these in turn, in pieces of `size`, and what it is asked.
    fn talk_in(protocol: Protocol, replies: &[&str], size: usize) -> (Result<Upgraded, Violation>, String) {
        let (mut upgrade, mut input, mut output) = (Upgrade::new(protocol, "mw.example"), Input::new(), Vec::new());
        let mut upgraded = Ok(Upgraded::More);
        for piece in replies.iter().flat_map(|reply| reply.as_bytes().chunks(size)) {
            assert_eq!(upgraded, Ok(Upgraded::More), "before {piece:?}");
            input.push(piece);
            upgraded = upgrade.step(&mut input, &mut output);
        }
        (upgraded, String::from_utf8(output).unwrap())
    }

    /// The same, once it was seen that it does not depend on how the replies arrive.
    fn talk(protocol: Protocol, replies: &[&str]) -> (Result<Upgraded, Violation>, String) {
        let whole = talk_in(protocol, replies, usize::MAX);
        assert_eq!(talk_in(protocol, replies, 1), whole, "byte by byte");
        whole
    }

    const GREETING: [(Protocol, &str); 6] = [
        (Protocol::Smtp, "220-mx\r\n220 ESMTP\r\n"),
        (Protocol::Submission, "220 mx\n"),
        (Protocol::Lmtp, "220 mx LMTP\r\n"),
        (Protocol::Imap, "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
        (Protocol::Pop3, "+OK <1@mx>\r\n"),
        (Protocol::ManageSieve, "\"IMPLEMENTATION\" {3}\r\nOK \r\n\"STARTTLS\"\r\nOK\r\n"),
    ];

    const YES: [(Protocol, &[&str]); 6] = [
        (Protocol::Smtp, &["250-mx\r\n250-PIPELINING\r\n250 starttls\r\n", "220 go\r\n"]),
        (Protocol::Submission, &["250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n", "220 go\r\n"]),
        (Protocol::Lmtp, &["250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"]),
        (Protocol::Imap, &["* OK still here\r\n1 OK go\r\n"]),
        (Protocol::Pop3, &["+OK go\r\n"]),
        (Protocol::ManageSieve, &["OK \"go\"\r\n"]),
    ];

    fn whole(protocol: Protocol) -> Vec<&'static str> {
        let greeting = GREETING.iter().find(|(of, _)| *of == protocol).unwrap().1;
        let replies = YES.iter().find(|(of, _)| *of == protocol).unwrap().1;
        [greeting].into_iter().chain(replies.iter().copied()).collect()
    }

    #[test]
    fn every_protocol_comes_to_the_handshake_in_its_own_words() {
        let asked = [
            "EHLO mw.example\r\nSTARTTLS\r\n",
            "EHLO mw.example\r\nSTARTTLS\r\n",
            "LHLO mw.example\r\nSTARTTLS\r\n",
            "1 STARTTLS\r\n",
            "STLS\r\n",
            "STARTTLS\r\n",
        ];
        for (protocol, expected) in Protocol::ALL.into_iter().zip(asked) {
            let (upgraded, said) = talk(protocol, &whole(protocol));
            assert!(matches!(upgraded, Ok(Upgraded::Ready(_))), "{protocol}: {upgraded:?}");
            assert_eq!(said, expected, "{protocol}");
        }
    }

    #[test]
    fn whatever_stands_behind_a_reply_ends_it_whole_or_not() {
        for protocol in Protocol::ALL {
            let replies = whole(protocol);
            for at in 0..replies.len() {
                for more in [replies[at], "x", "\r\n", "\u{16}\u{3}\u{1}"] {
                    let injected = format!("{}{more}", replies[at]);
                    let mut replies = replies[..=at].to_vec();
                    replies[at] = &injected;
                    let (upgraded, _) = talk_in(protocol, &replies, usize::MAX);
                    assert_eq!(upgraded, Err(Violation::InjectedBeforeTls), "{protocol}: {replies:?}");
                }
            }
        }
    }

    fn refused(protocol: Protocol, replies: &[&str]) -> (Stage, String) {
        match talk(protocol, replies).0 {
            Ok(Upgraded::Refused(Refusal { at, said, .. })) => (at, said),
            other => panic!("{protocol}: {replies:?}: {other:?}"),
        }
    }

    #[test]
    fn a_backend_that_does_not_offer_tls_or_refuses_it_is_told_from_one_that_takes_nobody() {
        let no = [
            (Protocol::Smtp, vec!["250-mx\r\n250 PIPELINING\r\n"], Stage::List),
            (Protocol::Smtp, vec!["502 what?\r\n"], Stage::List),
            (Protocol::Smtp, vec!["250-mx\r\n250 STARTTLS\r\n", "454 not now\r\n"], Stage::StartTls),
            (Protocol::Lmtp, vec!["250-mx\r\n250 STARTTLS\r\n", "250 what?\r\n"], Stage::StartTls),
            (Protocol::Imap, vec!["1 BAD what?\r\n"], Stage::StartTls),
            (Protocol::Imap, vec!["* BYE off\r\n"], Stage::StartTls),
            (Protocol::Pop3, vec!["-ERR what?\r\n"], Stage::StartTls),
            (Protocol::ManageSieve, vec!["NO \"what?\"\r\n"], Stage::StartTls),
        ];
        for (protocol, replies, stage) in no {
            let replies: Vec<_> = [whole(protocol)[0]].into_iter().chain(replies).collect();
            assert_eq!(refused(protocol, &replies).0, stage, "{replies:?}");
        }
        assert_eq!(refused(Protocol::Smtp, &["554 no\r\n"]), (Stage::Greeting, "554 no".into()));
        assert_eq!(refused(Protocol::Imap, &["* BYE no\r\n"]), (Stage::Greeting, "* BYE no".into()));
        assert_eq!(refused(Protocol::Pop3, &["-ERR no\r\n"]), (Stage::Greeting, "-ERR no".into()));
        assert_eq!(refused(Protocol::ManageSieve, &["BYE \"no\"\r\n"]), (Stage::Greeting, "BYE \"no\"".into()));
    }

    #[test]
    fn a_session_can_go_on_without_tls_unless_it_was_refused_itself() {
        let list = "250-mx\r\n250 STARTTLS\r\n";
        for (protocol, replies, goes_on) in [
            (Protocol::Smtp, vec![], false),
            (Protocol::Smtp, vec!["250 mx\r\n"], true),
            (Protocol::Smtp, vec!["502 what?\r\n"], true),
            (Protocol::Smtp, vec!["450 not now\r\n"], false),
            (Protocol::Smtp, vec![list, "454 not now\r\n"], true),
            (Protocol::Lmtp, vec![list, "502 what?\r\n"], true),
            (Protocol::Smtp, vec![list, "421 off\r\n"], false),
            (Protocol::Smtp, vec![list, "454 not now\r\n250 more\r\n"], false),
            (Protocol::Imap, vec!["1 BAD what?\r\n"], true),
            (Protocol::Imap, vec!["* bye off\r\n"], false),
            (Protocol::Pop3, vec!["-ERR what?\r\n"], true),
            (Protocol::ManageSieve, vec!["NO \"what?\"\r\n"], true),
            (Protocol::ManageSieve, vec!["BYE \"off\"\r\n"], false),
        ] {
            let greeting = if replies.is_empty() { "554 no\r\n" } else { whole(protocol)[0] };
            let replies: Vec<_> = [greeting].into_iter().chain(replies).collect();
            match talk_in(protocol, &replies, usize::MAX).0 {
                Ok(Upgraded::Refused(refusal)) => assert_eq!(refusal.session_goes_on, goes_on, "{replies:?}"),
                other => panic!("{protocol}: {replies:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn nobody_is_logged_in_before_tls() {
        // RFC 9051 §11.3: who can say PREAUTH in clear has a client that cannot ask for TLS any more.
        assert_eq!(refused(Protocol::Imap, &["* PREAUTH hello\r\n"]).0, Stage::Greeting);
    }

    #[test]
    fn what_is_no_reply_or_never_ends_is_a_violation() {
        for (protocol, greeting) in
            [(Protocol::Smtp, "* OK\r\n"), (Protocol::Imap, "220 x\r\n"), (Protocol::Pop3, "OK")]
        {
            assert_eq!(talk_in(protocol, &[greeting], usize::MAX).0, Err(Violation::Backend), "{protocol}");
        }
        for protocol in Protocol::ALL {
            let endless = match protocol {
                Protocol::Imap => "* OK x\r\n".repeat(10_000),
                Protocol::Pop3 => format!("+OK {}", "x".repeat(70_000)),
                Protocol::ManageSieve => "\"X\"\r\n".repeat(20_000),
                _ => "250-x\r\n".repeat(10_000),
            };
            let replies = [whole(protocol)[0], &endless];
            assert_eq!(talk_in(protocol, &replies, usize::MAX).0, Err(Violation::Backend), "{protocol}");
        }
    }

    #[test]
    fn a_greeting_that_stands_in_is_one() {
        for protocol in Protocol::ALL {
            let Some(greeting) = greeting_for(protocol, "mw.example") else { continue };
            assert_eq!(super::super::greeting_end(protocol, &greeting), Ok(Some(greeting.len())));
        }
    }
}
