//! The policy file (RFC 8461 §3.2).
//!
//! Promises that a policy has all its keys, each well-formed; that of a key which may stand once the first counts; and that the
//! lines can be shown as they were served (RFC 8460 §4.4). Refuses a policy for a single ill-formed line, since half of one
//! would not be what its domain meant.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::record::is_extension_name;
use crate::policy::names::covers;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What is to be done about a host that does not comply.
    pub mode: Mode,
    /// The patterns for names of hosts, in lower case; may be empty only where the mode is none.
    pub mx: Vec<String>,
    /// How long it may be held.
    pub max_age: Duration,
    /// The lines as they were served, without their ends.
    pub lines: Vec<String>,
}

/// What is to be done about a host that does not comply (RFC 8461 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It gets no mail.
    Enforce,
    /// It gets mail, and the domain a report.
    Testing,
    /// The domain has no policy any more.
    None,
}

/// A year of 365¼ days: the longest `max_age` (RFC 8461 §3.2).
pub const LONGEST_AGE: Duration = Duration::from_secs(31_557_600);

/// Why something is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A line that the grammar does not have.
    #[error("line {line} {what}")]
    Line {
        /// Which, the first being 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key is missing.
    #[error("the key {0} is missing")]
    Missing(&'static str),
}

/// What the lines read so far say.
#[derive(Default)]
struct Keys {
    has_version: bool,
    mode: Option<Mode>,
    mx: Vec<String>,
    max_age: Option<Duration>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let text =
            std::str::from_utf8(body).map_err(|_| Invalid::Line { line: 1, what: "or a later one is not UTF-8" })?;
        let mut keys = Keys::default();
        let lines: Vec<_> = lines(text).collect();
        for (at, line) in lines.iter().enumerate() {
            keys.read(line).map_err(|what| Invalid::Line { line: at + 1, what })?;
        }
        if !keys.has_version {
            return Err(Invalid::Missing("version"));
        }
        let mode = keys.mode.ok_or(Invalid::Missing("mode"))?;
        let max_age = keys.max_age.ok_or(Invalid::Missing("max_age"))?;
        if keys.mx.is_empty() && mode != Mode::None {
            return Err(Invalid::Missing("mx"));
        }
        Ok(Self { mode, mx: keys.mx, max_age, lines: lines.into_iter().map(str::to_owned).collect() })
    }

    /// Whether mail for the domain may go to the host with this MX name (RFC 8461 §4.1).
    #[must_use]
    pub fn lists(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| covers(pattern, host))
    }
}

/// The lines, each ended by LF or CRLF; at the end of the last none is needed.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => line,
    })
}

impl Keys {
    fn read(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.trim_end_matches([' ', '\t']).split_once(':').ok_or("has no colon")?;
        let value = value.trim_start_matches([' ', '\t']);
        // RFC 8461 §3.2: of a key that is not mx all but the first are ignored.
        match name {
            "version" if !self.has_version && value != "STSv1" => return Err("has another version than STSv1"),
            "version" if !self.has_version => self.has_version = true,
            "mode" if self.mode.is_none() => self.mode = Some(mode(value)?),
            "max_age" if self.max_age.is_none() => self.max_age = Some(max_age(value)?),
            "mx" => self.mx.push(pattern(value)?),
            _ if !is_extension_name(name) => return Err("has a key that cannot be one"),
            _ if !is_extension_value(value) => return Err("has a value that cannot be one"),
            _ => {}
        }
        Ok(())
    }
}

fn mode(value: &str) -> Result<Mode, &'static str> {
    match value {
        "enforce" => Ok(Mode::Enforce),
        "testing" => Ok(Mode::Testing),
        "none" => Ok(Mode::None),
        _ => Err("has a mode that is neither enforce, testing nor none"),
    }
}

fn max_age(value: &str) -> Result<Duration, &'static str> {
    if !(1..=10).contains(&value.len()) || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has a max_age that is not a number of up to ten digits");
    }
    let age = value.parse().map(Duration::from_secs).ok();
    age.filter(|age| *age <= LONGEST_AGE).ok_or("has a max_age beyond 31557600")
}

/// RFC 8461 §3.2: a domain of A-labels (RFC 5321 §4.1.2), `*.` in front of it or not.
fn pattern(value: &str) -> Result<String, &'static str> {
    const WRONG: &str = "has an mx that is no host's name";
    let domain = value.strip_prefix("*.").unwrap_or(value);
    let last = domain.rsplit('.').next().unwrap_or_default();
    // An address would have passed for a name.
    let is_address = last.bytes().all(|byte| byte.is_ascii_digit());
    let is_domain = domain.len() <= 253 && domain.split('.').all(is_label) && !is_address;
    is_domain.then(|| value.to_ascii_lowercase()).ok_or(WRONG)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Visible characters, ASCII or not, with single or several blanks in between.
fn is_extension_value(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with(' ')
        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, Invalid> {
        Policy::parse(text.as_bytes())
    }

    #[test]
    fn m5_a_policy_with_all_keys_is_read_whatever_its_line_ends_and_blanks() {
        let policy =
            parse("version: STSv1\nmode: enforce\nmx: MX1.example.org\nmx: *.example.net\nmax_age: 604800\n").unwrap();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(policy.mx, ["mx1.example.org", "*.example.net"]);
        assert_eq!(policy.max_age, Duration::from_secs(604_800));
        assert_eq!(policy.lines[2], "mx: MX1.example.org");
        let odd = "max_age:0\t \r\nmx:\t  a.example \nmode:testing\r\nmore: a  b ä=:;\r\nversion:STSv1";
        let policy = parse(odd).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Testing, Duration::ZERO));
        assert_eq!(policy.mx, ["a.example"]);
        assert_eq!(policy.lines.len(), 5);
    }

    #[test]
    fn m5_mx_is_required_unless_the_mode_is_none() {
        assert_eq!(parse("version: STSv1\nmode: none\nmax_age: 86400\n").unwrap().mode, Mode::None);
        for mode in ["enforce", "testing"] {
            let text = format!("version: STSv1\nmode: {mode}\nmax_age: 86400\n");
            assert_eq!(parse(&text), Err(Invalid::Missing("mx")));
        }
    }

    #[test]
    fn m5_of_a_key_that_stands_twice_the_first_counts_and_mx_adds_up() {
        let text = "version: STSv1\nversion: STSv2\nmode: testing\nmode: enforce\nmx: a.example\nmx: b.example\n\
                    max_age: 5\nmax_age: 6\nmax_age: x\n";
        let policy = parse(text).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Testing, Duration::from_secs(5)));
        assert_eq!(policy.mx, ["a.example", "b.example"]);
    }

    #[test]
    fn m5_a_key_that_is_missing_is_named() {
        let lines = ["version: STSv1\n", "mode: none\n", "max_age: 1\n"];
        for (left_out, name) in ["version", "mode", "max_age"].into_iter().enumerate() {
            let text: String =
                lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
            assert_eq!(parse(&text), Err(Invalid::Missing(name)));
        }
        assert_eq!(parse(""), Err(Invalid::Missing("version")));
    }

    #[test]
    fn m5_one_ill_formed_line_spoils_the_policy() {
        let long = format!("{}: x", "n".repeat(33));
        for bad in [
            "version: STSv2",
            "version: STSv10",
            "version: stsv1",
            "Version",
            "mode: Enforce",
            "mode: enforced",
            "mode:",
            "max_age: 01234567890",
            "max_age: 31557601",
            "max_age: -1",
            "max_age: 1d",
            "max_age: 1 2",
            "max_age:",
            "mx:",
            "mx: *",
            "mx: *.",
            "mx: *.*.example",
            "mx: **.example",
            "mx: mx*.example",
            "mx: mx.*.example",
            "mx: a..example",
            "mx: a.example.",
            "mx: .example",
            "mx: -a.example",
            "mx: a-.example",
            "mx: a_b.example",
            "mx: a b.example",
            "mx: [192.0.2.1]",
            "mx: 192.0.2.1",
            "mx: 2001:db8::1",
            "mx: måx.example",
            "mx : a.example",
            " mx: a.example",
            "more:",
            "more:\u{7}x",
            "more: a\tb",
            "more: a\rb",
            "more: a\u{0}",
            "_more: x",
            "mo re: x",
            "",
            " ",
            "x",
            &long,
        ] {
            let text = format!("{bad}\nversion: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1\n");
            assert!(matches!(parse(&text), Err(Invalid::Line { line: 1, .. })), "{bad:?}: {:?}", parse(&text));
        }
        let whole = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 31557600";
        assert!(parse(whole).is_ok());
        assert!(parse(&format!("{whole}\n\n")).is_err(), "an empty line");
        assert!(parse(&format!("{whole}\r")).is_err(), "a lone CR");
        assert!(parse(&format!("\u{feff}{whole}")).is_err(), "a byte order mark");
        assert!(Policy::parse(&[whole.as_bytes(), b"\nmore: \xff"].concat()).is_err(), "no UTF-8");
    }

    #[test]
    fn m9_hosts_are_held_against_the_patterns_by_their_mx_names() {
        let policy = parse("version: STSv1\nmode: enforce\nmx: mx.example.org\nmx: *.Example.com\nmax_age: 1").unwrap();
        for listed in ["mx.example.org", "MX.Example.Org", "a.example.com"] {
            assert!(policy.lists(listed), "{listed}");
        }
        for other in ["example.com", "a.b.example.com", "mx2.example.org", "a.mx.example.org", ""] {
            assert!(!policy.lists(other), "{other}");
        }
    }
}
