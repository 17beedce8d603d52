//! Certificates for all proxies, made by `openssl` and kept from one run to the next: very many take minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::plan::Key;

/// A certificate and its key, in the files that proxies want.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file.
    pub both: PathBuf,
}

/// Certificates for as many hosts.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// A folder with `HOST.crt` and `HOST.key` for each.
    pub pairs: PathBuf,
    /// A folder with `HOST.pem` for each: the same in one file.
    pub whole: PathBuf,
    /// The hosts' names.
    pub hosts: Vec<String>,
}

/// The name of the one host where there are not many.
pub const HOST: &str = "mail.bench.example";

/// The certificate of [`HOST`].
///
/// # Errors
/// Those of `openssl` and of writing files.
pub fn one(work: &Path, key: Key) -> Result<Certificate, String> {
    let (name, arguments) = match key {
        Key::Ecdsa => ("ecdsa", ECDSA),
        Key::Rsa => ("rsa", RSA),
    };
    let folder = folder(&work.join("certificates"))?;
    let file = |extension| folder.join(format!("{name}.{extension}"));
    let certificate = Certificate { chain: file("crt"), key: file("key"), both: file("pem") };
    if !certificate.both.exists() {
        openssl(&[&["genpkey", "-out", &text(&certificate.key)], arguments].concat())?;
        sign(&certificate, HOST)?;
    }
    Ok(certificate)
}

const ECDSA: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

/// ECDSA certificates for `count` hosts. They have one key: only its copies are told apart by what they cost.
///
/// # Errors
/// As of [`one`].
pub fn many(work: &Path, count: usize) -> Result<Hosted, String> {
    let key = one(work, Key::Ecdsa)?.key;
    let root = work.join("certificates").join(count.to_string());
    let hosted = Hosted {
        pairs: folder(&root.join("pairs"))?,
        whole: folder(&root.join("whole"))?,
        hosts: (0..count).map(|number| format!("host-{number}.bench.example")).collect(),
    };
    for host in &hosted.hosts {
        let file = |extension| hosted.pairs.join(format!("{host}.{extension}"));
        let both = hosted.whole.join(format!("{host}.pem"));
        let certificate = Certificate { chain: file("crt"), key: file("key"), both };
        if !certificate.both.exists() {
            fs::copy(&key, &certificate.key).map_err(|error| shown(&certificate.key, &error))?;
            sign(&certificate, host)?;
        }
    }
    Ok(hosted)
}

/// Has a key sign a certificate for itself. The file of both comes last, and whole: where it is, all is there.
fn sign(certificate: &Certificate, host: &str) -> Result<(), String> {
    let (key, chain) = (text(&certificate.key), text(&certificate.chain));
    let name = format!("subjectAltName=DNS:{host}");
    let subject = format!("/CN={host}");
    openssl(&[
        "req", "-x509", "-new", "-key", &key, "-out", &chain, "-days", "3650", "-subj", &subject, "-addext", &name,
    ])?;
    let both = [&certificate.key, &certificate.chain]
        .map(|file| fs::read_to_string(file).map_err(|error| shown(file, &error)));
    let [key, chain] = both;
    let unfinished = certificate.both.with_extension("unfinished");
    fs::write(&unfinished, key? + &chain?).map_err(|error| shown(&unfinished, &error))?;
    fs::rename(&unfinished, &certificate.both).map_err(|error| shown(&certificate.both, &error))
}

fn openssl(arguments: &[&str]) -> Result<(), String> {
    let told = Command::new("openssl").args(arguments).output().map_err(|error| format!("openssl: {error}"))?;
    if told.status.success() {
        Ok(())
    } else {
        Err(format!("openssl: {}", String::from_utf8_lossy(&told.stderr).trim()))
    }
}

fn folder(path: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(path).map_err(|error| shown(path, &error))?;
    Ok(path.to_owned())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn shown(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
