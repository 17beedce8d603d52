//! The name server of the configuration. Everything it is asked is signed, so that it shows us the zone that the key may
//! change (BIND's views go by the key), and its replies are believed only with its signature (RFC 8945).

use std::time::SystemTime;

use domain::{
    base::Name,
    rdata::tsig::Time48,
    tsig::{Algorithm, Key},
};
use tokio::time::timeout;

use super::{
    DnsError,
    message::{Ask, Signed},
};
use crate::{
    config::{Rfc2136, TsigAlgorithm},
    net::exchange::{Whole, exchange, random_id},
};

/// The name server that updates go to.
pub(super) struct Primary<'a> {
    pub(super) settings: &'a Rfc2136,
    key: Key,
}

impl<'a> Primary<'a> {
    /// The server with its key.
    pub(super) fn new(settings: &'a Rfc2136) -> Result<Self, DnsError> {
        let name = Name::from_chars(settings.key.chars()).map_err(|_| DnsError::Name(settings.key.clone()))?;
        let key = Key::new(algorithm(settings.algorithm), &settings.secret, name, None, None);
        Ok(Self { settings, key: key.expect("its signatures are not shortened") })
    }

    /// Asks, and returns the reply if it is a yes.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Whole, DnsError> {
        let Rfc2136 { server, tcp, timeout: limit, .. } = *self.settings;
        let signed = Signed::new(*ask, random_id(), &self.key, now());
        let mut reply = match timeout(limit, exchange(server, tcp, &signed.request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(DnsError::Unreachable { server, error }),
            Err(_) => return Err(DnsError::Silent { server, timeout: limit, by: if tcp { "TCP" } else { "UDP" } }),
        };
        let refused = |refusal| DnsError::Refused { server, asked: ask.to_string(), refusal };
        signed.judge(&mut reply, now()).map_err(refused)?;
        Ok(reply)
    }
}

/// A clock that is set before 1970 is at its beginning; the server will say so.
fn now() -> Time48 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time48::from_u64(since.as_secs())
}

fn algorithm(algorithm: TsigAlgorithm) -> Algorithm {
    match algorithm {
        TsigAlgorithm::HmacSha1 => Algorithm::Sha1,
        TsigAlgorithm::HmacSha256 => Algorithm::Sha256,
        TsigAlgorithm::HmacSha384 => Algorithm::Sha384,
        TsigAlgorithm::HmacSha512 => Algorithm::Sha512,
    }
}
