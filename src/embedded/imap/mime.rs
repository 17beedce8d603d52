//! The parts of a message (RFC 2045, 2046), as FETCH and SEARCH need them.
//!
//! mail-parser reads the header fields. The walk over the parts is ours, because the crate's own decodes every body
//! on the way and nests what it returns as deep as the message does, which a hostile message makes deep enough to
//! overflow the stack. Promises that depth, number of parts and header bytes read are bounded: what lies beyond is
//! part of the body around it.

use mail_parser::{ContentType, Header, HeaderName, HeaderValue, MessageParser};
use memchr::memchr;

use crate::embedded::message::header_length;

const DEPTH_LIMIT: usize = 20;
const PART_LIMIT: usize = 1000;
/// mail-parser keeps a record for each field, which is far larger than a small field.
const HEADER_LIMIT: usize = 256 << 10;

/// A message, or a part of one.
#[derive(Debug)]
pub(super) struct Part<'m> {
    /// The header with its empty line.
    pub(super) header: &'m [u8],
    /// The body, without the line end that belongs to the boundary behind it.
    pub(super) body: &'m [u8],
    pub(super) fields: Vec<Header<'m>>,
    pub(super) content: Content<'m>,
}

/// What a body is made of.
#[derive(Debug)]
pub(super) enum Content<'m> {
    /// Text, or anything else that has no parts that IMAP can name.
    Leaf(Kind),
    /// `multipart/*` with at least one part.
    Multipart(Vec<Part<'m>>),
    /// `message/rfc822`, not encoded.
    Message(Box<Part<'m>>),
}

/// How a leaf is to be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its own Content-Type.
    AsSaid,
    /// As plain text, because it has no Content-Type or one that it does not live up to.
    PlainText,
}

impl<'m> Part<'m> {
    /// Parses a whole message.
    pub(super) fn parse(message: &'m [u8]) -> Self {
        Self::nested(message, &mut Limits { depth: DEPTH_LIMIT, parts: PART_LIMIT }, Unsaid::Text)
    }

    fn nested(bytes: &'m [u8], limits: &mut Limits, unsaid: Unsaid) -> Self {
        let (header, body) = bytes.split_at(header_length(bytes));
        let fields = fields(header);
        let content = content(&fields, body, limits, unsaid);
        Self { header, body, fields, content }
    }

    /// The first field of this name that could be made sense of.
    pub(super) fn value(&self, name: &HeaderName<'_>) -> Option<&HeaderValue<'m>> {
        value(&self.fields, name)
    }

    /// The bytes of the field that [`Self::value`] is of, with its line end; none if there is none.
    pub(super) fn field(&self, name: &HeaderName<'_>) -> &'m [u8] {
        let mut fields = self.fields.iter().filter(|field| field.name == *name);
        let field = fields.find(|field| !matches!(field.value, HeaderValue::Empty));
        let range = field.map(|field| field.offset_field as usize..field.offset_end as usize);
        range.and_then(|range| self.header.get(range)).unwrap_or_default()
    }

    /// The Content-Type of a leaf or multipart.
    pub(super) fn content_type(&self) -> Option<&ContentType<'m>> {
        self.value(&HeaderName::ContentType)?.as_content_type()
    }

    /// The part that a path means (RFC 3501 §6.4.5); of a message without parts, 1 is its body.
    pub(super) fn at(&self, path: &[std::num::NonZeroU32]) -> Option<&Part<'m>> {
        let (first, rest) = path.split_first()?;
        let start = self.child_of_message(first.get())?;
        rest.iter().try_fold(start, |part, number| match &part.content {
            Content::Multipart(parts) => nth(parts, number.get()),
            Content::Message(message) => message.child_of_message(number.get()),
            Content::Leaf(_) => None,
        })
    }

    fn child_of_message(&self, number: u32) -> Option<&Part<'m>> {
        match &self.content {
            Content::Multipart(parts) => nth(parts, number),
            _ => (number == 1).then_some(self),
        }
    }
}

/// The fields of a header, as far as they are read.
pub(super) fn fields(header: &[u8]) -> Vec<Header<'_>> {
    let read = &header[..header.len().min(HEADER_LIMIT)];
    let parsed = MessageParser::new().parse_headers(read);
    parsed.and_then(|mut message| message.parts.pop()).map(|part| part.headers).unwrap_or_default()
}

/// How much further the walk may go.
struct Limits {
    depth: usize,
    parts: usize,
}

/// What a part without a Content-Type is (RFC 2046 §5.1.5).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsaid {
    Text,
    Message,
}

fn nth<'p, 'm>(parts: &'p [Part<'m>], number: u32) -> Option<&'p Part<'m>> {
    parts.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

fn value<'f, 'm>(fields: &'f [Header<'m>], name: &HeaderName<'_>) -> Option<&'f HeaderValue<'m>> {
    let mut values = fields.iter().filter(|field| field.name == *name).map(|field| &field.value);
    values.find(|value| !matches!(value, HeaderValue::Empty))
}

fn content<'m>(fields: &[Header<'m>], body: &'m [u8], limits: &mut Limits, unsaid: Unsaid) -> Content<'m> {
    let said = value(fields, &HeaderName::ContentType).and_then(HeaderValue::as_content_type);
    let (main, sub) = said.map_or(("", ""), |said| (said.ctype(), said.subtype().unwrap_or_default()));
    let is = |wanted: &str, found: &str| found.eq_ignore_ascii_case(wanted);
    if is("multipart", main) {
        let boundary = said.and_then(|said| said.attribute("boundary")).unwrap_or_default();
        let inner = if is("digest", sub) { Unsaid::Message } else { Unsaid::Text };
        return multipart(body, boundary.as_bytes(), limits, inner);
    }
    let is_message = is("message", main) && (is("rfc822", sub) || is("global", sub));
    if is_message || said.is_none() && unsaid == Unsaid::Message {
        return message(fields, body, limits);
    }
    Content::Leaf(if said.is_some() && !sub.is_empty() { Kind::AsSaid } else { Kind::PlainText })
}

fn message<'m>(fields: &[Header<'m>], body: &'m [u8], limits: &mut Limits) -> Content<'m> {
    let encoding = value(fields, &HeaderName::ContentTransferEncoding).and_then(HeaderValue::as_text);
    // RFC 2046 §5.2.1 permits no other encoding; an encoded message has no parts that could be cut out.
    let plain =
        encoding.is_none_or(|name| ["7bit", "8bit", "binary"].iter().any(|each| each.eq_ignore_ascii_case(name)));
    if !plain || limits.depth == 0 {
        return Content::Leaf(Kind::PlainText);
    }
    limits.depth -= 1;
    let part = Part::nested(body, limits, Unsaid::Text);
    limits.depth += 1;
    Content::Message(Box::new(part))
}

fn multipart<'m>(body: &'m [u8], boundary: &[u8], limits: &mut Limits, unsaid: Unsaid) -> Content<'m> {
    if boundary.is_empty() || limits.depth == 0 {
        return Content::Leaf(Kind::PlainText);
    }
    limits.depth -= 1;
    let mut parts = Vec::new();
    for bytes in split(body, boundary, limits.parts) {
        if limits.parts == 0 {
            break;
        }
        limits.parts -= 1;
        parts.push(Part::nested(bytes, limits, unsaid));
    }
    limits.depth += 1;
    if parts.is_empty() { Content::Leaf(Kind::PlainText) } else { Content::Multipart(parts) }
}

/// The bytes between the boundaries (RFC 2046 §5.1.1), at most `limit` pieces.
fn split<'m>(body: &'m [u8], boundary: &[u8], limit: usize) -> Vec<&'m [u8]> {
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (None, 0);
    while at < body.len() && pieces.len() < limit {
        let end = memchr(b'\n', &body[at..]).map_or(body.len(), |length| at + length + 1);
        if let Some(delimiter) = delimiter(&body[at..end], boundary) {
            pieces.extend(begin.map(|begin| without_line_end(&body[begin..at])));
            begin = (delimiter == Delimiter::Between).then_some(end);
            if delimiter == Delimiter::Last {
                break;
            }
        }
        at = end;
    }
    if at >= body.len() {
        pieces.extend(begin.map(|begin| &body[begin..]));
    }
    pieces
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Between,
    Last,
}

fn delimiter(line: &[u8], boundary: &[u8]) -> Option<Delimiter> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let (rest, delimiter) = rest.strip_prefix(b"--").map_or((rest, Delimiter::Between), |rest| (rest, Delimiter::Last));
    rest.trim_ascii().is_empty().then_some(delimiter)
}

/// RFC 2046 §5.1.1: the line end before a boundary belongs to the boundary.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const MIXED: &[u8] =
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--bb\r\n--b \r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n\
        deep\r\n--c--\r\n\r\n--b--\r\nepilogue";

    fn body(path: &[u32]) -> Option<String> {
        let path: Vec<_> = path.iter().copied().filter_map(NonZeroU32::new).collect();
        let message = Part::parse(MIXED);
        message.at(&path).map(|part| String::from_utf8_lossy(part.body).into_owned())
    }

    #[test]
    fn parts_are_found_by_their_path() {
        assert_eq!(body(&[1]).as_deref(), Some("one\r\n--bb"));
        assert_eq!(body(&[2, 1]).as_deref(), Some("deep"));
        assert_eq!(body(&[3]), None);
        assert_eq!(body(&[1, 1]), None);
        assert_eq!(body(&[2, 2]), None);
        let plain = Part::parse(b"A: b\r\n\r\nbody");
        assert_eq!(plain.at(&[NonZeroU32::MIN]).unwrap().body, b"body");
    }

    #[test]
    fn a_missing_last_boundary_loses_nothing() {
        let message = Part::parse(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n");
        let Content::Multipart(parts) = &message.content else { panic!("not a multipart: {message:?}") };
        assert_eq!(parts.iter().map(|part| part.body).collect::<Vec<_>>(), [b"one".as_slice(), b"two\n"]);
    }

    #[test]
    fn a_digest_holds_messages() {
        let message =
            Part::parse(b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b--");
        let Content::Multipart(parts) = &message.content else { panic!("not a multipart: {message:?}") };
        assert!(matches!(&parts[0].content, Content::Message(inner) if inner.body == b"y"));
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        let deep = b"Content-Type: message/rfc822\r\n\r\n".repeat(200_000);
        assert!(matches!(Part::parse(&deep).content, Content::Message(_)));
        let mut wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        wide.extend(b"--b\r\n".repeat(100_000));
        let wide = Part::parse(&wide);
        assert!(matches!(&wide.content, Content::Multipart(parts) if parts.len() == PART_LIMIT));
    }
}
