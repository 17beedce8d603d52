//! From the tables of the configuration to [`Certificates`], at start, at a reload, and whenever a file changes in
//! between.
//!
//! Start and reload want every certificate to load that the operator names; one that was issued may be missing, or
//! broken, until the next one is there. A change of files in between is read pair by pair, those that changed alone, and
//! the old one is kept where a pair does not fit (yet). What comes of it is then held against the rules of the start, and
//! comes into force as a whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Certificates, KeyKind, Loaded, Overview,
    listing::{Entries, Listing, list},
    self_signed,
    table::Table,
};
use crate::config::{self, Problems};

/// How long after making a self-signed certificate anew it is tried again, should that have failed.
const RETRY_AFTER: Duration = Duration::from_secs(3600);

/// One certificate of a source: the table's key, and the chain's file where there may be several.
type Pair = (String, Option<PathBuf>);

/// Certificates that could be read.
type Read = BTreeMap<Pair, Arc<Loaded>>;

/// The configured certificates with what was last read of them.
#[derive(Debug)]
pub struct Sources {
    tables: Arc<[Table]>,
    base: Arc<Path>,
    /// What the last look saw, in the order of `tables`.
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
    /// What could not be used, and what stands in for it.
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
        let tables: Arc<[_]> = Table::all(config).into();
        // Seen before they are read: a change in between is seen by the next look.
        let listing = list(&tables);
        let mut read = Read::new();
        for (table, entries) in tables.iter().zip(&listing) {
            match entries {
                Ok(entries) => read.extend(read_table(table, entries, base, keep, problems)),
                Err(what) => cannot_use(table, what, problems),
            }
        }
        let sources = Self { base: base.into(), listing, in_force: read.clone(), read, tables, renewed: None };
        sources.check_defaults(problems);
        sources
    }

    /// What handshakes choose from. While the one that is marked as the default is not issued yet, all others stand in
    /// for it, as does one that is alone.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        let stand_in = !self.read.keys().any(|(table, _)| self.is_default(table));
        let all = self.read.iter();
        Certificates::new(all.map(|((table, _), loaded)| (Loaded::clone(loaded), stand_in || self.is_default(table))))
    }

    /// The certificates in force, for the operator.
    #[must_use]
    pub fn overview(&self) -> Vec<Overview> {
        let one = |((key, file), loaded): (&Pair, &Arc<Loaded>)| Overview {
            file: self.table(key).and_then(|table| table.file(file.as_deref(), &self.base)),
            table: key.clone(),
            names: loaded.names.clone(),
            issuer: loaded.issuer.clone(),
            not_after: loaded.not_after,
            kind: loaded.kind,
            public_key: loaded.public_key,
        };
        self.in_force.iter().map(one).collect()
    }

    /// Reads anew what changed since the last look, and makes anew what is self-signed and nears its end. `check`
    /// adds what else must hold of certificates that come into force. `None`: nothing has changed; else the sources
    /// to look from the next time, too.
    #[must_use]
    pub fn look(&self, now: SystemTime, check: impl FnOnce(&Certificates, &mut Problems)) -> Option<(Self, Looked)> {
        let listing = list(&self.tables);
        let renew = self.self_signed_ends(now);
        if listing == self.listing && !renew {
            return None;
        }
        let mut refused = Vec::new();
        let read = self.read_changed(&listing, renew, now, &mut refused);
        let mut sources = Self {
            tables: self.tables.clone(),
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
        for ((table, seen), entries) in self.tables.iter().zip(&self.listing).zip(listing) {
            match entries {
                Ok(entries) if !entries.is_empty() => {
                    let seen = seen.as_ref().ok().filter(|_| !(renew && table.is_self_signed()));
                    all.extend(self.read_entries(table, entries, seen, now, refused));
                }
                // A directory that is just being replaced, a cache that is gone: what was in it stays.
                Ok(_) => all.extend(self.read_of(table)),
                Err(what) => {
                    let before = all.len();
                    all.extend(self.read_of(table));
                    if seen.as_ref().err() != Some(what) {
                        refused.push(format!("{}: {what}; {}", table.key(), stand_in(table, all.len() > before)));
                    }
                }
            }
        }
        all
    }

    /// The newest of each pair of a table; those that are as they were `seen` are not read.
    fn read_entries(
        &self,
        table: &Table,
        entries: &Entries,
        seen: Option<&Entries>,
        now: SystemTime,
        refused: &mut Vec<String>,
    ) -> Read {
        let newest = |(file, stamps): (&Option<PathBuf>, _)| {
            let pair = (table.key(), file.clone());
            let old = self.read.get(&pair).cloned();
            if seen.is_some_and(|seen| seen.get(file) == Some(stamps)) {
                return old.map(|old| (pair, old));
            }
            match table.read(file.as_deref(), &self.base, true, now) {
                Ok(loaded) => Some((pair, Arc::new(loaded))),
                Err(what) => {
                    let what = of_file(file.as_deref(), &what);
                    refused.push(format!("{}: {what}; {}", pair.0, stand_in(table, old.is_some())));
                    old.map(|old| (pair, old))
                }
            }
        };
        entries.iter().filter_map(newest).collect()
    }

    /// What was last read of a table.
    fn read_of(&self, table: &Table) -> Read {
        let key = table.key();
        let own = self.read.iter().filter(|((table, _), _)| *table == key);
        own.map(|(pair, loaded)| (pair.clone(), loaded.clone())).collect()
    }

    /// The first names of what is not in force yet.
    fn names_of_new(&self) -> Vec<String> {
        let old = |pair| self.in_force.get(pair).map(|old| &old.key.cert);
        let new = self.read.iter().filter(|(pair, loaded)| old(*pair) != Some(&loaded.key.cert));
        new.filter_map(|(_, loaded)| loaded.names.first().cloned()).collect()
    }

    fn table(&self, key: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.key() == key)
    }

    fn is_default(&self, key: &str) -> bool {
        self.table(key).is_some_and(Table::is_default)
    }

    fn self_signed_ends(&self, now: SystemTime) -> bool {
        let soon = now + self_signed::RENEW_BEFORE;
        let ends = |table: &Table| self.read.get(&(table.key(), None)).is_some_and(|loaded| loaded.not_after <= soon);
        // Where its files cannot be written, each further look would fail too.
        let waits = self.renewed.and_then(|last| now.duration_since(last).ok()).is_some_and(|age| age < RETRY_AFTER);
        !waits && self.tables.iter().any(|table| table.is_self_signed() && ends(table))
    }

    fn check_defaults(&self, problems: &mut Problems) {
        let mut seen: BTreeMap<KeyKind, String> = BTreeMap::new();
        for table in self.tables.iter().filter(|table| table.is_default()) {
            for (kind, name) in self.kinds(table) {
                if let Some(other) = seen.insert(kind, name.clone()) {
                    let what = format!("{other} and {name} are both the default, with keys of the same kind");
                    let right = "mark one alone as default (or one with an RSA and one with an ECDSA key)";
                    problems.error(table.at(), &format!("{}.default", table.key()), what, right);
                }
            }
        }
        let decided = self.tables.iter().any(Table::is_default) || self.count() <= 1;
        if let (false, Some(table)) = (decided, self.tables.first()) {
            let right = "write default = true in the table of the one that clients without a known name get";
            problems.error(table.at(), "certificate", "there are several certificates and none is the default", right);
        }
    }

    /// The kinds of key of a table, each with what to call the certificate that has it. Of what is to be issued they are
    /// known beforehand, and of several that are asked for together each is as good a default as the other.
    fn kinds(&self, table: &Table) -> Vec<(KeyKind, String)> {
        match table {
            Table::Issued(acme) => {
                let kinds: BTreeSet<KeyKind> = acme.key_types.iter().copied().map(KeyKind::from).collect();
                kinds.into_iter().map(|kind| (kind, table.key())).collect()
            }
            Table::Given(_) => {
                let name = |file: Option<PathBuf>| file.map_or_else(|| table.key(), |file| file.display().to_string());
                self.read_of(table).into_iter().map(|((_, file), loaded)| (loaded.kind, name(file))).collect()
            }
        }
    }

    /// How many certificates there are, or will be: one for each table that is issued.
    fn count(&self) -> usize {
        let count = |table: &Table| if matches!(table, Table::Issued(_)) { 1 } else { self.read_of(table).len() };
        self.tables.iter().map(count).sum()
    }
}

/// The certificates of one table at start; what is wrong with one, or to be known of it, goes to `problems`.
fn read_table(table: &Table, entries: &Entries, base: &Path, keep: bool, problems: &mut Problems) -> Read {
    let mut all = Read::new();
    for file in entries.keys() {
        match table.read(file.as_deref(), base, keep, SystemTime::now()) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    problems.warning(table.at(), &table.key(), of_file(file.as_deref(), warning), "");
                }
                all.insert((table.key(), file.clone()), Arc::new(loaded));
            }
            Err(what) => cannot_use(table, &of_file(file.as_deref(), &what), problems),
        }
    }
    all
}

/// At start: what the operator names must load, and what is issued can be issued anew.
fn cannot_use(table: &Table, what: &str, problems: &mut Problems) {
    match table {
        Table::Given(_) => problems.error(table.at(), &table.key(), what, ""),
        Table::Issued(_) => problems.warning(table.at(), &table.key(), what, stand_in(table, false)),
    }
}

/// What is served in place of something that cannot be used, where there is an `old` one or not.
const fn stand_in(table: &Table, old: bool) -> &'static str {
    match table {
        _ if old => "the one before it stays in force",
        Table::Given(_) => "it is not used",
        Table::Issued(_) => "it is not used, and a new one will be asked for",
    }
}

fn of_file(file: Option<&Path>, what: &str) -> String {
    file.map_or_else(|| what.to_owned(), |file| format!("{}: {what}", file.display()))
}

#[cfg(test)]
mod tests;
