//! Certificates that clients show: who is asked, and whose are believed.
//!
//! Promises that a name comes out of a certificate only if its chain leads to a root of `tls.client-ca`, at this time and in
//! each session anew: a resumed session is asked for nothing, and what was good when its ticket was made may have expired, or
//! its root may be gone.

use std::sync::Arc;

use rustls::{
    CommonState, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::roots::roots;
use crate::config::ClientAuth;

/// What a listener asks of its clients' certificates.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
}

/// Why a client that is asked for a certificate is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unverified;

impl ClientCertificates {
    /// As the configuration says; its files are read now.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub(super) fn new(auth: &ClientAuth, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let general = |what: &dyn std::fmt::Display| Error::General(what.to_string());
        let roots = Arc::new(roots(&auth.ca).map_err(|what| general(&what))?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier = if auth.required { verifier } else { verifier.allow_unauthenticated() };
        Ok(Self { verifier: verifier.build().map_err(|error| general(&error))?, required: auth.required })
    }

    /// What the handshake asks for. Where it is optional, a certificate that cannot be verified ends nothing: other mail
    /// servers show their own to everybody who asks, and their mail is to be taken all the same.
    pub(super) fn asked(&self) -> Arc<dyn ClientCertVerifier> {
        if self.required { self.verifier.clone() } else { Arc::new(Lenient(self.verifier.clone())) }
    }

    /// The name in the certificate that the client has shown, if it can be verified now.
    ///
    /// # Errors
    /// [`Unverified`], where one is required.
    pub fn name(&self, connection: &CommonState) -> Result<Option<String>, Unverified> {
        let verified = connection
            .peer_certificates()
            .and_then(<[_]>::split_first)
            .filter(|(own, between)| self.verifier.verify_client_cert(own, between, UnixTime::now()).is_ok());
        match verified {
            None if self.required => Err(Unverified),
            verified => Ok(verified.and_then(|(own, _)| name(own))),
        }
    }
}

/// The common name; where there is none, the first name of the certificate's that a person or a machine has.
fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
    common.map(str::to_owned).or_else(|| {
        let names = certificate.subject_alternative_name().ok().flatten()?;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::RFC822Name(name) | GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
    })
}

/// Asks, and takes any answer: what it is worth is looked at afterwards. Whether the client has the key is not left open.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
