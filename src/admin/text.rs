//! What there is to tell, for a human to read.

use std::fmt::{self, Write};

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{Certificate, State};
use crate::{inbound::bans::Banned, telemetry::Told};

/// Describes one certificate, over several lines; times are in UTC, and those to come are counted from `now`, in seconds
/// since 1970.
#[must_use]
pub fn describe(certificate: &Certificate, now: u64) -> String {
    let mut text = format!("{}\n", certificate.name);
    let names: Vec<_> = certificate.names.iter().map(|name| Told(name).to_string()).collect();
    row(&mut text, "names", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    row(&mut text, "state", state(certificate.state));
    optional(&mut text, "issuer", certificate.issuer.as_deref().map(Told));
    optional(&mut text, "until", certificate.not_after.map(|at| moment(at, now)));
    optional(&mut text, "source", certificate.source.as_ref().map(|file| file.display()));
    match certificate.next {
        Some(at) => row(&mut text, "next", format!("{}: {}", moment(at, now), Told(&certificate.why))),
        None => row(&mut text, "next", Told(&certificate.why)),
    }
    optional(&mut text, "last error", certificate.last_error.as_deref().map(Told));
    optional(&mut text, "TLSA", certificate.tlsa.as_ref());
    optional(&mut text, "next TLSA", certificate.next_tlsa.as_ref());
    text
}

fn state(state: State) -> &'static str {
    match state {
        State::InForce => "in force",
        State::Expired => "expired",
        State::Missing => "there is none yet",
    }
}

fn optional(text: &mut String, name: &str, value: Option<impl fmt::Display>) {
    if let Some(value) = value {
        row(text, name, value);
    }
}

fn row(text: &mut String, name: &str, value: impl fmt::Display) {
    let _ = writeln!(text, "  {name:<12}{value}");
}

/// `2026-03-01 04:05 UTC (in 61 days)`.
fn moment(at: u64, now: u64) -> String {
    let time = i64::try_from(at).ok().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    let Some(time) = time else { return "never".to_owned() };
    let (year, month, day, hour, minute) = (time.year(), time.month(), time.day(), time.hour(), time.minute());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC ({})", distance(at, now))
}

fn distance(at: u64, now: u64) -> String {
    let length = at.abs_diff(now);
    let (count, unit) = match length {
        0..60 => (length, "second"),
        60..3_600 => (length / 60, "minute"),
        3_600..172_800 => (length / 3_600, "hour"),
        _ => (length / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if at < now { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

/// Lists bans, one a line; times as in [`describe`].
#[must_use]
pub fn list_bans(all: &[Banned], now: u64) -> String {
    if all.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let line = |ban: &Banned| format!("{:<24}{:<8}until {}\n", ban.client, ban.reason, moment(ban.until, now));
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc_with_their_distance() {
        assert_eq!(moment(1_772_337_900, 1_772_337_900 - 61 * 86_400), "2026-03-01 04:05 UTC (in 61 days)");
        assert_eq!(moment(0, 90), "1970-01-01 00:00 UTC (1 minute ago)");
        assert_eq!(moment(u64::MAX, 0), "never");
        let distances = [0, 1, 59, 3_599, 3_600, 172_799, 172_800].map(|at| distance(at, 0));
        let expected = ["0 seconds", "1 second", "59 seconds", "59 minutes", "1 hour", "47 hours", "2 days"];
        assert_eq!(distances, expected.map(|distance| format!("in {distance}")));
    }

    #[test]
    fn what_another_server_says_cannot_make_a_line_of_its_own() {
        let certificate = Certificate {
            name: "acme.main/ecdsa-p256".to_owned(),
            names: vec!["mail.example.org".to_owned()],
            state: State::Missing,
            issuer: None,
            not_after: None,
            source: None,
            next: Some(60),
            why: "there is no certificate yet".to_owned(),
            last_error: Some("no\n  TLSA        3 1 1 00\u{1b}[2J".to_owned()),
            tlsa: None,
            next_tlsa: Some("3 1 1 ab".to_owned()),
        };
        let expected = "acme.main/ecdsa-p256\n  names       mail.example.org\n  state       there is none yet\n  \
                        next        1970-01-01 00:01 UTC (in 1 minute): there is no certificate yet\n  \
                        last error  no\\n  TLSA        3 1 1 00\\u{1b}[2J\n  next TLSA   3 1 1 ab\n";
        assert_eq!(describe(&certificate, 0), expected);
    }
}
