//! ENVELOPE (RFC 3501 §7.4.2) and the strings that it and BODYSTRUCTURE are made of.
//!
//! Subject, dates and identifiers are said as they stand in the header, unfolded. Display names come decoded from
//! the parser; what is not ASCII is encoded again (RFC 2047), because IMAP4rev1 expects it so.

use base64::{Engine, engine::general_purpose::STANDARD};
use imap_codec::imap_types::{
    core::{IString, NString},
    envelope::{Address, Envelope},
};
use mail_parser::{Addr, Group, HeaderName};

use super::mime::Part;

/// As many as a client can make sense of; a header has room for more than a reply should be long.
const ADDRESS_LIMIT: usize = 1000;
/// RFC 2047 §2: an encoded word has 75 characters at most, 12 of which are not text.
const ENCODED_BYTES: usize = 45;

/// The envelope of a message.
pub(super) fn envelope(message: &Part<'_>) -> Envelope<'static> {
    let from = addresses(message, &HeaderName::From);
    // RFC 3501 §7.4.2: without Sender or Reply-To, the value of From.
    let or_from = |found: Vec<Address<'static>>| if found.is_empty() { from.clone() } else { found };
    Envelope {
        date: text(message, &HeaderName::Date),
        subject: text(message, &HeaderName::Subject),
        sender: or_from(addresses(message, &HeaderName::Sender)),
        reply_to: or_from(addresses(message, &HeaderName::ReplyTo)),
        to: addresses(message, &HeaderName::To),
        cc: addresses(message, &HeaderName::Cc),
        bcc: addresses(message, &HeaderName::Bcc),
        in_reply_to: text(message, &HeaderName::InReplyTo),
        message_id: text(message, &HeaderName::MessageId),
        from,
    }
}

/// A field as it stands in the header, unfolded; NIL if there is none.
pub(super) fn text(part: &Part<'_>, name: &HeaderName<'_>) -> NString<'static> {
    let field = part.fields.iter().find(|field| field.name == *name);
    let range = field.map(|field| field.offset_start as usize..field.offset_end as usize);
    range.and_then(|range| part.header.get(range)).map_or(NString::NIL, |raw| NString(Some(string(&unfold(raw)))))
}

/// A string as quoted or literal; NUL, which neither can hold, does not occur in a kept message.
pub(super) fn string(bytes: &[u8]) -> IString<'static> {
    let sound: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != 0).collect();
    IString::try_from(sound).expect("a literal holds every byte but NUL")
}

/// A field's value without line ends and outer blanks (RFC 5322 §2.2.3).
pub(super) fn unfold(raw: &[u8]) -> Vec<u8> {
    raw.trim_ascii().iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}

fn addresses(part: &Part<'_>, name: &HeaderName<'_>) -> Vec<Address<'static>> {
    let Some(found) = part.value(name).and_then(|value| value.as_address()) else { return Vec::new() };
    let addresses: Vec<_> = match found {
        mail_parser::Address::List(list) => list.iter().filter_map(address).take(ADDRESS_LIMIT).collect(),
        mail_parser::Address::Group(groups) => groups.iter().flat_map(group).take(ADDRESS_LIMIT).collect(),
    };
    addresses
}

/// RFC 3501 §7.4.2: a group begins with an address that has a mailbox but no host, and ends with one that has
/// neither.
fn group(group: &Group<'_>) -> Vec<Address<'static>> {
    let mark = |mailbox| Address { name: NString::NIL, adl: NString::NIL, mailbox, host: NString::NIL };
    let members = group.addresses.iter().filter_map(address);
    match &group.name {
        None => members.collect(),
        Some(name) => {
            let begin = mark(NString(Some(string(encoded(name).as_bytes()))));
            [begin].into_iter().chain(members).chain([mark(NString::NIL)]).collect()
        }
    }
}

fn address(address: &Addr<'_>) -> Option<Address<'static>> {
    let found = address.address.as_deref()?;
    let (mailbox, host) = found.rsplit_once('@').unwrap_or((found, ""));
    let name = address.name.as_deref().map(|name| string(encoded(name).as_bytes()));
    let some = |text: &str| NString(Some(string(text.as_bytes())));
    Some(Address { name: NString(name), adl: NString::NIL, mailbox: some(mailbox), host: some(host) })
}

/// `text` in encoded words if it is not ASCII.
fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(ENCODED_BYTES));
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &NString<'_>) -> String {
        value.0.as_ref().map_or("NIL".into(), |text| String::from_utf8_lossy(text.as_ref()).into_owned())
    }

    #[test]
    fn an_envelope_says_what_the_header_says() {
        let message = Part::parse(
            b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: =?utf-8?Q?caf=C3=A9?=\r\n folded\r\n\
              From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\nTo: A group: ann@example.org, bob;\r\n\
              Message-ID: <1@example.org>\r\n\r\n",
        );
        let envelope = envelope(&message);
        assert_eq!(shown(&envelope.subject), "=?utf-8?Q?caf=C3=A9?= folded");
        assert_eq!(shown(&envelope.message_id), "<1@example.org>");
        assert_eq!(shown(&envelope.in_reply_to), "NIL");
        assert_eq!(shown(&envelope.from[0].name), "=?utf-8?B?SsO8cmdlbg==?=");
        assert_eq!(shown(&envelope.from[0].host), "example.org");
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!((shown(&envelope.to[0].mailbox), shown(&envelope.to[0].host)), ("A group".into(), "NIL".into()));
        assert_eq!(shown(&envelope.to[1].mailbox), "ann");
        assert_eq!(shown(&envelope.to.last().unwrap().mailbox), "NIL");
    }

    #[test]
    fn long_names_become_several_encoded_words() {
        let encoded = encoded(&"ü".repeat(100));
        assert!(encoded.split(' ').all(|word| word.len() <= 75 && word.starts_with("=?utf-8?B?")));
        assert!(encoded.contains(' '));
    }
}
