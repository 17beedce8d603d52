//! What is kept of `[acme.<id>]` between runs: the account, certificates and their keys, and how far things are.
//!
//! Below `cache/<id>/`, a directory that only its owner may enter, with files that only their owner may read:
//!
//! | file | holds |
//! | --- | --- |
//! | `account.json` | the account's key and URL |
//! | `<key-type>.pem` | the certificate in force: its key, then its chain |
//! | `<key-type>.order.pem` | the key that is being certified, from before the order until the certificate is there |
//! | `<key-type>.next.pem` | the key that a roll-over will change to, so that its TLSA record can be published first |
//! | `<key-type>.json` | the order under way, the wait after failures, the authority's window |
//! | `lock` | nothing; whoever is at work holds a lock on it, so that several processes never renew at once |
//!
//! Every file is written whole or not at all. What cannot be read is reported, and asked for anew, never used.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    config::{self, KeyType},
    policy::renewal::Window,
    replace::replace,
    tls::{self, Loaded},
};

/// The files of one `[acme.<id>]`.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// Why the cache is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(super) struct CacheError {
    path: PathBuf,
    reason: String,
}

/// An account at an authority.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedAccount {
    /// The URL of the directory it belongs to.
    pub directory: String,
    /// Its private key: PKCS#8 in base64url.
    pub key: String,
    /// Its URL, once the authority has said it.
    pub url: Option<String>,
    /// The contacts that the authority was told.
    pub contact: Vec<String>,
}

/// How far a certificate is, beyond what itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// The order under way.
    pub order: Option<SavedOrder>,
    /// What the certificate in force was asked for by, where that is known.
    pub certified: Option<Wanted>,
    /// When it was issued, in seconds since 1970.
    pub issued: u64,
    /// No renewal before this, in seconds since 1970, unless somebody asks for it.
    pub rest: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last attempt failed, in plain words.
    pub last_error: Option<String>,
    /// No attempt before this, in seconds since 1970.
    pub not_before: u64,
    /// What the authority suggests for the certificate in force.
    pub suggested: Option<Suggested>,
}

/// An order under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedOrder {
    /// Its URL.
    pub url: String,
    /// What it asks for.
    pub wanted: Wanted,
}

/// The settings that make another certificate when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// `directory`.
    pub directory: String,
    /// `domains`, sorted.
    pub domains: Vec<String>,
    /// `profile`.
    pub profile: Option<String>,
}

impl Wanted {
    /// What `settings` want.
    pub(super) fn by(settings: &config::Acme) -> Self {
        let mut domains = settings.domains.clone();
        domains.sort();
        Self { directory: settings.directory.clone(), domains, profile: settings.profile.clone() }
    }
}

/// Renewal information (RFC 9773), kept so that a restart needs no network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Suggested {
    /// Which certificate it is about: the SHA-256 of that, in hexadecimal.
    pub certificate: String,
    /// The window in seconds since 1970; `None` where the authority has none to suggest.
    pub window: Option<(u64, u64)>,
    /// Where the authority says why.
    pub explanation: Option<String>,
    /// When to ask again, in seconds since 1970.
    pub ask_again: u64,
}

/// The one that is at work; others wait until this is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock is held for as long as the file is open")] File);

impl Cache {
    /// The files of `settings`, which need not be there.
    pub(super) fn new(settings: &config::Acme) -> Self {
        Self { folder: settings.folder() }
    }

    /// Makes the directory where it is missing, and lets nobody else into it.
    pub(super) fn prepare(&self) -> Result<(), CacheError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let closed = made.and_then(|()| fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700)));
        closed.map_err(|error| failed(&self.folder, &error))
    }

    /// Proves that the directory can be written to. The caller has the lock: two at once would find each other's file.
    pub(super) fn prove(&self) -> Result<(), CacheError> {
        let probe = self.folder.join("probe");
        self.write(&probe, b"may be written to")?;
        fs::remove_file(&probe).map_err(|error| failed(&probe, &error))
    }

    /// The lock, if nobody has it.
    pub(super) fn lock(&self) -> Result<Option<Lock>, CacheError> {
        let path = self.folder.join("lock");
        let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed(&path, &error)),
        }
    }

    /// The account, if there is one yet.
    pub(super) fn account(&self) -> Result<Option<SavedAccount>, CacheError> {
        self.read_json(&self.folder.join("account.json"))
    }

    /// Keeps the account.
    pub(super) fn keep_account(&self, account: &SavedAccount) -> Result<(), CacheError> {
        self.write_json(&self.folder.join("account.json"), account)
    }

    /// How far the certificate for a kind of key is. A state that cannot be read is as good as none: it is made
    /// again.
    pub(super) fn state(&self, key_type: KeyType) -> State {
        let read = self.read_json(&self.state_file(key_type));
        read.inspect_err(|error| tracing::warn!("{error}; it is left out of account"))
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Keeps how far the certificate for a kind of key is.
    pub(super) fn keep_state(&self, key_type: KeyType, state: &State) -> Result<(), CacheError> {
        self.write_json(&self.state_file(key_type), state)
    }

    /// The certificate in force; `None` where there is none, or none that can be used.
    pub(super) fn certificate(&self, key_type: KeyType, now: SystemTime) -> Option<Loaded> {
        let pem = self.secret(&self.certificate_file(key_type))?;
        tls::load_certificate(&pem, &pem, now).ok()
    }

    /// The private key of the certificate in force, in PEM.
    pub(super) fn key(&self, key_type: KeyType) -> Option<String> {
        self.secret(&self.certificate_file(key_type))
    }

    /// Puts a certificate into force. A key that was set aside for it is then no longer kept beside it; another one
    /// that has been set aside meanwhile is.
    pub(super) fn keep_certificate(&self, key_type: KeyType, key: &str, chain: &str) -> Result<(), CacheError> {
        let pem = format!("{}\n{}", key.trim_end(), chain);
        self.write(&self.certificate_file(key_type), pem.as_bytes())?;
        match self.order_key(key_type) {
            Some(set_aside) if set_aside == key => remove(&self.order_key_file(key_type)),
            _ => Ok(()),
        }
    }

    /// The key that is being certified.
    pub(super) fn order_key(&self, key_type: KeyType) -> Option<String> {
        self.secret(&self.order_key_file(key_type))
    }

    /// Keeps the key that is being certified.
    pub(super) fn keep_order_key(&self, key_type: KeyType, key: &str) -> Result<(), CacheError> {
        self.write(&self.order_key_file(key_type), key.as_bytes())
    }

    /// The key that a roll-over will change to.
    pub(super) fn next_key(&self, key_type: KeyType) -> Option<String> {
        self.secret(&self.next_key_file(key_type))
    }

    /// Keeps the key that a roll-over will change to.
    pub(super) fn keep_next_key(&self, key_type: KeyType, key: &str) -> Result<(), CacheError> {
        self.write(&self.next_key_file(key_type), key.as_bytes())
    }

    /// Has the next key certified by the next order. `false`: there is no next key.
    pub(super) fn change_to_next_key(&self, key_type: KeyType) -> Result<bool, CacheError> {
        let next = self.next_key_file(key_type);
        match fs::rename(&next, self.order_key_file(key_type)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(&next, &error)),
        }
    }

    fn certificate_file(&self, key_type: KeyType) -> PathBuf {
        self.folder.join(format!("{key_type}.pem"))
    }

    fn order_key_file(&self, key_type: KeyType) -> PathBuf {
        self.folder.join(format!("{key_type}.order.pem"))
    }

    fn next_key_file(&self, key_type: KeyType) -> PathBuf {
        self.folder.join(format!("{key_type}.next.pem"))
    }

    fn state_file(&self, key_type: KeyType) -> PathBuf {
        self.folder.join(format!("{key_type}.json"))
    }

    fn text(&self, path: &Path) -> Result<Option<String>, CacheError> {
        match tls::read_file(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, &error)),
        }
    }

    /// A file with a key in it. One that others could read, or that cannot be read, is as good as none: `tls` says so
    /// of the one that would be served.
    fn secret(&self, path: &Path) -> Option<String> {
        tls::read_private_file(path).ok()
    }

    fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, CacheError> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| failed(path, &error))
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), CacheError> {
        let text = serde_json::to_vec_pretty(value).map_err(|error| failed(path, &error))?;
        self.write(path, &text)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        replace(path, bytes, 0o600).map_err(|error| failed(path, &error))
    }
}

impl State {
    /// What the authority suggests, if it is about this certificate.
    pub(super) fn suggested_for(&self, certificate: &str) -> Option<&Suggested> {
        self.suggested.as_ref().filter(|suggested| suggested.certificate == certificate)
    }
}

impl Suggested {
    /// The window, if there is one.
    pub(super) fn window(&self) -> Option<Window> {
        let (start, end) = self.window?;
        Some(Window { start: moment(start), end: moment(end) })
    }
}

/// Seconds since 1970.
pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The moment that many seconds after the beginning of 1970.
pub(super) fn moment(seconds: u64) -> SystemTime {
    // The year 9999 is far enough, and within what every clock can say.
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> CacheError {
    CacheError { path: path.to_owned(), reason: reason.to_string() }
}
