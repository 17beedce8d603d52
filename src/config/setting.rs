//! What a file says of one key.

use super::findings::Key;

/// A key that is absent, that has a value which was refused (and reported), or that has a value.
#[derive(Clone, Debug)]
pub(super) enum Setting<T> {
    Absent,
    Wrong,
    Given(Given<T>),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) key: Key,
}

impl<T> Setting<T> {
    /// The setting with what `make` makes of its value.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Wrong => Setting::Wrong,
            Self::Given(Given { value, key }) => Setting::Given(Given { value: make(value), key }),
        }
    }

    /// The value, if there is a good one.
    pub(super) fn given(&self) -> Option<&Given<T>> {
        match self {
            Self::Given(given) => Some(given),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The key of the value, if there is a good one.
    pub(super) fn key(&self) -> Option<&Key> {
        self.given().map(|given| &given.key)
    }

    /// The key of the value, if the value is this one.
    pub(super) fn is(&self, value: &T) -> Option<&Key>
    where
        T: PartialEq,
    {
        self.given().filter(|given| given.value == *value).map(|given| &given.key)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether there was a value, and it was refused.
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }
}

impl<T: Clone> Setting<T> {
    /// This setting, or where it is absent the `wider` one.
    pub(super) fn or(&self, wider: &Self) -> Self {
        if self.is_absent() { wider.clone() } else { self.clone() }
    }

    /// The value, or `default` where there is none or a wrong one (which has been reported).
    pub(super) fn value_or(&self, default: T) -> T {
        self.given().map_or(default, |given| given.value.clone())
    }
}

impl<T: Clone> Setting<Vec<Given<T>>> {
    /// The values without their places.
    pub(super) fn values(&self) -> Vec<T> {
        self.given().map_or_else(Vec::new, |list| list.value.iter().map(|one| one.value.clone()).collect())
    }
}
