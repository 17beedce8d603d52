//! The file: tables of redb, the key, and the version of what is in them.
//!
//! Promises that what is committed is on the disk, whole or not at all; that a file which is none of ours, or broken, is told
//! from one that cannot be reached now; that nobody but its owner reads it.

use std::{
    any::Any,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
    WriteTransaction, backends::FileBackend,
};

use super::secret::Secret;

/// What all tables of a file are: the rows are JSON.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A row as it is in the file: its key, and it.
pub(super) type Written = (Vec<u8>, Vec<u8>);

/// The version of what is in the file, and its key.
const ABOUT: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("about");

/// Counted up when rows are written in a way that this code would not understand.
const VERSION: &[u8] = b"1";

/// All rows are in memory: what redb keeps there serves one commit.
const CACHE: usize = 1 << 20;

/// Why a file is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Another process has it.
    #[error("another process has it")]
    Taken,
    /// It will never be of use.
    #[error("{0}")]
    Broken(String),
    /// It may be some other time: a full disk, rights that are missing.
    #[error("{0}")]
    Unreachable(String),
}

/// An open file, which no other process has.
pub(super) struct File(Database);

impl File {
    /// Opens the file at `path`, or makes it. A new one gets `secret`; says also which an old one has.
    pub(super) fn open(path: &Path, secret: &Secret) -> Result<(Self, Option<Secret>), Unusable> {
        guarded(|| {
            if let Some(folder) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            let mut builder = Builder::new();
            // Of a page that was damaged redb would otherwise make what it can.
            let builder = builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
            let file = Self(builder.create_with_backend(FileBackend::new(file)?)?);
            let before = file.secret()?;
            if before.is_none() {
                file.write(|batch| batch.about(secret))?;
            }
            Ok((file, before))
        })
    }

    fn secret(&self) -> Result<Option<Secret>, Unusable> {
        let reading = self.0.begin_read().map_err(redb::Error::from)?;
        let about = match reading.open_table(ABOUT) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            about => about.map_err(redb::Error::from)?,
        };
        let get =
            |key| about.get(key).map_err(redb::Error::from).map(|value| value.map(|value| value.value().to_vec()));
        match (get("version")?, get("key")?.as_deref().and_then(Secret::of)) {
            (Some(version), Some(secret)) if version == VERSION => Ok(Some(secret)),
            (Some(version), _) if version != VERSION => {
                let version = String::from_utf8_lossy(&version).into_owned();
                Err(Unusable::Broken(format!("another mailward has written it, in version {version:?}")))
            }
            _ => Err(Unusable::Broken("it has no key".to_owned())),
        }
    }

    /// All rows of a table.
    pub(super) fn rows(&self, table: Definition) -> Result<Vec<Written>, Unusable> {
        guarded(|| {
            let reading = self.0.begin_read().map_err(redb::Error::from)?;
            let table = match reading.open_table(table) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table.map_err(redb::Error::from)?,
            };
            let rows = table.iter().map_err(redb::Error::from)?;
            rows.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
                .collect::<Result<_, _>>()
                .map_err(|error| redb::Error::from(error).into())
        })
    }

    /// Writes what `fill` puts into a batch: all of it is on the disk when this returns, or nothing is.
    pub(super) fn write(&self, fill: impl FnOnce(&mut Batch) -> Result<(), Unusable>) -> Result<(), Unusable> {
        guarded(|| {
            let mut batch = Batch(self.0.begin_write().map_err(redb::Error::from)?);
            fill(&mut batch)?;
            Ok(batch.0.commit().map_err(redb::Error::from)?)
        })
    }

    /// Lets go of the file.
    pub(super) fn close(self) -> Result<(), Unusable> {
        guarded(|| Ok(self.0.close()?))
    }
}

/// What is written at once.
pub(super) struct Batch(WriteTransaction);

impl Batch {
    /// Forgets what a table has.
    pub(super) fn clear(&mut self, table: Definition) -> Result<(), Unusable> {
        self.0.delete_table(table).map_err(redb::Error::from)?;
        Ok(())
    }

    /// Puts a row in place, or takes it away.
    pub(super) fn put<'k>(
        &mut self,
        table: Definition,
        rows: impl Iterator<Item = (&'k Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), Unusable> {
        let mut table = self.0.open_table(table).map_err(redb::Error::from)?;
        for (key, row) in rows {
            match row {
                Some(row) => table.insert(key.as_slice(), row.as_slice()).map(drop),
                None => table.remove(key.as_slice()).map(drop),
            }
            .map_err(redb::Error::from)?;
        }
        Ok(())
    }

    fn about(&mut self, secret: &Secret) -> Result<(), Unusable> {
        let mut about = self.0.open_table(ABOUT).map_err(redb::Error::from)?;
        about.insert("version", VERSION).map_err(redb::Error::from)?;
        about.insert("key", secret.bytes()).map_err(redb::Error::from)?;
        Ok(())
    }
}

/// Puts a file that is of no use out of the way, in place of the one before it; says where.
pub(super) fn set_aside(path: &Path) -> io::Result<std::path::PathBuf> {
    let aside = path.with_extension("broken");
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Where redb does not understand its own file, it may panic.
fn guarded<T>(act: impl FnOnce() -> Result<T, Unusable>) -> Result<T, Unusable> {
    let panicked = |panic: Box<dyn Any + Send>| {
        Err(Unusable::Broken(format!("reading or writing it has failed: {}", words(&*panic))))
    };
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(panicked)
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

impl From<DatabaseError> for Unusable {
    fn from(error: DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::Error> for Unusable {
    fn from(error: redb::Error) -> Self {
        use redb::Error as E;
        match error {
            E::DatabaseAlreadyOpen | E::LockProtocolMismatch => Self::Taken,
            E::Io(error) => error.into(),
            // Of a format of another time, or with tables of another program.
            E::Corrupted(_)
            | E::RepairAborted
            | E::UpgradeRequired(_)
            | E::UnorderedKey
            | E::TableIsMultimap(_)
            | E::TableIsNotMultimap(_)
            | E::TableTypeMismatch { .. }
            | E::TypeDefinitionChanged { .. } => Self::Broken(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Broken(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<StorageError> for Unusable {
    fn from(error: StorageError) -> Self {
        redb::Error::from(error).into()
    }
}
