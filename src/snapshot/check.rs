//! Whether every listener with TLS has certificates that it can serve.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{Config, Position, Problems, Tls},
    tls::{self, Certificates, KeyKind},
};

/// The kinds of key for each name; the default's under `None`.
type Kinds<'a> = BTreeMap<Option<&'a str>, BTreeSet<KeyKind>>;

/// Notes what is wrong with `certificates` for the listeners of `config`.
pub(super) fn check(config: &Config, certificates: &Certificates, problems: &mut Problems) {
    let kinds = kinds(config, certificates);
    for (id, at, tls) in listeners(config) {
        let key = format!("server.listener.{id}.tls");
        // Without a certificate, but with an authority that will issue one, a listener waits.
        if certificates.is_empty() && config.acme.is_empty() {
            problems.error(at, &key, "there is no certificate", "add a [certificate.<id>] or an [acme.<id>] table");
        }
        if let Some(what) = unfit(tls, &kinds) {
            problems.error(at, &key, what, "take one out of disable-ciphers or disable-protocols");
        }
    }
}

/// The listeners with TLS.
fn listeners(config: &Config) -> impl Iterator<Item = (&str, &Position, &Tls)> {
    let mail = config.listeners.values().map(|listener| (&listener.id, &listener.at, &listener.tls));
    let http = config.http.values().map(|listener| (&listener.id, &listener.at, &listener.tls));
    let relays = config.relays.values().map(|listener| (&listener.id, &listener.at, &listener.tls));
    mail.chain(http).chain(relays).filter_map(|(id, at, tls)| Some((id.as_str(), at, tls.as_ref()?)))
}

/// What there is, and what will be issued: a certificate that no listener could serve would be kept out of force once it
/// has come.
fn kinds<'a>(config: &'a Config, certificates: &'a Certificates) -> Kinds<'a> {
    let mut all: Kinds<'_> = certificates.kinds().map(|(name, kinds)| (name, kinds.into_iter().collect())).collect();
    for acme in config.acme.values() {
        for domain in &acme.domains {
            let to_come = acme.key_types.iter().copied().map(KeyKind::from);
            all.entry(Some(domain)).or_default().extend(to_come);
        }
    }
    all
}

/// A listener with a name that none of its suites can serve would fail every handshake for it.
fn unfit(tls: &Tls, kinds: &Kinds<'_>) -> Option<String> {
    let (name, kinds) = kinds.iter().find(|(_, kinds)| !kinds.iter().any(|kind| tls::can_serve(tls, *kind)))?;
    let name = name.map_or_else(|| "the default certificate".to_owned(), |name| format!("the one for {name}"));
    let kinds: Vec<_> = kinds.iter().map(ToString::to_string).collect();
    Some(format!("every cipher that {name} ({}) could use is disabled", kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Severity},
        tls::Sources,
    };
    use std::path::Path;

    /// What is wrong with a listener whose table has `lines`, without a certificate yet, and with one to come for each
    /// of these kinds of key.
    fn wrong(lines: &str, key_types: &[&str]) -> String {
        let mut text = format!(
            "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\ntls.implicit = true\n{lines}\n\
             [backend.mail]\naddress = \"127.0.0.1:143\"\n[certificate.main]\nself-signed = \"localhost\"\n"
        );
        for key_type in key_types {
            text += &format!(
                "[acme.{key_type}]\ndirectory = \"https://authority.example/directory\"\ncache = \"/nonexistent\"\n\
                 domains = \"mx.example.org\"\nkey-type = \"{key_type}\"\ndefault = true\n"
            );
        }
        let (mut config, mut problems) = config::parse(&text, Path::new("proxy.toml")).unwrap();
        config.certificates.clear();
        let certificates = Sources::read(&config, false, &mut problems).certificates();
        check(&config, &certificates, &mut problems);
        let errors = problems.0.iter().filter(|problem| problem.severity == Severity::Error);
        errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_certificate_is_an_error_unless_one_is_to_be_issued() {
        assert!(wrong("", &[]).contains("server.listener.imap.tls: there is no certificate"));
        assert_eq!(wrong("", &["ecdsa-p256"]), "");
    }

    #[test]
    fn one_that_could_not_be_served_once_it_is_issued_is_an_error() {
        let rsa_alone = "tls.disable-protocols = \"TLSv1.3\"\ntls.disable-ciphers = [\
                         \"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\", \
                         \"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\"]";
        let said = wrong(rsa_alone, &["ecdsa-p256"]);
        assert!(said.contains("every cipher that the one for mx.example.org (ECDSA) could use is disabled"), "{said}");
        assert_eq!(wrong(rsa_alone, &["ecdsa-p256", "rsa-2048"]), "");
    }
}
