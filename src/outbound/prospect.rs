//! From a recipient's domain to its hosts, one after the other, each with how mail may go to it.
//!
//! Promises that nothing is looked up of a host before its turn; that everything is looked up that a strategy wants
//! which may still hold, or which may follow on a failure, and nothing that none of them wants; that a strategy which
//! follows on a failure lets go nothing that the domain asks for.

use std::{sync::Arc, time::Duration};

use super::{
    lookup::Lookup,
    policies::{Found, Policies},
    route::{Exchange, Host, HostFault, Route, Targets, Unroutable, Way, by_chance},
};
use crate::policy::{
    dane::{Asked, Dane, NotAsked},
    mta_sts::{Published, Standing, Unasked},
    outcome::{Event, Outcome, Session},
    strategy::{Facts as Message, LastError, Requirement, Strategies, TlsStrategy},
    verdict::{Decision, Facts, Refusal, Verdict, decide},
};

/// Finds out where mail can go.
#[derive(Debug)]
pub struct Scout<'a, L> {
    /// Who is asked.
    pub lookup: &'a L,
    /// Who knows of MTA-STS policies.
    pub policies: &'a Policies,
    /// The operator's strategies.
    pub strategies: &'a Strategies,
    /// Which addresses are right.
    pub targets: Targets<'a>,
}

/// A domain that mail goes to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its hosts.
    pub route: Route,
    /// Its MTA-STS policy.
    pub sts: Found,
}

/// A host of a destination.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// Where it is.
    pub host: Host,
    /// What its TLSA records come to.
    pub dane: Dane,
}

/// How mail may go to a host under a strategy.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The strategy.
    pub strategy: Arc<TlsStrategy>,
    /// The facts.
    pub facts: Facts<'a>,
    /// The verdict.
    pub verdict: Verdict,
}

impl<L: Lookup> Scout<'_, L> {
    /// Finds the hosts of a domain, and its policy. Of `message` everything is known but the host.
    ///
    /// # Errors
    /// Why there are no hosts.
    pub async fn destination(&self, domain: &str, message: &Message<'_>) -> Result<Destination, Unroutable> {
        let route = Route::find(self.lookup, domain, self.targets.ourselves, &mut by_chance).await?;
        let sts = self.policy_of(&route, message).await;
        Ok(Destination { route, sts })
    }

    async fn policy_of(&self, route: &Route, message: &Message<'_>) -> Found {
        let patience = self.wanted(message).filter_map(patience_for_policy).max();
        match (patience, route.way) {
            (None, _) => unasked(Unasked::Disabled),
            (_, Way::Literal) => unasked(Unasked::Literal),
            (Some(patience), _) => self.policies.find(self.lookup, &route.domain, patience).await,
        }
    }

    /// Looks a host up whose turn it is.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn prospect(
        &self,
        destination: &Destination,
        exchange: &Exchange,
        message: &Message<'_>,
    ) -> Result<Prospect, HostFault> {
        let host = Host::find(self.lookup, exchange, &self.targets).await?;
        let message = Message { mx: Some(&exchange.name), ..message.clone() };
        let wants_dane = self.wanted(&message).any(|strategy| strategy.dane != Requirement::Disable);
        let asked = match wants_dane {
            true => host.tlsa(self.lookup, &destination.route, self.targets.port).await,
            false => Asked::Not(NotAsked::Disabled),
        };
        Ok(Prospect { host, dane: Dane::of(asked) })
    }

    /// The strategies that may come to hold for a message, now or after a failure.
    fn wanted(&self, message: &Message<'_>) -> impl Iterator<Item = &TlsStrategy> {
        let later = self.strategies.possible(&after_failure(message));
        self.strategies.possible(message).into_iter().chain(later).map(Arc::as_ref)
    }

    /// How mail may go to a host once again at once, after an attempt that was refused so; `None` where it would go no
    /// other way.
    ///
    /// Whoever makes TLS fail does not get mail on weaker terms than DANE or a policy ask for.
    #[must_use]
    pub fn again<'d>(&self, judged: &Judged<'d>, refusal: &Refusal, message: &Message<'_>) -> Option<Judged<'d>> {
        if refusal.last_error != LastError::Tls {
            return None;
        }
        let strategy = self.strategies.choose(&after_failure(message))?;
        let next = Judged::new(strategy.clone(), judged.facts);
        let differs = next.verdict.decision != judged.verdict.decision;
        (differs && next.may_send() && next.verdict.keeps_demands_of(&judged.verdict)).then_some(next)
    }
}

/// What is known of the message after an attempt whose TLS failed.
fn after_failure<'f>(message: &Message<'f>) -> Message<'f> {
    Message { retry_num: message.retry_num.saturating_add(1), last_error: LastError::Tls, ..message.clone() }
}

fn patience_for_policy(strategy: &TlsStrategy) -> Option<Duration> {
    (strategy.mta_sts != Requirement::Disable).then_some(strategy.mta_sts_timeout)
}

fn unasked(why: Unasked) -> Found {
    Found { record: Published::Nothing, standing: Standing::Unasked(why) }
}

impl Prospect {
    /// How mail may go to this host of `destination` under a strategy.
    #[must_use]
    pub fn judge<'a>(&'a self, destination: &'a Destination, strategy: &Arc<TlsStrategy>) -> Judged<'a> {
        let (next_hop, host) = (destination.route.next_hop(), self.host.name.as_str());
        Judged::new(strategy.clone(), Facts { next_hop, host, dane: &self.dane, sts: &destination.sts.standing })
    }
}

impl<'a> Judged<'a> {
    fn new(strategy: Arc<TlsStrategy>, facts: Facts<'a>) -> Self {
        let verdict = decide(&strategy, &facts);
        Self { strategy, facts, verdict }
    }

    /// Whether the host may be connected to.
    #[must_use]
    pub fn may_send(&self) -> bool {
        matches!(self.verdict.decision, Decision::Send(_))
    }

    /// What an attempt under it means for reports.
    #[must_use]
    pub fn outcome(&self, session: Session, event: Event<'_>) -> Outcome {
        let session = Session { receiving_mx_hostname: Some(self.facts.host.to_owned()), ..session };
        Outcome::new(&self.strategy, &self.facts, &self.verdict, session, event)
    }
}

#[cfg(test)]
mod tests;
