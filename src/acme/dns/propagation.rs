//! Whether the records can be seen: each of the zone's name servers is asked itself, as an authority would ask it,
//! until all that can be asked show every record.
//!
//! A name server that cannot be reached from here, or answers for nothing, is not waited for as long as another shows the
//! records: an authority passes it over too. When the time is over, the authority shall judge; who does not show the
//! records is named.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use domain::base::{Rtype, iana::Rcode};
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    message::{Ask, Owner, Text, addresses, name_servers, shows},
    place::Place,
    primary::Primary,
};
use crate::{
    config::Dns01,
    net::exchange::{exchange, random_id},
};

/// Name servers of a zone, and addresses of each, that are asked at most. Zones have two to six.
const SERVERS: usize = 16;
const ADDRESSES: usize = 4;

/// How long one look may take: long enough for two datagrams to get lost.
const LOOK: Duration = Duration::from_secs(5);

/// The port of name servers.
const PORT: u16 = 53;

/// Waits until the records can be seen, at most `propagation-timeout`, and returns who does not show them then.
pub(super) async fn await_shown(primary: &Primary<'_>, settings: &Dns01, written: &[(Place, Text)]) -> Vec<String> {
    let deadline = Instant::now() + settings.propagation_timeout;
    let (watches, mut unseen) = watches(primary, written).await;
    loop {
        let sightings = look(&watches).await;
        let over = Instant::now() >= deadline;
        if over || is_settled(&sightings) {
            unseen.extend(sightings.into_iter().filter_map(|(server, sighting)| sighting.doubt(&server)));
            return unseen;
        }
        sleep_until(deadline.min(Instant::now() + settings.polling_interval)).await;
    }
}

/// A name server, and what it shall show.
struct Watch {
    server: Owner,
    addresses: Vec<SocketAddr>,
    wanted: Vec<(Owner, Text)>,
}

/// What was seen at a name server.
#[derive(Debug, PartialEq, Eq)]
enum Sighting {
    /// Every record.
    Shown,
    /// That this name lacks a record.
    Missing(Owner),
    /// Nothing, for this reason.
    Nothing(String),
}

impl Sighting {
    fn doubt(self, server: &Owner) -> Option<String> {
        match self {
            Self::Shown => None,
            Self::Missing(name) => Some(format!("{server} does not show the TXT record at {name}")),
            Self::Nothing(reason) => Some(format!("{server} cannot be asked: {reason}")),
        }
    }
}

/// Where nobody at all can be asked, the time that is left is given to the name servers.
fn is_settled(sightings: &[(Owner, Sighting)]) -> bool {
    let shown = sightings.iter().any(|(_, sighting)| *sighting == Sighting::Shown);
    let missing = sightings.iter().any(|(_, sighting)| matches!(sighting, Sighting::Missing(_)));
    shown && !missing
}

/// Everybody who is to be asked, and why somebody cannot be.
async fn watches(primary: &Primary<'_>, written: &[(Place, Text)]) -> (Vec<Arc<Watch>>, Vec<String>) {
    let (mut watches, mut unknown) = (Vec::new(), Vec::new());
    let mut zones: Vec<_> = written.iter().map(|(place, _)| &place.zone).collect();
    zones.sort();
    zones.dedup();
    for zone in zones {
        let here = written.iter().filter(|(place, _)| place.zone == *zone);
        let wanted: Vec<_> = here.map(|(place, text)| (place.name.clone(), text.clone())).collect();
        match primary.ask(&Ask::Records(zone, Rtype::NS)).await {
            Ok(reply) => {
                for server in name_servers(&reply, zone).into_iter().take(SERVERS) {
                    let addresses = find_addresses(primary, &server).await;
                    watches.push(Arc::new(Watch { server, addresses, wanted: wanted.clone() }));
                }
            }
            Err(error) => unknown.push(format!("the name servers of {zone} are not known: {error}")),
        }
    }
    (watches, unknown)
}

/// The addresses of a name server: the primary's word for a name in its own zones, else the system's resolver's.
async fn find_addresses(primary: &Primary<'_>, server: &Owner) -> Vec<SocketAddr> {
    let (mut found, mut is_authority) = (Vec::new(), false);
    for rtype in [Rtype::A, Rtype::AAAA] {
        if let Ok(reply) = primary.ask(&Ask::Records(server, rtype)).await
            && reply.header().aa()
        {
            is_authority = true;
            found.extend(addresses(&reply, server));
        }
    }
    if !is_authority {
        let lookup = timeout(primary.settings.timeout, lookup_host((server.to_string(), PORT))).await;
        found.extend(lookup.into_iter().flatten().flatten().map(|address| address.ip()));
    }
    found.into_iter().take(ADDRESSES).map(|address| with_port(primary, address)).collect()
}

/// The primary is asked where it is known to answer; the authority reaches it otherwise, or not at all.
fn with_port(primary: &Primary<'_>, address: IpAddr) -> SocketAddr {
    let configured = primary.settings.server;
    if address == configured.ip() { configured } else { (address, PORT).into() }
}

/// Looks once at all of them, at the same time.
async fn look(watches: &[Arc<Watch>]) -> Vec<(Owner, Sighting)> {
    let mut looks = JoinSet::new();
    for watch in watches {
        let watch = watch.clone();
        looks.spawn(async move { (watch.server.clone(), watch.look().await) });
    }
    looks.join_all().await
}

impl Watch {
    /// Looks at each address: a record that is missing at one is missing, and one address may be out of our reach (IPv6
    /// often is) if another shows it.
    async fn look(&self) -> Sighting {
        let mut seen = Sighting::Nothing("its name has no address".to_owned());
        for address in &self.addresses {
            match self.look_at(*address).await {
                missing @ Sighting::Missing(_) => return missing,
                Sighting::Nothing(_) if seen == Sighting::Shown => {}
                sighting => seen = sighting,
            }
        }
        seen
    }

    async fn look_at(&self, address: SocketAddr) -> Sighting {
        for (name, text) in &self.wanted {
            let request = Ask::Records(name, Rtype::TXT).compose(random_id()).into_message();
            let reply = match timeout(LOOK, exchange(address, false, &request)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => return Sighting::Nothing(format!("{address}: {error}")),
                Err(_) => return Sighting::Nothing(format!("{address}: no reply within {LOOK:?}")),
            };
            match reply.header().rcode() {
                Rcode::NOERROR | Rcode::NXDOMAIN if !reply.header().aa() => {
                    return Sighting::Nothing(format!("{address}: it is not authoritative for {name}"));
                }
                Rcode::NOERROR if shows(&reply, name, text) => {}
                Rcode::NOERROR | Rcode::NXDOMAIN => return Sighting::Missing(name.clone()),
                other => return Sighting::Nothing(format!("{address}: it answers {other}")),
            }
        }
        Sighting::Shown
    }
}
