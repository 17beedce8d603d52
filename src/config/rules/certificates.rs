//! Every certificate has one source, and every listener with TLS a certificate.
//!
//! Which of two defaults is meant depends on the kinds of their keys. Those of files are seen by `tls` when it loads them.

use super::within;
use crate::config::{
    KeyType,
    file::{CertificateTable, File},
    findings::{Findings, Key},
    resolve::Plan,
    setting::Setting,
};

/// Checks all certificates.
pub(super) fn check(file: &File, plans: &[Plan<'_>], found: &mut Findings) {
    for certificate in &file.certificates {
        source(certificate, found);
    }
    default(file, found);
    two_defaults(file, found);
    let first_with_tls = plans.iter().filter(|plan| plan.has_tls()).min_by_key(|plan| plan.table.key.offset);
    if let Some(plan) = first_with_tls.filter(|_| file.certificates.is_empty() && file.acme.is_empty()) {
        let right = "add a table [certificate.<id>] with cert and private-key, or with self-signed = [\"localhost\"], \
                     or a table [acme.<id>]";
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

/// Every table that certificates come from, and its `default`, in the order of the file.
fn all(file: &File) -> Vec<(&Key, &Setting<bool>)> {
    let certificates = file.certificates.iter().map(|table| (&table.key, &table.default));
    let acme = file.acme.iter().map(|table| (&table.key, &table.default));
    let mut all: Vec<_> = certificates.chain(acme).collect();
    all.sort_by_key(|(key, _)| key.offset);
    all
}

fn default(file: &File, found: &mut Findings) {
    let all = all(file);
    let undecided = all.iter().all(|(_, default)| default.is_absent() || default.is(&false).is_some());
    if let Some((first, _)) = all.first().filter(|_| all.len() > 1 && undecided) {
        let what = "is true nowhere, and there are several certificates";
        found.missing(&within(first, "default"), what, "set default = true in the one for clients without SNI");
    }
}

/// Those that are asked for have kinds of keys that are known before there is a certificate; so have self-signed ones.
fn two_defaults(file: &File, found: &mut Findings) {
    let own = file.certificates.iter().filter(|table| !table.self_signed.is_absent());
    let own = own.map(|table| (&table.key, &table.default, vec![false]));
    let asked = file.acme.iter().map(|table| {
        let is_rsa = table.key_types().iter().map(|kind| *kind == KeyType::Rsa2048).collect();
        (&table.key, &table.default, is_rsa)
    });
    let mut seen: Vec<(bool, &Key)> = Vec::new();
    for (table, default, kinds) in own.chain(asked) {
        let Some(key) = default.is(&true) else { continue };
        if let Some((_, other)) = seen.iter().find(|(is_rsa, _)| kinds.contains(is_rsa)) {
            let what = format!("{} is the default too, with a key of the same kind", other.path);
            found.error(key, what, "mark one of the two alone; a self-signed one stands in without a mark");
        }
        seen.extend(kinds.into_iter().map(|is_rsa| (is_rsa, table)));
    }
}
