//! Which rules can never count, since an earlier one is true whenever they are.
//!
//! A rule is tried with the conditions of earlier ones taken to be false: if no facts can be so, it is never reached. The
//! search splits alternatives until only plain tests are left, and looks for two that exclude each other; whatever it
//! cannot exclude, or not in its number of steps, it takes to be possible. So a rule that it tells of is never reached,
//! and one that is never reached may be passed over.

use super::{
    condition::{Condition, Test, TextTest, Tree},
    facts::Variable,
    token::Order,
};

/// A rule that can never count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Its number, from 0; that of `else` is the number of rules.
    pub rule: usize,
    /// Why.
    pub because: Because,
}

/// Why a rule can never count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Nothing makes it true.
    Contradiction,
    /// This earlier rule is true whenever it is.
    Rule(usize),
    /// Some earlier rule always is.
    RulesBefore,
}

/// How many steps may be taken for one question, and in all: a millisecond or so, and a second for the worst file.
const STEPS: usize = 20_000;
const STEPS_IN_ALL: usize = 10_000_000;

/// The rules that can never count, in their order. An `else` is told of only where a single rule is always true: the rules
/// of a list may well be complete, and it must have one.
#[must_use]
pub fn unreachable(conditions: &[&Condition]) -> Vec<Unreachable> {
    let mut left = STEPS_IN_ALL;
    let trees: Vec<_> = conditions.iter().map(|condition| &condition.tree).collect();
    let rules = (0..=trees.len()).filter_map(|rule| {
        let because = reason(trees.get(rule).copied(), trees.get(..rule)?, &mut left)?;
        Some(Unreachable { rule, because })
    });
    rules.collect()
}

fn reason(rule: Option<&Tree>, before: &[&Tree], left: &mut usize) -> Option<Because> {
    let own = rule.map(|rule| (rule, true));
    if rule.is_some() && !possible(own.into_iter().collect(), left) {
        return Some(Because::Contradiction);
    }
    let hides = |earlier: &&Tree| !possible(own.into_iter().chain([(*earlier, false)]).collect(), left);
    if let Some(earlier) = before.iter().position(hides) {
        return Some(Because::Rule(earlier));
    }
    let all = own.into_iter().chain(before.iter().map(|earlier| (*earlier, false)));
    (rule.is_some() && before.len() > 1 && !possible(all.collect(), left)).then_some(Because::RulesBefore)
}

/// What is taken to be true, or not to be.
type Claim<'t> = (&'t Tree, bool);

/// Whether there may be facts of which all the claims are right.
fn possible(claims: Vec<Claim<'_>>, left: &mut usize) -> bool {
    let mut steps = STEPS.min(*left);
    *left -= steps;
    let may_be = search(Branch { claims, ..Branch::default() }, &mut steps);
    *left += steps;
    may_be
}

/// One way for the claims to be right: what is still to be looked at, what leaves a choice, and the tests it comes to.
#[derive(Clone, Default)]
struct Branch<'t> {
    claims: Vec<Claim<'t>>,
    choices: Vec<Claim<'t>>,
    tests: Vec<(&'t Test, bool)>,
}

/// Whether one of the ways may be right; out of steps, it may.
fn search(root: Branch<'_>, steps: &mut usize) -> bool {
    let mut open = vec![root];
    while let Some(mut branch) = open.pop() {
        if !branch.settle(steps) {
            continue;
        }
        let choice = branch.choices.pop();
        let Some((Tree::All(parts) | Tree::Any(parts), holds)) = choice.filter(|_| *steps > 0) else { return true };
        *steps = steps.saturating_sub(parts.len() * (branch.choices.len() + branch.tests.len() + 1));
        open.extend(parts.iter().map(|part| Branch { claims: vec![(part, holds)], ..branch.clone() }));
    }
    false
}

impl<'t> Branch<'t> {
    /// Takes the claims apart, as far as they leave no choice and there are steps left; `false` where they contradict each
    /// other.
    fn settle(&mut self, steps: &mut usize) -> bool {
        while let Some((tree, holds)) = self.claims.pop().filter(|_| *steps > 0) {
            *steps = steps.saturating_sub(self.tests.len() + 1);
            match tree {
                Tree::Constant(value) if *value == holds => {}
                Tree::Constant(_) => return false,
                Tree::Not(inner) => self.claims.push((inner, !holds)),
                Tree::All(parts) if holds => self.claims.extend(parts.iter().map(|part| (part, true))),
                Tree::Any(parts) if !holds => self.claims.extend(parts.iter().map(|part| (part, false))),
                Tree::All(_) | Tree::Any(_) => self.choices.push((tree, holds)),
                Tree::Test(test) => {
                    self.tests.push((test, holds));
                    if contradicts(&self.tests) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// Whether the last of the tests cannot go with those before it.
fn contradicts(tests: &[(&Test, bool)]) -> bool {
    let Some(((last, holds), before)) = tests.split_last() else { return false };
    match last {
        Test::Number { variable, .. } => no_number_left(*variable, tests),
        Test::Text { variable, test } => {
            let excluded = before.iter().any(|(other, also)| match other {
                Test::Text { variable: of, test: other } if of == variable => excludes(test, *holds, other, *also),
                _ => false,
            });
            excluded || no_word_left(*variable, tests)
        }
        Test::Numbers { .. } | Test::Same { .. } => before.iter().any(|(other, also)| other == last && also != holds),
    }
}

/// Whether no number is left for the variable: they are whole, and none is below 0.
fn no_number_left(variable: Variable, tests: &[(&Test, bool)]) -> bool {
    let (mut low, mut high, mut never) = (0_u64, u64::MAX, Vec::new());
    for (test, holds) in tests {
        let Test::Number { variable: of, order, bound } = test else { continue };
        if *of != variable {
            continue;
        }
        match (order, holds) {
            (Order::Equal, true) | (Order::Unequal, false) => (low, high) = (low.max(*bound), high.min(*bound)),
            (Order::Equal, false) | (Order::Unequal, true) => never.push(*bound),
            (Order::Less, true) | (Order::AtLeast, false) => match bound.checked_sub(1) {
                Some(below) => high = high.min(below),
                None => return true,
            },
            (Order::AtMost, true) | (Order::Greater, false) => high = high.min(*bound),
            (Order::Greater, true) | (Order::AtMost, false) => match bound.checked_add(1) {
                Some(above) => low = low.max(above),
                None => return true,
            },
            (Order::AtLeast, true) | (Order::Less, false) => low = low.max(*bound),
        }
    }
    never.sort_unstable();
    for bound in never {
        if bound == low && low < high {
            low += 1;
        } else if bound == low {
            return true;
        }
    }
    low > high
}

/// Whether each of the words that the variable can be is ruled out.
fn no_word_left(variable: Variable, tests: &[(&Test, bool)]) -> bool {
    let Some(words) = variable.kind().words() else { return false };
    let allows = |word: &str, (test, holds): &(&Test, bool)| match test {
        Test::Text { variable: of, test } if *of == variable => test.holds(word) == *holds,
        _ => true,
    };
    !words.iter().any(|word| tests.iter().all(|test| allows(word, test)))
}

/// Whether no text can answer both tests so.
fn excludes(one: &TextTest, one_holds: bool, other: &TextTest, other_holds: bool) -> bool {
    match (one_holds, other_holds) {
        (true, true) => apart(one, other) || apart(other, one),
        (true, false) => implies(one, other),
        (false, true) => implies(other, one),
        (false, false) => false,
    }
}

/// Whether every text that passes `one` passes `other`.
fn implies(one: &TextTest, other: &TextTest) -> bool {
    use TextTest::{Contains, EndsWith, Is, StartsWith};
    match (one, other) {
        (Is(text), test) => test.holds(text),
        (StartsWith(longer), StartsWith(front)) => longer.starts_with(front.as_str()),
        (EndsWith(longer), EndsWith(end)) => longer.ends_with(end.as_str()),
        (StartsWith(longer) | EndsWith(longer) | Contains(longer), Contains(part)) => longer.contains(part.as_str()),
        _ => one == other,
    }
}

/// Whether no text that passes `one` passes `other`, as far as this side shows it.
fn apart(one: &TextTest, other: &TextTest) -> bool {
    use TextTest::{EndsWith, Is, StartsWith};
    match (one, other) {
        (Is(text), test) => !test.holds(text),
        (StartsWith(one), StartsWith(other)) => !one.starts_with(other.as_str()) && !other.starts_with(one.as_str()),
        (EndsWith(one), EndsWith(other)) => !one.ends_with(other.as_str()) && !other.ends_with(one.as_str()),
        _ => false,
    }
}
