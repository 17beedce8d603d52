//! What the listeners tell an authority that validates a name. Outlives snapshots: a reload in the middle of an
//! order changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::tls::Challenges;

/// The answers that are pending, of all orders.
#[derive(Debug, Default)]
pub struct Answers {
    /// tls-alpn-01: on every listener with implicit TLS.
    pub tls: Arc<Challenges>,
    /// http-01: on every listener with `protocol = "http"`.
    pub http: Tokens,
}

/// http-01: the key authorization for each token (RFC 8555 §8.3).
#[derive(Debug, Default)]
pub struct Tokens {
    pending: RwLock<HashMap<String, String>>,
}

impl Tokens {
    /// Answers for `token` from now on.
    pub fn present(&self, token: &str, key_authorization: &str) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.insert(token.to_owned(), key_authorization.to_owned());
    }

    /// Answers for `token` no longer.
    pub fn withdraw(&self, token: &str) {
        self.pending.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// The key authorization for `token`.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<String> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_for_between_present_and_withdraw() {
        let tokens = Tokens::default();
        tokens.present("token", "token.thumbprint");
        assert_eq!(tokens.find("token").as_deref(), Some("token.thumbprint"));
        tokens.withdraw("token");
        assert_eq!(tokens.find("token"), None);
    }
}
