//! A recipient's address (RFC 5321 §4.1.2), read strictly enough to say where the message would go.
//!
//! Promises that [`Recipient::Mailbox`] is an address which no server can take for one in another domain. Every form
//! that routes a message on (`@a:u@b`, `u%b@a`, `b!u@a`, `"u@b"@a`, `IMCEASMTP-u+40b@a`) is [`Recipient::Elsewhere`],
//! and what is not clearly an address is none.

use memchr::{memchr, memchr2};

/// Where a recipient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipient<'a> {
    /// A local part, and this domain.
    Mailbox(&'a str),
    /// `<postmaster>`, which every server takes (RFC 5321 §4.5.1).
    Postmaster,
    /// Anywhere: routed, without a domain, or at an address literal.
    Elsewhere,
}

/// Reads what follows `TO:`; `None` where it cannot be an address, or parameters are malformed.
pub(super) fn recipient(path: &[u8]) -> Option<Recipient<'_>> {
    let (address, parameters) = match path.strip_prefix(b"<") {
        Some(inside) => bracketed(inside)?,
        None => bare(path),
    };
    let address = std::str::from_utf8(address).ok().filter(|_| are_parameters(parameters))?;
    mailbox(address)
}

/// What stands behind the address of MAIL or RCPT, word by word; all words where a server might see its end elsewhere.
pub(super) fn parameters(argument: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = memchr(b':', argument).map(|colon| argument[colon + 1..].trim_ascii_start());
    let behind = path.filter(|path| !path.contains(&b'"')).and_then(|path| match path.strip_prefix(b"<") {
        Some(inside) => bracketed(inside).map(|(_, behind)| behind),
        None => Some(bare(path).1),
    });
    behind.unwrap_or(argument).split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// The address up to its `>`, quoted ones skipped, and what follows.
pub(super) fn bracketed(inside: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut quoted = false;
    let mut bytes = inside.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => drop(bytes.next()),
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some((&inside[..at], &inside[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Without brackets an address ends at the first blank.
fn bare(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(memchr(b' ', path).unwrap_or(path.len()))
}

/// RFC 5321 §4.1.2: each parameter is a keyword, maybe with a value, behind a blank.
fn are_parameters(text: &[u8]) -> bool {
    let mut words = text.split(|byte| *byte == b' ');
    words.next() == Some(b"") && words.all(is_parameter)
}

fn is_parameter(word: &[u8]) -> bool {
    let (keyword, value) = word.split_at(memchr(b'=', word).unwrap_or(word.len()));
    let sane = keyword.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    // A blank too many leaves an empty word; a value without keyword is none.
    sane && (!keyword.is_empty() || value.is_empty()) && memchr2(b'<', b'>', value).is_none()
}

fn mailbox(address: &str) -> Option<Recipient<'_>> {
    if address.starts_with('@') {
        return Some(Recipient::Elsewhere);
    }
    let (routed, rest) = match address.strip_prefix('"') {
        Some(quoted) => quoted_local(quoted)?,
        None => dotted_local(address)?,
    };
    match rest.strip_prefix('@') {
        None if rest.is_empty() && address.eq_ignore_ascii_case("postmaster") => Some(Recipient::Postmaster),
        None => rest.is_empty().then_some(Recipient::Elsewhere),
        Some(domain) if routed || domain.contains(['@', '%', '!']) => Some(Recipient::Elsewhere),
        Some(domain) => place(domain),
    }
}

/// Whether a local part without quotes asks for a route, and what follows it.
pub(super) fn dotted_local(address: &str) -> Option<(bool, &str)> {
    let (local, rest) = address.split_at(address.find('@').unwrap_or(address.len()));
    // Dots in any place: Japanese providers gave away such addresses, and they cannot be misread.
    let sane = !local.is_empty() && local.chars().all(|letter| is_atom(letter) || letter == '.');
    sane.then(|| (is_routed(local), rest))
}

/// Whether some server reads another address out of a local part.
fn is_routed(local: &str) -> bool {
    // Behind the first three: the wide and small letters that a normalization of Unicode makes the same of.
    const MARKS: [char; 9] = ['@', '%', '!', '\u{ff20}', '\u{fe6b}', '\u{ff05}', '\u{fe6a}', '\u{ff01}', '\u{fe57}'];
    local.contains(MARKS) || is_encapsulated(local.trim_start())
}

/// Exchange unwraps `IMCEASMTP-u+40b+2Ecom@a` and its like (MS99-027) and sends the message on to `u@b.com`, for
/// whomever it trusts. IMCEAEX alone names somebody in its own directory.
fn is_encapsulated(local: &str) -> bool {
    let named = |prefix: &str| local.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix));
    named("IMCEA") && !named("IMCEAEX-")
}

/// The same for one in quotes, of which `quoted` is what follows the first. A quoted pair might be read
/// otherwise by a careless server, so that it counts as a route too.
pub(super) fn quoted_local(quoted: &str) -> Option<(bool, &str)> {
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => {
                let (local, rest) = (&quoted[..at], &quoted[at + 1..]);
                return Some((is_routed(local) || local.contains([':', ',', ';', '<', '>', '\\']), rest));
            }
            _ => {}
        }
    }
    None
}

/// RFC 5321 §4.1.3: an address literal names a host, and none is permitted. RFC 6531 §3.3: letters beyond ASCII.
fn place(domain: &str) -> Option<Recipient<'_>> {
    if domain.starts_with('[') {
        return domain.ends_with(']').then_some(Recipient::Elsewhere);
    }
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || !c.is_ascii())
    };
    domain.split('.').all(label).then_some(Recipient::Mailbox(domain))
}

/// RFC 5322 §3.2.3, RFC 6531 §3.3.
fn is_atom(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter) || !letter.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_address_names_its_domain() {
        for path in [
            "<a@example.org>",
            "<a.b+c/d=e@example.org> NOTIFY=NEVER ORCPT=rfc822;a@example.net",
            "<..a.@example.org>",
            "<\"john doe\"@example.org>",
            "<IMCEAEX-_O=ORG_OU=SITE_cn=a@example.org>",
            "<j\u{f6}rg@example.org> SMTPUTF8",
            "a@example.org",
            "a@example.org NOTIFY=NEVER",
            "<a@example.org>  NOTIFY=NEVER ",
        ] {
            assert_eq!(recipient(path.as_bytes()), Some(Recipient::Mailbox("example.org")), "{path}");
        }
        assert_eq!(recipient(b"<POSTmaster>"), Some(Recipient::Postmaster));
        assert_eq!(recipient("<a@b\u{fc}cher.example>".as_bytes()), Some(Recipient::Mailbox("b\u{fc}cher.example")));
    }

    #[test]
    fn parameters_stand_behind_the_address() {
        let of = |argument: &str| -> Vec<String> {
            parameters(argument.as_bytes()).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        assert_eq!(of("FROM:<x@y> SIZE=1  XA"), ["SIZE=1", "XA"]);
        assert_eq!(of("FROM: xavier@y SIZE=1"), ["SIZE=1"]);
        assert_eq!(of("TO:<\"a> XA\"@y>"), ["TO:<\"a>", "XA\"@y>"]);
        assert_eq!(of("TO:<a XA"), ["TO:<a", "XA"]);
    }

    #[test]
    fn every_routed_form_leads_elsewhere() {
        for path in [
            "<@one.example:a@example.org>",
            "<@one.example,@two.example:a@example.org>",
            "<a%other.example@example.org>",
            "<other.example!a@example.org>",
            "<a@other.example@example.org>",
            "<a@other.example%example.org>",
            "<\"a@other.example\"@example.org>",
            "<\"a\\@other.example\"@example.org>",
            "<\"a%other.example\"@example.org>",
            "<\"other.example!a\"@example.org>",
            "<\"\\\"a\"@example.org>",
            "<IMCEASMTP-a+40other+2Eexample@example.org>",
            "<imceasmtp-a+40other+2Eexample@example.org>",
            "<\"IMCEAX400-c=x\"@example.org>",
            "<\" IMCEASMTP-a+40other+2Eexample\"@example.org>",
            "<a\u{ff20}other.example@example.org>",
            "<a\u{ff05}other.example@example.org>",
            "<a@[192.0.2.1]>",
            "<a@[IPv6:2001:db8::1]>",
            "<a>",
            "a",
            "<\"postmaster\">",
            "a@example.org,b@other.example",
        ] {
            assert_eq!(recipient(path.as_bytes()), Some(Recipient::Elsewhere), "{path}");
        }
    }

    #[test]
    fn what_is_not_clearly_an_address_is_none() {
        for path in [
            "",
            "<>",
            "<a@example.org",
            "a@example.org>",
            "<<a@example.org>>",
            "<a@example.org.>",
            "<a@.example.org>",
            "<a@example..org>",
            "<a@>",
            "<a b@example.org>",
            "<a@example.org >",
            "< a@example.org>",
            "<a@example.org> <b@other.example>",
            "<a@example.org>,<b@other.example>",
            "<a@example.org>b@other.example",
            "a@example.org b@other.example",
            "<a@example.org> =x",
            "<a@example.org> X=<b@other.example>",
            "<\"a@example.org>",
            "<\"a\"b@example.org>",
            "<\"a\\\"@example.org>",
            "<a:b@example.org>",
            "<a@example.org;b>",
            "<a@[192.0.2.1>",
            "<(x)a@example.org>",
        ] {
            assert_eq!(recipient(path.as_bytes()), None, "{path}");
        }
        assert_eq!(recipient(b"<\xff@example.org>"), None);
    }
}
