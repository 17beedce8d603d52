//! The roots that another server's certificate, or a client's, may come from.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use super::{certificates, read_file};
use crate::config::{Config, Encryption, Position, Problems};

/// The certificates of these files alone, read now.
///
/// # Errors
/// A file that cannot be read or holds no certificate.
pub fn roots(files: &[PathBuf]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    files.iter().try_for_each(|file| add(file, &mut roots))?;
    Ok(roots)
}

/// The system's roots, and the certificates of these files, read now.
///
/// # Errors
/// As [`roots`]; a system without roots is none, as long as there are others.
pub fn roots_with_system(files: &[PathBuf]) -> Result<RootCertStore, String> {
    let mut roots = roots(files)?;
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let missing = "no root certificates: install the system's (ca-certificates), or name some in server.ca";
        return Err(missing.to_owned());
    }
    Ok(roots)
}

/// Reads every file of roots that the configuration names; what is wrong with one goes to `problems`.
pub fn check_roots(config: &Config, problems: &mut Problems) {
    let mut check = |files: &[PathBuf], at: &Position, key: &str| {
        for what in files.iter().filter_map(|file| add(file, &mut RootCertStore::empty()).err()) {
            problems.error(at, key, what, "name a PEM file with root certificates");
        }
    };
    check(&config.server.ca, &config.server.at, "server.ca");
    for table in config.backends.values() {
        let ca = match &table.tls {
            Some(Encryption::Always(tls)) => tls.ca.as_deref().unwrap_or_default(),
            _ => &[],
        };
        check(ca, &table.at, &format!("backend.{}.tls.ca", table.id));
    }
    let listeners = config.listeners.values().map(|listener| (&listener.id, &listener.at, &listener.tls));
    let http = config.http.values().map(|listener| (&listener.id, &listener.at, &listener.tls));
    for (id, at, tls) in listeners.chain(http) {
        let client = tls.iter().filter_map(|tls| tls.client.as_ref()).next();
        check(client.map_or(&[], |client| &client.ca), at, &format!("server.listener.{id}.tls.client-ca"));
    }
    for table in config.acme.values() {
        check(&table.ca, &table.at, &format!("acme.{}.ca", table.id));
    }
}

fn add(file: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let failed = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
    let text = read_file(file).map_err(|error| failed(&error))?;
    for certificate in certificates(&text).map_err(|error| failed(&error))? {
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(())
}
