//! The challenge dns-01 (RFC 8555 §8.4): TXT records at `_acme-challenge` below each name, written and removed by a
//! dynamic update or by a command of the operator's.
//!
//! Promises: what is written stands beside what others wrote there (a name and its wildcard are proved by two records
//! of one name), and only what was written is removed. Says where an update goes by asking the name server itself, never
//! by guessing from the name.

mod error;
mod exec;
mod message;
mod place;
mod primary;
mod propagation;

pub use error::{DnsError, Refusal};

use domain::{base::CharStr, rdata::Txt};

use self::{
    exec::Verb,
    message::{Ask, Text},
    primary::Primary,
};
use crate::config::{Dns01, DnsProvider, Exec, Rfc2136};

/// One TXT record of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name that is proved, a wildcard without its `*.`.
    pub domain: String,
    /// The SHA-256 of the key authorization in base64url.
    pub value: String,
}

/// Writes all records, and waits until the zone's own name servers show them.
///
/// Returns who does not show them after `propagation-timeout`, each with the reason in plain words. That is no error: the
/// authority judges by what it sees itself, and may well see more than we can from here. A command has waited by itself
/// when it returns.
///
/// # Errors
/// The first record that could not be written. Those before it stand until [`withdraw`] is called with all of them.
pub async fn present(settings: &Dns01, records: &[Record]) -> Result<Vec<String>, DnsError> {
    match &settings.provider {
        DnsProvider::Rfc2136(server) => add(server, settings, records).await,
        DnsProvider::Exec(hook) => {
            for record in records {
                call(hook, Verb::Present, record).await?;
            }
            Ok(Vec::new())
        }
    }
}

/// Removes exactly these values. A record that is gone already is no error.
///
/// # Errors
/// The first record that could not be removed. The others are, unless nothing at all can be removed now.
pub async fn withdraw(settings: &Dns01, records: &[Record]) -> Result<(), DnsError> {
    let mut outcome = Ok(());
    for record in records {
        let removed = match &settings.provider {
            DnsProvider::Rfc2136(server) => remove(server, record).await,
            DnsProvider::Exec(hook) => call(hook, Verb::Withdraw, record).await,
        };
        // A wait as long for each of a hundred names is of use to nobody.
        let is_vain = removed.as_ref().is_err_and(DnsError::is_of_all);
        outcome = outcome.and(removed);
        if is_vain {
            break;
        }
    }
    outcome
}

async fn add(server: &Rfc2136, settings: &Dns01, records: &[Record]) -> Result<Vec<String>, DnsError> {
    let primary = Primary::new(server)?;
    let mut written = Vec::new();
    for record in records {
        let (place, text) = (place::find(&primary, &record.domain).await?, text(record)?);
        // One update for each: a server that refuses one is known by its name.
        primary.ask(&Ask::Add(&place, &text, server.ttl)).await?;
        written.push((place, text));
    }
    Ok(propagation::await_shown(&primary, settings, &written).await)
}

async fn remove(server: &Rfc2136, record: &Record) -> Result<(), DnsError> {
    let primary = Primary::new(server)?;
    let (place, text) = (place::find(&primary, &record.domain).await?, text(record)?);
    primary.ask(&Ask::Remove(&place, &text)).await.map(drop)
}

/// The value as one character string (RFC 8555 §8.4).
fn text(record: &Record) -> Result<Text, DnsError> {
    let value = Some(record.value.as_bytes()).filter(|value| value.len() <= CharStr::MAX_LEN);
    value.and_then(|value| Txt::build_from_slice(value).ok()).ok_or_else(|| DnsError::Name(record.value.clone()))
}

async fn call(hook: &Exec, verb: Verb, record: &Record) -> Result<(), DnsError> {
    exec::run(hook, verb, &place::owner(&record.domain)?, &record.value).await
}
