//! Reads a transcript, the format of `tests/fixtures/transcripts/README.md`.
//!
//! Refuses what it does not know, and a transcript that expects nothing: it could not fail.

use std::sync::Arc;

use mailward::proto::{
    Farewell, Leg, Limits, Opening, Protocol, Settings, Start,
    smtp::{Answer, BareNewline, DomainPattern, Extensions, Guard, Hygiene, Mail, Mailbox, egress, remote},
};

use super::outbound::{Act, egress_settings, remote_settings};

/// A whole file.
pub(crate) struct Transcript {
    /// Which machine plays.
    pub(crate) cast: Cast,
    /// What the machine is told of its listener.
    pub(crate) settings: Arc<Settings>,
    /// Whether the cuts of the input matter to what it shows.
    pub(crate) whole_only: bool,
    /// What happens, in order. The first is the opening, which has no cause.
    pub(crate) scenes: Vec<Scene>,
}

/// Which machine plays.
#[derive(Clone, Debug)]
pub(crate) enum Cast {
    /// Before TLS.
    Greeter,
    /// Inside TLS, or in permitted plaintext.
    Filter(Start, Leg),
    /// The server for a sender's side.
    Egress(Box<EgressCast>),
    /// The client of a recipient's server.
    Remote(remote::Settings),
}

/// How the server for a sender's side plays.
#[derive(Clone, Debug)]
pub(crate) struct EgressCast {
    pub(crate) settings: Arc<egress::Settings>,
    pub(crate) leg: Leg,
    /// Whether messages are traced.
    pub(crate) traces: bool,
    /// Whether the client may not send mail.
    pub(crate) turns_away: bool,
}

/// Something that happens, and all that must come of it.
pub(crate) struct Scene {
    /// Where it stands.
    pub(crate) line: usize,
    /// What happens.
    pub(crate) cause: Cause,
    /// What must come of it.
    pub(crate) expected: Vec<Expectation>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The session begins.
    Opening,
    /// One read from the client.
    Client(Vec<u8>),
    /// One read from the backend.
    Backend(Vec<u8>),
    /// The greeter's question is answered.
    Learn(Option<Extensions>),
    /// The client ends its sending side.
    ClientEnds,
    /// The backend is gone.
    BackendLost,
    /// mailward takes its leave.
    Farewell(Farewell),
    /// What a sender asked is answered.
    Answer(Answer),
    /// A sender's message may come.
    GoAhead,
    /// A recipient's server is told something.
    Act(Act),
}

/// A line of what must come.
pub(crate) struct Expectation {
    /// Where it stands.
    pub(crate) line: usize,
    /// What must come.
    pub(crate) what: Expected,
}

/// What must come.
#[derive(Debug)]
pub(crate) enum Expected {
    /// Bytes to the client.
    ToClient(Pattern),
    /// Bytes to the backend.
    ToBackend(Pattern),
    /// Bytes that the greeter left for the backend.
    Left(Pattern),
    /// How the session stands.
    State(String),
}

/// One line of output; `None` stands for any text within a line.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Option<u8>>);

impl Pattern {
    /// How much of the front of `bytes` this matches.
    pub(crate) fn matches(&self, bytes: &[u8]) -> Option<usize> {
        match_front(&self.0, bytes)
    }

    /// Its bytes, without what may be any text.
    pub(crate) fn literal(&self) -> Vec<u8> {
        self.0.iter().copied().flatten().collect()
    }

    /// As it is written in a transcript.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|byte| byte.map_or("…".to_owned(), |byte| escaped(&[byte]))).collect()
    }
}

fn match_front(pattern: &[Option<u8>], bytes: &[u8]) -> Option<usize> {
    let literal = pattern.iter().take_while(|byte| byte.is_some()).count();
    let fits =
        literal <= bytes.len() && pattern.iter().zip(&bytes[..literal]).all(|(byte, found)| *byte == Some(*found));
    if !fits || literal == pattern.len() {
        return fits.then_some(literal);
    }
    let rest = &bytes[literal..];
    let longest = rest.iter().take_while(|byte| !b"\r\n".contains(byte)).count();
    (0..=longest).find_map(|any| Some(literal + any + match_front(&pattern[literal + 1..], &rest[any..])?))
}

/// Bytes as a transcript would write them.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0 => text.push_str("\\0"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02X}")),
        }
    }
    text
}

/// What is wrong with a transcript: the line, and the fault.
pub(crate) type Fault = (usize, String);

impl Transcript {
    /// Reads `text`, a transcript of `protocol`.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub(crate) fn parse(protocol: Protocol, text: &str) -> Result<Self, Fault> {
        let mut reader = Reader::new(protocol);
        if !text.starts_with("# ") {
            return Err((1, "the first line says `# why this exists`".to_owned()));
        }
        for (index, line) in text.lines().enumerate() {
            reader.line(index + 1, line).map_err(|fault| (index + 1, fault))?;
        }
        reader.finish()
    }
}

/// The limits of a listener that sets none (spec §3.5), but for `discard`, which is small enough to be shown.
fn default_limits(protocol: Protocol) -> Limits {
    let line = match protocol {
        Protocol::Smtp => 4096,
        Protocol::Imap => 8192,
        _ => 2048,
    };
    let auth = if protocol == Protocol::Smtp { 12288 } else { 65536 };
    Limits { line, auth, literal: 65536, commands: 50, errors: 5, discard: 1 << 20 }
}

/// The settings of a listener of `protocol` that sets nothing.
pub(crate) fn default_settings(protocol: Protocol) -> Settings {
    Settings {
        protocol,
        hostname: "mail.example.org".to_owned(),
        require: protocol != Protocol::Smtp,
        plaintext_auth: false,
        backend_tls: false,
        limits: default_limits(protocol),
        guard: Guard { require_auth: protocol == Protocol::Submission, rcpt_domains: None },
        hygiene: Hygiene::default(),
    }
}

struct Reader {
    settings: Settings,
    egress: egress::Settings,
    remote: remote::Settings,
    traces: bool,
    turns_away: bool,
    cast: Option<Mark>,
    start: Start,
    leg: Option<Leg>,
    whole_only: bool,
    boundary: bool,
    scenes: Vec<Scene>,
}

/// Which machine a transcript names.
#[derive(Clone, Copy)]
enum Mark {
    Greeter,
    Filter,
    Egress,
    Remote,
}

impl Reader {
    fn new(protocol: Protocol) -> Self {
        Self {
            settings: default_settings(protocol),
            egress: egress_settings(protocol, default_limits(protocol)),
            remote: remote_settings(),
            traces: false,
            turns_away: false,
            cast: None,
            start: Start::Greeting,
            leg: None,
            whole_only: false,
            boundary: false,
            scenes: vec![Scene { line: 1, cause: Cause::Opening, expected: Vec::new() }],
        }
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line == "--" {
            self.boundary = true;
            return Ok(());
        }
        let (head, text) = line.split_once(' ').unwrap_or((line, ""));
        let (mark, times) = match head.split_once('*') {
            Some((mark, count)) => {
                let count = count.strip_suffix(':').ok_or("a count ends in `:`")?;
                (format!("{mark}:"), count.parse().map_err(|_| format!("{count} is no count"))?)
            }
            None => (head.to_owned(), 1),
        };
        match mark.as_str() {
            "@" => self.setting(text),
            "!" => self.cause(number, event(text)?),
            "C:" => self.cause(number, Cause::Client(bytes(text)?.repeat(times))),
            "B:" | "greeting:" => self.cause(number, Cause::Backend(bytes(text)?.repeat(times))),
            "S:" => self.expect(number, Expected::ToClient(pattern(text, times)?)),
            ">B:" => self.expect(number, Expected::ToBackend(pattern(text, times)?)),
            "left:" => self.expect(number, Expected::Left(pattern(text, times)?)),
            "=" => self.expect(number, Expected::State(text.to_owned())),
            _ => Err(format!("`{head}` begins no line of a transcript")),
        }
    }

    fn setting(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let guard = &mut self.settings.guard;
        let limits = &mut self.settings.limits;
        let hygiene = &mut self.settings.hygiene;
        match key {
            "greeter" => self.cast = Some(Mark::Greeter),
            "filter" => self.cast = Some(Mark::Filter),
            "egress" => self.cast = Some(Mark::Egress),
            "remote" => self.cast = Some(Mark::Remote),
            "turns-away" => self.turns_away = true,
            "trace" => self.traces = true,
            "smtputf8" => self.egress.smtp_utf8 = true,
            "requiretls" => self.egress.require_tls = true,
            "tls" => self.egress.tls = offered_tls(value)?,
            "recipients" => self.egress.recipients = number(value)?,
            "received" => self.egress.loops.received = number(value)?,
            "helo" => self.remote.helo = yes(value)?,
            "eight-bit" => self.remote.eight_bit = yes(value)?,
            "whole-only" => self.whole_only = true,
            "start" => self.start = start(value)?,
            "offered" => offer(&mut self.start, value)?,
            "leg" => self.leg = Some(leg(value)?),
            "require" => self.settings.require = yes(value)?,
            "plaintext-auth" => self.settings.plaintext_auth = yes(value)?,
            "require-auth" => guard.require_auth = yes(value)?,
            "rcpt-domains" => guard.rcpt_domains = Some(value.split(',').map(domain).collect()),
            "bare-newline" => hygiene.bare_newline = bare_newline(value)?,
            "hide-extensions" => hygiene.hidden = value.split(',').map(str::to_owned).collect(),
            "limit.message" => hygiene.largest = Some(number(value)? as u64),
            "limit.line" => limits.line = number(value)?,
            "limit.auth" => limits.auth = number(value)?,
            "limit.literal" => limits.literal = number(value)?,
            "limit.commands" => limits.commands = number(value)?,
            "limit.errors" => limits.errors = number(value)?,
            "limit.discard" => limits.discard = number(value)? as u64,
            _ => return Err(format!("`{key}` is no setting of a transcript")),
        }
        Ok(())
    }

    /// Bytes of the same side join, until something is expected of them or a `--` parts them.
    fn cause(&mut self, line: usize, cause: Cause) -> Result<(), String> {
        let parted = std::mem::take(&mut self.boundary);
        let last = self.scenes.last_mut().expect("the opening is there from the start");
        match (&mut last.cause, cause) {
            (Cause::Client(read), Cause::Client(more)) | (Cause::Backend(read), Cause::Backend(more))
                if !parted && last.expected.is_empty() =>
            {
                read.extend_from_slice(&more);
            }
            (_, cause) => self.scenes.push(Scene { line, cause, expected: Vec::new() }),
        }
        Ok(())
    }

    fn expect(&mut self, line: usize, what: Expected) -> Result<(), String> {
        let last = self.scenes.last_mut().expect("the opening is there from the start");
        last.expected.push(Expectation { line, what });
        Ok(())
    }

    /// The machine of a sender's side shares what it can with the others' settings.
    fn egress_cast(&self) -> EgressCast {
        let settings = egress::Settings {
            limits: self.settings.limits,
            largest: self.settings.hygiene.largest,
            bare_newline: self.settings.hygiene.bare_newline,
            ..self.egress.clone()
        };
        let leg = self.leg.unwrap_or(Leg::Plaintext);
        let (traces, turns_away) = (self.traces, self.turns_away);
        EgressCast { settings: Arc::new(settings), leg, traces, turns_away }
    }

    fn finish(self) -> Result<Transcript, Fault> {
        if self.scenes.iter().all(|scene| scene.expected.is_empty()) {
            return Err((1, "it expects nothing (no `S:`, `>B:`, `left:` or `=`), so it cannot fail".to_owned()));
        }
        let cast = match self
            .cast
            .ok_or((1, "it names none of `@ greeter`, `@ filter`, `@ egress` and `@ remote`".to_owned()))?
        {
            Mark::Greeter => Cast::Greeter,
            Mark::Egress => Cast::Egress(Box::new(self.egress_cast())),
            Mark::Remote => Cast::Remote(self.remote),
            Mark::Filter => {
                let plaintext = matches!(self.start, Start::Opened(_));
                let leg = self.leg.unwrap_or(if plaintext { Leg::Plaintext } else { Leg::Tls });
                Cast::Filter(self.start, leg)
            }
        };
        let settings = Arc::new(self.settings);
        Ok(Transcript { cast, settings, whole_only: self.whole_only, scenes: self.scenes })
    }
}

fn offered_tls(name: &str) -> Result<egress::Tls, String> {
    match name {
        "off" => Ok(egress::Tls::Off),
        "optional" => Ok(egress::Tls::Optional),
        "required" => Ok(egress::Tls::Required),
        _ => Err(format!("`{name}` is nothing that STARTTLS can be")),
    }
}

/// `550 5.1.1 text`
fn answer(text: &str) -> Result<Answer, String> {
    let wrong = || format!("`{text}` is no reply with an enhanced code");
    let mut words = text.splitn(3, ' ');
    let mut word = || words.next().ok_or_else(wrong);
    let (code, status, words) = (word()?, word()?, word()?);
    let numbers: Vec<u16> = status.split('.').filter_map(|digits| digits.parse().ok()).collect();
    let [_, subject, detail] = numbers[..] else { return Err(wrong()) };
    Ok(Answer::new(code.parse().map_err(|_| wrong())?, (subject, detail), words))
}

/// `<a@example.org> size=42 8bitmime smtputf8 requiretls`
fn mail(text: &str) -> Result<Mail, String> {
    let mut words = text.split(' ');
    let sender = words.next().filter(|path| *path != "<>").map(mailbox).transpose()?;
    let mut mail = Mail { sender, ..Mail::default() };
    for word in words {
        match word {
            "8bitmime" => mail.eight_bit = true,
            "smtputf8" => mail.smtp_utf8 = true,
            "requiretls" => mail.require_tls = true,
            _ => {
                let size = word.strip_prefix("size=").ok_or_else(|| format!("`{word}` is no parameter"))?;
                mail.size = Some(number(size)? as u64);
            }
        }
    }
    Ok(mail)
}

fn mailbox(path: &str) -> Result<Mailbox, String> {
    let inside = path.strip_prefix('<').and_then(|path| path.strip_suffix('>'));
    inside.and_then(Mailbox::parse).ok_or_else(|| format!("`{path}` is no path"))
}

fn yes(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("`{value}` is neither true nor false"))
}

fn number(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("`{value}` is no number"))
}

fn leg(name: &str) -> Result<Leg, String> {
    match name {
        "plaintext" => Ok(Leg::Plaintext),
        "tls" => Ok(Leg::Tls),
        "certified" => Ok(Leg::Certified),
        _ => Err(format!("`{name}` is no leg")),
    }
}

fn bare_newline(name: &str) -> Result<BareNewline, String> {
    let found = BareNewline::ALL.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| format!("`{name}` is nothing that becomes of a bare newline"))
}

fn domain(pattern: &str) -> DomainPattern {
    match pattern.strip_prefix("*.") {
        _ if pattern == "*" => DomainPattern::Any,
        Some(parent) => DomainPattern::Below(parent.to_owned()),
        None => DomainPattern::Exact(pattern.to_owned()),
    }
}

fn start(value: &str) -> Result<Start, String> {
    match value {
        "greeting" => Ok(Start::Greeting),
        "greeted" => Ok(Start::Greeted),
        "opened" => Ok(Start::Opened(Opening::Nothing)),
        "opened:" => Ok(Start::Opened(Opening::Hello { command: None, offered: Extensions::default() })),
        _ => {
            let command = value.strip_prefix("opened:").ok_or_else(|| format!("`{value}` is no start"))?;
            let command = Some(command.as_bytes().to_vec());
            Ok(Start::Opened(Opening::Hello { command, offered: Extensions::default() }))
        }
    }
}

fn offer(start: &mut Start, value: &str) -> Result<(), String> {
    match start {
        Start::Opened(Opening::Hello { offered, .. }) => {
            *offered = extensions(value)?;
            Ok(())
        }
        _ => Err("`offered` needs `@ start=opened:…` before it".to_owned()),
    }
}

fn extensions(value: &str) -> Result<Extensions, String> {
    let mut offered = Extensions::default();
    for word in value.split_ascii_whitespace() {
        match word {
            "size" => offered.size = Some(None),
            "8bitmime" => offered.eight_bit_mime = true,
            "smtputf8" => offered.smtp_utf8 = true,
            "dsn" => offered.dsn = true,
            "pipelining" => offered.pipelining = true,
            "enhancedstatuscodes" => offered.enhanced_status_codes = true,
            _ => {
                let size = word.strip_prefix("size=").ok_or_else(|| format!("`{word}` is no extension"))?;
                offered.size = Some(Some(number(size)? as u64));
            }
        }
    }
    Ok(offered)
}

fn event(text: &str) -> Result<Cause, String> {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    match name {
        "client-ends" => Ok(Cause::ClientEnds),
        "backend-lost" => Ok(Cause::BackendLost),
        "answer" => Ok(Cause::Answer(answer(rest)?)),
        "go-ahead" => Ok(Cause::GoAhead),
        "mail" => Ok(Cause::Act(Act::Mail(mail(rest)?))),
        "rcpt" => Ok(Cause::Act(Act::Recipient(mailbox(rest)?))),
        "data" => Ok(Cause::Act(Act::Data)),
        "send" => Ok(Cause::Act(Act::Send(bytes(rest)?))),
        "end" => Ok(Cause::Act(Act::End)),
        "reset" => Ok(Cause::Act(Act::Reset)),
        "quit" => Ok(Cause::Act(Act::Quit)),
        "starttls" => Ok(Cause::Act(Act::StartTls)),
        "secured" => Ok(Cause::Act(Act::Secured)),
        "learn" if rest == "nothing" => Ok(Cause::Learn(None)),
        "learn" => Ok(Cause::Learn(Some(extensions(rest)?))),
        "farewell" => match rest {
            "busy" => Ok(Cause::Farewell(Farewell::Busy)),
            "backend-down" => Ok(Cause::Farewell(Farewell::BackendDown)),
            "backend-lost" => Ok(Cause::Farewell(Farewell::BackendLost)),
            "timeout" => Ok(Cause::Farewell(Farewell::Timeout)),
            "draining" => Ok(Cause::Farewell(Farewell::Draining)),
            _ => Err(format!("`{rest}` is no farewell")),
        },
        _ => Err(format!("`{name}` is no event")),
    }
}

fn pattern(text: &str, times: usize) -> Result<Pattern, String> {
    let mut parts = Vec::new();
    for (index, literal) in text.split('…').enumerate() {
        let last = index == text.matches('…').count();
        if index > 0 {
            parts.push(None);
        }
        let read = if last { bytes(literal)? } else { unescape(literal)?.0 };
        parts.extend(read.into_iter().map(Some));
    }
    Ok(Pattern(parts.repeat(times)))
}

/// The bytes of a line: with CRLF at its end, unless that was taken away by `\`.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let (mut bytes, open) = unescape(text)?;
    if !open {
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(bytes)
}

/// Resolves escapes; also says whether the text ends in a lone `\`.
fn unescape(text: &str) -> Result<(Vec<u8>, bool), String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else {
            return Ok((bytes, true));
        };
        rest = after;
        match escape {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'0' => bytes.push(0),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("`\\x{digits}` is no byte"))?);
                rest = &rest[2..];
            }
            other => return Err(format!("`\\{}` is no escape", char::from(other))),
        }
    }
    Ok((bytes, false))
}
