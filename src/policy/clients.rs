//! What each client has of mailward, and may have: connections and handshakes, at once and in a time.
//!
//! Where more clients have something open than [`Table`] has places for, the next one is let in and not counted by itself;
//! the rates for all together are left to hold it.

use std::sync::{Mutex, PoisonError};

use super::{
    client::{Client, Table},
    rate::{Bucket, Moment, Rate},
};

/// Something that is counted while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection, from accept to close.
    Connection,
    /// A TLS handshake under way.
    Handshake,
}

/// What there may be of a [`Kind`]; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of one client, at once.
    pub at_once: Option<u32>,
    /// Of one client, in a time.
    pub rate: Option<Rate>,
    /// Of all clients together, in a time.
    pub rate_in_all: Option<Rate>,
}

impl Limits {
    /// Whether there is any.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.at_once.is_some() || self.rate.is_some() || self.rate_in_all.is_some()
    }
}

/// The limit that a client has come up against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// [`Limits::at_once`].
    AtOnce,
    /// [`Limits::rate`].
    Rate,
    /// [`Limits::rate_in_all`].
    RateInAll,
}

/// What the clients of late have, and have had, of each [`Kind`].
#[derive(Debug, Default)]
pub struct Clients {
    each: Table<[Count; 2]>,
    all: Mutex<[Bucket; 2]>,
}

#[derive(Debug, Default)]
struct Count {
    now: u32,
    rate: Bucket,
}

impl Clients {
    /// Lets something begin. `true`: it is counted, and [`Self::end`] has to be called when it is over.
    ///
    /// # Errors
    /// The limit that is reached. What a client is refused by its own is not counted against all.
    pub fn begin(&self, kind: Kind, client: Client, limits: &Limits, now: Moment) -> Result<bool, Reached> {
        let in_all = || self.take_in_all(kind, limits, now);
        let idle = |counts: &[Count; 2]| counts.iter().all(|count| count.now == 0);
        let begun = self.each.enter(client, now, idle, |counts| counts[kind as usize].begin(limits, now, in_all));
        begun.unwrap_or_else(|| in_all().map(|()| false))
    }

    /// Notes that something which was counted is over.
    pub fn end(&self, kind: Kind, client: Client) {
        self.each.find(client, |counts| counts[kind as usize].now = counts[kind as usize].now.saturating_sub(1));
    }

    fn take_in_all(&self, kind: Kind, limits: &Limits, now: Moment) -> Result<(), Reached> {
        let Some(rate) = limits.rate_in_all else { return Ok(()) };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all[kind as usize].take(rate, now).then_some(()).ok_or(Reached::RateInAll)
    }
}

impl Count {
    fn begin(
        &mut self,
        limits: &Limits,
        now: Moment,
        in_all: impl Fn() -> Result<(), Reached>,
    ) -> Result<bool, Reached> {
        if limits.at_once.is_some_and(|most| self.now >= most) {
            return Err(Reached::AtOnce);
        }
        if limits.rate.is_some_and(|rate| !self.rate.take(rate, now)) {
            return Err(Reached::Rate);
        }
        in_all()?;
        self.now += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind::*, *};
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    fn client(number: u32) -> Client {
        Client::of(IpAddr::V4(Ipv4Addr::from_bits(number)), 64)
    }

    fn rate(count: u32, seconds: u64) -> Option<Rate> {
        Some(Rate { count, per: Duration::from_secs(seconds) })
    }

    const NOW: Moment = Duration::from_secs(1000);

    #[test]
    fn so_many_at_once_of_one_client_and_no_less_of_another() {
        let clients = Clients::default();
        let limits = Limits { at_once: Some(2), ..Limits::default() };
        let begin = |number| clients.begin(Connection, client(number), &limits, NOW);
        assert_eq!([begin(1), begin(1), begin(1)], [Ok(true), Ok(true), Err(Reached::AtOnce)]);
        assert_eq!(begin(2), Ok(true));
        assert_eq!(clients.begin(Handshake, client(1), &limits, NOW), Ok(true), "of another kind");
        clients.end(Connection, client(1));
        assert_eq!([begin(1), begin(1)], [Ok(true), Err(Reached::AtOnce)]);
        clients.end(Connection, client(9));
    }

    #[test]
    fn a_client_that_is_refused_takes_nothing_from_the_others() {
        let clients = Clients::default();
        let limits = Limits { rate: rate(2, 10), rate_in_all: rate(4, 10), ..Limits::default() };
        let begin = |number| clients.begin(Connection, client(number), &limits, NOW);
        let flood: Vec<_> = (0..100).map(|_| begin(1)).collect();
        assert_eq!(flood.iter().filter(|begun| begun.is_ok()).count(), 2);
        assert_eq!(flood[99], Err(Reached::Rate));
        assert_eq!([begin(2), begin(3), begin(4)], [Ok(true), Ok(true), Err(Reached::RateInAll)]);
    }

    #[test]
    fn who_has_something_open_is_remembered_through_any_crowd() {
        let clients = Clients::default();
        let limits = Limits { at_once: Some(1), ..Limits::default() };
        assert_eq!(clients.begin(Connection, client(0), &limits, NOW), Ok(true));
        for number in 1..200_000 {
            if clients.begin(Connection, client(number), &limits, NOW) == Ok(true) {
                clients.end(Connection, client(number));
            }
        }
        assert_eq!(clients.begin(Connection, client(0), &limits, NOW), Err(Reached::AtOnce));
    }

    #[test]
    fn a_crowd_that_holds_on_is_let_in_uncounted_where_no_place_is_left() {
        let clients = Clients::default();
        let limits = Limits { at_once: Some(1), ..Limits::default() };
        let begun: Vec<_> =
            (0..200_000).map(|number| clients.begin(Connection, client(number), &limits, NOW)).collect();
        assert!(begun.contains(&Ok(false)));
        assert!(begun.iter().all(Result::is_ok));
    }
}
