//! The INBOX as a POP3 session sees it: settled at login, numbered from one (RFC 1939 §4).

use std::{collections::BTreeSet, fmt::Display, num::NonZeroU32, sync::Arc};

use memchr::memmem;

use crate::embedded::{
    account::Account,
    folders::INBOX,
    message::{Message, header_length},
};

/// The messages, and those that are to go at QUIT.
pub(super) struct Maildrop {
    account: Arc<Account>,
    validity: NonZeroU32,
    messages: Vec<(NonZeroU32, Arc<Message>)>,
    deleted: BTreeSet<usize>,
}

/// What the client is to be sent.
#[derive(Debug)]
pub(super) enum Reply {
    /// One line.
    Line(String),
    /// `+OK`, these lines, and a dot.
    Listing(Vec<String>),
    /// `+OK`, the message up to `end`, and a dot.
    Message { message: Arc<Message>, end: usize },
}

impl Maildrop {
    /// The INBOX of `account` as it is now.
    pub(super) fn new(account: Arc<Account>) -> Self {
        let (validity, messages) = account.look(|folders| {
            let inbox = folders.named(INBOX);
            let entries = inbox.map(|folder| folder.entries()).unwrap_or_default();
            let messages = entries.iter().map(|entry| (entry.uid, entry.message.clone())).collect();
            (inbox.map_or(NonZeroU32::MIN, |folder| folder.validity()), messages)
        });
        Self { account, validity, messages, deleted: BTreeSet::new() }
    }

    /// How many messages there were at login.
    pub(super) fn count(&self) -> usize {
        self.messages.len()
    }

    /// Obeys a command of the TRANSACTION state.
    pub(super) fn obey(&mut self, verb: &[u8], rest: &str) -> Reply {
        match verb {
            b"STAT" => self.stat(),
            b"LIST" => self.list(rest, |at| self.size(at)),
            b"UIDL" => self.list(rest, |at| self.identifier(at)),
            b"RETR" => self.retrieve(rest, None),
            b"TOP" => match rest.split_once(' ').map(|(number, lines)| (number, lines.trim().parse())) {
                Some((number, Ok(lines))) => self.retrieve(number, Some(lines)),
                _ => Reply::Line("-ERR TOP takes a message and a number of lines".into()),
            },
            b"DELE" => self.delete(rest),
            b"RSET" => {
                self.deleted.clear();
                Reply::Line("+OK".into())
            }
            b"NOOP" => Reply::Line("+OK".into()),
            _ => Reply::Line("-ERR command not recognized".into()),
        }
    }

    /// Carries the deletions out (RFC 1939 §6).
    pub(super) fn update(&self) {
        let deleted = self.deleted.iter().filter_map(|&at| self.messages.get(at));
        let gone: BTreeSet<_> = deleted.map(|(uid, _)| *uid).collect();
        if gone.is_empty() {
            return;
        }
        self.account.change(|folders| {
            if let Some(inbox) = folders.known(self.validity) {
                inbox.remove(|entry| gone.contains(&entry.uid));
            }
        });
    }

    fn stat(&self) -> Reply {
        let octets: usize = self.left().map(|at| self.size(at)).sum();
        Reply::Line(format!("+OK {} {octets}", self.left().count()))
    }

    /// One line, or one for each message (LIST, UIDL).
    fn list<T: Display>(&self, rest: &str, value: impl Fn(usize) -> T) -> Reply {
        let line = |at: usize| format!("{} {}", at + 1, value(at));
        if rest.trim().is_empty() {
            return Reply::Listing(self.left().map(line).collect());
        }
        Reply::Line(self.find(rest).map_or_else(|| NO_SUCH.into(), |at| format!("+OK {}", line(at))))
    }

    /// A message, or its header and some lines of its body.
    fn retrieve(&self, number: &str, lines: Option<usize>) -> Reply {
        let Some((_, message)) = self.find(number).and_then(|at| self.messages.get(at)) else {
            return Reply::Line(NO_SUCH.into());
        };
        let bytes = message.bytes();
        let end = lines.map_or(bytes.len(), |lines| top_length(bytes, lines));
        Reply::Message { message: message.clone(), end }
    }

    fn delete(&mut self, number: &str) -> Reply {
        let Some(at) = self.find(number) else { return Reply::Line(NO_SUCH.into()) };
        self.deleted.insert(at);
        Reply::Line("+OK".into())
    }

    /// The positions that are not deleted.
    fn left(&self) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(|at| !self.deleted.contains(at))
    }

    fn size(&self, at: usize) -> usize {
        self.messages.get(at).map_or(0, |(_, message)| message.bytes().len())
    }

    /// RFC 1939 §7: one that no other message of this maildrop ever has, in the next run of mailward neither.
    fn identifier(&self, at: usize) -> String {
        format!("{}-{}", self.validity, self.messages.get(at).map_or(0, |(uid, _)| uid.get()))
    }

    /// The position of the message that a number means.
    fn find(&self, number: &str) -> Option<usize> {
        let at = number.trim().parse::<usize>().ok()?.checked_sub(1)?;
        (at < self.messages.len() && !self.deleted.contains(&at)).then_some(at)
    }
}

const NO_SUCH: &str = "-ERR no such message";

/// The length of the header, the empty line, and the first `lines` lines of the body (RFC 1939 §7).
fn top_length(message: &[u8], lines: usize) -> usize {
    let header = header_length(message);
    let Some(last) = lines.checked_sub(1) else { return header };
    let mut ends = memmem::find_iter(&message[header..], b"\r\n").map(|at| header + at + 2);
    ends.nth(last).unwrap_or(message.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_counts_lines_of_the_body() {
        let message = b"A: b\r\n\r\none\r\ntwo\r\nthree";
        let top = |lines| &message[..top_length(message, lines)];
        assert_eq!(top(0), b"A: b\r\n\r\n");
        assert_eq!(top(1), b"A: b\r\n\r\none\r\n");
        assert_eq!(top(3), message);
        assert_eq!(top(usize::MAX), message);
    }
}
