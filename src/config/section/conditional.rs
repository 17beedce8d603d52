//! Reading a value that depends on conditions: one text, or a list of `{ if, then }` with an `{ else }` at its end.

use toml::de::DeValue;

use super::{Section, read::empty_list};
use crate::{
    config::{
        findings::Key,
        nearest,
        setting::{Given, Setting},
        text,
        word::{self, Refusal},
    },
    policy::strategy::{Fault, Right},
};

/// A value that depends on conditions, the first of which that is true counts.
#[derive(Clone, Debug)]
pub(in crate::config) struct Conditional<C, R> {
    /// In the order of the file.
    pub(in crate::config) rules: Vec<Rule<C, R>>,
    /// What stands behind `else`, or alone.
    pub(in crate::config) otherwise: Given<R>,
}

/// One `{ if, then }`.
#[derive(Clone, Debug)]
pub(in crate::config) struct Rule<C, R> {
    pub(in crate::config) key: Key,
    pub(in crate::config) condition: C,
    pub(in crate::config) result: Given<R>,
}

/// One member of the list: what it says, and whether that is as it has to be.
struct Member<C, R> {
    key: Key,
    condition: Setting<C>,
    result: Setting<R>,
    otherwise: Setting<R>,
}

const LIST: &str = "write { if = \"CONDITION\", then = \"'ID'\" }, and { else = \"'ID'\" } at the end";

impl<'d> Section<'d, '_> {
    /// A text of which `result` makes a value, or a list whose conditions `condition` reads. Faults are placed within the
    /// texts.
    pub(in crate::config) fn conditional<C, R>(
        &mut self,
        name: &'static str,
        condition: impl Fn(&str) -> Result<C, Fault>,
        result: impl Fn(&str) -> Result<R, Fault>,
    ) -> Setting<Conditional<C, R>> {
        let Some(item) = self.ask(name) else { return Setting::Absent };
        let list = match item.value {
            DeValue::Array(list) => list,
            DeValue::String(_) => {
                let alone = |value, key| Conditional { rules: Vec::new(), otherwise: Given { value, key } };
                return self.expression(item.key.clone(), item.value, &result).map(|value| alone(value, item.key));
            }
            other => return self.wrong(&item.key, Refusal::kind(other, LIST)),
        };
        let members: Vec<_> = list
            .iter()
            .map(|member| {
                let key = Key { path: item.key.path.clone(), offset: member.span().start };
                self.member_of(key, member.get_ref(), &condition, &result)
            })
            .collect();
        self.assemble(&item.key, members)
    }

    fn member_of<C, R>(
        &mut self,
        key: Key,
        value: &'d DeValue<'d>,
        condition: &impl Fn(&str) -> Result<C, Fault>,
        result: &impl Fn(&str) -> Result<R, Fault>,
    ) -> Option<Member<C, R>> {
        let Some(entries) = value.as_table() else {
            self.refuse(&key, Refusal::kind(value, LIST));
            return None;
        };
        let table = Section { key: key.clone(), found: &mut *self.found, entries: Some(entries), taken: Vec::new() };
        let (member, _) = table.walk(|table| Member {
            key,
            condition: table.part("if", condition),
            result: table.part("then", result),
            otherwise: table.part("else", result),
        });
        Some(member)
    }

    fn part<T>(&mut self, name: &'static str, parse: &impl Fn(&str) -> Result<T, Fault>) -> Setting<T> {
        match self.take(name) {
            Some(item) => self.expression(item.key, item.value, parse),
            None => Setting::Absent,
        }
    }

    fn expression<T>(
        &mut self,
        key: Key,
        value: &DeValue<'_>,
        parse: &impl Fn(&str) -> Result<T, Fault>,
    ) -> Setting<T> {
        let text = match word::word(value, self.found.base(), |text| Ok(text.to_owned())) {
            Ok(text) => text,
            Err(refusal) => return self.wrong(&key, refusal),
        };
        let fault = match parse(&text) {
            Ok(value) => return Setting::Given(Given { value, key }),
            Err(fault) => fault,
        };
        if text::has_macro(value.as_str().unwrap_or_default()) {
            // A fault shows a part of the text, and what a macro stands for is shown to nobody.
            let right = "write it without macros to be told what is wrong, and where";
            return self.wrong(&key, Refusal::new("makes no sense with what its macros stand for", right));
        }
        let offset = self.found.inside(key.offset, &text, fault.at);
        let right = match fault.right {
            Right::Write(right) => right,
            Right::OneOf { word, names } => {
                nearest::choices(&word, &names.iter().map(String::as_str).collect::<Vec<_>>())
            }
        };
        self.wrong(&Key { offset, ..key }, Refusal::new(fault.what, right))
    }

    /// One `else`, at the end, and rules with both their parts before it.
    fn assemble<C, R>(&mut self, key: &Key, members: Vec<Option<Member<C, R>>>) -> Setting<Conditional<C, R>> {
        let count = members.len();
        if count == 0 {
            return self.wrong(key, empty_list());
        }
        let (mut rules, mut otherwise, mut complete, mut has_else) = (Vec::new(), None, true, false);
        for (at, member) in members.into_iter().enumerate() {
            let Some(member) = member else {
                complete = false;
                continue;
            };
            has_else |= !member.otherwise.is_absent();
            complete &= self.is_whole(&member, at + 1 == count);
            match (member.condition, member.result, member.otherwise) {
                (Setting::Given(condition), Setting::Given(result), _) => {
                    rules.push(Rule { key: member.key, condition: condition.value, result });
                }
                (_, _, Setting::Given(value)) => otherwise = Some(value),
                _ => complete = false,
            }
        }
        if !has_else {
            self.found.missing(key, "has no else", "write { else = \"'ID'\" } at the end");
        }
        match otherwise {
            Some(otherwise) if complete => {
                Setting::Given(Given { value: Conditional { rules, otherwise }, key: key.clone() })
            }
            _ => Setting::Wrong,
        }
    }

    fn is_whole<C, R>(&mut self, member: &Member<C, R>, is_last: bool) -> bool {
        let absent = (member.condition.is_absent(), member.result.is_absent(), member.otherwise.is_absent());
        let (what, right) = match absent {
            (false, false, true) => return true,
            (true, true, false) if is_last => return true,
            (true, true, false) => ("has an else before the end", "what comes behind it would never be reached"),
            (true, true, true) => ("is empty", LIST),
            (_, _, false) => ("has an else beside a rule", "write { else = \"'ID'\" } by itself, at the end"),
            (true, false, true) => ("has a then without an if", LIST),
            (false, true, true) => ("has an if without a then", LIST),
        };
        self.found.error(&member.key, what, right);
        false
    }
}
