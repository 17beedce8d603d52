//! What keeps mailward from carrying a message on, and how the sender is told.
//!
//! Promises that nothing is refused for good but what trying again cannot mend: a domain that is not there or takes no
//! mail, a loop, and a message that the recipient's server cannot take.

use super::Answer;

/// Why a recipient, or a message, is refused here and not by the recipient's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// The domain does not exist.
    NoSuchDomain,
    /// The domain says that it takes no mail (RFC 7505).
    NullMx,
    /// Its DNS records are not to be had, or not to be trusted.
    DnsError,
    /// None of its servers has an address.
    NoAddress,
    /// None of its servers can be reached.
    Unreachable,
    /// The conversation with the server broke before the end of the message.
    Broken,
    /// The end of the message was sent, and no reply came: it may have arrived.
    OutcomeUnknown,
    /// TLS is required, and the server has none.
    NoTls,
    /// The server is not the one that a policy asks for.
    Unverified,
    /// A limit or a shortage of mailward's own.
    LocalLimit,
    /// One transaction carries mail for one domain.
    OtherDomain,
    /// The recipients' servers are not of one mind, and there is one reply for all.
    Divided,
    /// One transaction has no room for more recipients.
    TooManyRecipients,
    /// The message goes round in circles.
    Loop,
    /// The message is larger than the server takes, or than mailward does.
    TooLarge,
    /// The server has no SMTPUTF8, which the message needs.
    NoUtf8,
    /// The server has no 8BITMIME, and the operator wants no such message sent to it.
    NoEightBit,
    /// The server has no REQUIRETLS, which the sender asks for (RFC 8689).
    NoRequireTls,
    /// It is not certain that the server is one of the domain's, which REQUIRETLS asks for too (RFC 8689).
    Uncertain,
    /// The address names no place that mail could be carried to.
    BadRecipient,
    /// The session's client may not send mail through here.
    NoRelay,
}

impl Obstacle {
    /// The reply, with what is to be said `about` it (a name, a cause; maybe nothing).
    #[must_use]
    pub fn answer(self, about: &str) -> Answer {
        let (code, status, text) = self.words();
        let text = if about.is_empty() { text.to_owned() } else { format!("{text}: {about}") };
        Answer::new(code, status, &text)
    }

    const fn words(self) -> (u16, (u16, u16), &'static str) {
        match self {
            Self::NoSuchDomain => (550, (1, 2), "The recipient's domain does not exist"),
            // RFC 7505 §4.1
            Self::NullMx => (556, (1, 10), "The recipient's domain takes no mail"),
            Self::DnsError => (451, (4, 3), "The DNS records of the recipient's domain are not to be had"),
            Self::NoAddress => (451, (4, 4), "No mail server of the recipient's domain has an address"),
            Self::Unreachable => (451, (4, 1), "No mail server of the recipient's domain can be reached"),
            Self::Broken => (451, (4, 2), "The conversation with the recipient's mail server broke off"),
            Self::OutcomeUnknown => (451, (4, 2), "Delivery status unknown, the message may be duplicated"),
            Self::NoTls => (451, (7, 4), "TLS is required, and the recipient's mail server has none"),
            Self::Unverified => (451, (7, 5), "The recipient's mail server could not be verified"),
            Self::LocalLimit => (451, (3, 2), "Too busy, try again later"),
            // RFC 5321 §4.5.3.1.10
            Self::OtherDomain => (452, (5, 3), "One domain in a transaction"),
            Self::Divided => (451, (5, 3), "Some recipients have the message and others do not: send it again"),
            Self::TooManyRecipients => (452, (5, 3), "Too many recipients"),
            Self::Loop => (554, (4, 6), "The message goes round in circles"),
            // RFC 1870 §6
            Self::TooLarge => (552, (3, 4), "Message too large"),
            // RFC 6531 §3.5
            Self::NoUtf8 => (553, (6, 7), "The recipient's mail server takes no SMTPUTF8"),
            Self::NoEightBit => (554, (6, 3), "The recipient's mail server takes no 8BITMIME"),
            // RFC 8689 §4.2.1
            Self::NoRequireTls => (550, (7, 30), "The recipient's mail server has no REQUIRETLS"),
            Self::Uncertain => {
                (550, (7, 30), "REQUIRETLS asks for more certainty of who the recipient's mail server is")
            }
            Self::BadRecipient => (550, (1, 3), "Mail cannot be carried to this address"),
            Self::NoRelay => (554, (7, 1), "Relay access denied"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_the_reply_of_the_design() {
        for (obstacle, reply) in [
            (Obstacle::NoSuchDomain, "550 5.1.2"),
            (Obstacle::NullMx, "556 5.1.10"),
            (Obstacle::DnsError, "451 4.4.3"),
            (Obstacle::NoAddress, "451 4.4.4"),
            (Obstacle::Unreachable, "451 4.4.1"),
            (Obstacle::Broken, "451 4.4.2"),
            (Obstacle::OutcomeUnknown, "451 4.4.2"),
            (Obstacle::NoTls, "451 4.7.4"),
            (Obstacle::Unverified, "451 4.7.5"),
            (Obstacle::LocalLimit, "451 4.3.2"),
            (Obstacle::OtherDomain, "452 4.5.3"),
            (Obstacle::Divided, "451 4.5.3"),
            (Obstacle::TooManyRecipients, "452 4.5.3"),
            (Obstacle::Loop, "554 5.4.6"),
            (Obstacle::TooLarge, "552 5.3.4"),
            (Obstacle::NoUtf8, "553 5.6.7"),
            (Obstacle::NoEightBit, "554 5.6.3"),
            (Obstacle::NoRequireTls, "550 5.7.30"),
            (Obstacle::Uncertain, "550 5.7.30"),
            (Obstacle::BadRecipient, "550 5.1.3"),
            (Obstacle::NoRelay, "554 5.7.1"),
        ] {
            assert!(obstacle.answer("").to_string().starts_with(&format!("{reply} ")), "{obstacle:?}");
        }
        let about = Obstacle::Unverified.answer("[mx.example.net] no TLSA record matches\r\n");
        let text = "The recipient's mail server could not be verified: [mx.example.net] no TLSA record matches??";
        assert_eq!(about.to_string(), format!("451 4.7.5 {text}"));
    }
}
