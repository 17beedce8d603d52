//! What a listener speaks: one of the mail protocols, or HTTP, which no mail goes over.

use crate::proto::Protocol;

/// `protocol` of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Mail(Protocol),
    Http,
}

impl Service {
    /// Every value, in the order of the documentation.
    pub(super) const ALL: [Self; 7] = [
        Self::Mail(Protocol::Smtp),
        Self::Mail(Protocol::Submission),
        Self::Mail(Protocol::Lmtp),
        Self::Mail(Protocol::Imap),
        Self::Mail(Protocol::Pop3),
        Self::Mail(Protocol::ManageSieve),
        Self::Http,
    ];

    /// The name used in the configuration.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mail(protocol) => protocol.name(),
            Self::Http => "http",
        }
    }

    /// The port of a session that begins in clear.
    pub(super) const fn default_port(self) -> u16 {
        match self {
            Self::Mail(protocol) => protocol.default_port(),
            Self::Http => 80,
        }
    }

    /// The mail protocol, if it is one.
    pub(super) const fn mail(self) -> Option<Protocol> {
        match self {
            Self::Mail(protocol) => Some(protocol),
            Self::Http => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mail_protocol_is_a_service() {
        let mail: Vec<_> = Service::ALL.iter().filter_map(|service| service.mail()).collect();
        assert_eq!(mail, Protocol::ALL);
    }
}
