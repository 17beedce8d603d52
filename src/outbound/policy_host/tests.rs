//! What is made of what a policy host answers.

use std::{net::SocketAddr, sync::atomic::Ordering};

use rcgen::date_time_ymd;
use tokio::net::TcpListener;

use super::{served::*, *};
use crate::policy::{
    certificate::Untrusted,
    mta_sts::{Invalid, Mode},
};

/// Waits for a fetch that nobody notes.
async fn fetch_from(hosts: &PolicyHosts, domain: &str) -> Fetched {
    hosts.fetch(domain, |_| {}).wait().await.clone()
}

async fn fetch(tweak: Tweak, answer: Vec<u8>) -> Fetched {
    let authority = authority();
    let host = serve(&authority, tweak, Some(answer)).await;
    timeout(Duration::from_secs(30), fetch_from(&hosts(&authority, &host), DOMAIN)).await.unwrap()
}

#[tokio::test]
async fn m4_a_policy_is_got_from_its_one_place() {
    let authority = authority();
    let host =
        serve(&authority, right, Some(answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", POLICY))).await;
    let policy = fetch_from(&hosts(&authority, &host), DOMAIN).await.unwrap();
    assert_eq!((policy.mode, policy.lines.len()), (Mode::Enforce, 4));
    let seen = host.seen.last.lock().unwrap().to_ascii_lowercase();
    assert!(seen.starts_with("mta-sts.example.org\nget /.well-known/mta-sts.txt http/1.1\r\n"), "{seen}");
    assert!(seen.contains("host: mta-sts.example.org\r\n"), "{seen}");
}

#[tokio::test]
async fn m4_and_row_64_nothing_but_200_is_a_policy_and_no_redirection_is_followed() {
    for status in [201, 203, 204, 206, 301, 302, 304, 307, 308, 400, 404, 500, 503] {
        let location = format!("Location: https://{HOST}/.well-known/mta-sts.txt\r\n");
        let authority = authority();
        let body = if matches!(status, 204 | 304) { "" } else { POLICY };
        let host = serve(&authority, right, Some(answer(&format!("{status} x"), &location, body))).await;
        let fetched = fetch_from(&hosts(&authority, &host), DOMAIN).await;
        assert_eq!(fetched, Err(Fault::Status(status)));
        assert_eq!(host.seen.requests.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[tokio::test]
async fn m4_what_is_served_as_something_else_than_text_is_none() {
    for kind in ["text/html", "text/html; x=text/plain", "application/octet-stream", "text/plainer", ""] {
        let fetched = fetch(right, answer("200 OK", &format!("Content-Type: {kind}\r\n"), POLICY)).await;
        assert_eq!(fetched, Err(Fault::MediaType(kind.into())));
    }
    for headers in ["Content-Type: TEXT/Plain\r\n", ""] {
        assert!(fetch(right, answer("200 OK", headers, POLICY)).await.is_ok(), "{headers}");
    }
}

#[tokio::test]
async fn m4_and_row_64_more_than_64_kilobytes_are_too_much_however_they_come() {
    let filler = |octets: usize| format!("{POLICY}x: {}", "y".repeat(octets - POLICY.len() - 3));
    assert!(fetch(right, answer("200 OK", "", &filler(LARGEST))).await.is_ok());
    assert_eq!(fetch(right, answer("200 OK", "", &filler(LARGEST + 1))).await, Err(Fault::TooLarge(LARGEST)));
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(17));
    assert_eq!(fetch(right, endless.into_bytes()).await, Err(Fault::TooLarge(LARGEST)));
    let unbounded = format!("HTTP/1.1 200 OK\r\n\r\n{}", filler(LARGEST + 1));
    assert_eq!(fetch(right, unbounded.into_bytes()).await, Err(Fault::TooLarge(LARGEST)));
}

#[tokio::test]
async fn m4_half_an_answer_and_a_policy_that_is_none_are_told_apart() {
    let mut half = answer("200 OK", "", POLICY);
    half.truncate(half.len() - 10);
    assert!(matches!(fetch(right, half).await, Err(Fault::Unreachable(_))));
    let missing = fetch(right, answer("200 OK", "", "version: STSv1\nmax_age: 1\n")).await;
    assert_eq!(missing, Err(Fault::Invalid(Invalid::Missing("mode"))));
    assert!(matches!(fetch(right, b"+OK hello\r\n".to_vec()).await, Err(Fault::Unreachable(_))));
}

#[tokio::test]
async fn m4_and_row_64_the_certificate_must_be_known_unexpired_and_have_the_name_among_its_dns_names() {
    let good = || answer("200 OK", "", POLICY);
    let expired = fetch(|params| params.not_after = date_time_ymd(2001, 1, 1), good()).await;
    assert_eq!(expired, Err(Fault::Certificate(Untrusted::Expired)));
    let other = fetch(|params| params.subject_alt_names = names(&["example.org", "www.example.org"]), good()).await;
    let presented = vec!["example.org".to_owned(), "www.example.org".to_owned()];
    assert_eq!(other, Err(Fault::Certificate(Untrusted::WrongName { expected: vec![HOST.into()], presented })));
    let common_name_only = fetch(|params| params.subject_alt_names.clear(), good()).await;
    assert!(matches!(common_name_only, Err(Fault::Certificate(Untrusted::WrongName { .. }))), "{common_name_only:?}");
    assert!(fetch(|params| params.subject_alt_names = names(&["*.example.org"]), good()).await.is_ok());
    let (known, unknown) = (authority(), authority());
    let host = serve(&unknown, right, Some(good())).await;
    let stranger = fetch_from(&hosts(&known, &host), DOMAIN).await;
    assert!(matches!(stranger, Err(Fault::Certificate(Untrusted::NotTrusted(_)))), "{stranger:?}");
}

fn names(names: &[&str]) -> Vec<rcgen::SanType> {
    names.iter().map(|name| rcgen::SanType::DnsName((*name).try_into().unwrap())).collect()
}

#[tokio::test]
async fn row_50_a_host_that_never_answers_is_given_up() {
    let authority = authority();
    let host = serve(&authority, right, None).await;
    let deadline = Duration::from_millis(300);
    let hosts = PolicyHosts { deadline, ..hosts(&authority, &host) };
    assert_eq!(fetch_from(&hosts, DOMAIN).await, Err(Fault::Late(deadline)));
    assert!(hosts.under_way.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_fetch_that_ends_by_a_panic_is_told_and_does_not_stand_in_the_way_of_the_next() {
    let names = Names::by(|_| async { panic!("as a test has it") });
    let hosts = PolicyHosts::new(RootCertStore::empty(), names, Handle::current()).unwrap();
    for _ in 0..2 {
        let fetched = timeout(Duration::from_secs(30), fetch_from(&hosts, DOMAIN)).await;
        assert!(matches!(fetched, Ok(Err(Fault::Unreachable(_)))), "{fetched:?}");
    }
}

#[tokio::test]
async fn m4_a_host_that_is_not_there_is_told_so() {
    let authority = authority();
    let host = serve(&authority, right, None).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fetched = fetch_from(&hosts(&authority, &PolicyHost { at: nobody, ..host }), DOMAIN).await;
    assert!(matches!(fetched, Err(Fault::Unreachable(_))), "{fetched:?}");
}

#[tokio::test]
async fn m14_no_other_domain_is_asked_than_the_one_named() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = asked.clone();
    let names = Names::by(move |name| {
        note.lock().unwrap().push(name);
        async { Err::<Vec<SocketAddr>, _>(std::io::Error::from(std::io::ErrorKind::NotFound)) }
    });
    let hosts = PolicyHosts::new(RootCertStore::empty(), names, Handle::current()).unwrap();
    assert!(matches!(fetch_from(&hosts, "a.b.example").await, Err(Fault::Unreachable(_))));
    assert_eq!(*asked.lock().unwrap(), ["mta-sts.a.b.example"]);
}

#[tokio::test]
async fn m6_a_domain_is_asked_once_and_noted_once_however_many_wait_and_those_who_gave_up_do_not_end_it() {
    let authority = authority();
    let host = serve(&authority, right, Some(answer("200 OK", "", POLICY))).await;
    let hosts = hosts(&authority, &host);
    let noted = Arc::new(Mutex::new(Vec::new()));
    let fetch = |who| {
        let noted = noted.clone();
        hosts.fetch(DOMAIN, move |fetched| noted.lock().unwrap().push((who, fetched.is_ok())))
    };
    drop(fetch(0));
    let waiting: Vec<_> = (1..=10).map(fetch).collect();
    for fetching in waiting {
        assert!(fetching.wait().await.is_ok());
    }
    assert_eq!(host.seen.requests.load(Ordering::SeqCst), 1);
    assert!(fetch(11).wait().await.is_ok());
    assert_eq!(host.seen.requests.load(Ordering::SeqCst), 2, "what was found is not kept");
    assert_eq!(*noted.lock().unwrap(), [(0, true), (11, true)]);
}
