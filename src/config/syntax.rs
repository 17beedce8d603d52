//! What is not TOML, and the rest of the file all the same.
//!
//! The parser recovers from most faults, but gives the rest of the file up after a key without a value and where a
//! list or text has no end. Here such lines are noted and blanked, and the rest is read again, so that one run finds
//! what is wrong behind them too. Blanks are put in byte for byte: every other place stays what it was.

use std::collections::BTreeSet;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A place where the text is not TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// In bytes from the front of the text.
    pub(super) offset: usize,
    /// What the parser says.
    pub(super) what: String,
}

/// How often a text is read again; beyond that the operator has enough to mend.
const ROUNDS: usize = 32;

/// The table behind the end: where the parser finds it, it has read everything.
const END: &str = "mailward: end of file";

/// All faults of `text`, and the text without those that hide the rest of it.
pub(super) fn repair(text: &str) -> (String, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut text = text.to_owned();
    for _ in 0..ROUNDS {
        let blank = round(&text, &mut faults);
        if blank.is_empty() {
            break;
        }
        text = blanked(&text, &blank);
    }
    (text, faults)
}

/// Reads `text` once, notes its faults, and says where the lines begin that are to be blanked.
fn round(text: &str, faults: &mut Vec<Fault>) -> BTreeSet<usize> {
    let with_end = format!("{text}\n[\"{END}\"]\n");
    let (document, errors) = DeTable::parse_recoverable(&with_end);
    let new = errors.iter().map(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start.min(text.len()));
        Fault { offset, what: error.message().to_owned() }
    });
    if document.get_ref().contains_key(END) {
        faults.extend(new);
        return BTreeSet::new();
    }
    if let Some(start) = endless(document.get_ref(), text.len()) {
        // What comes behind is read as part of the value, and complained of without reason.
        faults.extend(new.filter(|fault| fault.offset < start));
        faults.push(Fault { offset: start, what: "this value has no end".to_owned() });
        return lines_of_value(text, start);
    }
    let new: Vec<_> = new.collect();
    let starts = new.iter().map(|fault| line_start(text, fault.offset));
    let blank = starts.filter(|start| !is_header(line(text, *start)) && !line(text, *start).is_empty()).collect();
    faults.extend(new);
    blank
}

/// Where the value begins that goes on to the end of the file.
fn endless(table: &DeTable<'_>, end: usize) -> Option<usize> {
    let start = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Table(table) => endless(table, end),
        _ => Some(value.span()).filter(|span| span.end >= end && span.start < end).map(|span| span.start),
    };
    table.iter().filter_map(|(_, value)| start(value)).min()
}

/// The starts of the line at `offset` and of those behind it, up to one that begins something new.
fn lines_of_value(text: &str, offset: usize) -> BTreeSet<usize> {
    let first = line_start(text, offset);
    let behind = text.match_indices('\n').map(|(at, _)| at + 1).filter(|start| *start > first);
    std::iter::once(first).chain(behind.take_while(|start| !begins_anew(line(text, *start)))).collect()
}

fn begins_anew(line: &str) -> bool {
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let assigns =
        |(key, value): (&str, &str)| is_key(key.trim()) && !value.trim().is_empty() && !value.starts_with('=');
    is_header(line) || line.split_once('=').is_some_and(assigns)
}

fn is_header(line: &str) -> bool {
    line.starts_with('[')
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// The line that begins at `start`, without the blanks around it.
fn line(text: &str, start: usize) -> &str {
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim()
}

fn blanked(text: &str, starts: &BTreeSet<usize>) -> String {
    let mut offset = 0;
    let mut blanked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if starts.contains(&offset) {
            blanked.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            blanked.push_str(line);
        }
        offset += line.len();
    }
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty_lines(text: &str) -> Vec<usize> {
        let (repaired, faults) = repair(text);
        assert_eq!(repaired.len(), text.len());
        let mut lines: Vec<_> = faults.iter().map(|fault| text[..fault.offset].matches('\n').count() + 1).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    #[test]
    fn what_stands_behind_a_fault_is_read() {
        for fault in [
            "workers 4",
            "a",
            "a.b",
            "\"a = 1",
            "@@@",
            "é",
            "a: 1",
            "a = [1, 2",
            "a = [\"x\"",
            "a = \"\"\"x",
            "a = '''",
        ] {
            let text = format!("[first]\n{fault}\nl = 30s\n[last]\nm = 3\n");
            assert_eq!(faulty_lines(&text), [2, 3], "{fault}");
            let (repaired, _) = repair(&text);
            assert!(DeTable::parse_recoverable(&repaired).0.get_ref().contains_key("last"), "{fault}");
        }
    }

    #[test]
    fn an_endless_list_ends_where_something_new_begins() {
        assert_eq!(faulty_lines("a = [\n  \"x\",\n  \"y\",\nb = 1\nc 2\n"), [1, 5]);
        assert_eq!(faulty_lines("a = \"\"\"\n-----BEGIN\nQUJD\nQQ==\nQUI=\n[x]\ny = 1"), [1]);
    }

    #[test]
    fn a_good_text_stays_what_it_is() {
        let text = "a = [\n  \"x\",\n]\n[b]\nc = 1";
        assert_eq!(repair(text), (text.to_owned(), Vec::new()));
    }
}
