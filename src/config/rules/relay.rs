//! Who relays, relays for few: mailward makes nobody an open relay (spec §3.4). What is about a backend means nothing there.

use crate::{
    config::{
        file::File,
        findings::{Findings, Key},
        resolve::Plan,
    },
    proto::{Protocol, smtp::BareNewline},
};

/// Checks `relay` of one listener, and what goes with it.
pub(super) fn check(plan: &Plan<'_>, file: &File, found: &mut Findings) {
    let keys = &plan.table.relay;
    let Some(relay) = keys.relay.is(&true) else {
        let of_relays =
            [keys.networks.key(), keys.multi_domain.key(), keys.smtp_utf8.key(), plan.table.recipients.key()];
        for key in of_relays.into_iter().flatten() {
            if !keys.relay.is_wrong() {
                found.error(key, "has no effect without relay = true", "set it, or take this key out");
            }
        }
        return;
    };
    if let Some(service) = plan.service.filter(|_| !plan.is_relay) {
        found.error(relay, format!("means nothing on {}", service.name()), "it is for lmtp and smtp");
        return;
    }
    for key in keys_of_backends(plan) {
        found.error(key, "means nothing where relay = true", "take it out");
    }
    networks(plan, found);
    messages(plan, file, found);
    if let Some(protocol) = plan.relay_protocol() {
        of_protocol(plan, protocol, found);
    }
}

/// The listener's own keys that are about sessions with a backend.
fn keys_of_backends<'p>(plan: &'p Plan<'_>) -> impl Iterator<Item = &'p Key> {
    let table = plan.table;
    let (timeouts, limits) = (&table.shared.timeouts, &table.shared.limits);
    let keys = [
        table.backend.key(),
        table.rcpt_domains.key(),
        table.require_auth.key(),
        table.plaintext_auth.key(),
        table.redirect_https.key(),
        table.shared.refuse_commands.key(),
        timeouts.login.key(),
        timeouts.idle.key(),
        timeouts.data_end.key(),
        timeouts.half_close.key(),
        timeouts.crowded.key(),
        limits.auth.key(),
        limits.literal.key(),
    ];
    keys.into_iter().flatten()
}

/// The largest networks that belong to one organisation: 10.0.0.0/8, fc00::/7.
const WIDEST: (u8, u8) = (8, 7);

fn networks(plan: &Plan<'_>, found: &mut Findings) {
    for network in plan.table.relay.networks.given().into_iter().flat_map(|list| &list.value) {
        let widest = if network.value.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if network.value.prefix_len() < widest {
            let what =
                format!("{} is no network of yours alone, and who is in it may send to the whole world", network.value);
            found.error(&network.key, what, "write the addresses of the servers that send");
        }
    }
}

fn messages(plan: &Plan<'_>, file: &File, found: &mut Findings) {
    if let Some(key) = plan.table.shared.bare_newline.or(&file.server.shared.bare_newline).is(&BareNewline::Pass) {
        let what = format!("cannot be \"pass\" for {}, whose mail goes to the servers of others", plan.table.key.path);
        found.error(key, what, "set bare-newline = \"normalize\" or \"reject\" on that listener");
    }
}

fn of_protocol(plan: &Plan<'_>, protocol: Protocol, found: &mut Findings) {
    if protocol != Protocol::Lmtp {
        return;
    }
    if let Some(key) = plan.table.relay.multi_domain.key() {
        let right = "it is for smtp; lmtp has a reply for each recipient";
        found.error(key, format!("means nothing on {protocol}"), right);
    }
    let binds = plan.table.bind.given().into_iter().flat_map(|list| &list.value);
    for bind in binds.filter(|bind| bind.value.port() == 25) {
        // RFC 2033 §5.
        found.error(&bind.key, "is the port of SMTP, on which nobody may speak LMTP", "the port of LMTP is 24");
    }
}
