//! Who counts as one client, and a table of what is known of each.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use ipnet::IpNet;

use super::rate::Moment;

/// An IPv4 address, or the network of an IPv6 address: whoever has one of those has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(IpNet);

impl Client {
    /// The client that `address` belongs to, where the network of an IPv6 address has a prefix of so many bits.
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { 32 } else { ipv6_prefix };
        Self(IpNet::new(address, length).unwrap_or_else(|_| address.into()).trunc())
    }

    /// The addresses that are this client.
    #[must_use]
    pub const fn network(self) -> IpNet {
        self.0
    }
}

/// An address alone, and a network with its length.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// What is known of each client of late, bounded whoever comes.
///
/// There are 8192 sets of 8 clients, and chance says which is a client's. In a full set a newcomer takes the
/// place of whoever has been quiet longest among those that may go; where none may, nothing is kept of the newcomer. A
/// set is locked for the length of one decision.
#[derive(Debug)]
pub struct Table<V> {
    chance: RandomState,
    /// Made when somebody comes who belongs there: a table that nobody uses is small.
    groups: Box<[OnceLock<Group<V>>]>,
}

type Set<V> = Mutex<Vec<Row<V>>>;
type Group<V> = Box<[Set<V>]>;

/// How many sets a table has, and a group of them.
const SETS: usize = 8192;
const GROUP: usize = 64;

/// How many clients a set has room for.
const WAYS: usize = 8;

#[derive(Debug)]
struct Row<V> {
    client: Client,
    seen: Moment,
    value: V,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { chance: RandomState::new(), groups: (0..SETS / GROUP).map(|_| OnceLock::new()).collect() }
    }
}

impl<V: Default> Table<V> {
    /// Lets `act` see what is known of `client`. `None` where there is no place for it, since no other of its set
    /// `may_go`.
    pub fn enter<R>(
        &self,
        client: Client,
        now: Moment,
        may_go: impl Fn(&V) -> bool,
        act: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let mut set = self.set(client);
        let index = match set.iter().position(|row| row.client == client) {
            Some(index) => index,
            None => place(&mut set, client, may_go)?,
        };
        let row = set.get_mut(index)?;
        row.seen = now;
        Some(act(&mut row.value))
    }

    /// Lets `act` see what is known of `client`, if anything is.
    pub fn find<R>(&self, client: Client, act: impl FnOnce(&mut V) -> R) -> Option<R> {
        self.set(client).iter_mut().find(|row| row.client == client).map(|row| act(&mut row.value))
    }

    fn set(&self, client: Client) -> MutexGuard<'_, Vec<Row<V>>> {
        // 8192 is far below what a word holds.
        let index = self.chance.hash_one(client) as usize % SETS;
        let group = self.groups[index / GROUP].get_or_init(|| (0..GROUP).map(|_| Set::default()).collect());
        group[index % GROUP].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row for a newcomer.
fn place<V: Default>(set: &mut Vec<Row<V>>, client: Client, may_go: impl Fn(&V) -> bool) -> Option<usize> {
    let row = Row { client, seen: Moment::ZERO, value: V::default() };
    if set.len() < WAYS {
        set.push(row);
        return Some(set.len() - 1);
    }
    let goes = set.iter().enumerate().filter(|(_, row)| may_go(&row.value)).min_by_key(|(_, row)| row.seen);
    let (index, _) = goes?;
    set[index] = row;
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv4Addr, time::Duration};

    fn client(address: &str) -> Client {
        Client::of(address.parse().unwrap(), 64)
    }

    #[test]
    fn ipv6_counts_by_network_and_a_mapped_address_is_ipv4() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(client("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(Client::of("2001:db8::1".parse().unwrap(), 128).to_string(), "2001:db8::1");
    }

    #[test]
    fn a_crowd_finds_no_more_than_the_places_there_are() {
        let table: Table<u32> = Table::default();
        for number in 0..200_000 {
            let client = Client::of(Ipv4Addr::from_bits(number).into(), 64);
            assert_eq!(table.enter(client, Duration::ZERO, |_| true, |_| ()), Some(()));
        }
        let sets = table.groups.iter().filter_map(OnceLock::get).flatten();
        let kept: usize = sets.map(|set| set.lock().unwrap().len()).sum();
        assert!(kept <= SETS * WAYS && kept > SETS * WAYS / 2, "{kept}");
    }

    #[test]
    fn who_was_quiet_longest_goes_and_who_may_not_stays() {
        let table: Table<u32> = Table::default();
        let number = |number: u32| Client::of(Ipv4Addr::from_bits(number).into(), 64);
        table.enter(number(0), Duration::ZERO, |_| true, |kept| *kept = 7);
        for other in 1..200_000 {
            table.enter(number(other), Duration::from_secs(1), |kept| *kept != 7, |_| ());
        }
        assert_eq!(table.find(number(0), |kept| *kept), Some(7), "it may not go");
        for other in 1..200_000 {
            table.enter(number(other), Duration::from_secs(2), |_| true, |_| ());
        }
        assert_eq!(table.find(number(0), |kept| *kept), None);

        let full: Table<u32> = Table::default();
        let placed =
            (0..200_000).filter(|other| full.enter(number(*other), Duration::ZERO, |_| false, |_| ()).is_some());
        assert!(placed.count() <= SETS * WAYS, "where none may go, nobody comes");
    }
}
