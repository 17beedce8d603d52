//! Every certificate has one source, and every listener with TLS a certificate.
//!
//! Which of two defaults is meant depends on the types of their keys, so that `tls` decides it when they are loaded.

use super::within;
use crate::config::{
    file::{CertificateTable, File},
    findings::Findings,
    resolve::Plan,
};

/// Checks all certificates.
pub(super) fn check(file: &File, plans: &[Plan<'_>], found: &mut Findings) {
    for certificate in &file.certificates {
        source(certificate, found);
    }
    default(&file.certificates, found);
    let first_with_tls = plans.iter().filter(|plan| plan.has_tls()).min_by_key(|plan| plan.table.key.offset);
    if let Some(plan) = first_with_tls.filter(|_| file.certificates.is_empty()) {
        let right = "add a table [certificate.<id>] with cert and private-key, or with self-signed = [\"localhost\"]";
        found.missing(&plan.table.key, "needs a certificate, and there is none", right);
    }
}

fn source(table: &CertificateTable, found: &mut Findings) {
    const SOURCES: &str = "write cert and private-key, or directory, or self-signed";
    let (cert, key) = (!table.cert.is_absent(), !table.private_key.is_absent());
    let kinds = [cert || key, !table.directory.is_absent(), !table.self_signed.is_absent()];
    match kinds.iter().filter(|given| **given).count() {
        0 => found.missing(&table.key, "does not say where the certificate comes from", SOURCES),
        1 if cert != key => {
            let absent = if cert { "private-key" } else { "cert" };
            found.missing(&within(&table.key, absent), "is missing", "cert and private-key go together");
        }
        1 => {}
        _ => found.error(&table.key, "says more than once where the certificate comes from", SOURCES),
    }
}

fn default(tables: &[CertificateTable], found: &mut Findings) {
    let first = tables.iter().min_by_key(|table| table.key.offset);
    let undecided = tables.iter().all(|table| table.default.is_absent() || table.default.is(&false).is_some());
    if let Some(first) = first.filter(|_| tables.len() > 1 && undecided) {
        let what = "is true nowhere, and there are several certificates";
        found.missing(&within(&first.key, "default"), what, "set default = true in the one for clients without SNI");
    }
}
