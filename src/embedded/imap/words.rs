//! Flags and mailbox names between the store and the wire.

use imap_codec::imap_types::{
    core::Atom,
    flag::{Flag, FlagFetch, FlagPerm},
    mailbox::Mailbox,
};

use crate::embedded::{
    flags::Flags,
    folders::{DELIMITER, INBOX},
    keywords::Keywords,
};

const SYSTEM: [(Flags, Flag<'static>); 5] = [
    (Flags::ANSWERED, Flag::Answered),
    (Flags::FLAGGED, Flag::Flagged),
    (Flags::DELETED, Flag::Deleted),
    (Flags::SEEN, Flag::Seen),
    (Flags::DRAFT, Flag::Draft),
];

/// The flags of a message, as FETCH says them.
pub(super) fn fetched(flags: Flags, recent: bool, keywords: &[String]) -> Vec<FlagFetch<'static>> {
    let set = all(keywords).filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| FlagFetch::Flag(word));
    set.chain(recent.then_some(FlagFetch::Recent)).collect()
}

/// All flags that messages have or may get, as SELECT says them.
pub(super) fn known(keywords: &[String]) -> Vec<Flag<'static>> {
    all(keywords).map(|(_, word)| word).collect()
}

/// The flags that can be changed, with `\*` while there is room for new keywords.
pub(super) fn permanent(keywords: &[String]) -> Vec<FlagPerm<'static>> {
    let room = Flags::keyword(keywords.len()).map(|_| FlagPerm::Asterisk);
    all(keywords).map(|(_, word)| FlagPerm::Flag(word)).chain(room).collect()
}

/// The flags that a client names; `None` where there is no room for a new keyword. What begins with a backslash and
/// is no system flag is passed over: nobody can set it.
pub(super) fn stored(words: &[Flag<'_>], keywords: &mut Keywords) -> Option<Flags> {
    words.iter().try_fold(Flags::default(), |flags, word| {
        let system = SYSTEM.iter().find(|(_, known)| known == word).map(|(flag, _)| *flag);
        Some(flags.with(match (system, word) {
            (Some(flag), _) => flag,
            (None, Flag::Keyword(keyword)) => keywords.add(keyword.as_ref())?,
            (None, _) => Flags::default(),
        }))
    })
}

fn all(keywords: &[String]) -> impl Iterator<Item = (Flags, Flag<'static>)> {
    let keyword = |(number, name): (usize, &String)| {
        let word = Atom::try_from(name.clone()).ok().map(Flag::keyword)?;
        Some((Flags::keyword(number)?, word))
    };
    let keywords: Vec<_> = keywords.iter().enumerate().filter_map(keyword).collect();
    SYSTEM.into_iter().chain(keywords)
}

/// The name of a mailbox in the store: INBOX in one spelling, also as the first level; `None` if it is no text.
pub(super) fn folder_name(mailbox: &Mailbox<'_>) -> Option<String> {
    let name = match mailbox {
        Mailbox::Inbox => return Some(INBOX.to_owned()),
        Mailbox::Other(other) => std::str::from_utf8(other.as_ref()).ok()?,
    };
    let (first, rest) = name.find(DELIMITER).map_or((name, ""), |at| name.split_at(at));
    Some(if first.eq_ignore_ascii_case(INBOX) { format!("{INBOX}{rest}") } else { name.to_owned() })
}
