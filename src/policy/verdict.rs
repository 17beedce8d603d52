//! The verdict: how mail may go to a host, from what the operator asks and what the recipient's domain publishes.
//!
//! Promises, in this order: usable TLSA records decide (RFC 7672 §2.2); where the way to the host is not vouched for, or where
//! there are none, an MTA-STS policy in force decides (RFC 8461 §5); the strategy decides the rest, and makes neither of them
//! weaker. What cannot be found out is never taken for absent. Refusals are temporary, all of them (RFC 7672 §2.2, RFC 8461 §5).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::{
    dane::{Absence, Dane, MxOf, NextHop, NotAsked},
    evidence::Shown,
    mta_sts::{Mode, Policy, Standing, Unasked},
    strategy::{LastError, Requirement, TlsStrategy},
};

/// What is known before a host is connected to.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose policies count, and what led from there to the host.
    pub next_hop: NextHop<'a>,
    /// The host, by the name in the MX record.
    pub host: &'a str,
    /// What its TLSA records come to.
    pub dane: &'a Dane,
    /// What is known of the domain's MTA-STS policy.
    pub sts: &'a Standing,
}

/// How mail may go to a host, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How.
    pub decision: Decision,
    /// Why, a sentence for each step.
    pub reasons: Vec<String>,
    host: String,
    demanded_by: &'static str,
    is_vouched: bool,
}

/// How mail may go to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// On these terms.
    Send(Terms),
    /// Not to this one; another may do.
    Skip(Refusal),
    /// To no host of the domain.
    Delay(Refusal),
}

/// On what terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// In clear, even where TLS is offered.
    Plaintext,
    /// With TLS where it is offered, and then with this certificate; otherwise in clear.
    IfOffered(Check),
    /// With TLS and this certificate.
    Always(Check),
}

/// What a certificate must be. In any case the server must prove that it has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// One that a usable TLSA record matches.
    pub dane: bool,
    /// One that comes from a known root and is for the host.
    pub pkix: bool,
}

/// How much is known of the server that mail goes to, from nothing to all that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// Nothing, and everybody on the way can read along.
    Clear,
    /// Nothing, but only it can read along.
    Encrypted,
    /// It is the host; whether that is a host of the domain's, nobody vouches for.
    Trusted,
    /// It is the host, and DNSSEC or the domain's policy vouches that it is one of the domain's.
    Verified,
}

/// Why mail does not go, for the reply to who sends it, the log, and the rules for the next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reply's code.
    pub code: u16,
    /// The enhanced code (RFC 3463, RFC 7505, RFC 8461 §8.4).
    pub enhanced: &'static str,
    /// What it is about, in printable ASCII.
    pub text: String,
    /// The word for it in a strategy's rules.
    pub last_error: LastError,
}

/// TLS is required, and not there.
const NO_TLS: &str = "4.7.4";
/// A certificate, a record or a policy does not hold.
const NOT_VERIFIED: &str = "4.7.5";
/// A lookup failed.
const NOT_FOUND_OUT: &str = "4.4.3";

/// Nobody is there (RFC 3463 §3.5).
const NOBODY: &str = "4.4.1";
/// The conversation has broken.
const BROKEN_OFF: &str = "4.4.2";

/// The longest text of a refusal or a reason, in characters: a reply has 512 octets (RFC 5321 §4.5.3.1.5).
const LONGEST_TEXT: usize = 400;

impl Check {
    /// Any certificate will do.
    pub const ANY: Self = Self { dane: false, pkix: false };
}

impl Refusal {
    /// The host takes no connection, or does not greet.
    #[must_use]
    pub fn unreached(host: &str, why: &str, last_error: LastError) -> Self {
        Self::new(NOBODY, last_error, &format!("{host}: {why}"))
    }

    /// The conversation with the host has broken off before there could be TLS.
    #[must_use]
    pub fn broken_off(host: &str, why: &str, last_error: LastError) -> Self {
        Self::new(BROKEN_OFF, last_error, &format!("{host}: {why}"))
    }

    fn new(enhanced: &'static str, last_error: LastError, text: &str) -> Self {
        Self { code: 451, enhanced, text: printable(text), last_error }
    }
}

/// What a peer or a resolver has said may stand in it: nothing of that ends a line.
fn printable(text: &str) -> String {
    text.chars()
        .take(LONGEST_TEXT)
        .map(|char| if char == ' ' || char.is_ascii_graphic() { char } else { '?' })
        .collect()
}

/// How mail may go to the host that these are the facts of.
#[must_use]
pub fn decide(strategy: &TlsStrategy, facts: &Facts<'_>) -> Verdict {
    let mut weighing =
        Weighing { strategy, facts, reasons: Vec::new(), demanded_by: "the strategy", is_vouched: false };
    let decision = match weighing.terms() {
        Ok(terms) => Decision::Send(terms),
        Err(refused) => refused,
    };
    if let Decision::Skip(refusal) | Decision::Delay(refusal) = &decision {
        weighing.reasons.push(refusal.text.clone());
    }
    let Weighing { reasons, demanded_by, is_vouched, .. } = weighing;
    Verdict { decision, reasons, host: facts.host.to_owned(), demanded_by, is_vouched }
}

/// The steps to a verdict.
struct Weighing<'a> {
    strategy: &'a TlsStrategy,
    facts: &'a Facts<'a>,
    reasons: Vec<String>,
    demanded_by: &'static str,
    is_vouched: bool,
}

/// What DANE demands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Nothing,
    Tls,
    Certificate,
}

impl Weighing<'_> {
    fn terms(&mut self) -> Result<Terms, Decision> {
        let dane = self.dane()?;
        let sts = self.sts(dane)?;
        let in_force = dane != Demand::Nothing || sts;
        // RFC 7672 §2.2.1: behind MX records that nobody vouches for, DANE makes no host one of the domain's.
        self.is_vouched = sts || (dane == Demand::Certificate && self.facts.next_hop.mx != MxOf::Insecure);
        let check = Check {
            dane: dane == Demand::Certificate,
            pkix: sts || (dane != Demand::Certificate && !self.strategy.allow_invalid_certs),
        };
        Ok(match self.strategy.starttls {
            Requirement::Disable if !in_force => {
                self.because("the strategy switches STARTTLS off: mail goes in clear");
                Terms::Plaintext
            }
            Requirement::Disable => {
                self.because(
                    "the strategy switches STARTTLS off, which what the domain publishes outranks: TLS is mandatory",
                );
                self.told(Terms::Always(check))
            }
            Requirement::Require => {
                self.because("the strategy makes TLS mandatory");
                self.told(Terms::Always(check))
            }
            Requirement::Optional if in_force => {
                self.because("TLS is mandatory");
                self.told(Terms::Always(check))
            }
            Requirement::Optional => {
                self.because("TLS is used where it is offered; otherwise mail goes in clear");
                self.told(Terms::IfOffered(check))
            }
        })
    }

    fn dane(&mut self) -> Result<Demand, Decision> {
        let Facts { next_hop: NextHop { name: domain, mx, .. }, host, dane, .. } = *self.facts;
        let is_required = self.strategy.dane == Requirement::Require;
        if self.strategy.dane == Requirement::Disable {
            self.because(&format!("{}: no TLSA records count", Absence::NotAsked(NotAsked::Disabled)));
            return Ok(Demand::Nothing);
        }
        if mx == MxOf::Insecure && is_required {
            // RFC 7672 §6: mandatory DANE; no host that such records name can be believed to be the right one.
            let text = format!("DANE is required, and DNSSEC does not vouch for the MX records of {domain}");
            return Err(Decision::Delay(Refusal::new(NOT_VERIFIED, LastError::Dane, &text)));
        }
        match dane {
            Dane::Failed { base, error } => {
                // RFC 7672 §2.1.2: the host is unreachable; no answer is not the answer that there is nothing.
                let text = format!("the TLSA records of {base} could not be looked up: {error}");
                Err(Decision::Skip(Refusal::new(NOT_FOUND_OUT, LastError::Dns, &text)))
            }
            Dane::Absent(why) if is_required => Err(self.without_dane(&why.to_string())),
            Dane::Unusable { .. } if is_required => Err(self.without_dane("none of its TLSA records can be used")),
            Dane::Absent(why) => {
                self.because(&format!("{host} has no DANE: {why}"));
                Ok(Demand::Nothing)
            }
            Dane::Unusable { base, found } => {
                // RFC 7672 §2.2: TLS is mandatory, and need not be authenticated.
                self.because(&format!(
                    "none of the {} TLSA records of {base} can be used, which makes TLS mandatory",
                    found.len()
                ));
                self.demanded_by = "DANE";
                Ok(Demand::Tls)
            }
            Dane::Usable(records) => {
                let (used, base) = (records.used.len(), &records.base);
                self.because(&format!("{used} of the TLSA records of {base} count: its certificate must match one"));
                if mx == MxOf::Insecure {
                    self.because(&format!(
                        "DNSSEC does not vouch for the MX records of {domain}: {host} may be the wrong host"
                    ));
                }
                self.demanded_by = "DANE";
                Ok(Demand::Certificate)
            }
        }
    }

    fn without_dane(&self, why: &str) -> Decision {
        let text = format!("DANE is required, and {} has none: {why}", self.facts.host);
        Decision::Skip(Refusal::new(NOT_VERIFIED, LastError::Dane, &text))
    }

    /// Whether an MTA-STS policy demands TLS with a certificate for the host.
    fn sts(&mut self, dane: Demand) -> Result<bool, Decision> {
        let Facts { next_hop: NextHop { name: domain, .. }, sts, .. } = *self.facts;
        if self.strategy.mta_sts == Requirement::Disable {
            self.because(&format!("{}: no policy counts", Unasked::Disabled));
            return Ok(false);
        }
        match sts {
            Standing::Unasked(why) => self.without_policy(&why.to_string()),
            Standing::Absent => self.without_policy(&format!("{domain} has no MTA-STS policy")),
            Standing::Unavailable(fault) => {
                self.without_policy(&format!("the MTA-STS policy of {domain} is not there: {fault}"))
            }
            Standing::Policy { policy, fault } => {
                if let Some(fault) = fault {
                    self.because(&format!("the MTA-STS policy of {domain} is the one that is held: {fault}"));
                }
                self.policy(policy, dane)
            }
        }
    }

    fn without_policy(&mut self, why: &str) -> Result<bool, Decision> {
        if self.strategy.mta_sts == Requirement::Require {
            let text = format!("MTA-STS is required, and {why}");
            return Err(Decision::Delay(Refusal::new(NOT_VERIFIED, LastError::MtaSts, &text)));
        }
        self.because(why);
        Ok(false)
    }

    fn policy(&mut self, policy: &Policy, dane: Demand) -> Result<bool, Decision> {
        let Facts { next_hop: NextHop { name: domain, mx, .. }, host, .. } = *self.facts;
        let is_required = self.strategy.mta_sts == Requirement::Require;
        let lists = if policy.lists(host) { "lists" } else { "does not list" };
        match policy.mode {
            Mode::None => return self.without_policy(&format!("the MTA-STS policy of {domain} has the mode none")),
            Mode::Testing if !is_required => {
                self.because(&format!(
                    "the MTA-STS policy of {domain} is being tested and {lists} {host}: it is only reported"
                ));
                return Ok(false);
            }
            // RFC 7672 §2.2.1: TLSA records of a host that anybody may have named say nothing of the domain.
            Mode::Enforce if dane == Demand::Certificate && mx != MxOf::Insecure && !is_required => {
                self.because(&format!(
                    "the MTA-STS policy of {domain} {lists} {host}; DANE decides, and that is only reported"
                ));
                return Ok(false);
            }
            Mode::Enforce | Mode::Testing => {}
        }
        if !policy.lists(host) {
            let text = format!("the MTA-STS policy of {domain} does not list {host}");
            return Err(Decision::Skip(Refusal::new(NOT_VERIFIED, LastError::MtaSts, &text)));
        }
        self.because(&format!(
            "the MTA-STS policy of {domain} ({}) lists {host}: its certificate must be valid for it",
            policy.mode
        ));
        if dane == Demand::Nothing {
            self.demanded_by = "the MTA-STS policy";
        }
        Ok(true)
    }

    fn because(&mut self, reason: &str) {
        self.reasons.push(printable(reason));
    }

    /// Adds what certificate will do.
    fn told(&mut self, terms: Terms) -> Terms {
        if let Terms::IfOffered(check) | Terms::Always(check) = terms {
            self.because(match check {
                Check { dane: true, pkix: true } => {
                    "the certificate must match a TLSA record and be valid for the host"
                }
                Check { dane: true, pkix: false } => "the certificate must match a TLSA record",
                Check { dane: false, pkix: true } => "the certificate must be valid for the host",
                Check::ANY => "any certificate will do",
            });
        }
        terms
    }
}

impl Verdict {
    /// Whether what the domain demands, by TLSA records or a policy, counts here as it did in `former`: another
    /// strategy may ask for less than the one before it, and never let go what the domain asks for.
    #[must_use]
    pub fn keeps_demands_of(&self, former: &Self) -> bool {
        (self.demanded_by, self.is_vouched) == (former.demanded_by, former.is_vouched)
    }

    /// Whether STARTTLS is sent where it is offered.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        matches!(self.decision, Decision::Send(Terms::IfOffered(_) | Terms::Always(_)))
    }

    /// Whether mail may go in clear to a server that does not offer STARTTLS, or refuses it, or is not to be asked.
    ///
    /// # Errors
    /// Why not.
    pub fn without_tls(&self) -> Result<Assurance, Refusal> {
        match &self.decision {
            Decision::Send(Terms::Plaintext | Terms::IfOffered(_)) => Ok(Assurance::Clear),
            Decision::Send(Terms::Always(_)) => {
                let text = format!("{} does not offer TLS, which {} makes mandatory", self.host, self.demanded_by);
                Err(Refusal::new(NO_TLS, LastError::Tls, &text))
            }
            Decision::Skip(refusal) | Decision::Delay(refusal) => Err(refusal.clone()),
        }
    }

    /// Whether mail may go to a server that has shown this.
    ///
    /// # Errors
    /// Why not.
    pub fn with_tls(&self, shown: &Shown) -> Result<Assurance, Refusal> {
        let check = match &self.decision {
            Decision::Send(Terms::IfOffered(check) | Terms::Always(check)) => check,
            // Nobody asked for TLS, so nothing is asked of it.
            Decision::Send(Terms::Plaintext) => &Check::ANY,
            Decision::Skip(refusal) | Decision::Delay(refusal) => return Err(refusal.clone()),
        };
        if check.dane {
            match &shown.dane {
                Some(Ok(_)) => {}
                Some(Err(mismatch)) => return Err(self.refused(LastError::Dane, mismatch)),
                None => {
                    return Err(self.refused(LastError::Dane, &"its certificate was not held against the TLSA records"));
                }
            }
        }
        if let (true, Err(untrusted)) = (check.pkix, &shown.pkix) {
            return Err(self.refused(LastError::Tls, untrusted));
        }
        Ok(if self.is_vouched {
            Assurance::Verified
        } else if check.dane || shown.pkix.is_ok() {
            Assurance::Trusted
        } else {
            Assurance::Encrypted
        })
    }

    /// The refusal after a handshake that came to nothing, or did not come to an end in time.
    #[must_use]
    pub fn broken(&self, why: &str) -> Refusal {
        self.refused(LastError::Tls, &why)
    }

    fn refused(&self, last_error: LastError, why: &dyn fmt::Display) -> Refusal {
        Refusal::new(NOT_VERIFIED, last_error, &format!("{}: {why}", self.host))
    }
}

/// As in a reply: `451 4.7.5 TEXT`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.enhanced, self.text)
    }
}

/// `tls/dane+pkix`: what the golden table and the log call it.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(Terms::Plaintext) => f.write_str("plaintext"),
            Self::Send(Terms::IfOffered(check)) => write!(f, "offered/{check}"),
            Self::Send(Terms::Always(check)) => write!(f, "tls/{check}"),
            Self::Skip(refusal) => write!(f, "skip/{}", refusal.last_error.name()),
            Self::Delay(refusal) => write!(f, "delay/{}", refusal.last_error.name()),
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "clear",
            Self::Encrypted => "encrypted",
            Self::Trusted => "trusted",
            Self::Verified => "verified",
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.dane, self.pkix) {
            (true, true) => "dane+pkix",
            (true, false) => "dane",
            (false, true) => "pkix",
            (false, false) => "any",
        })
    }
}

#[cfg(test)]
mod tests;
