//! BODY[…] (RFC 3501 §6.4.5): which bytes of a message a section means.

use std::{borrow::Cow, num::NonZeroU32};

use imap_codec::imap_types::{
    core::AString,
    fetch::{Part as Path, Section},
};
use memchr::memchr;

use super::mime::{Content, Part};
use crate::embedded::message::header_length;

/// The bytes of a section; `None` if the message has no such part. `parsed` is asked for only if parts are named.
pub(super) fn bytes<'p, 'm: 'p>(
    message: &'m [u8],
    section: Option<&Section<'_>>,
    parsed: impl FnOnce() -> &'p Part<'m>,
) -> Option<Cow<'m, [u8]>> {
    let (header, body) = message.split_at(header_length(message));
    Some(match section {
        None => message.into(),
        Some(Section::Header(None)) => header.into(),
        Some(Section::Text(None)) => body.into(),
        Some(Section::HeaderFields(None, names)) => chosen_fields(header, |name| is_named(name, names.as_ref())).into(),
        Some(Section::HeaderFieldsNot(None, names)) => {
            chosen_fields(header, |name| !is_named(name, names.as_ref())).into()
        }
        Some(Section::Part(path)) => at(parsed(), path)?.body.into(),
        Some(Section::Mime(path)) => at(parsed(), path)?.header.into(),
        Some(Section::Header(Some(path))) => message_at(parsed(), path)?.header.into(),
        Some(Section::Text(Some(path))) => message_at(parsed(), path)?.body.into(),
        Some(Section::HeaderFields(Some(path), names)) => {
            chosen_fields(message_at(parsed(), path)?.header, |name| is_named(name, names.as_ref())).into()
        }
        Some(Section::HeaderFieldsNot(Some(path), names)) => {
            chosen_fields(message_at(parsed(), path)?.header, |name| !is_named(name, names.as_ref())).into()
        }
    })
}

/// `<offset.count>` of `bytes`: what there is of it.
pub(super) fn partial(bytes: &[u8], (offset, count): (u32, NonZeroU32)) -> &[u8] {
    let rest = bytes.get(offset as usize..).unwrap_or_default();
    &rest[..rest.len().min(count.get() as usize)]
}

fn at<'p, 'm>(message: &'p Part<'m>, path: &Path) -> Option<&'p Part<'m>> {
    message.at(path.0.as_ref())
}

/// HEADER and TEXT with a path are those of a message within.
fn message_at<'p, 'm>(message: &'p Part<'m>, path: &Path) -> Option<&'p Part<'m>> {
    match &at(message, path)?.content {
        Content::Message(inner) => Some(inner),
        _ => None,
    }
}

fn is_named(name: &[u8], names: &[AString<'_>]) -> bool {
    names.iter().any(|wanted| wanted.as_ref().eq_ignore_ascii_case(name))
}

/// The fields whose name is chosen, as they stand, and the empty line.
fn chosen_fields(header: &[u8], is_chosen: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut chosen = false;
    let mut rest = header;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |at| at + 1));
        rest = after;
        if line.trim_ascii().is_empty() {
            continue;
        }
        // RFC 5322 §2.2.3: a line that begins with a blank belongs to the field before it.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            chosen = memchr(b':', line).is_some_and(|colon| is_chosen(line[..colon].trim_ascii_end()));
        }
        if chosen {
            fields.extend_from_slice(line);
        }
    }
    fields.extend_from_slice(b"\r\n");
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Subject: a\r\n folded\r\nFrom: x\r\nTO: y\r\n\r\nbody";

    fn cut(section: Option<Section<'_>>) -> Option<String> {
        let parsed = Part::parse(MESSAGE);
        let found = bytes(MESSAGE, section.as_ref(), || &parsed);
        found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn names(all: &[&'static str]) -> imap_codec::imap_types::core::Vec1<AString<'static>> {
        all.iter().map(|name| AString::try_from(*name).unwrap()).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn fields_are_chosen_with_their_folded_lines() {
        let chosen = cut(Some(Section::HeaderFields(None, names(&["subject", "To", "X"]))));
        assert_eq!(chosen.as_deref(), Some("Subject: a\r\n folded\r\nTO: y\r\n\r\n"));
        let others = cut(Some(Section::HeaderFieldsNot(None, names(&["subject", "To"]))));
        assert_eq!(others.as_deref(), Some("From: x\r\n\r\n"));
    }

    #[test]
    fn header_and_text_make_up_the_message() {
        let header = cut(Some(Section::Header(None))).unwrap();
        let text = cut(Some(Section::Text(None))).unwrap();
        assert_eq!((header + &text).as_bytes(), MESSAGE);
        assert_eq!(cut(None).unwrap().as_bytes(), MESSAGE);
        let path = |number| Path(NonZeroU32::new(number).unwrap().into());
        assert_eq!(cut(Some(Section::Part(path(1)))).as_deref(), Some("body"));
        assert_eq!(cut(Some(Section::Part(path(2)))), None);
        assert_eq!(cut(Some(Section::Text(Some(path(1))))), None);
    }

    #[test]
    fn a_partial_beyond_the_end_is_empty() {
        let count = |count| NonZeroU32::new(count).unwrap();
        assert_eq!(partial(b"0123", (1, count(2))), b"12");
        assert_eq!(partial(b"0123", (3, count(u32::MAX))), b"3");
        assert_eq!(partial(b"0123", (9, count(1))), b"");
    }
}
