//! The log: human text on a terminal, JSON for machines, and nothing of a peer's that could forge a line.

mod fields;

use std::{
    fmt,
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt::time::SystemTime};

use self::fields::Fields;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Environment variable whose filter goes before `--log-level`.
const VARIABLE: &str = "MAILWARD_LOG";

/// Starts logging to standard error. `level` is a filter in the notation of `tracing` (`info`,
/// `mailward=debug`); the environment variable `MAILWARD_LOG` overrides it, unless it is empty.
///
/// # Errors
/// What is wrong with the variable's value, for the operator.
pub fn start(format: Format, level: &str) -> Result<(), String> {
    let filter = match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        Some(value) => filter(&value.to_string_lossy()).map_err(|what| format!("{VARIABLE}: {what}"))?,
        None => EnvFilter::new(level),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        // Of a line that cannot be written (disk full, nobody reads) nothing is said: the place to say it is the same,
        // and printing there would panic.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start (tests in one process) keeps the first.
    let _ = match format {
        Format::Text => log.fmt_fields(Fields).try_init(),
        Format::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    Ok(())
}

/// The filter that an operator wrote.
fn filter(text: &str) -> Result<EnvFilter, String> {
    // A word that is no level would be taken for the name of a module, and turn off the rest of the log.
    let is_meant = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    let right = "right are error, warn, info, debug, trace, off, and levels for parts, as in info,mailward::tls=debug";
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    match parts.iter().find(|part| !is_meant(part)) {
        Some(part) => Err(format!("{part:?} is not a level; {right}")),
        None => parts.join(",").parse().map_err(|error| format!("{text:?}: {error}; {right}")),
    }
}

/// Lets a line of a kind be written once a minute, however often there is reason for it.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Mutex<Option<Instant>>,
}

/// How long a [`Throttle`] holds lines back.
const PAUSE: Duration = Duration::from_secs(60);

impl Throttle {
    /// Whether the line is to be written now; then not again for a minute.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Longest piece of peer text in a log line, in bytes (spec §6).
const SHOWN: usize = 64;

/// Peer text as it may stand in the log: control and bidirectional-override characters escaped, cut to 64 bytes. Blanks
/// are escaped too: between them a peer could write what looks like another field.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub &'a str);

/// Longest sentence of another server's that is shown to the operator, in bytes.
const TOLD: usize = 512;

/// What another server gives as its reason, for the operator to read: as [`Shown`], but with its blanks, and up to 512
/// bytes. Its place in a line must be one that cannot be taken for a field.
#[derive(Clone, Copy)]
pub struct Told<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, SHOWN, is_risky)
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, TOLD, |char| char != ' ' && is_risky(char))
    }
}

/// Writes `text`, escaped where `risky` says so, up to `limit` bytes.
fn show(f: &mut fmt::Formatter<'_>, text: &str, limit: usize, risky: impl Fn(char) -> bool) -> fmt::Result {
    // What needs no escape is written in runs.
    let (mut written, mut run) = (0, 0);
    for (at, char) in text.char_indices() {
        let escape = risky(char);
        written += if escape { escaped(char).chars().count() } else { char.len_utf8() };
        if escape || written > limit {
            f.write_str(&text[run..at])?;
            run = at + char.len_utf8();
        }
        if written > limit {
            return f.write_str("…");
        }
        if escape {
            f.write_str(&escaped(char))?;
        }
    }
    f.write_str(&text[run..])
}

/// Whether `char` could make a line of the log look like something else.
fn is_risky(char: char) -> bool {
    // Bidirectional controls (Unicode UAX #9) and line separators reorder or break what an operator sees.
    let hidden = matches!(
        char,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    );
    char.is_control() || char.is_whitespace() || hidden || char == '\\'
}

fn escaped(char: char) -> String {
    // `escape_default` leaves the one blank of ASCII as it is.
    if char == ' ' { char.escape_unicode().to_string() } else { char.escape_default().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_bidi_are_escaped() {
        assert_eq!(Shown("a\r\nb\x1b[31m").to_string(), "a\\r\\nb\\u{1b}[31m");
        assert_eq!(Shown("a\u{202e}b\u{9b}\x7f").to_string(), "a\\u{202e}b\\u{9b}\\u{7f}");
        assert_eq!(Shown("grüße").to_string(), "grüße");
        // Unicode UAX #9 §2: the marks, embeddings, overrides and isolates.
        let bidi = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}');
        for char in bidi.chain('\u{2066}'..='\u{2069}') {
            assert_eq!(Shown(&char.to_string()).to_string(), char.escape_unicode().to_string());
        }
    }

    #[test]
    fn a_filter_that_would_turn_the_log_off_by_mistake_is_refused() {
        for right in ["info", "WARN", "off", "info,mailward::tls=debug", "warn, mailward=trace"] {
            assert!(filter(right).is_ok(), "{right}");
        }
        for (wrong, told) in [("inof", "inof"), ("info,tls", "tls"), ("mailward=loud", "loud")] {
            let what = filter(wrong).expect_err(wrong);
            assert!(what.contains(told) && what.contains("right are error, warn"), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_of_a_kind_is_due_once_a_minute() {
        let throttle = Throttle::default();
        let mut written = Vec::new();
        for second in 0..150 {
            if throttle.is_due() {
                written.push(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(written, [0, 60, 120]);
    }

    #[test]
    fn no_blank_lets_a_name_look_like_another_field() {
        assert_eq!(Shown("a outcome=ok").to_string(), "a\\u{20}outcome=ok");
        assert_eq!(Shown("a\u{a0}b\u{3000}c").to_string(), "a\\u{a0}b\\u{3000}c");
    }

    #[test]
    fn a_sentence_keeps_its_blanks_and_nothing_else_that_is_risky() {
        assert_eq!(Told("no such name\n2026-01-01 INFO").to_string(), "no such name\\n2026-01-01 INFO");
        assert_eq!(Told(&"x ".repeat(400)).to_string().len(), 512 + '…'.len_utf8());
    }

    #[test]
    fn long_text_is_cut_at_64_bytes() {
        let shown = Shown(&"x".repeat(100)).to_string();
        assert_eq!(shown, format!("{}…", "x".repeat(64)));
        assert!(Shown(&"\n".repeat(100)).to_string().len() <= 64 + '…'.len_utf8());
    }
}
