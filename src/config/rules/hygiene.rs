//! What a listener and its backend keep from each other stands where messages pass, and is not turned off unnoticed.

use crate::{
    config::{
        file::File,
        findings::{Findings, Key},
        resolve::Plan,
        shared::SharedKeys,
    },
    proto::{Protocol, smtp::BareNewline},
};

const WHERE: &str = "it is for smtp, submission and lmtp";

/// Checks `bare-newline`, `refuse-commands` and `limit.message` of one listener.
pub(super) fn check(plan: &Plan<'_>, file: &File, found: &mut Findings) {
    let Some(protocol) = plan.protocol() else { return };
    let own = &plan.table.shared;
    if !protocol.carries_mail() {
        for key in keys(own) {
            found.error(key, format!("means nothing on {protocol}"), WHERE);
        }
    } else if let Some(key) = own.bare_newline.or(&file.server.shared.bare_newline).is(&BareNewline::Pass) {
        let what = "lets bare line ends through: a backend that takes one for the end of a message can be made to take \
                    forged mail for mail that was checked";
        found.warning(key, what, "make sure that the backend ends a message at CRLF.CRLF alone, or take this key out");
    }
}

/// The keys that are about messages.
pub(super) fn keys(shared: &SharedKeys) -> impl Iterator<Item = &Key> {
    [shared.bare_newline.key(), shared.refuse_commands.key(), shared.limits.message.key()].into_iter().flatten()
}

/// Checks `hide-extensions` of all backends.
pub(super) fn check_backends(file: &File, plans: &[Plan<'_>], found: &mut Findings) {
    for backend in &file.backends {
        let used = || plans.iter().filter(|plan| plan.backend.is_some_and(|used| used.id == backend.id));
        let carries_mail = |plan: &Plan<'_>| plan.protocol().is_none_or(Protocol::carries_mail);
        if let Some(key) = backend.hide_extensions.key().filter(|_| used().count() > 0 && !used().any(carries_mail)) {
            found.error(key, "means nothing to the listeners that use this backend", WHERE);
        }
    }
}
