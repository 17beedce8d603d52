//! Certificates from an ACME authority that are renewed: when, with which key, and without a session noticing.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use serde_json::Value;
use support::{Fault, Front, Gateway, NAME, Pebble, Resource, Scratch, Shown, Talk, eventually, figure, size};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An IMAP session that is logged in, and the certificate that it was shown.
fn session(gateway: &Gateway, roots: &Arc<RootCertStore>) -> (Talk, Shown) {
    let mut talk = Talk::to(gateway.address("imaps")).tls(roots.clone());
    let shown = Shown::by(&talk);
    talk.expect("* OK");
    talk.send("a LOGIN alice secret\r\n").until("a OK");
    (talk, shown)
}

#[test]
fn a_renewal_under_load_is_what_new_sessions_see_within_a_second_and_no_session_notices() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).start();
    let roots = pebble.roots(0);
    let old = gateway.shows("imaps", &roots);
    let count = size("sessions that idle while a certificate is renewed", 50, 500);
    let mut idle: Vec<Talk> = (0..count).map(|_| session(&gateway, &roots).0).collect();

    let enough = AtomicBool::new(false);
    let (new, stream) = thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let mut seen = Vec::new();
            while !enough.load(Relaxed) {
                let begun = SystemTime::now();
                seen.push((begun, session(&gateway, &roots).1));
            }
            seen
        });
        gateway.renew("main");
        let new = gateway.shows_another("imaps", &roots, &old);
        let late = landed(&gateway) + Duration::from_secs(2);
        eventually(|| (SystemTime::now() > late).then_some(()));
        enough.store(true, Relaxed);
        (new, stream.join().expect("no new session fails"))
    });

    let in_force = landed(&gateway) + Duration::from_secs(1);
    assert!(stream.iter().all(|(_, shown)| *shown == old || *shown == new), "two certificates and no other");
    let after: Vec<_> = stream.iter().filter(|(begun, _)| *begun > in_force).collect();
    assert!(!after.is_empty() && after.iter().all(|(_, shown)| *shown == new), "a second after it was issued");
    let first = stream.iter().find(|(_, shown)| *shown == new).map(|(begun, _)| *begun).expect("a new session");
    let delay = first.duration_since(landed(&gateway)).unwrap_or_default().as_millis();
    figure(&format!("a renewed certificate is seen after {delay} ms, among {} new sessions", stream.len()));
    for talk in &mut idle {
        talk.send("b NOOP\r\n").until("b OK");
    }
}

/// When the certificate in force came into the cache: its file was given its name, which was on the disk by then.
fn landed(gateway: &Gateway) -> SystemTime {
    let file = fs::metadata(gateway.scratch.join("acme/main/ecdsa-p256.pem")).expect("the cache");
    let [seconds, nanoseconds] = [file.ctime(), file.ctime_nsec()].map(|count| count.try_into().expect("since 1970"));
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

#[test]
fn a_start_with_a_valid_certificate_in_the_cache_needs_no_authority_and_asks_none() {
    let mut pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let mut gateway = Gateway::imaps_behind(&front, &pebble).start();
    let roots = pebble.roots(0);
    let shown = gateway.shows("imaps", &roots);
    gateway.certs_say("renew-before");
    gateway.signal("TERM");
    gateway.ended();
    pebble.stop();
    let connections = front.connections();
    gateway.start_again();
    assert_eq!(gateway.shown("imaps", &roots), Some(shown), "at once");
    gateway.certs_say("renew-before");
    assert_eq!(front.connections(), connections, "nobody was asked");
}

#[test]
fn domains_that_change_are_asked_for_while_the_old_certificate_serves() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let gateway = Gateway::imaps_behind(&front, &pebble).start();
    let roots = pebble.roots(0);
    let old = gateway.shows("imaps", &roots);
    front.hold(Resource::Finalize);
    let finalized = front.requests(Resource::Finalize).len();
    gateway.edit(&format!("[\"{NAME}\"]"), &format!("[\"{NAME}\", \"mx1.example.org\"]"));
    assert!(gateway.reload());
    front.awaits(Resource::Finalize, finalized + 1);
    assert_eq!(gateway.shown("imaps", &roots).as_ref(), Some(&old));
    front.release(Resource::Finalize);
    let new = gateway.shows_another("imaps", &roots, &old);
    assert_eq!(new.names, [NAME, "mx1.example.org"]);
}

#[test]
fn d25_a_renewed_certificate_has_the_key_of_the_one_before_it_unless_told_otherwise() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).start();
    let roots = pebble.roots(0);
    let first = gateway.shows("imaps", &roots);
    gateway.renew("main");
    let second = gateway.shows_another("imaps", &roots, &first);
    assert_eq!(second.key, first.key);
    gateway.edit("[acme.main]\n", "[acme.main]\nreuse-key = false\n");
    assert!(gateway.reload());
    gateway.renew("main");
    let third = gateway.shows_another("imaps", &roots, &second);
    assert_ne!(third.key, first.key);
}

#[test]
fn d25_a_key_that_was_made_ready_is_told_first_and_changed_to_when_asked() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).start();
    let roots = pebble.roots(0);
    let first = gateway.shows("imaps", &roots);
    gateway.command(&["certs", "renew", "main", "--next-key"]).fails().prints("next-key");

    let told = gateway.command(&["certs", "next-key", "main"]).succeeds().text();
    let next = told.split_whitespace().find(|word| word.len() == 64).expect("a digest").to_owned();
    assert_ne!(next, first.key);
    gateway.command(&["certs", "next-key", "main"]).succeeds().prints(&next);
    let listed = gateway.certs();
    assert!(listed.contains(&next), "{listed}");
    gateway.renew("main");
    let second = gateway.shows_another("imaps", &roots, &first);
    assert_eq!(second.key, first.key, "its record may not be published yet");

    gateway.command(&["certs", "renew", "main", "--next-key"]).succeeds();
    let third = gateway.shows_another("imaps", &roots, &second);
    assert_eq!(third.key, next);
    gateway.renew("main");
    let fourth = gateway.shows_another("imaps", &roots, &third);
    assert_eq!(fourth.key, next);
}

/// A window that leaves everything as it is.
fn far() -> (SystemTime, SystemTime) {
    let now = SystemTime::now();
    (now + 300 * DAY, now + 301 * DAY)
}

/// What the orders were for.
fn orders(front: &Front) -> Vec<Value> {
    front
        .requests(Resource::NewOrder)
        .into_iter()
        .map(|request| request.payload)
        .filter(|said| !said.is_null())
        .collect()
}

#[test]
fn a_certificate_is_renewed_in_the_authoritys_window_and_the_order_says_which_it_replaces() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    front.suggest(&[far()], None);
    front.hold(Resource::RenewalInfo);
    let gateway = Gateway::imaps_behind(&front, &pebble).start();
    let roots = pebble.roots(0);
    let first = gateway.shows("imaps", &roots);
    // The second that has begun is not told.
    let start = SystemTime::now() + Duration::from_secs(5);
    front.suggest(&[(start, start + Duration::from_secs(2)), far()], None);
    front.release(Resource::RenewalInfo);
    gateway.certs_say("suggests");
    gateway.shows_another("imaps", &roots, &first);
    let renewed = landed(&gateway);
    assert!(renewed >= start - Duration::from_secs(1), "not before it");
    // An order takes a few seconds, and more on a slow machine.
    assert!(renewed < start + Duration::from_secs(30), "not long after it");

    // The second certificate is asked about too.
    let asked = front.awaits(Resource::RenewalInfo, 2);
    let name = asked[0].path.rsplit('/').next().expect("a name");
    let ordered = orders(&front);
    assert!(ordered[0]["replaces"].is_null(), "{ordered:?}");
    assert_eq!(ordered.last().expect("an order")["replaces"], name);
    assert_ne!(asked[1].path, asked[0].path);
}

#[test]
fn a_window_that_is_over_is_acted_upon_at_once_but_not_again_and_again() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let over = SystemTime::now() - DAY;
    front.suggest(&[(over, over)], None);
    let gateway = Gateway::imaps_behind(&front, &pebble).start();
    let roots = pebble.roots(0);
    let first = gateway.shows("imaps", &roots);
    let second = gateway.shows_another("imaps", &roots, &first);

    // The authority says so of every certificate, as one does that is out of its mind.
    let (mut idle, _) = session(&gateway, &roots);
    assert!(idle.is_silent_for(Duration::from_secs(5)), "a session that says nothing");
    let last = gateway.shows("imaps", &roots);
    assert_eq!((last, pebble.orders()), (second, 2), "it is not asked again and again: {}", gateway.certs());
}

#[test]
fn an_order_that_is_refused_because_of_what_it_replaces_is_made_without() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    front.suggest(&[far()], None);
    let gateway = Gateway::imaps_behind(&front, &pebble).start();
    let roots = pebble.roots(0);
    let first = gateway.shows("imaps", &roots);
    let before = orders(&front).len();
    front.fails(Resource::NewOrder, 1, Fault::Problem(409, "alreadyReplaced", "another order replaces it"));
    gateway.renew("main");
    gateway.shows_another("imaps", &roots, &first);
    let replaces: Vec<_> = orders(&front)[before..].iter().map(|order| order["replaces"].is_string()).collect();
    assert_eq!(replaces.first(), Some(&true));
    assert_eq!(replaces.last(), Some(&false));
}

#[test]
fn an_authority_without_renewal_information_is_not_told_what_an_order_replaces() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let gateway = Gateway::imaps_behind(&front, &pebble).start();
    let first = gateway.shows("imaps", &pebble.roots(0));
    gateway.renew("main");
    gateway.shows_another("imaps", &pebble.roots(0), &first);
    assert!(orders(&front).iter().all(|order| order["replaces"].is_null()), "{:?}", orders(&front));
}

#[test]
fn another_authority_is_asked_when_the_directory_changes_and_is_told_of_no_certificate_of_the_old_one() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    front.suggest(&[far()], None);
    let gateway = Gateway::imaps_from(&pebble).start();
    let first = gateway.shows("imaps", &pebble.roots(0));
    gateway.edit(&pebble.directory(), &front.directory());
    gateway.edit(&pebble.ca().display().to_string(), &front.ca().display().to_string());
    assert!(gateway.reload());
    gateway.shows_another("imaps", &pebble.roots(0), &first);
    let ordered = orders(&front);
    assert!(!ordered.is_empty() && ordered.iter().all(|order| order["replaces"].is_null()), "{ordered:?}");
}

#[test]
fn the_profile_is_asked_for() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    front.profiles(&["classic", "shortlived"]);
    let gateway = Gateway::imaps_behind(&front, &pebble).acme_with("main", "profile = \"shortlived\"").start();
    gateway.shows("imaps", &pebble.roots(0));
    assert!(orders(&front).iter().all(|order| order["profile"] == "shortlived"), "{:?}", orders(&front));
}

#[test]
fn a_certificate_too_short_for_renew_before_is_renewed_in_its_last_third() {
    let validity = Duration::from_secs(24);
    let pebble = Pebble::builder().hurried().validity(validity).start();
    let gateway = Gateway::imaps_from(&pebble).start();
    let roots = pebble.roots(0);
    let first = gateway.shows("imaps", &roots);
    let second = gateway.shows_another("imaps", &roots, &first);
    // Its end, and so its beginning, is a second early.
    let left = first.until.duration_since(landed(&gateway)).expect("before the old one ends");
    assert!(left < validity / 2, "not at once: {left:?} were left");
    assert!(second.until > first.until);
    assert_eq!(pebble.orders(), 2);
}

#[test]
fn a_certificate_within_renew_before_of_its_end_is_renewed_at_the_start_while_it_serves() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    front.hold(Resource::Finalize);
    let end = SystemTime::now() + 20 * DAY;
    let gateway = Gateway::imaps_behind(&front, &pebble)
        .seed("main", |params| {
            (params.not_before, params.not_after) = ((end - 90 * DAY).into(), end.into());
        })
        .start();
    front.awaits(Resource::Finalize, 1);
    assert!(gateway.shown("imaps", &gateway.authority.roots()).is_some());
    front.release(Resource::Finalize);
    gateway.shows("imaps", &pebble.roots(0));
}

#[test]
fn two_processes_on_one_cache_make_one_order() {
    let pebble = Pebble::builder().trusting().start();
    let front = Front::before(&pebble);
    let cache = Scratch::new("cache");
    let lines = format!("cache = \"{}\"", cache.path().display());
    let start = || {
        let builder = Gateway::builder().implicit("imaps", "imap", "embedded");
        builder.acme("main", &front.directory(), &front.ca()).acme_with("main", &lines).start()
    };
    front.hold(Resource::NewOrder);
    let gateways = [start(), start()];
    front.awaits(Resource::NewOrder, 1);
    // The other one waits now, or will.
    front.release(Resource::NewOrder);
    let shown = gateways.each_ref().map(|gateway| gateway.shows("imaps", &pebble.roots(0)));
    assert_eq!(shown[0], shown[1]);
    for gateway in &gateways {
        gateway.certs_say("renew-before");
    }
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn what_is_broken_in_the_cache_is_reported_and_replaced_and_never_served() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).seed_text("main", "-----BEGIN PRIVATE KEY-----\nMIGHAgEA").start();
    gateway.log_line("a word about the file", |line| {
        line["level"] == "WARN" && line.to_string().contains("ecdsa-p256.pem")
    });
    gateway.shows("imaps", &pebble.roots(0));
}

#[test]
fn a_certificate_that_nears_its_end_is_warned_of() {
    let mut pebble = Pebble::builder().hurried().start();
    pebble.stop();
    let end = SystemTime::now() + 9 * DAY;
    let gateway = Gateway::imaps_from(&pebble)
        .seed("main", |params| {
            (params.not_before, params.not_after) = ((end - 90 * DAY).into(), end.into());
        })
        .start();
    gateway.log_line("a warning", |line| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("nears its end"))
    });
    assert!(gateway.shown("imaps", &gateway.authority.roots()).is_some());
}
