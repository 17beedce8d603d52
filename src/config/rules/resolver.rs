//! DNSSEC is believed only where it is told by one whom nobody can speak over (RFC 7672 §2.1.1).

use crate::config::{
    findings::{Findings, Key},
    resolver::{Dnssec, Kind, ResolverTable},
};

/// Checks `[resolver]`.
pub(super) fn check(table: &ResolverTable, found: &mut Findings) {
    match (table.kind.given().map(|kind| kind.value), table.custom.key()) {
        (Some(Kind::Custom), None) if table.custom.is_absent() => {
            let offset = table.kind.key().map_or(0, |key| key.offset);
            let key = Key { path: "resolver.custom".to_owned(), offset };
            found.missing(&key, "is missing", "write whom to ask: custom = [\"127.0.0.1:53\"]");
        }
        (Some(Kind::System), Some(key)) => {
            found.error(key, "has no effect while type is \"system\"", "write type = \"custom\", or take this key out");
        }
        (None, Some(key)) if table.kind.is_absent() => {
            found.error(key, "has no effect without type = \"custom\"", "write that as well, or take this key out");
        }
        _ => {}
    }
    if let Some(key) = table.trust_anchor.key()
        && !table.dnssec.is_wrong()
        && table.dnssec.is(&Dnssec::Validate).is_none()
    {
        let right = "write dnssec = \"validate\" as well, or take this key out";
        found.warning(key, "has no effect where DNSSEC is not validated here", right);
    }
    if let (Some(server), Some(key)) = (table.distant(), table.custom.key()) {
        distant(table, &server.to_string(), key, found);
    }
}

fn distant(table: &ResolverTable, server: &str, custom: &Key, found: &mut Findings) {
    if let Some(key) = table.dnssec.is(&Dnssec::Ad) {
        let what = format!("believes {server} across a network, where its answers can be forged");
        found.warning(key, what, "ask a resolver on this machine, or make sure of the way there");
    } else if table.dnssec.is_absent() {
        let what =
            format!("{server} is not on this machine, and what it says of DNSSEC can be forged: there is no DANE");
        let right =
            "ask a resolver on this machine; or write dnssec = \"ad\" where nobody can come between, or \"off\"";
        found.warning(custom, what, right);
    }
}
