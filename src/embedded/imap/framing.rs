//! Where a command ends: lines, and the literals that they announce (RFC 3501 §4.3, RFC 7888).
//!
//! Promises that a command's text stays below [`TEXT_LIMIT`] and a message literal below the store's size limit, and
//! that a literal is never taken for a command. What cannot be kept is read past where its length is known, and
//! ends the session where it is not worth it.

use std::{io, ops::Range, sync::Arc};

use imap_codec::{
    CommandCodec,
    decode::Decoder,
    imap_types::{
        IntoStatic,
        command::{Command, CommandBody},
        core::Tag,
        datetime::DateTime,
        extensions::binary::LiteralOrLiteral8,
        flag::Flag,
        mailbox::Mailbox,
    },
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Answer;
use crate::embedded::{
    message::{Draft, Message},
    store::{Refusal, Store},
    stream::{Heard, Stream},
};

/// All of a command but the message that APPEND brings.
const TEXT_LIMIT: usize = 256 << 10;
const LINE_LIMIT: usize = 64 << 10;

/// What a client may send by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No message yet.
    BeforeLogin,
    /// APPEND may bring a message.
    LoggedIn,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Received {
    /// A command that the codec understands.
    Command(Command<'static>),
    /// APPEND, with its message taken out of it.
    Append(Append),
    /// Something to be answered, with the tag if it had one; the next command follows.
    Refused(Option<Tag<'static>>, Answer),
    /// Nothing that could be followed: the session ends with these words.
    Broken(&'static str),
    /// The client has ended its side.
    Ended,
}

/// The arguments of APPEND.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) tag: Tag<'static>,
    pub(super) mailbox: Mailbox<'static>,
    pub(super) flags: Vec<Flag<'static>>,
    pub(super) date: Option<DateTime>,
    pub(super) message: Result<Arc<Message>, Refusal>,
}

/// The next command.
pub(super) async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut Stream<S>,
    store: &Store,
    stage: Stage,
) -> io::Result<Received> {
    let mut frame = Frame { draft: store.draft(TEXT_LIMIT), literal: 0..0, refusal: None };
    loop {
        let line = match stream.line(LINE_LIMIT).await? {
            Heard::Line(line) => line,
            Heard::Bad => return Ok(Received::Broken("NUL or CR in a command")),
            Heard::TooLong => return Ok(Received::Broken("line too long")),
            Heard::Ended => return Ok(Received::Ended),
        };
        frame.push(&line);
        frame.push(b"\r\n");
        if frame.text_length() > TEXT_LIMIT {
            return Ok(Received::Broken("command too long"));
        }
        let Some(literal) = announced(&line) else { return Ok(frame.finish()) };
        if literal.length > frame.room(store, stage) {
            return Ok(frame.refuse(literal));
        }
        if literal.awaits_go_ahead {
            stream.say("+ go ahead");
        }
        frame.read(literal.length, stream).await?;
    }
}

/// A command while it comes in.
struct Frame {
    draft: Draft,
    /// Where the last literal is.
    literal: Range<usize>,
    /// Why the rest is not kept.
    refusal: Option<Refusal>,
}

/// `{length}` or `{length+}` at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Literal {
    length: usize,
    awaits_go_ahead: bool,
}

impl Frame {
    fn push(&mut self, bytes: &[u8]) {
        if self.refusal.is_none() {
            self.refusal = self.draft.push(bytes).err();
        }
    }

    /// How long the next literal may be. The one before it is no message, and counts as text from now on.
    fn room(&self, store: &Store, stage: Stage) -> usize {
        match TEXT_LIMIT.checked_sub(self.draft.bytes().len()) {
            Some(_) if stage == Stage::LoggedIn && self.is_append() => store.capacity().message,
            Some(room) => room,
            None => 0,
        }
    }

    /// What there is besides the last literal, which may be a message.
    fn text_length(&self) -> usize {
        self.draft.bytes().len() - self.literal.len()
    }

    fn is_append(&self) -> bool {
        let mut words = self.draft.bytes().splitn(3, |&byte| byte == b' ');
        words.nth(1).is_some_and(|verb| verb.eq_ignore_ascii_case(b"APPEND"))
    }

    async fn read<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        length: usize,
        stream: &mut Stream<S>,
    ) -> io::Result<()> {
        let start = self.draft.bytes().len();
        let mut left = length;
        while left > 0 {
            let bytes = stream.bytes().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(left);
            self.push(&bytes[..count]);
            stream.consume(count);
            left -= count;
        }
        self.literal = start..self.draft.bytes().len();
        Ok(())
    }

    /// Answers a literal that is too long: nothing of it comes unless it awaits no go-ahead.
    fn refuse(&self, literal: Literal) -> Received {
        if literal.awaits_go_ahead {
            Received::Refused(self.tag(), Refusal::MessageTooLarge.into())
        } else {
            Received::Broken("literal too long")
        }
    }

    fn tag(&self) -> Option<Tag<'static>> {
        let tag = self.draft.bytes().split(|&byte| byte == b' ').next()?;
        Tag::try_from(tag).ok().map(IntoStatic::into_static)
    }

    fn finish(self) -> Received {
        if let Some(refusal) = self.refusal {
            return Received::Refused(self.tag(), refusal.into());
        }
        let parsed = match CommandCodec::default().decode(self.draft.bytes()) {
            Ok(([], Command { tag, body: CommandBody::Append { mailbox, flags, date, message } })) => {
                let head = (tag.into_static(), mailbox.into_static(), flags.into_static(), date);
                Ok((head, matches!(message, LiteralOrLiteral8::Literal8(_))))
            }
            Ok(([], command)) => Err(Received::Command(command.into_static())),
            _ => Err(Received::Refused(self.tag(), Answer::bad("command not understood"))),
        };
        match parsed {
            Ok((head, false)) => self.append(head),
            Ok(((tag, ..), true)) => {
                Received::Refused(Some(tag), Answer::no("no BINARY here").with_name("UNKNOWN-CTE"))
            }
            Err(received) => received,
        }
    }

    /// The message is the last literal of an APPEND.
    fn append(self, head: (Tag<'static>, Mailbox<'static>, Vec<Flag<'static>>, Option<DateTime>)) -> Received {
        let (tag, mailbox, flags, date) = head;
        Received::Append(Append { tag, mailbox, flags, date, message: self.draft.keep(self.literal) })
    }
}

fn announced(line: &[u8]) -> Option<Literal> {
    let inner = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', inner)?;
    let number = inner.get(open + 1..)?;
    let (digits, awaits_go_ahead) = number.strip_suffix(b"+").map_or((number, true), |digits| (digits, false));
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX);
    Some(Literal { length, awaits_go_ahead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line() {
        let literal = |length, awaits_go_ahead| Some(Literal { length, awaits_go_ahead });
        assert_eq!(announced(b"a LOGIN {3}"), literal(3, true));
        assert_eq!(announced(b"a LOGIN {3+}"), literal(3, false));
        assert_eq!(announced(b"a APPEND x {99999999999999999999999}"), literal(usize::MAX, true));
        assert_eq!(announced(b"a LOGIN {3} "), None);
        assert_eq!(announced(b"a LOGIN {}"), None);
        assert_eq!(announced(b"a LOGIN {+3}"), None);
        assert_eq!(announced(b"a LOGIN 3}"), None);
    }
}
