//! Reading a list whose members are texts, or tables where there is more to say of one.

use std::{collections::HashSet, hash::Hash};

use toml::de::DeValue;

use super::{
    Item, Section,
    read::{empty_list, members},
};
use crate::config::{
    findings::Key,
    setting::{Given, Setting},
    word::{Refusal, quoted},
};

impl<'d> Section<'d, '_> {
    /// One or several texts, none of them twice. A member may also be a table that has its text by the key `main`, and
    /// further keys, which `read` takes; of a member that is a text they are absent.
    pub(in crate::config) fn mixed<T: Clone + Eq + Hash, M>(
        &mut self,
        name: &'static str,
        main: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
        read: impl Fn(&mut Section<'d, '_>) -> M,
    ) -> Setting<Vec<Given<(T, M)>>> {
        let Some(Item { key, value }) = self.ask(name) else { return Setting::Absent };
        let all = match value {
            DeValue::Table(_) => Ok(vec![(key.offset, value)]),
            _ => members(value, key.offset),
        };
        let all = match all {
            Ok(all) if all.is_empty() => return self.wrong(&key, empty_list()),
            Ok(all) => all,
            Err(refusal) => return self.wrong(&key, refusal),
        };
        let (mut seen, mut good) = (HashSet::new(), Vec::new());
        for (offset, value) in all {
            let key = Key { path: key.path.clone(), offset };
            let (text, rest) = self.either(&key, value, main, &parse, &read);
            let Setting::Given(Given { value: text, .. }) = text else { continue };
            if seen.insert(text.clone()) {
                good.push(Given { value: (text, rest), key });
            } else {
                let what = format!("{} stands here twice", quoted(written(value, main)));
                self.refuse(&key, Refusal::new(what, "once is enough"));
            }
        }
        if good.is_empty() { Setting::Wrong } else { Setting::Given(Given { value: good, key }) }
    }

    fn either<T, M>(
        &mut self,
        key: &Key,
        value: &'d DeValue<'d>,
        main: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
        read: impl Fn(&mut Section<'d, '_>) -> M,
    ) -> (Setting<T>, M) {
        let mut table =
            Section { key: key.clone(), found: &mut *self.found, entries: value.as_table(), taken: Vec::new() };
        if !value.is_table() {
            let text = table.one(value, parse);
            let text = match text {
                Ok(value) => Setting::Given(Given { value, key: key.clone() }),
                Err(refusal) => table.wrong(key, refusal),
            };
            return (text, read(&mut table));
        }
        let ((text, rest), _) = table.walk(|table| (table.word(main, parse), read(table)));
        if text.is_absent() {
            self.found.missing(key, format!("has no {main}"), format!("write {{ {main} = \"…\", … }}"));
        }
        (text, rest)
    }
}

/// The text of a member, as the file has it.
fn written<'v>(value: &'v DeValue<'v>, main: &str) -> &'v str {
    let inner = || value.as_table()?.get(main)?.get_ref().as_str();
    value.as_str().or_else(inner).unwrap_or_default()
}
