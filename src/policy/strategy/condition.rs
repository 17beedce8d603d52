//! A condition, and whether it holds.
//!
//! As long as something is not known, a condition may hold or not: then there is no answer, unless what is known decides
//! (`mx == 'a' && retry_num > 0` is false at the first attempt, whatever the MX). The rules are Kleene's.

use std::fmt;

use regex::Regex;

use super::{
    facts::{Facts, Variable},
    token::Order,
};

/// What stands behind `if`, read and found to make sense.
#[derive(Clone, Debug)]
pub struct Condition {
    pub(super) text: String,
    pub(super) tree: Tree,
}

impl Condition {
    /// Whether it holds; `None` where that depends on what is not known.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        self.tree.holds(facts)
    }
}

/// As the file has it.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A condition by its parts. It is never deeper than its expression was allowed to be.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Constant(bool),
    Not(Box<Tree>),
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Test(Test),
}

/// One question to the facts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Number { variable: Variable, order: Order, bound: u64 },
    Numbers { left: Variable, order: Order, right: Variable },
    Text { variable: Variable, test: TextTest },
    Same { left: Variable, right: Variable },
}

/// One question to a text, in the form in which such texts are compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TextTest {
    Is(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Matches(Pattern),
}

#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Tree {
    fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Not(inner) => inner.holds(facts).map(|holds| !holds),
            Self::All(parts) => decided(parts, facts, false),
            Self::Any(parts) => decided(parts, facts, true),
            Self::Test(test) => test.holds(facts),
        }
    }
}

/// One part with the `deciding` answer decides; without one, all parts have to be known.
fn decided(parts: &[Tree], facts: &Facts<'_>, deciding: bool) -> Option<bool> {
    let mut all_known = true;
    for part in parts {
        match part.holds(facts) {
            Some(holds) if holds == deciding => return Some(deciding),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!deciding)
}

impl Test {
    fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        Some(match self {
            Self::Number { variable, order, bound } => order.holds(&variable.number(facts)?, bound),
            Self::Numbers { left, order, right } => order.holds(&left.number(facts)?, &right.number(facts)?),
            Self::Text { variable, test } => test.holds(&variable.text(facts)?),
            Self::Same { left, right } => left.text(facts)? == right.text(facts)?,
        })
    }
}

impl TextTest {
    pub(super) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Is(other) => text == other,
            Self::StartsWith(front) => text.starts_with(front.as_str()),
            Self::EndsWith(end) => text.ends_with(end.as_str()),
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Matches(Pattern(regex)) => regex.is_match(text),
        }
    }
}
