//! From `[certificate.<id>]` to [`Certificates`], at start, at a reload, and whenever a file changes in between.
//!
//! Start and reload want every certificate to load. A change of files in between swaps what loads, pair by pair,
//! and keeps the old one where a pair does not fit (yet).

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Certificates, KeyKind, Loaded, certificate, self_signed};
use crate::config::{self, CertificateSource, Problems};

/// A file as it was seen, so that a change can be noticed: time, length and inode. Renewals replace files by
/// renaming or by switching a symbolic link, which all three of these follow.
type Stamp = Option<(i64, i64, u64, u64)>;

/// One certificate of a source: the table's id, and the file for a directory's.
type Pair = (String, Option<PathBuf>);

/// What became of each certificate of a source.
type Outcomes = Vec<(Pair, Result<Loaded, String>)>;

/// The configured certificates with what was last read of them.
#[derive(Debug)]
pub struct Sources {
    configured: Vec<config::Certificate>,
    base: PathBuf,
    loaded: BTreeMap<Pair, Loaded>,
    stamps: Vec<(PathBuf, Stamp)>,
}

/// What a change of files came to.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// Certificates read anew, by the names they stand for.
    pub renewed: Vec<String>,
    /// What could not be used; the old one stays.
    pub refused: Vec<String>,
}

impl Sources {
    /// Reads every certificate; what is wrong goes to `problems`. With `keep` false nothing is written (a
    /// self-signed certificate is made in memory).
    #[must_use]
    pub fn read(config: &config::Config, keep: bool, problems: &mut Problems) -> Self {
        let base = config.path.parent().unwrap_or(Path::new("")).to_owned();
        let configured: Vec<_> = config.certificates.values().cloned().collect();
        let stamps = stamps(&configured);
        let mut sources = Self { configured, base, loaded: BTreeMap::new(), stamps };
        for table in &sources.configured {
            match read_table(table, &sources.base, keep) {
                Ok(all) => all.into_iter().for_each(|(pair, outcome)| {
                    sources.loaded.extend(accept(table, pair, outcome, problems));
                }),
                Err(what) => problems.error(&table.at, &key_of(table), what, ""),
            }
        }
        sources.check_defaults(problems);
        sources
    }

    /// What handshakes choose from.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        let alone = self.loaded.len() == 1;
        Certificates::new(self.loaded.iter().map(|((id, _), loaded)| (loaded.clone(), alone || self.is_default(id))))
    }

    /// Reads anew what changed since the last look. `None`: nothing did.
    pub fn refresh(&mut self) -> Option<Refreshed> {
        let stamps = stamps(&self.configured);
        if stamps == self.stamps && !self.self_signed_ends() {
            return None;
        }
        self.stamps = stamps;
        let mut refreshed = Refreshed::default();
        let mut old = std::mem::take(&mut self.loaded);
        for table in &self.configured {
            match read_table(table, &self.base, true) {
                Ok(all) => all.into_iter().for_each(|(pair, outcome)| {
                    let old = old.remove(&pair);
                    self.loaded.extend(choose(pair, old, outcome, &mut refreshed));
                }),
                // A directory that is just being replaced: what was in it stays.
                Err(what) => {
                    self.loaded.extend(old.extract_if(.., |(id, _), _| *id == table.id));
                    refreshed.refused.push(format!("{}: {what}", key_of(table)));
                }
            }
        }
        Some(refreshed)
    }

    fn is_default(&self, id: &str) -> bool {
        self.configured.iter().any(|table| table.id == id && table.default)
    }

    fn self_signed_ends(&self) -> bool {
        let soon = SystemTime::now() + self_signed::RENEW_BEFORE;
        self.configured
            .iter()
            .filter(|table| matches!(table.source, CertificateSource::SelfSigned(_)))
            .any(|table| self.loaded.get(&(table.id.clone(), None)).is_some_and(|loaded| loaded.not_after <= soon))
    }

    fn check_defaults(&self, problems: &mut Problems) {
        let mut seen: BTreeMap<KeyKind, String> = BTreeMap::new();
        let mut any = self.loaded.len() <= 1;
        for ((id, file), loaded) in self.loaded.iter().filter(|((id, _), _)| self.is_default(id)) {
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

fn accept(
    table: &config::Certificate,
    pair: Pair,
    outcome: Result<Loaded, String>,
    problems: &mut Problems,
) -> Option<(Pair, Loaded)> {
    let key = key_of(table);
    match outcome {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                problems.warning(&table.at, &key, of_file(&pair, warning), "");
            }
            Some((pair, loaded))
        }
        Err(what) => {
            problems.error(&table.at, &key, of_file(&pair, &what), "");
            None
        }
    }
}

fn key_of(table: &config::Certificate) -> String {
    format!("certificate.{}", table.id)
}

fn of_file((_, file): &Pair, what: &str) -> String {
    file.as_ref().map_or_else(|| what.to_owned(), |file| format!("{}: {what}", file.display()))
}

fn choose(
    pair: Pair,
    old: Option<Loaded>,
    outcome: Result<Loaded, String>,
    refreshed: &mut Refreshed,
) -> Option<(Pair, Loaded)> {
    match outcome {
        Ok(loaded) => {
            if old.is_none_or(|old| old.key.cert != loaded.key.cert) {
                refreshed.renewed.extend(loaded.names.first().cloned());
            }
            Some((pair, loaded))
        }
        Err(what) => {
            refreshed.refused.push(format!("certificate.{}: {}", pair.0, of_file(&pair, &what)));
            old.map(|old| (pair, old))
        }
    }
}

/// Every certificate of one table, or why each cannot be had.
///
/// # Errors
/// Why there is not even a list of them.
fn read_table(table: &config::Certificate, base: &Path, keep: bool) -> Result<Outcomes, String> {
    let alone = |outcome| Ok(vec![((table.id.clone(), None), outcome)]);
    match &table.source {
        CertificateSource::Pair { cert, private_key } => alone(read_texts(cert, private_key)),
        CertificateSource::SelfSigned(names) => {
            let outcome = self_signed::load_or_make(base, &table.id, names, keep);
            alone(outcome.map_err(|error| format!("the self-signed certificate cannot be kept: {error}")))
        }
        CertificateSource::Directory(folder) => read_directory(&table.id, folder),
    }
}

/// A pair that the configuration holds or names; an error names the files.
fn read_texts(cert: &config::Text, key: &config::Text) -> Result<Loaded, String> {
    let texts = cert.read().and_then(|cert| Ok((cert, key.read()?)));
    let (chain, private) = texts.map_err(|error| error.to_string())?;
    load(&chain, &private).map_err(|what| {
        let files = cert.files().into_iter().chain(key.files());
        let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
        if files.is_empty() { what } else { format!("{}: {what}", files.join(" with ")) }
    })
}

fn read_directory(id: &str, folder: &Path) -> Result<Outcomes, String> {
    let pairs = pairs_below(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if pairs.is_empty() {
        let expected = "expected NAME.crt with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem";
        return Err(format!("{}: no pair found; {expected}", folder.display()));
    }
    let read = |(cert, key): (PathBuf, PathBuf)| {
        let outcome = read_pair(&cert, &key);
        ((id.to_owned(), Some(cert)), outcome)
    };
    Ok(pairs.into_iter().map(read).collect())
}

fn read_pair(cert: &Path, key: &Path) -> Result<Loaded, String> {
    let text = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    load(&text(cert)?, &text(key)?)
}

fn load(cert: &str, key: &str) -> Result<Loaded, String> {
    certificate::load(cert, key, SystemTime::now()).map_err(|error| error.to_string())
}

/// The chain and key files of every pair below a folder, whether or not both files are there.
fn pairs_below(folder: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let (chain, key) = (path.join("fullchain.pem"), path.join("privkey.pem"));
        if path.extension().is_some_and(|extension| extension == "crt") {
            pairs.push((path.clone(), path.with_extension("key")));
        } else if chain.exists() || key.exists() {
            pairs.push((chain, key));
        }
    }
    pairs.sort();
    Ok(pairs)
}

fn stamps(configured: &[config::Certificate]) -> Vec<(PathBuf, Stamp)> {
    let files = configured.iter().flat_map(|table| match &table.source {
        CertificateSource::Pair { cert, private_key } => [cert.files(), private_key.files()].concat(),
        CertificateSource::SelfSigned(_) => Vec::new(),
        CertificateSource::Directory(folder) => {
            let pairs = pairs_below(folder).unwrap_or_default();
            pairs.into_iter().flat_map(|(cert, key)| [cert, key]).collect()
        }
    });
    files.map(|file| (stamp(&file), file)).map(|(stamp, file)| (file, stamp)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}
