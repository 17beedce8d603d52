//! Sequence sets (RFC 3501 §9) as ranges that are quick to look up, and back.

use std::num::NonZeroU32;

use imap_codec::imap_types::{
    extensions::uidplus::{UidElement, UidSet},
    sequence::{SeqOrUid, Sequence, SequenceSet},
};

/// A set of message numbers or identifiers: ranges in order, that do not overlap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbers(Vec<(u32, u32)>);

impl Numbers {
    /// The numbers of `set`, where `*` means `largest`.
    pub(super) fn new(set: &SequenceSet, largest: u32) -> Self {
        let value = |number: &SeqOrUid| match number {
            SeqOrUid::Value(number) => number.get(),
            SeqOrUid::Asterisk => largest,
        };
        // RFC 3501 §9: 4:2 is 2:4, and 559:* holds the last message even if that is 100.
        let range = |sequence: &Sequence| match sequence {
            Sequence::Single(number) => (value(number), value(number)),
            Sequence::Range(one, other) => (value(one).min(value(other)), value(one).max(value(other))),
        };
        let mut ranges: Vec<_> = set.0.as_ref().iter().map(range).collect();
        ranges.sort_unstable();
        Self(merge(ranges))
    }

    /// Whether `number` is one of them.
    pub(super) fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|&(first, _)| first <= number);
        at.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|&(_, last)| number <= last)
    }
}

fn merge(sorted: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in sorted {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Ascending identifiers as a set for a response code (RFC 4315 §4); `None` if there are none.
pub(super) fn uid_set(uids: &[NonZeroU32]) -> Option<UidSet> {
    let runs = uids.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let element = |run: &[NonZeroU32]| match run {
        [one] => Some(UidElement::Single(*one)),
        [first, .., last] => Some(UidElement::Range(*first, *last)),
        [] => None,
    };
    let elements: Vec<_> = runs.filter_map(element).collect();
    elements.try_into().ok().map(UidSet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, largest: u32) -> Vec<u32> {
        let numbers = Numbers::new(&text.parse().unwrap(), largest);
        (0..20).filter(|&number| numbers.contains(number)).collect()
    }

    #[test]
    fn ranges_may_overlap_and_run_backwards() {
        assert_eq!(numbers("4:2,3,3:5,9", 10), [2, 3, 4, 5, 9]);
        assert_eq!(numbers("*", 7), [7]);
        assert_eq!(numbers("9:*", 7), [7, 8, 9]);
        assert_eq!(numbers("18:*", 4_000_000), [18, 19]);
    }

    #[test]
    fn uid_sets_join_runs() {
        let uids: Vec<_> = [1, 2, 3, 7].into_iter().filter_map(NonZeroU32::new).collect();
        let set = uid_set(&uids).unwrap();
        assert_eq!(set.0.as_ref().len(), 2);
        assert_eq!(uid_set(&[]), None);
    }
}
