//! What a request is answered: nothing but the request, the answers that are pending and one setting decide it.

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    body::Bytes,
    header::{ALLOW, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION},
};

use super::host;
use crate::acme::Tokens;

/// Where an authority looks for its answer (RFC 8555 §8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The answer to `request`. With `redirect_https` what is no challenge is sent on.
pub(super) fn answer<B>(request: &Request<B>, tokens: &Tokens, redirect_https: bool) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return bare(StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, HeaderValue::from_static("GET, HEAD"))));
    }
    if !says_host(request.version(), request.headers()) {
        return bare(StatusCode::BAD_REQUEST, None);
    }
    match request.uri().path().strip_prefix(CHALLENGES) {
        Some(token) => match tokens.find(token) {
            Some(key_authorization) => challenge(key_authorization),
            None => bare(StatusCode::NOT_FOUND, None),
        },
        None if redirect_https => match location(request.uri(), request.headers()) {
            Some(location) => bare(StatusCode::MOVED_PERMANENTLY, Some((LOCATION, location))),
            None => bare(StatusCode::BAD_REQUEST, None),
        },
        None => bare(StatusCode::NOT_FOUND, None),
    }
}

/// RFC 9112 §3.2: exactly one Host, which HTTP/1.0 did not have yet.
fn says_host(version: Version, headers: &HeaderMap) -> bool {
    let count = headers.get_all(HOST).iter().count();
    count == 1 || (count == 0 && version == Version::HTTP_10)
}

/// The same place over https.
fn location(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    // RFC 9112 §3.2.2: a host in the request line overrules the field.
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST)?.to_str().ok()?,
    };
    let name = host::name(host)?;
    let place = uri.path_and_query()?.as_str();
    // Not `*`, and nothing that would not be the path of the name before it.
    let is_path = place.starts_with('/') && place.bytes().all(|byte| byte.is_ascii_graphic());
    let location = is_path.then(|| format!("https://{name}{place}"))?;
    HeaderValue::try_from(location).ok()
}

fn challenge(key_authorization: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(key_authorization));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// A status without a text.
fn bare(status: StatusCode, header: Option<(HeaderName, HeaderValue)>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().extend(header);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status and Location of the answer to a request with these Host fields.
    fn asked(method: &str, target: &str, hosts: &[&str], redirect_https: bool) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let tokens = Tokens::default();
        tokens.present("token", "token.thumbprint");
        let response = answer(&request.body(()).unwrap(), &tokens, redirect_https);
        let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        (response.status().as_u16(), location.unwrap_or_default())
    }

    fn status(method: &str, target: &str, hosts: &[&str]) -> u16 {
        let (status, location) = asked(method, target, hosts, false);
        assert_eq!(location, "");
        status
    }

    #[test]
    fn a_pending_token_is_answered_and_nothing_else() {
        let host = &["mx.example.org"][..];
        for (target, expected) in [
            ("/.well-known/acme-challenge/token", 200),
            ("/.well-known/acme-challenge/token?x=y", 200),
            ("http://mx.example.org/.well-known/acme-challenge/token", 200),
            ("/.well-known/acme-challenge/other", 404),
            ("/.well-known/acme-challenge/", 404),
            ("/.well-known/acme-challenge/token/", 404),
            ("/.well-known/acme-challenge/../acme-challenge/token", 404),
            ("/.well-known/acme-challenge/%74oken", 404),
            ("//.well-known/acme-challenge/token", 404),
            ("/.well-known/acme-challenge", 404),
            ("/", 404),
            ("*", 404),
        ] {
            assert_eq!(status("GET", target, host), expected, "{target}");
            assert_eq!(status("HEAD", target, host), expected, "{target}");
        }
    }

    #[test]
    fn other_methods_are_not_allowed_wherever_they_are_tried() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"] {
            assert_eq!(status(method, "/.well-known/acme-challenge/token", &["mx.example.org"]), 405, "{method}");
        }
    }

    #[test]
    fn a_request_says_exactly_once_which_host_it_is_for() {
        let target = "/.well-known/acme-challenge/token";
        assert_eq!(status("GET", target, &[]), 400);
        assert_eq!(status("GET", target, &["mx.example.org", "mx.example.org"]), 400);
        assert_eq!(status("GET", target, &["mx.example.org"]), 200);
    }

    #[test]
    fn where_clients_are_sent_on_a_challenge_is_answered_all_the_same() {
        let asked = |target| asked("GET", target, &["mx.example.org"], true);
        assert_eq!(asked("/.well-known/acme-challenge/token"), (200, String::new()));
        assert_eq!(asked("/.well-known/acme-challenge/other"), (404, String::new()));
    }

    #[test]
    fn a_client_is_sent_to_the_same_host_path_and_query_over_https() {
        for (target, host, expected) in [
            ("/", "mx.example.org", "https://mx.example.org/"),
            ("/a/b?c=d&e", "mx.example.org:8080", "https://mx.example.org/a/b?c=d&e"),
            ("//evil.example/", "mx.example.org", "https://mx.example.org//evil.example/"),
            ("/%0d%0aX:%20y", "mx.example.org", "https://mx.example.org/%0d%0aX:%20y"),
            ("/\\evil.example", "mx.example.org", "https://mx.example.org/\\evil.example"),
            ("/", "[2001:db8::1]:80", "https://[2001:db8::1]/"),
            ("http://imap.example.org:80/x", "mx.example.org", "https://imap.example.org/x"),
            ("http://imap.example.org", "mx.example.org", "https://imap.example.org/"),
        ] {
            assert_eq!(asked("GET", target, &[host], true), (301, expected.to_owned()), "{target}");
        }
    }

    #[test]
    fn nobody_is_sent_to_a_host_that_is_none() {
        for (target, host) in [
            ("/", ""),
            ("/", "evil.example/mx.example.org"),
            ("/", "user@mx.example.org"),
            ("/", "mx.example.org:80@evil.example"),
            ("/", "mx\u{e4}.example.org"),
            ("http://user@imap.example.org/", "mx.example.org"),
            ("mx.example.org:80", "mx.example.org"),
            ("*", "mx.example.org"),
        ] {
            assert_eq!(asked("GET", target, &[host], true), (400, String::new()), "{target} {host}");
        }
    }
}
