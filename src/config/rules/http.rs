//! An `http` listener carries no mail: most keys of a listener mean nothing there, and one means nothing elsewhere.

use super::hygiene;
use crate::config::{
    findings::{Findings, Key},
    resolve::Plan,
    shared::TlsKeys,
};

/// Checks the keys of one listener.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let redirect = &plan.table.redirect_https;
    if plan.is_http() {
        for key in keys_of_mail(plan) {
            found.error(key, "means nothing on http", "take it out");
        }
        encryption(plan, found);
        if let Some(key) = redirect.is(&true).filter(|_| plan.is_implicit()) {
            found.error(key, "would send clients in a circle: this listener speaks https itself", "take it out");
        }
    } else if let (Some(protocol), Some(key)) = (plan.protocol(), redirect.key()) {
        found.error(key, format!("means nothing on {protocol}"), "it is for http");
    }
}

/// The listener's own keys that are about sessions of mail.
fn keys_of_mail<'p>(plan: &'p Plan<'_>) -> impl Iterator<Item = &'p Key> {
    let table = plan.table;
    let (timeouts, limits) = (&table.shared.timeouts, &table.shared.limits);
    let keys = [
        table.backend.key(),
        table.rcpt_domains.key(),
        table.require_auth.key(),
        table.plaintext_auth.key(),
        timeouts.login.key(),
        timeouts.idle.key(),
        timeouts.data_end.key(),
        timeouts.half_close.key(),
        timeouts.crowded.key(),
        limits.line.key(),
        limits.auth.key(),
        limits.literal.key(),
        limits.commands.key(),
        limits.errors.key(),
        limits.discard.key(),
        table.shared.tls.require.key(),
    ];
    keys.into_iter().flatten().chain(hygiene::keys(&table.shared))
}

/// A listener that was asked for TLS never runs without it.
fn encryption(plan: &Plan<'_>, found: &mut Findings) {
    if plan.is_implicit() {
        return;
    }
    for key in keys_of_tls(&plan.table.shared.tls) {
        let right = "HTTP has no STARTTLS: set it, or take this key out";
        found.error(key, "has no effect without tls.implicit = true", right);
    }
}

fn keys_of_tls(keys: &TlsKeys) -> impl Iterator<Item = &Key> {
    let keys = [
        keys.enable.is(&true),
        keys.timeout.key(),
        keys.disable_protocols.key(),
        keys.disable_ciphers.key(),
        keys.disable_groups.key(),
        keys.ignore_client_order.key(),
        keys.client_auth.key(),
        keys.client_ca.key(),
    ];
    keys.into_iter().flatten()
}
