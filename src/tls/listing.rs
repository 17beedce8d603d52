//! What a look at the certificate files sees without reading them: which pairs there are, and a stamp of each file.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::table::Table;
use crate::config::{Acme, CertificateSource, KeyType};

/// A file as it was seen, so that a change can be noticed: the time of its last change (of its mode too: one that
/// could not be read may be now), length and inode. Renewals replace files by renaming or by switching a symbolic
/// link, which these follow.
pub(super) type Stamp = (i64, i64, u64, u64);

/// The pairs of one table with the stamps of their files: those of a directory and of a cache by the chain's file, else
/// the only one. A file that is not there has no stamp.
pub(super) type Entries = BTreeMap<Option<PathBuf>, Vec<Option<Stamp>>>;

/// For each table in turn its pairs, or why there is not even a list of them.
pub(super) type Listing = Vec<Result<Entries, String>>;

/// Lists the pairs of every table.
pub(super) fn list(tables: &[Table]) -> Listing {
    let list = |table: &Table| match table {
        Table::Given(table) => list_given(&table.source),
        Table::Issued(table) => list_issued(table),
    };
    tables.iter().map(list).collect()
}

fn list_given(source: &CertificateSource) -> Result<Entries, String> {
    match source {
        CertificateSource::Pair { cert, private_key } => {
            let files = cert.files().into_iter().chain(private_key.files());
            Ok(Entries::from([(None, files.map(|file| stamp(&file)).collect())]))
        }
        CertificateSource::SelfSigned(_) => Ok(Entries::from([(None, Vec::new())])),
        CertificateSource::Directory(folder) => {
            let chains = chains_below(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            if chains.is_empty() {
                let expected = "expected NAME.crt with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem";
                return Err(format!("{}: no pair found; {expected}", folder.display()));
            }
            let entry = |chain: PathBuf| {
                let stamps = vec![stamp(&chain), stamp(&key_of(&chain))];
                (Some(chain), stamps)
            };
            Ok(chains.into_iter().map(entry).collect())
        }
    }
}

/// What was issued so far, which may be nothing. Where the kinds of key that are asked for have just been changed, those
/// that were asked for before stand in.
fn list_issued(table: &Acme) -> Result<Entries, String> {
    let asked_for = list_kinds(table, &table.key_types)?;
    if asked_for.is_empty() { list_kinds(table, &KeyType::ALL) } else { Ok(asked_for) }
}

fn list_kinds(table: &Acme, kinds: &[KeyType]) -> Result<Entries, String> {
    let mut entries = Entries::new();
    for file in kinds.iter().map(|kind| table.file(*kind)) {
        match fs::metadata(&file) {
            Ok(metadata) => drop(entries.insert(Some(file), vec![Some(stamp_of(&metadata))])),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", file.display())),
        }
    }
    Ok(entries)
}

/// The key's file of a pair in a directory, given the chain's.
pub(super) fn key_of(chain: &Path) -> PathBuf {
    if chain.extension().is_some_and(|extension| extension == "crt") {
        chain.with_extension("key")
    } else {
        chain.with_file_name("privkey.pem")
    }
}

/// The chain's file of every pair below a folder; one of the two files makes a pair, the other may be missing.
fn chains_below(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut chains = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if matches!(path.extension().and_then(OsStr::to_str), Some("crt" | "key")) {
            chains.insert(path.with_extension("crt"));
        // Symbolic links may lead to folders. A plain file is none, and needs no further look.
        } else if entry.file_type().is_ok_and(|kind| !kind.is_file()) {
            let chain = path.join("fullchain.pem");
            chains.extend((chain.exists() || key_of(&chain).exists()).then_some(chain));
        }
    }
    Ok(chains)
}

fn stamp(file: &Path) -> Option<Stamp> {
    fs::metadata(file).ok().as_ref().map(stamp_of)
}

fn stamp_of(metadata: &Metadata) -> Stamp {
    (metadata.ctime(), metadata.ctime_nsec(), metadata.len(), metadata.ino())
}
