//! The self-signed certificate that a configuration asks for by name: made once, kept in files, made anew when its
//! names change or it nears its end.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DnType, KeyPair};

use super::{
    certificate::{self, Loaded},
    file,
};
use crate::replace::replace;

/// How long before its end it is made anew.
pub(super) const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// Where the pair of `[certificate.<id>]` is kept, given the configuration's folder.
#[must_use]
pub(super) fn files(base: &Path, id: &str) -> (PathBuf, PathBuf) {
    let folder = base.join("certs");
    (folder.join(format!("{id}-self-signed.crt")), folder.join(format!("{id}-self-signed.key")))
}

/// Reads the kept pair, or makes one and keeps it. With `keep` false (`mailward check`) nothing is written.
///
/// # Errors
/// Where a pair cannot be made, or cannot be written.
pub(super) fn load_or_make(base: &Path, id: &str, names: &[String], keep: bool, now: SystemTime) -> io::Result<Loaded> {
    // A reload and a look at the files may be at it together: the second finds what the first has made.
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let (certificate, key) = files(base, id);
    if let Some(kept) = kept(&certificate, &key, names, now) {
        return Ok(kept);
    }
    let (chain, private) = make(names, now).map_err(io::Error::other)?;
    if keep {
        write(&key, private.as_bytes(), 0o600)?;
        write(&certificate, chain.as_bytes(), 0o644)?;
    }
    certificate::load(&chain, &private, now).map_err(io::Error::other)
}

fn kept(certificate: &Path, key: &Path, names: &[String], now: SystemTime) -> Option<Loaded> {
    let (chain, key) = (file::read(certificate).ok()?, file::read(key).ok()?);
    let loaded = certificate::load(&chain, &key, now).ok()?;
    let lasting = loaded.not_after > now + RENEW_BEFORE;
    let same = loaded.names == names.iter().map(|name| shape(name)).collect::<Vec<_>>();
    (lasting && same).then_some(loaded)
}

/// A name as a certificate gives it back: addresses are octets there, and have one shape.
fn shape(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |address| address.to_string())
}

fn make(names: &[String], now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "mailward self-signed certificate");
    params.not_before = (now - Duration::from_secs(86_400)).into();
    // Clients cap what they accept at 825 days, self-signed certificates included.
    params.not_after = (now + Duration::from_secs(820 * 86_400)).into();
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    replace(path, bytes, mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_kept_and_made_anew_for_other_names() {
        let base = std::env::temp_dir().join(format!("mailward-self-signed-{}", std::process::id()));
        let names = vec!["localhost".to_owned()];
        let first = load_or_make(&base, "dev", &names, true, SystemTime::now()).unwrap();
        let second = load_or_make(&base, "dev", &names, true, SystemTime::now()).unwrap();
        assert_eq!(first.key.cert, second.key.cert);
        let other = load_or_make(&base, "dev", &["mail.test".to_owned()], true, SystemTime::now()).unwrap();
        assert_ne!(first.key.cert, other.key.cert);
        assert_eq!(other.names, ["mail.test"]);
        let mode = fs::metadata(files(&base, "dev").1).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn one_for_an_address_is_kept_too() {
        let base = std::env::temp_dir().join(format!("mailward-self-signed-ip-{}", std::process::id()));
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let first = load_or_make(&base, "dev", &names, true, SystemTime::now()).unwrap();
        let second = load_or_make(&base, "dev", &names, true, SystemTime::now()).unwrap();
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(first.key.cert, second.key.cert);
        assert_eq!(first.names, names);
    }

    #[test]
    fn what_an_interrupted_start_left_lets_nobody_read_the_key() {
        let base = std::env::temp_dir().join(format!("mailward-self-signed-left-{}", std::process::id()));
        let key = files(&base, "dev").1;
        fs::create_dir_all(key.parent().unwrap()).unwrap();
        fs::write(key.with_added_extension("new"), "half").unwrap();
        fs::set_permissions(key.with_added_extension("new"), fs::Permissions::from_mode(0o644)).unwrap();
        load_or_make(&base, "dev", &["localhost".to_owned()], true, SystemTime::now()).unwrap();
        let mode = fs::metadata(key).unwrap().permissions().mode();
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_check_writes_nothing() {
        let base = std::env::temp_dir().join(format!("mailward-unwritten-{}", std::process::id()));
        load_or_make(&base, "dev", &["localhost".to_owned()], false, SystemTime::now()).unwrap();
        assert!(!base.exists());
    }
}
