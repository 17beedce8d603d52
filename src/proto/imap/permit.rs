//! Which literals a client may send (RFC 9051 §4.3, RFC 7888): where, and without waiting how long ones.

use super::command::Verb;

/// Which literals the client may send at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    /// In LOGIN.
    pub(super) login: bool,
    /// In ID.
    pub(super) id: bool,
    /// In LANGUAGE.
    pub(super) language: bool,
    /// `{n+}`.
    pub(super) plus: Plus,
}

impl Permit {
    pub(super) fn allows(&self, verb: Verb) -> bool {
        match verb {
            Verb::Login => self.login,
            Verb::Id => self.id,
            Verb::Language => self.language,
            _ => false,
        }
    }
}

/// How long a non-synchronizing literal may be (RFC 7888).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Plus {
    /// None was offered.
    #[default]
    Never,
    /// LITERAL-: up to 4096 bytes.
    Small,
    /// LITERAL+: any.
    Any,
}

impl Plus {
    /// LITERAL- beside what is known already.
    pub(super) fn or_small(self) -> Self {
        if self == Self::Any { Self::Any } else { Self::Small }
    }

    pub(super) fn allows(self, size: usize) -> bool {
        match self {
            Self::Never => false,
            Self::Small => size <= 4096,
            Self::Any => true,
        }
    }
}
