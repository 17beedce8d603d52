//! `dnsbl.*` of a listener: the block lists that clients are looked up in, in the notation of Postfix's
//! `postscreen_dnsbl_sites`, but without weights.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::{
    file::List,
    findings::Key,
    host::{is_host_name, parse_name_server},
    section::Section,
    setting::Setting,
    word::Refusal,
};
use crate::policy::dnsbl::{Answers, LONGEST_NAME, Zone};

/// The block lists of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dnsbl {
    /// `dnsbl.zones`, in the order of the file. Never empty.
    pub zones: Vec<Zone>,
    /// `dnsbl.server`: the resolver that is asked.
    pub server: SocketAddr,
    /// `dnsbl.timeout`: how long an answer is waited for.
    pub timeout: Duration,
    /// `dnsbl.reject`: whether a client that is listed is refused; else it is only logged.
    pub reject: bool,
}

/// `dnsbl.*`.
pub(super) struct DnsblKeys {
    /// The table, for what is missing in it.
    pub(super) key: Key,
    pub(super) zones: List<Zone>,
    pub(super) server: Setting<SocketAddr>,
    pub(super) timeout: Setting<Duration>,
    pub(super) reject: Setting<bool>,
}

impl DnsblKeys {
    /// Reads the table.
    pub(super) fn read(table: &mut Section<'_, '_>) -> Self {
        Self {
            key: table.key.clone(),
            zones: table.list("zones", parse_zone),
            server: table.word("server", parse_name_server),
            timeout: table.duration("timeout"),
            reject: table.switch("reject"),
        }
    }

    /// The keys that say how lists are asked, those that are there.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Key> {
        [self.server.key(), self.timeout.key(), self.reject.key()].into_iter().flatten()
    }

    /// What holds; `None` where no list is to be asked, or where something is wrong, which has been reported.
    pub(super) fn resolve(&self) -> Option<Dnsbl> {
        Some(Dnsbl {
            zones: self.zones.given().map(|_| self.zones.values())?,
            server: self.server.given()?.value,
            timeout: self.timeout.value_or(Duration::from_secs(2)),
            reject: self.reject.value_or(true),
        })
    }
}

/// Reads a list: `zen.example.org`, or with the answers that count, `zen.example.org=127.0.0.[2..11]`.
fn parse_zone(text: &str) -> Result<Zone, Refusal> {
    if text.rsplit_once('*').is_some_and(|(_, weight)| weight.parse::<i32>().is_ok()) {
        let right = "a client on any of the lists is refused: leave out the weight, and lists of who is welcome";
        return Err(Refusal::new("has a weight", right));
    }
    let (name, filter) = text.split_once('=').map_or((text, None), |(name, filter)| (name, Some(filter)));
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_host_name(name) || name.len() > LONGEST_NAME {
        let right = "write the domain of the list, such as \"zen.example.org\" or \"zen.example.org=127.0.0.[2..11]\"";
        return Err(Refusal::new("does not begin with the domain of a list", right));
    }
    let answers = filter.map(parse_answers).transpose()?;
    Ok(Zone { name: name.to_ascii_lowercase(), answers })
}

fn parse_answers(text: &str) -> Result<Answers, Refusal> {
    let right = "write the answers that count behind the '=', such as \"127.0.0.2\" or \"127.0.0.[2..4;10;11]\"";
    let answers = addresses(text).ok_or_else(|| Refusal::new("does not say which answers count", right))?;
    // RFC 5782 §2.1
    if answers.0[0] != [127..=127] {
        return Err(Refusal::new("counts answers that no list gives, which are all of 127.0.0.0/8", right));
    }
    Ok(answers)
}

/// Four bytes with dots between them, each a number or a list in brackets.
fn addresses(text: &str) -> Option<Answers> {
    let mut bytes = [const { Vec::new() }; 4];
    let mut rest = text;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let (own, behind) = match rest.strip_prefix('[') {
            Some(list) => list.split_once(']')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        *byte = if rest.starts_with('[') { own.split(';').map(range).collect() } else { number(own).map(only) }?;
        rest = behind;
    }
    rest.is_empty().then_some(Answers(bytes))
}

fn range(text: &str) -> Option<RangeInclusive<u8>> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn only(number: u8) -> Vec<RangeInclusive<u8>> {
    vec![number..=number]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_domain_and_the_answers_that_count() {
        let of = |text: &str| parse_zone(text).map(|zone| zone.to_string());
        assert_eq!(of("ZEN.example.org.").as_deref(), Ok("zen.example.org"));
        for right in ["127.0.0.2", "127.0.0.[2..11]", "127.0.[0;1].[2..4;9]", "127.[0..255].[0..255].10"] {
            assert_eq!(of(&format!("bl.example={right}")), Ok(format!("bl.example={right}")));
        }
        let wrong = ["", "127", "127.0.0", "127.0.0.", "127.0.0.256", "127.0.0.+2", "127.0.0.2.", "127.0.0.2-11"];
        let lists = ["127.0.0.[]", "127.0.0.[2..]", "127.0.0.[4..2]", "127.0.0.[2", "127.0.0.2]", "127.0.0.[2;]"];
        for wrong in wrong.into_iter().chain(lists).chain(["10.0.0.1", "[126..127].0.0.2"]) {
            assert!(of(&format!("bl.example={wrong}")).is_err(), "{wrong}");
        }
        for wrong in ["", "=127.0.0.2", "b l.example", "-.example", "bl.example*2", "bl.example=127.0.0.2*-1"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let longest = [["x"; 63].concat(), ["x"; 63].concat(), ["x"; 61].concat()].join(".");
        assert_eq!(of(&longest).as_deref(), Ok(longest.as_str()));
        assert!(of(&format!("{longest}x")).is_err());
    }
}
