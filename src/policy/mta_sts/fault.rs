//! Why a domain's policy could not be got (RFC 8461 §3.3).

use std::time::Duration;

use super::policy::Invalid;
use crate::policy::{answer::LookupError, certificate::Untrusted};

/// Why a policy could not be got, from the record to the last line of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The record could not be looked up.
    #[error("the record _mta-sts could not be looked up: {0}")]
    Record(LookupError),
    /// There is no connection to the policy's host.
    #[error("the policy's host cannot be reached: {0}")]
    Unreachable(String),
    /// The policy's host shows a certificate that does not hold.
    #[error("the policy's host: {0}")]
    Certificate(Untrusted),
    /// It took too long.
    #[error("the policy's host did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// An answer other than 200; a redirection is one of them.
    #[error("the policy's host answered {0}, and nothing but 200 counts")]
    Status(u16),
    /// Something that is no text.
    #[error("the policy is served as {0}, and not as text/plain")]
    MediaType(String),
    /// More than a policy can have.
    #[error("the policy has more than {0} octets")]
    TooLarge(usize),
    /// Nobody has asked again, since it failed a short while ago, for this reason.
    #[error("it could not be got a short while ago: {0}")]
    Recently(String),
    /// What is served is no policy.
    #[error("the policy cannot be read: {0}")]
    Invalid(Invalid),
}
