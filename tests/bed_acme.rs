//! The test bed itself, without mailward: the authority that certificates come from, and what stands in front of it.

mod support;

use std::process::Command;
use std::time::{Duration, SystemTime};

use support::{Fault, Front, Pebble, Ran, Resource, run};

#[test]
fn pebble_forgets_its_roots_and_keeps_its_ports_when_it_starts_anew() {
    let mut pebble = Pebble::builder().alternates(1).start();
    let names = [pebble.root_name(0), pebble.root_name(1)];
    assert!(names[0] != names[1] && names.iter().all(|name| name.starts_with("Pebble Root CA ")), "{names:?}");
    let directory = pebble.directory();
    get(&pebble, &directory).succeeds().prints("newOrder").prints_no("renewalInfo");
    pebble.stop();
    get(&pebble, &directory).fails();
    pebble.start_again();
    get(&pebble, &directory).succeeds().prints("newOrder");
    assert!(!names.contains(&pebble.root_name(0)), "a new root");
    assert_eq!(pebble.orders(), 0);
}

#[test]
fn the_front_adds_what_pebble_lacks_and_behaves_badly_as_often_as_it_is_told() {
    let pebble = Pebble::builder().start();
    let front = Front::before(&pebble);
    get(&pebble, &front.directory()).succeeds().prints("newOrder").prints_no("renewalInfo").prints_no("profiles");
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let window = |number: u32| (start + number * Duration::from_secs(60), start + number * Duration::from_secs(120));
    front.suggest(&[window(0), window(1)], Some(Duration::from_secs(7)));
    front.profiles(&["shortlived"]);
    get(&pebble, &front.directory()).succeeds().prints("renewalInfo").prints("shortlived");
    let url = |name: &str| front.directory().replace("/dir", &format!("/renewal-info/{name}"));
    get(&pebble, &url("a.b")).succeeds().prints("Retry-After: 7").prints("\"start\":\"2030-03-17T17:46:40Z\"");
    get(&pebble, &url("c.d")).succeeds().prints("\"start\":\"2030-03-17T17:47:40Z\"");
    get(&pebble, &url("a.b")).succeeds().prints("\"start\":\"2030-03-17T17:46:40Z\"");

    front.fails(Resource::Directory, 2, Fault::Later(503, Duration::from_secs(9)));
    front.fails(Resource::Directory, 1, Fault::Drop);
    front.fails(Resource::Directory, 1, Fault::Problem(429, "rateLimited", "too many"));
    for _ in 0..2 {
        get(&pebble, &front.directory()).prints("HTTP/1.1 503").prints("Retry-After: 9");
    }
    get(&pebble, &front.directory()).fails().prints("Empty reply");
    get(&pebble, &front.directory()).prints("urn:ietf:params:acme:error:rateLimited").prints("Replay-Nonce");
    get(&pebble, &front.directory()).succeeds().prints("HTTP/1.1 200");
    let asked: Vec<_> = front.requests(Resource::RenewalInfo).into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/renewal-info/a.b", "/renewal-info/c.d", "/renewal-info/a.b"]);
}

/// The whole reply to a request for this URL.
fn get(pebble: &Pebble, url: &str) -> Ran {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--http1.1", "--cacert"]).arg(pebble.ca()).arg(url);
    run(&command, b"")
}
