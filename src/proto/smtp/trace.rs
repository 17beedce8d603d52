//! The trace header of a gateway (RFC 5321 §4.4), for backends that cannot be told otherwise who the client is.
//!
//! Promises one field at the front of each message, of what mailward itself knows: the client's address, and what was
//! negotiated. The name that the client gives itself is the only word of its own, and stands there only where it can be a
//! name. Nothing of the message becomes part of the field, and its size is bounded.

use std::net::IpAddr;

use super::command::{Command, Verb};
use crate::proto::Connection;

/// The most that is added to a message, in octets.
pub const LONGEST_TRACE: u64 = 1024;

/// What there is to say in the messages of one session.
#[derive(Debug)]
pub struct Trace {
    client: IpAddr,
    /// The clause for TLS, where the client has it.
    tls: Option<String>,
    session: u64,
    /// What stands in front of the number, so that a message which comes back is known.
    token: String,
    /// The date and time of now (RFC 5322 §3.3).
    now: fn() -> String,
    /// What the client calls itself, if that can be a name.
    name: Option<String>,
    /// Whether it has greeted with EHLO or LHLO.
    is_extended: bool,
    /// Whether the message is one of RFC 6531.
    is_utf8: bool,
    /// Messages so far.
    messages: u32,
    /// Whether the message that is next has none yet.
    is_due: bool,
}

/// How a message came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) hostname: &'a str,
    pub(super) is_lmtp: bool,
    pub(super) is_authenticated: bool,
}

impl Trace {
    /// For a client's session, whose number it is; `now` tells the date and time in the form of RFC 5322 §3.3.
    #[must_use]
    pub fn new(client: &Connection<'_>, session: u64, now: fn() -> String) -> Self {
        // RFC 8314 §4.3
        let tls = client.tls.as_ref().map(|tls| {
            let facts = [tls.version, tls.group].into_iter().filter(|fact| !fact.is_empty());
            format!("tls {} ({})", tls.cipher, facts.collect::<Vec<_>>().join(" "))
        });
        Self {
            client: client.source.ip(),
            tls,
            session,
            token: String::new(),
            now,
            name: None,
            is_extended: false,
            is_utf8: false,
            messages: 0,
            is_due: false,
        }
    }

    /// Marks each field with a token that no other gateway has: letters and digits, of which 64 count.
    #[must_use]
    pub fn marked(mut self, token: &str) -> Self {
        self.token = token.chars().filter(char::is_ascii_alphanumeric).take(64).chain(['.']).collect();
        self
    }

    /// Takes note of a command that goes on to the backend.
    pub(super) fn note(&mut self, command: &Command<'_>) {
        match command.verb {
            Verb::Ehlo | Verb::Lhlo | Verb::Helo => {
                self.name = name(command.argument);
                self.is_extended = command.verb != Verb::Helo;
            }
            Verb::Mail => {
                let mut parameters = command.argument.split(|byte| *byte == b' ');
                self.is_utf8 = parameters.any(|parameter| parameter.eq_ignore_ascii_case(b"SMTPUTF8"));
            }
            _ => {}
        }
    }

    /// A transaction has begun.
    pub(super) fn begin(&mut self) {
        self.is_due = true;
    }

    /// Whether the message has no trace yet.
    pub(super) const fn is_due(&self) -> bool {
        self.is_due
    }

    /// The field for a message that begins with the octet `first`, if it is due.
    pub(super) fn take(&mut self, first: Option<&u8>, way: Way<'_>) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        self.messages = self.messages.wrapping_add(1);
        // RFC 5322 §2.2.3: a line that begins with a blank would go on with this field. The empty line makes it what it is:
        // the text of a message without a header. There are servers that skip a NUL in front of the blank.
        let end = if matches!(first, Some(b' ' | b'\t' | b'\0')) { "\r\n" } else { "" };
        Some(format!("{}{end}", self.field(way)).into_bytes())
    }

    fn field(&self, way: Way<'_>) -> String {
        let literal = literal(self.client);
        let name = self.name.as_deref().unwrap_or(&literal);
        let (hostname, with, id) =
            (way.hostname, self.protocol(way), format!("{}{}-{}", self.token, self.session, self.messages));
        let tls = self.tls.as_ref().map(|clause| format!("\r\n\t{clause}")).unwrap_or_default();
        let now = (self.now)();
        format!("Received: from {name} ({literal})\r\n\tby {hostname} with {with} id {id}{tls};\r\n\t{now}\r\n")
    }

    /// RFC 3848, and RFC 6531 §4.3 for its messages.
    fn protocol(&self, way: Way<'_>) -> String {
        let name = match (way.is_lmtp, self.is_utf8) {
            // It has no forms for what needs EHLO.
            (false, _) if !self.is_extended => return "SMTP".to_owned(),
            (false, false) => "ESMTP",
            (true, false) => "LMTP",
            (false, true) => "UTF8SMTP",
            (true, true) => "UTF8LMTP",
        };
        let (secure, authenticated) =
            (if self.tls.is_some() { "S" } else { "" }, if way.is_authenticated { "A" } else { "" });
        format!("{name}{secure}{authenticated}")
    }
}

/// RFC 5321 §4.1.3
fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// What a client calls itself, if it is a domain or looks like an address literal: a comment or a blank in it would say
/// more than a name.
fn name(argument: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(argument).ok().filter(|text| text.len() <= 255)?;
    let (inner, further) = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => (inner, ".:-"),
        None => (text, ".-_"),
    };
    let sane = |letter: char| letter.is_ascii_alphanumeric() || further.contains(letter);
    (!inner.is_empty() && inner.chars().all(sane)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Encryption;

    const NOW: &str = "Sun, 22 Nov 2026 07:00:00 +0000";
    const WAY: Way<'static> = Way { hostname: "mw.example", is_lmtp: false, is_authenticated: false };

    fn trace(source: &str, has_tls: bool) -> Trace {
        let tls = Encryption {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: "X25519MLKEM768",
            server_name: "",
            application: "",
            client: None,
        };
        let source = source.parse().unwrap();
        let client = Connection { source, destination: source, tls: has_tls.then_some(tls) };
        Trace::new(&client, 17, || NOW.to_owned())
    }

    fn said(trace: &mut Trace, commands: &[&str]) {
        commands.iter().for_each(|text| trace.note(&Command::parse(text.as_bytes()).unwrap()));
    }

    fn field(trace: &mut Trace, first: &[u8], way: Way<'_>) -> String {
        trace.begin();
        let field = trace.take(first.first(), way).unwrap();
        assert_eq!(trace.take(first.first(), way), None, "once for each message");
        String::from_utf8(field).unwrap()
    }

    #[test]
    fn a_field_tells_who_how_and_when() {
        let mut trace = trace("192.0.2.7:40000", true);
        said(&mut trace, &["EHLO client.example.net", "MAIL FROM:<a@b>"]);
        assert_eq!(
            field(&mut trace, b"Subject", WAY),
            "Received: from client.example.net ([192.0.2.7])\r\n\tby mw.example with ESMTPS id 17-1\r\n\
             \ttls TLS_AES_256_GCM_SHA384 (TLSv1.3 X25519MLKEM768);\r\n\tSun, 22 Nov 2026 07:00:00 +0000\r\n"
        );
        assert!(field(&mut trace, b"", WAY).contains(" id 17-2\r\n"));
        assert!(field(&mut trace.marked("t0k3n; x"), b"", WAY).contains(" id t0k3nx.17-3\r\n"));
    }

    #[test]
    fn the_protocol_is_named_as_registered() {
        let with = |has_tls, commands: &[&str], way| {
            let mut trace = trace("192.0.2.7:40000", has_tls);
            said(&mut trace, commands);
            field(&mut trace, b"", way).split(' ').nth(6).unwrap().to_owned()
        };
        let (plain, utf8) = ("MAIL FROM:<a@b> SIZE=1", "MAIL FROM:<a@b> SIZE=1 smtputf8");
        assert_eq!(with(false, &["HELO x", plain], WAY), "SMTP");
        assert_eq!(with(true, &["EHLO x", "HELO x", utf8], WAY), "SMTP");
        assert_eq!(with(false, &["EHLO x", utf8], WAY), "UTF8SMTP");
        assert_eq!(with(false, &["EHLO x", utf8, plain], WAY), "ESMTP");
        assert_eq!(with(true, &["EHLO x", plain], Way { is_authenticated: true, ..WAY }), "ESMTPSA");
        assert_eq!(with(false, &["LHLO x", plain], Way { is_lmtp: true, ..WAY }), "LMTP");
        assert_eq!(with(true, &["LHLO x", utf8], Way { is_lmtp: true, ..WAY }), "UTF8LMTPS");
    }

    #[test]
    fn what_can_be_no_name_is_left_out() {
        let front = |hello: &str| {
            let mut trace = trace("[2001:db8::7]:4", false);
            said(&mut trace, &[hello]);
            field(&mut trace, b"", WAY).split("\r\n").next().unwrap().to_owned()
        };
        let literal = "Received: from [IPv6:2001:db8::7] ([IPv6:2001:db8::7])";
        for wrong in
            ["EHLO", "EHLO x (y)", "EHLO x)", "EHLO x;", "EHLO []", "EHLO [x y]", "EHLO m\u{fc}ller", "EHLO \"x\""]
        {
            assert_eq!(front(wrong), literal, "{wrong}");
        }
        assert_eq!(front("EHLO [192.0.2.1]"), "Received: from [192.0.2.1] ([IPv6:2001:db8::7])");
    }

    #[test]
    fn no_line_of_the_message_goes_on_with_the_field() {
        for (message, end) in
            [(&b" x"[..], "+0000\r\n\r\n"), (b"\tx", "+0000\r\n\r\n"), (b"x", "+0000\r\n"), (b"", "+0000\r\n")]
        {
            assert!(field(&mut trace("192.0.2.7:1", false), message, WAY).ends_with(end), "{message:?}");
        }
    }

    #[test]
    fn the_longest_field_is_within_the_bound() {
        let mut trace = Trace {
            session: u64::MAX,
            messages: u32::MAX - 1,
            ..trace("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:1", true).marked(&"x".repeat(100))
        };
        let name = "x".repeat(255);
        said(&mut trace, &[&format!("EHLO {name}"), "MAIL FROM:<a@b> SMTPUTF8"]);
        let field = field(&mut trace, b" ", Way { hostname: &name, is_lmtp: true, is_authenticated: true });
        assert!(field.len() as u64 <= LONGEST_TRACE, "{}", field.len());
        assert!(field.split("\r\n").all(|line| line.len() <= 998));
    }
}
