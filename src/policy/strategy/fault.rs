//! What is wrong with an expression, and where in it.

/// Why an expression is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In bytes from the front of the expression.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: Right,
}

/// What would be right in place of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// In words.
    Write(String),
    /// One of these names, most likely the one that is nearest to what stands there.
    OneOf {
        /// What stands there.
        word: String,
        /// What there is.
        names: Vec<String>,
    },
}

impl Fault {
    pub(super) fn new(at: usize, what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { at, what: what.into(), right: Right::Write(right.into()) }
    }

    /// `word` is none of `names`.
    pub(super) fn unknown<'n>(
        at: usize,
        what: impl Into<String>,
        word: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let names = names.into_iter().map(str::to_owned).collect();
        Self { at, what: what.into(), right: Right::OneOf { word: word.to_owned(), names } }
    }
}

/// A part of an expression as it may stand in an error.
pub(super) fn shown(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let cut = if text.chars().nth(60).is_some() { "…" } else { "" };
    format!("'{shown}{cut}'")
}
