//! What there is to tell, for a human to read.

use std::fmt::{self, Write};

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{Certificate, Policy, State};
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

/// Lists what is known of policies, over several lines each; times as in [`describe`].
#[must_use]
pub fn list_policies(all: &[Policy], now: u64) -> String {
    if all.is_empty() {
        return "no policy is known\n".to_owned();
    }
    all.iter().map(|policy| describe_policy(policy, now)).collect::<Vec<_>>().join("\n")
}

fn describe_policy(policy: &Policy, now: u64) -> String {
    let mut text = format!("{}\n", Told(&policy.domain));
    match &policy.held {
        Some(held) => {
            row(&mut text, "mode", &held.mode);
            row(&mut text, "id", &held.id);
            row(&mut text, "hosts", if held.mx.is_empty() { "none".to_owned() } else { held.mx.join(", ") });
            row(&mut text, "fetched", moment(held.fetched, now));
            row(&mut text, "expires", moment(held.expires, now));
            row(&mut text, "last used", moment(held.used, now));
        }
        None => row(&mut text, "policy", "none is held"),
    }
    let failed = policy.failed.as_ref();
    let failure = failed.map(|failed| {
        let plural = if failed.times == 1 { "" } else { "s" };
        format!("{}, {} time{plural}: {}", moment(failed.at, now), failed.times, Told(&failed.last_error))
    });
    optional(&mut text, "last error", failure);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::policies,
        policy::mta_sts::{Known, Mode, Policy as Text, Published},
    };
    use std::time::{Duration, SystemTime};

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
    fn what_is_known_of_policies_is_told_by_domain() {
        let (day, start) = (Duration::from_secs(86_400), SystemTime::UNIX_EPOCH);
        let text = |mode, mx: &[&str]| {
            let mx = mx.iter().map(|host| (*host).to_owned()).collect();
            Text { mode, mx, max_age: 7 * day, lines: Vec::new() }
        };
        let id = Published::Id("20260101".into());
        let held = Known::default().fetched(text(Mode::Enforce, &["mx.example.org", "*.example.net"]), &id, start);
        let failing = held.clone().failed("refused\n".into(), &id, start + day).failed("404".into(), &id, start + day);
        let none = Known::default().fetched(text(Mode::None, &[]), &id, start).used(start + day);
        let unknown = Known::default().failed("no\n  mode: x".into(), &id, start);
        let all = [("c.example", failing), ("b.example", none), ("a.example", unknown)];
        let all = policies(all.map(|(domain, known)| (domain.to_owned(), known)).into());
        let expected = "a.example\n  policy      none is held\n  \
                        last error  1970-01-01 00:00 UTC (2 days ago), 1 time: no\\n  mode: x\n\n\
                        b.example\n  mode        none\n  id          20260101\n  hosts       none\n  \
                        fetched     1970-01-01 00:00 UTC (2 days ago)\n  expires     1970-01-08 00:00 UTC (in 5 days)\n  \
                        last used   1970-01-02 00:00 UTC (24 hours ago)\n\n\
                        c.example\n  mode        enforce\n  id          20260101\n  \
                        hosts       mx.example.org, *.example.net\n  \
                        fetched     1970-01-01 00:00 UTC (2 days ago)\n  expires     1970-01-08 00:00 UTC (in 5 days)\n  \
                        last used   1970-01-01 00:00 UTC (2 days ago)\n  \
                        last error  1970-01-02 00:00 UTC (24 hours ago), 2 times: 404\n";
        assert_eq!(list_policies(&all, 2 * 86_400), expected);
        assert_eq!(list_policies(&[], 0), "no policy is known\n");
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
