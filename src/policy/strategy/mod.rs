//! TLS strategies: what is asked of the way to a remote, and which of them holds for a message.
//!
//! A [`TlsStrategy`] is one table `[queue.tls.<id>]`; [`Strategies`] is `queue.strategy.tls`, the list that chooses one by
//! the [`Facts`] of a message: `{ if = CONDITION, then = "'ID'" }` in order, the first that is true counts, `{ else = "'ID'" }`
//! at the end. A [`Condition`] is read once, at load, with all that can be wrong in it found then: what is evaluated later
//! has no error and no type but the right one. [`unreachable()`] tells of the rules that can never count.

use std::{sync::Arc, time::Duration};

mod compare;
mod condition;
mod facts;
mod fault;
mod parse;
mod reach;
mod token;

pub use condition::Condition;
pub use facts::{Facts, LastError, Source};
pub use fault::{Fault, Right};
pub use parse::{LONGEST_EXPRESSION, Names, condition, id};
pub use reach::{Because, Unreachable, unreachable};

/// What a strategy asks of one mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// It is used where the remote has it.
    #[default]
    Optional,
    /// Nothing is sent without it.
    Require,
    /// It is not even looked for.
    Disable,
}

impl Requirement {
    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Require => "require",
            Self::Disable => "disable",
        }
    }
}

/// `[queue.tls.<id>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsStrategy {
    /// The table's name.
    pub id: String,
    /// `dane`.
    pub dane: Requirement,
    /// `mta-sts`.
    pub mta_sts: Requirement,
    /// `starttls`.
    pub starttls: Requirement,
    /// `allow-invalid-certs`: where neither DANE nor MTA-STS asks for one, the remote's certificate may be any. That the
    /// remote has its key is looked at all the same.
    pub allow_invalid_certs: bool,
    /// `timeout.tls`: STARTTLS and the handshake; never above [`LONGEST_TLS`].
    pub tls_timeout: Duration,
    /// `timeout.mta-sts`: the fetch of a policy; never above [`LONGEST_MTA_STS`].
    pub mta_sts_timeout: Duration,
}

/// The default of `timeout.tls`, and the most that it can be: a sender waits five minutes for the answer to RCPT (RFC 5321
/// §4.5.3.2.3), in which the remote has to be found, connected to and asked too.
pub const LONGEST_TLS: Duration = Duration::from_secs(30);

/// The default of `timeout.mta-sts`, and the most that it can be, for the same reason.
pub const LONGEST_MTA_STS: Duration = Duration::from_secs(20);

impl TlsStrategy {
    /// The strategy of this name as it is where nothing is said of it.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            dane: Requirement::Optional,
            mta_sts: Requirement::Optional,
            starttls: Requirement::Optional,
            allow_invalid_certs: id == INVALID_TLS,
            tls_timeout: LONGEST_TLS,
            mta_sts_timeout: LONGEST_MTA_STS,
        }
    }

    /// Whether nothing is ever sent in clear: one of the three is required.
    #[must_use]
    pub fn requires_tls(&self) -> bool {
        [self.dane, self.mta_sts, self.starttls].contains(&Requirement::Require)
    }
}

/// The strategy that is there without a table, and holds where no rule says otherwise.
pub const DEFAULT: &str = "default";

/// The strategy that is there without a table, and takes any certificate.
pub const INVALID_TLS: &str = "invalid-tls";

/// The condition of the one rule there is where the file has no `queue.strategy.tls`: it gives [`INVALID_TLS`], else
/// [`DEFAULT`].
pub const BUILT_IN: &str = "retry_num > 0 && last_error == 'tls'";

/// One `{ if, then }`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `if`.
    pub condition: Condition,
    /// `then`.
    pub strategy: Arc<TlsStrategy>,
}

/// `queue.strategy.tls`.
#[derive(Clone, Debug)]
pub struct Strategies {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// `else`.
    pub otherwise: Arc<TlsStrategy>,
}

impl Strategies {
    /// The strategy for a message; `None` where it depends on what is not known yet.
    #[must_use]
    pub fn choose(&self, facts: &Facts<'_>) -> Option<&Arc<TlsStrategy>> {
        match self.possible(facts)[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The strategies that it may come to once all is known, each once: what any of them needs has to be looked up, and what
    /// none of them uses must not be. It is exactly one where all is known.
    #[must_use]
    pub fn possible(&self, facts: &Facts<'_>) -> Vec<&Arc<TlsStrategy>> {
        let mut possible: Vec<&Arc<TlsStrategy>> = Vec::new();
        let mut note = |strategy| {
            if !possible.contains(&strategy) {
                possible.push(strategy);
            }
        };
        for rule in &self.rules {
            match rule.condition.holds(facts) {
                Some(false) => {}
                None => note(&rule.strategy),
                Some(true) => {
                    note(&rule.strategy);
                    return possible;
                }
            }
        }
        note(&self.otherwise);
        possible
    }
}

#[cfg(test)]
mod tests;
