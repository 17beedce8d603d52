//! TLS to a backend is asked for in whole: what it has to show can be told, and nothing is said that has no effect.

use super::within;
use crate::config::{backend_tls::Mode, file::BackendTable, findings::Findings, host::Address, resolve::Plan};
use crate::proto::Protocol;

/// Checks `tls.*` of one backend.
pub(super) fn check(backend: &BackendTable, found: &mut Findings) {
    let tls = &backend.tls;
    if tls.mode().is_none() {
        for key in tls.details().filter(|_| !tls.mode.is_wrong()) {
            found.error(key, "has no effect without TLS", "set tls.mode to \"starttls\" or \"implicit\" as well");
        }
        return;
    }
    let (cert, key) = (tls.cert.is_absent(), tls.private_key.is_absent());
    if cert != key {
        let absent = if cert { "tls.cert" } else { "tls.private-key" };
        found.missing(&within(&backend.key, absent), "is missing", "tls.cert and tls.private-key go together");
    }
    if let (Some(key), Some(pin)) = (tls.ca.key(), tls.pin.key()) {
        let what = format!("has no effect beside {}, which stands for the whole chain", pin.path);
        found.warning(key, what, "take one of the two out");
    }
    addresses(backend, found);
}

fn addresses(backend: &BackendTable, found: &mut Findings) {
    let named = !backend.tls.name.is_absent() || !backend.tls.pin.is_absent();
    for address in backend.address.given().iter().flat_map(|list| &list.value) {
        match &address.value.address {
            Address::Embedded => {
                let right = "take tls.mode out, or write the address of a server";
                found.error(&address.key, "the embedded mail store is in this process, and speaks no TLS", right);
            }
            Address::Unix(_) if !named => {
                let right = "write it in tls.name, or the digest of its key in tls.pin";
                found.error(&address.key, "does not say what name the certificate has to be for", right);
            }
            Address::Unix(_) | Address::Ip(..) | Address::Name(..) => {}
        }
    }
}

/// Checks that the backend of one listener can be spoken to in the way that it is to be.
pub(super) fn check_port(plan: &Plan<'_>, found: &mut Findings) {
    let Some(backend) = plan.backend.filter(|backend| backend.tls.mode() == Some(Mode::Implicit)) else { return };
    let Some(protocol) = plan.protocol().filter(|protocol| *protocol == Protocol::ManageSieve) else { return };
    let Some(mode) = backend.tls.mode.key() else { return };
    // RFC 5804 §1.7: there is STARTTLS, and no port for anything else.
    found.warning(mode, format!("{protocol} has no usual way to begin with TLS"), "is \"starttls\" meant?");
}
