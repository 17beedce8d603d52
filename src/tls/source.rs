//! From `[certificate.<id>]` to [`Certificates`], at start, at a reload, and whenever a file changes in between.
//!
//! Start and reload want every certificate to load. A change of files in between is read pair by pair, those that
//! changed alone, and the old one is kept where a pair does not fit (yet). What comes of it is then held against the
//! rules of the start, and comes into force as a whole or not at all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Certificates, KeyKind, Loaded, certificate, file,
    listing::{Entries, Listing, key_of, list},
    self_signed,
};
use crate::config::{self, CertificateSource, Problems};

/// How long after making a self-signed certificate anew it is tried again, should that have failed.
const RETRY_AFTER: Duration = Duration::from_secs(3600);

/// One certificate of a source: the table's id, and the chain's file for a directory's.
type Pair = (String, Option<PathBuf>);

/// Certificates that could be read.
type Read = BTreeMap<Pair, Arc<Loaded>>;

/// The configured certificates with what was last read of them.
#[derive(Debug)]
pub struct Sources {
    configured: Arc<[config::Certificate]>,
    base: Arc<Path>,
    /// What the last look saw, in the order of `configured`.
    listing: Listing,
    /// The newest of each pair that can be used. Together they may not be fit to come into force.
    read: Read,
    /// Those that were together fit for it.
    in_force: Read,
    /// When a self-signed certificate was last made anew, or could not be.
    renewed: Option<SystemTime>,
}

/// What a look at changed files came to.
#[derive(Debug)]
pub struct Looked {
    /// What could not be used; the old one stays.
    pub refused: Vec<String>,
    /// What is to come into force, or why nothing can.
    pub renewed: Result<Renewed, Problems>,
}

/// What is to come into force.
#[derive(Debug)]
pub struct Renewed {
    /// All that handshakes choose from.
    pub certificates: Certificates,
    /// Those that are new, by the first name that each stands for.
    pub names: Vec<String>,
}

impl Sources {
    /// Reads every certificate; what is wrong goes to `problems`. With `keep` false nothing is written (a
    /// self-signed certificate is made in memory).
    #[must_use]
    pub fn read(config: &config::Config, keep: bool, problems: &mut Problems) -> Self {
        let base = config.path.parent().unwrap_or(Path::new(""));
        let configured: Arc<[_]> = config.certificates.values().cloned().collect();
        // Seen before they are read: a change in between is seen by the next look.
        let listing = list(&configured);
        let mut read = Read::new();
        for (table, entries) in configured.iter().zip(&listing) {
            match entries {
                Ok(entries) => read.extend(read_table(table, entries, base, keep, problems)),
                Err(what) => problems.error(&table.at, &key_name(table), what, ""),
            }
        }
        let sources = Self { base: base.into(), listing, in_force: read.clone(), read, configured, renewed: None };
        sources.check_defaults(problems);
        sources
    }

    /// What handshakes choose from.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        let alone = self.read.len() == 1;
        let all = self.read.iter();
        Certificates::new(all.map(|((id, _), loaded)| (Loaded::clone(loaded), alone || self.is_default(id))))
    }

    /// Reads anew what changed since the last look, and makes anew what is self-signed and nears its end. `check`
    /// adds what else must hold of certificates that come into force. `None`: nothing has changed; else the sources
    /// to look from the next time, too.
    #[must_use]
    pub fn look(&self, now: SystemTime, check: impl FnOnce(&Certificates, &mut Problems)) -> Option<(Self, Looked)> {
        let listing = list(&self.configured);
        let renew = self.self_signed_ends(now);
        if listing == self.listing && !renew {
            return None;
        }
        let mut refused = Vec::new();
        let read = self.read_changed(&listing, renew, now, &mut refused);
        let mut sources = Self {
            configured: self.configured.clone(),
            base: self.base.clone(),
            listing,
            read,
            in_force: self.in_force.clone(),
            renewed: if renew { Some(now) } else { self.renewed },
        };
        let renewed = sources.put_in_force(check);
        Some((sources, Looked { refused, renewed }))
    }

    /// All that was read, or nothing where that breaks a rule.
    fn put_in_force(&mut self, check: impl FnOnce(&Certificates, &mut Problems)) -> Result<Renewed, Problems> {
        let mut problems = Problems::default();
        let certificates = self.certificates();
        self.check_defaults(&mut problems);
        check(&certificates, &mut problems);
        if problems.fatal() {
            return Err(problems);
        }
        let names = self.names_of_new();
        self.in_force = self.read.clone();
        Ok(Renewed { certificates, names })
    }

    fn read_changed(&self, listing: &Listing, renew: bool, now: SystemTime, refused: &mut Vec<String>) -> Read {
        let mut all = Read::new();
        for ((table, seen), entries) in self.configured.iter().zip(&self.listing).zip(listing) {
            match entries {
                Ok(entries) => {
                    let seen = seen.as_ref().ok().filter(|_| !(renew && is_self_signed(table)));
                    all.extend(self.read_entries(table, entries, seen, now, refused));
                }
                // A directory that is just being replaced: what was in it stays.
                Err(what) => {
                    let old = self.read.iter().filter(|((id, _), _)| *id == table.id);
                    all.extend(old.map(|(pair, loaded)| (pair.clone(), loaded.clone())));
                    if seen.as_ref().err() != Some(what) {
                        refused.push(format!("{}: {what}", key_name(table)));
                    }
                }
            }
        }
        all
    }

    /// The newest of each pair of a table; those that are as they were `seen` are not read.
    fn read_entries(
        &self,
        table: &config::Certificate,
        entries: &Entries,
        seen: Option<&Entries>,
        now: SystemTime,
        refused: &mut Vec<String>,
    ) -> Read {
        let newest = |(file, stamps): (&Option<PathBuf>, _)| {
            let pair = (table.id.clone(), file.clone());
            let old = self.read.get(&pair).cloned();
            if seen.is_some_and(|seen| seen.get(file) == Some(stamps)) {
                return old.map(|old| (pair, old));
            }
            match read_pair(table, file.as_deref(), &self.base, true, now) {
                Ok(loaded) => Some((pair, Arc::new(loaded))),
                Err(what) => {
                    refused.push(format!("{}: {}", key_name(table), of_file(file.as_deref(), &what)));
                    old.map(|old| (pair, old))
                }
            }
        };
        entries.iter().filter_map(newest).collect()
    }

    /// The first names of what is not in force yet.
    fn names_of_new(&self) -> Vec<String> {
        let old = |pair| self.in_force.get(pair).map(|old| &old.key.cert);
        let new = self.read.iter().filter(|(pair, loaded)| old(*pair) != Some(&loaded.key.cert));
        new.filter_map(|(_, loaded)| loaded.names.first().cloned()).collect()
    }

    fn is_default(&self, id: &str) -> bool {
        self.configured.iter().any(|table| table.id == id && table.default)
    }

    fn self_signed_ends(&self, now: SystemTime) -> bool {
        let soon = now + self_signed::RENEW_BEFORE;
        let ends = |table: &config::Certificate| {
            self.read.get(&(table.id.clone(), None)).is_some_and(|loaded| loaded.not_after <= soon)
        };
        // Where its files cannot be written, each further look would fail too.
        let waits = self.renewed.and_then(|last| now.duration_since(last).ok()).is_some_and(|age| age < RETRY_AFTER);
        !waits && self.configured.iter().any(|table| is_self_signed(table) && ends(table))
    }

    fn check_defaults(&self, problems: &mut Problems) {
        let mut seen: BTreeMap<KeyKind, String> = BTreeMap::new();
        let mut any = self.read.len() <= 1;
        for ((id, file), loaded) in self.read.iter().filter(|((id, _), _)| self.is_default(id)) {
            any = true;
            let name = file.as_ref().map_or_else(|| id.clone(), |file| file.display().to_string());
            if let Some(other) = seen.insert(loaded.kind, name.clone()) {
                let at = self.configured.iter().find(|table| table.id == *id).map(|table| &table.at);
                let what = format!("{other} and {name} are both the default, with keys of the same kind");
                let right = "mark one alone as default (or one with an RSA and one with an ECDSA key)";
                at.inspect(|at| problems.error(at, &format!("certificate.{id}.default"), what, right));
            }
        }
        if let (false, Some(table)) = (any, self.configured.first()) {
            let right = "write default = true in the table of the one that clients without a known name get";
            problems.error(&table.at, "certificate", "there are several certificates and none is the default", right);
        }
    }
}

/// The certificates of one table at start; what is wrong with one, or to be known of it, goes to `problems`.
fn read_table(
    table: &config::Certificate,
    entries: &Entries,
    base: &Path,
    keep: bool,
    problems: &mut Problems,
) -> Read {
    let key = key_name(table);
    let mut all = Read::new();
    for file in entries.keys() {
        match read_pair(table, file.as_deref(), base, keep, SystemTime::now()) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    problems.warning(&table.at, &key, of_file(file.as_deref(), warning), "");
                }
                all.insert((table.id.clone(), file.clone()), Arc::new(loaded));
            }
            Err(what) => problems.error(&table.at, &key, of_file(file.as_deref(), &what), ""),
        }
    }
    all
}

fn is_self_signed(table: &config::Certificate) -> bool {
    matches!(table.source, CertificateSource::SelfSigned(_))
}

fn key_name(table: &config::Certificate) -> String {
    format!("certificate.{}", table.id)
}

fn of_file(file: Option<&Path>, what: &str) -> String {
    file.map_or_else(|| what.to_owned(), |file| format!("{}: {what}", file.display()))
}

/// One certificate of a table, or why it cannot be had; `file` is the chain's, in a directory.
fn read_pair(
    table: &config::Certificate,
    file: Option<&Path>,
    base: &Path,
    keep: bool,
    now: SystemTime,
) -> Result<Loaded, String> {
    match &table.source {
        CertificateSource::Pair { cert, private_key } => read_texts(cert, private_key, now),
        CertificateSource::SelfSigned(names) => self_signed::load_or_make(base, &table.id, names, keep, now)
            .map_err(|error| format!("the self-signed certificate cannot be kept: {error}")),
        CertificateSource::Directory(folder) => read_files(file.unwrap_or(folder), now),
    }
}

/// A pair that the configuration holds or names; an error names the files.
fn read_texts(cert: &config::Text, key: &config::Text, now: SystemTime) -> Result<Loaded, String> {
    let texts = cert.read().and_then(|cert| Ok((cert, key.read()?)));
    let (chain, private) = texts.map_err(|error| error.to_string())?;
    certificate::load(&chain, &private, now).map_err(|what| {
        let files = cert.files().into_iter().chain(key.files());
        let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
        if files.is_empty() { what.to_string() } else { format!("{}: {what}", files.join(" with ")) }
    })
}

/// A pair in a directory; an error names the key's file where it is the key's.
fn read_files(chain: &Path, now: SystemTime) -> Result<Loaded, String> {
    let key = key_of(chain);
    let text = file::read(chain).map_err(|error| error.to_string())?;
    let private = file::read(&key).map_err(|error| format!("{}: {error}", key.display()))?;
    certificate::load(&text, &private, now).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
