//! SEARCH (RFC 3501 §6.4.4): all of its keys.
//!
//! Text is found whatever its case, in what the header or a text part says once decoded, and in the bytes as they
//! are.

use chrono::NaiveDate;
use imap_codec::imap_types::{
    core::{AString, Charset},
    search::SearchKey,
};
use mail_parser::{HeaderName, HeaderValue, MessageParser, PartType};

use super::{
    envelope::unfold,
    mime::{Content, Part, fields},
    numbers::Numbers,
    view::{Slot, View},
};
use crate::embedded::{flags::Flags, folders::Folders, message::header_length};

/// What a message must be to be found.
#[derive(Debug)]
pub(super) enum Test {
    All(Vec<Test>),
    Any(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Never,
    Has(Flags),
    Recent,
    Number(Numbers),
    Uid(Numbers),
    Larger(usize),
    Smaller(usize),
    Received(Days),
    Sent(Days),
    /// A field of this name that holds the text; any field that does, without a name.
    Field(String, String),
    Body(String),
    Text(String),
}

/// From one day on, and before another.
#[derive(Debug, Default)]
pub(super) struct Days {
    since: Option<NaiveDate>,
    before: Option<NaiveDate>,
}

impl Test {
    /// What `keys` together ask for.
    pub(super) fn new(keys: &[SearchKey<'_>], view: &View, folders: &Folders) -> Self {
        Self::All(keys.iter().map(|key| Compiler { view, folders }.test(key)).collect())
    }

    /// Whether the message under `number` passes.
    pub(super) fn passes(&self, number: u32, slot: &Slot) -> bool {
        let message = slot.message.bytes();
        match self {
            Self::All(tests) => tests.iter().all(|test| test.passes(number, slot)),
            Self::Any(one, other) => one.passes(number, slot) || other.passes(number, slot),
            Self::Not(test) => !test.passes(number, slot),
            Self::Never => false,
            Self::Has(flags) => slot.flags.contains(*flags),
            Self::Recent => slot.recent,
            Self::Number(numbers) => numbers.contains(number),
            Self::Uid(numbers) => numbers.contains(slot.uid.get()),
            Self::Larger(size) => message.len() > *size,
            Self::Smaller(size) => message.len() < *size,
            Self::Received(days) => days.contain(slot.received.as_ref().date_naive()),
            Self::Sent(days) => sent(message).is_some_and(|day| days.contain(day)),
            Self::Field(name, text) => has_field(message, name, text),
            Self::Body(text) => has_body(message, text),
            Self::Text(text) => has_field(message, "", text) || holds(message, text) || has_body(message, text),
        }
    }
}

impl Days {
    fn contain(&self, day: NaiveDate) -> bool {
        self.since.is_none_or(|since| day >= since) && self.before.is_none_or(|before| day < before)
    }
}

/// Whether the text of a search can be in this charset (RFC 3501 §6.4.4).
pub(super) fn is_known(charset: &Charset<'_>) -> bool {
    let name = match charset {
        Charset::Atom(name) => name.as_ref(),
        Charset::Quoted(name) => name.as_ref(),
    };
    ["UTF-8", "US-ASCII"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What the keys are understood against.
struct Compiler<'v> {
    view: &'v View,
    folders: &'v Folders,
}

impl Compiler<'_> {
    fn test(&self, key: &SearchKey<'_>) -> Test {
        let not = |test| Test::Not(Box::new(test));
        match key {
            SearchKey::And(keys) => Test::All(keys.as_ref().iter().map(|key| self.test(key)).collect()),
            SearchKey::Or(one, other) => Test::Any(Box::new(self.test(one)), Box::new(self.test(other))),
            SearchKey::Not(key) => not(self.test(key)),
            SearchKey::All => Test::All(Vec::new()),
            SearchKey::SequenceSet(set) => Test::Number(Numbers::new(set, self.view.count())),
            SearchKey::Uid(set) => Test::Uid(Numbers::new(set, self.view.last_uid())),
            SearchKey::Larger(size) => Test::Larger(*size as usize),
            SearchKey::Smaller(size) => Test::Smaller(*size as usize),
            SearchKey::Recent => Test::Recent,
            SearchKey::Old => not(Test::Recent),
            SearchKey::New => Test::All(vec![Test::Recent, not(Test::Has(Flags::SEEN))]),
            SearchKey::Keyword(name) => self.keyword(name.as_ref()),
            SearchKey::Unkeyword(name) => not(self.keyword(name.as_ref())),
            other => flag(other).or_else(|| date(other)).or_else(|| text(other)).unwrap_or(Test::Never),
        }
    }

    fn keyword(&self, name: &str) -> Test {
        self.folders.keywords().find(name).map_or(Test::Never, Test::Has)
    }
}

fn flag(key: &SearchKey<'_>) -> Option<Test> {
    let not = |flag| Test::Not(Box::new(Test::Has(flag)));
    Some(match key {
        SearchKey::Answered => Test::Has(Flags::ANSWERED),
        SearchKey::Deleted => Test::Has(Flags::DELETED),
        SearchKey::Draft => Test::Has(Flags::DRAFT),
        SearchKey::Flagged => Test::Has(Flags::FLAGGED),
        SearchKey::Seen => Test::Has(Flags::SEEN),
        SearchKey::Unanswered => not(Flags::ANSWERED),
        SearchKey::Undeleted => not(Flags::DELETED),
        SearchKey::Undraft => not(Flags::DRAFT),
        SearchKey::Unflagged => not(Flags::FLAGGED),
        SearchKey::Unseen => not(Flags::SEEN),
        _ => return None,
    })
}

fn date(key: &SearchKey<'_>) -> Option<Test> {
    let since = |day: &NaiveDate| Days { since: Some(*day), before: None };
    let before = |day: &NaiveDate| Days { since: None, before: Some(*day) };
    let on = |day: &NaiveDate| Days { since: Some(*day), before: day.succ_opt() };
    Some(match key {
        SearchKey::Before(day) => Test::Received(before(day.as_ref())),
        SearchKey::On(day) => Test::Received(on(day.as_ref())),
        SearchKey::Since(day) => Test::Received(since(day.as_ref())),
        SearchKey::SentBefore(day) => Test::Sent(before(day.as_ref())),
        SearchKey::SentOn(day) => Test::Sent(on(day.as_ref())),
        SearchKey::SentSince(day) => Test::Sent(since(day.as_ref())),
        _ => return None,
    })
}

fn text(key: &SearchKey<'_>) -> Option<Test> {
    let lower = |text: &AString<'_>| String::from_utf8_lossy(text.as_ref()).to_lowercase();
    let field = |name: &str, text| Test::Field(name.to_owned(), lower(text));
    Some(match key {
        SearchKey::Bcc(text) => field("bcc", text),
        SearchKey::Cc(text) => field("cc", text),
        SearchKey::From(text) => field("from", text),
        SearchKey::To(text) => field("to", text),
        SearchKey::Subject(text) => field("subject", text),
        SearchKey::Header(name, text) => field(&lower(name), text),
        SearchKey::Body(text) => Test::Body(lower(text)),
        SearchKey::Text(text) => Test::Text(lower(text)),
        _ => return None,
    })
}

/// The day in the Date field, in its own time zone (RFC 3501 §6.4.4).
fn sent(message: &[u8]) -> Option<NaiveDate> {
    let fields = fields(&message[..header_length(message)]);
    let date = fields.iter().find(|field| field.name == HeaderName::Date)?.value.as_datetime()?;
    NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
}

fn has_field(message: &[u8], name: &str, text: &str) -> bool {
    let header = &message[..header_length(message)];
    fields(header).iter().filter(|field| name.is_empty() || field.name.as_str().eq_ignore_ascii_case(name)).any(
        |field| {
            let raw = header.get(field.offset_start as usize..field.offset_end as usize).unwrap_or_default();
            decoded(&field.value).to_lowercase().contains(text) || holds(&unfold(raw), text)
        },
    )
}

/// What a field says.
fn decoded(value: &HeaderValue<'_>) -> String {
    match value {
        HeaderValue::Text(text) => text.clone().into_owned(),
        HeaderValue::TextList(list) => list.join(" "),
        HeaderValue::Address(addresses) => {
            let words = addresses.iter().flat_map(|address| [address.name(), address.address()]).flatten();
            words.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

fn has_body(message: &[u8], text: &str) -> bool {
    holds(&message[header_length(message)..], text) || part_holds(&Part::parse(message), text)
}

fn part_holds(part: &Part<'_>, text: &str) -> bool {
    match &part.content {
        Content::Multipart(parts) => parts.iter().any(|part| part_holds(part, text)),
        Content::Message(message) => part_holds(message, text),
        Content::Leaf(_) => leaf_holds(part, text),
    }
}

/// Decodes a text part by itself, with the two fields that say how: alone it has nothing to nest.
fn leaf_holds(part: &Part<'_>, text: &str) -> bool {
    let is_text = part.content_type().is_none_or(|said| said.ctype().eq_ignore_ascii_case("text"));
    if !is_text {
        return false;
    }
    let mut alone = Vec::with_capacity(part.body.len());
    for name in [HeaderName::ContentType, HeaderName::ContentTransferEncoding] {
        alone.extend_from_slice(part.field(&name));
    }
    alone.extend_from_slice(b"\r\n");
    alone.extend_from_slice(part.body);
    let parsed = MessageParser::new().parse(&alone);
    parsed.is_some_and(|message| match message.parts.first().map(|part| &part.body) {
        Some(PartType::Text(body) | PartType::Html(body)) => body.to_lowercase().contains(text),
        _ => false,
    })
}

/// Whether `bytes` hold `text` (in lower case) as they are, whatever the case of ASCII letters.
fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(&bytes.to_ascii_lowercase(), text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODED: &[u8] = b"Subject: =?utf-8?Q?caf=C3=A9?= au\r\n lait\r\nDate: Mon, 1 Jan 2024 23:00:00 -0500\r\n\
        To: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\nX-Note:\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQ==\r\n";

    #[test]
    fn fields_are_searched_decoded_and_as_they_are() {
        assert!(has_field(ENCODED, "subject", "café"));
        assert!(has_field(ENCODED, "subject", "au lait"));
        assert!(has_field(ENCODED, "subject", "=?utf-8?q?"));
        assert!(has_field(ENCODED, "to", "jürgen"));
        assert!(has_field(ENCODED, "to", "j@example"));
        assert!(has_field(ENCODED, "x-note", ""));
        assert!(!has_field(ENCODED, "x-other", ""));
        assert!(!has_field(ENCODED, "from", "café"));
    }

    #[test]
    fn bodies_are_searched_decoded_and_as_they_are() {
        assert!(has_body(ENCODED, "grüße"));
        assert!(has_body(ENCODED, "r3ldv"));
        assert!(!has_body(ENCODED, "café"));
    }

    #[test]
    fn the_day_sent_is_that_of_the_sender() {
        assert_eq!(sent(ENCODED), NaiveDate::from_ymd_opt(2024, 1, 1));
        assert_eq!(sent(b"Date: nonsense\r\n\r\n"), None);
    }

    #[test]
    fn a_hostile_type_far_down_the_header_is_not_followed() {
        let mut message = b"X: y\r\n".repeat(60_000);
        message.extend(b"Content-Type: message/rfc822\r\n\r\n".repeat(100_000));
        assert!(!has_body(&message, "nothing like it"));
    }
}
