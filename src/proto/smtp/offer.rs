//! What a client is offered inside TLS: the backend's live list, filtered (spec §4.2).
//!
//! Parses leniently (lower case, `AUTH=LOGIN`, blanks at the end), writes strictly, invents nothing. What is taken out
//! here is also refused as a command: [`Offer::lists`] is asked before any verb beyond RFC 5321's own goes on.

use super::{
    extensions,
    hygiene::Hygiene,
    reply::{Reply, write_lines},
};
use crate::proto::{Leg, sasl};

/// Extensions that do not work through a gateway, beside every keyword that begins with X: TLS ends here
/// (STARTTLS), BURL needs a trust that the backend does not have in us, SEND, SOML and SAML begin a
/// message without MAIL, TURN and ATRN swap client and server, and with PRDR a message has more than one reply.
const HIDDEN: [&str; 9] = ["STARTTLS", "BURL", "SEND", "SOML", "SAML", "TURN", "ATRN", "LHLO", "PRDR"];

/// What the two legs of a session permit a client to be offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    /// AUTH: the client may say a password.
    pub(super) login: bool,
    /// Which mechanisms stand behind it.
    pub(super) leg: Leg,
    /// REQUIRETLS (RFC 8689 §2): both legs are TLS, so that a promise of it can be kept.
    pub(super) require_tls: bool,
}

/// The keywords that stood in the reply that the client was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    keywords: Box<str>,
    /// How large the backend says that a message may be, in octets as a client counts them.
    largest: Option<u64>,
}

impl Offer {
    /// What an unencrypted client was offered by the greeter, as far as it bears on commands.
    pub(super) fn in_plaintext(login: bool, utf8: bool) -> Self {
        let keywords = [(login, "AUTH"), (utf8, "SMTPUTF8")];
        let offered: Vec<_> = keywords.into_iter().filter(|(has, _)| *has).map(|(_, keyword)| keyword).collect();
        Self { keywords: offered.join(" ").into(), largest: None }
    }

    /// Writes a successful reply to EHLO or LHLO as the client may see it, and remembers what is in it.
    pub(super) fn filter(reply: &Reply<'_>, permit: Permit, hygiene: &Hygiene, output: &mut Vec<u8>) -> Self {
        let extensions: Vec<_> = reply.texts().skip(1).filter_map(|text| Extension::parse(text, permit)).collect();
        let largest = extensions.iter().filter_map(|extension| hygiene.lower(extension.size())).min();
        let shown = extensions.into_iter().filter(|extension| !hygiene.hides(extension.keyword.as_bytes()));
        let listed: Vec<_> = shown.map(|extension| extension.limited(hygiene)).collect();
        let name = reply.texts().next().unwrap_or_default();
        let lines: Vec<_> = listed.iter().map(|extension| extension.line.as_slice()).collect();
        write_lines(reply.code, std::iter::once(name).chain(lines), output);
        let keywords: Vec<_> = listed.iter().map(|extension| extension.keyword.as_str()).collect();
        Self { keywords: keywords.join(" ").into(), largest }
    }

    /// The largest message that the backend takes, or the listener, if either says so.
    pub(super) const fn largest(&self) -> Option<u64> {
        self.largest
    }

    /// Whether a keyword, in any case, is on the list.
    pub(super) fn lists(&self, keyword: &[u8]) -> bool {
        self.keywords.split(' ').any(|listed| !listed.is_empty() && keyword.eq_ignore_ascii_case(listed.as_bytes()))
    }

    /// Whether a parameter of MAIL or RCPT belongs to something that is hidden, or that cannot be promised here: a
    /// backend that believes mailward's address would believe the client.
    pub(super) fn withholds(&self, parameter: &[u8], hygiene: &Hygiene) -> bool {
        let keyword = extensions::offered_by(parameter);
        let is_broken_promise = keyword == b"REQUIRETLS" && !self.lists(&keyword);
        is_hidden(&keyword) || hygiene.hides(&keyword) || is_broken_promise
    }
}

/// Whether a backend's reply offers a way to log in that a client with this leg could use through mailward.
pub(super) fn has_login(reply: &Reply<'_>, leg: Leg) -> bool {
    let permit = Permit { login: true, leg, require_tls: false };
    reply.texts().skip(1).filter_map(|text| Extension::parse(text, permit)).any(|extension| extension.keyword == "AUTH")
}

/// One line of the list that may be shown.
struct Extension {
    keyword: String,
    line: Vec<u8>,
}

impl Extension {
    fn parse(text: &[u8], permit: Permit) -> Option<Self> {
        let text = text.trim_ascii();
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'=')).unwrap_or(text.len());
        let keyword = keyword(&text[..end])?;
        let line = match keyword.as_str() {
            "AUTH" if permit.login => mechanisms(&text[..end], &text[end..], permit.leg)?,
            "AUTH" => return None,
            "REQUIRETLS" if !permit.require_tls => return None,
            _ if text.get(end) == Some(&b'=') => return None,
            _ => text.to_vec(),
        };
        Some(Self { keyword, line })
    }

    /// The limit that SIZE names, if it is that and names one.
    fn size(&self) -> Option<u64> {
        let value = self.line.get("SIZE ".len()..).filter(|_| self.keyword == "SIZE")?;
        extensions::limit(value.trim_ascii())
    }

    /// RFC 1870 §4: SIZE with a limit of ours, where that is the lower one.
    fn limited(self, hygiene: &Hygiene) -> Self {
        if self.keyword != "SIZE" {
            return self;
        }
        let own = self.size();
        match hygiene.lower(own) {
            Some(limit) if own != Some(limit) => Self { line: format!("SIZE {limit}").into_bytes(), ..self },
            _ => self,
        }
    }
}

/// RFC 5321 §4.1.1.1: a keyword is made of letters, digits and hyphens.
fn keyword(word: &[u8]) -> Option<String> {
    let sane = word.first().is_some_and(u8::is_ascii_alphanumeric)
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let keyword = String::from_utf8(word.to_ascii_uppercase()).ok().filter(|_| sane)?;
    (!is_hidden(keyword.as_bytes())).then_some(keyword)
}

/// Whether a keyword in upper case is one that no client is offered.
fn is_hidden(keyword: &[u8]) -> bool {
    keyword.starts_with(b"X") || HIDDEN.iter().any(|hidden| hidden.as_bytes() == keyword)
}

/// `AUTH PLAIN …`, or `AUTH=PLAIN …` as old clients want it, without what cannot pass; `None` if nothing is left.
fn mechanisms(keyword: &[u8], list: &[u8], leg: Leg) -> Option<Vec<u8>> {
    let (mark, list) = list.split_first()?;
    let passing: Vec<_> = sasl::passing(list, leg).collect();
    let mark = if *mark == b'=' { b"=" } else { b" " };
    (!passing.is_empty()).then(|| [keyword, mark, &passing.join(b" ".as_slice())].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(reply: &str, login: bool) -> (Offer, String) {
        filtered_by(&Hygiene::default(), reply, login)
    }

    fn filtered_by(hygiene: &Hygiene, reply: &str, login: bool) -> (Offer, String) {
        permitted(Permit { login, leg: Leg::Tls, require_tls: false }, hygiene, reply)
    }

    fn permitted(permit: Permit, hygiene: &Hygiene, reply: &str) -> (Offer, String) {
        let mut output = Vec::new();
        let offer = Offer::filter(&Reply::first(reply.as_bytes()).unwrap().unwrap(), permit, hygiene, &mut output);
        (offer, String::from_utf8(output).unwrap())
    }

    #[test]
    fn what_the_operator_hides_is_taken_out_too() {
        let hygiene = Hygiene { hidden: vec!["CHUNKING".into(), "AUTH".into()], ..Hygiene::default() };
        let reply = "250-host\r\n250-chunking\r\n250-BINARYMIME\r\n250-AUTH=PLAIN\r\n250-AUTH PLAIN\r\n250 DSN\r\n";
        let (offer, shown) = filtered_by(&hygiene, reply, true);
        assert_eq!(shown, "250-host\r\n250 DSN\r\n");
        assert!(!offer.lists(b"CHUNKING") && !offer.lists(b"AUTH"));
    }

    #[test]
    fn a_limit_lowers_the_size_and_invents_none() {
        let hygiene = Hygiene { largest: Some(1000), ..Hygiene::default() };
        for (own, shown) in [
            ("SIZE 5000", "SIZE 1000"),
            ("size 500", "size 500"),
            ("SIZE 1000", "SIZE 1000"),
            ("SIZE", "SIZE 1000"),
            ("SIZE 0", "SIZE 1000"),
            ("SIZE lots", "SIZE 1000"),
            ("DSN", "DSN"),
        ] {
            assert_eq!(
                filtered_by(&hygiene, &format!("250-x\r\n250 {own}\r\n"), true).1,
                format!("250-x\r\n250 {shown}\r\n")
            );
        }
    }

    #[test]
    fn what_cannot_pass_is_taken_out() {
        let (offer, shown) = filtered(
            "250-mx.example.org greets you\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-XCLIENT NAME ADDR\r\n250-x-exps GSSAPI\r\n\
             250-BURL imap\r\n250-REQUIRETLS\r\n250-AUTH PLAIN SCRAM-SHA-256-PLUS EXTERNAL SCRAM-SHA-256\r\n\
             250-ETRN\r\n250-TURN\r\n250 Size 1000\r\n",
            true,
        );
        assert_eq!(
            shown,
            "250-mx.example.org greets you\r\n250-PIPELINING\r\n250-AUTH PLAIN SCRAM-SHA-256\r\n250-ETRN\r\n250 Size 1000\r\n"
        );
        assert!(offer.lists(b"etrn") && offer.lists(b"SIZE") && offer.lists(b"AUTH"));
        for hidden in ["STARTTLS", "XCLIENT", "X-EXPS", "BURL", "TURN", "", "MX.EXAMPLE.ORG"] {
            assert!(!offer.lists(hidden.as_bytes()), "{hidden}");
        }
    }

    #[test]
    fn a_promise_of_tls_is_listed_where_it_can_be_kept() {
        let reply = Reply::first(b"250-mx\r\n250-requiretls\r\n250 SIZE\r\n").unwrap().unwrap();
        for require_tls in [true, false] {
            let permit = Permit { login: true, leg: Leg::Tls, require_tls };
            let offer = Offer::filter(&reply, permit, &Hygiene::default(), &mut Vec::new());
            assert_eq!(offer.lists(b"REQUIRETLS"), require_tls);
        }
    }

    #[test]
    fn a_sloppy_list_is_written_strictly() {
        let (offer, shown) = filtered(
            "250-host\n250-\n250-auth=login external \n250-AUTH login  plain\t\n250-Welcome, friend!\n250-SIZE=10\n250 chunking \n",
            true,
        );
        assert_eq!(shown, "250-host\r\n250-auth=login\r\n250-AUTH login plain\r\n250 chunking\r\n");
        assert!(offer.lists(b"CHUNKING"));
    }

    #[test]
    fn a_client_with_a_certificate_is_offered_to_log_in_by_it() {
        let permit = Permit { login: true, leg: Leg::Certified, require_tls: false };
        let reply = "250-host\r\n250-AUTH=EXTERNAL\r\n250 AUTH PLAIN EXTERNAL SCRAM-SHA-1-PLUS\r\n";
        let (offer, shown) = permitted(permit, &Hygiene::default(), reply);
        assert_eq!(shown, "250-host\r\n250-AUTH=EXTERNAL\r\n250 AUTH PLAIN EXTERNAL\r\n");
        assert!(offer.lists(b"AUTH"));
        let alone = Reply::first(b"250-host\r\n250 AUTH EXTERNAL\r\n").unwrap().unwrap();
        assert!(has_login(&alone, Leg::Certified) && !has_login(&alone, Leg::Tls));
    }

    #[test]
    fn auth_goes_where_nothing_of_it_is_left_or_the_client_may_not_log_in() {
        let reply = "250-host\r\n250-AUTH EXTERNAL SCRAM-SHA-1-PLUS\r\n250-AUTH\r\n250 AUTH=external\r\n";
        assert_eq!(filtered(reply, true).1, "250 host\r\n");
        let (offer, shown) = filtered("250-host\r\n250 AUTH PLAIN\r\n", false);
        assert_eq!((shown.as_str(), offer), ("250 host\r\n", Offer::default()));
    }
}
