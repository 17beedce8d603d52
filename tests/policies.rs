//! Which MTA-STS policy a domain of a signed world has, from one message to the next, as its host comes and goes.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mailward::outbound::dns::{Dns, Dnssec, Server, Settings};
use mailward::outbound::policies::Policies;
use mailward::outbound::store::Store;
use mailward::policy::mta_sts::{Fault, Known, Mode, Policy, Published, Standing};
use serde_json::Value;
use support::{Fake, Gateway, PolicyHost, Ran, Talk, World, eventually, plain};
use tokio::runtime::{Builder, Handle};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where a gateway takes mail.
const LMTP: &str = "127.0.0.1:2424";

/// Asks, where the world is, for the policy of a domain; `store` has what is known of it.
fn find(world: &World, store: &Store, domain: &str, patience: Duration) -> (Published, Standing) {
    world.namespace.inside(|| {
        wait(async {
            let resolver = SocketAddr::new(World::RESOLVER.parse().expect("an address"), 53);
            let dns = Arc::new(Dns::new(Settings::new(vec![Server::new(resolver, true)], Dnssec::Ad)));
            let roots = (*world.authority.roots()).clone();
            let policies = Policies::new(roots, dns.clone(), store.clone(), Handle::current()).expect("a client");
            let found = policies.find(&*dns, domain, patience).await;
            (found.record, found.standing)
        })
    })
}

fn wait<T>(what: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(what)
}

/// What a process begins with that keeps its file in `state`.
fn open(state: &Path) -> Store {
    let store = Store::default();
    store.keep(state).expect("a thread");
    wait(store.settled());
    store
}

fn host(world: &World, status: u16) -> PolicyHost {
    let policy = "version: STSv1\nmode: enforce\nmx: mx.insecure.test\nmax_age: 86400\n";
    world.policy_host(&["enforce.insecure.test"], &[("enforce.insecure.test", status, "text/plain", policy)])
}

#[test]
fn m6_m7_a_policy_is_held_and_a_host_that_fails_is_not_asked_again_at_once() {
    let (world, store) = (World::start(), Store::default());
    let asked = |patience| find(&world, &store, "enforce.insecure.test", patience);
    let id = Published::Id("1".into());
    // M6: two messages within five minutes are one fetch, and mail goes as if there were no policy.
    let failing = host(&world, 500);
    assert_eq!(asked(PATIENCE), (id.clone(), Standing::Unavailable(Fault::Status(500))));
    let again = Standing::Unavailable(Fault::Recently(Fault::Status(500).to_string()));
    assert_eq!(asked(PATIENCE), (id.clone(), again));
    assert_eq!(failing.asked(), ["mta-sts.enforce.insecure.test"]);
    drop(failing);
    // M7: what was fetched counts while the host is away, in the next process too; nobody waits for it.
    let state = world.scratch.join("state");
    let before = open(&state);
    let asked = |patience| find(&world, &before, "enforce.insecure.test", patience);
    let serving = host(&world, 200);
    for _ in 0..2 {
        let (record, standing) = asked(PATIENCE);
        let Standing::Policy { policy, fault: None } = standing else { panic!("{standing:?}") };
        assert_eq!((record, policy.mode, policy.mx), (id.clone(), Mode::Enforce, vec!["mx.insecure.test".to_owned()]));
    }
    assert_eq!(serving.asked().len(), 1);
    drop(serving);
    assert!(matches!(asked(Duration::ZERO).1, Standing::Policy { fault: None, .. }));
    wait(before.close());
    let after = open(&state);
    let found = find(&world, &after, "enforce.insecure.test", Duration::ZERO);
    assert!(matches!(found.1, Standing::Policy { fault: None, .. }), "{found:?}");
    wait(after.close());
}

#[test]
fn m1_a_record_may_be_in_pieces_or_behind_an_alias_and_of_two_there_is_none() {
    let (world, store) = (World::start(), Store::default());
    let record = |domain| find(&world, &store, domain, Duration::ZERO).0;
    for domain in ["pieces.insecure.test", "alias.insecure.test", "beside.insecure.test"] {
        assert_eq!(record(domain), Published::Id("1".into()), "{domain}");
    }
    for domain in ["twice.insecure.test", "behind.insecure.test"] {
        assert_eq!(record(domain), Published::Nothing, "{domain}");
    }
}

#[test]
fn m14_no_domain_above_is_asked_and_who_has_no_record_has_no_policy() {
    let (world, store) = (World::start(), Store::default());
    let serving = host(&world, 200);
    for domain in ["below.enforce.insecure.test", "insecure.test", "nodane.secure.test"] {
        assert_eq!(find(&world, &store, domain, PATIENCE), (Published::Nothing, Standing::Absent), "{domain}");
    }
    let (record, standing) = find(&world, &store, "bogus.test", PATIENCE);
    assert!(matches!((record, standing), (Published::Unknown(_), Standing::Unavailable(Fault::Record(_)))));
    assert_eq!(serving.asked(), [""; 0]);
}

/// A gateway that carries mail, where the world is.
fn gateway(world: &World) -> Gateway {
    let ca = world.scratch.join("ca.pem");
    let server = format!(
        "ca = [\"{}\"]\n[server.listener.lmtp]\nbind = \"{LMTP}\"\nprotocol = \"lmtp\"\nrelay = true",
        ca.display()
    );
    Gateway::builder().under(&world.namespace.prefix()).server(&server).start()
}

/// What a sender is told of a recipient.
fn told(world: &World, recipient: &str) -> String {
    world.namespace.inside(|| {
        let mut talk = Talk::to(LMTP.parse().expect("an address"));
        talk.reply("220");
        talk.send("LHLO sender.test\r\n").reply("250");
        talk.ask("MAIL FROM:<alice@sender.test>", "250");
        talk.send(format!("RCPT TO:<{recipient}>\r\n")).line()
    })
}

/// A process that has taken over, and ends with this.
struct Successor(String);

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-s", "KILL", &self.0]).status();
    }
}

#[track_caller]
fn policy(gateway: &Gateway, arguments: &[&str]) -> Ran {
    gateway.command(&[&["policy"], arguments].concat()).succeeds()
}

#[test]
fn m7_a_policy_keeps_mail_back_over_restart_and_take_over_until_it_is_forgotten() {
    let world = World::start();
    let _sink = world.sink();
    let text = "version: STSv1\nmode: enforce\nmx: other.test\nmax_age: 86400\n";
    let serving =
        world.policy_host(&["unlisted.insecure.test"], &[("unlisted.insecure.test", 200, "text/plain", text)]);
    let mut gateway = gateway(&world);
    let refused = || {
        let told = told(&world, "bob@unlisted.insecure.test");
        assert!(told.starts_with("451 4.7.5 ") && told.contains("does not list mx.insecure.test"), "{told}");
    };
    refused();
    assert_eq!(serving.asked(), ["mta-sts.unlisted.insecure.test"]);
    drop(serving);
    refused();
    gateway.signal("TERM");
    gateway.start_again();
    refused();
    policy(&gateway, &["list"]).prints("unlisted.insecure.test\n  mode        enforce\n").prints("other.test");

    gateway.signal("USR2");
    let line = |line: &Value| line["message"] == "another process has taken over";
    let _successor = Successor(gateway.log_line("a process that takes over", line)["process"].to_string());
    refused();
    policy(&gateway, &["forget", "Unlisted.insecure.test."]).prints("forgotten");
    // RFC 8461 §3.3: where none can be had, mail goes as if there were none.
    let told = told(&world, "bob@unlisted.insecure.test");
    assert!(told.starts_with("250 "), "{told}");
    policy(&gateway, &["list"]).prints("none is held").prints("1 time: the policy's host cannot be reached");
    policy(&gateway, &["list", "--json"]).prints("\"times\": 1");
}

#[test]
fn m8_what_the_process_before_has_left_is_fetched_anew_without_a_message() {
    let world = World::start();
    let mut gateway = gateway(&world);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let store = open(&gateway.scratch.join("state"));
    let days_ago = SystemTime::now() - Duration::from_secs(3 * 86_400);
    let (mx, max_age) = (vec!["other.test".to_owned()], Duration::from_secs(7 * 86_400));
    let text = Policy { mode: Mode::Testing, mx, max_age, lines: Vec::new() };
    let held = Known::default().fetched(text, &Published::Id("0".into()), days_ago);
    store.revise_policy("enforce.insecure.test", SystemTime::now(), |_| held);
    wait(store.close());

    let serving = host(&world, 200);
    gateway.start_again();
    let fresh = eventually(|| {
        policy(&gateway, &["list"]).text().contains("mode        enforce\n  id          1\n").then_some(())
    });
    assert!(fresh.is_some(), "{}", policy(&gateway, &["list"]).text());
    assert!(gateway.reload());
    policy(&gateway, &["list"]).prints("enforce.insecure.test");
    assert_eq!(serving.asked(), ["mta-sts.enforce.insecure.test"]);
}

#[test]
fn the_file_is_there_once_a_listener_relays() {
    let imap = Fake::start(|talk, _| plain::serve("imap", talk));
    let gateway = Gateway::builder().implicit("imaps", "imap", imap.address()).start();
    let file = gateway.scratch.join("state/outbound.redb");
    assert!(gateway.reload() && !file.exists());
    let relaying =
        "[server.listener.lmtp]\nbind = \"127.0.0.1:0\"\nprotocol = \"lmtp\"\nrelay = true\n[server.listener.imaps]";
    gateway.edit("[server.listener.imaps]", relaying);
    assert!(gateway.reload());
    assert!(eventually(|| file.exists().then_some(())).is_some());
}
