//! The extensions that a plaintext client may be offered on the backend's behalf (spec §4.1).

use super::{path, reply::Reply};

/// The mechanisms that a client may be offered without TLS where the listener lets passwords pass there.
const MECHANISMS: [&str; 7] = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"];

/// Which of them a backend is known to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// SIZE (RFC 1870), with the limit in bytes if the backend named one.
    pub size: Option<Option<u64>>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// AUTH (RFC 4954), by the usual mechanisms.
    pub mechanisms: Mechanisms,
}

/// Which of the usual SASL mechanisms a backend lists behind AUTH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms([bool; MECHANISMS.len()]);

impl Extensions {
    /// What both have: all that can be offered while it is open which of two servers will take the session.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self {
            size: self.size.zip(other.size).map(|(ours, theirs)| smaller(ours, theirs)),
            eight_bit_mime: self.eight_bit_mime && other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 && other.smtp_utf8,
            dsn: self.dsn && other.dsn,
            pipelining: self.pipelining && other.pipelining,
            enhanced_status_codes: self.enhanced_status_codes && other.enhanced_status_codes,
            mechanisms: self.mechanisms.common(other.mechanisms),
        }
    }

    /// What a reply to EHLO or LHLO lists; nothing where it is a refusal.
    pub(super) fn listed_in(reply: &Reply<'_>) -> Self {
        let mut listed = Self::default();
        if reply.class() == 2 {
            reply.texts().skip(1).for_each(|text| listed.note(text.trim_ascii()));
        }
        listed
    }

    /// Notes what one line of a list names.
    pub(super) fn note(&mut self, text: &[u8]) {
        let mut words = text.split(|byte| *byte == b' ');
        match words.next().unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"SIZE" => self.size = Some(words.next().and_then(limit)),
            b"8BITMIME" => self.eight_bit_mime = true,
            b"SMTPUTF8" => self.smtp_utf8 = true,
            b"DSN" => self.dsn = true,
            b"PIPELINING" => self.pipelining = true,
            b"ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            b"AUTH" => words.for_each(|word| self.mechanisms.note(word)),
            _ => {}
        }
    }

    /// The lines of a reply to EHLO that offer them.
    pub(super) fn lines(&self) -> Vec<String> {
        let size = self.size.map(|limit| limit.map_or_else(|| "SIZE".to_owned(), |limit| format!("SIZE {limit}")));
        let flags = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtp_utf8, "SMTPUTF8"),
            (self.dsn, "DSN"),
            (self.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        ];
        let named = flags.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned());
        named.chain(size).collect()
    }

    /// What this has and `other` has not.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            size: self.size.filter(|_| other.size.is_none()),
            eight_bit_mime: self.eight_bit_mime && !other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 && !other.smtp_utf8,
            dsn: self.dsn && !other.dsn,
            pipelining: self.pipelining && !other.pipelining,
            enhanced_status_codes: self.enhanced_status_codes && !other.enhanced_status_codes,
            // Whether a login works is for the backend to say, in reply to it.
            mechanisms: Mechanisms::default(),
        }
    }

    /// Whether the argument of a MAIL or RCPT makes use of one of them.
    pub(super) fn used_by(&self, argument: &[u8]) -> bool {
        path::parameters(argument).any(|parameter| match offered_by(parameter).as_slice() {
            b"SIZE" => self.size.is_some(),
            b"8BITMIME" => self.eight_bit_mime,
            b"SMTPUTF8" => self.smtp_utf8,
            b"DSN" => self.dsn,
            _ => false,
        })
    }
}

/// The keyword of EHLO that stands for a parameter of MAIL or RCPT, in upper case: most often the parameter's own.
pub(super) fn offered_by(parameter: &[u8]) -> Vec<u8> {
    let parameter = parameter.to_ascii_uppercase();
    match parameter.split(|byte| *byte == b'=').next().unwrap_or_default() {
        b"BODY" if parameter.ends_with(b"=BINARYMIME") => b"BINARYMIME".to_vec(),
        b"BODY" => b"8BITMIME".to_vec(),
        b"RET" | b"ENVID" | b"NOTIFY" | b"ORCPT" => b"DSN".to_vec(),
        // RFC 2852 §3
        b"BY" => b"DELIVERBY".to_vec(),
        // RFC 4865 §4
        b"HOLDFOR" | b"HOLDUNTIL" => b"FUTURERELEASE".to_vec(),
        keyword => keyword.to_vec(),
    }
}

impl Mechanisms {
    fn common(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] && other.0[at]))
    }

    fn note(&mut self, word: &[u8]) {
        for (listed, name) in self.0.iter_mut().zip(MECHANISMS) {
            *listed |= word.eq_ignore_ascii_case(name.as_bytes());
        }
    }

    /// The line of a reply to EHLO that offers them, if there are any.
    pub(super) fn line(self) -> Option<String> {
        let listed = self.0.iter().zip(MECHANISMS).filter(|(listed, _)| **listed);
        let line = listed.fold("AUTH".to_owned(), |line, (_, name)| line + " " + name);
        self.0.contains(&true).then_some(line)
    }
}

/// RFC 1870 §3: 0 says that there is no fixed limit, which a lone SIZE says too.
pub(super) fn limit(digits: &[u8]) -> Option<u64> {
    let limit = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (limit > 0).then_some(limit)
}

fn smaller(ours: Option<u64>, theirs: Option<u64>) -> Option<u64> {
    ours.into_iter().chain(theirs).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(reply: &str) -> Extensions {
        Extensions::listed_in(&Reply::first(reply.as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn a_sloppy_list_is_understood() {
        let found =
            listed("250-SIZE dsn greets you\r\n250-size 1000 \n250-8bitmime\t\r\n250-Pipelining\r\n250 XFOO\r\n");
        let expected =
            Extensions { size: Some(Some(1000)), eight_bit_mime: true, pipelining: true, ..Extensions::default() };
        assert_eq!(found, expected);
        assert_eq!(listed("250-x\r\n250 SIZE 0\r\n").size, Some(None));
        assert_eq!(listed("502-x\r\n502 DSN\r\n"), Extensions::default());
    }

    #[test]
    fn only_what_all_have_is_common() {
        let one = listed("250-x\r\n250-SIZE 1000\r\n250-DSN\r\n250 PIPELINING\r\n");
        let two = listed("250-x\r\n250-SIZE\r\n250-DSN\r\n250 8BITMIME\r\n");
        assert_eq!(one.common(two).lines(), ["DSN", "SIZE 1000"]);
        assert_eq!(one.without(two).lines(), ["PIPELINING"]);
    }

    #[test]
    fn mechanisms_are_those_that_all_have_and_that_can_pass() {
        let one = listed("250-x\r\n250-AUTH login PLAIN CRAM-MD5 SCRAM-SHA-256-PLUS EXTERNAL\r\n250 AUTH=LOGIN\r\n");
        assert_eq!(one.mechanisms.line().as_deref(), Some("AUTH PLAIN LOGIN CRAM-MD5"));
        let two = listed("250-x\r\n250 AUTH PLAIN GSSAPI\r\n");
        assert_eq!(one.common(two).mechanisms.line().as_deref(), Some("AUTH PLAIN"));
        assert_eq!(listed("250-x\r\n250 AUTH GSSAPI\r\n").mechanisms.line(), None);
        assert!(!one.lines().iter().any(|line| line.contains("AUTH")));
    }

    #[test]
    fn the_use_of_an_extension_shows_in_the_parameters() {
        let gone = Extensions { dsn: true, size: Some(None), ..Extensions::default() };
        assert!(gone.used_by(b"FROM:<a@b> size=10"));
        assert!(gone.used_by(b"TO:<a@b> NOTIFY=NEVER"));
        assert!(!gone.used_by(b"FROM:<a@b> BODY=8BITMIME SMTPUTF8"));
    }
}
