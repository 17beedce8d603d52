//! An `[acme.<id>]` table is complete, asks for what its authority can give, and can answer its own challenge.

use super::{dns, within};
use crate::config::{
    KeyType,
    acme::{AcmeTable, ChallengeName},
    file::File,
    findings::{Findings, Key},
    resolve::Plan,
    setting::Given,
};
use crate::proto::Protocol;

/// Checks all tables.
pub(super) fn check(file: &File, plans: &[Plan<'_>], found: &mut Findings) {
    for table in &file.acme {
        complete(table, found);
        domains(table, found);
        key_types(table, found);
        dns::check(table, found);
        answered(table, plans, found);
    }
}

fn complete(table: &AcmeTable, found: &mut Findings) {
    let mut need = |name, right| found.missing(&within(&table.key, name), "is missing", right);
    if table.directory.is_absent() {
        need("directory", "write the authority's URL: \"https://acme-v02.api.letsencrypt.org/directory\"");
    }
    if table.domains.is_absent() {
        need("domains", "write the names that the certificate is for: domains = [\"mail.example.org\"]");
    }
    let (kid, key) = (table.kid.is_absent(), table.hmac_key.is_absent());
    if kid != key {
        let absent = if kid { "eab.kid" } else { "eab.hmac-key" };
        need(absent, "eab.kid and eab.hmac-key go together");
    }
}

/// Where `challenge` stands, and what a message says of it.
pub(super) fn challenge(table: &AcmeTable, name: ChallengeName) -> (Key, String) {
    match table.challenge.key() {
        Some(key) => (key.clone(), format!("is \"{}\"", name.name())),
        None => (within(&table.key, "challenge"), format!("is \"{}\" by default", name.name())),
    }
}

fn domains(table: &AcmeTable, found: &mut Findings) {
    let Some(list) = table.domains.given() else { return };
    let wildcards: Vec<_> = list.value.iter().filter(|domain| domain.value.starts_with("*.")).collect();
    if let Some(name) = table.challenge().filter(|name| *name != ChallengeName::Dns01) {
        let (challenge, is) = challenge(table, name);
        for wildcard in &wildcards {
            // RFC 8555 §7.1.3: of a wildcard only the DNS can tell that it is ours.
            let right = "set challenge = \"dns-01\", or name each host";
            found.error(&wildcard.key, format!("a wildcard needs dns-01, and {} {is}", challenge.path), right);
        }
    }
    for Given { value, key } in &list.value {
        let parent = value.split_once('.').map(|(_, parent)| parent);
        if wildcards.iter().any(|wildcard| wildcard.value != *value && wildcard.value.get(2..) == parent) {
            // Some authorities refuse the whole order for it.
            found.error(key, "is covered by a wildcard of the same list", "take one of the two out");
        }
    }
}

fn key_types(table: &AcmeTable, found: &mut Findings) {
    let both = |list: &&Given<Vec<Given<KeyType>>>| {
        [KeyType::EcdsaP256, KeyType::EcdsaP384].iter().all(|kind| list.value.iter().any(|one| one.value == *kind))
    };
    if let Some(list) = table.key_type.given().filter(both) {
        let what = "names two kinds of ECDSA key, and every client that can use one can use the other";
        found.error(&list.key, what, "name one of them, and \"rsa-2048\" beside it for old clients");
    }
}

/// An authority connects to where the listeners are. Only over the DNS does it need none.
fn answered(table: &AcmeTable, plans: &[Plan<'_>], found: &mut Findings) {
    let unknown = |plan: &Plan<'_>| plan.service.is_none() || plan.tls.implicit.is_wrong();
    if plans.is_empty() || plans.iter().any(unknown) {
        return;
    }
    match table.challenge() {
        Some(name @ ChallengeName::TlsAlpn01) => answered_by_tls(&challenge(table, name), plans, found),
        Some(name @ ChallengeName::Http01) if !plans.iter().any(Plan::is_http) => {
            let (challenge, is) = challenge(table, name);
            let right = "add a [server.listener.<id>] with protocol = \"http\" and bind = [\"[::]:80\"]";
            found.missing(&challenge, format!("{is}, and no listener has protocol = \"http\""), right);
        }
        _ => {}
    }
}

fn answered_by_tls((challenge, is): &(Key, String), plans: &[Plan<'_>], found: &mut Findings) {
    let right = "bind a listener with protocol = \"http\" and tls.implicit = true to \"[::]:443\", have that port \
                 forwarded, or choose another challenge";
    // LMTP has no name for itself, so that an authority's is passed over there; and who relays is there for few.
    let answers = |plan: &&Plan<'_>| plan.is_implicit() && !plan.is_relay && plan.protocol() != Some(Protocol::Lmtp);
    let implicit: Vec<_> = plans.iter().filter(answers).collect();
    if implicit.is_empty() {
        let what = format!("{is}, and no listener that could answer has tls.implicit = true");
        found.missing(challenge, what, right);
        return;
    }
    let mut ports = implicit.iter().flat_map(|plan| plan.table.bind.values()).map(|bind| bind.port());
    // RFC 8737 §3: the authority chooses no other port. On other ones than these, it may be led here.
    if ports.all(|port| matches!(port, 465 | 993 | 995)) {
        let what = format!("{is}, the authority connects to port 443, and no listener with tls.implicit has that port");
        found.warning(challenge, what, right);
    }
}
