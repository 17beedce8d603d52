//! What goes between memory and file: the rows of each table, as JSON.

use std::{sync::PoisonError, time::SystemTime};

use super::{
    Memory,
    file::{Batch, Definition, File, Unusable},
    rows::{Answers, believe, newest},
    secret::Secret,
    table::{Due, Key, Row, Table},
};
use crate::policy::{
    history::{Failures, Standing},
    mta_sts::Known,
};

const POLICIES: Definition = Definition::new("policies");
const PAIRS: Definition = Definition::new("pairs");
const DOMAINS: Definition = Definition::new("domains");
const HOSTS: Definition = Definition::new("hosts");
const ANSWERS: Definition = Definition::new("answers");

/// The rows of a file.
struct Found {
    policies: Vec<(Key, Known)>,
    pairs: Vec<(Key, Failures)>,
    domains: Vec<(Key, Standing)>,
    hosts: Vec<(Key, Standing)>,
    answers: Vec<(Key, Answers)>,
}

impl Found {
    fn read(file: &File) -> Result<Self, Unusable> {
        Ok(Self {
            policies: rows(file, POLICIES)?,
            pairs: rows(file, PAIRS)?,
            domains: rows(file, DOMAINS)?,
            hosts: rows(file, HOSTS)?,
            answers: rows(file, ANSWERS)?,
        })
    }
}

impl Memory {
    /// Takes what is in a file that another process has written, with its key, or nothing. Names that were made with another key
    /// are of no use any more: what this process has learnt before, which is little, is forgotten, but for policies.
    pub(super) fn take(&self, file: &File, secret: Secret, now: SystemTime) -> Result<(), Unusable> {
        let found = Found::read(file)?;
        empty(&self.pairs);
        empty(&self.domains);
        empty(&self.hosts);
        empty(&self.answers);
        // From here on names are those of the file, and what comes under them is newer than what is there.
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = secret;
        self.pairs.join(found.pairs, now, |_, here| here);
        self.domains.join(found.domains, now, |_, here| here);
        self.hosts.join(found.hosts, now, |_, here| here);
        self.answers.join(found.answers, now, |_, here| here);
        self.policies.join(found.policies, now, newest);
        self.policies.write_all();
        Ok(())
    }

    /// Writes what the file does not have yet.
    pub(super) fn write(&self, file: &File) -> Result<(), Unusable> {
        let due = [self.policies.due(), self.pairs.due(), self.domains.due(), self.hosts.due(), self.answers.due()];
        if due.iter().all(|due| !due.anew && due.keys.is_empty()) {
            return Ok(());
        }
        let [policies, pairs, domains, hosts, answers] = &due;
        file.write(|batch| {
            write(batch, POLICIES, &self.policies, policies)?;
            write(batch, PAIRS, &self.pairs, pairs)?;
            write(batch, DOMAINS, &self.domains, domains)?;
            write(batch, HOSTS, &self.hosts, hosts)?;
            write(batch, ANSWERS, &self.answers, answers)
        })
    }

    /// The file may have anything.
    pub(super) fn write_all(&self) {
        self.policies.write_all();
        self.pairs.write_all();
        self.domains.write_all();
        self.hosts.write_all();
        self.answers.write_all();
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: SystemTime) {
        self.policies.sweep(now, |known| believe(known, now));
        self.pairs.sweep(now, |_| false);
        self.domains.sweep(now, |_| false);
        self.hosts.sweep(now, |_| false);
        self.answers.sweep(now, |_| false);
    }
}

fn empty<V: Row>(table: &Table<V>) {
    table.clear();
    table.is_written();
}

fn rows<V: Row>(file: &File, table: Definition) -> Result<Vec<(Key, V)>, Unusable> {
    let read = |(key, row): (Key, Vec<u8>)| match serde_json::from_slice(&row) {
        Ok(row) => Ok((key, row)),
        Err(error) => Err(Unusable::Broken(format!("a row cannot be read: {error}"))),
    };
    file.rows(table)?.into_iter().map(read).collect()
}

fn write<V: Row>(batch: &mut Batch, definition: Definition, table: &Table<V>, due: &Due) -> Result<(), Unusable> {
    if due.anew {
        batch.clear(definition)?;
    }
    // A row that cannot be written, for a time before 1970, is none.
    let written = |row: Option<V>| row.and_then(|row| serde_json::to_vec(&row).ok());
    batch.put(definition, table.copies(&due.keys).map(|(key, row)| (key, written(row))))
}
