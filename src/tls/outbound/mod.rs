//! mailward as the client of any mail server: what the server has shown, and whether that is enough to send mail to it.
//!
//! Promises that a [`Permit`], without which nothing is sent, comes from a verdict and, where there is TLS, from the certificate
//! of a finished handshake whose signature was checked; that there is no TLS below 1.2 (RFC 8996); that every session is a
//! handshake of its own, so that no certificate is taken for granted. The handshake goes on with any certificate: what it is
//! worth is looked at afterwards, since a report wants to know also what is not enforced.

mod anchors;
mod dane;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, RootCertStore,
    client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{
    client::names_in,
    facts::version_name,
    key_schedule,
    proof::{Judge, Proven},
    roots::roots_with_system,
};
use crate::policy::{
    certificate::Untrusted,
    dane::{Dane, reference_names},
    evidence::Shown,
    verdict::{Assurance, Facts, Refusal, Verdict},
};

/// mailward's side of TLS with every server that mail goes to.
#[derive(Debug)]
pub struct Peers {
    /// What its handshakes negotiate.
    pub config: Arc<ClientConfig>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What a server has shown, and whether mail may go to it.
#[derive(Debug)]
pub struct Examined {
    /// The version and the suite.
    pub negotiated: String,
    /// For the log and the report.
    pub shown: Shown,
    /// The permission, or why there is none.
    pub permit: Result<Permit, Refusal>,
}

/// The permission to send one server an envelope, over the connection for which it was made.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit(Assurance);

impl Permit {
    /// The permission to send in clear, to a server that offers no TLS or is not to be asked for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn in_clear(verdict: &Verdict) -> Result<Self, Refusal> {
        verdict.without_tls().map(Self)
    }

    /// How much is known of the server.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        self.0
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Any;

impl Judge for Any {
    fn judge(&self, _: &CertificateDer<'_>) -> Result<(), Error> {
        Ok(())
    }
}

impl Peers {
    /// Believes in the system's roots and those in `ca`; the files are read now.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a system without roots.
    pub fn new(ca: &[PathBuf]) -> Result<Self, String> {
        Self::believing(roots_with_system(ca)?)
    }

    fn believing(roots: RootCertStore) -> Result<Self, String> {
        let provider = Arc::new(key_schedule::provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Proven { judge: Any, algorithms }))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), roots, algorithms })
    }

    /// Looks at what the server has shown in a handshake that came to its end.
    #[must_use]
    pub fn examine(
        &self,
        connection: &ClientConnection,
        facts: &Facts<'_>,
        verdict: &Verdict,
        now: UnixTime,
    ) -> Examined {
        let chain = match connection.peer_certificates() {
            Some(chain) if !connection.is_handshaking() => chain,
            _ => &[],
        };
        let shown = self.shown(chain, facts, now);
        // Where any certificate will do, there must be one all the same.
        let permit = match chain {
            [] => Err(verdict.broken("the handshake has not come to its end")),
            _ => verdict.with_tls(&shown).map(Permit),
        };
        Examined { negotiated: negotiated(connection), shown, permit }
    }

    fn shown(&self, chain: &[CertificateDer<'_>], facts: &Facts<'_>, now: UnixTime) -> Shown {
        let dane = facts.dane.records().map(|records| {
            let names = reference_names(&records.base, facts.next_hop);
            dane::hold_against(records, &names, chain, now, self.algorithms.all)
        });
        Shown { pkix: self.pkix(chain, facts.host, now), dane }
    }

    /// RFC 8461 §4.2: a chain to a known root, unexpired, and the MX name among the names of the certificate.
    fn pkix(&self, chain: &[CertificateDer<'_>], host: &str, now: UnixTime) -> Result<String, Untrusted> {
        let Some((leaf, between)) = chain.split_first() else {
            return Err(Untrusted::NotTrusted("the server has shown none".to_owned()));
        };
        let name = name_for(host)?;
        let parsed = ParsedCertificate::try_from(leaf);
        let verified = parsed.and_then(|parsed| {
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, self.algorithms.all)?;
            verify_server_name(&parsed, &name)
        });
        match verified {
            Ok(()) => Ok(host.to_owned()),
            Err(Error::InvalidCertificate(error)) => Err(untrusted(&error, host)),
            Err(other) => Err(Untrusted::NotTrusted(other.to_string())),
        }
    }
}

/// The name that a server is asked for: RFC 7672 §8.1, the base domain of its TLSA records; RFC 8461 §7.1, its MX name.
///
/// # Errors
/// A name that TLS does not have.
pub fn server_name(facts: &Facts<'_>) -> Result<ServerName<'static>, Untrusted> {
    let name = match facts.dane {
        Dane::Usable(records) => &records.base,
        _ => facts.host,
    };
    name_for(name)
}

/// The name, or the address in brackets (RFC 5321 §4.1.3), that a certificate has to be for.
fn name_for(host: &str) -> Result<ServerName<'static>, Untrusted> {
    let literal = host.strip_prefix('[').and_then(|literal| literal.strip_suffix(']'));
    let tagged = literal.and_then(|literal| literal.split_at_checked(5));
    let name = match tagged {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address,
        _ => literal.unwrap_or(host),
    };
    ServerName::try_from(name.to_owned()).map_err(|_| Untrusted::NotTrusted(format!("{host} is no name for one")))
}

fn negotiated(connection: &ClientConnection) -> String {
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    format!("{} {}", version_name(connection.protocol_version()), suite.unwrap_or_default())
}

/// Why a certificate is not taken for `host`, in the words of reports.
#[must_use]
pub fn untrusted(error: &CertificateError, host: &str) -> Untrusted {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Untrusted::NotYetValid,
        CertificateError::NotValidForNameContext { presented, .. } => {
            Untrusted::WrongName { expected: vec![host.to_owned()], presented: names_in(presented) }
        }
        other => Untrusted::NotTrusted(other.to_string()),
    }
}

/// What became of a handshake that came to nothing, in the few words of a report.
#[must_use]
pub fn why_broken(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => format!("the server sent the alert {alert:?}"),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        None => error.to_string(),
    }
}
