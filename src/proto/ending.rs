//! Why sessions end: the peers' faults, and mailward's own leave.

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
    /// A bare LF or CR in a message, or a NUL at the front of a line (SMTP smuggling, VU#302671).
    BareNewline,
    /// A message passed `limit.message`.
    MessageTooLarge,
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
            Self::MessageTooLarge => "message-too-large",
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
    /// TLS was asked for, and no certificate is there yet.
    NoCertificate,
    /// The client was too slow.
    Timeout,
    /// mailward is stopping.
    Draining,
}

/// How a [`super::Filter`] ends a session.
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
