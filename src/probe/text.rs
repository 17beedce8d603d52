//! The report for a human to read.

use std::fmt::Write;

use super::report::{Attempt, Certificate, Host, Policy, Report, Route, Tlsa};

/// Tells all that was found.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "mail from <{}> to <{}>", report.sender, report.recipient);
    for resolver in &report.resolvers {
        let counts = match (resolver.counts, resolver.validated_here) {
            (true, true) => "what is proven counts",
            (true, false) => "its word on DNSSEC counts",
            (false, _) => "there is no DANE by it",
        };
        let _ = writeln!(text, "  resolver {}: {}; {counts}", resolver.address, resolver.why);
    }
    if let Some(route) = &report.route {
        tell_route(&mut text, route);
    }
    if let Some(policy) = &report.mta_sts {
        tell_policy(&mut text, policy);
    }
    for host in &report.hosts {
        tell_host(&mut text, host);
    }
    conclude(&mut text, report);
    text
}

fn tell_route(text: &mut String, route: &Route) {
    let by = match route.by {
        "mx" => "by its MX records",
        "implicit" => "none by MX records: the domain is its own host",
        _ => "none: it is an address",
    };
    let _ = writeln!(text, "  hosts: {by}; {}", vouched(route.secure));
    if let Some(name) = &route.alias_of {
        let _ = writeln!(text, "  the domain is an alias of {name}");
    }
}

fn vouched(secure: bool) -> &'static str {
    if secure { "DNSSEC vouches for that" } else { "DNSSEC does not vouch for that" }
}

fn tell_policy(text: &mut String, policy: &Policy) {
    if let Some(id) = &policy.id {
        let _ = writeln!(text, "  MTA-STS record: id {id}");
    }
    if let Some(mode) = &policy.mode {
        let (patterns, age) = (policy.mx.join(", "), policy.max_age.unwrap_or_default());
        let _ = writeln!(text, "  MTA-STS policy: mode {mode}, for {age} s, lists {patterns}");
    }
    if let Some(why) = &policy.why {
        let _ = writeln!(text, "  MTA-STS: {why}");
    }
}

fn tell_host(text: &mut String, host: &Host) {
    let _ = writeln!(text, "\nhost {} (preference {})", host.name, host.preference);
    if !host.addresses.is_empty() {
        let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  addresses: {}; {}", addresses.join(", "), vouched(host.secure));
    }
    if !host.aliases.is_empty() {
        let _ = writeln!(text, "  alias of: {}", host.aliases.join(", "));
    }
    if let Some(tlsa) = &host.tlsa {
        tell_tlsa(text, tlsa);
    }
    if let Some(listed) = host.listed {
        let _ = writeln!(text, "  the MTA-STS policy {} it", if listed { "lists" } else { "does not list" });
    }
    let mut reasons: Option<(&str, &[String])> = None;
    for attempt in &host.attempts {
        // Of a second address there is nothing new to say.
        let new = (attempt.strategy.as_str(), &attempt.reasons[..]);
        if !attempt.strategy.is_empty() && reasons != Some(new) {
            tell_verdict(text, attempt);
            reasons = Some(new);
        }
        tell_attempt(text, attempt);
    }
    if let Some(refused) = &host.refused {
        let _ = writeln!(text, "  mail does not go: {refused}");
    }
}

fn tell_tlsa(text: &mut String, tlsa: &Tlsa) {
    let why = tlsa.why.as_deref().unwrap_or_default();
    let _ = match &tlsa.base {
        Some(base) if why.is_empty() => writeln!(text, "  TLSA records of {base}"),
        Some(base) => writeln!(text, "  TLSA records of {base}: {why}"),
        None => writeln!(text, "  no DANE: {why}"),
    };
    for record in &tlsa.records {
        let why = record.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let counts = if record.counts { "counts" } else { "does not count" };
        let _ = writeln!(text, "    {} {counts}{why}", record.record);
    }
}

fn tell_verdict(text: &mut String, attempt: &Attempt) {
    let _ = writeln!(text, "  strategy {}: {}", attempt.strategy, attempt.verdict);
    for reason in &attempt.reasons {
        let _ = writeln!(text, "    {reason}");
    }
}

fn tell_attempt(text: &mut String, attempt: &Attempt) {
    let Some(address) = attempt.address else { return };
    let _ = writeln!(text, "  {address}");
    if let Some(greeting) = &attempt.greeting {
        let _ = writeln!(text, "    greets: {greeting}");
    }
    if let Some(tls) = &attempt.tls {
        let _ = writeln!(text, "    TLS: {tls}");
    }
    if let Some(certificate) = &attempt.certificate {
        tell_certificate(text, certificate);
    }
    match (&attempt.refusal, &attempt.assurance) {
        (Some(refusal), _) => {
            let _ = writeln!(text, "    mail does not go: {refusal}");
        }
        (None, Some(assurance)) => {
            let _ = writeln!(text, "    mail goes: {assurance}");
        }
        (None, None) => {}
    }
}

fn tell_certificate(text: &mut String, certificate: &Certificate) {
    let why = certificate.why.as_deref();
    let _ = writeln!(text, "    by the roots: {}", why.unwrap_or("the certificate is valid for the host"));
    if let Some(record) = &certificate.matches {
        let _ = writeln!(text, "    by DANE: the certificate matches {record}");
    }
    if let Some(mismatch) = &certificate.mismatch {
        let _ = writeln!(text, "    by DANE: {mismatch}");
    }
}

fn conclude(text: &mut String, report: &Report) {
    text.push('\n');
    let _ = match (&report.host, &report.assurance, &report.refusal) {
        (Some(host), Some(assurance), _) => writeln!(text, "mail goes to {host}: {assurance}"),
        (Some(host), None, _) => writeln!(text, "mail may go to {host}, as far as can be said without a connection"),
        (None, _, Some(refusal)) => writeln!(text, "mail does not go: {refusal}"),
        (None, _, None) => writeln!(text, "mail does not go"),
    };
}
