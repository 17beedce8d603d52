//! PEM text to certificates and keys, with an error that says what was found instead.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_pemfile::Item;

/// What is wrong with a PEM text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PemError {
    /// No certificate block.
    #[error("no certificate found; expected PEM with -----BEGIN CERTIFICATE----- blocks, the server's own first")]
    NoCertificate,
    /// No key block of a kind that can be read.
    #[error("no private key found; expected a PEM block PRIVATE KEY (PKCS#8), RSA PRIVATE KEY or EC PRIVATE KEY")]
    NoKey,
    /// The key needs a passphrase.
    #[error("the private key is encrypted; decrypt it first, for example with: openssl pkey -in KEY -out PLAIN")]
    EncryptedKey,
    /// Several keys, so it is not clear which is meant.
    #[error("{0} private keys found; expected exactly one")]
    SeveralKeys(usize),
    /// The blocks themselves are broken.
    #[error("broken PEM: {0}; expected base64 between BEGIN and END lines")]
    Broken(String),
}

/// All certificates of `text`, in its order.
///
/// # Errors
/// [`PemError::NoCertificate`], [`PemError::Broken`].
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Vec<_> = items(text)?
        .into_iter()
        .filter_map(|item| match item {
            Item::X509Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The one private key of `text`; certificates and parameters beside it are passed over.
///
/// # Errors
/// [`PemError`], but for [`PemError::NoCertificate`].
pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    // rustls-pemfile passes over blocks that it does not know, these among them.
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PemError::EncryptedKey);
    }
    let mut found: Vec<PrivateKeyDer<'static>> = items(text)?
        .into_iter()
        .filter_map(|item| match item {
            Item::Pkcs1Key(key) => Some(key.into()),
            Item::Pkcs8Key(key) => Some(key.into()),
            Item::Sec1Key(key) => Some(key.into()),
            _ => None,
        })
        .collect();
    match (found.pop(), found.len()) {
        (None, _) => Err(PemError::NoKey),
        (Some(key), 0) => Ok(key),
        (Some(_), others) => Err(PemError::SeveralKeys(others + 1)),
    }
}

fn items(text: &str) -> Result<Vec<Item>, PemError> {
    rustls_pemfile::read_all(&mut text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| PemError::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named() {
        assert_eq!(certificates("hello"), Err(PemError::NoCertificate));
        assert_eq!(private_key("").unwrap_err(), PemError::NoKey);
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(private_key(encrypted).unwrap_err(), PemError::EncryptedKey);
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(certificates(broken), Err(PemError::Broken(_))));
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert_eq!(private_key(&key.repeat(2)).unwrap_err(), PemError::SeveralKeys(2));
        assert!(private_key(&key).is_ok());
    }
}
