//! Showing the authority that a name is ours, and taking the proof away again.
//!
//! A further way (dns-persist-01) is a further variant of [`config::Challenge`] and a further arm here.

use instant_acme::{ChallengeHandle, ChallengeType};

use super::{
    Answers,
    dns::{self, Record},
    fault::Fault,
};
use crate::config::{self, Challenge};

/// What is to be shown for one name.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    domain: String,
    token: String,
    key_authorization: String,
    digest: Vec<u8>,
    dns_value: String,
}

impl Proof {
    /// What this challenge wants to see.
    pub(super) fn of(challenge: &ChallengeHandle<'_>) -> Self {
        let authorization = challenge.key_authorization();
        // Without the wildcard's star: it is the domain below which it stands that is proved.
        let domain = challenge.identifier().identifier.authorized(false).to_string();
        Self {
            domain,
            token: challenge.token.clone(),
            key_authorization: authorization.as_str().to_owned(),
            digest: authorization.digest().as_ref().to_vec(),
            dns_value: authorization.dns_value(),
        }
    }
}

/// The authority's word for a challenge.
pub(super) fn kind(challenge: &Challenge) -> ChallengeType {
    match challenge {
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::Dns01(_) => ChallengeType::Dns01,
    }
}

/// Shows all of them. They stand together: two names of one order may need two records of one name (a wildcard and its
/// domain).
pub(super) async fn present(settings: &config::Acme, answers: &Answers, proofs: &[Proof]) -> Result<(), Fault> {
    match &settings.challenge {
        Challenge::TlsAlpn01 => {
            for proof in proofs {
                answers.tls.present(&proof.domain, &proof.digest).map_err(Fault::ours)?;
            }
        }
        Challenge::Http01 => {
            proofs.iter().for_each(|proof| answers.http.present(&proof.token, &proof.key_authorization));
        }
        Challenge::Dns01(dns) => {
            for reason in dns::present(dns, &records(proofs)).await.map_err(Fault::ours)? {
                tracing::warn!(acme = %settings.id, reason, "the records of the challenge are not seen everywhere");
            }
        }
    }
    Ok(())
}

/// Takes all of them away, as far as that can be done.
pub(super) async fn withdraw(settings: &config::Acme, answers: &Answers, proofs: &[Proof]) {
    match &settings.challenge {
        Challenge::TlsAlpn01 => proofs.iter().for_each(|proof| answers.tls.withdraw(&proof.domain)),
        Challenge::Http01 => proofs.iter().for_each(|proof| answers.http.withdraw(&proof.token)),
        Challenge::Dns01(dns) => {
            if let Err(error) = dns::withdraw(dns, &records(proofs)).await {
                tracing::warn!(acme = %settings.id, %error, "a TXT record of a challenge could not be removed");
            }
        }
    }
}

fn records(proofs: &[Proof]) -> Vec<Record> {
    let record = |proof: &Proof| Record { domain: proof.domain.clone(), value: proof.dns_value.clone() };
    proofs.iter().map(record).collect()
}
