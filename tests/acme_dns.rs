//! The challenge dns-01 against a real name server, and by a command.

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailward::acme::dns::{DnsError, Record, Refusal, present, withdraw};
use mailward::config::{Dns01, DnsProvider, Exec, Rfc2136, TsigAlgorithm};
use support::{Named, Port, Scratch, eventually, nobody, reserve_port};

/// Where challenges for `example.org` are.
const CHALLENGE: &str = "_acme-challenge.example.org";

fn settings(server: SocketAddr) -> Rfc2136 {
    Rfc2136 {
        server,
        tcp: false,
        origin: None,
        ttl: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        key: Named::KEY.to_owned(),
        algorithm: TsigAlgorithm::HmacSha256,
        secret: STANDARD.decode(Named::SECRET).expect("base64"),
    }
}

fn dns01(server: Rfc2136) -> Dns01 {
    Dns01 {
        provider: DnsProvider::Rfc2136(server),
        polling_interval: Duration::from_millis(50),
        propagation_timeout: Duration::from_secs(60),
    }
}

fn record(domain: &str, value: &str) -> Record {
    Record { domain: domain.to_owned(), value: value.to_owned() }
}

/// Runs one step of the challenge to its end.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Why the record for a name cannot be written.
#[track_caller]
fn refusal(server: Rfc2136, domain: &str) -> DnsError {
    run(present(&dns01(server), &[record(domain, "value")])).expect_err("this cannot be written")
}

/// Holds the error to be this refusal.
macro_rules! assert_refused {
    ($error:expr, $refusal:pat) => {
        let error = $error;
        assert!(matches!(&error, DnsError::Refused { refusal: $refusal, .. }), "{error}");
    };
}

#[test]
fn a_name_and_its_wildcard_stand_together_and_strangers_stay() {
    let named = Named::builder().zone_with("example.org", "_acme-challenge TXT \"a stranger's\"", GRANT).start();
    let settings = dns01(settings(named.address()));
    let records = [record("example.org", "one"), record("example.org", "two")];
    assert_eq!(run(present(&settings, &records)).expect("written"), [""; 0]);
    assert_eq!(named.texts(CHALLENGE), ["a stranger's", "one", "two"]);
    run(withdraw(&settings, &records[..1])).expect("removed");
    assert_eq!(named.texts(CHALLENGE), ["a stranger's", "two"]);
    run(withdraw(&settings, &records)).expect("what is gone is no error");
    assert_eq!(named.texts(CHALLENGE), ["a stranger's"]);
}

/// What [`Named::zone`] permits too.
const GRANT: &str = "grant mailward zonesub TXT;";

#[test]
fn two_orders_at_once_leave_each_other_alone() {
    let named = Named::builder().zone("example.org").start();
    let settings = dns01(settings(named.address()));
    thread::scope(|scope| {
        for order in 0..4 {
            let (settings, named) = (&settings, &named);
            scope.spawn(move || {
                for round in 0..5 {
                    let value = format!("{order}-{round}");
                    let record = [record("example.org", &value)];
                    assert!(run(present(settings, &record)).expect("written").is_empty());
                    assert!(named.texts(CHALLENGE).contains(&value), "somebody removed {value}");
                    run(withdraw(settings, &record)).expect("removed");
                }
            });
        }
    });
    assert_eq!(named.texts(CHALLENGE), [""; 0]);
}

#[test]
fn tcp_does_as_well() {
    let named = Named::builder().zone("example.org").start();
    let settings = dns01(Rfc2136 { tcp: true, ..settings(named.address()) });
    assert!(run(present(&settings, &[record("example.org", "by tcp")])).expect("written").is_empty());
    assert_eq!(named.texts(CHALLENGE), ["by tcp"]);
}

#[test]
fn more_records_than_a_datagram_holds_are_seen_too() {
    let named = Named::builder().zone("example.org").start();
    let records: Vec<_> = (0..20).map(|number| record("example.org", &format!("{number:043}"))).collect();
    assert!(run(present(&dns01(settings(named.address())), &records)).expect("written").is_empty());
    run(withdraw(&dns01(settings(named.address())), &records)).expect("removed");
    assert_eq!(named.texts(CHALLENGE), [""; 0]);
}

#[test]
fn every_algorithm_is_spoken() {
    let algorithms = [
        (TsigAlgorithm::HmacSha1, "hmac-sha1"),
        (TsigAlgorithm::HmacSha256, "hmac-sha256"),
        (TsigAlgorithm::HmacSha384, "hmac-sha384"),
        (TsigAlgorithm::HmacSha512, "hmac-sha512"),
    ];
    let (mut named, mut policy) = (Named::builder(), String::new());
    for (_, name) in algorithms {
        let secret = Named::SECRET;
        named = named.further(&format!("key {name}.key {{ algorithm {name}; secret \"{secret}\"; }};\n"));
        policy += &format!("grant {name}.key zonesub TXT; ");
    }
    let named = named.zone_with("example.org", "", &policy).start();
    for (algorithm, name) in algorithms {
        let server = Rfc2136 { key: format!("{name}.key"), algorithm, ..settings(named.address()) };
        assert!(run(present(&dns01(server), &[record("example.org", name)])).expect("written").is_empty());
    }
    assert_eq!(named.texts(CHALLENGE), ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"]);
}

#[test]
fn a_sub_zone_of_its_own_is_found() {
    let named = Named::builder().zone("example.org").zone("mail.example.org").start();
    let settings = dns01(settings(named.address()));
    let records = [record("mx.mail.example.org", "below"), record("mail.example.org", "apex")];
    assert!(run(present(&settings, &records)).expect("written").is_empty());
    assert_eq!(named.texts("_acme-challenge.mail.example.org"), ["apex"]);
    assert_eq!(named.texts("_acme-challenge.mx.mail.example.org"), ["below"]);
}

#[test]
fn a_cname_record_leads_to_the_zone_of_challenges() {
    let alias = "_acme-challenge CNAME first.acme.example.net.";
    let records = "first CNAME second\nsecond CNAME example-org";
    let named =
        Named::builder().zone_with("example.org", alias, "").zone_with("acme.example.net", records, GRANT).start();
    let settings = dns01(settings(named.address()));
    let record = [record("example.org", "delegated")];
    assert!(run(present(&settings, &record)).expect("written").is_empty());
    assert_eq!(named.texts("example-org.acme.example.net"), ["delegated"]);
    run(withdraw(&settings, &record)).expect("removed");
    assert_eq!(named.texts("example-org.acme.example.net"), [""; 0]);
}

#[test]
fn cname_records_that_lead_nowhere_are_named() {
    let records = "_acme-challenge.a CNAME _acme-challenge.b\n_acme-challenge.b CNAME _acme-challenge.a\n\
                   _acme-challenge.c CNAME c.example.net.";
    let named = Named::builder().zone_with("example.org", records, GRANT).start();
    let error = refusal(settings(named.address()), "a.example.org").to_string();
    assert_eq!(error, "more than 8 CNAME records lead on from _acme-challenge.a.example.org");
    let error = refusal(settings(named.address()), "c.example.org").to_string();
    let start = "a CNAME record at _acme-challenge.c.example.org leads to c.example.net, and there: the name server ";
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn origin_is_taken_at_its_word() {
    // The wildcard would lead away from the name.
    let named = Named::builder().zone_with("example.org", "* CNAME www.example.net.", GRANT).start();
    let origin = |zone: &str| Rfc2136 { origin: Some(zone.to_owned()), ..settings(named.address()) };
    assert!(matches!(refusal(settings(named.address()), "example.org"), DnsError::Alias { .. }));
    run(present(&dns01(origin("example.org")), &[record("example.org", "inside")])).expect("written");
    assert_eq!(named.texts(CHALLENGE), ["inside"]);
    assert_refused!(refusal(origin("org"), "example.org"), Refusal::NotAuthoritative);
    let error = refusal(origin("example.net"), "example.org");
    assert!(matches!(error, DnsError::OutsideOrigin { .. }), "{error}");
}

#[test]
fn a_zone_that_the_server_does_not_hold_is_an_error_that_says_so() {
    let records = "sub NS ns.sub\nns.sub A 127.0.0.9";
    let named = Named::builder().zone_with("example.org", records, GRANT).start();
    assert_refused!(refusal(settings(named.address()), "example.com"), Refusal::Question);
    let error = refusal(settings(named.address()), "mail.sub.example.org");
    assert!(matches!(&error, DnsError::Delegated { zone, .. } if zone.to_string() == "sub.example.org"), "{error}");
}

#[test]
fn a_wrong_key_secret_or_algorithm_is_told_apart() {
    let named = Named::builder().zone("example.org").start();
    let right = || settings(named.address());
    let error = refusal(Rfc2136 { key: "nobody".to_owned(), ..right() }, "example.org");
    assert!(error.to_string().contains("does not know the key; compare `key`"), "{error}");
    assert_refused!(error, Refusal::Key);
    assert_refused!(refusal(Rfc2136 { algorithm: TsigAlgorithm::HmacSha512, ..right() }, "example.org"), Refusal::Key);
    assert_refused!(refusal(Rfc2136 { secret: b"wrong".to_vec(), ..right() }, "example.org"), Refusal::Secret);
    assert_eq!(named.texts(CHALLENGE), [""; 0]);
}

#[test]
fn a_policy_that_forbids_the_update_is_named() {
    let policy = "grant mailward name _acme-challenge.example.org. TXT;";
    let named = Named::builder().zone_with("example.org", "", policy).start();
    let records = [record("example.org", "permitted"), record("mail.example.org", "forbidden")];
    let settings = dns01(settings(named.address()));
    assert_refused!(run(present(&settings, &records)).expect_err("forbidden"), Refusal::Policy);
    // One that cannot be removed does not keep the others.
    assert_refused!(
        run(withdraw(&settings, &[&records[1..], &records[..1]].concat())).expect_err("forbidden"),
        Refusal::Policy
    );
    assert_eq!(named.texts(CHALLENGE), [""; 0]);
}

#[test]
fn a_server_that_is_down_is_an_error_at_once_and_a_silent_one_in_time() {
    let begun = Instant::now();
    for tcp in [false, true] {
        let error = refusal(Rfc2136 { tcp, ..settings(nobody()) }, "example.org");
        assert!(matches!(error, DnsError::Unreachable { .. }), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let server = settings(silent.local_addr().expect("bound"));
    let error = refusal(Rfc2136 { timeout: Duration::from_millis(1500), ..server }, "example.org");
    assert!(matches!(error, DnsError::Silent { .. }), "{error}");
}

#[test]
fn a_secondary_that_lags_is_waited_for() {
    let gate = Gate::new();
    let primary = Named::builder().zone_with("example.org", &gate.records(), GRANT).start();
    let secondary = Named::builder().secondary("example.org", &primary).start();
    gate.open(secondary.address());
    let settings = dns01(settings(primary.address()));
    let lagging = [record("example.org", "lagging")];
    thread::scope(|scope| {
        let presented = scope.spawn(|| run(present(&settings, &lagging)));
        eventually(|| (gate.passed() > 2).then_some(())).expect("the secondary is asked");
        assert!(!presented.is_finished() && secondary.texts(CHALLENGE).is_empty());
        secondary.notify("example.org");
        assert_eq!(presented.join().expect("no panic").expect("written"), [""; 0]);
    });
    assert_eq!(secondary.texts(CHALLENGE), ["lagging"]);
}

#[test]
fn who_does_not_show_the_record_in_time_is_named_and_the_authority_shall_judge() {
    let gate = Gate::new();
    let primary = Named::builder().zone_with("example.org", &gate.records(), GRANT).start();
    let secondary = Named::builder().secondary("example.org", &primary).start();
    gate.open(secondary.address());
    let settings = Dns01 { propagation_timeout: Duration::from_secs(2), ..dns01(settings(primary.address())) };
    let unseen = run(present(&settings, &[record("example.org", "never there")])).expect("written");
    assert_eq!(unseen, [format!("second.example.org does not show the TXT record at {CHALLENGE}")]);
}

#[test]
fn a_name_server_that_cannot_be_reached_is_named_and_not_waited_for() {
    let nobody = Ipv4Addr::new(127, 77, 0, 1);
    let records = format!("@ NS ns\nns A 127.0.0.1\n@ NS gone\ngone A {nobody}\n@ NS localhost.");
    let named = Named::builder().zone_with("example.org", &records, GRANT).start();
    let unseen = run(present(&dns01(settings(named.address())), &[record("example.org", "seen by the others")]));
    let [unseen] = unseen.expect("written").try_into().expect("one name server");
    assert!(unseen.starts_with("gone.example.org cannot be asked: 127.77.0.1:53: Connection refused"), "{unseen}");
}

#[test]
fn a_command_is_called_for_each_record() {
    let scratch = Scratch::new("hook");
    // It keeps the records in a file, and fails for one name.
    let script = r#"case $1,$3 in
      *,broken) echo "no such zone" >&2; exit 1;;
      present,*) echo "$2 $3" >>"$0";;
      withdraw,*) grep -vxF "$2 $3" "$0" >"$0.new"; mv "$0.new" "$0";;
    esac"#;
    let zone = scratch.write("zone", "_acme-challenge.example.org. a stranger's\n");
    let command = ["/bin/sh", "-c", script, &zone.display().to_string()].map(str::to_owned).to_vec();
    let provider = DnsProvider::Exec(Exec { command, timeout: Duration::from_secs(60) });
    let settings = Dns01 { provider, ..dns01(settings(nobody())) };
    let records = ["-one", "broken", "two"].map(|value| record("example.org", value));
    let lines = || fs::read_to_string(&zone).expect("the hook's file");

    let error = run(present(&settings, &records)).expect_err("one is broken");
    assert!(error.to_string().ends_with("(exit status: 1): \"no such zone\""), "{error}");
    let stranger = "_acme-challenge.example.org. a stranger's\n";
    assert_eq!(lines(), format!("{stranger}_acme-challenge.example.org. -one\n"), "it goes no further");
    assert!(run(present(&settings, &records[2..])).expect("written").is_empty());
    run(withdraw(&settings, &records)).expect_err("one is broken");
    assert_eq!(lines(), stranger, "the others are removed");
}

/// Port 53 of an address that no other test has, with a name server behind it that has another port: the name servers of a
/// zone are asked on that port alone.
struct Gate {
    door: UdpSocket,
    passed: AtomicUsize,
    _port: Port,
}

impl Gate {
    fn new() -> Arc<Self> {
        let port = reserve_port();
        let [high, low] = port.number().to_be_bytes();
        let door = UdpSocket::bind((Ipv4Addr::new(127, 77, high, low), 53)).expect("root may have port 53");
        Arc::new(Self { door, passed: AtomicUsize::new(0), _port: port })
    }

    /// The name servers of a zone, of which `second` is behind the gate.
    fn records(&self) -> String {
        let address = self.door.local_addr().expect("bound").ip();
        format!("@ NS ns\nns A 127.0.0.1\n@ NS second\nsecond A {address}")
    }

    /// Lets questions through to this name server, and its replies back, one after the other. Its thread ends with the test.
    fn open(self: &Arc<Self>, server: SocketAddr) {
        let gate = self.clone();
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        inside.connect(server).expect("loopback");
        thread::spawn(move || {
            let mut datagram = [0; 512];
            while let Ok((length, client)) = gate.door.recv_from(&mut datagram) {
                let _ = inside.send(&datagram[..length]);
                let Ok(length) = inside.recv(&mut datagram) else { continue };
                let _ = gate.door.send_to(&datagram[..length], client);
                gate.passed.fetch_add(1, Relaxed);
            }
        });
    }

    fn passed(&self) -> usize {
        self.passed.load(Relaxed)
    }
}
