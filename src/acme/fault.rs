//! Why an attempt failed: in plain words for the operator, and whose failing it is, for the wait that follows.

use std::{fmt, time::SystemTime};

use instant_acme::{Error, Problem};

use super::cache::CacheError;
use crate::{policy::renewal::Failing, telemetry::Told};

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Whose failing it is.
    pub failing: Failing,
    /// What happened, in plain words.
    pub words: String,
    /// When the authority wants to be asked again, if it said so.
    pub retry_at: Option<SystemTime>,
    /// The authority's word for the problem, without `urn:ietf:params:acme:error:` (RFC 8555 §6.7).
    pub kind: Option<String>,
}

/// The words for what an authority can say no by begin with this.
const PROBLEM: &str = "urn:ietf:params:acme:error:";

impl Fault {
    /// One of this side.
    pub(super) fn ours(words: impl fmt::Display) -> Self {
        Self::new(Failing::Ours, words)
    }

    /// The authority could not be reached, or what it said made no sense.
    pub(super) fn unreachable(words: impl fmt::Display) -> Self {
        Self::new(Failing::Unreachable, words)
    }

    /// The authority said no.
    pub(super) fn refused(words: impl fmt::Display) -> Self {
        Self::new(Failing::Refused, words)
    }

    fn new(failing: Failing, words: impl fmt::Display) -> Self {
        Self { failing, words: words.to_string(), retry_at: None, kind: None }
    }

    /// The same, with what was being done when it happened.
    pub(super) fn while_doing(mut self, what: &str) -> Self {
        self.words = format!("{what}: {}", self.words);
        self
    }

    /// What the client library, or our own HTTP client through it, says.
    pub(super) fn of(error: Error, retry_at: Option<SystemTime>) -> Self {
        match error {
            Error::Api(problem) => Self { retry_at, ..Self::of_problem(&problem) },
            Error::Timeout(at) => {
                let words = match at {
                    Some(_) => "the authority wants more time than one attempt has",
                    None => "the authority did not come to an end in time",
                };
                Self { retry_at, ..Self::unreachable(words) }
            }
            Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(fault) => *fault,
                Err(inner) => Self { retry_at, ..Self::unreachable(inner) },
            },
            Error::Json(error) => Self {
                retry_at,
                ..Self::unreachable(format!("what the authority answered is no proper JSON: {error}"))
            },
            other => Self { retry_at, ..Self::unreachable(other) },
        }
    }

    /// What the authority says is wrong.
    pub(super) fn of_problem(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().map(|kind| kind.strip_prefix(PROBLEM).unwrap_or(kind).to_owned());
        let failing = match (kind.as_deref(), problem.status) {
            (Some("rateLimited"), _) | (_, Some(429)) => Failing::Limited,
            (Some("serverInternal" | "badNonce"), _) | (_, Some(500..)) => Failing::Unreachable,
            _ => Failing::Refused,
        };
        Self { kind, ..Self::new(failing, words_of(problem)) }
    }

    /// Whether the authority's word for the problem is this one.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// `DETAIL (KIND); NAME: DETAIL (KIND)`. What the authority says may hold what somebody else made it say: escaped.
pub(super) fn words_of(problem: &Problem) -> String {
    let mut words = one(problem.detail.as_deref(), problem.r#type.as_deref());
    for sub in &problem.subproblems {
        let name = sub.identifier.as_ref().map(|name| name.authorized(false).to_string()).unwrap_or_default();
        words = format!("{words}; {}: {}", Told(&name), one(sub.detail.as_deref(), sub.r#type.as_deref()));
    }
    words
}

fn one(detail: Option<&str>, kind: Option<&str>) -> String {
    let kind = kind.map(|kind| kind.strip_prefix(PROBLEM).unwrap_or(kind)).unwrap_or("no kind given");
    format!("{} ({})", Told(detail.unwrap_or("no reason given")), Told(kind))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Fault {}

impl From<CacheError> for Fault {
    fn from(error: CacheError) -> Self {
        Self::ours(format!("the cache is of no use: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Fault {
        Fault::of_problem(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_refusal_is_told_with_its_subproblems_and_nothing_that_forges_a_line() {
        let fault = of(
            r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "no\nINFO all is well", "status": 400,
                "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it",
                                 "identifier": {"type": "dns", "value": "mx.example.org"}}]}"#,
        );
        assert_eq!(fault.words, "no\\nINFO all is well (rejectedIdentifier); mx.example.org: CAA forbids it (caa)");
        assert_eq!(fault.failing, Failing::Refused);
    }

    #[test]
    fn whose_failing_it_is_decides_the_wait() {
        let failing = |kind: &str, status: u16| {
            of(&format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}", "status": {status}}}"#)).failing
        };
        assert_eq!(failing("rateLimited", 429), Failing::Limited);
        assert_eq!(failing("serverInternal", 500), Failing::Unreachable);
        assert_eq!(failing("badNonce", 400), Failing::Unreachable);
        assert_eq!(failing("unauthorized", 403), Failing::Refused);
        assert_eq!(failing("malformed", 503), Failing::Unreachable);
    }
}
