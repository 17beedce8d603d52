//! What protects a listener from its clients, as it holds in the end.

use super::{listed, row};
use crate::{
    config::{AutoBan, Protection},
    policy::{bans::Fault, clients::Limits},
};

/// Tells of what is limited, and of nothing where nothing is.
pub(super) fn explain(text: &mut String, protection: &Protection) {
    let Protection { exempt, ipv6_prefix, connections, handshakes, auto_ban } = protection;
    for (name, limits) in [("connections", connections), ("handshakes", handshakes)] {
        if limits.any() {
            row(text, name, &spelled(limits));
        }
    }
    let bans = banned_for(auto_ban);
    if !bans.is_empty() {
        row(text, "auto-ban", &format!("{} for {}", bans.join(", "), super::spelled(auto_ban.duration)));
    }
    if connections.any() || handshakes.any() || !bans.is_empty() {
        row(text, "one client", &format!("an IPv4 address, or an IPv6 /{ipv6_prefix}"));
        row(text, "exempt", &if exempt.is_empty() { "nobody".to_owned() } else { listed(exempt) });
    }
}

fn banned_for(auto_ban: &AutoBan) -> Vec<String> {
    let rate = |fault: Fault| auto_ban.rate(fault).map(|rate| format!("{} above {rate}", fault.name()));
    Fault::ALL.into_iter().filter_map(rate).collect()
}

fn spelled(limits: &Limits) -> String {
    let parts = [
        limits.at_once.map(|most| format!("{most} at once of one client")),
        limits.rate.map(|rate| format!("{rate} of one client")),
        limits.rate_in_all.map(|rate| format!("{rate} in all")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
