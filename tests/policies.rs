//! Which MTA-STS policy a domain of a signed world has, from one message to the next, as its host comes and goes.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailward::outbound::dns::{Dns, Dnssec, Server, Settings};
use mailward::outbound::policies::Policies;
use mailward::outbound::store::Store;
use mailward::policy::mta_sts::{Fault, Mode, Published, Standing};
use support::{PolicyHost, World};
use tokio::runtime::{Builder, Handle};

const PATIENCE: Duration = Duration::from_secs(20);

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
