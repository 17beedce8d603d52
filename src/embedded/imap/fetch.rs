//! FETCH (RFC 3501 §6.4.5): the items of one message.

use std::{borrow::Cow, cell::OnceCell, num::NonZeroU32};

use imap_codec::imap_types::{
    IntoStatic,
    core::{Literal, NString, Vec1},
    fetch::{MacroOrMessageDataItemNames, MessageDataItem, MessageDataItemName, Section},
    response::Data,
};

use super::{
    envelope::envelope,
    mime::Part,
    section,
    structure::{Detail, structure},
    view::{Slot, number},
    words,
};

/// What a client wants of each message.
#[derive(Debug)]
pub(super) struct Wanted(Vec<MessageDataItemName<'static>>);

impl Wanted {
    /// The items that are named, and the identifier if the command was UID FETCH. `None`: BINARY, which is not
    /// offered.
    pub(super) fn new(names: MacroOrMessageDataItemNames<'static>, uid: bool) -> Option<Self> {
        use MessageDataItemName::{Binary, BinarySize, Uid};
        let mut items = match names {
            MacroOrMessageDataItemNames::Macro(name) => {
                name.expand().into_iter().map(IntoStatic::into_static).collect::<Vec<_>>()
            }
            MacroOrMessageDataItemNames::MessageDataItemNames(names) => names,
        };
        if items.iter().any(|item| matches!(item, Binary { .. } | BinarySize { .. })) {
            return None;
        }
        if uid && !items.contains(&Uid) {
            items.push(Uid);
        }
        Some(Self(items))
    }

    /// Whether fetching this marks a message as seen.
    pub(super) fn marks_seen(&self) -> bool {
        use MessageDataItemName::{BodyExt, Rfc822, Rfc822Text};
        self.0.iter().any(|item| matches!(item, BodyExt { peek: false, .. } | Rfc822 | Rfc822Text))
    }

    /// The response for one message. `is_marked`: fetching it has just changed its flags.
    pub(super) fn of<'s>(
        &self,
        seq: NonZeroU32,
        slot: &'s Slot,
        keywords: &[String],
        is_marked: bool,
    ) -> Option<Data<'s>> {
        let message = Source { slot, parsed: OnceCell::new() };
        let flags = (is_marked && !self.0.contains(&MessageDataItemName::Flags)).then_some(&MessageDataItemName::Flags);
        let items: Vec<_> = self.0.iter().chain(flags).filter_map(|name| message.item(name, keywords)).collect();
        Vec1::try_from(items).ok().map(|items| Data::Fetch { seq, items })
    }
}

/// A message that items are taken from.
struct Source<'s> {
    slot: &'s Slot,
    parsed: OnceCell<Part<'s>>,
}

impl<'s> Source<'s> {
    fn item(&self, name: &MessageDataItemName<'static>, keywords: &[String]) -> Option<MessageDataItem<'s>> {
        use MessageDataItemName as Name;
        Some(match name {
            Name::Uid => MessageDataItem::Uid(self.slot.uid),
            Name::Flags => MessageDataItem::Flags(words::fetched(self.slot.flags, self.slot.recent, keywords)),
            Name::InternalDate => MessageDataItem::InternalDate(self.slot.received.clone()),
            Name::Rfc822Size => MessageDataItem::Rfc822Size(number(self.slot.message.bytes().len())),
            Name::Envelope => MessageDataItem::Envelope(envelope(self.parsed())),
            Name::Body => MessageDataItem::Body(structure(self.parsed(), Detail::Basic)),
            Name::BodyStructure => MessageDataItem::BodyStructure(structure(self.parsed(), Detail::Extended)),
            Name::Rfc822 => MessageDataItem::Rfc822(self.section(None, None)),
            Name::Rfc822Header => MessageDataItem::Rfc822Header(self.section(Some(&Section::Header(None)), None)),
            Name::Rfc822Text => MessageDataItem::Rfc822Text(self.section(Some(&Section::Text(None)), None)),
            Name::BodyExt { section, partial, .. } => MessageDataItem::BodyExt {
                section: section.clone(),
                origin: partial.map(|(origin, _)| origin),
                data: self.section(section.as_ref(), *partial),
            },
            Name::Binary { .. } | Name::BinarySize { .. } => return None,
        })
    }

    fn parsed(&self) -> &Part<'s> {
        self.parsed.get_or_init(|| Part::parse(self.slot.message.bytes()))
    }

    /// The bytes of a section, always as a literal, which is what clients expect of a message; NIL if there is no
    /// such part.
    fn section(&self, section: Option<&Section<'_>>, partial: Option<(u32, NonZeroU32)>) -> NString<'s> {
        let found = section::bytes(self.slot.message.bytes(), section, || self.parsed());
        let cut = found.map(|bytes| match (bytes, partial) {
            (bytes, None) => bytes,
            (Cow::Borrowed(bytes), Some(range)) => Cow::Borrowed(section::partial(bytes, range)),
            (Cow::Owned(bytes), Some(range)) => Cow::Owned(section::partial(&bytes, range).to_vec()),
        });
        let literal = cut.and_then(|bytes| match bytes {
            Cow::Borrowed(bytes) => Literal::try_from(bytes).ok(),
            Cow::Owned(bytes) => Literal::try_from(bytes).ok(),
        });
        literal.map_or(NString::NIL, NString::from)
    }
}
