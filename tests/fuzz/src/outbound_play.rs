//! Plays a fuzzer's session with a sender, or with a recipient's server, as it was cut and byte by byte, and demands the
//! same of both. What a sender gets through goes on to a server that keeps to the letter of RFC 5321: it must find each
//! message as it is, with one end.

use std::sync::Arc;

use mailward::{
    outbound::{Act, EgressSession, RemoteSession, egress_settings, remote_settings},
    proto::{
        Leg, Protocol,
        smtp::{Answer, BareNewline, Mail, Mailbox, egress},
    },
    strict_smtp::look_into,
    transcript::default_settings,
};

/// Parts the reads of a sender.
pub const READ: u8 = 0xFF;
/// The first of those that part the reads of a recipient's server, and say what it is told before.
pub const ACT: u8 = 0xF0;

/// The session is LMTP.
pub const LMTP: u8 = 1;
/// It is inside TLS; in clear TLS is required.
pub const TLS: u8 = 2;
/// SMTPUTF8 and REQUIRETLS are offered.
pub const EXTENSIONS: u8 = 4;
/// Limits are so small that they are met.
pub const SMALL: u8 = 8;
/// Bare newlines are refused.
pub const REJECT: u8 = 16;
/// Bare newlines pass.
pub const PASS: u8 = 32;

/// A session with a sender.
pub fn play_egress(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let whole = Sender::play(flags, rest, usize::MAX);
    let bytes = Sender::play(flags, rest, 1);
    well_formed(&whole.session.to_client);
    if whole.events.last().is_some_and(|event| event == "violation bytes-behind-starttls") {
        // Cut right behind the command, the same bytes are not there yet when TLS begins.
        assert_eq!(bytes.events.last().map(String::as_str), Some("starttls"));
        return;
    }
    assert_eq!(whole.session.to_client.escape_ascii().to_string(), bytes.session.to_client.escape_ascii().to_string());
    assert_eq!(whole.events, bytes.events);
    assert_eq!(whole.messages, bytes.messages);
    whole.messages.iter().for_each(|message| carry(message, flags));
}

struct Sender {
    session: EgressSession,
    events: Vec<String>,
    messages: Vec<Vec<u8>>,
}

impl Sender {
    fn play(flags: u8, data: &[u8], most: usize) -> Self {
        let leg = if flags & TLS == 0 { Leg::Plaintext } else { Leg::Tls };
        let session = EgressSession::new(&settings(flags), leg, None);
        let mut sender = Self { session, events: Vec::new(), messages: Vec::new() };
        for read in data.split(|byte| *byte == READ) {
            read.chunks(most).for_each(|piece| {
                sender.session.read(piece);
                sender.decide();
            });
        }
        sender
    }

    /// Answers whatever is demanded, by what is demanded alone.
    fn decide(&mut self) {
        while let Some(event) = (!self.session.events.is_empty()).then(|| self.session.events.remove(0)) {
            match event.split(' ').next().unwrap_or_default() {
                "recipient" => self.session.answer(&answer(event.len())),
                "data" if self.messages.len() % 4 == 3 => self.session.answer(&answer(0)),
                "data" => self.session.go_ahead(),
                "refused" => self.session.octets.clear(),
                "ended" => {
                    self.messages.push(std::mem::take(&mut self.session.octets));
                    (0..self.session.owed()).for_each(|at| self.session.answer(&answer(at)));
                }
                _ => {}
            }
            self.events.push(event);
        }
    }
}

fn answer(seed: usize) -> Answer {
    if seed.is_multiple_of(3) { Answer::new(451, (3, 0), "later") } else { Answer::new(250, (1, 5), "ok") }
}

fn settings(flags: u8) -> Arc<egress::Settings> {
    let protocol = if flags & LMTP == 0 { Protocol::Smtp } else { Protocol::Lmtp };
    let mut settings = egress_settings(protocol, default_settings(protocol).limits);
    settings.tls = egress::Tls::Required;
    (settings.smtp_utf8, settings.require_tls) = (flags & EXTENSIONS != 0, flags & EXTENSIONS != 0);
    settings.bare_newline = match flags & (REJECT | PASS) {
        REJECT => BareNewline::Reject,
        PASS => BareNewline::Pass,
        _ => BareNewline::Normalize,
    };
    if flags & SMALL != 0 {
        (settings.limits.line, settings.largest, settings.recipients) = (40, Some(100), 2);
        settings.loops.received = 1;
    }
    if flags & TLS == 0 {
        settings.tls = egress::Tls::Optional;
    }
    Arc::new(settings)
}

/// What mailward says to a sender is whole lines of printable ASCII, each with an enhanced code where it is a reply.
fn well_formed(said: &[u8]) {
    assert!(said.ends_with(b"\r\n"));
    for line in said[..said.len() - 2].split(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~')), "peer bytes: {}", text.escape_ascii());
        assert!(text.len() <= 510 && text.len() > 4, "{}", text.escape_ascii());
    }
}

/// A message goes on in pieces; a strict server reads it back.
fn carry(message: &[u8], flags: u8) {
    let mut session = RemoteSession::new(remote_settings());
    session.read(b"220 mx\r\n");
    session.read(b"250 mx\r\n");
    session.act(&Act::Mail(Mail::default()));
    session.act(&Act::Recipient(Mailbox::parse("a@example.org").expect("a mailbox")));
    for reply in [&b"250 ok\r\n"[..], b"250 ok\r\n"] {
        session.read(reply);
    }
    session.act(&Act::Data);
    session.read(b"354 go on\r\n");
    session.to_remote.clear();
    let size = usize::from(flags >> 6) * 3 + 1;
    message.chunks(size).for_each(|piece| session.act(&Act::Send(piece.to_vec())));
    session.act(&Act::End);
    assert!(session.is_ambiguous());
    let written = std::mem::take(&mut session.to_remote);
    assert_eq!(read_back(&written).escape_ascii().to_string(), whole_lines(message).escape_ascii().to_string());
    if flags & PASS == 0 {
        look_into(&written);
    }
}

/// The message that stands behind DATA, of which all must belong to it.
fn read_back(mut written: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        if written == b".\r\n" {
            return message;
        }
        let shown = written.escape_ascii();
        let end = written.windows(2).position(|two| two == b"\r\n").map(|at| at + 2);
        let (line, rest) = written.split_at(end.unwrap_or_else(|| panic!("no end: {shown}")));
        assert_ne!(line, b".\r\n", "more than one message: {shown}");
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        written = rest;
    }
}

/// RFC 5321 §4.1.1.4: the last line of a message has its end.
fn whole_lines(message: &[u8]) -> Vec<u8> {
    let end: &[u8] = if message.is_empty() || message.ends_with(b"\r\n") { b"" } else { b"\r\n" };
    [message, end].concat()
}

/// A session with a recipient's server.
pub fn play_remote(data: &[u8]) {
    let whole = remote(data, usize::MAX);
    let bytes = remote(data, 1);
    if whole.events.last().is_some_and(|event| event.starts_with("breach bytes behind")) {
        assert!(bytes.events.iter().any(|event| event == "starttls"));
        return;
    }
    // What comes with the greeting is no answer to EHLO, and what comes after it may be one.
    if whole.events.last().is_some_and(|event| event == "breach a reply to nothing") && whole.to_remote.is_empty() {
        return;
    }
    assert_eq!(whole.to_remote.escape_ascii().to_string(), bytes.to_remote.escape_ascii().to_string());
    assert_eq!(whole.events, bytes.events);
    commands_are_whole(&whole.to_remote);
}

fn remote(data: &[u8], most: usize) -> RemoteSession {
    let mut session = RemoteSession::new(remote_settings());
    let mut rest = data;
    while !rest.is_empty() && !session.is_over {
        let length = rest.iter().position(|byte| *byte >= ACT).unwrap_or(rest.len());
        rest[..length].chunks(most).for_each(|piece| session.read(piece));
        if let Some(act) = rest.get(length) {
            tell(&mut session, act - ACT);
        }
        rest = rest.get(length + 1..).unwrap_or_default();
    }
    session
}

fn tell(session: &mut RemoteSession, act: u8) {
    let waits_for_tls = session.events.last().is_some_and(|event| event == "starttls");
    let mailbox = Mailbox::parse("a@example.org").expect("a mailbox");
    match act {
        _ if session.is_over => {}
        _ if waits_for_tls => session.act(&Act::Secured),
        0 => session.act(&Act::Mail(Mail { size: Some(10), eight_bit: true, ..Mail::default() })),
        1 => session.act(&Act::Recipient(mailbox)),
        2 => session.act(&Act::Data),
        3 => session.act(&Act::Send(b"x\r\n.\r\n".to_vec())),
        4 => session.act(&Act::End),
        5 => session.act(&Act::Reset),
        6 => session.act(&Act::Quit),
        7 if session.offers_tls() => session.act(&Act::StartTls),
        _ => {}
    }
}

/// Whatever a server says, what it is told is whole lines of ours.
fn commands_are_whole(told: &[u8]) {
    for line in told.split_inclusive(|byte| *byte == b'\n') {
        let known =
            ["EHLO ", "HELO ", "MAIL ", "RCPT ", "DATA\r", "RSET\r", "QUIT\r", "STARTTLS\r", "x\r", "..\r", ".\r"];
        assert!(known.iter().any(|front| line.starts_with(front.as_bytes())), "{}", line.escape_ascii());
        assert!(line.ends_with(b"\r\n"), "{}", line.escape_ascii());
    }
}
