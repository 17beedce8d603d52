//! A reply that goes from one conversation into another: what the recipient's server said becomes what the sender hears.
//!
//! Promises that whatever a peer wrote, what is written from it is whole lines of printable ASCII within the length of
//! RFC 5321 §4.5.3.1.5, with an enhanced code of the reply's own class in each (RFC 2034 §4), and that it ends no other
//! session than its own.

use std::fmt;

use super::reply::Reply;

/// RFC 5321 §4.5.3.1.5: the octets of a reply line, the code and CRLF included.
const LONGEST_LINE: usize = 512;

/// What stands before the text: `550-5.999.999 `.
const LONGEST_FRONT: usize = 14;

/// Of a longer reply the rest is left out: a sender's log has no use for it.
const MOST_LINES: usize = 16;

/// A reply to a command, whoever makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    code: u16,
    /// RFC 3463: subject and detail. The class is the code's own.
    status: (u16, u16),
    /// The text of each line, behind both codes. Never empty.
    lines: Vec<String>,
}

impl Answer {
    /// A reply of mailward's own: the enhanced code is the class of `code`, and subject and detail by `status`. What
    /// `text` holds of others' words is made fit.
    #[must_use]
    pub fn new(code: u16, status: (u16, u16), text: &str) -> Self {
        Self { code, status, lines: vec![fit(text.as_bytes())] }
    }

    /// A reply whose `text` begins with its enhanced code, as [`Self::text`] has it.
    #[must_use]
    pub fn told(code: u16, text: &str) -> Self {
        let (status, rest) = enhanced(code / 100, text.as_bytes()).unwrap_or(((0, 0), text.as_bytes()));
        Self { code, status, lines: vec![fit(rest)] }
    }

    /// What a server said. RFC 3463 §2: where it has no enhanced code, or one of another class, x.0.0 stands for it.
    pub(super) fn from_reply(reply: &Reply<'_>) -> Self {
        let class = reply.class();
        let status = reply.texts().next().and_then(|text| enhanced(class, text)).map(|(status, _)| status);
        let bare =
            |text| enhanced(class, text).filter(|(found, _)| Some(*found) == status).map_or(text, |(_, rest)| rest);
        let lines = reply.texts().take(MOST_LINES).map(|text| fit(bare(text))).collect();
        Self { code: reply.code, status: status.unwrap_or_default(), lines }
    }

    /// The three digits.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The text of the first line.
    #[must_use]
    pub fn first_line(&self) -> &str {
        self.lines.first().map(String::as_str).unwrap_or_default()
    }

    /// Whether the command succeeded.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether trying again may help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// Whether trying again will not help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced code (RFC 3463), like `5.1.1`.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}.{}.{}", self.code / 100, self.status.0, self.status.1)
    }

    /// The enhanced code and the text, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.status(), self.lines.join(" / "))
    }

    /// The reply as the sender is told it, with who said it: `550 5.1.1 [mx.example.net] no such user`.
    ///
    /// RFC 5321 §3.8: 421 would say that the sender's own session ends, and it says no more here than 451 does.
    #[must_use]
    pub fn relayed(&self, name: &str) -> Self {
        let mut lines = self.lines.clone();
        if let Some(first) = lines.first_mut() {
            *first = fit(format!("{} {first}", in_brackets(name)).as_bytes());
        }
        Self { code: if self.code == 421 { 451 } else { self.code }, status: self.status, lines }
    }

    /// Writes it, CRLF at the end of each line.
    pub fn write(&self, output: &mut Vec<u8>) {
        let status = self.status();
        for (at, text) in self.lines.iter().enumerate() {
            let mark = if at + 1 < self.lines.len() { '-' } else { ' ' };
            output.extend_from_slice(format!("{}{mark}{status} {text}\r\n", self.code).as_bytes());
        }
    }
}

/// One line for the log.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

/// A host as replies name it. An address literal has its brackets.
#[must_use]
pub fn in_brackets(host: &str) -> String {
    if host.starts_with('[') { host.to_owned() } else { format!("[{host}]") }
}

/// The enhanced code at the front of a text, if it is one of this class, and what follows it.
fn enhanced(class: u16, text: &[u8]) -> Option<((u16, u16), &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let mut numbers = std::str::from_utf8(&text[..end]).ok()?.split('.');
    let (found, status) = (number(numbers.next()?)?, (number(numbers.next()?)?, number(numbers.next()?)?));
    (found == class && numbers.next().is_none()).then(|| (status, text[end..].trim_ascii_start()))
}

/// RFC 3463 §2: one to three digits.
fn number(digits: &str) -> Option<u16> {
    let sane = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    sane.then(|| digits.parse().ok()).flatten()
}

/// RFC 5321 §4.2: the text of a reply is printable ASCII and blanks. Beyond that it would need a sender that has
/// asked for it (RFC 6531 §3.7.4).
fn fit(text: &[u8]) -> String {
    let most = LONGEST_LINE - LONGEST_FRONT - "\r\n".len();
    let letter = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        b'\t' => ' ',
        _ => '?',
    };
    text.iter().take(most).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(reply: &str) -> Answer {
        Answer::from_reply(&Reply::first(reply.as_bytes()).unwrap().unwrap())
    }

    fn relayed(reply: &[u8]) -> String {
        let mut output = Vec::new();
        let answer = Answer::from_reply(&Reply::first(reply).unwrap().unwrap());
        answer.relayed("mx.example.net").write(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_reply_is_relayed_with_who_said_it() {
        for (said, told) in [
            ("250 2.1.5 ok\r\n", "250 2.1.5 [mx.example.net] ok\r\n"),
            ("550 no such user\r\n", "550 5.0.0 [mx.example.net] no such user\r\n"),
            ("451\r\n", "451 4.0.0 [mx.example.net] \r\n"),
            ("450 5.7.1 greylisted\r\n", "450 4.0.0 [mx.example.net] 5.7.1 greylisted\r\n"),
            ("550 5.7.1234 no\r\n", "550 5.0.0 [mx.example.net] 5.7.1234 no\r\n"),
            ("421 4.3.2 going down\r\n", "451 4.3.2 [mx.example.net] going down\r\n"),
            (
                "550-5.7.1 one\r\n550-5.7.1 two\r\n550-5.7.9 three\r\n550 four\r\n",
                "550-5.7.1 [mx.example.net] one\r\n550-5.7.1 two\r\n550-5.7.1 5.7.9 three\r\n550 5.7.1 four\r\n",
            ),
        ] {
            assert_eq!(relayed(said.as_bytes()), told, "{said}");
        }
    }

    #[test]
    fn an_address_is_in_brackets_once() {
        let told = answer("250 ok\r\n").relayed("[192.0.2.1]").to_string();
        assert_eq!(told, "250 2.0.0 [192.0.2.1] ok");
    }

    #[test]
    fn no_peer_writes_a_line_of_its_own() {
        assert_eq!(
            relayed(b"550 5.1.1 a\x1b[2J\rb\0c\tnon\xc3\xa9\n"),
            "550 5.1.1 [mx.example.net] a?[2J?b?c non??\r\n"
        );
    }

    #[test]
    fn no_line_is_longer_than_a_client_takes() {
        let lines: String = (0..99).map(|_| format!("550-5.999.999 {}\r\n", "x".repeat(600))).collect();
        let told = relayed(format!("{lines}550 5.999.999 end\r\n").as_bytes());
        let lines: Vec<&str> = told.split_inclusive("\r\n").collect();
        assert_eq!((lines.len(), lines.iter().map(|line| line.len()).max()), (MOST_LINES, Some(LONGEST_LINE)));
        assert!(lines[..15].iter().all(|line| line.starts_with("550-")) && lines[15].starts_with("550 "));
    }

    #[test]
    fn it_says_what_it_means() {
        let said = answer("452-4.5.3 too many\r\n452 4.5.3 later\r\n");
        assert_eq!(said.to_string(), "452 4.5.3 too many / later");
        assert_eq!(Answer::told(452, &said.text()).to_string(), said.to_string());
        assert_eq!(Answer::told(451, "no code").to_string(), "451 4.0.0 no code");
        assert_eq!((said.code(), said.status().as_str()), (452, "4.5.3"));
        assert!(said.is_temporary() && !said.is_positive() && !said.is_permanent());
    }
}
