//! Block lists in the DNS (RFC 5782): what they are asked, and what their answers mean.
//!
//! Promises that no answer counts which a list gives to everybody: that the question was refused, or what somebody gives
//! for every name.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
};

/// A list, and which of its answers count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone {
    /// The domain that is asked.
    pub name: String,
    /// The answers that count; `None`: every one by which lists say yes.
    pub answers: Option<Answers>,
}

/// Some addresses: what each of their bytes may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answers(pub [Vec<RangeInclusive<u8>>; 4]);

/// What a list says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is listed.
    Listed,
    /// It is not, or not in a way that counts.
    NotListed,
    /// Nothing: by this answer the list refuses the question, for it was asked too much or by way of a public resolver.
    Refused(Ipv4Addr),
}

/// The longest name of a list: in front of it stand the 32 digits of an IPv6 address, each with its dot, and a name has
/// 253 characters at most.
pub const LONGEST_NAME: usize = 253 - 2 * 32;

/// RFC 5782 §2.1: what lists answer is of 127.0.0.0/8, and 127.0.0.2 where they have nothing more to tell.
const YES: RangeInclusive<Ipv4Addr> = Ipv4Addr::new(127, 0, 0, 2)..=Ipv4Addr::new(127, 255, 255, 255);

impl Zone {
    /// The name whose addresses say whether `client` is on the list (RFC 5782 §2.1, §2.4).
    #[must_use]
    pub fn question(&self, client: IpAddr) -> String {
        let mut name = String::new();
        // Writing to a text cannot fail.
        match client.to_canonical() {
            IpAddr::V4(four) => {
                for byte in four.octets().iter().rev() {
                    let _ = write!(name, "{byte}.");
                }
            }
            IpAddr::V6(six) => {
                for byte in six.octets().iter().rev() {
                    let _ = write!(name, "{:x}.{:x}.", byte & 15, byte >> 4);
                }
            }
        }
        name + &self.name
    }

    /// What the addresses mean that came in answer.
    #[must_use]
    pub fn judge(&self, addresses: &[Ipv4Addr]) -> Verdict {
        if let Some(refusal) = addresses.iter().find(|address| address.octets().starts_with(&[127, 255, 255])) {
            return Verdict::Refused(*refusal);
        }
        if addresses.iter().any(|address| self.counts(*address)) { Verdict::Listed } else { Verdict::NotListed }
    }

    fn counts(&self, address: Ipv4Addr) -> bool {
        match &self.answers {
            None => YES.contains(&address),
            Some(Answers(bytes)) => bytes
                .iter()
                .zip(address.octets())
                .all(|(ranges, byte)| ranges.iter().any(|range| range.contains(&byte))),
        }
    }
}

/// As the configuration writes it.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let Some(Answers(bytes)) = &self.answers else { return Ok(()) };
        let bytes: Vec<_> = bytes.iter().map(|ranges| spelled(ranges)).collect();
        write!(f, "={}", bytes.join("."))
    }
}

/// What one byte may be, as the configuration writes it.
fn spelled(ranges: &[RangeInclusive<u8>]) -> String {
    let one = |range: &RangeInclusive<u8>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}..{last}"),
    };
    match ranges {
        [range] if range.start() == range.end() => one(range),
        _ => format!("[{}]", ranges.iter().map(one).collect::<Vec<_>>().join(";")),
    }
}

/// Whether a list can know an address: not one that means another machine in every network.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            // RFC 6598 §7: 100.64.0.0/10 is between a provider and his customers.
            let is_shared = four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64;
            !(four.is_private() || four.is_loopback() || four.is_link_local() || four.is_unspecified() || is_shared)
        }
        IpAddr::V6(six) => {
            !(six.is_loopback() || six.is_unicast_link_local() || six.is_unique_local() || six.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Zone {
        Zone { name: "bl.example".to_owned(), answers: None }
    }

    /// Of 127.0.0.x those in `ranges`.
    fn some(ranges: &[RangeInclusive<u8>]) -> Zone {
        let answers = Answers([vec![127..=127], vec![0..=0], vec![0..=0], ranges.to_vec()]);
        Zone { answers: Some(answers), ..any() }
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, last)
    }

    #[test]
    fn the_question_is_the_address_backwards_before_the_zone() {
        let of = |address: &str| any().question(address.parse().unwrap());
        assert_eq!(of("192.0.2.99"), "99.2.0.192.bl.example");
        assert_eq!(of("::ffff:192.0.2.99"), "99.2.0.192.bl.example");
        let six = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.bl.example";
        assert_eq!(of("4321:0:1:2:3:4:567:89ab"), six);
        let longest = Zone { name: "x".repeat(LONGEST_NAME), answers: None };
        assert_eq!(longest.question("2001:db8::1".parse().unwrap()).len(), 253);
    }

    #[test]
    fn without_a_filter_every_yes_counts_and_nothing_else() {
        for yes in [address(2), address(255), Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 255, 254, 255)] {
            assert_eq!(any().judge(&[yes]), Verdict::Listed, "{yes}");
        }
        for other in [address(0), address(1), Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(128, 0, 0, 2)] {
            assert_eq!(any().judge(&[other]), Verdict::NotListed, "{other}");
        }
        assert_eq!(any().judge(&[]), Verdict::NotListed);
    }

    #[test]
    fn of_several_answers_one_that_counts_is_enough() {
        let zone = some(&[2..=4, 9..=9]);
        for (answers, listed) in [(&[10, 4][..], true), (&[9], true), (&[10], false), (&[5, 8], false), (&[], false)] {
            let answers: Vec<_> = answers.iter().map(|last| address(*last)).collect();
            let expected = if listed { Verdict::Listed } else { Verdict::NotListed };
            assert_eq!(zone.judge(&answers), expected, "{answers:?}");
        }
        assert_eq!(zone.judge(&[Ipv4Addr::new(127, 0, 1, 2)]), Verdict::NotListed);
    }

    #[test]
    fn a_refusal_is_none_of_the_clients_whatever_the_filter_says() {
        let refusal = Ipv4Addr::new(127, 255, 255, 254);
        let everything = Answers([vec![127..=127], vec![0..=255], vec![0..=255], vec![0..=255]]);
        for zone in [any(), Zone { answers: Some(everything), ..any() }] {
            assert_eq!(zone.judge(&[refusal]), Verdict::Refused(refusal));
            assert_eq!(zone.judge(&[address(2), refusal]), Verdict::Refused(refusal));
        }
    }

    #[test]
    fn a_zone_is_written_as_the_configuration_has_it() {
        assert_eq!(any().to_string(), "bl.example");
        assert_eq!(some(&[2..=2]).to_string(), "bl.example=127.0.0.2");
        assert_eq!(some(&[2..=11]).to_string(), "bl.example=127.0.0.[2..11]");
        assert_eq!(some(&[2..=2, 4..=9]).to_string(), "bl.example=127.0.0.[2;4..9]");
    }

    #[test]
    fn addresses_that_every_network_has_are_not_asked_about() {
        let own = ["10.1.2.3", "192.168.1.1", "172.16.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0"];
        for own in own.into_iter().chain(["::1", "::", "fe80::1", "fd00::1", "::ffff:10.1.2.3"]) {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
        for public in ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
