//! How a fuzzer's bytes become a session: one byte of settings, then what happens, parted by bytes that no mail
//! protocol uses, so that a mutation of text stays text.

use std::sync::Arc;

use mailward::{
    proto::{
        Leg, Opening, Protocol, Settings, Start,
        smtp::{BareNewline, DomainPattern, Extensions},
    },
    transcript::default_settings,
};

/// The next bytes are the client's.
pub const CLIENT: u8 = 0xFF;
/// The next bytes are the backend's.
pub const BACKEND: u8 = 0xFE;
/// The client ends its sending side.
pub const CLIENT_ENDS: u8 = 0xFD;
/// The backend is gone.
pub const BACKEND_LOST: u8 = 0xFC;
/// mailward takes its leave.
pub const FAREWELL: u8 = 0xFB;
const FIRST_MARK: u8 = FAREWELL;

/// `tls.require`, or inside TLS a client's certificate.
pub const REQUIRE: u8 = 1;
/// `plaintext-auth`.
pub const PLAINTEXT_AUTH: u8 = 2;
/// mailward has greeted already.
pub const GREETED: u8 = 4;
/// The session goes on in plaintext.
pub const OPENED: u8 = 8;
/// `rcpt-domains` and `require-auth`.
pub const GUARD: u8 = 16;
/// Limits so small that they are met.
pub const SMALL: u8 = 32;
/// Two bits, from the top: which of the family's protocols.
const PROTOCOL_SHIFT: u32 = 6;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// One read from the client.
    Client(&'a [u8]),
    /// One read from the backend.
    Backend(&'a [u8]),
    /// The client ends its sending side.
    ClientEnds,
    /// The backend is gone.
    BackendLost,
    /// mailward takes its leave.
    Farewell,
}

/// The first byte.
#[derive(Clone, Copy)]
pub struct Flags(pub u8);

impl Flags {
    /// The byte for the `index`th protocol of its family.
    pub fn with_protocol(self, index: usize) -> Self {
        Self(self.0 | (index as u8) << PROTOCOL_SHIFT)
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// The listener that the byte stands for.
    pub fn settings(self, family: &[Protocol]) -> Arc<Settings> {
        let protocol = family[usize::from(self.0 >> PROTOCOL_SHIFT) % family.len()];
        let mut settings = default_settings(protocol);
        settings.require = self.has(REQUIRE);
        settings.plaintext_auth = self.has(PLAINTEXT_AUTH);
        settings.guard.require_auth = self.has(GUARD) && protocol == Protocol::Submission;
        settings.guard.rcpt_domains = self.has(GUARD).then(|| vec![DomainPattern::Exact("example.org".to_owned())]);
        // Neither together with a small `discard`: how much is thrown away of a message that is refused on its way depends
        // on the reads.
        if !self.has(SMALL) && self.has(GUARD) {
            settings.hygiene.bare_newline = BareNewline::Reject;
        } else if !self.has(SMALL) && self.has(REQUIRE) {
            settings.hygiene.largest = Some(64);
        }
        if self.has(SMALL) {
            let limits = &mut settings.limits;
            (limits.line, limits.auth, limits.literal) = (64, 64, 64);
            (limits.commands, limits.errors, limits.discard) = (8, 2, 64);
        }
        Arc::new(settings)
    }

    /// Where the filter begins, and how the client's side is secured.
    pub fn start(self, protocol: Protocol) -> (Start, Leg) {
        let smtp = matches!(protocol, Protocol::Smtp | Protocol::Submission | Protocol::Lmtp);
        let verb = if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        let opening = match smtp {
            true => Opening::Hello {
                command: self.has(REQUIRE).then(|| format!("{verb} client.example.net").into_bytes()),
                offered: self.extensions(),
            },
            false => Opening::Nothing,
        };
        let secured = if self.has(REQUIRE) { Leg::Certified } else { Leg::Tls };
        match (self.has(OPENED), self.has(GREETED)) {
            (true, _) => (Start::Opened(opening), Leg::Plaintext),
            (false, true) => (Start::Greeted, secured),
            (false, false) => (Start::Greeting, secured),
        }
    }

    /// What a backend is said to offer.
    pub fn extensions(self) -> Extensions {
        Extensions { eight_bit_mime: true, pipelining: self.has(PLAINTEXT_AUTH), ..Extensions::default() }
    }
}

/// Parts the bytes behind the first one.
pub fn events(mut rest: &[u8]) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    let mut side = CLIENT;
    while !rest.is_empty() {
        let length = rest.iter().position(|byte| *byte >= FIRST_MARK).unwrap_or(rest.len());
        let (read, behind) = rest.split_at(length);
        if !read.is_empty() {
            events.push(if side == BACKEND { Event::Backend(read) } else { Event::Client(read) });
        }
        let Some((&mark, behind)) = behind.split_first() else { break };
        match mark {
            CLIENT_ENDS => events.push(Event::ClientEnds),
            BACKEND_LOST => events.push(Event::BackendLost),
            FAREWELL => events.push(Event::Farewell),
            _ => side = mark,
        }
        rest = behind;
    }
    events
}

/// `bytes` without those that part events, for a seed.
pub fn unmarked(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| (*byte).min(FIRST_MARK - 1))
}
