//! Policies over messages, refreshes and restarts.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{sync::Semaphore, task::yield_now, time::Instant};

use super::*;
use crate::{
    outbound::{
        lookup::{Found as Answered, Mx, table::Table},
        policy_host::served::{Authority, DOMAIN, POLICY, PolicyHost, answer, authority, hosts, right, serve},
    },
    policy::{
        answer::LookupError,
        dane::Tlsa,
        mta_sts::{Known, Mode},
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PATIENCE: Duration = Duration::from_secs(20);

fn policy() -> Policy {
    Policy { mode: Mode::Enforce, mx: vec!["mx.example.org".into()], max_age: 7 * DAY, lines: Vec::new() }
}

fn ago(age: Duration) -> SystemTime {
    SystemTime::now() - age
}

/// A policy with the id 1 that was fetched so long ago.
fn hold(store: &Store, domain: &str, age: Duration) {
    let known = Known::default().fetched(policy(), &Published::Id("1".into()), ago(age));
    store.revise_policy(domain, SystemTime::now(), |_| known);
}

fn id(store: &Store, domain: &str) -> Option<String> {
    store.policy(domain).held.map(|held| held.id)
}

fn times_failed(store: &Store, domain: &str) -> u32 {
    store.policy(domain).failed.map_or(0, |failed| failed.times)
}

/// DNS that says this id of every domain.
fn table(domains: &[&str], id: &str) -> Arc<Table> {
    let lines: String = domains.iter().map(|domain| format!("_mta-sts.{domain} TXT v=STSv1; id={id}\n")).collect();
    Arc::new(Table::of(&lines))
}

/// Hosts that are asked and never found, when they are let.
#[derive(Debug)]
struct Doorkeeper {
    asked: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    let_go: Semaphore,
}

impl Doorkeeper {
    fn new() -> Arc<Self> {
        let (at_once, most_at_once) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { asked: Mutex::default(), at_once, most_at_once, let_go: Semaphore::new(0) })
    }

    fn open(&self) {
        self.let_go.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn answer(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        self.asked.lock().unwrap().push(name);
        self.most_at_once.fetch_max(self.at_once.fetch_add(1, SeqCst) + 1, SeqCst);
        let _ = self.let_go.acquire().await.unwrap();
        self.at_once.fetch_sub(1, SeqCst);
        Err(io::ErrorKind::NotFound.into())
    }

    fn policies(self: &Arc<Self>, store: &Store) -> Policies {
        let keeper = self.clone();
        let names = Names::by(move |name| {
            let keeper = keeper.clone();
            async move { keeper.answer(name).await }
        });
        let hosts = PolicyHosts::new(RootCertStore::empty(), names, Handle::current()).unwrap();
        Policies { hosts, store: store.clone() }
    }
}

async fn serving(id: &str) -> (Authority, PolicyHost, Arc<Table>) {
    let authority = authority();
    let host = serve(&authority, right, Some(answer("200 OK", "", POLICY))).await;
    (authority, host, table(&[DOMAIN], id))
}

/// Waits, while the clock stands, until something has been done.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        yield_now().await;
    }
    panic!("it does not come to be");
}

#[tokio::test]
async fn m6_messages_and_a_refresh_share_one_fetch_and_its_failure_counts_once() {
    let (store, keeper, table) = (Store::default(), Doorkeeper::new(), table(&["example.org"], "1"));
    hold(&store, "example.org", DAY);
    let policies = keeper.policies(&store);
    let (others, newer) = (policies.clone(), self::table(&["example.org"], "2"));
    let message = async {
        // These do not wait: what is held applies.
        for _ in 0..3 {
            let found = others.find(&*table, "example.org", Duration::ZERO).await;
            assert!(matches!(found.standing, Standing::Policy { fault: None, .. }), "{found:?}");
        }
        until(|| keeper.asked() == 1).await;
        // These do: there is a newer one.
        let find = || others.find(&*newer, "example.org", PATIENCE);
        let together = async { tokio::join!(find(), find(), find()) };
        let open = async {
            yield_now().await;
            keeper.open();
        };
        tokio::join!(together, open).0
    };
    let (found, ()) = tokio::join!(message, policies.refresh(&table));
    for found in [found.0, found.1, found.2] {
        let Standing::Policy { fault, .. } = &found.standing else { panic!("{found:?}") };
        assert!(matches!(fault, Some(Fault::Unreachable(_))), "{found:?}");
    }
    assert_eq!(*keeper.asked.lock().unwrap(), ["mta-sts.example.org"]);
    assert_eq!(times_failed(&store, "example.org"), 1);
}

#[tokio::test]
async fn m7_what_a_process_has_fetched_the_next_one_has_although_host_and_record_are_gone() {
    let state = std::env::temp_dir().join(format!("mailward-policies-{}", std::process::id()));
    // Of a run that was cut off.
    let _ = fs::remove_dir_all(&state);
    let open = async |state: &PathBuf| {
        let store = Store::default();
        store.keep(state).unwrap();
        store.settled().await;
        store
    };
    let (authority, host, table) = serving("1").await;
    let store = open(&state).await;
    let before = Policies { hosts: hosts(&authority, &host), store: store.clone() };
    let fetched = before.find(&*table, DOMAIN, PATIENCE).await;
    assert!(matches!(fetched.standing, Standing::Policy { .. }), "{fetched:?}");
    store.close().await;

    for records in ["", "_mta-sts.example.org TXT TIMEOUT", "_mta-sts.example.org TXT v=STSv1; id=2"] {
        let (store, keeper) = (open(&state).await, Doorkeeper::new());
        keeper.open();
        let found = keeper.policies(&store).find(&Table::of(records), DOMAIN, PATIENCE).await;
        let Standing::Policy { policy, .. } = &found.standing else { panic!("{found:?}") };
        assert_eq!((policy.mode, &policy.mx), (Mode::Enforce, &vec!["mx.example.org".to_owned()]));
        assert_eq!(keeper.asked(), usize::from(records.ends_with('2')), "it is not fetched for nothing");
        store.close().await;
    }

    // A file that is of no use costs a fetch.
    fs::write(state.join("outbound.redb"), "this is no database").unwrap();
    let store = open(&state).await;
    let again = Policies { hosts: hosts(&authority, &host), store: store.clone() };
    assert_eq!(again.find(&*table, DOMAIN, PATIENCE).await, fetched);
    assert_eq!(host.seen.requests.load(SeqCst), 2);
    store.close().await;
    fs::remove_dir_all(&state).unwrap();
}

#[tokio::test]
async fn m8_a_policy_that_is_due_is_fetched_anew_without_a_message_under_its_records_id() {
    let (authority, host, table) = serving("2").await;
    let store = Store::default();
    let policies = Policies { hosts: hosts(&authority, &host), store: store.clone() };
    hold(&store, DOMAIN, DAY / 2);
    policies.refresh(&table).await;
    assert_eq!((host.seen.requests.load(SeqCst), table.asked().len()), (0, 0), "it is not due");
    hold(&store, DOMAIN, DAY);
    policies.refresh(&table).await;
    let held = store.policy(DOMAIN).held.unwrap();
    assert_eq!((held.id.as_str(), held.policy.lines.len()), ("2", 4));
    assert!(held.fetched > ago(DAY / 2) && held.used < ago(DAY / 2), "nobody has used it");
    policies.refresh(&table).await;
    assert_eq!((host.seen.requests.load(SeqCst), table.asked()), (1, vec![format!("TXT _mta-sts.{DOMAIN}")]));
    // RFC 8461 §3.1: without a record it is fetched all the same.
    hold(&store, DOMAIN, DAY);
    policies.refresh(&Arc::new(Table::of(""))).await;
    assert_eq!((host.seen.requests.load(SeqCst), id(&store, DOMAIN).as_deref()), (2, Some("1")));
}

#[tokio::test]
async fn m11_every_message_asks_whether_there_is_a_newer_policy_before_one_that_is_held_applies() {
    let (authority, host, newer) = serving("2").await;
    let (store, older) = (Store::default(), table(&[DOMAIN], "1"));
    let policies = Policies { hosts: hosts(&authority, &host), store: store.clone() };
    hold(&store, DOMAIN, Duration::ZERO);
    for message in 1..4 {
        policies.find(&*older, DOMAIN, PATIENCE).await;
        assert_eq!(older.asked(), vec![format!("TXT _mta-sts.{DOMAIN}"); message]);
    }
    let Standing::Policy { policy, .. } = policies.find(&*newer, DOMAIN, PATIENCE).await.standing else { panic!() };
    assert_eq!((policy.lines.len(), id(&store, DOMAIN).as_deref()), (4, Some("2")), "this very message has it");
}

#[tokio::test]
async fn m8_a_message_says_once_a_day_that_a_policy_is_in_use() {
    let (store, keeper, table) = (Store::default(), Doorkeeper::new(), table(&["example.org"], "1"));
    let policies = keeper.policies(&store);
    let find = || policies.find(&*table, "example.org", PATIENCE);
    let used = || store.policy("example.org").held.unwrap().used;
    hold(&store, "example.org", DAY / 2);
    find().await;
    assert!(used() < ago(DAY / 4));
    hold(&store, "example.org", DAY);
    find().await;
    assert!(used() > ago(DAY / 4));
}

#[tokio::test(start_paused = true)]
async fn m8_no_more_than_a_few_are_fetched_anew_at_once_and_each_once() {
    let (store, keeper) = (Store::default(), Doorkeeper::new());
    let domains: Vec<_> = (0..3 * AT_ONCE).map(|number| format!("{number}.example")).collect();
    domains.iter().for_each(|domain| hold(&store, domain, DAY));
    let (policies, nothing) = (keeper.policies(&store), Arc::new(Table::of("")));
    let see = async {
        until(|| keeper.asked() == AT_ONCE).await;
        keeper.open();
    };
    tokio::join!(policies.refresh(&nothing), see);
    let mut asked = keeper.asked.lock().unwrap().clone();
    asked.sort();
    asked.dedup();
    assert_eq!((asked.len(), keeper.asked()), (3 * AT_ONCE, 3 * AT_ONCE));
    assert_eq!(keeper.most_at_once.load(SeqCst), AT_ONCE);
    domains.iter().for_each(|domain| assert_eq!(times_failed(&store, domain), 1, "{domain}"));
}

#[tokio::test(start_paused = true)]
async fn m8_policies_are_kept_fresh_round_after_round_until_that_is_ended() {
    let (store, keeper, nothing) = (Store::default(), Doorkeeper::new(), Arc::new(Table::of("")));
    keeper.open();
    let old = tokio::spawn(keeper.policies(&store).keep_fresh(nothing.clone()));
    for round in 1..4 {
        // The wall clock stands: it becomes due again by this.
        hold(&store, "example.org", DAY);
        let begun = Instant::now();
        while keeper.asked() < round {
            assert!(begun.elapsed() <= 2 * ROUND, "round {round}");
            sleep(Duration::from_secs(1)).await;
        }
    }
    old.abort();
    assert!(old.await.unwrap_err().is_cancelled());
    hold(&store, "example.org", DAY);
    sleep(10 * ROUND).await;
    assert_eq!(keeper.asked(), 3, "nobody asks any more");
    let new = Doorkeeper::new();
    new.open();
    let task = tokio::spawn(new.policies(&store).keep_fresh(nothing));
    sleep(ROUND).await;
    assert_eq!((keeper.asked(), new.asked()), (3, 1), "the next one does");
    task.abort();
}

#[test]
fn m8_that_a_policy_in_force_cannot_be_fetched_is_said_from_the_third_time_on() {
    let path = std::env::temp_dir().join(format!("mailward-policies-log-{}", std::process::id()));
    let log = tracing_subscriber::fmt().with_writer(File::create(&path).unwrap()).with_ansi(false).finish();
    let store = Store::default();
    hold(&store, "example.org", DAY);
    hold(&store, "expired.example", 8 * DAY);
    tracing::subscriber::with_default(log, || {
        for _ in 0..4 {
            for domain in ["example.org", "expired.example", "none.example"] {
                note(&store, domain, &Published::Nothing, &Err(Fault::Status(404)));
            }
        }
    });
    let told = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    for (line, times) in lines.into_iter().zip([3, 4]) {
        assert!(line.contains(" WARN ") && line.contains("the policy's host answered 404"), "{line}");
        assert!(line.contains(&format!("domain=\"example.org\" times={times}")), "{line}");
    }
}

/// DNS that never answers.
#[derive(Debug, Default)]
struct Silence(AtomicUsize);

/// A question that nobody has given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Lookup for Silence {
    fn vouches(&self) -> bool {
        false
    }

    async fn mx(&self, _: &str) -> Answered<Mx> {
        Err(LookupError::Timeout)
    }

    async fn v4(&self, _: &str) -> Answered<Ipv4Addr> {
        Err(LookupError::Timeout)
    }

    async fn v6(&self, _: &str) -> Answered<Ipv6Addr> {
        Err(LookupError::Timeout)
    }

    async fn alias(&self, _: &str) -> Answered<String> {
        Err(LookupError::Timeout)
    }

    async fn tlsa(&self, _: &str) -> Answered<Tlsa> {
        Err(LookupError::Timeout)
    }

    async fn txt(&self, _: &str) -> Answered<Vec<u8>> {
        self.0.fetch_add(1, SeqCst);
        let _waiting = Waiting(&self.0);
        std::future::pending().await
    }
}

#[tokio::test]
async fn m8_what_is_in_the_middle_of_a_round_ends_with_it() {
    let (store, keeper, silence) = (Store::default(), Doorkeeper::new(), Arc::<Silence>::default());
    (0..2 * AT_ONCE).for_each(|number| hold(&store, &format!("{number}.example"), DAY));
    let task = tokio::spawn(keeper.policies(&store).keep_fresh(silence.clone()));
    until(|| silence.0.load(SeqCst) == AT_ONCE).await;
    task.abort();
    until(|| silence.0.load(SeqCst) == 0).await;
    assert_eq!((Arc::strong_count(&silence), keeper.asked()), (1, 0));
}
