//! `[acme.<id>]` for a human to read.

use std::fmt::Write;

use super::{files, listed, row, spelled};
use crate::config::{
    Acme,
    acme::{Challenge, DnsProvider},
};

/// Adds the effective settings of one table.
pub(super) fn explain(text: &mut String, acme: &Acme) {
    let _ = writeln!(text, "\nacme.{}: a certificate for {}", acme.id, acme.domains.join(", "));
    row(text, "directory", &acme.directory);
    row(text, "challenge", &challenge(&acme.challenge));
    if let Challenge::Dns01(dns) = &acme.challenge {
        let (polling, limit) = (spelled(dns.polling_interval), spelled(dns.propagation_timeout));
        row(text, "propagation", &format!("looked for every {polling}, for {limit} at most"));
    }
    row(text, "contact", &if acme.contact.is_empty() { "none".to_owned() } else { acme.contact.join(", ") });
    if let Some(binding) = &acme.binding {
        row(text, "eab", &format!("as {}", binding.kid));
    }
    row(text, "cache", &acme.folder().display().to_string());
    let keys = if acme.reuse_key { "kept at a renewal" } else { "new at each renewal" };
    row(text, "key-type", &format!("{}, {keys}", listed(&acme.key_types)));
    row(text, "renew-before", &format!("{}, where the authority does not say", spelled(acme.renew_before)));
    if let Some(profile) = &acme.profile {
        row(text, "profile", profile);
    }
    if !acme.ca.is_empty() {
        row(text, "ca", &files(&acme.ca));
    }
    if let Some(root) = &acme.preferred_chain {
        row(text, "preferred-chain", root);
    }
    row(text, "default", if acme.default { "yes" } else { "no" });
}

fn challenge(challenge: &Challenge) -> String {
    match challenge {
        Challenge::TlsAlpn01 => "tls-alpn-01, on listeners with TLS from the first byte".to_owned(),
        Challenge::Http01 => "http-01, on listeners for http".to_owned(),
        Challenge::Dns01(dns) => format!("dns-01, {}", provider(&dns.provider)),
    }
}

fn provider(provider: &DnsProvider) -> String {
    match provider {
        DnsProvider::Exec(exec) => format!("written by {} (timeout {})", exec.command.join(" "), spelled(exec.timeout)),
        DnsProvider::Rfc2136(update) => {
            let protocol = if update.tcp { "tcp" } else { "udp" };
            let zone =
                update.origin.as_ref().map_or("the zone that has the name".to_owned(), |zone| format!("zone {zone}"));
            format!(
                "updates of {zone} at {} over {protocol}, key {} ({}), ttl {} (timeout {})",
                update.server,
                update.key,
                update.algorithm.name(),
                spelled(update.ttl),
                spelled(update.timeout)
            )
        }
    }
}
