//! The relay guard: a gateway whose address the backend trusts must not make it an open relay (spec §3.3).

use super::{
    command::behind_keyword,
    path::{self, Recipient},
    words,
};

/// Who may send mail to whom through a listener.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Guard {
    /// `require-auth`: MAIL before the backend accepted AUTH is refused (submission).
    pub require_auth: bool,
    /// `rcpt-domains`: without an accepted AUTH, RCPT to any other domain is refused. `None`: no check.
    pub rcpt_domains: Option<Vec<DomainPattern>>,
}

/// One entry of `rcpt-domains`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// `*`: every domain and every form of address.
    Any,
    /// `example.org`: this domain, in lower case.
    Exact(String),
    /// `*.example.org`: every domain below it (kept as `example.org`, in lower case).
    Below(String),
}

impl Guard {
    /// Judges MAIL of a client that is `logged_in` or not: the reply that refuses it, if it is refused.
    pub(super) fn refuses_mail(&self, logged_in: bool) -> Option<&'static str> {
        (self.require_auth && !logged_in).then_some(words::NEEDS_LOGIN)
    }

    /// Judges RCPT by its argument: the reply that refuses it, if it is refused. `utf8`: SMTPUTF8 was offered.
    pub(super) fn refuses_rcpt(&self, argument: &[u8], logged_in: bool, utf8: bool) -> Option<&'static str> {
        let patterns = self.rcpt_domains.as_ref().filter(|_| !logged_in)?;
        if patterns.contains(&DomainPattern::Any) {
            return None;
        }
        // An old server may drop the eighth bit, which makes `%` and `>` of others' letters.
        if !utf8 && !argument.is_ascii() {
            return Some(words::NO_UTF8);
        }
        match behind_keyword(argument, b"TO:").and_then(path::recipient) {
            None => Some(words::BAD_RECIPIENT),
            Some(Recipient::Postmaster) => None,
            Some(Recipient::Mailbox(domain)) if patterns.iter().any(|pattern| pattern.covers(domain)) => None,
            Some(Recipient::Mailbox(_) | Recipient::Elsewhere) => Some(words::NO_RELAY),
        }
    }
}

impl DomainPattern {
    /// Whether a domain, in any case, is one of these.
    fn covers(&self, domain: &str) -> bool {
        let domain: String = domain.chars().map(lower).collect();
        match self {
            Self::Any => true,
            Self::Exact(name) => domain == *name,
            Self::Below(name) => domain.strip_suffix(name.as_str()).is_some_and(|label| label.ends_with('.')),
        }
    }
}

/// A letter in lower case, unless it would change its alphabet by that: the Kelvin sign is no `k` to a server that
/// compares octets, and the domain with it is another one.
fn lower(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) if lower.is_ascii() == letter.is_ascii() => lower,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(patterns: &[DomainPattern]) -> Guard {
        Guard { require_auth: false, rcpt_domains: Some(patterns.to_vec()) }
    }

    #[test]
    fn only_permitted_domains_are_let_through() {
        let guard = guard(&[DomainPattern::Exact("example.org".into()), DomainPattern::Below("example.net".into())]);
        for argument in ["TO:<a@example.org>", "to: <a@EXAMPLE.Org>", "TO:<a@x.example.net>", "TO:<postmaster>"] {
            assert_eq!(guard.refuses_rcpt(argument.as_bytes(), false, false), None, "{argument}");
        }
        for argument in [
            "TO:<a@other.example>",
            "TO:<a@example.net>",
            "TO:<a@xexample.net>",
            "TO:<a@sub.example.org>",
            "TO:<a%other.example@example.org>",
            "TO:<a@example.org@other.example>",
        ] {
            assert_eq!(guard.refuses_rcpt(argument.as_bytes(), false, false), Some(words::NO_RELAY), "{argument}");
        }
        for argument in ["TO :<a@example.org>", "<a@example.org>", "FROM:<a@example.org>", "TO:\t<a@example.org", ""] {
            assert_eq!(guard.refuses_rcpt(argument.as_bytes(), false, false), Some(words::BAD_RECIPIENT), "{argument}");
        }
    }

    #[test]
    fn letters_beyond_ascii_need_smtputf8() {
        let guard = guard(&[DomainPattern::Exact("example.org".into())]);
        for argument in ["TO:<victim\u{e5}other.example@example.org>", "TO:<a@example.org> X=\u{e5}"] {
            assert_eq!(guard.refuses_rcpt(argument.as_bytes(), false, false), Some(words::NO_UTF8), "{argument}");
            assert_eq!(guard.refuses_rcpt(argument.as_bytes(), false, true), None, "{argument}");
        }
    }

    #[test]
    fn domains_of_other_alphabets_are_compared_in_any_case_and_never_taken_for_ascii() {
        let guard =
            guard(&[DomainPattern::Exact("k\u{fc}che.example".into()), DomainPattern::Below("kiosk.example".into())]);
        assert_eq!(guard.refuses_rcpt("TO:<a@K\u{dc}che.example>".as_bytes(), false, true), None);
        for domain in ["\u{212a}\u{fc}che.example", "a.\u{212a}iosk.example", "a.k\u{130}osk.example"] {
            let argument = format!("TO:<a@{domain}>");
            assert_eq!(guard.refuses_rcpt(argument.as_bytes(), false, true), Some(words::NO_RELAY), "{argument}");
        }
    }

    #[test]
    fn a_login_or_a_star_lets_everything_through() {
        let strict = guard(&[DomainPattern::Exact("example.org".into())]);
        assert_eq!(strict.refuses_rcpt(b"TO:<a@other.example>", true, false), None);
        let open = guard(&[DomainPattern::Any]);
        assert_eq!(open.refuses_rcpt(b"TO:@@@", false, false), None);
        assert_eq!(guard(&[]).refuses_rcpt(b"TO:<a@example.org>", false, false), Some(words::NO_RELAY));
        assert_eq!(Guard::default().refuses_rcpt(b"TO:<a@example.org>", false, false), None);
    }

    #[test]
    fn submission_needs_a_login() {
        let guard = Guard { require_auth: true, rcpt_domains: None };
        assert_eq!(guard.refuses_mail(false), Some(words::NEEDS_LOGIN));
        assert_eq!(guard.refuses_mail(true), None);
        assert_eq!(Guard::default().refuses_mail(false), None);
    }
}
