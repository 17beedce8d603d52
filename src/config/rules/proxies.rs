//! Who may say in whose name it comes.

use crate::config::{findings::Findings, resolve::Plan};

/// Checks `proxy.trusted-networks` of one listener, or of `[server]` where the listener has none.
pub(super) fn check(plan: &Plan<'_>, found: &mut Findings) {
    let networks = plan.trusted_networks.given().into_iter().flat_map(|given| &given.value);
    for network in networks.filter(|network| network.value.prefix_len() == 0) {
        let what = format!("{} lets everybody come in anybody's name", network.value);
        found.warning(&network.key, what, "write the addresses of the proxies");
    }
}
