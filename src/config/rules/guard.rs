//! mailward makes nobody an open relay (spec §3.3).

use super::{places::is_embedded, within};
use crate::{
    config::{
        file::{BackendTable, List},
        findings::{Findings, Key},
        resolve::Plan,
        setting::Setting,
    },
    proto::Protocol,
};

/// Checks `rcpt-domains` and `require-auth` of one listener.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let Some(protocol) = plan.protocol() else { return };
    // A backend that is told who the client is judges it as it would without mailward.
    let told = plan.backend.map(|backend| backend.identity.values()).unwrap_or_default();
    let is_told = told.iter().any(|identity| identity.is_for(protocol) && identity.takes_the_place());
    require_auth(&plan.table.require_auth, protocol, is_told, found);
    let domains = &plan.table.rcpt_domains;
    if domains.is_absent() {
        // Whoever wrote an identity that is refused did not mean to leave the backend without.
        let may_relay = |backend: &BackendTable| is_embedded(backend) == Some(false) && !backend.identity.is_wrong();
        if protocol == Protocol::Smtp && plan.backend.is_none_or(may_relay) && !is_told {
            unguarded(&plan.table.key, found);
        }
    } else if matches!(protocol, Protocol::Smtp | Protocol::Submission) {
        everybody(domains, is_told, found);
    } else if let Some(given) = domains.given() {
        found.error(&given.key, format!("means nothing on {protocol}"), "it is for smtp and submission");
    }
}

fn require_auth(setting: &Setting<bool>, protocol: Protocol, is_told: bool, found: &mut Findings) {
    let Some(given) = setting.given() else { return };
    if protocol != Protocol::Submission {
        found.error(&given.key, format!("means nothing on {protocol}"), "it is for submission");
    } else if !given.value && !is_told {
        let what = "lets anybody send whom the backend does not stop, and the backend sees mailward's address";
        found.warning(&given.key, what, "make sure that the backend relays for nobody by address");
    }
}

fn unguarded(listener: &Key, found: &mut Findings) {
    let what = "is missing: the backend sees mailward's address, and may relay for it to the whole world";
    let right = "write the domains that the backend takes mail for: rcpt-domains = [\"example.org\"], \
                 or tell it who the client is, by its identity";
    found.missing(&within(listener, "rcpt-domains"), what, right);
}

fn everybody(domains: &List<String>, is_told: bool, found: &mut Findings) {
    let Some(given) = domains.given() else { return };
    let Some(star) = given.value.iter().find(|domain| domain.value == "*") else { return };
    if given.value.len() > 1 {
        found.error(
            &star.key,
            "\"*\" is every domain, and others stand beside it",
            "write \"*\" alone, or take it out",
        );
    } else if !is_told {
        let what = "\"*\" lets mail for every domain through to the backend";
        found.warning(&star.key, what, "make sure that the backend relays for nobody by address");
    }
}
