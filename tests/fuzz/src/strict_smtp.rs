//! A backend that keeps to the letter of RFC 5321 and watches what reaches it, with any client before mailward.
//!
//! It lists extensions that mailward must hide, answers every command, and ends a command at CRLF and a body at
//! CRLF.CRLF alone. Whatever the client sends, it must not see a hidden verb, a control byte in a command, a recipient
//! that the guard forbids, or what another server would take for an end in a message; and it must see all that it
//! answered as the client saw it.

use std::sync::Arc;

use mailward::{
    machines::FilterSession,
    proto::{Leg, Protocol, Settings, Start, smtp::DomainPattern},
    transcript::default_settings,
};

const LIST: &[u8] = b"250-old.example.org\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN EXTERNAL\r\n\
    250-XCLIENT ADDR\r\n250 BURL imap\r\n";

/// Lets a client send `data`, cut at each 0xFF, to the backend.
pub fn play_client(data: &[u8]) {
    let mut session = FilterSession::new(&settings(), Start::Greeted, Leg::Tls);
    session.read_backend(b"220 old.example.org ESMTP\r\n");
    let mut backend = Backend::new();
    for read in data.split(|byte| *byte == 0xFF).filter(|read| !read.is_empty()) {
        if session.end.is_some() {
            return;
        }
        session.read_client(read);
        while !session.to_backend.is_empty() && session.end.is_none() {
            let replies = backend.read(&std::mem::take(&mut session.to_backend));
            if !replies.is_empty() {
                session.read_backend(&replies);
            }
        }
    }
}

fn settings() -> Arc<Settings> {
    let mut settings = default_settings(Protocol::Smtp);
    settings.guard.rcpt_domains = Some(vec![DomainPattern::Exact("example.org".to_owned())]);
    (settings.limits.commands, settings.limits.errors) = (10_000, 10_000);
    Arc::new(settings)
}

enum Reading {
    Commands,
    Secret,
    Body,
}

struct Backend {
    unread: Vec<u8>,
    reading: Reading,
    authenticated: bool,
    recipients: usize,
}

impl Backend {
    fn new() -> Self {
        Self { unread: Vec::new(), reading: Reading::Commands, authenticated: false, recipients: 0 }
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.unread.extend_from_slice(bytes);
        let mut replies = Vec::new();
        while self.read_one(&mut replies) {}
        replies
    }

    fn read_one(&mut self, replies: &mut Vec<u8>) -> bool {
        if matches!(self.reading, Reading::Body) {
            return self.read_body(replies);
        }
        let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") else { return false };
        let line: Vec<u8> = self.unread.drain(..end + 2).take(end).collect();
        let shown = line.escape_ascii();
        assert!(!line.iter().any(|byte| b"\0\r\n".contains(byte)), "a command holds a control byte: {shown}");
        match self.reading {
            Reading::Secret => self.read_secret(replies),
            _ => replies.extend_from_slice(self.command(&line)),
        }
        true
    }

    /// The body ends at CRLF.CRLF, of which the first CRLF may be that of DATA.
    fn read_body(&mut self, replies: &mut Vec<u8>) -> bool {
        let length = match self.unread.starts_with(b".\r\n") {
            true => Some(3),
            false => self.unread.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 5),
        };
        let Some(length) = length else { return false };
        let body: Vec<u8> = self.unread.drain(..length).collect();
        look_into(&body);
        (self.reading, self.recipients) = (Reading::Commands, 0);
        replies.extend_from_slice(b"250 2.0.0 queued\r\n");
        true
    }

    fn read_secret(&mut self, replies: &mut Vec<u8>) {
        self.reading = Reading::Commands;
        replies.extend_from_slice(b"501 5.5.2 no\r\n");
    }

    fn command(&mut self, line: &[u8]) -> &'static [u8] {
        let upper = line.to_ascii_uppercase();
        let verb = upper.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').next().unwrap_or_default();
        let shown = line.escape_ascii();
        assert!(!verb.starts_with(b"X"), "a private verb came through: {shown}");
        assert!(!matches!(verb, b"STARTTLS" | b"BURL" | b"BDAT"), "a hidden verb came through: {shown}");
        match verb {
            b"EHLO" => LIST,
            b"AUTH" => self.auth(&upper),
            b"RCPT" => self.recipient(&upper),
            b"DATA" if self.recipients > 0 => {
                self.reading = Reading::Body;
                b"354 go on\r\n"
            }
            b"DATA" => b"503 5.5.1 no recipient\r\n",
            b"QUIT" => b"221 2.0.0 bye\r\n",
            _ => b"250 2.0.0 ok\r\n",
        }
    }

    fn auth(&mut self, upper: &[u8]) -> &'static [u8] {
        // As far as a mechanism's name may go (RFC 4422, section 3.1): `EXTERNALLY` is another, which nobody has.
        let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let mechanism = upper.strip_prefix(b"AUTH ").and_then(|rest| rest.split(|byte| !in_name(byte)).next());
        assert_ne!(mechanism, Some(&b"EXTERNAL"[..]), "a hidden mechanism came through");
        match upper {
            b"AUTH PLAIN AGPVAG4ACGFZCW==" => {
                self.authenticated = true;
                b"235 2.7.0 welcome\r\n"
            }
            _ if upper.contains(&b' ') && upper.iter().filter(|byte| **byte == b' ').count() == 1 => {
                self.reading = Reading::Secret;
                b"334 \r\n"
            }
            _ => b"504 5.5.4 no\r\n",
        }
    }

    /// The guard let `upper` through: its address must end in the one domain that is ours.
    fn recipient(&mut self, upper: &[u8]) -> &'static [u8] {
        let shown = upper.escape_ascii();
        let path = upper.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default().trim_ascii_start();
        // Without brackets an address ends at the first blank.
        let (path, end) = path.strip_prefix(b"<").map_or((path, b' '), |inside| (inside, b'>'));
        let address = path.split(|byte| *byte == end).next().unwrap_or_default();
        let ours = address.ends_with(b"@EXAMPLE.ORG") || address == b"POSTMASTER";
        assert!(ours || self.authenticated, "a foreign recipient came through: {shown}");
        let routed = address.iter().filter(|byte| b"@%!".contains(byte)).count() > 1;
        assert!(!routed || self.authenticated, "a routed recipient came through: {shown}");
        self.recipients += 1;
        b"250 2.1.5 ok\r\n"
    }
}

/// A server that takes a bare CR or LF for a line end, or skips NULs, finds no other end in a body than we do.
pub fn look_into(body: &[u8]) {
    let ends = body.windows(2).filter(|two| two == b"\r\n").count();
    let newlines = body.iter().filter(|byte| b"\r\n".contains(byte)).count();
    assert_eq!(newlines, 2 * ends, "a bare newline came through: {}", body.escape_ascii());
    let seen: Vec<u8> = body.iter().copied().filter(|byte| *byte != 0).collect();
    let dots = seen.split(|byte| *byte == b'\n').filter(|line| *line == b".\r").count();
    assert_eq!(dots, 1, "a message with an end in it: {}", body.escape_ascii());
}
