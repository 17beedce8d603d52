//! What MAIL says (RFC 5321 §4.1.1.2), from the sender's command to the one for the recipient's server.
//!
//! Promises that a parameter is taken only where it was offered, once and whole, and that every fact of the sender's
//! MAIL either goes on or is refused: what a server cannot keep is not promised.

use super::{Obstacle, command::behind_keyword, mailbox::Mailbox, path, remote::Offered, trace::LONGEST_TRACE, words};

/// The beginning of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Who sends it; `None` is `<>`, the sender of notices.
    pub sender: Option<Mailbox>,
    /// SIZE (RFC 1870 §6): about how many octets it has.
    pub size: Option<u64>,
    /// BODY=8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub smtp_utf8: bool,
    /// REQUIRETLS (RFC 8689 §2).
    pub require_tls: bool,
}

/// The parameters that were offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permitted {
    /// Any at all: the client has greeted with EHLO or LHLO.
    pub(super) extended: bool,
    pub(super) smtp_utf8: bool,
    pub(super) require_tls: bool,
}

impl Mail {
    /// Reads the argument of MAIL, or says how it is refused.
    pub(super) fn parse(argument: &[u8], permitted: Permitted) -> Result<Self, &'static str> {
        let (path, parameters) = split(argument, b"FROM:").ok_or(words::BAD_SENDER)?;
        let sender = if path.is_empty() { None } else { Some(Mailbox::parse(path).ok_or(words::BAD_SENDER)?) };
        let mut mail = Self { sender, ..Self::default() };
        let mut seen = Vec::new();
        for parameter in parameters {
            let (keyword, value) =
                parameter.split_once('=').map_or((parameter, None), |(key, value)| (key, Some(value)));
            let keyword = keyword.to_ascii_uppercase();
            mail.note(&keyword, value, permitted)?;
            if seen.contains(&keyword) {
                return Err(words::BAD_ARGUMENT);
            }
            seen.push(keyword);
        }
        if mail.smtp_utf8 || path.is_ascii() { Ok(mail) } else { Err(words::NO_UTF8) }
    }

    fn note(&mut self, keyword: &str, value: Option<&str>, permitted: Permitted) -> Result<(), &'static str> {
        // RFC 5321 §4.1.1.11
        let offered = match keyword {
            "SIZE" | "BODY" => permitted.extended,
            "SMTPUTF8" => permitted.extended && permitted.smtp_utf8,
            "REQUIRETLS" => permitted.extended && permitted.require_tls,
            _ => false,
        };
        if !offered {
            return Err(words::NO_PARAMETER);
        }
        match (keyword, value) {
            ("SIZE", Some(value)) => self.size = Some(size(value).ok_or(words::BAD_ARGUMENT)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => self.eight_bit = true,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {}
            ("SMTPUTF8", None) => self.smtp_utf8 = true,
            ("REQUIRETLS", None) => self.require_tls = true,
            _ => return Err(words::BAD_ARGUMENT),
        }
        Ok(())
    }

    /// What keeps the message from a server that offers this, if anything does. `eight_bit`: it may have one of 8 bits
    /// without 8BITMIME; `secured`: the conversation has TLS.
    pub(super) fn obstacle(&self, offered: &Offered, eight_bit: bool, secured: bool) -> Option<Obstacle> {
        let limit = offered.extensions.size.flatten();
        let too_large = self.size.zip(limit).is_some_and(|(size, limit)| size > limit);
        [
            // RFC 8689 §4.2.1: the server has to offer it inside TLS.
            (self.require_tls && !(secured && offered.require_tls), Obstacle::NoRequireTls),
            (self.smtp_utf8 && !offered.extensions.smtp_utf8, Obstacle::NoUtf8),
            (self.eight_bit && !eight_bit && !offered.extensions.eight_bit_mime, Obstacle::NoEightBit),
            (too_large, Obstacle::TooLarge),
        ]
        .into_iter()
        .find_map(|(is_one, obstacle)| is_one.then_some(obstacle))
    }

    /// The command for a server that offers this, with its line end.
    pub(super) fn command(&self, offered: &Offered) -> String {
        let address = self.sender.as_ref().map(Mailbox::address).unwrap_or_default();
        let mut command = format!("MAIL FROM:<{address}>");
        if let (Some(size), Some(limit)) = (self.size, offered.extensions.size) {
            // RFC 1870 §6.1: with what the trace adds; but what fits is not to be refused for an estimate.
            let size = size.saturating_add(LONGEST_TRACE).min(limit.unwrap_or(u64::MAX));
            command.push_str(&format!(" SIZE={size}"));
        }
        let flags = [
            (self.eight_bit && offered.extensions.eight_bit_mime, " BODY=8BITMIME"),
            (self.smtp_utf8, " SMTPUTF8"),
            (self.require_tls, " REQUIRETLS"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).for_each(|(_, parameter)| command.push_str(parameter));
        command + "\r\n"
    }
}

/// Reads the argument of RCPT in a transaction, or says how it is refused. `smtp_utf8`: the transaction is one of
/// RFC 6531.
pub(super) fn recipient(argument: &[u8], smtp_utf8: bool) -> Result<Mailbox, &'static str> {
    let (path, parameters) = split(argument, b"TO:").ok_or(words::BAD_RECIPIENT)?;
    if !smtp_utf8 && !path.is_ascii() {
        return Err(words::NO_UTF8);
    }
    if !parameters.is_empty() {
        return Err(words::NO_PARAMETER);
    }
    Mailbox::parse(path).ok_or(words::BAD_RECIPIENT)
}

/// What stands between the brackets behind a keyword, and the parameters that follow.
fn split<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<(&'a str, Vec<&'a str>)> {
    let (path, rest) = path::bracketed(behind_keyword(argument, keyword)?.strip_prefix(b"<")?)?;
    // RFC 5321 §4.1.2: each parameter stands behind a blank.
    let rest = std::str::from_utf8(rest).ok().filter(|rest| rest.is_empty() || rest.starts_with(' '))?;
    Some((std::str::from_utf8(path).ok()?, rest.split(' ').filter(|word| !word.is_empty()).collect()))
}

/// RFC 1870 §6.1: 1 to 20 digits.
fn size(value: &str) -> Option<u64> {
    let sane = (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    sane.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Permitted = Permitted { extended: true, smtp_utf8: true, require_tls: true };
    const NONE: Permitted = Permitted { extended: false, smtp_utf8: false, require_tls: false };

    fn mail(argument: &str) -> Mail {
        Mail::parse(argument.as_bytes(), ALL).unwrap()
    }

    fn offered(list: &str) -> Offered {
        Offered::parse(format!("250-mx\r\n{list}250 HELP\r\n").as_bytes())
    }

    #[test]
    fn every_parameter_that_was_offered_is_read() {
        let read = mail("FROM:<a@example.org> size=42 Body=8bitMIME smtputf8 RequireTLS");
        let sender = Mailbox::parse("a@example.org");
        assert_eq!(read, Mail { sender, size: Some(42), eight_bit: true, smtp_utf8: true, require_tls: true });
        assert_eq!(mail("from: <>"), Mail::default());
        assert_eq!(mail("FROM:<> SIZE=99999999999999999999").size, Some(u64::MAX));
        assert_eq!(mail("FROM:<\"a> SIZE=1\"@example.org> BODY=7BIT").size, None);
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        for (argument, reply) in [
            ("FROM:<a@example.org> RET=HDRS", words::NO_PARAMETER),
            ("FROM:<a@example.org> AUTH=<>", words::NO_PARAMETER),
            ("FROM:<a@example.org> SIZE=1 SIZE=1", words::BAD_ARGUMENT),
            ("FROM:<a@example.org> SIZE=-1", words::BAD_ARGUMENT),
            ("FROM:<a@example.org> SIZE=", words::BAD_ARGUMENT),
            ("FROM:<a@example.org> SIZE", words::BAD_ARGUMENT),
            ("FROM:<a@example.org> BODY=BINARYMIME", words::BAD_ARGUMENT),
            ("FROM:<a@example.org> SMTPUTF8=1", words::BAD_ARGUMENT),
            ("FROM:<a@example.org>SIZE=1", words::BAD_SENDER),
            ("FROM:a@example.org", words::BAD_SENDER),
            ("FROM:<a>", words::BAD_SENDER),
            ("FROM :<a@example.org>", words::BAD_SENDER),
            ("FROM:<\u{f6}@example.org>", words::NO_UTF8),
            ("", words::BAD_SENDER),
        ] {
            assert_eq!(Mail::parse(argument.as_bytes(), ALL), Err(reply), "{argument}");
        }
        for parameter in ["SIZE=1", "BODY=7BIT", "SMTPUTF8", "REQUIRETLS"] {
            let argument = format!("FROM:<a@example.org> {parameter}");
            assert_eq!(Mail::parse(argument.as_bytes(), NONE), Err(words::NO_PARAMETER), "{parameter}");
        }
    }

    #[test]
    fn recipients_have_no_parameters() {
        let address =
            |argument: &str| recipient(argument.as_bytes(), false).map(|mailbox| mailbox.address().to_owned());
        assert_eq!(address("TO:<@a.example:b@example.org> "), Ok("b@example.org".to_owned()));
        assert_eq!(address("TO:<b@example.org> NOTIFY=NEVER"), Err(words::NO_PARAMETER));
        assert_eq!(address("TO:<\u{f6}@example.org>"), Err(words::NO_UTF8));
        assert!(recipient("TO:<\u{f6}@example.org>".as_bytes(), true).is_ok());
        for argument in ["TO:<>", "TO:b@example.org", "TO:<b@example.org", "TO:<b@example.org>x", "FOR:<b@example.org>"]
        {
            assert_eq!(address(argument), Err(words::BAD_RECIPIENT), "{argument}");
        }
    }

    #[test]
    fn a_server_is_told_what_it_offers() {
        let all = mail("FROM:<a@example.org> SIZE=42 BODY=8BITMIME SMTPUTF8 REQUIRETLS");
        let list = "250-SIZE 5000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-REQUIRETLS\r\n";
        let told = "MAIL FROM:<a@example.org> SIZE=1066 BODY=8BITMIME SMTPUTF8 REQUIRETLS\r\n";
        assert_eq!(all.command(&offered(list)), told);
        assert_eq!(mail("FROM:<> SIZE=42 BODY=8BITMIME").command(&offered("")), "MAIL FROM:<>\r\n");
        assert_eq!(mail("FROM:<> SIZE=42").command(&offered("250-SIZE 100\r\n")), "MAIL FROM:<> SIZE=100\r\n");
        assert_eq!(mail("FROM:<> SIZE=42").command(&offered("250-SIZE\r\n")), "MAIL FROM:<> SIZE=1066\r\n");
    }

    #[test]
    fn s9_s10_s12_what_a_server_cannot_keep_is_refused() {
        let obstacle = |argument: &str, list: &str| mail(argument).obstacle(&offered(list), true, true);
        assert_eq!(obstacle("FROM:<> SIZE=101", "250-SIZE 100\r\n"), Some(Obstacle::TooLarge));
        assert_eq!(obstacle("FROM:<> SIZE=100", "250-SIZE 100\r\n"), None);
        assert_eq!(obstacle("FROM:<> SIZE=100", "250-SIZE 0\r\n"), None);
        assert_eq!(obstacle("FROM:<> SIZE=100", ""), None);
        assert_eq!(obstacle("FROM:<> SMTPUTF8", ""), Some(Obstacle::NoUtf8));
        assert_eq!(obstacle("FROM:<> SMTPUTF8", "250-smtputf8\r\n"), None);
        assert_eq!(obstacle("FROM:<> REQUIRETLS", ""), Some(Obstacle::NoRequireTls));
        assert_eq!(obstacle("FROM:<> REQUIRETLS", "250-REQUIRETLS\r\n"), None);
        let in_clear = mail("FROM:<> REQUIRETLS").obstacle(&offered("250-REQUIRETLS\r\n"), true, false);
        assert_eq!(in_clear, Some(Obstacle::NoRequireTls));
        let eight = mail("FROM:<> BODY=8BITMIME");
        assert_eq!(eight.obstacle(&offered(""), true, true), None);
        assert_eq!(eight.obstacle(&offered(""), false, true), Some(Obstacle::NoEightBit));
        assert_eq!(eight.obstacle(&offered("250-8BITMIME\r\n"), false, true), None);
    }
}
