//! What is wrong with a configuration: where, what, and what would be right.

use std::{fmt, path::PathBuf, sync::Arc};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file.
    pub file: Arc<PathBuf>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs with it.
    Error,
    /// It runs, but the operator should know.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub at: Position,
    /// The whole dotted key, `server.listener.imaps.tls.implicit`; empty for a fault of the file itself.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.right.is_empty() {
            write!(f, "; {}", self.right)?;
        }
        Ok(())
    }
}

/// All that was found, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes an error.
    pub fn error(&mut self, at: &Position, key: &str, what: impl Into<String>, right: impl Into<String>) {
        self.note(Severity::Error, at, key, what.into(), right.into());
    }

    /// Notes a warning.
    pub fn warning(&mut self, at: &Position, key: &str, what: impl Into<String>, right: impl Into<String>) {
        self.note(Severity::Warning, at, key, what.into(), right.into());
    }

    fn note(&mut self, severity: Severity, at: &Position, key: &str, what: String, right: String) {
        self.0.push(Problem { severity, at: at.clone(), key: key.to_owned(), what, right });
    }

    /// Whether anything found is an error.
    #[must_use]
    pub fn fatal(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }
}
