//! mailward's side of TLS with each backend that is not always spoken to in clear.

use std::{cell::LazyCell, collections::BTreeMap, sync::Arc};

use super::Lasting;
use crate::{
    config::{self, Address, Backend, Config, Problems},
    inbound::backend::{Encryption, Guide},
    outbound::dns::{Dns, Dnssec, Settings},
    policy::strategy::{Requirement, TlsStrategy},
    tls::{ClientSide, Peers},
};

/// One for each such backend, by its id. What cannot be used goes to `problems`, so that no backend is without what was
/// asked for.
pub(super) fn of(
    config: &Config,
    settings: &Settings,
    lasting: &Lasting,
    problems: &mut Problems,
) -> BTreeMap<String, Encryption> {
    let dns = LazyCell::new(|| believed(settings, lasting));
    let mut all = BTreeMap::new();
    for backend in config.backends.values() {
        let ca = &config.server.ca;
        let made = match &backend.tls {
            None => continue,
            Some(config::Encryption::Always(tls)) => {
                ClientSide::new(tls, ca).map(|side| Encryption::Always(Arc::new(side)))
            }
            Some(config::Encryption::Strategy(strategy)) => {
                let dns = if may_have_dane(backend, strategy) { dns.clone() } else { None };
                let guide = |peers| Encryption::Strategy(Arc::new(Guide::new(strategy.clone(), peers, dns)));
                Peers::new(ca).map(guide)
            }
        };
        match made {
            Ok(encryption) => drop(all.insert(backend.id.clone(), encryption)),
            Err(what) => problems.error(&backend.at, &format!("backend.{}.tls", backend.id), what, ""),
        }
    }
    all
}

/// Whether a strategy asks for records that one of a backend's addresses may have.
fn may_have_dane(backend: &Backend, strategy: &TlsStrategy) -> bool {
    let has_name = backend.members.iter().any(|member| matches!(member.address, Address::Name(..)));
    has_name && strategy.dane != Requirement::Disable
}

/// Who is asked for TLSA records, if what they say of DNSSEC may be believed.
fn believed(settings: &Settings, lasting: &Lasting) -> Option<Arc<Dns>> {
    (settings.dnssec != Dnssec::Off).then(|| match &lasting.control {
        Some(control) => lasting.dns(settings, control),
        None => Arc::new(Dns::new(settings.clone())),
    })
}
