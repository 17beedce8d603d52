//! The way to the servers of recipients: listeners that relay, TLS strategies, and the resolver.

use std::{fmt::Write, net::IpAddr};

use super::{bare_newline, encryption, explain_tls, listed, protection, proxies, row, spelled};
use crate::{
    config::{Config, Dnssec, NameServers, Queue, QueueLimits, RelayListener, Resolver, queue::eight_bit},
    policy::strategy::{Strategies, TlsStrategy},
    proto::{Limits, Protocol},
};

/// Adds what holds; nothing where nothing of it is used.
pub(super) fn explain(text: &mut String, config: &Config) {
    for listener in config.relays.values() {
        relay(text, listener);
    }
    if config.relays.is_empty() && !config.queue.named {
        return;
    }
    queue(text, &config.queue);
    choice(text, &config.queue.tls);
    for table in config.queue.strategies.values() {
        strategy(text, table);
    }
    resolver(text, &config.resolver);
}

fn relay(text: &mut String, listener: &RelayListener) {
    let _ = writeln!(text, "\n{}: {} on {}", listener.id, listener.protocol, listed(&listener.bind));
    row(text, "relay-networks", &listed(&listener.networks));
    if listener.protocol == Protocol::Smtp {
        row(text, "multi-domain", listener.multi_domain.name());
    }
    row(text, "smtp-utf8", if listener.smtp_utf8 { "offered" } else { "not offered" });
    proxies(text, &listener.proxies);
    row(text, "tls", encryption(listener.tls.as_ref(), listener.require));
    if let Some(tls) = &listener.tls {
        explain_tls(text, tls);
    }
    bare_newline(text, listener.bare_newline);
    if let Some(largest) = listener.largest {
        row(text, "limit.message", &largest.to_string());
    }
    row(text, "max-connections", &listener.max_connections.to_string());
    row(text, "timeout", &format!("command {}", spelled(listener.timeout)));
    row(text, "limit", &limits(listener));
    protection::explain(text, &listener.protection);
}

fn limits(listener: &RelayListener) -> String {
    let Limits { line, commands, errors, discard, .. } = listener.limits;
    let recipients = listener.recipients;
    format!("line {line}, commands {commands}, errors {errors}, discard {discard}, recipients {recipients}")
}

fn queue(text: &mut String, queue: &Queue) {
    let _ = writeln!(text, "\nqueue");
    row(text, "ehlo-hostname", &queue.ehlo_hostname);
    row(text, "ip-strategy", queue.ip_strategy.name());
    let source = [queue.source_v4.map(IpAddr::V4), queue.source_v6.map(IpAddr::V6)];
    let source: Vec<_> = source.into_iter().flatten().collect();
    row(text, "source-ip", &if source.is_empty() { "as the system chooses".to_owned() } else { listed(&source) });
    row(text, "local-targets", if queue.local_targets { "allowed" } else { "refused" });
    row(text, "eight-bit", eight_bit(queue.eight_bit));
    row(text, "immediate-retries", &queue.immediate_retries.to_string());
    let QueueLimits { domain, host, sessions } = queue.limits;
    row(text, "limit", &format!("domain {domain}, host {host}, sessions {sessions}"));
    let times = queue.timeouts.all().map(|(name, time)| format!("{name} {}", spelled(time)));
    row(text, "timeout", &times.join(", "));
}

fn choice(text: &mut String, strategies: &Strategies) {
    let _ = writeln!(text, "\nqueue.strategy.tls: the first that is true");
    for rule in &strategies.rules {
        row(text, &rule.strategy.id, &format!("if {}", rule.condition));
    }
    row(text, &strategies.otherwise.id, "else");
}

fn strategy(text: &mut String, strategy: &TlsStrategy) {
    let _ = writeln!(text, "\nqueue.tls.{}", strategy.id);
    row(text, "dane", strategy.dane.name());
    row(text, "mta-sts", strategy.mta_sts.name());
    row(text, "starttls", strategy.starttls.name());
    let certificate = if strategy.allow_invalid_certs { "any, but for DANE and MTA-STS" } else { "has to be valid" };
    row(text, "certificate", certificate);
    let (tls, mta_sts) = (spelled(strategy.tls_timeout), spelled(strategy.mta_sts_timeout));
    row(text, "timeout", &format!("tls {tls}, mta-sts {mta_sts}"));
}

fn resolver(text: &mut String, resolver: &Resolver) {
    let _ = writeln!(text, "\nresolver");
    match &resolver.servers {
        NameServers::System => row(text, "servers", "those of the system"),
        NameServers::Custom(servers) => row(text, "servers", &listed(servers)),
    }
    let dnssec = match resolver.dnssec {
        Dnssec::Ad if resolver.dnssec_named => "ad: as the resolver says",
        Dnssec::Ad => "ad: as the resolver says, if it is on this machine",
        Dnssec::Validate => "validate: checked here (beta)",
        Dnssec::Off => "off: no DANE",
    };
    row(text, "dnssec", dnssec);
    if resolver.dnssec == Dnssec::Validate {
        let file = resolver.trust_anchor.as_ref().map(|file| file.display().to_string());
        row(text, "trust-anchor", &file.unwrap_or_else(|| "that of the system, or as built in".to_owned()));
    }
}
