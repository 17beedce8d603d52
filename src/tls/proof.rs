//! The verifier of servers' certificates for what rustls has no rule for: the certificate is left to a judge, the proof that the
//! server has its key is not.
//!
//! Promises that the handshake's signature is checked whatever the judge says: a certificate is public, and whoever shows one
//! without its key is somebody else.

use std::fmt::Debug;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Says what a certificate is worth during the handshake.
pub(super) trait Judge: Debug + Send + Sync {
    /// Whether the handshake may go on with this one.
    fn judge(&self, certificate: &CertificateDer<'_>) -> Result<(), Error>;
}

/// Takes what its judge takes, from whoever has the key.
#[derive(Debug)]
pub(super) struct Proven<J> {
    pub(super) judge: J,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl<J: Judge> ServerCertVerifier for Proven<J> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(certificate).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
