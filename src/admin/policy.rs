//! What there is to say of the MTA-STS policies of recipients' domains.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::policy::mta_sts::Known;

/// What is known of a domain's policy. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// The domain.
    pub domain: String,
    /// The policy that is held, if one is; it may have expired.
    pub held: Option<HeldPolicy>,
    /// The failures since, if there are any.
    pub failed: Option<FailedFetches>,
}

/// A policy that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldPolicy {
    /// `enforce`, `testing` or `none`.
    pub mode: String,
    /// The id that its record had.
    pub id: String,
    /// Which hosts it permits.
    pub mx: Vec<String>,
    /// When it was fetched.
    pub fetched: u64,
    /// When it ceases to apply, unless it is fetched anew.
    pub expires: u64,
    /// When a message last needed it, to a day.
    pub used: u64,
}

/// Fetches that have failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailedFetches {
    /// How many.
    pub times: u32,
    /// When the last of them did.
    pub at: u64,
    /// Why.
    pub last_error: String,
}

/// Puts together what is known of policies, by domain.
#[must_use]
pub fn policies(all: Vec<(String, Known)>) -> Vec<Policy> {
    let mut all: Vec<_> = all.into_iter().map(|(domain, known)| policy(domain, known)).collect();
    all.sort_by(|one, other| one.domain.cmp(&other.domain));
    all
}

fn policy(domain: String, known: Known) -> Policy {
    let held = known.held.map(|held| HeldPolicy {
        expires: seconds(held.expires()),
        fetched: seconds(held.fetched),
        used: seconds(held.used),
        mode: held.policy.mode.to_string(),
        mx: held.policy.mx,
        id: held.id,
    });
    let failed = known.failed.map(|failed| FailedFetches {
        times: failed.times,
        at: seconds(failed.at),
        last_error: failed.why,
    });
    Policy { domain, held, failed }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
