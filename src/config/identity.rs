//! The ways to tell a backend who the client is.

use crate::proto::{Protocol, proxy_header::Version};

/// One entry of a backend's `identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// `none`: not at all.
    None,
    /// `proxy-v1`, `proxy-v2`: by a header in front of the session.
    Proxy(Version),
    /// `xclient`: by a command of SMTP and LMTP.
    Xclient,
    /// `imap-id`: by a command of IMAP, as Dovecot has it.
    ImapId,
    /// `transparent`: by connecting from the client's own address.
    Transparent,
    /// `received`: by a trace header in each message.
    Received,
}

impl Identity {
    pub(super) const ALL: [Self; 7] = [
        Self::None,
        Self::Proxy(Version::V1),
        Self::Proxy(Version::V2),
        Self::Xclient,
        Self::ImapId,
        Self::Transparent,
        Self::Received,
    ];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Proxy(Version::V1) => "proxy-v1",
            Self::Proxy(Version::V2) => "proxy-v2",
            Self::Xclient => "xclient",
            Self::ImapId => "imap-id",
            Self::Transparent => "transparent",
            Self::Received => "received",
        }
    }

    /// Whether a session of this protocol has it.
    #[must_use]
    pub const fn is_for(self, protocol: Protocol) -> bool {
        match self {
            Self::None => false,
            Self::Proxy(_) | Self::Transparent => true,
            Self::Xclient | Self::Received => {
                matches!(protocol, Protocol::Smtp | Protocol::Submission | Protocol::Lmtp)
            }
            Self::ImapId => matches!(protocol, Protocol::Imap),
        }
    }

    /// Whether a mail server that is told so judges the client as it would without mailward, by its rules for relaying too:
    /// for this, the address must become the one that its connection has.
    pub(super) const fn takes_the_place(self) -> bool {
        matches!(self, Self::Proxy(_) | Self::Xclient | Self::Transparent)
    }

    /// Whether both can be had at once. In one session there is one way, since once the backend takes the client's address
    /// for the connection's, it believes nothing more that only mailward may say. The header stands in messages, and goes
    /// with all.
    pub(super) const fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => false,
            (Self::Received, _) | (_, Self::Received) => true,
            pair => matches!(pair, (Self::Xclient, Self::ImapId) | (Self::ImapId, Self::Xclient)),
        }
    }
}
