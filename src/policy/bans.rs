//! Whose faults are too many, and for how long they are kept out.
//!
//! Bounded: faults in a [`Table`], bans in [`MOST`] places. Where these are taken, the part that ends first makes room.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;

use super::{
    client::{Client, Table},
    rate::{Bucket, Moment, Rate},
};

/// What a client can be banned for; the names are those of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A login that the backend refused.
    Auth,
    /// A rule that was broken before TLS or before the login.
    Abuse,
    /// A session that came to nothing before TLS within its time.
    Loiter,
    /// A handshake that came to nothing.
    Scan,
}

impl Fault {
    /// Every fault, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Abuse, Self::Loiter, Self::Scan];

    /// The name in the configuration and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Abuse => "abuse",
            Self::Loiter => "loiter",
            Self::Scan => "scan",
        }
    }
}

/// The faults of the clients of late.
#[derive(Debug, Default)]
pub struct Faults(Table<[Bucket; 4]>);

impl Faults {
    /// Counts a fault; says whether it is one more than `rate` bears.
    pub fn is_too_many(&self, fault: Fault, client: Client, rate: Rate, now: Moment) -> bool {
        let taken = self.0.enter(client, now, |_| true, |faults| faults[fault as usize].take(rate, now));
        taken == Some(false)
    }
}

/// Who is banned now.
#[derive(Debug, Default)]
pub struct Bans(HashMap<IpNet, Ban>);

/// A ban of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Its last moment.
    pub until: SystemTime,
    /// What for.
    pub fault: Fault,
}

/// How many bans there may be.
pub const MOST: usize = 65_536;

impl Bans {
    /// Bans a client, or for longer one that is banned. Says whether it was not before.
    pub fn ban(&mut self, client: IpNet, ban: Ban, now: SystemTime) -> bool {
        if self.0.len() >= MOST {
            self.make_room(now);
        }
        let before = self.0.insert(client, ban);
        before.is_none_or(|before| before.until <= now)
    }

    /// Whether a client is banned.
    #[must_use]
    pub fn hold(&self, client: Client, now: SystemTime) -> bool {
        self.0.get(&client.network()).is_some_and(|ban| ban.until > now)
    }

    /// Lifts the ban of every client within `network`, and of the one that `network` lies in; says of how many.
    pub fn lift(&mut self, network: IpNet, now: SystemTime) -> usize {
        self.lift_if(now, |banned| network.contains(banned) || banned.contains(&network))
    }

    /// Lifts all; says how many there were.
    pub fn lift_all(&mut self, now: SystemTime) -> usize {
        self.lift_if(now, |_| true)
    }

    /// All that hold, those that end first in front.
    #[must_use]
    pub fn list(&self, now: SystemTime) -> Vec<(IpNet, Ban)> {
        let mut all: Vec<_> = self.0.iter().map(|(client, ban)| (*client, *ban)).collect();
        all.retain(|(_, ban)| ban.until > now);
        all.sort_by_key(|(client, ban)| (ban.until, *client));
        all
    }

    fn lift_if(&mut self, now: SystemTime, is_meant: impl Fn(&IpNet) -> bool) -> usize {
        self.0.retain(|_, ban| ban.until > now);
        let before = self.0.len();
        self.0.retain(|client, _| !is_meant(client));
        before - self.0.len()
    }

    /// A sixteenth, so that this is not done for each of a flood.
    fn make_room(&mut self, now: SystemTime) {
        let kept = self.list(now).into_iter().rev().take(MOST - MOST / 16);
        self.0 = kept.collect();
    }
}

/// When a ban that begins now ends.
#[must_use]
pub fn end(now: SystemTime, duration: Duration) -> SystemTime {
    // No file holds the parts of a second.
    let whole = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(whole) + duration
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn client(address: &str) -> Client {
        Client::of(address.parse().unwrap(), 64)
    }

    fn ban(seconds: u64) -> Ban {
        Ban { until: after(seconds), fault: Fault::Auth }
    }

    fn after(seconds: u64) -> SystemTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn one_fault_more_than_the_rate_bears_is_too_many_and_each_kind_has_its_own() {
        let faults = Faults::default();
        let rate = Rate { count: 2, per: Duration::from_secs(10) };
        let too_many =
            |fault, seconds| faults.is_too_many(fault, client("192.0.2.1"), rate, Duration::from_secs(seconds));
        assert_eq!([0, 0, 0].map(|at| too_many(Fault::Auth, at)), [false, false, true]);
        assert!(!too_many(Fault::Scan, 0));
        assert!(!too_many(Fault::Auth, 5), "one is forgotten");
        assert!(!faults.is_too_many(Fault::Auth, client("192.0.2.2"), rate, Duration::ZERO));
    }

    #[test]
    fn a_ban_holds_for_its_time_and_is_made_longer() {
        let mut bans = Bans::default();
        let one = client("2001:db8::1");
        assert!(bans.ban(one.network(), ban(10), NOW));
        assert!(bans.hold(client("2001:db8::2"), after(9)) && !bans.hold(one, after(10)));
        assert!(!bans.ban(one.network(), ban(20), after(5)), "it was banned already");
        assert!(bans.hold(one, after(19)));
        assert!(bans.list(after(20)).is_empty());
        assert!(bans.ban(one.network(), ban(40), after(30)), "it was free in between");
    }

    #[test]
    fn bans_are_lifted_by_address_by_network_and_all_together() {
        let mut bans = Bans::default();
        let put = |bans: &mut Bans| {
            for address in ["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1"] {
                bans.ban(client(address).network(), ban(10), NOW);
            }
        };
        put(&mut bans);
        assert_eq!(bans.lift("192.0.2.1/32".parse().unwrap(), NOW), 1);
        assert_eq!(bans.lift("192.0.2.1/32".parse().unwrap(), NOW), 0);
        assert_eq!(bans.lift("2001:db8::7/128".parse().unwrap(), NOW), 1, "its network is banned");
        put(&mut bans);
        assert_eq!(bans.lift("192.0.2.0/24".parse().unwrap(), NOW), 2);
        assert_eq!(bans.lift_all(NOW), 2);
        put(&mut bans);
        assert_eq!(bans.lift_all(after(10)), 0, "those that are over do not count");
    }

    #[test]
    fn where_no_place_is_left_those_go_that_end_first() {
        let mut bans = Bans::default();
        for number in 0..u32::try_from(MOST).unwrap() + 1 {
            let client = Client::of(std::net::Ipv4Addr::from_bits(number).into(), 64);
            bans.ban(client.network(), ban(u64::from(number) + 1), NOW);
        }
        assert_eq!(bans.0.len(), MOST - MOST / 16 + 1);
        assert!(!bans.hold(client("0.0.0.1"), NOW) && bans.hold(client("0.0.255.0"), NOW));
    }
}
