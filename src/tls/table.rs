//! A table that certificates come from: one that the operator names, or one that an authority issues.
//!
//! What the operator names must load. What is issued may not be there yet, and what cannot be used of it is replaced
//! by the next one that is issued, so that it is no reason not to start.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::SignatureScheme;

use super::{Loaded, certificate, file, listing::key_of, self_signed};
use crate::config::{self, Acme, CertificateSource, Config, KeyType, Position};

/// One table.
#[derive(Clone, Debug)]
pub(super) enum Table {
    /// `[certificate.<id>]`.
    Given(config::Certificate),
    /// `[acme.<id>]`: the files of its cache.
    Issued(Box<Acme>),
}

impl Table {
    /// Every table of a configuration.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let given = config.certificates.values().cloned().map(Self::Given);
        given.chain(config.acme.values().cloned().map(|table| Self::Issued(Box::new(table)))).collect()
    }

    /// `certificate.<id>` or `acme.<id>`: the two kinds may share an id.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Given(table) => format!("certificate.{}", table.id),
            Self::Issued(table) => format!("acme.{}", table.id),
        }
    }

    /// Where it stands in the file.
    pub(super) fn at(&self) -> &Position {
        match self {
            Self::Given(table) => &table.at,
            Self::Issued(table) => &table.at,
        }
    }

    /// `default`.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Given(table) => table.default,
            Self::Issued(table) => table.default,
        }
    }

    /// Whether mailward makes the certificate itself.
    pub(super) fn is_self_signed(&self) -> bool {
        matches!(self, Self::Given(table) if matches!(table.source, CertificateSource::SelfSigned(_)))
    }

    /// One of its certificates, or why it cannot be had. `file` is the chain's where there may be several; with `keep`
    /// false nothing is written.
    pub(super) fn read(&self, file: Option<&Path>, base: &Path, keep: bool, now: SystemTime) -> Result<Loaded, String> {
        match (self, file) {
            (Self::Given(table), _) => match &table.source {
                CertificateSource::Pair { cert, private_key } => read_texts(cert, private_key, now),
                CertificateSource::SelfSigned(names) => self_signed::load_or_make(base, &table.id, names, keep, now)
                    .map_err(|error| format!("the self-signed certificate cannot be kept: {error}")),
                CertificateSource::Directory(folder) => read_files(file.unwrap_or(folder), now),
            },
            (Self::Issued(table), file) => read_issued(table, file.unwrap_or(&table.cache), now),
        }
    }

    /// The file that a certificate of this table is in, for the operator; `None` where it stands in the configuration.
    pub(super) fn file(&self, file: Option<&Path>, base: &Path) -> Option<PathBuf> {
        match self {
            Self::Given(config::Certificate { source: CertificateSource::Pair { cert, .. }, .. }) => {
                cert.files().into_iter().next()
            }
            Self::Given(table) if self.is_self_signed() => Some(self_signed::files(base, &table.id).0),
            _ => file.map(Path::to_owned),
        }
    }
}

/// A pair that the configuration holds or names; an error names the files.
pub(super) fn read_texts(cert: &config::Text, key: &config::Text, now: SystemTime) -> Result<Loaded, String> {
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

/// Key and chain in one file of a cache. What others could have read, or written, is not trusted, nor is a key of
/// another kind than the file's name says.
fn read_issued(table: &Acme, file: &Path, now: SystemTime) -> Result<Loaded, String> {
    let text = file::read_private(file).map_err(|error| error.to_string())?;
    let loaded = certificate::load(&text, &text, now).map_err(|error| error.to_string())?;
    let named = KeyType::ALL.into_iter().find(|key_type| table.file(*key_type) == file);
    match named.filter(|key_type| loaded.key.key.choose_scheme(&[scheme(*key_type)]).is_none()) {
        Some(key_type) => Err(format!("its key is not of the kind {key_type}")),
        None => Ok(loaded),
    }
}

/// A signature that only keys of this kind can make.
const fn scheme(key_type: KeyType) -> SignatureScheme {
    match key_type {
        KeyType::EcdsaP256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        KeyType::EcdsaP384 => SignatureScheme::ECDSA_NISTP384_SHA384,
        KeyType::Rsa2048 => SignatureScheme::RSA_PSS_SHA256,
    }
}
