//! One message: while it comes in ([`Draft`]) and once it is kept ([`Message`]).
//!
//! Promises that a kept message is exactly the bytes that were pushed, that there is no NUL among them, and that
//! both are paid for out of the store's budget.

use std::{ops::Range, sync::Arc};

use memchr::{memchr, memmem};

use super::{budget::Reservation, store::Refusal};

/// A message that folders share; it never changes.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    _paid: Reservation,
}

impl Message {
    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that may become a [`Message`].
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    paid: Reservation,
    limit: usize,
    free: usize,
}

impl Draft {
    /// An empty draft that may grow to `limit` bytes, the first `free` of which are paid for only when they are
    /// kept (so that a client can give commands while the store is full).
    pub(super) fn new(paid: Reservation, limit: usize, free: usize) -> Self {
        Self { bytes: Vec::new(), paid, limit, free }
    }

    /// What there is of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends `bytes`, all or none.
    ///
    /// # Errors
    /// [`Refusal::MessageTooLarge`], [`Refusal::StoreFull`] or [`Refusal::HasNul`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let length = self.bytes.len() + bytes.len();
        if length > self.limit {
            return Err(Refusal::MessageTooLarge);
        }
        if memchr(0, bytes).is_some() {
            return Err(Refusal::HasNul);
        }
        if !self.paid.resize(length.saturating_sub(self.free)) {
            return Err(Refusal::StoreFull);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Keeps the bytes of `range` as a message.
    ///
    /// # Errors
    /// [`Refusal::StoreFull`].
    pub(super) fn keep(mut self, range: Range<usize>) -> Result<Arc<Message>, Refusal> {
        self.bytes.truncate(range.end);
        self.bytes.drain(..range.start.min(self.bytes.len()));
        self.bytes.shrink_to_fit();
        if !self.paid.resize(self.bytes.len()) {
            return Err(Refusal::StoreFull);
        }
        Ok(Arc::new(Message { bytes: self.bytes, _paid: self.paid }))
    }
}

/// Where the header ends, the empty line behind it included; the whole length where there is no empty line.
pub(super) fn header_length(message: &[u8]) -> usize {
    // RFC 5322 §2.1: the body follows the first empty line. A bare LF is taken for a line end too, as the readers
    // of the message will take it.
    for (begin, length) in [(b"\r\n".as_slice(), 2), (b"\n", 1)] {
        if message.starts_with(begin) {
            return length;
        }
    }
    let proper = memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let bare = memmem::find(&message[..proper], b"\n\n").map_or(message.len(), |at| at + 2);
    proper.min(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::budget::Budget;

    #[test]
    fn a_draft_is_bounded_by_its_limit_and_by_the_budget() {
        let budget = Budget::new(10);
        let mut draft = Draft::new(budget.nothing(), 12, 0);
        assert_eq!(draft.push(b"0123456789abc"), Err(Refusal::MessageTooLarge));
        assert_eq!(draft.push(b"0123456789a"), Err(Refusal::StoreFull));
        assert_eq!(draft.push(b"01\x00"), Err(Refusal::HasNul));
        assert_eq!(draft.push(b"0123456789"), Ok(()));
        let message = draft.keep(2..5).unwrap();
        assert_eq!(message.bytes(), b"234");
        assert!(budget.take(8).is_none(), "three bytes are paid for");
        drop(message);
        assert!(budget.take(10).is_some());
    }

    #[test]
    fn free_bytes_are_paid_for_when_they_are_kept() {
        let budget = Budget::new(2);
        let mut draft = Draft::new(budget.nothing(), 100, 5);
        assert_eq!(draft.push(b"12345"), Ok(()));
        assert_eq!(draft.keep(0..5).unwrap_err(), Refusal::StoreFull);
    }

    #[test]
    fn the_header_ends_at_the_first_empty_line() {
        assert_eq!(header_length(b"A: b\r\n\r\nbody\r\n\r\n"), 8);
        assert_eq!(header_length(b"A: b\n\nbody\r\n\r\n"), 6);
        assert_eq!(header_length(b"\r\nbody"), 2);
        assert_eq!(header_length(b"\nbody"), 1);
        assert_eq!(header_length(b"A: b\r\n"), 6);
        assert_eq!(header_length(b""), 0);
    }
}
