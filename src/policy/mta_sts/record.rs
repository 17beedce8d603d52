//! The TXT record at `_mta-sts.DOMAIN` that says that there is a policy (RFC 8461 §3.1).
//!
//! Promises that exactly one record counts, or none; refuses one with anything in it that the grammar does not have.

use crate::policy::answer::{Answer, LookupError};

/// What the record at `_mta-sts.DOMAIN` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// There is a policy, and this is the name of its present state.
    Id(String),
    /// There is no record, more than one, or one that is malformed.
    Nothing,
    /// Nobody knows.
    Unknown(LookupError),
}

/// The octets that a record which counts begins with.
const VERSION: &[u8] = b"v=STSv1;";

/// What an answer to the question for TXT at `_mta-sts.DOMAIN` comes to. A record is the strings of one, one behind the other
/// with nothing in between.
#[must_use]
pub fn published<T: AsRef<[u8]>>(answer: &Result<Answer<T>, LookupError>) -> Published {
    let records = match answer {
        Ok(answer) => &answer.records,
        Err(error) => return Published::Unknown(error.clone()),
    };
    // RFC 8461 §3.1: others are discarded; if not exactly one is left, there is no policy.
    let mut ours = records.iter().map(AsRef::as_ref).filter(|record| record.starts_with(VERSION));
    match (ours.next(), ours.next()) {
        (Some(record), None) => id(record).map_or(Published::Nothing, Published::Id),
        _ => Published::Nothing,
    }
}

/// The id in a record, if all of the record is well-formed.
fn id(record: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(record).ok()?;
    let fields = text.split(';').map(|field| field.trim_matches([' ', '\t'])).collect::<Vec<_>>();
    let (_, fields) = fields.split_first()?;
    // RFC 8461 §3.1: one delimiter may stand at the end, with nothing behind it but blanks.
    let fields = fields.strip_suffix(&[""]).unwrap_or(fields);
    let mut id = None;
    for field in fields {
        let (name, value) = field.split_once('=')?;
        if name == "id" && id.is_none() {
            is_id(value).then_some(())?;
            id = Some(value.to_owned());
        } else if !is_extension_name(name) || !is_extension_value(value) {
            return None;
        }
    }
    id
}

fn is_id(value: &str) -> bool {
    (1..=32).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `sts-ext-name` (RFC 8461 §3.1), also of a policy's keys (§3.2).
pub(super) fn is_extension_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn is_extension_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && !b";=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::answer::{Existence, Security};
    use std::time::Duration;

    fn of(records: &[&str]) -> Published {
        let answer = Answer {
            records: records.iter().map(|record| record.as_bytes().to_vec()).collect(),
            existence: Existence::Records,
            security: Security::Insecure,
            aliases: vec!["sts.elsewhere.example".into()],
            ttl: Duration::from_secs(60),
        };
        published(&Ok(answer))
    }

    fn has(id: &str) -> Published {
        Published::Id(id.into())
    }

    #[test]
    fn m1_exactly_one_record_that_begins_with_the_version_counts() {
        assert_eq!(of(&["v=STSv1; id=20260101T000000;"]), has("20260101T000000"));
        assert_eq!(of(&["v=spf1 -all", "v=STSv1; id=a", "anything"]), has("a"));
        assert_eq!(of(&[]), Published::Nothing);
        assert_eq!(of(&["v=STSv1; id=a", "v=STSv1; id=a"]), Published::Nothing);
        assert_eq!(of(&["v=STSv1; id=a", "v=STSv1; nonsense"]), Published::Nothing);
        for other in ["id=a; v=STSv1", "v=STSv10; id=a", "v=STSv2; id=a", "v=stsv1; id=a", " v=STSv1; id=a", "v=STSv1"]
        {
            assert_eq!(of(&[other]), Published::Nothing, "{other}");
            assert_eq!(of(&[other, "v=STSv1; id=a"]), has("a"), "{other} is discarded");
        }
    }

    #[test]
    fn m1_what_cannot_be_looked_up_is_not_nothing() {
        let answer: Result<Answer<Vec<u8>>, _> = Err(LookupError::Timeout);
        assert_eq!(published(&answer), Published::Unknown(LookupError::Timeout));
    }

    #[test]
    fn m2_the_id_is_up_to_32_letters_and_digits() {
        let longest = "a".repeat(32);
        assert_eq!(of(&[&format!("v=STSv1; id={longest}")]), has(&longest));
        for bad in [&*"a".repeat(33), "", "a-1", "a b", "ä", "a\u{0}"] {
            assert_eq!(of(&[&format!("v=STSv1; id={bad};")]), Published::Nothing, "{bad}");
        }
    }

    #[test]
    fn m2_unknown_fields_are_passed_over_if_they_are_well_formed_and_the_first_id_counts() {
        for good in [
            "v=STSv1;id=a",
            "v=STSv1;\tid=a \t ; ",
            "v=STSv1; more=1; id=a; x_y-z.0=!#<>~;",
            "v=STSv1; id=a; id=b",
            "v=STSv1; id=a; ID=b; v=STSv2",
        ] {
            assert_eq!(of(&[good]), has("a"), "{good}");
        }
        let long = format!("v=STSv1; id=a; {}=1", "n".repeat(33));
        for bad in [
            "v=STSv1;",
            "v=STSv1; more=1",
            "v=STSv1; id=a; more=",
            "v=STSv1; id=a; more",
            "v=STSv1; id=a; _more=1",
            "v=STSv1; id=a; mo%re=1",
            "v=STSv1; id=a; more==",
            "v=STSv1; id=a; more=a b",
            "v=STSv1; id=a;;",
            "v=STSv1;; id=a",
            "v=STSv1; id = a",
            "v=STSv1; id=a\n",
            &long,
        ] {
            assert_eq!(of(&[bad]), Published::Nothing, "{bad}");
        }
    }
}
