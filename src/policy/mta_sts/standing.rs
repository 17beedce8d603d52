//! What is known of a domain's policy when a verdict is due.

use std::fmt;

use super::{
    cache::{Known, Plan},
    fault::Fault,
    policy::Policy,
    record::Published,
};

/// What is known of a domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody asked.
    Unasked(Unasked),
    /// The domain says of none.
    Absent,
    /// The domain may have one, and it could not be got: mail goes as if there were none (RFC 8461 §3.3).
    Unavailable(Fault),
    /// There is one.
    Policy {
        /// It, fetched or held.
        policy: Policy,
        /// What went wrong when it was looked for anew.
        fault: Option<Fault>,
    },
}

/// Why nobody asked for a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// The strategy says so.
    Disabled,
    /// An address in brackets is no domain.
    Literal,
}

impl Standing {
    /// What stands for a message, once what was planned is done. `fetched` is what a fetch came to that the message waited for.
    #[must_use]
    pub fn after(known: &Known, plan: Plan<'_>, published: &Published, fetched: Option<Result<Policy, Fault>>) -> Self {
        let held = plan.held().map(|held| held.policy.clone());
        match (fetched, published, plan) {
            (Some(Ok(policy)), ..) => Self::new(Some(policy), None),
            (Some(Err(fault)), ..) => Self::new(held, Some(fault)),
            (None, Published::Unknown(error), _) => Self::new(held, Some(Fault::Record(error.clone()))),
            (None, _, Plan::BackOff { .. }) => {
                Self::new(held, known.failed.as_ref().map(|failed| Fault::Recently(failed.why.clone())))
            }
            (None, ..) => Self::new(held, None),
        }
    }

    fn new(policy: Option<Policy>, fault: Option<Fault>) -> Self {
        match (policy, fault) {
            (Some(policy), fault) => Self::Policy { policy, fault },
            (None, Some(fault)) => Self::Unavailable(fault),
            (None, None) => Self::Absent,
        }
    }
}

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "the strategy leaves MTA-STS out",
            Self::Literal => "an address has no MTA-STS policy",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::policy::{answer::LookupError, mta_sts::Mode};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn policy(host: &str) -> Policy {
        Policy { mode: Mode::Enforce, mx: vec![host.into()], max_age: Duration::from_secs(86_400), lines: Vec::new() }
    }

    fn id(id: &str) -> Published {
        Published::Id(id.into())
    }

    fn unknown() -> Published {
        Published::Unknown(LookupError::Timeout)
    }

    /// What stands at the start, with what is known and published, after this fetch.
    fn standing(known: &Known, published: &Published, fetched: Option<Result<Policy, Fault>>) -> Standing {
        Standing::after(known, known.plan(published, NOW, 0), published, fetched)
    }

    fn stands(host: &str, fault: Option<Fault>) -> Standing {
        Standing::Policy { policy: policy(host), fault }
    }

    #[test]
    fn m6_without_anything_held_a_failed_fetch_is_as_no_policy_and_known_to_have_failed() {
        let nothing = Known::default();
        assert_eq!(standing(&nothing, &Published::Nothing, None), Standing::Absent);
        assert_eq!(standing(&nothing, &unknown(), None), Standing::Unavailable(Fault::Record(LookupError::Timeout)));
        let fetched = Some(Err(Fault::Status(404)));
        assert_eq!(standing(&nothing, &id("1"), fetched), Standing::Unavailable(Fault::Status(404)));
        assert_eq!(standing(&nothing, &id("1"), Some(Ok(policy("new.example")))), stands("new.example", None));
        let failed = nothing.failed("404".into(), &id("1"), NOW);
        assert_eq!(standing(&failed, &id("1"), None), Standing::Unavailable(Fault::Recently("404".into())));
    }

    #[test]
    fn m7_what_is_held_stands_in_whatever_fails() {
        let known = Known::default().fetched(policy("old.example"), &id("1"), NOW);
        assert_eq!(standing(&known, &id("1"), None), stands("old.example", None));
        assert_eq!(standing(&known, &Published::Nothing, None), stands("old.example", None));
        let record = Some(Fault::Record(LookupError::Timeout));
        assert_eq!(standing(&known, &unknown(), None), stands("old.example", record));
        let fetched = Some(Err(Fault::Status(404)));
        assert_eq!(standing(&known, &id("2"), fetched), stands("old.example", Some(Fault::Status(404))));
        assert_eq!(standing(&known, &id("2"), Some(Ok(policy("new.example")))), stands("new.example", None));
        let failed = known.failed("404".into(), &id("2"), NOW);
        assert_eq!(standing(&failed, &id("2"), None), stands("old.example", Some(Fault::Recently("404".into()))));
    }
}
