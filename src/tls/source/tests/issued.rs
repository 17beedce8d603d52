//! What comes from the cache of `[acme.<id>]`, where it may be missing, broken or foreign.

use super::*;
use crate::config::{Acme, KeyType};
use std::os::unix::fs::PermissionsExt;

/// `[acme.main]`, beside `[certificate.main]` of the text.
fn acme(bed: &Bed) -> Acme {
    let text = "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\ntls.implicit = true\n\
                [backend.mail]\naddress = \"127.0.0.1:143\"\n\
                [acme.main]\ndirectory = \"https://authority.example/directory\"\n\
                domains = \"mx.example.org\"\ncache = \"cache\"\n";
    let (mut config, _) = config::parse(text, &bed.0.join("proxy.toml")).unwrap();
    config.acme.remove("main").unwrap()
}

impl Bed {
    /// The sources of an `[acme.main]` alone.
    fn issued_alone(&self, acme: Acme) -> (Sources, Problems) {
        self.read_with("self-signed = [\"localhost\"]", |config| {
            config.certificates.clear();
            config.acme.insert(acme.id.clone(), acme);
        })
    }

    /// The sources of a `[certificate.main]` with a key of its own kind and name, and of an `[acme.main]`.
    fn both(&self, lines: &str, acme: Acme) -> (Sources, Problems) {
        let given = pem("given.example.org", KeyType::Rsa2048);
        fs::write(self.0.join("given.pem"), given).unwrap();
        let source = format!("cert = \"%{{file:given.pem}}%\"\nprivate-key = \"%{{file:given.pem}}%\"\n{lines}");
        self.read_with(&source, |config| drop(config.acme.insert(acme.id.clone(), acme)))
    }
}

/// Key and certificate in one text.
fn pem(name: &str, key_type: KeyType) -> String {
    let key = rcgen::KeyPair::generate_for(match key_type {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    });
    let key = key.unwrap();
    let certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    key.serialize_pem() + &certificate.pem()
}

/// Puts a text where the certificate for a kind of key is kept.
fn put(acme: &Acme, key_type: KeyType, text: &str) {
    let file = acme.file(key_type);
    fs::create_dir_all(acme.folder()).unwrap();
    // Renamed, as a renewal is, so that it is another file.
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(beside, file).unwrap();
}

fn issue(acme: &Acme, key_type: KeyType) {
    put(acme, key_type, &pem("mx.example.org", key_type));
}

/// The kinds of key of the default.
fn default_kinds(sources: &Sources) -> Vec<KeyKind> {
    sources.certificates().kinds().find(|(name, _)| name.is_none()).map(|(_, kinds)| kinds).unwrap_or_default()
}

#[test]
fn one_that_is_not_issued_yet_is_no_problem_and_is_read_when_it_is_there() {
    let bed = Bed::new("issued");
    let acme = acme(&bed);
    let (waiting, problems) = bed.issued_alone(acme.clone());
    assert_eq!(problems.0, []);
    assert!(waiting.certificates().is_empty() && waiting.overview().is_empty());
    assert!(look(&waiting).is_none());

    issue(&acme, KeyType::EcdsaP256);
    let (issued, looked) = look(&waiting).unwrap();
    assert_eq!((looked.refused.len(), looked.renewed.unwrap().names), (0, vec!["mx.example.org".to_owned()]));
    assert_eq!(default_kinds(&issued), [KeyKind::Ecdsa], "it is alone");
    let overview = issued.overview();
    let [only] = overview.as_slice() else { panic!("{overview:?}") };
    assert_eq!((only.table.as_str(), only.file.as_deref()), ("acme.main", Some(&*acme.file(KeyType::EcdsaP256))));
    assert_eq!((only.names.as_slice(), only.kind), (&["mx.example.org".to_owned()][..], KeyKind::Ecdsa));
    assert!(look(&issued).is_none());
}

#[test]
fn the_digest_of_the_public_key_is_that_of_tlsa_3_1_1() {
    let bed = Bed::new("digest");
    let acme = acme(&bed);
    let text = pem("mx.example.org", KeyType::EcdsaP256);
    let key = rcgen::KeyPair::from_pem(&text[..text.find("-----BEGIN CERT").unwrap()]).unwrap();
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    put(&acme, KeyType::EcdsaP256, &text);
    let (sources, _) = bed.issued_alone(acme);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &public);
    assert_eq!(sources.overview()[0].public_key, *digest.as_ref());
}

#[test]
fn what_cannot_be_used_is_a_warning_at_start_and_not_served_and_replaced_by_the_next() {
    let foreign_key = pem("mx.example.org", KeyType::EcdsaP256).split("-----BEGIN CERT").next().unwrap().to_owned();
    let chain = pem("mx.example.org", KeyType::EcdsaP256);
    let mismatch = foreign_key + &chain[chain.find("-----BEGIN CERT").unwrap()..];
    let half = &chain[..chain.len() / 2];
    let rsa = pem("mx.example.org", KeyType::Rsa2048);
    for (name, text, why) in [
        ("half", half, "certificate: "),
        ("mismatch", &mismatch, "the private key does not fit the certificate for mx.example.org"),
        ("kind", &rsa, "its key is not of the kind ecdsa-p256"),
        ("empty", "", "certificate: no certificate found"),
    ] {
        let bed = Bed::new(name);
        let acme = acme(&bed);
        let file = acme.file(KeyType::EcdsaP256);
        put(&acme, KeyType::EcdsaP256, text);
        let (broken, problems) = bed.issued_alone(acme.clone());
        assert!(!problems.fatal() && broken.certificates().is_empty(), "{name}: {problems:?}");
        let said = problems.0[0].to_string();
        assert!(said.contains(&format!("warning: acme.main: {}: ", file.display())), "{name}: {said}");
        assert!(said.contains(why) && said.ends_with("it is not used, and a new one will be asked for"), "{said}");

        put(&acme, KeyType::EcdsaP256, text);
        let (broken, looked) = look(&broken).unwrap();
        assert!(looked.refused[0].ends_with("it is not used, and a new one will be asked for"), "{looked:?}");
        issue(&acme, KeyType::EcdsaP256);
        let (issued, looked) = look(&broken).unwrap();
        assert_eq!(looked.renewed.unwrap().names, ["mx.example.org"]);
        put(&acme, KeyType::EcdsaP256, text);
        let (kept, looked) = look(&issued).unwrap();
        assert!(looked.refused[0].ends_with("the one before it stays in force"), "{looked:?}");
        assert_eq!(kept.overview(), issued.overview());
    }
}

#[test]
fn one_that_others_may_read_is_not_served() {
    let bed = Bed::new("mode");
    let acme = acme(&bed);
    issue(&acme, KeyType::EcdsaP256);
    let file = acme.file(KeyType::EcdsaP256);
    for mode in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (sources, problems) = bed.issued_alone(acme.clone());
        assert!(!problems.fatal() && sources.certificates().is_empty());
        let said = problems.0[0].to_string();
        assert!(said.contains(&format!("others may read or change it (mode {mode:o}, and not 600)")), "{said}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            look(&sources).unwrap().1.renewed.unwrap().names,
            ["mx.example.org"],
            "a change of the mode is seen"
        );
    }
}

#[test]
fn a_cache_that_cannot_be_looked_into_is_a_warning() {
    let bed = Bed::new("closed");
    let acme = acme(&bed);
    // Nobody, root included, can look into a folder that is none.
    fs::write(&acme.cache, "").unwrap();
    let (sources, problems) = bed.issued_alone(acme.clone());
    assert!(!problems.fatal() && problems.0[0].what.contains("cache/main/ecdsa-p256.pem: "), "{problems:?}");
    fs::remove_file(&acme.cache).unwrap();
    issue(&acme, KeyType::EcdsaP256);
    assert_eq!(look(&sources).unwrap().1.renewed.unwrap().names, ["mx.example.org"]);
}

#[test]
fn a_cache_that_is_gone_leaves_what_was_read_in_force() {
    let bed = Bed::new("gone");
    let acme = acme(&bed);
    issue(&acme, KeyType::EcdsaP256);
    let (sources, _) = bed.issued_alone(acme.clone());
    fs::remove_dir_all(&acme.cache).unwrap();
    let (gone, looked) = look(&sources).unwrap();
    assert_eq!((looked.refused.len(), gone.overview()), (0, sources.overview()));
}

#[test]
fn while_the_marked_default_is_not_issued_the_others_stand_in() {
    let bed = Bed::new("standin");
    let acme = Acme { default: true, ..acme(&bed) };
    let (waiting, problems) = bed.both("", acme.clone());
    assert_eq!((problems.0, default_kinds(&waiting)), (Vec::new(), vec![KeyKind::Rsa]));
    issue(&acme, KeyType::EcdsaP256);
    let (issued, looked) = look(&waiting).unwrap();
    assert!(looked.renewed.is_ok(), "{looked:?}");
    assert_eq!(default_kinds(&issued), [KeyKind::Ecdsa], "the marked one alone");
    let tables: Vec<_> = issued.overview().into_iter().map(|one| (one.table, one.names[0].clone())).collect();
    let named = |table: &str, name: &str| (table.to_owned(), name.to_owned());
    assert_eq!(tables, [named("acme.main", "mx.example.org"), named("certificate.main", "given.example.org")]);
}

#[test]
fn two_defaults_with_keys_of_one_kind_are_an_error_before_anything_is_issued() {
    let bed = Bed::new("twodefaults");
    let said = |key_types: &[KeyType]| {
        let acme = Acme { default: true, key_types: key_types.to_vec(), ..acme(&bed) };
        let (_, problems) = bed.both("default = true", acme);
        problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(&[KeyType::EcdsaP256]), "");
    let both = said(&[KeyType::EcdsaP256, KeyType::Rsa2048]);
    assert!(both.contains("certificate.main and acme.main are both the default, with keys of the same kind"), "{both}");
}

#[test]
fn what_one_table_asks_for_together_is_the_default_together() {
    let bed = Bed::new("together");
    let all = Acme { key_types: KeyType::ALL.to_vec(), ..acme(&bed) };
    KeyType::ALL.iter().for_each(|key_type| issue(&all, *key_type));
    for default in [false, true] {
        let (sources, problems) = bed.issued_alone(Acme { default, ..all.clone() });
        assert_eq!(problems.0, []);
        assert_eq!(default_kinds(&sources), [KeyKind::Ecdsa, KeyKind::Ecdsa, KeyKind::Rsa]);
    }
}

#[test]
fn while_another_kind_of_key_is_not_issued_the_one_from_before_stands_in() {
    let bed = Bed::new("kinds");
    let before = acme(&bed);
    issue(&before, KeyType::EcdsaP256);
    let after = Acme { key_types: vec![KeyType::Rsa2048], ..before };
    let (waiting, problems) = bed.issued_alone(after.clone());
    assert_eq!((problems.0, default_kinds(&waiting)), (Vec::new(), vec![KeyKind::Ecdsa]));
    issue(&after, KeyType::Rsa2048);
    let (issued, _) = look(&waiting).unwrap();
    assert_eq!(default_kinds(&issued), [KeyKind::Rsa]);
}
