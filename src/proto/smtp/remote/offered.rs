//! What a recipient's server offers in its reply to EHLO.

use crate::proto::smtp::{Extensions, reply::Reply};

/// The extensions that matter to carrying a message there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// SIZE, 8BITMIME, SMTPUTF8, PIPELINING and others that the inbound half knows too.
    pub extensions: Extensions,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// LIMITS RCPTMAX (RFC 9422 §4.2): the most recipients in a transaction.
    pub most_recipients: Option<u32>,
    /// LIMITS RCPTDOMAINMAX (RFC 9422 §4.3): the most recipient domains in a session.
    pub most_domains: Option<u32>,
    /// LIMITS MAILMAX (RFC 9422 §4.1): the most transactions in a session.
    pub most_transactions: Option<u32>,
}

impl Offered {
    /// What a reply to EHLO lists; nothing, where it is a refusal.
    pub(super) fn listed_in(reply: &Reply<'_>) -> Self {
        let mut offered = Self { extensions: Extensions::listed_in(reply), ..Self::default() };
        if reply.class() == 2 {
            reply.texts().skip(1).for_each(|text| offered.note(text.trim_ascii()));
        }
        offered
    }

    fn note(&mut self, text: &[u8]) {
        let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        match words.next().unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"STARTTLS" => self.start_tls = true,
            b"REQUIRETLS" => self.require_tls = true,
            b"LIMITS" => words.for_each(|word| self.note_limit(word)),
            _ => {}
        }
    }

    /// RFC 9422 §3: names in any case, and what is not understood does not count.
    fn note_limit(&mut self, word: &[u8]) {
        let Some((name, value)) = std::str::from_utf8(word).ok().and_then(|word| word.split_once('=')) else { return };
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        // A limit of nothing says nothing: RFC 9422 §3 has it begin with 1 to 9.
        let limit = value.parse().ok().filter(|limit| digits && *limit > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.most_recipients = limit,
            "RCPTDOMAINMAX" => self.most_domains = limit,
            "MAILMAX" => self.most_transactions = limit,
            _ => {}
        }
    }

    #[cfg(test)]
    pub(in crate::proto::smtp) fn parse(reply: &[u8]) -> Self {
        Self::listed_in(&Reply::first(reply).unwrap().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_any_case() {
        let list = b"250-mx STARTTLS\r\n250-requiretls\r\n250-Size 100\r\n250-PIPELINING\r\n250-CHUNKING\r\n\
            250 limits RcptMax=20  MAILMAX=5 RCPTDOMAINMAX=1 X=y Z\r\n";
        let offered = Offered::parse(list);
        assert!(!offered.start_tls, "the first line is a name");
        assert!(offered.require_tls && offered.extensions.pipelining);
        assert_eq!(offered.extensions.size, Some(Some(100)));
        let limits = (offered.most_recipients, offered.most_transactions, offered.most_domains);
        assert_eq!(limits, (Some(20), Some(5), Some(1)));
    }

    #[test]
    fn what_is_not_understood_does_not_count() {
        for list in
            ["STARTTLSX", "LIMITS RCPTMAX=0", "LIMITS RCPTMAX=+1", "LIMITS RCPTMAX", "LIMITS RCPTMAX=99999999999"]
        {
            assert_eq!(Offered::parse(format!("250-mx\r\n250 {list}\r\n").as_bytes()), Offered::default(), "{list}");
        }
        assert_eq!(Offered::parse(b"550-no\r\n550 STARTTLS\r\n"), Offered::default());
    }
}
