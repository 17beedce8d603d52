//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2).

use imap_codec::imap_types::{
    body::{
        BasicFields, Body, BodyStructure, Disposition, MultiPartExtensionData, SinglePartExtensionData, SpecificFields,
    },
    core::{IString, NString, Vec1},
};
use mail_parser::{ContentType, HeaderName};
use memchr::memchr_iter;

use super::{
    envelope::{envelope, string, text},
    mime::{Content, Kind, Part},
    view::number,
};

/// Whether extension data is said: BODYSTRUCTURE has it, BODY has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Basic,
    Extended,
}

type Parameters = Vec<(IString<'static>, IString<'static>)>;

/// The structure of a message or part.
pub(super) fn structure(part: &Part<'_>, detail: Detail) -> BodyStructure<'static> {
    match &part.content {
        Content::Multipart(parts) => multipart(part, parts, detail),
        Content::Message(message) => {
            let specific = SpecificFields::Message {
                envelope: Box::new(envelope(message)),
                body_structure: Box::new(structure(message, detail)),
                number_of_lines: lines(part.body),
            };
            single(part, specific, parameters(part.content_type()), detail)
        }
        Content::Leaf(kind) => leaf(part, *kind, detail),
    }
}

fn multipart(part: &Part<'_>, parts: &[Part<'_>], detail: Detail) -> BodyStructure<'static> {
    let bodies = parts.iter().map(|part| structure(part, detail)).collect();
    let subtype = part.content_type().and_then(ContentType::subtype).unwrap_or("mixed");
    let extension_data = (detail == Detail::Extended).then(|| MultiPartExtensionData {
        parameter_list: parameters(part.content_type()),
        tail: Some(disposition(part)),
    });
    BodyStructure::Multi { bodies: Vec1::unvalidated(bodies), subtype: string(subtype.as_bytes()), extension_data }
}

fn leaf(part: &Part<'_>, kind: Kind, detail: Detail) -> BodyStructure<'static> {
    let said = part.content_type().filter(|_| kind == Kind::AsSaid);
    let (main, sub) = said.map_or(("text", "plain"), |said| (said.ctype(), said.subtype().unwrap_or_default()));
    let subtype = string(sub.as_bytes());
    let specific = if main.eq_ignore_ascii_case("text") {
        SpecificFields::Text { subtype, number_of_lines: lines(part.body) }
    } else {
        SpecificFields::Basic { r#type: string(main.as_bytes()), subtype }
    };
    // RFC 2045 §5.2: what is said of a part that says nothing.
    let plain = || vec![(string(b"charset"), string(b"us-ascii"))];
    let parameters = said.map_or_else(plain, |said| parameters(Some(said)));
    single(part, specific, parameters, detail)
}

fn single(
    part: &Part<'_>,
    specific: SpecificFields<'static>,
    parameter_list: Parameters,
    detail: Detail,
) -> BodyStructure<'static> {
    let encoding = part.value(&HeaderName::ContentTransferEncoding).and_then(|value| value.as_text());
    let basic = BasicFields {
        parameter_list,
        id: text(part, &HeaderName::ContentId),
        description: text(part, &HeaderName::ContentDescription),
        content_transfer_encoding: string(encoding.unwrap_or("7bit").as_bytes()),
        size: number(part.body.len()),
    };
    let extension_data = (detail == Detail::Extended)
        .then(|| SinglePartExtensionData { md5: NString::NIL, tail: Some(disposition(part)) });
    BodyStructure::Single { body: Body { basic, specific }, extension_data }
}

fn disposition(part: &Part<'_>) -> Disposition<'static> {
    let said = part.value(&HeaderName::ContentDisposition).and_then(|value| value.as_content_type());
    let disposition = said.map(|said| (string(said.ctype().as_bytes()), parameters(Some(said))));
    Disposition { disposition, tail: None }
}

fn parameters(said: Option<&ContentType<'_>>) -> Parameters {
    let attributes = said.and_then(ContentType::attributes).unwrap_or_default();
    attributes.iter().map(|each| (string(each.name.as_bytes()), string(each.value.as_bytes()))).collect()
}

fn lines(body: &[u8]) -> u32 {
    number(memchr_iter(b'\n', body).count())
}

#[cfg(test)]
mod tests {
    use imap_codec::{
        ResponseCodec,
        encode::Encoder,
        imap_types::{
            fetch::MessageDataItem,
            response::{Data, Response},
        },
    };

    use super::*;

    fn said(message: &[u8], detail: Detail) -> String {
        let items = Vec1::from(MessageDataItem::BodyStructure(structure(&Part::parse(message), detail)));
        let seq = std::num::NonZeroU32::MIN;
        let encoded = ResponseCodec::default().encode(&Response::Data(Data::Fetch { seq, items })).dump();
        let text = String::from_utf8(encoded).unwrap();
        text.strip_prefix("* 1 FETCH (BODYSTRUCTURE ").unwrap().strip_suffix(")\r\n").unwrap().to_owned()
    }

    #[test]
    fn a_message_without_mime_is_plain_text() {
        let plain = r#"("TEXT" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1)"#;
        assert_eq!(said(b"A: b\r\n\r\nbody\r\n", Detail::Basic), plain);
        assert_eq!(said(b"", Detail::Basic), plain.replace("6 1", "0 0"));
    }

    #[test]
    fn parts_are_described_each() {
        let message =
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nPGI+\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <1@x>\r\n\
            Content-Disposition: attachment; filename=a.png\r\n\r\nx\r\n--b--\r\n";
        assert_eq!(
            said(message, Detail::Extended),
            concat!(
                r#"(("TEXT" "html" ("charset" "utf-8") NIL NIL "base64" 4 0 NIL NIL)"#,
                r#"("image" "png" NIL "<1@x>" NIL "7bit" 1 NIL ("attachment" ("filename" "a.png")))"#,
                r#" "mixed" ("boundary" "b") NIL)"#
            )
        );
    }

    #[test]
    fn a_message_within_has_an_envelope_and_a_structure() {
        let message = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nside\r\n";
        let structure = said(message, Detail::Basic);
        assert!(structure.starts_with(r#"("MESSAGE" "RFC822" NIL NIL NIL "7bit" 21 (NIL "in" "#), "{structure}");
        assert!(structure.ends_with(r#"("TEXT" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1) 3)"#), "{structure}");
    }
}
