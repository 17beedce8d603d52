//! What holds for each listener in the end: the text of `mailward check --explain`.

mod acme;
mod outbound;
mod protection;

use std::{fmt::Write, path::PathBuf, time::Duration};

use super::{BackendTls, Config, Dnsbl, Encryption, HttpListener, Listener, Member, Proxies, Tls, tls::TlsVersion};
use crate::{
    policy::{balance::Order, strategy::TlsStrategy},
    proto::{
        Limits, Protocol,
        smtp::{BareNewline, DomainPattern, Guard, Hygiene},
    },
};

/// The effective settings of every listener, after defaults and overrides, for a human to read.
#[must_use]
pub fn explain(config: &Config) -> String {
    let server = &config.server;
    let mut text = String::new();
    row(&mut text, "hostname", &server.hostname);
    row(&mut text, "workers", &server.workers.to_string());
    row(&mut text, "drain", &spelled(server.drain));
    row(&mut text, "state", &server.state.display().to_string());
    row(&mut text, "control", &server.control.display().to_string());
    if !server.ca.is_empty() {
        row(&mut text, "ca", &files(&server.ca));
    }
    row(&mut text, "limit.handshakes", &format!("{}, for all listeners together", server.handshakes));
    for listener in config.listeners.values() {
        explain_listener(&mut text, config, listener);
    }
    for listener in config.http.values() {
        explain_http(&mut text, listener);
    }
    outbound::explain(&mut text, config);
    for table in config.acme.values() {
        acme::explain(&mut text, table);
    }
    text
}

fn explain_listener(text: &mut String, config: &Config, listener: &Listener) {
    let _ = writeln!(text, "\n{}: {} on {}", listener.id, listener.protocol, listed(&listener.bind));
    row(text, "backend", &backend(config, listener));
    row(text, "addresses", &addresses(config, listener));
    proxies(text, &listener.proxies);
    if let Some(tls) = config.backends.get(&listener.backend).and_then(|backend| backend.tls.as_ref()) {
        row(text, "backend tls", &encryption_to(tls));
    }
    row(text, "tls", encryption(listener.tls.as_ref(), listener.require));
    if let Some(tls) = &listener.tls {
        explain_tls(text, tls);
    }
    if listener.protocol.has_login() {
        row(text, "plaintext-auth", if listener.plaintext_auth { "allowed" } else { "never" });
    }
    if matches!(listener.protocol, Protocol::Smtp | Protocol::Submission) {
        row(text, "guard", &guard(&listener.guard));
    }
    if listener.protocol.carries_mail() {
        explain_hygiene(text, &listener.hygiene);
    }
    if let Some(patience) = listener.pregreet {
        row(text, "pregreet", &spelled(patience));
    }
    if let Some(lists) = &listener.dnsbl {
        row(text, "dnsbl", &dnsbl(lists));
    }
    row(text, "max-connections", &listener.max_connections.to_string());
    row(text, "timeout", &timeouts(listener));
    row(text, "limit", &limits(&listener.limits));
    protection::explain(text, &listener.protection);
}

fn explain_http(text: &mut String, listener: &HttpListener) {
    let _ = writeln!(text, "\n{}: http on {}", listener.id, listed(&listener.bind));
    let rest = if listener.redirect_https { "sends everything else to https" } else { "404 to everything else" };
    row(text, "answers", &format!("http-01 challenges; {rest}"));
    proxies(text, &listener.proxies);
    row(text, "tls", if listener.tls.is_some() { "implicit: from the first byte" } else { "disabled" });
    if let Some(tls) = &listener.tls {
        explain_tls(text, tls);
    }
    row(text, "max-connections", &listener.max_connections.to_string());
    row(text, "timeout", &format!("command {}", spelled(listener.timeout)));
    protection::explain(text, &listener.protection);
}

fn listed(things: &[impl ToString]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn files(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<18}{value}");
}

fn backend(config: &Config, listener: &Listener) -> String {
    let Some(backend) = config.backends.get(&listener.backend) else { return listener.backend.clone() };
    let port = backend.default_port(listener.protocol);
    let all: Vec<_> = backend.members.iter().map(|one| member(one, port)).collect();
    let between = if backend.order == Order::InOrder { ", then " } else { ", " };
    let (connect, greeting) = (spelled(backend.connect_timeout), spelled(backend.greeting_timeout));
    let (id, addresses) = (&backend.id, all.join(between));
    let told = backend.identity.iter().filter(|identity| identity.is_for(listener.protocol));
    let told: Vec<_> = told.map(|identity| identity.name()).collect();
    let identity = if told.is_empty() { "none".to_owned() } else { told.join(" and ") };
    format!("{id} at {addresses} (identity {identity}, connect {connect}, greeting {greeting})")
}

fn proxies(text: &mut String, proxies: &Proxies) {
    if !proxies.networks.is_empty() {
        let value = format!("required from {} within {}", listed(&proxies.networks), spelled(proxies.timeout));
        row(text, "PROXY header", &value);
    }
}

fn member(member: &Member, port: u16) -> String {
    let address = member.address.resolved(port);
    if member.weight == 1 { address.to_string() } else { format!("{address} (weight {})", member.weight) }
}

fn addresses(config: &Config, listener: &Listener) -> String {
    let Some(backend) = config.backends.get(&listener.backend) else { return String::new() };
    let slow_start =
        backend.slow_start.map_or("no slow start".to_owned(), |time| format!("slow start {}", spelled(time)));
    let check = backend.check.map_or("not checked".to_owned(), |check| {
        format!("checked every {} (timeout {})", spelled(check.interval), spelled(check.timeout))
    });
    format!("{}; {slow_start}; {check}", backend.order.name())
}

fn encryption_to(backend: &Encryption) -> String {
    match backend {
        Encryption::Always(tls) => backend_tls(tls),
        Encryption::Strategy(strategy) => backend_strategy(strategy),
    }
}

fn backend_strategy(strategy: &TlsStrategy) -> String {
    let TlsStrategy { id, starttls, dane, .. } = strategy;
    let certificate = if strategy.allow_invalid_certs { "any certificate" } else { "a valid certificate" };
    let (starttls, dane, timeout) = (starttls.name(), dane.name(), spelled(strategy.tls_timeout));
    format!("strategy {id}: STARTTLS {starttls}, DANE {dane}, {certificate} (timeout {timeout})")
}

fn backend_tls(tls: &BackendTls) -> String {
    let mode = if tls.implicit { "implicit: from the first byte" } else { "STARTTLS, required" };
    let shown = match (&tls.ca, tls.pins.len()) {
        (_, 1..) => "with a pinned key".to_owned(),
        (Some(ca), 0) => format!("verified by {}", files(ca)),
        (None, 0) => "verified by the roots of the system and of server.ca".to_owned(),
    };
    let name =
        tls.name.as_ref().filter(|_| tls.pins.is_empty()).map_or_else(String::new, |name| format!(" for {name}"));
    let own = if tls.own.is_some() { ", with a certificate of our own" } else { "" };
    format!("{mode}, {shown}{name}{own}")
}

fn encryption(tls: Option<&Tls>, require: bool) -> &'static str {
    match (tls, require) {
        (None, _) => "disabled",
        (Some(Tls { implicit: true, .. }), _) => "implicit: from the first byte",
        (Some(_), true) => "STARTTLS, required",
        (Some(_), false) => "STARTTLS, not required",
    }
}

fn explain_tls(text: &mut String, tls: &Tls) {
    let versions: Vec<_> = tls.versions.iter().copied().map(TlsVersion::name).collect();
    let groups: Vec<_> = tls.groups.iter().map(|group| group.name()).collect();
    row(text, "tls.timeout", &spelled(tls.timeout));
    row(text, "versions", &versions.join(", "));
    row(text, "cipher order", if tls.ignore_client_order { "ours, as listed" } else { "the client's" });
    for (index, suite) in tls.ciphers.iter().enumerate() {
        row(text, if index == 0 { "ciphers" } else { "" }, suite.name());
    }
    row(text, "groups", &format!("{} (the client's order)", groups.join(", ")));
    if let Some(client) = &tls.client {
        let files: Vec<_> = client.ca.iter().map(|file| file.display().to_string()).collect();
        let wanted = if client.required { "required" } else { "optional" };
        row(text, "tls.client-auth", &format!("{wanted}, from {}", files.join(", ")));
    }
}

fn guard(guard: &Guard) -> String {
    let auth = if guard.require_auth { "mail only after AUTH" } else { "mail without AUTH" };
    match &guard.rcpt_domains {
        None => auth.to_owned(),
        Some(patterns) => {
            let domains: Vec<_> = patterns.iter().map(domain).collect();
            format!("{auth}; without it only to {}", domains.join(", "))
        }
    }
}

fn bare_newline(text: &mut String, bare_newline: BareNewline) {
    let becomes = match bare_newline {
        BareNewline::Normalize => "normalize: becomes CRLF",
        BareNewline::Reject => "reject: refuses the message",
        BareNewline::Pass => "pass: reaches the backend as it is",
    };
    row(text, "bare-newline", becomes);
}

fn explain_hygiene(text: &mut String, hygiene: &Hygiene) {
    bare_newline(text, hygiene.bare_newline);
    if let Some(largest) = hygiene.largest {
        row(text, "limit.message", &format!("{largest}, or the backend's SIZE where that is lower"));
    }
    if !hygiene.hidden.is_empty() {
        row(text, "hidden, refused", &hygiene.hidden.join(", "));
    }
}

fn dnsbl(lists: &Dnsbl) -> String {
    let end = if lists.reject { "refused" } else { "only logged" };
    let (zones, timeout) = (listed(&lists.zones), spelled(lists.timeout));
    format!("{zones}, asked at {} (timeout {timeout}); who is listed is {end}", lists.server)
}

fn domain(pattern: &DomainPattern) -> String {
    match pattern {
        DomainPattern::Any => "*".to_owned(),
        DomainPattern::Exact(domain) => domain.clone(),
        DomainPattern::Below(domain) => format!("*.{domain}"),
    }
}

fn timeouts(listener: &Listener) -> String {
    let times = &listener.timeouts;
    let crowded = times.crowded.map(|patience| format!(", crowded {}", spelled(patience))).unwrap_or_default();
    format!(
        "command {}, login {}, idle {}, data-end {}, half-close {}{crowded}",
        spelled(times.command),
        spelled(times.login),
        spelled(times.idle),
        spelled(times.data_end),
        spelled(times.half_close)
    )
}

fn limits(limits: &Limits) -> String {
    let Limits { line, auth, literal, commands, errors, discard } = limits;
    format!("line {line}, auth {auth}, literal {literal}, commands {commands}, errors {errors}, discard {discard}")
}

/// A duration as the configuration writes it.
fn spelled(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let length = duration.as_millis();
    let unit = UNITS.iter().find(|(unit, _)| length >= *unit && length.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{length}ms"), |(unit, name)| format!("{}{name}", length / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_in_their_largest_whole_unit() {
        let spell = |milliseconds| spelled(Duration::from_millis(milliseconds));
        assert_eq!(spell(300), "300ms");
        assert_eq!(spell(90_000), "90s");
        assert_eq!(spell(7_200_000), "2h");
        assert_eq!(spell(86_400_000), "1d");
    }
}
