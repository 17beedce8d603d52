//! What comes before the greeting is for smtp, and for listeners that greet in the clear.

use std::time::Duration;

use crate::{
    config::{findings::Findings, resolve::Plan},
    proto::Protocol,
};

/// RFC 5321 §4.5.3.2.1: a client waits for the greeting for five minutes, and many for less.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks `pregreet` of one listener.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let Some(given) = plan.table.pregreet.given() else { return };
    if let Some(service) = plan.service.filter(|_| plan.protocol() != Some(Protocol::Smtp)) {
        found.error(&given.key, format!("means nothing on {}", service.name()), "it is for smtp");
    } else if plan.is_implicit() {
        let what = "means nothing where TLS begins with the first byte, which is the client's";
        found.error(&given.key, what, "it is for listeners with tls.implicit = false");
    } else if given.value > PATIENCE {
        found.error(&given.key, "is longer than clients wait for a greeting", "a minute at most");
    }
}
