//! A listener that was asked for TLS never runs without it, and has something left to speak it with.

use super::within;
use crate::config::{
    file::List,
    findings::{Findings, Key},
    resolve::{Plan, enabled_ciphers, left},
    setting::Given,
    tls::{Cipher, ClientCertificates, Group, TlsVersion},
};

/// Checks `tls.*` of one listener.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    switches(plan, found);
    if plan.has_tls() {
        let versions = versions(plan, found);
        if !versions.is_empty() {
            groups(plan, &versions, found);
        }
        clients(plan, found);
    }
}

fn switches(plan: &Plan<'_>, found: &mut Findings) {
    let (enable, implicit, require) = (&plan.tls.enable, &plan.tls.implicit, &plan.tls.require);
    if let (Some(implicit), Some(enable)) = (implicit.is(&true), enable.is(&false)) {
        let what = format!("cannot be true while {} is false", enable.path);
        found.error(implicit, what, "take one of the two out");
    } else if let Some(enable) = enable.is(&false) {
        disabled_but_required(plan, enable, found);
    }
    if let (Some(implicit), Some(require), false) = (implicit.is(&true), require.is(&false), plan.is_http()) {
        let what = format!("cannot be false while {} is true", implicit.path);
        found.error(
            require,
            what,
            "with TLS from the first byte nothing goes without it: set tls.require = true there",
        );
    }
}

fn disabled_but_required(plan: &Plan<'_>, enable: &Key, found: &mut Findings) {
    let require = match (plan.tls.require.is(&true), plan.protocol()) {
        (Some(key), protocol) if protocol.is_some() || plan.is_relay => format!("{} is true", key.path),
        (None, Some(protocol)) if plan.tls.require.is_absent() && plan.requires_tls() => {
            format!("{} is true by default on {protocol}", within(&plan.table.key, "tls.require").path)
        }
        _ => return,
    };
    found.error(enable, format!("cannot be false while {require}"), "set tls.require = false as well, or leave TLS on");
}

/// Whoever is asked for a certificate has to come from somewhere, and roots that nobody is asked about are an oversight.
fn clients(plan: &Plan<'_>, found: &mut Findings) {
    let (auth, ca) = (&plan.tls.client_auth, &plan.tls.client_ca);
    match (auth.given(), ca.given()) {
        (Some(auth), roots)
            if auth.value != ClientCertificates::None && roots.is_none_or(|roots| roots.value.is_empty()) =>
        {
            let right = "name a PEM file with the roots of your clients' certificates";
            found.error(&auth.key, "needs tls.client-ca", right);
        }
        (None, Some(roots)) => {
            let right = "say tls.client-auth = \"optional\" or \"require\"";
            found.error(&roots.key, "has no effect without tls.client-auth", right);
        }
        _ => {}
    }
}

/// The versions that are left; none where that has been reported.
fn versions(plan: &Plan<'_>, found: &mut Findings) -> Vec<TlsVersion> {
    let enabled = left(&TlsVersion::ALL, &plan.tls.disable_protocols.values());
    if enabled.is_empty() {
        report(&plan.tls.disable_protocols, found, "leaves no TLS version", "leave TLSv1.3 or TLSv1.2 on");
        return enabled;
    }
    let ciphers = enabled_ciphers(&plan.tls);
    let has_cipher = |version: &TlsVersion| ciphers.iter().any(|suite| suite.version() == *version);
    let (usable, useless): (Vec<_>, Vec<_>) = enabled.into_iter().partition(has_cipher);
    if let Some(Given { key, .. }) = plan.tls.disable_ciphers.given().filter(|_| !useless.is_empty()) {
        let names: Vec<_> = useless.iter().map(|version| version.name()).collect();
        let what = format!("leaves no cipher for {}", names.join(" and "));
        if usable.is_empty() {
            found.error(key, what + &other_version(plan), format!("leave one of {}", suites_of(&useless)));
        } else {
            found.warning(key, what + ", so that this version is off", "say so in tls.disable-protocols");
        }
    }
    usable
}

/// Names the key that has taken the other version away.
fn other_version(plan: &Plan<'_>) -> String {
    let list = plan.tls.disable_protocols.given().filter(|list| !list.value.is_empty());
    list.map_or_else(String::new, |list| format!(", and {} leaves no other version", list.key.path))
}

fn suites_of(versions: &[TlsVersion]) -> String {
    let suites = Cipher::ALL.iter().filter(|suite| versions.contains(&suite.version()));
    suites.map(|suite| suite.name()).collect::<Vec<_>>().join(", ")
}

fn groups(plan: &Plan<'_>, versions: &[TlsVersion], found: &mut Findings) {
    let list = &plan.tls.disable_groups;
    let groups = left(&Group::ALL, &list.values());
    if groups.is_empty() {
        report(list, found, "leaves no group", "leave X25519, SECP256R1 or SECP384R1 on");
        return;
    }
    let has_group = |version: &&TlsVersion| groups.iter().any(|group| group.is_usable_in(**version));
    let served: Vec<_> = versions.iter().filter(has_group).collect();
    if served.len() < versions.len() {
        // Only the hybrid group is not for all versions, and TLS 1.2 is the one that lacks it.
        let what = "leaves no group for TLSv1.2: X25519MLKEM768 is for TLSv1.3 alone";
        let right = "leave X25519, SECP256R1 or SECP384R1 on";
        match list.given() {
            Some(given) if !served.is_empty() => found.warning(&given.key, what, "or disable TLSv1.2 as well"),
            _ => report(list, found, what, right),
        }
    }
}

fn report<T>(list: &List<T>, found: &mut Findings, what: &str, right: &str) {
    if let Some(list) = list.given() {
        found.error(&list.key, what, right);
    }
}
