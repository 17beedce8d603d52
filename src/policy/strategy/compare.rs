//! Tests out of their operands: what may be compared with what, and with which values that can come true.

use std::{net::IpAddr, time::Duration};

use regex::RegexBuilder;

use super::{
    condition::{Pattern, Test, TextTest, Tree},
    facts::{Kind, Variable},
    fault::{Fault, shown},
    parse::Names,
    token::Order,
};

/// A part of an expression, and where it begins.
pub(super) struct Term<'t> {
    pub(super) at: usize,
    pub(super) operand: Operand<'t>,
}

pub(super) enum Operand<'t> {
    Variable(Variable),
    Text(&'t str),
    Number(u64),
    Duration(Duration),
    Condition(Tree),
}

impl Term<'_> {
    /// What it is, for an error.
    pub(super) fn described(&self) -> String {
        match &self.operand {
            Operand::Variable(variable) => format!("{} is {}", variable.name(), variable.kind().noun()),
            Operand::Text(text) => format!("{} is a text", shown(text)),
            Operand::Number(number) => format!("{number} is a number"),
            Operand::Duration(_) => "this is a duration".to_owned(),
            Operand::Condition(_) => "this is true or false".to_owned(),
        }
    }
}

/// `left ORDER right`.
pub(super) fn compare(left: Term<'_>, order: Order, right: Term<'_>, names: &Names) -> Result<Tree, Fault> {
    match (&left.operand, &right.operand) {
        (Operand::Number(one), Operand::Number(other)) => Ok(Tree::Constant(order.holds(one, other))),
        (Operand::Duration(one), Operand::Duration(other)) => Ok(Tree::Constant(order.holds(one, other))),
        (Operand::Text(one), Operand::Text(other)) => {
            equality(order, right.at).map(|is_equal| Tree::Constant((one == other) == is_equal))
        }
        (Operand::Variable(one), Operand::Variable(other)) if one.kind() == other.kind() => {
            variables(*one, order, *other, right.at)
        }
        (Operand::Variable(variable), _) if is_literal(&right) => with_literal(*variable, order, &right, names),
        (_, Operand::Variable(variable)) if is_literal(&left) => with_literal(*variable, order.swapped(), &left, names),
        _ => Err(mismatch(&left, &right)),
    }
}

fn is_literal(term: &Term<'_>) -> bool {
    matches!(term.operand, Operand::Text(_) | Operand::Number(_) | Operand::Duration(_))
}

fn mismatch(left: &Term<'_>, right: &Term<'_>) -> Fault {
    let conditions = [left, right].iter().any(|term| matches!(term.operand, Operand::Condition(_)));
    let hint = if conditions { "join conditions with && and ||" } else { "compare things of one kind" };
    Fault::new(right.at, format!("{}, and {}", left.described(), right.described()), hint)
}

/// Texts are equal or not; `Ok(true)` for `==`.
fn equality(order: Order, at: usize) -> Result<bool, Fault> {
    match order {
        Order::Equal => Ok(true),
        Order::Unequal => Ok(false),
        other => Err(Fault::new(at, format!("texts cannot be compared with {}", other.sign()), "use == or !=")),
    }
}

fn variables(left: Variable, order: Order, right: Variable, at: usize) -> Result<Tree, Fault> {
    if left == right {
        let what = format!("{} is compared with itself", left.name());
        return Err(Fault::new(at, what, "compare it with a value"));
    }
    if left.kind() == Kind::Number {
        return Ok(Tree::Test(Test::Numbers { left, order, right }));
    }
    Ok(signed(equality(order, at)?, Test::Same { left, right }))
}

fn signed(positive: bool, test: Test) -> Tree {
    let test = Tree::Test(test);
    if positive { test } else { Tree::Not(Box::new(test)) }
}

fn with_literal(variable: Variable, order: Order, literal: &Term<'_>, names: &Names) -> Result<Tree, Fault> {
    match (&literal.operand, variable.kind()) {
        (Operand::Number(bound), Kind::Number) => Ok(Tree::Test(Test::Number { variable, order, bound: *bound })),
        (Operand::Text(text), kind) if kind != Kind::Number => {
            let is_equal = equality(order, literal.at)?;
            let value = value(variable, text, literal.at, names)?;
            Ok(signed(is_equal, Test::Text { variable, test: TextTest::Is(value) }))
        }
        _ => Err(mismatch(&Term { at: literal.at, operand: Operand::Variable(variable) }, literal)),
    }
}

/// `text` as a value that the variable can have, in the form in which it is compared: a test that never comes true is a
/// mistake.
fn value(variable: Variable, text: &str, at: usize, names: &Names) -> Result<String, Fault> {
    // RFC 5321 §4.5.5: the sender of a notice is empty.
    if text.is_empty() && matches!(variable, Variable::Sender | Variable::SenderDomain) {
        return Ok(String::new());
    }
    let kind = variable.kind();
    match kind {
        Kind::Name if text.is_empty() => {
            return Err(Fault::new(at, format!("{} is never empty", variable.name()), "write the name"));
        }
        Kind::Name => names_only(variable, text, at)?,
        Kind::Mailbox if !text.contains('@') => {
            let right = format!("a domain is compared with {}_domain", variable.name());
            return Err(Fault::new(at, format!("{} is no address of a mailbox", shown(text)), right));
        }
        Kind::Ip => return ip(text, at),
        Kind::Listener if !names.listeners.iter().any(|id| id == text) => {
            let what = format!("{} is no listener with relay = true", shown(text));
            if names.listeners.is_empty() {
                return Err(Fault::new(at, what, "there is none"));
            }
            return Err(Fault::unknown(at, what, text, names.listeners.iter().map(String::as_str)));
        }
        Kind::Mailbox | Kind::Listener | Kind::Number | Kind::Error | Kind::Source => {}
    }
    if let Some(words) = kind.words().filter(|words| !words.contains(&text)) {
        return Err(Fault::unknown(at, format!("{} is never {}", variable.name(), shown(text)), text, words));
    }
    Ok(kind.folded(text).into_owned())
}

fn ip(text: &str, at: usize) -> Result<String, Fault> {
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(|ip| ip.to_canonical().to_string()).map_err(|_| {
        let right = "write '192.0.2.1' or '2001:db8::1'; for a network, starts_with or matches";
        Fault::new(at, format!("{} is no IP address", shown(text)), right)
    })
}

/// Refuses what no name of a host or domain can have in it.
fn names_only(variable: Variable, text: &str, at: usize) -> Result<(), Fault> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.:[]".contains(letter);
    let Some(stranger) = text.chars().find(|letter| !fits(*letter)) else { return Ok(()) };
    let right = match stranger {
        '*' => format!("for all below a domain write ends_with({}, '.example.org')", variable.name()),
        other if !other.is_ascii() => "write it in A-labels, as DNS has it: xn--…".to_owned(),
        _ => "write it as DNS has it: mail.example.org".to_owned(),
    };
    Err(Fault::new(at, format!("{} is no name of a host or domain", shown(text)), right))
}

/// A function of the language: a test of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    StartsWith,
    EndsWith,
    Contains,
    Matches,
}

impl Function {
    pub(super) const ALL: [Self; 4] = [Self::StartsWith, Self::EndsWith, Self::Contains, Self::Matches];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Contains => "contains",
            Self::Matches => "matches",
        }
    }

    const fn usage(self) -> &'static str {
        match self {
            Self::StartsWith => "write starts_with(mx, 'mail.')",
            Self::EndsWith => "write ends_with(mx, '.example.org')",
            Self::Contains => "write contains(mx, 'example')",
            Self::Matches => "write matches('^mx[0-9]+[.]', mx): the regular expression first",
        }
    }
}

/// `function(first, second)`; `at` is where it begins.
pub(super) fn call(function: Function, at: usize, first: &Term<'_>, second: &Term<'_>) -> Result<Tree, Fault> {
    let (variable, literal) = if function == Function::Matches { (second, first) } else { (first, second) };
    let (&Operand::Variable(variable), &Operand::Text(text)) = (&variable.operand, &literal.operand) else {
        let what = format!("{} takes a variable and a text in quotation marks", function.name());
        return Err(Fault::new(at, what, function.usage()));
    };
    let at = literal.at;
    if matches!(variable.kind(), Kind::Number | Kind::Error | Kind::Source) {
        let what = format!("{} is {}, in which nothing is looked for", variable.name(), variable.kind().noun());
        return Err(Fault::new(at, what, "compare it with =="));
    }
    if text.is_empty() {
        return Err(Fault::new(at, "an empty text is in every other", "write what to look for"));
    }
    let test = search(function, variable, text, at)?;
    Ok(Tree::Test(Test::Text { variable, test }))
}

fn search(function: Function, variable: Variable, text: &str, at: usize) -> Result<TextTest, Fault> {
    let kind = variable.kind();
    if function == Function::Matches {
        return pattern(kind, text, at).map(TextTest::Matches);
    }
    if kind == Kind::Name {
        names_only(variable, text, at)?;
    }
    let lower = || if kind == Kind::Listener { text.to_owned() } else { text.to_ascii_lowercase() };
    Ok(match function {
        Function::StartsWith => TextTest::StartsWith(lower()),
        // Of the three alone, this one has the end of the name in it.
        Function::EndsWith => TextTest::EndsWith(kind.folded(text).into_owned()),
        Function::Contains | Function::Matches => TextTest::Contains(lower()),
    })
}

/// The most memory, in bytes, that a regular expression may take once compiled, and again while it is tried. Trying one takes
/// time in proportion to that and to the text, never more.
const LARGEST_PATTERN: usize = 256 << 10;

fn pattern(kind: Kind, text: &str, at: usize) -> Result<Pattern, Fault> {
    let regex = RegexBuilder::new(text)
        .case_insensitive(kind != Kind::Listener)
        .size_limit(LARGEST_PATTERN)
        .dfa_size_limit(LARGEST_PATTERN)
        .nest_limit(32)
        .build();
    regex.map(Pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            Fault::new(at, "this regular expression is too large", "write a simpler one")
        }
        other => {
            // It draws the place over several lines; the last says what is wrong.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            Fault::new(at, format!("this is no regular expression: {why}"), Function::Matches.usage())
        }
    })
}
