//! What the reading of one file has come upon: problems with their places, and the keys it asked for.
//!
//! Promises one problem per cause: a line that is not TOML is reported as that and nothing else, and a key that is
//! absent is not complained of while part of the file could not be read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::error::{Position, Problem, Problems, Severity};

/// A key of the file: its whole dotted name, and where it (or rather its value) stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `server.listener.imaps.tls.implicit`; empty for the file itself.
    pub(super) path: String,
    /// In bytes from the front of the file.
    pub(super) offset: usize,
}

/// The problems found so far, and what is needed to place them.
pub(super) struct Findings {
    text: String,
    line_starts: Vec<usize>,
    file: Arc<PathBuf>,
    broken_lines: BTreeSet<usize>,
    problems: Vec<Problem>,
    /// Every key that was asked for, whether the file has it or not.
    pub(super) asked: BTreeSet<String>,
}

impl Findings {
    /// Nothing found yet in `text`, which is what the file at `path` holds.
    pub(super) fn new(text: &str, path: &Path) -> Self {
        Self {
            text: text.to_owned(),
            line_starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect(),
            file: Arc::new(path.to_owned()),
            broken_lines: BTreeSet::new(),
            problems: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// What a relative path is relative to: the file's directory.
    pub(super) fn base(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// The line and column of a byte, from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let before = self.line_starts.get(line.saturating_sub(1)).and_then(|start| self.text.get(*start..offset));
        Position { file: self.file.clone(), line, column: before.map_or(0, |before| before.chars().count()) + 1 }
    }

    /// The place of byte `at` of the `text` that is written at `offset`; `offset`, where a macro has a part in it or it is
    /// written over several lines.
    pub(super) fn inside(&self, offset: usize, text: &str, at: usize) -> usize {
        let written = self.text.get(offset..).unwrap_or_default();
        offset + text.get(..at).and_then(|before| width(written, before)).unwrap_or_default()
    }

    /// Notes that a line is not TOML, once.
    pub(super) fn broken(&mut self, offset: usize, what: &str) {
        let at = self.position(offset);
        if self.broken_lines.insert(at.line) {
            self.note(Severity::Error, at, "", what, "");
        }
    }

    /// Notes an error of a key or its value.
    pub(super) fn error(&mut self, key: &Key, what: impl AsRef<str>, right: impl AsRef<str>) {
        self.place(Severity::Error, key, what.as_ref(), right.as_ref());
    }

    /// Notes something that works, but that the operator should know.
    pub(super) fn warning(&mut self, key: &Key, what: impl AsRef<str>, right: impl AsRef<str>) {
        self.place(Severity::Warning, key, what.as_ref(), right.as_ref());
    }

    /// Notes that something which must be in the file is not in it.
    pub(super) fn missing(&mut self, key: &Key, what: impl AsRef<str>, right: impl AsRef<str>) {
        if self.broken_lines.is_empty() {
            self.error(key, what, right);
        }
    }

    /// Whether anything was noted of the table `path` or of what is in it.
    pub(super) fn speaks_of(&self, path: &str) -> bool {
        let within = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.problems.iter().any(|problem| within(&problem.key))
    }

    /// All problems in the order of the file, each once.
    pub(super) fn into_problems(mut self) -> Problems {
        let order =
            |problem: &Problem| (problem.at.clone(), problem.severity, problem.key.clone(), problem.what.clone());
        self.problems.sort_by_cached_key(order);
        self.problems.dedup();
        Problems(self.problems)
    }

    fn place(&mut self, severity: Severity, key: &Key, what: &str, right: &str) {
        let at = self.position(key.offset);
        if !self.broken_lines.contains(&at.line) {
            self.note(severity, at, &key.path, what, right);
        }
    }

    fn note(&mut self, severity: Severity, at: Position, key: &str, what: &str, right: &str) {
        let (key, what, right) = (key.to_owned(), what.to_owned(), right.to_owned());
        self.problems.push(Problem { severity, at, key, what, right });
    }
}

/// How many bytes `before`, and the quotation mark in front of it, take up in what is `written`.
fn width(written: &str, before: &str) -> Option<usize> {
    let quote = written.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut rest = written.get(1..).filter(|rest| !rest.starts_with([quote; 2].iter().collect::<String>().as_str()))?;
    for letter in before.chars() {
        let length = match rest.strip_prefix('\\').filter(|_| quote == '"') {
            None => rest.starts_with(letter).then(|| letter.len_utf8())?,
            Some(escape) => match escape.bytes().next()? {
                b'x' => 4,
                b'u' => 6,
                b'U' => 10,
                _ => 2,
            },
        };
        rest = rest.get(length..)?;
    }
    Some(written.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, offset: usize) -> (usize, usize) {
        let at = Findings::new(text, Path::new("proxy.toml")).position(offset);
        (at.line, at.column)
    }

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("a = 1\nb = 2\n", 6), (2, 1));
        assert_eq!(place("a = 1\r\nb = 2", 11), (2, 5));
        assert_eq!(place("\"ü\" = 1", 4), (1, 4));
    }

    #[test]
    fn a_place_in_a_text_is_found_behind_escapes_and_not_behind_macros() {
        let file = r#"a = "x\\y\u00e9z" 'x\y' """xyz""" "%{env:A}%b""#;
        let found = Findings::new(file, Path::new("proxy.toml"));
        let at = |front: &str, text, at| &file[found.inside(file.find(front).unwrap(), text, at)..][..1];
        assert_eq!(at("\"x", "x\\y\u{e9}z", 0), "x");
        assert_eq!(at("\"x", "x\\y\u{e9}z", 2), "y");
        assert_eq!(at("\"x", "x\\y\u{e9}z", 5), "z");
        assert_eq!(at("'x", "x\\y", 2), "y");
        assert_eq!(at("\"\"\"", "xyz", 1), "\"");
        assert_eq!(at("\"%", "valueb", 5), "\"");
        assert_eq!(found.inside(999, "x", 1), 999);
    }

    #[test]
    fn an_offset_within_a_character_or_beyond_the_end_has_a_place_too() {
        assert_eq!(place("ü", 1), (1, 1));
        assert_eq!(place("ab\n", 99), (2, 1));
    }
}
