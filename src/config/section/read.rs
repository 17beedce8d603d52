//! Reading single values of a section, each with what is wrong with it.

use std::{collections::HashSet, hash::Hash, ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use super::{Item, Section};
use crate::config::{
    findings::Key,
    setting::{Given, Setting},
    text::{self, Text},
    word::{self, Refusal, quoted},
};

impl<'d> Section<'d, '_> {
    /// `true` or `false`.
    pub(in crate::config) fn switch(&mut self, name: &'static str) -> Setting<bool> {
        self.value(name, |value, _| word::switch(value))
    }

    /// A number within `range`.
    pub(in crate::config) fn count(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Setting<u64> {
        self.value(name, |value, _| word::count(value, &range))
    }

    /// A length of time.
    pub(in crate::config) fn duration(&mut self, name: &'static str) -> Setting<Duration> {
        self.value(name, |value, section| word::duration(value, section.found.base()))
    }

    /// A text of which `parse` makes a value.
    pub(in crate::config) fn word<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Setting<T> {
        self.value(name, |value, section| section.one(value, parse))
    }

    /// A text of which `parse` makes a value, or true or false, of which `switched` does.
    pub(in crate::config) fn word_or_switch<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
        switched: impl Fn(bool) -> Result<T, Refusal>,
    ) -> Setting<T> {
        self.value(name, |value, section| match value {
            DeValue::Boolean(on) => switched(*on),
            _ => section.one(value, parse),
        })
    }

    /// A text of which `parse` makes a value, and which no message shows.
    pub(in crate::config) fn secret<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Setting<T> {
        self.value(name, |value, section| word::secret(value, section.found.base(), parse))
    }

    /// A PEM text, or macros that stand for one; they are not replaced before it is needed.
    pub(in crate::config) fn pem(&mut self, name: &'static str) -> Setting<Text> {
        let Some(Item { key, value }) = self.ask(name) else { return Setting::Absent };
        let base = self.found.base().to_owned();
        let at = self.found.position(key.offset);
        match pem(value) {
            Ok(template) => Setting::Given(Given { value: Text { template, base, at }, key }),
            Err(refusal) => self.wrong(&key, refusal),
        }
    }

    /// One or several texts, none of them twice.
    pub(in crate::config) fn list<T: Clone + Eq + Hash>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Setting<Vec<Given<T>>> {
        let list = self.set(name, parse);
        let Setting::Given(Given { value, key }) = &list else { return list };
        if value.is_empty() {
            return self.wrong(key, empty_list());
        }
        list
    }

    /// One or several texts whose order counts, and any of which may stand there twice.
    pub(in crate::config) fn words(&mut self, name: &'static str) -> Setting<Vec<String>> {
        let Some(Item { key, value }) = self.ask(name) else { return Setting::Absent };
        let members = match members(value, key.offset) {
            Ok(members) if members.is_empty() => return self.wrong(&key, empty_list()),
            Ok(members) => members,
            Err(refusal) => return self.wrong(&key, refusal),
        };
        let mut words = Vec::with_capacity(members.len());
        for (offset, value) in members {
            match self.one(value, |word| Ok(word.to_owned())) {
                Ok(word) => words.push(word),
                Err(refusal) => return self.wrong(&Key { offset, ..key }, refusal),
            }
        }
        Setting::Given(Given { value: words, key })
    }

    /// None, one or several texts, none of them twice.
    pub(in crate::config) fn set<T: Clone + Eq + Hash>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Setting<Vec<Given<T>>> {
        let Some(Item { key, value }) = self.ask(name) else { return Setting::Absent };
        let members = match members(value, key.offset) {
            Ok(members) => members,
            Err(refusal) => return self.wrong(&key, refusal),
        };
        let mut seen = HashSet::new();
        let good: Vec<_> =
            members.iter().filter_map(|(at, value)| self.member(&key.path, *at, value, &parse, &mut seen)).collect();
        if good.is_empty() && !members.is_empty() {
            return Setting::Wrong;
        }
        Setting::Given(Given { value: good, key })
    }

    fn member<T: Clone + Eq + Hash>(
        &mut self,
        path: &str,
        offset: usize,
        value: &DeValue<'_>,
        parse: impl Fn(&str) -> Result<T, Refusal>,
        seen: &mut HashSet<T>,
    ) -> Option<Given<T>> {
        let key = Key { path: path.to_owned(), offset };
        match self.one(value, parse) {
            Ok(one) if seen.insert(one.clone()) => return Some(Given { value: one, key }),
            Ok(_) => {
                let written = value.as_str().unwrap_or_default();
                self.refuse(&key, Refusal::new(format!("{} stands here twice", quoted(written)), "once is enough"));
            }
            Err(refusal) => self.refuse(&key, refusal),
        }
        None
    }

    pub(super) fn one<T>(&self, value: &DeValue<'_>, parse: impl Fn(&str) -> Result<T, Refusal>) -> Result<T, Refusal> {
        word::word(value, self.found.base(), parse)
    }

    fn value<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'d DeValue<'d>, &Self) -> Result<T, Refusal>,
    ) -> Setting<T> {
        let Some(Item { key, value }) = self.ask(name) else { return Setting::Absent };
        match read(value, self) {
            Ok(value) => Setting::Given(Given { value, key }),
            Err(refusal) => self.wrong(&key, refusal),
        }
    }

    pub(super) fn wrong<T>(&mut self, key: &Key, refusal: Refusal) -> Setting<T> {
        self.refuse(key, refusal);
        Setting::Wrong
    }
}

/// The members of a list, each with its place; a single text is a list too.
pub(super) fn members<'v>(value: &'v DeValue<'v>, offset: usize) -> Result<Vec<(usize, &'v DeValue<'v>)>, Refusal> {
    match value {
        DeValue::Array(members) => Ok(members.iter().map(|one| (one.span().start, one.get_ref())).collect()),
        DeValue::String(_) => Ok(vec![(offset, value)]),
        _ => Err(Refusal::kind(value, "a text, or a list of texts, in quotation marks is needed")),
    }
}

pub(super) fn empty_list() -> Refusal {
    Refusal::new("is an empty list", "name at least one")
}

/// A PEM text as the file says it. Its content is read, and judged, by `tls`.
fn pem(value: &DeValue<'_>) -> Result<String, Refusal> {
    let right = "write \"%{file:PATH}%\", \"%{env:NAME}%\", or the PEM text itself";
    let DeValue::String(template) = value else {
        return Err(Refusal::kind(value, right));
    };
    text::check(template).map_err(|error| Refusal::new(error.to_string(), error.right()))?;
    if text::has_macro(template) || template.contains("-----BEGIN ") {
        return Ok(template.to_string());
    }
    Err(Refusal::new("is neither PEM nor a macro", right))
}
