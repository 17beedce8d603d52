//! Bytes in, decisions out: what mailward knows of the mail protocols.
//!
//! Nothing here owns a socket, a clock or a task. Each protocol has two machines:
//!
//! - a [`Greeter`], which is the whole server until TLS is up (spec §4.1), and is dropped there;
//! - a [`Filter`], which stands between the client and the backend inside TLS (spec §4.2) and says of each
//!   run of bytes whether it goes on unchanged, is replaced, or waits.
//!
//! Both are driven by the same three callers: the sockets (`net`), the transcript tests and the fuzzers.

use std::fmt;

pub mod imap;
pub mod line;
pub mod pop3;
pub mod sasl;
pub mod sieve;
pub mod smtp;
pub mod tally;

/// The protocol that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// SMTP between mail servers (RFC 5321), port 25.
    Smtp,
    /// Message submission (RFC 6409), ports 587 and 465.
    Submission,
    /// LMTP (RFC 2033), port 24.
    Lmtp,
    /// IMAP (RFC 3501, RFC 9051), ports 143 and 993.
    Imap,
    /// POP3 (RFC 1939), ports 110 and 995.
    Pop3,
    /// ManageSieve (RFC 5804), port 4190.
    ManageSieve,
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Smtp, Self::Submission, Self::Lmtp, Self::Imap, Self::Pop3, Self::ManageSieve];

    /// The name used in the configuration and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::ManageSieve => "managesieve",
        }
    }

    /// Whether a password is what a session of this protocol begins with.
    #[must_use]
    pub const fn has_login(self) -> bool {
        matches!(self, Self::Submission | Self::Imap | Self::Pop3 | Self::ManageSieve)
    }

    /// The backend's port where the configuration names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Lmtp => 24,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::ManageSieve => 4190,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bounds on what a peer may send before it is logged in (spec §3.5). All in bytes or counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `limit.line`: one command line, without its line end.
    pub line: usize,
    /// `limit.auth`: one line of a SASL exchange.
    pub auth: usize,
    /// `limit.literal`: one literal before login.
    pub literal: usize,
    /// `limit.commands`: commands before TLS, and before login.
    pub commands: usize,
    /// `limit.errors`: refused or unknown commands before TLS, and before login.
    pub errors: usize,
    /// `limit.discard`: bytes read and thrown away to stay in step (a refused BDAT, the rest of a body).
    pub discard: u64,
}

/// Received bytes that no machine has used up yet.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    used: usize,
}

impl Input {
    /// An input that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what a read returned.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What is there to look at.
    #[must_use]
    pub fn peek(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Uses up the first `count` bytes of [`Self::peek`] (all, if there are fewer).
    pub fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }

    /// Proof that nothing is left, which is what a handshake needs to begin.
    #[must_use]
    pub fn emptied(&self) -> Option<Emptied> {
        self.peek().is_empty().then_some(Emptied(()))
    }

    /// Takes all that is left.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.bytes);
        rest.drain(..self.used);
        self.used = 0;
        rest
    }
}

/// Proof, made by [`Input::emptied`] alone, that no byte from before TLS is waiting to be read inside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Emptied(());

/// A server's side of the dialogue before TLS.
pub trait Greeter {
    /// Writes the greeting, once, before anything is read.
    fn greet(&mut self, output: &mut Vec<u8>);

    /// Uses up as many whole commands of `input` as it can and writes the replies to `output`.
    ///
    /// # Errors
    /// A [`Violation`] ends the session once `output` (which then holds the protocol's last words) is sent.
    fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation>;

    /// Continues after [`Outcome::AskExtensions`] with what the backend is known to offer
    /// (`None`: it could not be asked). Only SMTP and LMTP ask.
    fn learn(&mut self, _offered: Option<smtp::Extensions>, _output: &mut Vec<u8>) {}

    /// Writes the protocol's words for `farewell`.
    fn farewell(&self, farewell: Farewell, output: &mut Vec<u8>);
}

/// What a [`Greeter`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing decided: more bytes are needed.
    More,
    /// The dialogue came to something. `output` is sent first.
    Done(Outcome),
}

/// How the dialogue before TLS goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client asked for TLS, its request is granted in `output`, and it sent nothing behind it.
    StartTls(Emptied),
    /// The client goes on without TLS, where the listener permits it. What it sent, from the first command
    /// that needs the backend on, is still in the input.
    Plaintext(Opening),
    /// The reply to EHLO waits for what the backend offers: [`Greeter::learn`], then [`Greeter::step`] again.
    AskExtensions,
    /// The client took its leave (QUIT, LOGOUT) and was answered.
    Closed,
}

/// What a client said in plaintext that the backend has to be told (spec §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// SMTP and LMTP: the greeting command as it is to be sent on, without its line end, and what the client
    /// was offered in reply.
    Hello {
        /// `EHLO name`, `HELO name` or `LHLO name`; `None` where the client sent MAIL without one.
        command: Option<Vec<u8>>,
        /// The extensions that stood in our reply.
        offered: smtp::Extensions,
    },
    /// IMAP, POP3 and ManageSieve: nothing; the client's next command is in the input.
    Nothing,
}

/// Why a peer's session is ended. The name is for the log; the peer was told in its protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Bytes arrived behind STARTTLS in the same read (RFC 3207 §6, RFC 9051 §6.2.1, RFC 2595 §4).
    InjectedBeforeTls,
    /// A line, or the bytes without any line end, passed the limit.
    LineTooLong,
    /// A literal passed the limit.
    LiteralTooLong,
    /// `limit.commands` passed.
    TooManyCommands,
    /// `limit.errors` passed.
    TooManyErrors,
    /// An HTTP request line: a browser, not a mail client (ALPACA).
    HttpRequest,
    /// More was thrown away than `limit.discard` allows.
    TooMuchDiscarded,
    /// A length that cannot be read, so that nobody knows where the next command begins.
    BadLength,
    /// A bare LF or CR in a message (SMTP smuggling, VU#302671).
    BareNewline,
    /// The backend broke its protocol (an unsolicited or malformed reply).
    Backend,
    /// The backend greeted with PREAUTH (nobody logged in).
    Preauth,
}

impl Violation {
    /// A fixed word for the log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InjectedBeforeTls => "bytes-behind-starttls",
            Self::LineTooLong => "line-too-long",
            Self::LiteralTooLong => "literal-too-long",
            Self::TooManyCommands => "too-many-commands",
            Self::TooManyErrors => "too-many-errors",
            Self::HttpRequest => "http-request",
            Self::TooMuchDiscarded => "too-much-discarded",
            Self::BadLength => "bad-length",
            Self::BareNewline => "bare-newline",
            Self::Backend => "backend-broke-protocol",
            Self::Preauth => "backend-preauth",
        }
    }
}

/// Why mailward takes leave of a client of its own accord; each protocol has its words (spec §3.5, §4.3, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// More sessions than `max-connections`.
    Busy,
    /// No address of the backend answered.
    BackendDown,
    /// The backend went away, or broke its protocol, during the session.
    BackendLost,
    /// The client was too slow.
    Timeout,
    /// mailward is stopping.
    Draining,
}

/// Where a [`Filter`] puts the bytes that it writes itself.
#[derive(Debug, Default)]
pub struct Wire {
    /// To the client, before anything that passes unchanged in the same step.
    pub to_client: Vec<u8>,
    /// To the backend, before anything that passes unchanged in the same step.
    pub to_backend: Vec<u8>,
}

/// What becomes of the front of the bytes that a [`Filter`] was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The first bytes (at least one) go on to the other side unchanged, behind what the step wrote.
    Pass(usize),
    /// The first bytes (at least one) are used up; what stands for them, if anything, was written.
    Consume(usize),
    /// The decision needs more bytes than these. Never said of more bytes than the limit in force, so that
    /// what is held is bounded.
    More,
    /// Not looked at before the other side has said something: show the same bytes again after that.
    Wait,
    /// The first bytes (maybe none) are used up, and the backend's connection is cut at once as it stands:
    /// nothing more goes to it, no end of anything. From here only [`Filter::client`] is called, until it ends
    /// the session, also where nothing is used up: it looks at the same bytes with other eyes.
    Cut(usize),
    /// The session ends when what was written is sent.
    End(Ending),
}

/// How a [`Filter`] ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In good order: QUIT, LOGOUT, or the backend's own farewell was passed on.
    Closed,
    /// The backend refused the session in its greeting, and the client was told.
    Refused,
    /// The client broke the protocol or a limit.
    Client(Violation),
    /// The backend broke the protocol.
    Backend(Violation),
    /// The backend was lost, and the client was told all that it is owed.
    BackendLost,
}

/// What a session is waiting for; its clock is chosen by it (spec §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A whole line from the client: `timeout.command` from the last reply, however the bytes drip.
    Command,
    /// The backend's reply, or the next bytes of a body or literal: `timeout.idle`.
    Transfer,
    /// The backend's answer to the end of a message: `timeout.data-end`.
    DataEnd,
}

/// What a client is sent of the backend's greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The greeting, filtered: the client has had none (implicit TLS).
    Greeting,
    /// Nothing: mailward has greeted (after STARTTLS). ManageSieve repeats its list there (RFC 5804 §2.2).
    Greeted,
    /// Nothing: the client goes on in plaintext, and the backend is told what it said.
    Opened(Opening),
}

/// What stands between a client and the backend, inside TLS or in permitted plaintext.
///
/// The caller shows each side's bytes to [`Self::client`] and [`Self::backend`], front first, until the step
/// says [`Flow::More`] or [`Flow::Wait`]; a `Wait` of one side is shown again after any step of the other.
pub trait Filter {
    /// Takes the backend's whole greeting (as [`greeting_end`] found it), once, before anything else.
    /// Answers [`Flow::Consume`] of all of it; [`Flow::Cut`] of all of it where the backend refused and the
    /// client is still to be told in reply to its command (SMTP, LMTP); or [`Flow::End`].
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow;

    /// Looks at the client's bytes (never empty).
    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow;

    /// Looks at the backend's bytes (never empty).
    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow;

    /// The client ended its sending side. `true`: the backend may be told by a half-close; `false`: it was
    /// in the middle of something (a body, a literal), and the backend's connection is to be cut instead.
    fn client_ended(&mut self) -> bool;

    /// The backend is gone. Writes what the client is owed and answers [`Flow::End`], or [`Flow::More`] where
    /// the rest of a body is first to be read and discarded: then only [`Self::client`] is called on, until it
    /// ends the session.
    fn backend_lost(&mut self, wire: &mut Wire) -> Flow;

    /// Writes the protocol's words for `farewell`, if the session is at a point where they can be said
    /// without being taken for something else; says whether it was.
    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool;

    /// What the session is waiting for.
    fn phase(&self) -> Phase;

    /// Whether the login that `timeout.login` waits for is still to come.
    fn awaits_login(&self) -> bool;

    /// Whether this filter has seen all it wants: both directions are copied blindly from here, beginning
    /// with what it has not used up, and it is dropped.
    fn steps_aside(&self) -> bool;

    /// The user named in the accepted login, as the client wrote it: unescaped peer text.
    fn user(&self) -> Option<&str>;

    /// Something the operator must know about the backend, said once (spec §4.2, last paragraph).
    fn complaint(&mut self) -> Option<Complaint>;
}

/// What makes a backend unusable behind mailward until its operator changes a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complaint {
    /// The backend lists LOGINDISABLED, offers no AUTH, or answers PRIVACYREQUIRED on the plaintext leg.
    LoginRefusedInPlaintext,
    /// The backend greeted with PREAUTH.
    Preauth,
    /// The backend sent something before it was asked.
    SpokeUnasked,
}

/// How long the backend's greeting is: `Ok(None)` while it is incomplete.
///
/// # Errors
/// [`Violation::Backend`] where it cannot become a greeting of this protocol, or grows beyond 64 KiB.
pub fn greeting_end(protocol: Protocol, input: &[u8]) -> Result<Option<usize>, Violation> {
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => smtp::greeting_end(input),
        Protocol::Imap => imap::greeting_end(input),
        Protocol::Pop3 => pop3::greeting_end(input),
        Protocol::ManageSieve => sieve::greeting_end(input),
    }
}

/// What a greeter or filter is told of its listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which protocol: smtp, submission and lmtp share their machines.
    pub protocol: Protocol,
    /// `server.hostname`: greeting and replies.
    pub hostname: String,
    /// `tls.require`: nothing but TLS lets the client get on.
    pub require: bool,
    /// `plaintext-auth`: passwords may be said without TLS.
    pub plaintext_auth: bool,
    /// The bounds in force.
    pub limits: Limits,
    /// Who may send mail to whom through this listener (SMTP and submission).
    pub guard: smtp::Guard,
}

/// The greeter of a listener's protocol.
#[must_use]
pub fn greeter(settings: &std::sync::Arc<Settings>) -> Box<dyn Greeter> {
    let settings = settings.clone();
    match settings.protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => Box::new(smtp::SmtpGreeter::new(settings)),
        Protocol::Imap => Box::new(imap::ImapGreeter::new(settings)),
        Protocol::Pop3 => Box::new(pop3::Pop3Greeter::new(settings)),
        Protocol::ManageSieve => Box::new(sieve::SieveGreeter::new(settings)),
    }
}

/// The filter of a listener's protocol. `encrypted` says whether the client's leg is TLS.
#[must_use]
pub fn filter(settings: &std::sync::Arc<Settings>, start: Start, encrypted: bool) -> Box<dyn Filter> {
    let settings = settings.clone();
    match settings.protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
            Box::new(smtp::SmtpFilter::new(settings, start, encrypted))
        }
        Protocol::Imap => Box::new(imap::ImapFilter::new(settings, start, encrypted)),
        Protocol::Pop3 => Box::new(pop3::Pop3Filter::new(settings, start, encrypted)),
        Protocol::ManageSieve => Box::new(sieve::SieveFilter::new(settings, start, encrypted)),
    }
}

/// Writes the words for a client that is refused before any session exists (over `max-connections`, or
/// every backend address known to be down), in place of the greeting.
pub fn refuse(settings: &Settings, farewell: Farewell, output: &mut Vec<u8>) {
    greeter(&std::sync::Arc::new(settings.clone())).farewell(farewell, output);
}
