//! A single value as text, and why it is refused.
//!
//! What is shown of a value in an error is what the file says, never what its macros stand for.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use toml::de::DeValue;

use super::{nearest, text};

/// Why a value is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) right: String,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { what: what.into(), right: right.into() }
    }

    /// The value is of the wrong type; `right` is the type that is needed.
    pub(super) fn kind(value: &DeValue<'_>, right: impl Into<String>) -> Self {
        Self::new(format!("is {}", kind(value)), right)
    }

    /// With the value before what is wrong with it.
    fn about(self, written: &str) -> Self {
        Self { what: format!("{} {}", quoted(written), self.what), right: self.right }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `text` as it may stand in an error: escaped, cut to 60 characters, in quotation marks.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let cut = if text.chars().nth(60).is_some() { "…" } else { "" };
    format!("\"{shown}{cut}\"")
}

/// Reads a text value, macros replaced, and makes what `parse` makes of it.
pub(super) fn word<T>(
    value: &DeValue<'_>,
    base: &Path,
    parse: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let text = expanded(value, base)?;
    let about = |refusal: Refusal| refusal.about(value.as_str().unwrap_or_default());
    printable(&text).and_then(|()| parse(&text)).map_err(about)
}

/// As [`word`], of a value that is shown to nobody.
pub(super) fn secret<T>(
    value: &DeValue<'_>,
    base: &Path,
    parse: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let text = expanded(value, base)?;
    printable(&text).and_then(|()| parse(&text))
}

fn expanded(value: &DeValue<'_>, base: &Path) -> Result<String, Refusal> {
    let DeValue::String(written) = value else {
        return Err(Refusal::kind(value, "a text in quotation marks is needed"));
    };
    // Nearly every file ends with a line end that is not meant.
    let text = text::expand(written, base, |content| content.trim_end_matches(['\r', '\n']))
        .map_err(|error| Refusal::new(error.to_string(), error.right()))?;
    if text.is_empty() {
        return Err(Refusal::new("is empty", "write a value, or take the key out"));
    }
    Ok(text)
}

fn printable(text: &str) -> Result<(), Refusal> {
    if text.chars().any(char::is_control) {
        return Err(Refusal::new("holds a control character", "write it on one line"));
    }
    Ok(())
}

/// A number of things or bytes within `range`.
pub(super) fn count(value: &DeValue<'_>, range: &RangeInclusive<u64>) -> Result<u64, Refusal> {
    let right =
        || format!("a whole number from {} to {}, without quotation marks, is needed", range.start(), range.end());
    let DeValue::Integer(written) = value else {
        return Err(Refusal::kind(value, right()));
    };
    let number = u64::from_str_radix(written.as_str(), written.radix()).ok();
    let refusal = || Refusal::new(format!("{} is out of range", cut(&written.to_string())), right());
    number.filter(|number| range.contains(number)).ok_or_else(refusal)
}

fn cut(number: &str) -> String {
    number.chars().take(20).collect()
}

/// `true` or `false`.
pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, Refusal> {
    match value {
        DeValue::Boolean(on) => Ok(*on),
        _ => Err(Refusal::kind(value, "true or false, without quotation marks, is needed")),
    }
}

/// A length of time: a number with a unit.
pub(super) fn duration(value: &DeValue<'_>, base: &Path) -> Result<Duration, Refusal> {
    match value {
        DeValue::Integer(number) => {
            let what = format!("{} has no unit", cut(&number.to_string()));
            Err(Refusal::new(what, format!("write {DURATIONS}")))
        }
        DeValue::String(_) => word(value, base, parse_duration),
        _ => Err(Refusal::kind(value, format!("a duration is needed: {DURATIONS}"))),
    }
}

const DURATIONS: &str = "a whole number with a unit in quotation marks: \"300ms\", \"30s\", \"1m\", \"2h\" or \"1d\"";

/// Far above any sensible wait, and far below what overflows a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads a number with a unit.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Refusal> {
    let right = || format!("write {DURATIONS}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if digits > 0 => return Err(Refusal::new("has no unit", right())),
        _ => return Err(Refusal::new("is not a duration", right())),
    };
    let length = number.parse().ok().and_then(|number: u64| number.checked_mul(milliseconds));
    match length.map(Duration::from_millis) {
        _ if digits == 0 => Err(Refusal::new("is not a duration", right())),
        Some(Duration::ZERO) => Err(Refusal::new("is no time at all", "a duration is 1ms or longer")),
        Some(length) if length <= LONGEST => Ok(length),
        _ => Err(Refusal::new("is too long", "a duration is 365d or shorter")),
    }
}

/// One of a few names.
pub(super) fn one_of<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, Refusal> {
    let found = all.iter().copied().find(|known| name(*known) == text);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|known| name(*known)).collect();
        Refusal::new("is unknown", nearest::choices(text, &names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_one_number_and_one_unit() {
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("365d"), Ok(LONGEST));
        for wrong in
            ["", "s", "30", "1h30m", "30 s", "30S", "-1s", "+1s", "1.5s", "0s", "366d", "99999999999999999999d"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_quoted_is_escaped_and_cut() {
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quoted(&"ü".repeat(61)), format!("\"{}…\"", "ü".repeat(60)));
        assert_eq!(quoted("\u{202e}"), r#""\u{202e}""#);
    }
}
