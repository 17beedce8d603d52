//! Where the record of a name goes: the zone is what the name server says it is, so that a sub-zone of its own is found,
//! and a CNAME record at `_acme-challenge` leads to the zone that the operator has set apart for challenges.

use domain::base::{Name, Rtype};

use super::{
    DnsError,
    message::{Ask, Owner, alias, delegated, zone},
    primary::Primary,
};

/// As many CNAME records as are followed; resolvers follow no more than about this.
const STEPS: usize = 8;

/// Where a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The zone that is changed.
    pub(super) zone: Owner,
    /// The record's own name.
    pub(super) name: Owner,
}

/// `_acme-challenge.` and the name (RFC 8555 §8.4).
///
/// # Errors
/// Where that is longer than DNS permits, or `domain` is no name at all.
pub(super) fn owner(domain: &str) -> Result<Owner, DnsError> {
    parse(&format!("_acme-challenge.{domain}"))
}

fn parse(name: &str) -> Result<Owner, DnsError> {
    Name::vec_from_str(name).map_err(|_| DnsError::Name(name.to_owned()))
}

/// Finds the place for the record of `domain`.
///
/// Where `origin` is set, it is the zone of the first name inside it: nothing is asked for that name, so that neither a
/// wildcard CNAME record leads away from it, nor need the server answer questions.
pub(super) async fn find(primary: &Primary<'_>, domain: &str) -> Result<Place, DnsError> {
    let from = owner(domain)?;
    let origin = primary.settings.origin.as_deref().map(parse).transpose()?;
    let mut name = from.clone();
    for _ in 0..=STEPS {
        match step(primary, &name, origin.as_ref()).await {
            Ok(Step::Zone(zone)) => return Ok(Place { zone, name }),
            Ok(Step::Alias(to)) => name = to,
            Err(error) if name == from => return Err(error),
            Err(error) => return Err(DnsError::Alias { from, to: name, error: Box::new(error) }),
        }
    }
    Err(DnsError::Chain { from, limit: STEPS })
}

enum Step {
    Zone(Owner),
    Alias(Owner),
}

async fn step(primary: &Primary<'_>, name: &Owner, origin: Option<&Owner>) -> Result<Step, DnsError> {
    if let Some(origin) = origin.filter(|origin| name.ends_with(origin)) {
        return Ok(Step::Zone(origin.clone()));
    }
    let server = primary.settings.server;
    // Where there is none, the reply names the zone; and unlike with any other type, the server leads no further than
    // one step.
    let reply = primary.ask(&Ask::Records(name, Rtype::CNAME)).await?;
    if let Some(to) = alias(&reply, name) {
        Ok(Step::Alias(to))
    } else if let Some(origin) = origin {
        Err(DnsError::OutsideOrigin { name: name.clone(), origin: origin.clone() })
    } else if let Some(zone) = zone(&reply, name) {
        Ok(Step::Zone(zone))
    } else if let Some(zone) = delegated(&reply, name) {
        Err(DnsError::Delegated { server, zone })
    } else {
        Err(DnsError::NotAuthoritative { server, name: name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_longer_than_dns_has_is_an_error() {
        let label = "a".repeat(63);
        assert_eq!(owner("example.org").unwrap().fmt_with_dot().to_string(), "_acme-challenge.example.org.");
        // With the lengths of its labels and the root a name has at most 255 bytes.
        let longest = [label.as_str(), &label, &label, &"a".repeat(45)].join(".");
        assert!(owner(&longest).is_ok());
        for bad in [format!("{longest}a"), "a".repeat(64), "a..b".to_owned(), "\\9".to_owned()] {
            assert!(matches!(owner(&bad), Err(DnsError::Name(_))), "{bad}");
        }
    }
}
