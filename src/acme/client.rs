//! HTTPS to an authority: what instant-acme asks, under a deadline and a limit, with what it would otherwise drop kept.
//!
//! Promises that no request takes longer than [`DEADLINE`] and no answer is larger than [`LARGEST`]; that the system's
//! roots count as well as the operator's; that an error which is no problem document (RFC 7807) is told with its status.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Bytes,
    header::{DATE, HeaderValue, LINK, RETRY_AFTER},
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::{CertificateError, RootCertStore};
use tokio::time::timeout;

use super::fault::Fault;
use crate::{
    net::https::{self, HttpsFault, Names},
    policy::renewal::Failing,
    telemetry::Told,
};

/// How long one request may take, from the name's lookup to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// The largest answer, in bytes: a chain has a few kilobytes.
const LARGEST: usize = 1 << 20;

/// When renewal information is asked for again where the authority does not say (RFC 9773 §4.3.3).
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("21600");

/// RFC 8555 §6.5.1.
const REPLAY_NONCE: &str = "replay-nonce";

/// What the answers said beside their bodies, the newest of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    retry_at: Option<SystemTime>,
    alternates: Vec<String>,
    clock: Option<SystemTime>,
    nonce: Option<String>,
}

/// The client that instant-acme asks by.
#[derive(Clone)]
pub(super) struct Https {
    client: https::Https<BodyWrapper<Bytes>>,
    /// What the answers said.
    pub(super) heard: Heard,
}

impl Heard {
    /// When the authority wants to be asked again, by its newest answer.
    pub(super) fn retry_at(&self) -> Option<SystemTime> {
        self.said().retry_at
    }

    /// The other chains for the certificate that was fetched last (RFC 8555 §7.4.2), by their URLs.
    pub(super) fn alternates(&self) -> Vec<String> {
        self.said().alternates.clone()
    }

    /// The nonce of the newest answer that had one (RFC 8555 §6.5.1).
    pub(super) fn nonce(&self) -> Option<String> {
        self.said().nonce.clone()
    }

    /// What the authority's clock said last.
    pub(super) fn clock(&self) -> Option<SystemTime> {
        self.said().clock
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, headers: &HeaderMap) {
        let mut said = self.said();
        said.retry_at = headers.get(RETRY_AFTER).and_then(retry_at);
        said.alternates = headers.get_all(LINK).iter().filter_map(alternate).collect();
        said.clock = headers.get(DATE).and_then(date).or(said.clock);
        let nonce = headers.get(REPLAY_NONCE).and_then(|nonce| nonce.to_str().ok());
        said.nonce = nonce.map(str::to_owned).or(said.nonce.take());
    }
}

impl Https {
    /// A client that trusts `roots`.
    pub(super) fn new(roots: RootCertStore) -> Result<Self, Fault> {
        let client = https::Https::new(roots, Names::of_the_system()).map_err(Fault::ours)?;
        Ok(Self { client, heard: Heard::default() })
    }

    /// Asks, and returns the answer with its whole body.
    ///
    /// # Errors
    /// No answer in time, one that is too large, or one that says neither yes nor no in the protocol's words.
    pub(super) async fn ask(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Fault> {
        let (method, url) = (request.method().clone(), request.uri().to_string());
        let asked = timeout(DEADLINE, async {
            let answer = self.client.ask(request).await.map_err(|fault| unreachable(&fault))?;
            https::whole(answer, LARGEST).await.map_err(|fault| unreachable(&fault))
        });
        let answered = asked.await.unwrap_or_else(|_| {
            Err(Fault::unreachable(format!("the authority did not answer within {} s", DEADLINE.as_secs())))
        });
        let mut answer = answered.map_err(|fault| fault.while_doing(&url))?;
        if method == Method::GET && !is_failure(&answer) {
            // instant-acme refuses renewal information without it.
            answer.headers_mut().entry(RETRY_AFTER).or_insert(ASK_AGAIN);
        }
        self.heard.note(answer.headers());
        match problem(&answer) {
            _ if !is_failure(&answer) => Ok(answer),
            None => Err(odd(&answer, self.heard.retry_at()).while_doing(&url)),
            // instant-acme would take it for a directory.
            Some(problem) if method == Method::GET => {
                Err(Fault { retry_at: self.heard.retry_at(), ..Fault::of_problem(&problem) }.while_doing(&url))
            }
            Some(_) => Ok(answer),
        }
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let answer = client.ask(request).await.map_err(|fault| Error::Other(Box::new(fault)))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

fn is_failure(answer: &Response<Bytes>) -> bool {
    answer.status().is_client_error() || answer.status().is_server_error()
}

fn problem(answer: &Response<Bytes>) -> Option<Problem> {
    serde_json::from_slice::<Problem>(answer.body()).ok().filter(|problem| problem.r#type.is_some())
}

/// A proxy's error page, a directory that is not there.
fn odd(answer: &Response<Bytes>, retry_at: Option<SystemTime>) -> Fault {
    let text = String::from_utf8_lossy(answer.body());
    let words = format!("the authority answered {}: {}", answer.status(), Told(text.trim()));
    let fault = match answer.status() {
        StatusCode::TOO_MANY_REQUESTS => Fault { failing: Failing::Limited, ..Fault::refused(words) },
        status if status.is_client_error() => Fault::refused(words),
        _ => Fault::unreachable(words),
    };
    Fault { retry_at, ..fault }
}

fn unreachable(fault: &HttpsFault) -> Fault {
    Fault::unreachable(match fault {
        HttpsFault::Certificate(why) => format!("the authority's own certificate: {}", advice(why)),
        HttpsFault::Unreachable(why) => format!("the authority cannot be reached: {why}"),
        HttpsFault::BrokeOff(why) => format!("the authority's answer broke off: {why}"),
        HttpsFault::TooLarge(most) => format!("the authority's answer has more than {most} octets"),
    })
}

fn advice(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "its root is not trusted here; for a private authority, name its root in the table's ca".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("it has expired, or this machine's clock is wrong ({why})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("it is not valid yet, or this machine's clock is wrong ({why})")
        }
        _ => why.to_string(),
    }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_at(value: &HeaderValue) -> Option<SystemTime> {
    let seconds = value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs);
    seconds.map_or_else(|| date(value), |seconds| SystemTime::now().checked_add(seconds))
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// RFC 8288 §3: `<URL>;rel="alternate"`.
fn alternate(value: &HeaderValue) -> Option<String> {
    let (url, parameters) = value.to_str().ok()?.trim().strip_prefix('<')?.split_once('>')?;
    let is_alternate = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("alternate")
    };
    parameters.split(';').any(is_alternate).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternate_chains_are_found_among_the_links() {
        let link = |text: &'static str| alternate(&HeaderValue::from_static(text));
        assert_eq!(
            link("<https://ca.example/cert/1/1>;rel=\"alternate\"").as_deref(),
            Some("https://ca.example/cert/1/1")
        );
        assert_eq!(link("<https://ca.example/1>; title=x; REL = alternate").as_deref(), Some("https://ca.example/1"));
        assert_eq!(link("<https://ca.example/directory>;rel=\"index\""), None);
        assert_eq!(link("https://ca.example/1; rel=alternate"), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |text| retry_at(&HeaderValue::from_static(text));
        let in_a_minute = SystemTime::now() + Duration::from_secs(60);
        let late = at("60").unwrap().duration_since(in_a_minute).unwrap_or_default();
        assert!(late < Duration::from_secs(5), "{late:?}");
        assert_eq!(
            at("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
        );
        assert_eq!(at("soon"), None);
        assert_eq!(at("18446744073709551615"), None);
    }
}
