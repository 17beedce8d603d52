//! Which of an authority's chains is taken: `preferred-chain` names the root (RFC 8555 §7.4.2).
//!
//! The library fetches the default chain alone, and has no word for asking for another URL; the request is signed here.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use hyper::{
    Method, Request,
    header::{CONTENT_TYPE, USER_AGENT},
};
use instant_acme::{BodyWrapper, Problem};
use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{account::Opened, client::Https, fault::Fault};
use crate::{telemetry::Told, tls};

/// How often a request is made that the authority refuses for its nonce alone (RFC 8555 §6.5).
const TRIES: usize = 5;

/// The chain whose last certificate was issued by `root`: the default one, or the first fitting one of `alternates`.
/// Where none fits, the default, with a warning.
pub(super) async fn choose(
    root: &str,
    default: String,
    alternates: &[String],
    https: &Https,
    account: &Opened,
) -> Result<String, Fault> {
    let mut seen = vec![top(&default)];
    if leads_to(&seen[0], root) {
        return Ok(default);
    }
    for url in alternates {
        let chain = fetch(url, https, account).await?;
        let found = top(&chain);
        if leads_to(&found, root) {
            return Ok(chain);
        }
        seen.push(found);
    }
    let there_are = seen.into_iter().map(|name| Told(&name).to_string()).collect::<Vec<_>>().join("; ");
    tracing::warn!(preferred = %Told(root), %there_are, "no chain leads to the preferred root; the default one is used");
    Ok(default)
}

/// The issuer of the last certificate of a chain.
fn top(chain: &str) -> String {
    let certificates = tls::certificates(chain).unwrap_or_default();
    let last = certificates.last().and_then(|der| X509Certificate::from_der(der).ok());
    last.map(|(_, last)| common_name(&last).unwrap_or_else(|| last.issuer().to_string())).unwrap_or_default()
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.issuer().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

fn leads_to(found: &str, root: &str) -> bool {
    found.eq_ignore_ascii_case(root)
}

/// POST-as-GET (RFC 8555 §6.3).
async fn fetch(url: &str, https: &Https, account: &Opened) -> Result<String, Fault> {
    for _ in 0..TRIES {
        // Of the answer that brought the default chain, which is the last that the library has asked for.
        let nonce = https.heard.nonce().unwrap_or_default();
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(USER_AGENT, super::USER_AGENT)
            .header(CONTENT_TYPE, "application/jose+json")
            .body(BodyWrapper::from(signed(url, &nonce, account)?))
            .map_err(Fault::unreachable)?;
        let answer = https.ask(request).await?;
        if answer.status().is_success() {
            return String::from_utf8(answer.body().to_vec()).map_err(Fault::unreachable);
        }
        let problem: Problem = serde_json::from_slice(answer.body()).map_err(Fault::unreachable)?;
        let fault = Fault::of_problem(&problem);
        if !fault.is("badNonce") {
            return Err(fault.while_doing("another chain"));
        }
    }
    Err(Fault::unreachable(format!("the authority refused {TRIES} nonces of its own")))
}

/// The empty payload, signed by the account's key (RFC 8555 §6.2, RFC 7515).
fn signed(url: &str, nonce: &str, account: &Opened) -> Result<Vec<u8>, Fault> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &account.key).map_err(Fault::ours)?;
    let protected = json!({"alg": "ES256", "kid": account.account.id(), "nonce": nonce, "url": url});
    let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
    let signature = key.sign(&SystemRandom::new(), format!("{protected}.").as_bytes()).map_err(Fault::ours)?;
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    Ok(json!({"protected": protected, "payload": "", "signature": signature}).to_string().into_bytes())
}
