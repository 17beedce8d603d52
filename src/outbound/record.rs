//! The lines in the log on mail hosts: one for each attempt, one for each host that was passed by, and one for each message.

use std::{net::IpAddr, time::Instant};

use super::{
    attempt::{Attempt, Opened, Unopened},
    ending::Ending,
    lane::Lane,
    prospect::Judged,
};
use crate::{
    policy::{
        outcome::{Event, Session},
        strategy::LastError,
        verdict::Refusal,
    },
    proto::smtp::Answer,
    telemetry::{Shown, Told},
};

/// That of an attempt. `session` is the number of the sender's.
pub(super) fn attempted(session: u64, attempt: &Attempt<'_>, opened: &Result<Opened, Unopened>) {
    let Attempt { judged, at, own, began, seen, .. } = attempt;
    let (outcome, reason) = match opened {
        Ok(opened) => (opened.assurance.to_string(), String::new()),
        Err(Unopened { refusal, .. }) => (format!("failed-{}", refusal.last_error.name()), refusal.to_string()),
    };
    tracing::info!(
        session,
        domain = judged.facts.next_hop.name,
        mx = judged.facts.host,
        ip = %at.ip(),
        from = %own,
        strategy = %judged.strategy.id,
        verdict = %judged.verdict.decision,
        tls = %Shown(&seen.negotiated),
        outcome,
        policies = Told(&seen.outcome.as_ref().map(ToString::to_string).unwrap_or_default()).to_string(),
        ms = milliseconds_since(*began),
        reason = Told(&reason).to_string(),
        "attempt"
    );
}

/// That of a host, or an address of it, that was not talked to.
pub(super) fn passed_by(session: u64, domain: &str, mx: &str, ip: Option<IpAddr>, why: &Answer, error: LastError) {
    tracing::info!(
        session,
        domain,
        mx = %Shown(mx),
        ip = %ip.map(|ip| ip.to_string()).unwrap_or_default(),
        outcome = format!("failed-{}", error.name()),
        reason = Told(&why.to_string()).to_string(),
        "attempt"
    );
}

/// That of a host that the verdict keeps mail from.
pub(super) fn kept_from(session: u64, judged: &Judged<'_>, ip: Option<IpAddr>, refusal: &Refusal) {
    let known = Session { receiving_ip: ip, ..Session::default() };
    tracing::info!(
        session,
        domain = judged.facts.next_hop.name,
        mx = judged.facts.host,
        ip = %ip.map(|ip| ip.to_string()).unwrap_or_default(),
        strategy = %judged.strategy.id,
        verdict = %judged.verdict.decision,
        outcome = format!("failed-{}", refusal.last_error.name()),
        policies = Told(&judged.outcome(known, Event::Refused).to_string()).to_string(),
        reason = Told(&refusal.to_string()).to_string(),
        "attempt"
    );
}

/// That of a message of so many octets for a server, which had this outcome, and ended so.
pub(super) fn carried(session: u64, lane: &Lane, octets: u64, began: Instant, outcome: &'static str, ending: &Ending) {
    tracing::info!(
        session,
        domain = %lane.domain,
        mx = %lane.reached.mx,
        ip = %lane.reached.at.ip(),
        recipients = lane.accepted(),
        bytes = octets,
        ms = milliseconds_since(began),
        outcome,
        reason = Told(&ending.answer.to_string()).to_string(),
        "message"
    );
}

fn milliseconds_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
