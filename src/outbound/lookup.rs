//! What is asked of DNS for a message, whoever answers: a resolver, or a table of records.
//!
//! Every question follows aliases, but the one for an alias. Names are lower-case text of A-labels without the trailing
//! dot.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::policy::{
    answer::{Answer, LookupError},
    dane::Tlsa,
};

#[cfg(test)]
pub(crate) mod table;

/// An answer, or why there is none.
pub type Found<T> = Result<Answer<T>, LookupError>;

/// An MX record (RFC 5321 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host; empty for the root, which stands for none (RFC 7505).
    pub exchange: String,
}

/// Answers questions.
///
/// # Errors
/// All its methods: why there is no answer. That there is no record is an answer.
pub trait Lookup: Sync {
    /// Whether there is anybody whose word on DNSSEC counts; known once a question was answered. Without, nothing is
    /// secure.
    fn vouches(&self) -> bool;
    /// Where a domain's mail goes.
    fn mx(&self, name: &str) -> impl Future<Output = Found<Mx>> + Send;
    /// A host's addresses of version 4.
    fn v4(&self, name: &str) -> impl Future<Output = Found<Ipv4Addr>> + Send;
    /// A host's addresses of version 6.
    fn v6(&self, name: &str) -> impl Future<Output = Found<Ipv6Addr>> + Send;
    /// Where the alias `name` itself leads. Whether DNSSEC vouches for that one link cannot be told from an answer that
    /// went on into a zone without signatures (RFC 7672 §2.1.3).
    fn alias(&self, name: &str) -> impl Future<Output = Found<String>> + Send;
    /// Which certificates a service has, by the name `_PORT._tcp.HOST`.
    fn tlsa(&self, name: &str) -> impl Future<Output = Found<Tlsa>> + Send;
    /// Texts, each of its strings joined.
    fn txt(&self, name: &str) -> impl Future<Output = Found<Vec<u8>>> + Send;
}
