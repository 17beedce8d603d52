//! SMTP and LMTP commands: text to values, and the reply that a bad one gets.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{embedded::login, proto::line};

/// A command that can be obeyed, or refused for where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello(Hello),
    Mail {
        size: Option<u64>,
    },
    /// The account that the recipient's address means.
    Rcpt(String),
    Data,
    Bdat(Chunk),
    Auth {
        mechanism: Mechanism,
        initial: Option<Vec<u8>>,
    },
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// How a client introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    Ehlo,
    Helo,
    Lhlo,
}

/// One chunk of a message (RFC 3030 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) size: u64,
    pub(super) last: bool,
}

/// The mechanisms that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Login,
}

/// A whole reply line.
pub(super) type Reply = &'static str;

const SYNTAX: Reply = "501 5.5.4 syntax error in the arguments";
const BAD_PATH: Reply = "501 5.1.7 an address looks like <ann@example.org>";
const BAD_RECIPIENT: Reply = "553 5.1.3 not a mailbox name";
const UNKNOWN_PARAMETER: Reply = "555 5.5.4 parameter not recognized";
const UNKNOWN: Reply = "500 5.5.1 command not recognized";

/// What a line asks for, or the reply to it.
pub(super) fn parse(text: &[u8]) -> Result<Command, Reply> {
    let (verb, rest) = line::word(text);
    let rest = rest.trim_ascii();
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => hello(Hello::Ehlo, rest),
        b"HELO" => hello(Hello::Helo, rest),
        b"LHLO" => hello(Hello::Lhlo, rest),
        b"MAIL" => mail(rest),
        b"RCPT" => rcpt(rest),
        b"DATA" => alone(Command::Data, rest),
        b"BDAT" => bdat(rest),
        b"AUTH" => auth(rest),
        b"RSET" => alone(Command::Rset, rest),
        b"QUIT" => alone(Command::Quit, rest),
        b"NOOP" => Ok(Command::Noop),
        b"VRFY" => Ok(Command::Vrfy),
        b"HELP" => Ok(Command::Help),
        b"EXPN" | b"STARTTLS" | b"TURN" | b"ETRN" => Err("502 5.5.1 command not implemented"),
        _ => Err(UNKNOWN),
    }
}

/// The bytes of a base64 line; `=` stands for none (RFC 4954 §4).
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Reply> {
    if text == b"=" {
        return Ok(Vec::new());
    }
    STANDARD.decode(text).map_err(|_| "501 5.5.2 not base64")
}

fn alone(command: Command, rest: &[u8]) -> Result<Command, Reply> {
    rest.is_empty().then_some(command).ok_or(SYNTAX)
}

fn hello(hello: Hello, rest: &[u8]) -> Result<Command, Reply> {
    if rest.is_empty() { Err("501 5.5.4 a name is missing") } else { Ok(Command::Hello(hello)) }
}

fn mail(rest: &[u8]) -> Result<Command, Reply> {
    let (_, parameters) = path(rest, b"FROM:")?;
    let mut size = None;
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.to_ascii_uppercase().as_str() {
            "SIZE" => size = Some(value.parse().map_err(|_| SYNTAX)?),
            "BODY" if ["7BIT", "8BITMIME"].iter().any(|body| body.eq_ignore_ascii_case(value)) => {}
            "BODY" => return Err(SYNTAX),
            "SMTPUTF8" | "AUTH" => {}
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    Ok(Command::Mail { size })
}

fn rcpt(rest: &[u8]) -> Result<Command, Reply> {
    let (path, parameters) = path(rest, b"TO:")?;
    if !parameters.is_empty() {
        return Err(UNKNOWN_PARAMETER);
    }
    // RFC 5321 §4.1.1.3: a source route is ignored.
    let address = if path.starts_with('@') { path.split_once(':').map_or("", |(_, rest)| rest) } else { path };
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    login::named(&unquote(local)).map(Command::Rcpt).ok_or(BAD_RECIPIENT)
}

fn bdat(rest: &[u8]) -> Result<Command, Reply> {
    let text = std::str::from_utf8(rest).map_err(|_| SYNTAX)?;
    let (size, end) = text.split_once(' ').unwrap_or((text, ""));
    let last = end.trim_ascii().eq_ignore_ascii_case("LAST");
    if !last && !end.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SYNTAX);
    }
    size.parse().map(|size| Command::Bdat(Chunk { size, last })).map_err(|_| SYNTAX)
}

fn auth(rest: &[u8]) -> Result<Command, Reply> {
    let (name, initial) = line::word(rest);
    let mechanism = match name.to_ascii_uppercase().as_slice() {
        b"PLAIN" => Mechanism::Plain,
        b"LOGIN" => Mechanism::Login,
        _ => return Err("504 5.5.4 mechanism not offered"),
    };
    let initial = if initial.is_empty() { None } else { Some(decode(initial)?) };
    Ok(Command::Auth { mechanism, initial })
}

/// What stands between `<` and `>`, and what follows.
fn path<'a>(rest: &'a [u8], keyword: &[u8]) -> Result<(&'a str, &'a str), Reply> {
    let text = rest.split_at_checked(keyword.len()).filter(|(found, _)| found.eq_ignore_ascii_case(keyword));
    let text = text.map(|(_, text)| text).ok_or(SYNTAX)?;
    let text = std::str::from_utf8(text).map_err(|_| BAD_PATH)?.trim_ascii_start();
    let inner = text.strip_prefix('<').ok_or(BAD_PATH)?;
    let end = path_end(inner).ok_or(BAD_PATH)?;
    let (path, parameters) = inner.split_at(end);
    Ok((path, parameters.trim_start_matches('>').trim_ascii()))
}

/// Where the first `>` is that does not stand in a quoted string.
fn path_end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// A local part without its quotes (RFC 5321 §4.1.2: quoted or not, it is the same name).
fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rcpt_of(text: &str) -> Result<Command, Reply> {
        parse(format!("RCPT TO:{text}").as_bytes())
    }

    #[test]
    fn a_recipient_is_its_local_part() {
        let account = |name: &str| Ok(Command::Rcpt(name.into()));
        assert_eq!(rcpt_of("<Ann@example.org>"), account("ann"));
        assert_eq!(rcpt_of(" <ann>"), account("ann"));
        assert_eq!(rcpt_of("<@a.example,@b.example:ann@example.org>"), account("ann"));
        assert_eq!(rcpt_of(r#"<"a > b"@example.org>"#), account("a > b"));
        assert_eq!(rcpt_of(r#"<"a\"\\b"@example.org>"#), account(r#"a"\b"#));
        assert_eq!(rcpt_of("<>"), Err(BAD_RECIPIENT));
        assert_eq!(rcpt_of("<ann@example.org"), Err(BAD_PATH));
        assert_eq!(rcpt_of("ann@example.org"), Err(BAD_PATH));
        assert_eq!(rcpt_of("<ann@example.org> NOTIFY=NEVER"), Err(UNKNOWN_PARAMETER));
        assert_eq!(parse(b"RCPT FOR:<ann>"), Err(SYNTAX));
    }

    #[test]
    fn mail_knows_the_parameters_that_are_offered() {
        let all = b"mail from:<> SIZE=42 BODY=8bitmime SMTPUTF8 AUTH=<>";
        assert_eq!(parse(all), Ok(Command::Mail { size: Some(42) }));
        assert_eq!(parse(b"MAIL FROM:<ann@example.org>"), Ok(Command::Mail { size: None }));
        assert_eq!(parse(b"MAIL FROM:<> BODY=BINARYMIME"), Err(SYNTAX));
        assert_eq!(parse(b"MAIL FROM:<> SIZE=-1"), Err(SYNTAX));
        assert_eq!(parse(b"MAIL FROM:<> RET=HDRS"), Err(UNKNOWN_PARAMETER));
    }

    #[test]
    fn bdat_has_a_size_and_perhaps_last() {
        assert_eq!(parse(b"BDAT 10"), Ok(Command::Bdat(Chunk { size: 10, last: false })));
        assert_eq!(parse(b"bdat 0 last"), Ok(Command::Bdat(Chunk { size: 0, last: true })));
        assert_eq!(parse(b"BDAT"), Err(SYNTAX));
        assert_eq!(parse(b"BDAT 1 2"), Err(SYNTAX));
        assert_eq!(parse(b"BDAT +1"), Err(SYNTAX));
        assert_eq!(parse(b"BDAT 99999999999999999999"), Err(SYNTAX));
    }

    #[test]
    fn auth_may_bring_its_first_response() {
        let plain = |initial: Option<&[u8]>| {
            Ok(Command::Auth { mechanism: Mechanism::Plain, initial: initial.map(<[u8]>::to_vec) })
        };
        assert_eq!(parse(b"AUTH PLAIN AGFubgB4"), plain(Some(b"\0ann\0x")));
        assert_eq!(parse(b"AUTH PLAIN ="), plain(Some(b"")));
        assert_eq!(parse(b"AUTH plain"), plain(None));
        assert!(parse(b"AUTH PLAIN !").is_err());
        assert!(parse(b"AUTH EXTERNAL").is_err());
    }

    #[test]
    fn commands_without_arguments_take_none() {
        assert_eq!(parse(b"data "), Ok(Command::Data));
        assert_eq!(parse(b"DATA now"), Err(SYNTAX));
        assert_eq!(parse(b"EHLO"), Err("501 5.5.4 a name is missing"));
        assert_eq!(parse(b""), Err(UNKNOWN));
    }
}
