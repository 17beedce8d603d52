//! What there is to say of a certificate: what it says itself, and what becomes of it.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{acme::Report, tls::Overview};

/// One certificate, or one that is wanted and not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// The table that it comes from, `certificate.<id>` or `acme.<id>`; of the latter with the kind of key behind it:
    /// `acme.main/rsa-2048`.
    pub name: String,
    /// The names that it stands for, or shall.
    pub names: Vec<String>,
    /// Whether it is there.
    pub state: State,
    /// The issuer's distinguished name.
    pub issuer: Option<String>,
    /// The end of its validity, in seconds since 1970.
    pub not_after: Option<u64>,
    /// The file that it is read from; `None` where it stands in the configuration itself.
    pub source: Option<PathBuf>,
    /// When something is done next, in seconds since 1970; `None` while it is being done, or where nothing is planned.
    pub next: Option<u64>,
    /// What is done, and why.
    pub why: String,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// The data of a TLSA record for its key: usage, selector and matching type, and the SHA-256 of its public half.
    pub tlsa: Option<String>,
    /// The same for the key that a roll-over will change to.
    pub next_tlsa: Option<String>,
}

/// How a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is served, and valid.
    InForce,
    /// It is served, and no longer valid.
    Expired,
    /// There is none yet.
    Missing,
}

/// Puts together what is known of all certificates: those that are `loaded`, and what the keepers `report`.
#[must_use]
pub fn certificates(loaded: Vec<Overview>, reports: &[Report], now: SystemTime) -> Vec<Certificate> {
    let missing = reports.iter().filter(|report| !loaded.iter().any(|one| is_about(report, one))).map(wanted);
    let mut missing: Vec<_> = missing.collect();
    let there = loaded.into_iter().map(|one| {
        let report = reports.iter().find(|report| is_about(report, &one));
        known(one, report, now)
    });
    let mut all: Vec<_> = there.collect();
    all.append(&mut missing);
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// As [`certificates`], while mailward does not run: a self-signed one that was loaded may be one that is yet to be made.
#[must_use]
pub fn certificates_at_rest(loaded: Vec<Overview>, reports: &[Report], now: SystemTime) -> Vec<Certificate> {
    let (there, unmade): (Vec<_>, Vec<_>) =
        loaded.into_iter().partition(|one| one.file.as_ref().is_none_or(|file| file.exists()));
    let mut all = certificates(there, reports, now);
    all.extend(unmade.into_iter().map(|one| Certificate {
        state: State::Missing,
        issuer: None,
        not_after: None,
        why: "made when mailward starts".to_owned(),
        tlsa: None,
        ..known(one, None, now)
    }));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn is_about(report: &Report, loaded: &Overview) -> bool {
    loaded.table.strip_prefix("acme.") == Some(&report.id) && key_type(loaded.file.as_deref()) == Some(&report.key_type)
}

/// A file of a cache is named after the kind of its key.
fn key_type(file: Option<&Path>) -> Option<&str> {
    file?.file_stem()?.to_str()
}

fn known(loaded: Overview, report: Option<&Report>, now: SystemTime) -> Certificate {
    let kind = key_type(loaded.file.as_deref()).filter(|_| loaded.table.starts_with("acme."));
    let state = if loaded.not_after < now { State::Expired } else { State::InForce };
    let itself = Certificate {
        name: kind.map_or_else(|| loaded.table.clone(), |kind| format!("{}/{kind}", loaded.table)),
        names: loaded.names,
        state,
        issuer: Some(loaded.issuer),
        not_after: Some(seconds(loaded.not_after)),
        why: unkept(loaded.file.as_deref(), kind).to_owned(),
        source: loaded.file,
        next: None,
        last_error: None,
        tlsa: Some(tlsa(&loaded.public_key.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
        next_tlsa: None,
    };
    match report {
        None => itself,
        Some(report) => {
            let wanted = wanted(report);
            Certificate {
                next: wanted.next,
                why: wanted.why,
                last_error: wanted.last_error,
                next_tlsa: wanted.next_tlsa,
                ..itself
            }
        }
    }
}

/// What becomes of a certificate that no keeper keeps.
fn unkept(file: Option<&Path>, kind: Option<&str>) -> &'static str {
    match (file, kind) {
        (_, Some(_)) => "nothing: it stands in until what is asked for now is there",
        (Some(_), None) => "read anew when the file changes",
        (None, None) => "read anew at a reload",
    }
}

fn wanted(report: &Report) -> Certificate {
    Certificate {
        name: format!("acme.{}/{}", report.id, report.key_type),
        names: report.domains.clone(),
        state: State::Missing,
        issuer: None,
        not_after: None,
        source: None,
        next: report.next,
        why: report.why.clone(),
        last_error: report.last_error.clone(),
        tlsa: None,
        next_tlsa: report.next_key.as_deref().map(tlsa),
    }
}

/// RFC 6698 §2.1: the end entity's certificate (3), its public key (1), as a SHA-256 (1).
fn tlsa(digest: &str) -> String {
    format!("3 1 1 {digest}")
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::KeyKind;
    use std::time::Duration;

    fn loaded(table: &str, file: Option<&str>) -> Overview {
        Overview {
            table: table.to_owned(),
            file: file.map(PathBuf::from),
            names: vec!["mail.example.org".to_owned()],
            issuer: "CN=root".to_owned(),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(1000),
            kind: KeyKind::Ecdsa,
            public_key: [0xab; 32],
        }
    }

    fn report(id: &str, key_type: &str) -> Report {
        Report {
            id: id.to_owned(),
            key_type: key_type.to_owned(),
            domains: vec!["mx.example.org".to_owned()],
            next: Some(500),
            why: "renewal".to_owned(),
            last_error: Some("no".to_owned()),
            next_key: Some("cd".to_owned()),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_loaded_meets_what_is_said_of_its_table_and_kind_of_key() {
        let all = vec![
            loaded("acme.main", Some("/cache/main/ecdsa-p256.pem")),
            loaded("certificate.main", Some("/certs/ecdsa-p256.pem")),
        ];
        let reports = [report("main", "ecdsa-p256"), report("main", "rsa-2048"), report("other", "ecdsa-p256")];
        let all = certificates(all, &reports, at(999));
        let names: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.state)).collect();
        let expected = [
            ("acme.main/ecdsa-p256", State::InForce),
            ("acme.main/rsa-2048", State::Missing),
            ("acme.other/ecdsa-p256", State::Missing),
            ("certificate.main", State::InForce),
        ];
        assert_eq!(names, expected);
        let kept = &all[0];
        assert_eq!((kept.next, kept.why.as_str(), kept.last_error.as_deref()), (Some(500), "renewal", Some("no")));
        assert_eq!((kept.names[0].as_str(), kept.not_after), ("mail.example.org", Some(1000)));
        assert_eq!(kept.tlsa.as_deref(), Some(format!("3 1 1 {}", "ab".repeat(32)).as_str()));
        assert_eq!(kept.next_tlsa.as_deref(), Some("3 1 1 cd"));
        assert_eq!((all[3].next, all[3].why.as_str()), (None, "read anew when the file changes"));
        assert_eq!((all[1].names[0].as_str(), &all[1].tlsa), ("mx.example.org", &None));
    }

    #[test]
    fn one_of_a_kind_that_is_no_longer_asked_for_stands_in() {
        let all = vec![loaded("acme.main", Some("/cache/main/rsa-2048.pem")), loaded("certificate.inline", None)];
        let all = certificates(all, &[report("main", "ecdsa-p256")], at(1001));
        let said: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.state, one.why.as_str())).collect();
        let expected = [
            ("acme.main/ecdsa-p256", State::Missing, "renewal"),
            ("acme.main/rsa-2048", State::Expired, "nothing: it stands in until what is asked for now is there"),
            ("certificate.inline", State::Expired, "read anew at a reload"),
        ];
        assert_eq!(said, expected);
    }
}
