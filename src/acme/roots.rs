//! The roots that an authority's own certificate may come from: the system's, `server.ca`, and the table's `ca`.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use super::fault::Fault;
use crate::{
    config::{Config, Position, Problems},
    tls,
};

/// All of them, read now.
///
/// # Errors
/// A file of the operator's that cannot be read or holds no certificate; a system without roots is none, as long as
/// there are others.
pub(super) fn read(files: &[PathBuf]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for file in files {
        add(file, &mut roots).map_err(Fault::ours)?;
    }
    if roots.is_empty() {
        let missing = "no root certificates: install the system's (ca-certificates), or name some in server.ca";
        return Err(Fault::ours(missing));
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
    for table in config.acme.values() {
        check(&table.ca, &table.at, &format!("acme.{}.ca", table.id));
    }
}

fn add(file: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let failed = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
    let text = tls::read_file(file).map_err(|error| failed(&error))?;
    for certificate in tls::certificates(&text).map_err(|error| failed(&error))? {
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(())
}
