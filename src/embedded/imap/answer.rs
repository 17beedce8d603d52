//! What a command is answered with at its end: OK, NO or BAD, a response code, and words.

use imap_codec::imap_types::{
    core::Tag,
    response::{Code, CodeOther, Status, StatusKind},
};

use crate::embedded::{folders::FolderError, store::Refusal};

/// The end of a command.
#[derive(Debug)]
pub(super) struct Answer {
    kind: StatusKind,
    code: Option<Code<'static>>,
    words: &'static str,
}

impl Answer {
    pub(super) fn ok(words: &'static str) -> Self {
        Self { kind: StatusKind::Ok, code: None, words }
    }

    /// It cannot be done.
    pub(super) fn no(words: &'static str) -> Self {
        Self { kind: StatusKind::No, code: None, words }
    }

    /// It is no command, or not here.
    pub(super) fn bad(words: &'static str) -> Self {
        Self { kind: StatusKind::Bad, code: None, words }
    }

    /// The same with a response code.
    pub(super) fn with(self, code: impl Into<Option<Code<'static>>>) -> Self {
        Self { code: code.into(), ..self }
    }

    /// The same with a response code of RFC 5530, which the codec does not name.
    pub(super) fn with_name(self, name: &'static str) -> Self {
        self.with(Code::Other(CodeOther::unvalidated(name.as_bytes())))
    }

    /// As a response; without a tag it is untagged.
    pub(super) fn status(self, tag: Option<Tag<'static>>) -> Option<Status<'static>> {
        Status::new(tag, self.kind, self.code, self.words).ok()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::MessageTooLarge => Self::no("the message is too large").with(Code::TooBig),
            Refusal::StoreFull => Self::no("the mail store is full").with(Code::OverQuota),
            Refusal::MailboxFull => Self::no("the mailbox is full").with(Code::OverQuota),
            Refusal::HasNul => Self::bad("NUL in a literal"),
        }
    }
}

impl From<FolderError> for Answer {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Missing => Self::no("no such mailbox").with_name("NONEXISTENT"),
            FolderError::Exists => Self::no("the mailbox exists already").with_name("ALREADYEXISTS"),
            FolderError::Inbox => Self::no("INBOX can be neither made nor deleted").with_name("CANNOT"),
            FolderError::HasInferiors => Self::no("delete the mailboxes below it first").with_name("CANNOT"),
            FolderError::BadName => Self::no("not a name for a mailbox").with_name("CANNOT"),
            FolderError::TooMany => Self::no("too many mailboxes").with_name("LIMIT"),
        }
    }
}
