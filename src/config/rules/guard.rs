//! mailward makes nobody an open relay (spec §3.3).

use super::{places::is_embedded, within};
use crate::{
    config::{
        file::List,
        findings::{Findings, Key},
        resolve::Plan,
        setting::Setting,
    },
    proto::Protocol,
};

/// Checks `rcpt-domains` and `require-auth` of one listener.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let Some(protocol) = plan.protocol() else { return };
    require_auth(&plan.table.require_auth, protocol, found);
    let domains = &plan.table.rcpt_domains;
    if domains.is_absent() {
        if protocol == Protocol::Smtp && plan.backend.is_none_or(|backend| is_embedded(backend) == Some(false)) {
            unguarded(&plan.table.key, found);
        }
    } else if matches!(protocol, Protocol::Smtp | Protocol::Submission) {
        everybody(domains, found);
    } else if let Some(given) = domains.given() {
        found.error(&given.key, format!("means nothing on {protocol}"), "it is for smtp and submission");
    }
}

fn require_auth(setting: &Setting<bool>, protocol: Protocol, found: &mut Findings) {
    let Some(given) = setting.given() else { return };
    if protocol != Protocol::Submission {
        found.error(&given.key, format!("means nothing on {protocol}"), "it is for submission");
    } else if !given.value {
        let what = "lets anybody send whom the backend does not stop, and the backend sees mailward's address";
        found.warning(&given.key, what, "make sure that the backend relays for nobody by address");
    }
}

fn unguarded(listener: &Key, found: &mut Findings) {
    let what = "is missing: the backend sees mailward's address, and may relay for it to the whole world";
    let right = "write the domains that the backend takes mail for: rcpt-domains = [\"example.org\"]";
    found.missing(&within(listener, "rcpt-domains"), what, right);
}

fn everybody(domains: &List<String>, found: &mut Findings) {
    let Some(given) = domains.given() else { return };
    let Some(star) = given.value.iter().find(|domain| domain.value == "*") else { return };
    if given.value.len() > 1 {
        found.error(
            &star.key,
            "\"*\" is every domain, and others stand beside it",
            "write \"*\" alone, or take it out",
        );
    } else {
        let what = "\"*\" lets mail for every domain through to the backend";
        found.warning(&star.key, what, "make sure that the backend relays for nobody by address");
    }
}
