//! The roots that an authority's own certificate may come from: the system's, `server.ca`, and the table's `ca`.

use std::path::PathBuf;

use rustls::RootCertStore;

use super::fault::Fault;
use crate::tls;

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
        let failed = |reason: &dyn std::fmt::Display| Fault::ours(format!("{}: {reason}", file.display()));
        let text = tls::read_file(file).map_err(|error| failed(&error))?;
        for certificate in tls::certificates(&text).map_err(|error| failed(&error))? {
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
    }
    if roots.is_empty() {
        let missing = "no root certificates: install the system's (ca-certificates), or name some in server.ca";
        return Err(Fault::ours(missing));
    }
    Ok(roots)
}
