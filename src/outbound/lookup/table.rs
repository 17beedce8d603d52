//! DNS as a table of records, for tests.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

use super::{Found, Lookup, Mx};
use crate::policy::{
    answer::{Answer, Existence, LookupError, Security},
    dane::Tlsa,
};

/// Zones and records, one a line: `NAME TYPE DATA`, with names without trailing dots. A line `NAME insecure` or `NAME
/// bogus` says how it is with a zone and all below it; without, it is secure. With `. unbelieved` nothing is. The data
/// `SERVFAIL` or `TIMEOUT` makes a question fail.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Vec<[String; 3]>,
    asked: Mutex<Vec<String>>,
}

impl Table {
    pub(crate) fn of(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let parts = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            [(); 3].map(|()| parts.next().unwrap_or_default().to_owned())
        };
        Self { lines: lines.map(parts).collect(), asked: Mutex::default() }
    }

    /// Every question so far, as `TYPE NAME`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn data<'a>(&'a self, name: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |line| line[0] == name && line[1] == kind).map(|line| line[2].as_str())
    }

    fn is(&self, state: &str, name: &str) -> bool {
        self.lines.iter().any(|[zone, word, _]| word == state && is_below(name, zone))
    }

    fn find<T>(&self, name: &str, kind: &str, read: impl Fn(&str) -> T) -> Found<T> {
        self.asked.lock().unwrap().push(format!("{kind} {name}"));
        let (mut name, mut aliases, mut security) = (name, Vec::new(), Security::Secure);
        loop {
            if self.is("bogus", name) {
                return Err(LookupError::Bogus { ede: None });
            }
            if self.is("insecure", name) || !self.vouches() {
                security = Security::Insecure;
            }
            let mut records = Vec::new();
            for data in self.data(name, kind) {
                match data {
                    "SERVFAIL" => return Err(LookupError::ServerFailure { ede: None }),
                    "TIMEOUT" => return Err(LookupError::Timeout),
                    data => records.push(read(data)),
                }
            }
            if let (true, Some(target)) = (records.is_empty(), self.data(name, "CNAME").next()) {
                aliases.push(target.to_owned());
                name = target;
                continue;
            }
            let is_there = self.lines.iter().any(|[owner, ..]| is_below(owner, name));
            let existence = match (records.is_empty(), is_there) {
                (false, _) => Existence::Records,
                (true, true) => Existence::NoData,
                (true, false) => Existence::NoName,
            };
            return Ok(Answer { records, existence, security, aliases, ttl: Duration::from_secs(300) });
        }
    }
}

fn is_below(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Lookup for Table {
    fn vouches(&self) -> bool {
        self.lines.iter().all(|[_, word, _]| word != "unbelieved")
    }

    async fn mx(&self, name: &str) -> Found<Mx> {
        self.find(name, "MX", |data| {
            let (preference, exchange) = data.split_once(' ').unwrap();
            Mx { preference: preference.parse().unwrap(), exchange: exchange.trim_end_matches('.').to_owned() }
        })
    }

    async fn v4(&self, name: &str) -> Found<Ipv4Addr> {
        self.find(name, "A", |data| data.parse().unwrap())
    }

    async fn v6(&self, name: &str) -> Found<Ipv6Addr> {
        self.find(name, "AAAA", |data| data.parse().unwrap())
    }

    async fn alias(&self, name: &str) -> Found<String> {
        self.find(name, "CNAME", str::to_owned)
    }

    async fn tlsa(&self, name: &str) -> Found<Tlsa> {
        self.find(name, "TLSA", |data| {
            let bytes: Vec<u8> = data.split(' ').map(|number| number.parse().unwrap()).collect();
            Tlsa { usage: bytes[0], selector: bytes[1], matching: bytes[2], data: bytes[3..].to_vec() }
        })
    }

    async fn txt(&self, name: &str) -> Found<Vec<u8>> {
        self.find(name, "TXT", |data| data.as_bytes().to_vec())
    }
}
