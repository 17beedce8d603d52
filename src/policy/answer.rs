//! What DNS says, as values: the records, whether they are vouched for, and what is no answer at all.
//!
//! Names are lower-case text of A-labels without the trailing dot.

use std::{fmt, time::Duration};

/// Whether DNSSEC vouches for an answer (RFC 4035 §4.3, RFC 7672 §2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Every link of it, from the trust anchor on.
    Secure,
    /// A zone on the way is not signed, or nobody who is trusted has looked.
    Insecure,
}

/// What is there under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Records of the type that was asked for.
    Records,
    /// The name, but nothing of that type.
    NoData,
    /// Not even the name (NXDOMAIN). Behind aliases it is the last name that is missing (RFC 6604 §3).
    NoName,
}

/// An answer that was got. Bogus, SERVFAIL, a timeout and what is malformed are a [`LookupError`], never an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// In the order of the name server; none unless `existence` says so.
    pub records: Vec<T>,
    /// What there is.
    pub existence: Existence,
    /// Of the records, or of there being none, and of every alias on the way.
    pub security: Security,
    /// The names after each CNAME; the last is the owner of the records.
    pub aliases: Vec<String>,
    /// How long all of it holds.
    pub ttl: Duration,
}

/// Why there is no answer. It may be another the next time: mail waits (RFC 7672 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The signatures are wrong, or missing where there should be some.
    #[error("DNSSEC validation failed{}", behind(ede))]
    Bogus {
        /// What the resolver says of it.
        ede: Option<Ede>,
    },
    /// SERVFAIL: what is bogus too, for a resolver that does not say why.
    #[error("the resolver failed to find out, SERVFAIL{}", behind(ede))]
    ServerFailure {
        /// What the resolver says of it.
        ede: Option<Ede>,
    },
    /// The resolver does not answer us.
    #[error("the resolver refused the question")]
    Refused,
    /// Another code that tells nothing of the name.
    #[error("the resolver answered with code {code}")]
    Code {
        /// RCODE (RFC 1035 §4.1.1), extended by EDNS.
        code: u16,
    },
    /// No answer in time.
    #[error("the resolver did not answer in time")]
    Timeout,
    /// An answer that cannot be read, contradicts itself, or leads through too many aliases.
    #[error("the answer makes no sense: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// No connection to the resolver.
    #[error("the resolver cannot be reached: {why}")]
    Unreachable {
        /// What the system says.
        why: String,
    },
    /// The name that was to be looked up is none.
    #[error("not a name that DNS could have")]
    Name,
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ede {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT; what is not printable ASCII in it was replaced, and the rest of a long one left out.
    pub text: String,
}

impl LookupError {
    /// The extended error that came with it.
    #[must_use]
    pub fn ede(&self) -> Option<&Ede> {
        match self {
            Self::Bogus { ede } | Self::ServerFailure { ede } => ede.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Ede {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EDE {}", self.code)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

fn behind(ede: &Option<Ede>) -> String {
    ede.as_ref().map(|ede| format!(" ({ede})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_the_resolver_said_of_it() {
        let ede = Ede { code: 6, text: "no valid signature".into() };
        let told = LookupError::Bogus { ede: Some(ede.clone()) };
        assert_eq!(told.to_string(), "DNSSEC validation failed (EDE 6: no valid signature)");
        assert_eq!(told.ede(), Some(&ede));
        let untold = LookupError::ServerFailure { ede: Some(Ede { code: 22, text: String::new() }) };
        assert_eq!(untold.to_string(), "the resolver failed to find out, SERVFAIL (EDE 22)");
        assert_eq!(LookupError::Bogus { ede: None }.to_string(), "DNSSEC validation failed");
    }
}
