//! The report for a human to read.

use std::fmt::Write;

use super::report::{Examined, Finding, Place, Report, Severity};

/// Tells all that was found.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for listener in &report.listeners {
        if !text.is_empty() {
            text.push('\n');
        }
        tell(&mut text, listener);
    }
    text
}

fn tell(text: &mut String, examined: &Examined) {
    let Examined { listener, protocol, backend, before_tls, places } = examined;
    let _ = writeln!(text, "listener {listener} ({protocol}), backend {backend}");
    if let Some(offered) = before_tls {
        let _ = writeln!(text, "  before TLS clients are offered: {}", list(offered));
    }
    for place in places {
        tell_place(text, place);
    }
}

fn tell_place(text: &mut String, place: &Place) {
    let _ = writeln!(text, "  {}", place.address);
    if let Some(greeting) = &place.greeting {
        let _ = writeln!(text, "    greets after {} ms: {greeting}", place.greeted_after.as_millis());
    }
    if !place.inside_tls.is_empty() {
        let _ = writeln!(text, "    inside TLS clients are offered: {}", list(&place.inside_tls));
    }
    for Finding { severity, what, change } in &place.findings {
        let _ = writeln!(text, "    {}: {what}", name(*severity));
        if !change.is_empty() {
            let _ = writeln!(text, "      change: {change}");
        }
    }
    if place.findings.iter().all(|finding| finding.severity == Severity::Note) {
        let _ = writeln!(text, "    fine");
    }
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Fault => "WILL NOT WORK",
    }
}

fn list(offered: &[String]) -> String {
    if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") }
}
