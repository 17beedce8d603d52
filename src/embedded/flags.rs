//! The flags of a message (RFC 3501 §2.3.2), as one word.

/// A set of flags: the system flags, and the account's keywords by their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u64);

impl Flags {
    pub(super) const SEEN: Self = Self(1);
    pub(super) const ANSWERED: Self = Self(1 << 1);
    pub(super) const FLAGGED: Self = Self(1 << 2);
    pub(super) const DELETED: Self = Self(1 << 3);
    pub(super) const DRAFT: Self = Self(1 << 4);

    /// How many keywords an account can have.
    pub(super) const KEYWORDS: usize = 40;
    const FIRST_KEYWORD: usize = 8;

    /// The account's keyword of this number, if there can be one.
    pub(super) fn keyword(number: usize) -> Option<Self> {
        (number < Self::KEYWORDS).then(|| Self(1 << (Self::FIRST_KEYWORD + number)))
    }

    /// Whether all of `other` are in it.
    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_system_flags_do_not_overlap() {
        let last = Flags::keyword(Flags::KEYWORDS - 1).unwrap();
        let both = Flags::DRAFT.with(Flags::keyword(0).unwrap()).with(last);
        assert!(both.contains(Flags::DRAFT) && both.contains(last) && !both.contains(Flags::SEEN));
        assert_eq!(both.without(last).without(Flags::DRAFT), Flags::keyword(0).unwrap());
        assert_eq!(Flags::keyword(Flags::KEYWORDS), None);
    }
}
