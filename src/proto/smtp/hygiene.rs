//! What does not reach the backend for the backend's own good: bare newlines, messages beyond a size, extensions that it
//! lists and does not master, commands that a client has no business with.
//!
//! Invents nothing: the limit only ever lowers what a backend's SIZE says, and what is hidden is also refused.

use super::{
    body::BareNewline,
    extensions::{Extensions, Mechanisms},
    offer::Offer,
    path, words,
};

/// The commands beyond the extensions that a listener can refuse (`refuse-commands`).
pub const REFUSABLE: [&str; 3] = ["VRFY", "EXPN", "ETRN"];

/// What holds for one listener and the backend behind it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hygiene {
    /// `bare-newline`.
    pub bare_newline: BareNewline,
    /// `limit.message`: the octets of one message. `None`: as many as the backend takes.
    pub largest: Option<u64>,
    /// `hide-extensions` and `refuse-commands`: keywords of EHLO that no client is shown, and commands that none may use.
    pub hidden: Vec<String>,
    /// The octets that mailward may add to a message (`identity = "received"`), which a backend's limit has to leave room for.
    pub added: u64,
}

impl Hygiene {
    /// Whether a keyword of EHLO, in any case, is hidden.
    pub(super) fn hides(&self, keyword: &[u8]) -> bool {
        let names = |name: &[u8]| self.hidden.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()));
        // RFC 3030 §3: BINARYMIME is for messages that go by BDAT.
        names(keyword) || (keyword.eq_ignore_ascii_case(b"BINARYMIME") && names(b"CHUNKING"))
    }

    /// What is left of a backend's extensions.
    pub(super) fn shown(&self, offered: Extensions) -> Extensions {
        let shown = offered.without(self.hidden_extensions());
        let mechanisms = if self.hides(b"AUTH") { Mechanisms::default() } else { offered.mechanisms };
        Extensions { size: shown.size.map(|limit| self.lower(limit)), mechanisms, ..shown }
    }

    /// The lower of the backend's limit, if it names one, and our own.
    pub(super) fn lower(&self, limit: Option<u64>) -> Option<u64> {
        // RFC 1870 §4: 0 would say that there is none.
        let left = limit.map(|limit| limit.saturating_sub(self.added).max(1));
        left.into_iter().chain(self.largest).min()
    }

    /// Judges the argument of MAIL or RCPT of a client that was offered this: the reply that refuses it, if it is refused.
    pub(super) fn refuses_parameters(&self, argument: &[u8], offer: &Offer) -> Option<&'static str> {
        if path::parameters(argument).any(|parameter| offer.withholds(parameter, self)) {
            // RFC 5321 §4.1.1.11
            return Some(words::NO_PARAMETER);
        }
        // RFC 1870 §6.1
        let too_large = declared_size(argument).is_some_and(|size| self.is_too_large(size));
        too_large.then_some(words::TOO_LARGE)
    }

    /// Whether a message of so many octets is beyond the limit.
    pub(super) fn is_too_large(&self, size: u64) -> bool {
        self.largest.is_some_and(|largest| size > largest)
    }

    fn hidden_extensions(&self) -> Extensions {
        let mut hidden = Extensions::default();
        self.hidden.iter().for_each(|keyword| hidden.note(keyword.as_bytes()));
        hidden
    }
}

/// RFC 1870 §6: what MAIL says of the size of its message. What is no number is for the backend to judge; one beyond
/// all numbers is larger than any limit.
fn declared_size(argument: &[u8]) -> Option<u64> {
    let value = argument.split(|byte| *byte == b' ').find_map(|parameter| {
        let (keyword, value) = parameter.split_at_checked(b"SIZE=".len())?;
        keyword.eq_ignore_ascii_case(b"SIZE=").then_some(value)
    })?;
    let digits = std::str::from_utf8(value).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hiding(keywords: &[&str]) -> Hygiene {
        Hygiene { hidden: keywords.iter().map(ToString::to_string).collect(), ..Hygiene::default() }
    }

    fn limited(largest: u64) -> Hygiene {
        Hygiene { largest: Some(largest), ..Hygiene::default() }
    }

    fn refused(hygiene: &Hygiene, argument: &str) -> Option<&'static str> {
        hygiene.refuses_parameters(argument.as_bytes(), &Offer::default())
    }

    #[test]
    fn chunking_takes_binary_messages_with_it() {
        let hygiene = hiding(&["CHUNKING"]);
        assert!(hygiene.hides(b"chunking") && hygiene.hides(b"BinaryMIME"));
        assert!(!hygiene.hides(b"SIZE") && !hiding(&["DSN"]).hides(b"BINARYMIME"));
    }

    #[test]
    fn parameters_of_hidden_extensions_are_refused() {
        let hygiene = hiding(&["DSN", "8BITMIME", "deliverby", "FUTURERELEASE", "CHUNKING"]);
        for parameter in [
            "RET=HDRS",
            "size=1 body=8BITMIME",
            "notify=NEVER",
            "by=120;R",
            "HOLDFOR=9",
            "HOLDUNTIL=9",
            "BODY=BINARYMIME",
        ] {
            let argument = format!("FROM:<a@b> {parameter}");
            assert_eq!(refused(&hygiene, &argument), Some(words::NO_PARAMETER), "{argument}");
            assert_eq!(refused(&Hygiene::default(), &argument), None, "{argument}");
        }
        assert_eq!(refused(&hygiene, "FROM:<a@b> SIZE=10 SMTPUTF8"), None);
    }

    /// Dovecot, for one, believes XRCPTFORWARD of whom it believes XCLIENT.
    #[test]
    fn parameters_of_what_is_never_offered_are_refused() {
        for argument in ["TO:<a@b> XRCPTFORWARD=eD15", "FROM: a@b xoorg=c", "FROM:<> PRDR", "FROM:<a@b> RequireTLS"] {
            assert_eq!(refused(&Hygiene::default(), argument), Some(words::NO_PARAMETER), "{argument}");
        }
        for argument in ["FROM: xavier@b", "TO:<x a@b>", "FROM:<a@b> MT-PRIORITY=3 AUTH=<>"] {
            assert_eq!(refused(&Hygiene::default(), argument), None, "{argument}");
        }
    }

    #[test]
    fn a_declared_size_beyond_the_limit_is_refused() {
        let hygiene = limited(1000);
        for argument in ["FROM:<a@b> SIZE=1001", "FROM:<a@b> BY=1 size=99999999999999999999999"] {
            assert_eq!(refused(&hygiene, argument), Some(words::TOO_LARGE), "{argument}");
        }
        for argument in ["FROM:<a@b> SIZE=1000", "FROM:<a@b> SIZE=", "FROM:<a@b> SIZE=+2000", "FROM:<SIZE=2000@b>"] {
            assert_eq!(refused(&hygiene, argument), None, "{argument}");
        }
    }

    #[test]
    fn a_limit_only_lowers() {
        assert_eq!(limited(1000).lower(Some(500)), Some(500));
        assert_eq!(limited(1000).lower(Some(5000)), Some(1000));
        assert_eq!(limited(1000).lower(None), Some(1000));
        assert_eq!(Hygiene::default().lower(None), None);
        let offered = Extensions { dsn: true, size: Some(None), ..Extensions::default() };
        assert_eq!(limited(1000).shown(offered).lines(), ["DSN", "SIZE 1000"]);
        assert_eq!(limited(1000).shown(Extensions { size: None, ..offered }).lines(), ["DSN"]);
        assert_eq!(hiding(&["SIZE", "dsn"]).shown(offered), Extensions::default());
    }
}
