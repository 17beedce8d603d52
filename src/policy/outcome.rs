//! What an attempt means for the TLS report of the recipient's domain, in the fields of RFC 8460 §4.
//!
//! Promises that this is the one place where an event gets its `result-type` (§4.3). There is an outcome for each policy that
//! applied, or one for there being none; of an attempt that never came as far as STARTTLS there is nothing (§4.3.4).

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::policy::{
    certificate::Untrusted,
    dane::{Dane, Records},
    evidence::{Mismatch, Shown},
    mta_sts::{Fault, Mode, Policy, Standing},
    strategy::{LastError, Requirement, TlsStrategy},
    verdict::{Decision, Facts, Terms, Verdict},
};

/// What one attempt means for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Between whom it was.
    #[serde(flatten)]
    pub session: Session,
    /// What it means for each policy.
    pub policies: Vec<Judged>,
}

/// Between whom an attempt was; what is not known is left out (RFC 8460 §4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// The address that mailward connected from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<IpAddr>,
    /// The host, by the name in the MX record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// What it called itself in its greeting or its answer to EHLO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_mx_helo: Option<String>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
}

/// What an attempt means for one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Judged {
    /// Which policy.
    pub policy: Applied,
    /// What went wrong; nothing, if the session was what the policy wants.
    pub failures: Vec<Failure>,
}

/// A policy that applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Applied {
    /// Of which kind it is.
    pub policy_type: PolicyType,
    /// The policy's lines, or the TLSA records.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub policy_string: Vec<String>,
    /// Whose it is: the recipient's domain, or the TLSA base domain.
    pub policy_domain: String,
    /// The patterns of an MTA-STS policy.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub mx_host: Vec<String>,
}

/// `policy-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// Neither.
    NoPolicyFound,
}

/// One of `failure-details`, without what the session says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// What kind of failure.
    pub result_type: ResultType,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

/// `result-type` (RFC 8460 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// The host offers no STARTTLS, or refuses it.
    #[serde(rename = "starttls-not-supported")]
    StartTlsNotSupported,
    /// A certificate for other names.
    CertificateHostMismatch,
    /// A certificate outside its dates.
    CertificateExpired,
    /// A certificate that is not trusted for another reason.
    CertificateNotTrusted,
    /// Anything else that kept TLS or a policy from being fulfilled.
    ValidationFailure,
    /// TLSA records that cannot be used.
    TlsaInvalid,
    /// TLSA records that could not be looked up.
    DnssecInvalid,
    /// No TLSA records where they are required.
    DaneRequired,
    /// A policy that could not be fetched.
    StsPolicyFetchError,
    /// A policy that could not be read.
    StsPolicyInvalid,
    /// A policy whose host shows a certificate that does not hold.
    StsWebpkiInvalid,
}

/// How far an attempt came.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The verdict kept it from being made.
    Refused,
    /// No STARTTLS, or a refusal; what the host said to it.
    NotOffered(Option<&'a str>),
    /// The handshake came to nothing; the alert, or what else happened.
    Broken(&'a str),
    /// The handshake came to its end.
    Done(&'a Shown),
}

impl Outcome {
    /// What an attempt that came this far means.
    #[must_use]
    pub fn new(
        strategy: &TlsStrategy,
        facts: &Facts<'_>,
        verdict: &Verdict,
        session: Session,
        event: Event<'_>,
    ) -> Self {
        if verdict.decision == Decision::Send(Terms::Plaintext) {
            // Nobody asked for TLS.
            return Self { session, policies: Vec::new() };
        }
        let attempt = Attempt { strategy, facts, verdict, event };
        let mut policies: Vec<_> = [attempt.tlsa(), attempt.sts()].into_iter().flatten().collect();
        if policies.is_empty() {
            policies.extend(attempt.no_policy());
        }
        Self { session, policies }
    }

    /// The connection ended with the first read after the handshake: in TLS 1.3 this is where a server tells that it does not
    /// like what it was shown, so the handshake was no success after all.
    pub fn broke_after_the_handshake(&mut self, why: &str) {
        for policy in self.policies.iter_mut().filter(|policy| policy.failures.is_empty()) {
            policy.failures.push(failure(ResultType::ValidationFailure, Some(why)));
        }
    }
}

/// One line for the log: `sts example.org ok, tlsa mx.example.net validation-failure (dane-no-match)`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Judged { policy, failures }) in self.policies.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            f.write_str(comma)?;
            policy.policy_type.serialize(&mut *f)?;
            write!(f, " {}", policy.policy_domain)?;
            if failures.is_empty() {
                f.write_str(" ok")?;
            }
            for Failure { result_type, failure_reason_code } in failures {
                f.write_str(" ")?;
                result_type.serialize(&mut *f)?;
                if let Some(code) = failure_reason_code {
                    write!(f, " ({code})")?;
                }
            }
        }
        Ok(())
    }
}

struct Attempt<'a> {
    strategy: &'a TlsStrategy,
    facts: &'a Facts<'a>,
    verdict: &'a Verdict,
    event: Event<'a>,
}

impl Attempt<'_> {
    fn tlsa(&self) -> Option<Judged> {
        if self.strategy.dane == Requirement::Disable {
            return None;
        }
        match self.facts.dane {
            Dane::Usable(records) => {
                let failure = match self.event {
                    Event::Refused => Some(self.refused_for_dane()?),
                    Event::Done(shown) => match &shown.dane {
                        Some(Err(mismatch)) => Some(of_mismatch(mismatch)),
                        _ => None,
                    },
                    _ => self.without_session(),
                };
                Some(judged(tlsa_policy(records), failure))
            }
            Dane::Unusable { base, found } => {
                let lines = found.iter().map(|(record, _)| record.to_string()).collect();
                let failures = [Some(failure(ResultType::TlsaInvalid, Some("all-unusable"))), self.without_session()];
                Some(judged(policy(PolicyType::Tlsa, base, lines), failures.into_iter().flatten()))
            }
            Dane::Failed { base, error } => {
                let failure = failure(ResultType::DnssecInvalid, Some(&error.to_string()));
                Some(judged(policy(PolicyType::Tlsa, base, Vec::new()), Some(failure)))
            }
            Dane::Absent(_) => {
                Some(judged(policy(PolicyType::Tlsa, self.facts.host, Vec::new()), Some(self.refused_for_dane()?)))
            }
        }
    }

    /// What is wrong where the verdict says that DANE is required and not there.
    fn refused_for_dane(&self) -> Option<Failure> {
        match &self.verdict.decision {
            Decision::Skip(refusal) | Decision::Delay(refusal) if refusal.last_error == LastError::Dane => {
                Some(failure(ResultType::DaneRequired, None))
            }
            _ => None,
        }
    }

    fn sts(&self) -> Option<Judged> {
        if self.strategy.mta_sts == Requirement::Disable {
            return None;
        }
        let domain = self.facts.next_hop.name;
        match self.facts.sts {
            Standing::Unasked(_) | Standing::Absent => None,
            // Nobody knows whether there is a policy.
            Standing::Unavailable(Fault::Record(_)) => None,
            Standing::Unavailable(fault) => {
                Some(judged(policy(PolicyType::Sts, domain, Vec::new()), Some(of_fault(fault))))
            }
            Standing::Policy { policy: Policy { mode: Mode::None, .. }, .. } => None,
            Standing::Policy { policy: found, fault } => {
                let lists = found.lists(self.facts.host);
                if matches!(self.event, Event::Refused) && lists {
                    // It was for another reason that nobody tried.
                    return None;
                }
                let mismatch = (!lists).then(|| failure(ResultType::ValidationFailure, Some("mx-mismatch")));
                let session = match self.event {
                    Event::Done(shown) => shown.pkix.as_ref().err().map(of_certificate),
                    _ => self.without_session(),
                };
                let applied =
                    Applied { mx_host: found.mx.clone(), ..policy(PolicyType::Sts, domain, found.lines.clone()) };
                let failures = [fault.as_ref().map(of_fault), mismatch, session];
                Some(judged(applied, failures.into_iter().flatten()))
            }
        }
    }

    fn no_policy(&self) -> Option<Judged> {
        let failure = match (&self.verdict.decision, self.event) {
            (Decision::Skip(_) | Decision::Delay(_), _) | (_, Event::Refused) => return None,
            // Of a certificate that nobody asked for nothing is said.
            (Decision::Send(Terms::IfOffered(check) | Terms::Always(check)), Event::Done(shown)) => {
                shown.pkix.as_ref().err().filter(|_| check.pkix).map(of_certificate)
            }
            _ => self.without_session(),
        };
        Some(judged(policy(PolicyType::NoPolicyFound, self.facts.next_hop.name, Vec::new()), failure))
    }

    /// What is wrong where there was no session in TLS.
    fn without_session(&self) -> Option<Failure> {
        match self.event {
            Event::NotOffered(said) => Some(failure(ResultType::StartTlsNotSupported, said)),
            Event::Broken(why) => Some(failure(ResultType::ValidationFailure, Some(why))),
            Event::Refused | Event::Done(_) => None,
        }
    }
}

fn judged(policy: Applied, failures: impl IntoIterator<Item = Failure>) -> Judged {
    Judged { policy, failures: failures.into_iter().collect() }
}

fn tlsa_policy(records: &Records) -> Applied {
    policy(PolicyType::Tlsa, &records.base, records.published.iter().map(ToString::to_string).collect())
}

fn policy(policy_type: PolicyType, domain: &str, policy_string: Vec<String>) -> Applied {
    Applied { policy_type, policy_string, policy_domain: domain.to_owned(), mx_host: Vec::new() }
}

fn failure(result_type: ResultType, reason: Option<&str>) -> Failure {
    Failure { result_type, failure_reason_code: reason.map(str::to_owned) }
}

fn of_certificate(untrusted: &Untrusted) -> Failure {
    match untrusted {
        Untrusted::Expired => failure(ResultType::CertificateExpired, None),
        Untrusted::NotYetValid => failure(ResultType::CertificateExpired, Some("not-yet-valid")),
        Untrusted::WrongName { .. } => failure(ResultType::CertificateHostMismatch, Some(&untrusted.to_string())),
        Untrusted::NotTrusted(why) => failure(ResultType::CertificateNotTrusted, Some(why)),
    }
}

fn of_mismatch(mismatch: &Mismatch) -> Failure {
    match mismatch {
        Mismatch::NoMatch => failure(ResultType::ValidationFailure, Some("dane-no-match")),
        Mismatch::Untrusted(untrusted) => of_certificate(untrusted),
    }
}

fn of_fault(fault: &Fault) -> Failure {
    let kind = match fault {
        Fault::Certificate(_) => ResultType::StsWebpkiInvalid,
        Fault::Invalid(_) => ResultType::StsPolicyInvalid,
        Fault::Record(_)
        | Fault::Unreachable(_)
        | Fault::Late(_)
        | Fault::Status(_)
        | Fault::MediaType(_)
        | Fault::TooLarge(_)
        | Fault::Recently(_) => ResultType::StsPolicyFetchError,
    };
    failure(kind, Some(&fault.to_string()))
}

#[cfg(test)]
mod tests;
