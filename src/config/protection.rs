//! What one client may have of mailward, and all together (`limit.client-*`, `limit.*-rate`), what it is banned for
//! (`auto-ban`), and who is exempt from it.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    section::Section,
    setting::Setting,
    shared::MANY,
    word::{self, Refusal},
};
use crate::policy::{bans::Fault, client::Client, clients::Limits, rate::Rate};

/// What protects a listener from its clients. Nothing of it holds unless the file says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// `exempt-networks`: who is neither limited nor counted.
    pub exempt: Vec<IpNet>,
    /// `limit.client-ipv6-prefix`: how many bits of an IPv6 address say which client it is.
    pub ipv6_prefix: u8,
    /// `limit.client-connections`, `limit.client-connection-rate` and `limit.connection-rate`.
    pub connections: Limits,
    /// `limit.client-handshakes`, `limit.client-handshake-rate` and `limit.handshake-rate`.
    pub handshakes: Limits,
    /// `auto-ban`.
    pub auto_ban: AutoBan,
}

/// `auto-ban`: what a client is banned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoBan {
    rates: [Option<Rate>; 4],
    /// `auto-ban.duration`.
    pub duration: Duration,
}

impl AutoBan {
    /// `auto-ban.<fault>.rate`: how many of a fault are borne; `None`: any number.
    #[must_use]
    pub const fn rate(&self, fault: Fault) -> Option<Rate> {
        self.rates[fault as usize]
    }
}

impl Protection {
    /// The client that an address belongs to; `None` where it is exempt.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> Option<Client> {
        let is_exempt = self.exempt.iter().any(|network| network.contains(&address));
        (!is_exempt).then(|| Client::of(address, self.ipv6_prefix))
    }
}

/// What `[server]` says of it.
pub(super) struct ProtectionKeys {
    ipv6_prefix: Setting<u64>,
    connections: LimitsKeys,
    handshakes: LimitsKeys,
}

/// `[server.auto-ban]`.
pub(super) struct AutoBanKeys {
    rates: [Setting<Rate>; 4],
    duration: Setting<Duration>,
}

struct LimitsKeys {
    at_once: Setting<u64>,
    rate: Setting<Rate>,
    rate_in_all: Setting<Rate>,
}

impl ProtectionKeys {
    /// Reads the keys of the server's `limit`.
    pub(super) fn read(limit: &mut Section<'_, '_>) -> Self {
        Self {
            ipv6_prefix: limit.count("client-ipv6-prefix", 32..=128),
            connections: LimitsKeys {
                at_once: limit.count("client-connections", 1..=MANY),
                rate: limit.word("client-connection-rate", parse_rate),
                rate_in_all: limit.word("connection-rate", parse_rate),
            },
            handshakes: LimitsKeys {
                at_once: limit.count("client-handshakes", 1..=MANY),
                rate: limit.word("client-handshake-rate", parse_rate),
                rate_in_all: limit.word("handshake-rate", parse_rate),
            },
        }
    }

    /// What holds for a listener with these exempt networks.
    pub(super) fn resolve(&self, auto_ban: &AutoBanKeys, exempt: Vec<IpNet>) -> Protection {
        Protection {
            exempt,
            // What a provider gives to one customer, or to one machine of his, at least (RFC 6177 §2).
            ipv6_prefix: u8::try_from(self.ipv6_prefix.value_or(64)).unwrap_or(64),
            connections: self.connections.resolve(),
            handshakes: self.handshakes.resolve(),
            auto_ban: auto_ban.resolve(),
        }
    }
}

impl AutoBanKeys {
    /// Reads the table.
    pub(super) fn read(table: &mut Section<'_, '_>) -> Self {
        let rates = Fault::ALL.map(|fault| table.within(fault.name(), |fault| fault.word("rate", parse_rate)));
        Self { rates, duration: table.duration("duration") }
    }

    fn resolve(&self) -> AutoBan {
        AutoBan {
            rates: Fault::ALL.map(|fault| self.rates[fault as usize].given().map(|rate| rate.value)),
            duration: self.duration.value_or(Duration::from_secs(60 * 60)),
        }
    }
}

impl LimitsKeys {
    fn resolve(&self) -> Limits {
        Limits {
            at_once: self.at_once.given().and_then(|count| u32::try_from(count.value).ok()),
            rate: self.rate.given().map(|rate| rate.value),
            rate_in_all: self.rate_in_all.given().map(|rate| rate.value),
        }
    }
}

/// The most that a rate may count: its tokens stay a nanosecond apart in the shortest time.
const MOST: u32 = 1_000_000;

/// Reads `"20/1m"`: how many, and in which time.
fn parse_rate(text: &str) -> Result<Rate, Refusal> {
    let refusal = |what| Refusal::new(what, "write how many in which time: \"20/1m\", \"500/1s\" or \"100/1d\"");
    let (count, per) = text.split_once('/').ok_or_else(|| refusal("is not a rate"))?;
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let per: Duration = word::parse_duration(per).map_err(|_| refusal("is not a rate"))?;
    match count.parse() {
        Ok(0) => Err(refusal("is none at all")),
        Ok(count @ 1..=MOST) if digits => Ok(Rate { count, per }),
        _ if digits => Err(Refusal::new("counts too many", "a rate counts 1000000 at most")),
        _ => Err(refusal("is not a rate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_time() {
        let of = |text| parse_rate(text).map(|rate| rate.to_string());
        assert_eq!(of("100/1d").as_deref(), Ok("100/1d"));
        assert_eq!(of("1000000/1ms").as_deref(), Ok("1000000/1ms"));
        assert_eq!(of("20/60s").as_deref(), Ok("20/1m"));
        for wrong in
            ["", "20", "/1m", "20/", "20/1", "0/1m", "+2/1m", "-2/1m", "1.5/1m", "1000001/1s", "20 / 1m", "2/1m/1m"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
