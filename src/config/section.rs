//! A walk over the tables of the file: each section takes the keys it knows, and the rest is reported.

use std::collections::HashSet;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    findings::{Findings, Key},
    later::{self, LEAVE_OUT, not_yet},
    nearest,
    word::{Refusal, quoted},
};

mod conditional;
mod mixed;
mod read;

pub(super) use conditional::Conditional;

/// One table of the file, or the absence of one.
pub(super) struct Section<'d, 'f> {
    /// The table's own name and place.
    pub(super) key: Key,
    found: &'f mut Findings,
    entries: Option<&'d DeTable<'d>>,
    taken: Vec<&'static str>,
}

/// A value and its key.
struct Item<'d> {
    key: Key,
    value: &'d DeValue<'d>,
}

impl<'d, 'f> Section<'d, 'f> {
    /// Reads the whole file.
    pub(super) fn root<T>(
        entries: &'d DeTable<'d>,
        found: &'f mut Findings,
        read: impl FnOnce(&mut Section<'d, '_>) -> T,
    ) -> T {
        let key = Key { path: String::new(), offset: 0 };
        Section { key, found, entries: Some(entries), taken: Vec::new() }.walk(read).0
    }

    /// Reads the table `name` within this one; all its keys are absent where it is.
    pub(super) fn within<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'d, '_>) -> T) -> T {
        let item = self.take(name);
        let absent = Key { path: dotted(&self.key.path, name), offset: self.key.offset };
        let key = item.as_ref().map_or(absent, |item| item.key.clone());
        let entries = item.as_ref().and_then(|item| item.value.as_table());
        let section = Section { key, found: &mut *self.found, entries, taken: Vec::new() };
        let (result, known) = section.walk(read);
        if let Some(item) = item.filter(|item| !item.value.is_table()) {
            let right = format!("a table is needed, with these keys: {}", known.join(", "));
            self.refuse(&item.key, Refusal::kind(item.value, right));
        }
        result
    }

    /// Reads each table `name.<id>` within this one.
    pub(super) fn each<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&str, &mut Section<'d, '_>) -> T,
    ) -> Vec<T> {
        let Some(Item { key, value }) = self.take(name) else { return Vec::new() };
        let Some(tables) = value.as_table() else {
            self.refuse(&key, Refusal::kind(value, format!("write tables: [{}.<id>]", key.path)));
            return Vec::new();
        };
        let mut all = Vec::with_capacity(tables.len());
        for (id, value) in tables {
            if let Some((key, entries)) = self.identified(&key.path, id.get_ref(), value) {
                let section = Section { key, found: &mut *self.found, entries: Some(entries), taken: Vec::new() };
                all.push(section.walk(|section| read(id.get_ref(), section)).0);
            }
        }
        all
    }

    fn identified(&mut self, path: &str, id: &str, value: &'d Spanned<DeValue<'d>>) -> Option<(Key, &'d DeTable<'d>)> {
        let key = Key { path: dotted(path, id), offset: value.span().start };
        let Some(table) = value.get_ref().as_table() else {
            self.refuse(&key, Refusal::kind(value.get_ref(), format!("write a table: [{path}.<id>]")));
            return None;
        };
        if !is_bare(id) || id.len() > 64 {
            let right = "an id is made of up to 64 of the letters A to Z, digits, '-' and '_'";
            self.found.error(&key, "cannot be an id", right);
            return None;
        }
        Some((key, table))
    }

    /// Runs `read`, reports what it left, and says what it took.
    fn walk<T>(mut self, read: impl FnOnce(&mut Section<'d, '_>) -> T) -> (T, Vec<&'static str>) {
        let result = read(&mut self);
        self.report_rest();
        (result, self.taken)
    }

    fn report_rest(&mut self) {
        let mut refused = HashSet::new();
        let entries = self.entries.into_iter().flatten();
        let mut rest: Vec<_> = entries.filter(|(name, _)| !self.taken.contains(&name.get_ref().as_ref())).collect();
        rest.sort_by_key(|(name, _)| name.span().start);
        for (name, _) in rest {
            let key = Key { path: dotted(&self.key.path, name.get_ref()), offset: name.span().start };
            match later::key(&key.path) {
                Some(what) if refused.insert(what) => self.found.error(&key, not_yet(what), LEAVE_OUT),
                Some(_) => {}
                None => self.report_unknown(&key, name.get_ref()),
            }
        }
    }

    fn report_unknown(&mut self, key: &Key, name: &str) {
        let right = match super::file::home_of(name) {
            Some(home) if nearest::nearest(name, self.taken.iter().copied()).is_none() => {
                format!("it belongs in [{home}]; known here: {}", self.taken.join(", "))
            }
            _ => nearest::choices(name, &self.taken),
        };
        self.found.error(key, "unknown key", right);
    }

    fn take(&mut self, name: &'static str) -> Option<Item<'d>> {
        self.taken.push(name);
        let value = self.entries?.get(name)?;
        let key = Key { path: dotted(&self.key.path, name), offset: value.span().start };
        Some(Item { key, value: value.get_ref() })
    }

    fn ask(&mut self, name: &'static str) -> Option<Item<'d>> {
        self.found.asked.insert(dotted(&self.key.path, name));
        self.take(name)
    }

    fn refuse(&mut self, key: &Key, refusal: Refusal) {
        self.found.error(key, refusal.what, refusal.right);
    }
}

fn dotted(table: &str, name: &str) -> String {
    let name = if is_bare(name) { name.to_owned() } else { quoted(name) };
    if table.is_empty() { name } else { format!("{table}.{name}") }
}

/// Whether TOML lets `name` stand without quotation marks.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
