//! An ACME authority's bad days, and ours: whatever fails, the old certificate serves, the operator is told why, and what
//! worked before works again afterwards.
//!
//! After a failure the next attempt is minutes away; the tests have it made at once, by `mailward certs renew`.

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use support::{Fault, Front, Gateway, GatewayBuilder, NAME, Pebble, Resource, Talk, eventually, run};

/// Every time.
const ALWAYS: usize = usize::MAX;

/// A renewal fails, the operator is told so in these words, and the certificate that was in the cache from the start serves.
#[track_caller]
fn renewal_fails(gateway: &Gateway, words: &str) {
    gateway.renew("main");
    gateway.certs_say(words);
    assert!(gateway.shown("imaps", &gateway.authority.roots()).is_some(), "the old certificate serves");
}

/// A renewal succeeds, and its certificate takes the place of the one that was there from the start.
#[track_caller]
fn renewal_succeeds(gateway: &Gateway, pebble: &Pebble) {
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
}

#[test]
fn an_authority_that_is_down() {
    let mut pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).seed("main", |_| {}).start();
    pebble.stop();
    renewal_fails(&gateway, "Connection refused");
    pebble.start_again();
    renewal_succeeds(&gateway, &pebble);
}

#[test]
fn a_dripping_an_endless_and_a_silent_authority_hold_up_no_other_certificate() {
    let pebble = Pebble::builder().hurried().start();
    let front = || Front::before(&pebble);
    let [silent, dripping, flooding] = [front(), front(), front()];
    silent.fails(Resource::Directory, ALWAYS, Fault::Hang);
    dripping.fails(Resource::Directory, ALWAYS, Fault::Drip);
    flooding.fails(Resource::Directory, ALWAYS, Fault::Flood);
    let mut builder = Gateway::imaps_from(&pebble);
    for (id, front) in [("silent", &silent), ("dripping", &dripping), ("flooding", &flooding)] {
        let lines = format!("domains = \"{id}.example.org\"\ndefault = false");
        builder = builder.acme(id, &front.directory(), &front.ca()).acme_with(id, &lines);
    }
    let gateway = builder.start();
    for front in [&silent, &dripping, &flooding] {
        front.awaits(Resource::Directory, 1);
    }
    gateway.shows("imaps", &pebble.roots(0));
    for id in ["silent", "dripping", "flooding"] {
        gateway.log_line(&format!("{id} to be given up"), |line| {
            line["level"] == "WARN" && line["acme"] == id && !line["reason"].is_null()
        });
    }
    for (front, id) in [(&silent, "silent"), (&dripping, "dripping"), (&flooding, "flooding")] {
        assert_eq!(front.requests(Resource::Directory).len(), 1, "{id}: the next attempt is minutes away");
    }
}

#[test]
fn an_authority_that_answers_with_errors_of_its_own() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let gateway = Gateway::imaps_behind(&front, &pebble).seed("main", |_| {}).start();
    let problem = Fault::Problem(500, "serverInternal", "the database is on fire");
    for (resource, fault, words) in [
        (Resource::Directory, Fault::Page(500), "500"),
        (Resource::NewOrder, Fault::Page(502), "502"),
        (Resource::NewOrder, problem, "the database is on fire"),
        (Resource::Finalize, Fault::Page(503), "503"),
    ] {
        front.fails(resource, ALWAYS, fault);
        renewal_fails(&gateway, words);
        front.recovers();
    }
    renewal_succeeds(&gateway, &pebble);
}

#[test]
fn an_authority_that_takes_no_nonce() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let gateway = Gateway::imaps_behind(&front, &pebble).seed("main", |_| {}).start();
    front.fails(Resource::NewOrder, ALWAYS, Fault::Problem(400, "badNonce", "that was no nonce of mine"));
    renewal_fails(&gateway, "that was no nonce of mine");
    let tries = front.requests(Resource::NewOrder).len();
    assert!((2..=20).contains(&tries), "{tries} tries");
    front.recovers();
    renewal_succeeds(&gateway, &pebble);
}

#[test]
fn an_authority_that_limits_the_rate_is_left_alone_for_as_long_as_it_asks_and_over_a_restart() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let later = Duration::from_secs(30 * 60 * 60);
    front.fails(Resource::NewOrder, ALWAYS, Fault::ProblemLater(429, "rateLimited", "too many for example.org", later));
    let mut gateway = Gateway::imaps_behind(&front, &pebble).start();
    gateway.certs_say("too many for example.org");
    let failed = gateway.log_line("a warning", |line| line["level"] == "WARN" && line["reason"].is_string());
    let wait = failed["seconds"].as_u64().expect("how long it waits");
    assert!(wait >= later.as_secs() - 60, "{wait} s is less than was asked for");

    gateway.signal("TERM");
    gateway.ended();
    let connections = front.connections();
    gateway.start_again();
    gateway.certs_say("too many for example.org");
    assert_eq!(front.connections(), connections, "nobody was asked");
    front.recovers();
    renewal_succeeds(&gateway, &pebble);
}

#[test]
fn an_order_that_the_authority_closes() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let gateway = Gateway::imaps_behind(&front, &pebble).seed("main", |_| {}).start();
    let error =
        json!({ "type": "urn:ietf:params:acme:error:badCSR", "detail": "the key is known to many", "status": 400 });
    let closed = json!({
        "status": "invalid", "error": error, "identifiers": [{ "type": "dns", "value": NAME }], "authorizations": [],
        "finalize": front.directory().replace("/dir", "/finalize-order/closed")
    });
    front.fails(Resource::Finalize, ALWAYS, Fault::Answer(200, closed.clone()));
    front.fails(Resource::Order, ALWAYS, Fault::Answer(200, closed));
    renewal_fails(&gateway, "the key is known to many");
    front.recovers();
    let before = pebble.orders();
    renewal_succeeds(&gateway, &pebble);
    assert_eq!(pebble.orders(), before + 1, "a closed order is not gone on with");
}

#[test]
fn a_name_that_the_authority_does_not_issue_for() {
    let pebble = Pebble::builder().refuses(NAME).start();
    let gateway = Gateway::imaps_from(&pebble).seed("main", |_| {}).start();
    renewal_fails(&gateway, "forbidden by policy");
}

#[test]
fn a_challenge_that_is_refused_is_told_with_the_authoritys_reason() {
    let pebble = Pebble::builder().hurried().start();
    // Where it looks for the answer there is nobody.
    let elsewhere = ([127, 0, 0, 1], 0).into();
    let gateway = Gateway::imaps_at(elsewhere, &pebble.directory(), &pebble.ca()).seed("main", |_| {}).start();
    renewal_fails(&gateway, "for the tls-alpn-01 challenge");
    let listed = gateway.certs();
    assert!(
        listed.contains(&format!("Failed to connect to {}:{}", pebble.tls().ip(), pebble.tls().port())),
        "{listed}"
    );
}

#[test]
fn a_clock_that_is_behind() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = at_another_time(Gateway::imaps_from(&pebble), -400).seed("main", |_| {}).start();
    renewal_fails(&gateway, "clock");
}

#[test]
fn a_clock_that_is_ahead_makes_no_order_after_order() {
    let pebble = Pebble::builder().hurried().validity(Duration::from_secs(24 * 60 * 60)).start();
    let gateway = at_another_time(Gateway::imaps_from(&pebble), 30).start();
    let shown = gateway.shows("imaps", &pebble.roots(0));
    gateway.log_line("a word about the clock", |line| line["level"] == "WARN" && line.to_string().contains("clock"));
    // What was issued looks as if it had ended long ago.
    let mut idle = Talk::to(gateway.address("imaps")).tls(pebble.roots(0));
    idle.expect("* OK");
    assert!(idle.is_silent_for(Duration::from_secs(5)), "a session that says nothing");
    assert_eq!((gateway.shown("imaps", &pebble.roots(0)), pebble.orders()), (Some(shown), 1), "{}", gateway.certs());
}

/// A gateway whose clock is wrong by so many days.
fn at_another_time(builder: GatewayBuilder, days: i64) -> GatewayBuilder {
    let library = builder.scratch().join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", &format!("-DSECONDS=({days} * 86400L)"), "-o"]).args([&library, &source]);
    run(&compiler, b"").succeeds();
    builder.environment("LD_PRELOAD", &library.display().to_string())
}

#[test]
fn a_disk_that_is_full_when_the_certificate_is_to_be_saved() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let builder = Gateway::imaps_behind(&front, &pebble);
    let cache = builder.scratch().directory("acme");
    let mount = "mount -t tmpfs -o size=256k,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let gateway = builder.under(&["unshare", "--mount", "sh", "-c", mount, &cache.display().to_string()]).start();
    let roots = pebble.roots(0);
    let old = gateway.shows("imaps", &roots);
    gateway.certs_say("renew-before");
    // As the process sees it.
    let cache = Path::new("/proc")
        .join(gateway.pid().to_string())
        .join("root")
        .join(cache.strip_prefix("/").expect("a whole path"));

    let full = fill(&cache);
    gateway.renew("main");
    gateway.certs_say("No space left");
    assert_eq!(pebble.orders(), 1, "no order is made that could not be kept");
    fs::remove_file(&full).expect("it is there");

    front.hold(Resource::Finalize);
    // The first order may have taken two, where its nonce was refused.
    let finalized = front.requests(Resource::Finalize).len();
    gateway.renew("main");
    front.awaits(Resource::Finalize, finalized + 1);
    let full = fill(&cache);
    let told =
        |gateway: &Gateway| gateway.count(|line| line["level"] == "WARN" && line.to_string().contains("No space left"));
    let before = told(&gateway);
    front.release(Resource::Finalize);
    eventually(|| (told(&gateway) > before).then_some(())).expect("a word about the disk");
    let made = front.requests(Resource::Finalize).len();
    assert_eq!(gateway.shown("imaps", &roots).as_ref(), Some(&old));
    fs::remove_file(&full).expect("it is there");
    gateway.renew("main");
    gateway.shows_another("imaps", &roots, &old);
    assert_eq!(pebble.orders(), 2, "the order that could not be kept is gone on with");
    assert_eq!(front.requests(Resource::Finalize).len(), made, "and was asked for once");
}

/// Leaves no byte free in this directory, by a file.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("full");
    let mut file = File::create(&path).expect("the directory is writable");
    while file.write_all(&[0; 512]).is_ok() {}
    path
}

#[test]
fn a_stop_in_the_middle_of_an_order_and_a_start_that_goes_on_with_it() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let mut gateway = Gateway::imaps_behind(&front, &pebble).start();
    for resource in [Resource::Challenge, Resource::Finalize] {
        front.fails(resource, 1, Fault::Hang);
    }
    for resource in [Resource::Challenge, Resource::Finalize] {
        front.awaits(resource, 1);
        gateway.signal("TERM");
        assert_eq!(gateway.ended(), Some(0));
        gateway.start_again();
    }
    gateway.shows("imaps", &pebble.roots(0));
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn a_reload_in_the_middle_of_an_order() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    front.hold(Resource::Challenge);
    let gateway = Gateway::imaps_behind(&front, &pebble).start();
    front.awaits(Resource::Challenge, 1);
    assert!(gateway.reload());
    front.release(Resource::Challenge);
    gateway.shows("imaps", &pebble.roots(0));
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn an_authority_that_has_deleted_the_account() {
    let mut pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).start();
    gateway.shows("imaps", &pebble.roots(0));
    let account = fs::read_to_string(gateway.scratch.join("acme/main/account.json")).expect("an account");
    pebble.start_again();
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
    let key = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["key"].clone();
    let anew = fs::read_to_string(gateway.scratch.join("acme/main/account.json")).expect("an account");
    assert_eq!(key(&anew), key(&account), "the key stays");
}

#[test]
fn a_connection_that_is_lost_in_the_middle_of_an_order() {
    let pebble = Pebble::builder().hurried().start();
    let front = Front::before(&pebble);
    let gateway = Gateway::imaps_behind(&front, &pebble).seed("main", |_| {}).start();
    front.fails(Resource::Challenge, 1, Fault::Drop);
    gateway.renew("main");
    front.awaits(Resource::Challenge, 1);
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
    assert_eq!(pebble.orders(), 1, "the order is gone on with");
}

#[test]
fn an_authority_that_has_deleted_the_account_whose_contact_has_changed() {
    let mut pebble = Pebble::builder().hurried().start();
    let gateway = Gateway::imaps_from(&pebble).start();
    gateway.shows("imaps", &pebble.roots(0));
    let path = gateway.scratch.join("acme/main/account.json");
    let mut account: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("an account")).expect("JSON");
    account["contact"] = serde_json::json!(["mailto:former@example.org"]);
    fs::write(&path, account.to_string()).expect("a file");
    pebble.start_again();
    gateway.renew("main");
    gateway.shows("imaps", &pebble.roots(0));
}
