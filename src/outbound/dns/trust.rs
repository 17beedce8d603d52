//! Whether a resolver's word on DNSSEC counts (RFC 7672 §2.1.1: a validating resolver, over a channel that nobody is
//! in).

use std::fmt;

use domain::base::{Rtype, iana::Rcode};

use super::question::Question;
use crate::{net::exchange::Whole, policy::answer::LookupError};

/// What is asked to find out whether a resolver validates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// A name in a zone that is signed.
    pub signed: String,
    /// A name in a zone that is signed wrongly on purpose; without one, that it says no to such is not tested.
    pub bogus: Option<String>,
}

/// The root zone, and a domain that is kept broken for everybody's tests.
impl Default for Probe {
    fn default() -> Self {
        Self { signed: ".".into(), bogus: Some("dnssec-failed.org".into()) }
    }
}

/// What there is to say of a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not answered the probe yet. Nothing is asked of it before it has.
    Untested,
    /// It validates, and what it says comes to us as it said it.
    Vouches,
    /// What it says is validated here, and comes with all that this takes.
    Validated,
    /// Its word does not count: there is no DANE with it.
    DoesNot(Doubt),
}

/// Why a resolver's word does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// `dnssec = "off"`.
    Off,
    /// It is neither on loopback nor trusted by the operator.
    Remote,
    /// It does not say that an answer is authentic where it is: this is the name.
    DoesNotSay(String),
    /// It gives answers that it should find bogus: this is the name.
    DoesNotValidate(String),
}

impl Standing {
    /// Whether what is said to be secure is.
    #[must_use]
    pub const fn counts(&self) -> bool {
        matches!(self, Self::Vouches | Self::Validated)
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("DNSSEC is switched off"),
            Self::Remote => {
                f.write_str("the resolver is not on this machine, and nobody has said that the way to it is safe")
            }
            Self::DoesNotSay(name) => write!(f, "the resolver does not vouch for {name}, which is signed"),
            Self::DoesNotValidate(name) => {
                write!(f, "the resolver gives an answer for {name}, whose signatures are wrong")
            }
        }
    }
}

impl Probe {
    /// Where there is something at every zone's top.
    pub(super) fn question(name: &str) -> Result<Question, LookupError> {
        Question::new(name, Rtype::SOA)
    }

    /// What the answer for the signed name says. A refusal in it may be anybody's who wants us to go without DANE: where it was
    /// validated here, or by a resolver that has vouched before, which is `believed`, it stays an error, and nothing changes.
    ///
    /// # Errors
    /// That it says nothing.
    pub(super) fn judge_signed(
        &self,
        said: Result<Whole, LookupError>,
        believed: bool,
    ) -> Result<Option<Doubt>, LookupError> {
        let vouches = match said {
            Ok(reply) => reply.header().ad(),
            // It will not say, however often it is asked; a failure may be another's.
            Err(LookupError::Refused | LookupError::Code { .. }) if !believed => false,
            Err(error) => return Err(error),
        };
        Ok((!vouches).then(|| Doubt::DoesNotSay(self.signed.clone())))
    }

    /// What the answer for the bogus name says.
    ///
    /// # Errors
    /// That it says nothing.
    pub(super) fn judge_bogus(said: Result<Whole, LookupError>, name: &str) -> Result<Option<Doubt>, LookupError> {
        match said {
            Err(LookupError::Bogus { .. } | LookupError::ServerFailure { .. }) => Ok(None),
            // If the name is given up one day, that is nothing against the resolver.
            Ok(reply) if reply.header().rcode() == Rcode::NXDOMAIN => Ok(None),
            Ok(_) => Ok(Some(Doubt::DoesNotValidate(name.to_owned()))),
            Err(error) => Err(error),
        }
    }
}
