//! No password passes in clear unless the operator has said so twice.

use super::within;
use crate::{
    config::{
        findings::{Findings, Key},
        resolve::Plan,
    },
    proto::Protocol,
};

/// Checks `plaintext-auth` and `tls.require` of one listener against each other.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let Some(protocol) = plan.protocol() else { return };
    if let Some(given) = plan.table.plaintext_auth.given() {
        if !protocol.has_login() {
            let right = "it is for submission, imap, pop3 and managesieve";
            found.error(&given.key, format!("means nothing on {protocol}"), right);
        } else if given.value {
            allowed(plan, protocol, &given.key, found);
            return;
        }
    }
    if let Some(require) = plan.tls.require.is(&false) {
        refused(plan, protocol, require, found);
    }
}

fn allowed(plan: &Plan<'_>, protocol: Protocol, key: &Key, found: &mut Findings) {
    let (implicit, require) = (&plan.tls.implicit, &plan.tls.require);
    let mut useless = |reason: &str, right| found.error(key, format!("has no effect while {reason}"), right);
    let or_out = "set tls.require = false to let sessions go without TLS, or take this key out";
    if let Some(implicit) = implicit.is(&true) {
        useless(&format!("{} is true", implicit.path), "take this key out");
    } else if let Some(require) = require.is(&true) {
        useless(&format!("{} is true", require.path), or_out);
    } else if require.is_absent() {
        let require = within(&plan.table.key, "tls.require").path;
        useless(&format!("{require} is true by default on {protocol}"), or_out);
    } else if require.is(&false).is_some() {
        let right = "keep it to loopback, or behind another server that does the TLS";
        found.warning(key, "lets passwords pass in clear", right);
    }
}

fn refused(plan: &Plan<'_>, protocol: Protocol, require: &Key, found: &mut Findings) {
    let asked = matches!(protocol, Protocol::Imap | Protocol::Pop3 | Protocol::ManageSieve);
    let contradicted = plan.tls.implicit.is(&true).is_some();
    if !asked || contradicted || plan.table.plaintext_auth.is_wrong() {
        return;
    }
    let consent = within(&plan.table.key, "plaintext-auth").path;
    let what = format!("cannot be false on {protocol} without {consent} = true");
    found.error(require, what, "passwords would pass in clear: require TLS, or consent to that on this listener");
}
