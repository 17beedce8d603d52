//! The store as a whole: restarts, crashes, disks that are full, files that are broken, and two processes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use tokio::time::{Instant, sleep};

use super::{
    file::{File, Unusable},
    *,
};
use crate::policy::mta_sts::{Held, Mode, Policy};

const SENDER: &str = "alice@sender.example";
const RECIPIENT: &str = "bob@recipient.example";

/// What makes a test of this file play a process of its own, and where that keeps its file.
const PLAYED_IN: &str = "MAILWARD_STORE_PLAYED_IN";

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mailward-store-{name}-{}", std::process::id()));
        // Of a run that was cut off.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        file(&self.0)
    }

    fn aside(&self) -> PathBuf {
        self.file().with_extension("broken")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn envelope(recipient: &str) -> Envelope<'_> {
    Envelope { client: Ipv4Addr::new(192, 0, 2, 1).into(), sender: SENDER, recipient }
}

fn reply(code: u16) -> Reply {
    Reply { code, text: format!("2.0.0 queued for {RECIPIENT}\nsecond line") }
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn later(seconds: u64) -> SystemTime {
    now() + Duration::from_secs(seconds)
}

fn policy(id: &str, fetched: SystemTime) -> Known {
    let policy = Policy {
        mode: Mode::Enforce,
        mx: vec!["mx.recipient.example".into()],
        max_age: Duration::from_secs(86_400),
        lines: vec!["version: STSv1".into()],
    };
    Known { held: Some(Held { id: id.into(), policy, fetched, used: fetched }), failed: None }
}

fn number(number: usize) -> BodyDigest {
    let mut body = [0; 32];
    body[..8].copy_from_slice(&number.to_be_bytes());
    body
}

async fn open(state: &Path) -> Store {
    let pauses = Pauses { taken: Duration::from_millis(500), unreachable: Duration::from_millis(100) };
    let store = Store::default();
    store.keep_with(state, pauses).unwrap();
    store.settled().await;
    store
}

/// Something of everything.
async fn fill(store: &Store) -> Kept {
    store.revise_policy("Recipient.example", now(), |_| policy("1", now()));
    store.pair_failed(SENDER, RECIPIENT, LastError::Dns, now());
    store.domain_failed("recipient.example", LastError::Connection, now());
    store.host_succeeded("MX.recipient.example", Assurance::Verified, now());
    store.host_failed("mx.recipient.example", LastError::Tls, now());
    store.remember(&[(envelope(RECIPIENT), reply(250))], &number(1), now()).await
}

fn has_everything(store: &Store) {
    assert_eq!(store.policy("recipient.EXAMPLE").held.unwrap().id, "1");
    assert_eq!(store.domains_with_policies(now()), ["recipient.example"]);
    let pair = store.pair(SENDER, RECIPIENT, now());
    assert_eq!((pair.failures, pair.last_error), (1, LastError::Dns));
    let domain = store.domain("Recipient.example", now());
    assert_eq!((domain.failures, domain.last_error), (1, LastError::Connection));
    let host = store.host("mx.recipient.example", now());
    assert_eq!((host.failures, host.last_error, host.best), (1, LastError::Tls, Some(Assurance::Verified)));
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(1), now()), Some(reply(250)));
}

fn has_nothing(store: &Store) {
    assert_eq!(store.policy("recipient.example"), Known::default());
    assert_eq!(store.pair(SENDER, RECIPIENT, now()), Past::NONE);
    assert_eq!(store.domain("recipient.example", now()), Past::NONE);
    assert_eq!(store.host("mx.recipient.example", now()), Past::NONE);
    assert_eq!(store.recall_all(&envelope(RECIPIENT), now()), []);
}

async fn eventually(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come to be");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn m7_what_is_remembered_outlives_the_process() {
    let scratch = Scratch::new("restart");
    let state = scratch.0.join("state");
    let store = open(&state).await;
    has_nothing(&store);
    assert_eq!(fill(&store).await, Kept::OnDisk);
    has_everything(&store);
    store.close().await;
    let next = open(&state).await;
    has_everything(&next);
    next.pair_succeeded(SENDER, RECIPIENT, now());
    next.domain_succeeded("recipient.example", Assurance::Encrypted, now());
    next.forget(&envelope(RECIPIENT), &number(1), now());
    next.close().await;
    let last = open(&state).await;
    assert_eq!(last.pair(SENDER, RECIPIENT, now()), Past::NONE);
    let domain = last.domain("recipient.example", now());
    assert_eq!((domain.failures, domain.best), (0, Some(Assurance::Encrypted)));
    assert_eq!(last.recall(&envelope(RECIPIENT), &number(1), now()), None);
    assert!(last.policy("recipient.example").held.is_some());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file(&state)), mode(&state)), (0o600, 0o700));
    last.close().await;
}

#[tokio::test]
async fn without_a_file_everything_is_remembered_for_as_long_as_the_process_runs() {
    let store = Store::default();
    store.settled().await;
    assert_eq!(fill(&store).await, Kept::InMemory);
    has_everything(&store);
    store.close().await;
    has_everything(&store);
}

#[tokio::test]
async fn what_was_remembered_before_there_was_a_file_joins_what_is_in_it() {
    let scratch = Scratch::new("late");
    let before = open(&scratch.0).await;
    before.revise_policy("recipient.example", now(), |_| policy("1", now()));
    before.close().await;
    let store = Store::default();
    store.revise_policy("new.example", now(), |_| policy("2", now()));
    let elsewhere = Scratch::new("elsewhere");
    for state in [&scratch.0, &elsewhere.0] {
        store.keep(state).unwrap();
        store.settled().await;
        has_policies_of_both(&store);
    }
    assert!(!elsewhere.file().exists(), "it has a file");
    store.close().await;
    store.keep(&elsewhere.0).unwrap();
    assert_eq!(store.remember(&[(envelope(RECIPIENT), reply(250))], &number(1), now()).await, Kept::InMemory);
    let next = open(&scratch.0).await;
    has_policies_of_both(&next);
    next.close().await;
}

#[tokio::test]
async fn an_answer_is_on_the_disk_when_that_is_said_and_what_was_before_it_too() {
    let scratch = Scratch::new("order");
    let store = open(&scratch.0).await;
    for message in 0..20 {
        store.revise_policy("recipient.example", now(), |_| policy(&message.to_string(), now()));
        assert_eq!(store.remember(&[(envelope(RECIPIENT), reply(250))], &number(message), now()).await, Kept::OnDisk);
        // What a crash of the process would leave.
        let crashed = Scratch::new("order-crashed");
        fs::copy(scratch.file(), crashed.file()).unwrap();
        let next = open(&crashed.0).await;
        assert_eq!(next.recall(&envelope(RECIPIENT), &number(message), now()), Some(reply(250)));
        assert_eq!(next.policy("recipient.example").held.unwrap().id, message.to_string());
        assert!(!crashed.aside().exists());
        next.close().await;
    }
    store.close().await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_within_a_while() {
    let scratch = Scratch::new("gathered");
    let store = open(&scratch.0).await;
    store.pair_failed(SENDER, RECIPIENT, LastError::Dns, now());
    let begun = Instant::now();
    loop {
        let crashed = Scratch::new("gathered-crashed");
        fs::copy(scratch.file(), crashed.file()).unwrap();
        let next = open(&crashed.0).await;
        let failures = next.pair(SENDER, RECIPIENT, now()).failures;
        next.close().await;
        if failures == 1 {
            break;
        }
        assert!(begun.elapsed() < 10 * GATHERED, "it is not written");
    }
    store.close().await;
}

#[tokio::test]
async fn answers_are_kept_by_message_and_by_envelope() {
    let scratch = Scratch::new("answers");
    let store = open(&scratch.0).await;
    let other = Envelope { client: Ipv4Addr::new(192, 0, 2, 2).into(), ..envelope(RECIPIENT) };
    let answers = [(envelope(RECIPIENT), reply(250)), (envelope("carol@other.example"), reply(550))];
    assert_eq!(store.remember(&answers, &number(1), now()).await, Kept::OnDisk);
    assert_eq!(store.remember(&[(envelope(RECIPIENT), reply(554))], &number(2), now()).await, Kept::OnDisk);
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(1), now()), Some(reply(250)));
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(2), now()), Some(reply(554)));
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(3), now()), None);
    assert_eq!(store.recall(&other, &number(1), now()), None, "another client's retry is another message");
    assert_eq!(store.recall_all(&envelope(RECIPIENT), now()), [reply(250), reply(554)]);
    assert_eq!(store.recall_all(&envelope("carol@other.example"), now()), [reply(550)]);
    assert_eq!(store.recall_all(&envelope("dave@other.example"), now()), []);
    let two_days = ANSWERS_KEPT.as_secs();
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(1), later(two_days - 60)), Some(reply(250)));
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(1), later(two_days)), None);
    let long = Reply { code: 550, text: "ü".repeat(5000) };
    store.remember(&[(envelope(RECIPIENT), long)], &number(4), now()).await;
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(4), now()).unwrap().text.len(), LONGEST_TEXT);
    store.close().await;
}

#[tokio::test]
async fn whoever_reads_the_file_alone_learns_of_no_address() {
    let scratch = Scratch::new("clear");
    let store = open(&scratch.0).await;
    fill(&store).await;
    store.close().await;
    let bytes = fs::read(scratch.file()).unwrap();
    let has = |word: &str| memchr::memmem::find(&bytes, word.as_bytes()).is_some();
    assert!(has("recipient.example"), "a policy stands there in clear");
    for word in ["alice", "bob", "sender.example", "192.0.2.1", "queued", "second line"] {
        assert!(!has(word), "{word}");
    }
}

#[tokio::test]
async fn what_is_over_goes_from_memory_and_file() {
    let scratch = Scratch::new("expiry");
    let store = open(&scratch.0).await;
    fill(&store).await;
    store.memory.sweep(later(31 * 86_400));
    has_nothing(&store);
    store.close().await;
    let (file, secret) = File::open(&scratch.file(), &Secret::new()).unwrap();
    assert!(secret.is_some());
    for table in ["policies", "pairs", "domains", "hosts", "answers"] {
        assert_eq!(file.rows(redb::TableDefinition::new(table)).unwrap().len(), 0, "{table}");
    }
    file.close().unwrap();
}

#[tokio::test]
async fn whoever_comes_memory_and_file_stay_within_their_size() {
    let scratch = Scratch::new("bounds");
    let store = open(&scratch.0).await;
    for host in 0..12_000 {
        store.host_failed(&format!("{host}.flood.example"), LastError::Dns, later(host / 1000));
    }
    let count = store.memory.hosts.count();
    assert!((5_000..11_000).contains(&count), "{count}");
    assert_eq!(store.host("11999.flood.example", later(12)).failures, 1);
    assert_eq!(store.host("0.flood.example", later(12)), Past::NONE);
    store.close().await;
    let length = fs::metadata(scratch.file()).unwrap().len();
    assert!(length < 32 << 20, "{length}");
    let next = open(&scratch.0).await;
    assert_eq!(next.memory.hosts.count(), count);
    next.close().await;
}

#[tokio::test]
async fn a_file_that_is_of_no_use_is_set_aside_and_begun_anew() {
    let scratch = Scratch::new("broken");
    let store = open(&scratch.0).await;
    fill(&store).await;
    store.close().await;
    let good = fs::read(scratch.file()).unwrap();
    let zeros = |from: usize, to: usize| [&good[..from], &vec![0; to - from], &good[to..]].concat();
    let broken = [
        b"this is no database\n".repeat(1000),
        vec![0; 10_000],
        b"x".to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..100].to_vec(),
        good[1..].to_vec(),
        zeros(0, 64),
        zeros(64, 320),
        zeros(320, good.len()),
        changed(&good, br#""id":"1""#, br#""id":"2""#),
    ];
    for (case, bytes) in broken.iter().enumerate() {
        fs::write(scratch.file(), bytes).unwrap();
        let store = open(&scratch.0).await;
        has_nothing(&store);
        assert_eq!(&fs::read(scratch.aside()).unwrap(), bytes, "{case}: the old one can be looked at");
        assert_eq!(fill(&store).await, Kept::OnDisk, "{case}");
        store.close().await;
        let next = open(&scratch.0).await;
        has_everything(&next);
        next.close().await;
    }
}

#[tokio::test]
async fn no_octet_that_is_changed_stops_mail() {
    let scratch = Scratch::new("flipped");
    let store = open(&scratch.0).await;
    fill(&store).await;
    store.close().await;
    let good = fs::read(scratch.file()).unwrap();
    // Where there is something, the pages being mostly empty.
    let places: Vec<_> = (0..good.len()).filter(|place| good[*place] != 0).collect();
    for place in places.iter().step_by(places.len() / 60) {
        let mut bytes = good.clone();
        bytes[*place] ^= 0x55;
        fs::write(scratch.file(), &bytes).unwrap();
        let store = open(&scratch.0).await;
        assert_eq!(fill(&store).await, Kept::OnDisk, "{place}");
        store.close().await;
        let next = open(&scratch.0).await;
        has_answer(&next, 1);
        next.close().await;
    }
}

/// With other octets in place of these, wherever they stand.
fn changed(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let places: Vec<_> = memchr::memmem::find_iter(bytes, from).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|place| changed[place..place + to.len()].copy_from_slice(to));
    changed
}

fn has_answer(store: &Store, message: usize) {
    assert_eq!(store.recall(&envelope(RECIPIENT), &number(message), now()), Some(reply(250)), "{message}");
}

/// What makes a file another's.
type Spoil = fn(&redb::WriteTransaction, About, Rows);
type About = redb::TableDefinition<'static, &'static str, &'static [u8]>;
type Rows = redb::TableDefinition<'static, &'static [u8], &'static [u8]>;

#[tokio::test]
async fn a_file_of_another_version_or_with_rows_of_another_kind_is_none_of_ours() {
    let scratch = Scratch::new("version");
    let about = About::new("about");
    let policies = Rows::new("policies");
    let spoil: [Spoil; 4] = [
        |writing, about, _| drop(writing.open_table(about).unwrap().insert("version", b"2".as_slice()).unwrap()),
        |writing, about, _| drop(writing.open_table(about).unwrap().remove("key").unwrap()),
        |writing, about, _| drop(writing.open_table(about).unwrap().insert("key", b"short".as_slice()).unwrap()),
        |writing, _, rows| {
            drop(writing.open_table(rows).unwrap().insert(b"d".as_slice(), b"no JSON".as_slice()).unwrap())
        },
    ];
    for (case, spoil) in spoil.iter().enumerate() {
        let store = open(&scratch.0).await;
        fill(&store).await;
        store.close().await;
        let database = redb::Database::create(scratch.file()).unwrap();
        let writing = database.begin_write().unwrap();
        spoil(&writing, about, policies);
        writing.commit().unwrap();
        drop(database);
        let _ = fs::remove_file(scratch.aside());
        let store = open(&scratch.0).await;
        has_nothing(&store);
        assert!(scratch.aside().exists(), "{case}");
        assert_eq!(fill(&store).await, Kept::OnDisk, "{case}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_reached_is_filled_with_what_is_known_once_it_can() {
    let scratch = Scratch::new("unreachable");
    let state = scratch.0.join("state");
    fs::write(&state, "in the way").unwrap();
    let store = open(&state).await;
    assert_eq!(fill(&store).await, Kept::InMemory);
    has_everything(&store);
    fs::remove_file(&state).unwrap();
    eventually(|| file(&state).exists()).await;
    assert_eq!(store.remember(&[(envelope(RECIPIENT), reply(250))], &number(2), now()).await, Kept::OnDisk);
    store.close().await;
    let next = open(&state).await;
    has_everything(&next);
    has_answer(&next, 2);
    next.close().await;
}

#[tokio::test]
async fn a_process_that_takes_over_has_the_file_when_the_old_one_lets_go() {
    let scratch = Scratch::new("two");
    let old = open(&scratch.0).await;
    fill(&old).await;
    let new = Store::default();
    new.keep(&scratch.0).unwrap();
    let opened = File::open(&scratch.file(), &Secret::new());
    assert_eq!(opened.err(), Some(Unusable::Taken));
    has_nothing(&new);
    // What it learns meanwhile.
    new.revise_policy("recipient.example", now(), |known| known);
    new.revise_policy("new.example", now(), |_| policy("2", now()));
    let message = &[(envelope("carol@other.example"), reply(250))];
    let body = number(1);
    let ((), kept) = tokio::join!(old.close(), new.remember(message, &body, now()));
    assert_eq!(kept, Kept::InMemory, "it had no key yet that lasts");
    assert_eq!(new.remember(message, &body, now()).await, Kept::OnDisk);
    has_policies_of_both(&new);
    has_answer(&new, 1);
    // What the old one learns from now on, it knows alone.
    assert_eq!(old.remember(&[(envelope(RECIPIENT), reply(250))], &number(2), now()).await, Kept::InMemory);
    has_answer(&old, 2);
    assert_eq!(new.recall(&envelope(RECIPIENT), &number(2), now()), None);
    new.close().await;
    let last = open(&scratch.0).await;
    has_policies_of_both(&last);
    last.close().await;
}

fn has_policies_of_both(store: &Store) {
    let mut domains = store.domains_with_policies(now());
    domains.sort();
    assert_eq!(domains, ["new.example", "recipient.example"]);
}

#[tokio::test]
async fn a_file_that_another_process_keeps_is_not_waited_for_for_ever() {
    let scratch = Scratch::new("kept");
    let old = open(&scratch.0).await;
    let new = open(&scratch.0).await;
    assert_eq!(fill(&new).await, Kept::InMemory);
    has_everything(&new);
    old.close().await;
    let has_file = || File::open(&scratch.file(), &Secret::new()).err() == Some(Unusable::Taken);
    eventually(has_file).await;
    assert!(new.policy("recipient.example").held.is_some());
    new.close().await;
}

/// The command that plays `test` of this file in a process of its own, with its file in `state`.
fn play(test: &str, state: &Path, within: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let test = format!("outbound::store::tests::{test}");
    let mut command = match within.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(["--exact", &test, "--nocapture", "--test-threads", "1"]).env(PLAYED_IN, state);
    command
}

fn is_played() -> Option<PathBuf> {
    std::env::var_os(PLAYED_IN).map(PathBuf::from)
}

#[tokio::test]
async fn whenever_a_process_is_killed_the_next_one_has_all_that_it_said_was_on_the_disk() {
    if let Some(state) = is_played() {
        return remember_until_killed(&state).await;
    }
    let scratch = Scratch::new("killed");
    let mut said = 0;
    for round in 0..6 {
        let mut process =
            play("whenever_a_process_is_killed_the_next_one_has_all_that_it_said_was_on_the_disk", &scratch.0, &[])
                .env("FIRST", said.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut read =
            |line: String| line.strip_prefix("kept ").map(|number| said = number.parse::<usize>().unwrap() + 1);
        lines.by_ref().filter_map(&mut read).nth(10 + 7 * round).unwrap();
        process.kill().unwrap();
        // What it has said until then.
        lines.filter_map(&mut read).for_each(drop);
        process.wait().unwrap();
        let next = open(&scratch.0).await;
        (0..said).for_each(|message| assert!(is_kept(&next, message), "{message} of {said}"));
        next.close().await;
    }
    assert!(said >= 60 && !scratch.aside().exists());
}

/// A message of its own envelope each, as a table of one row would show little.
fn is_kept(store: &Store, message: usize) -> bool {
    store.recall(&envelope(&format!("{message}@recipient.example")), &number(message), now()) == Some(reply(250))
}

async fn remember_until_killed(state: &Path) {
    let store = open(state).await;
    for message in std::env::var("FIRST").unwrap().parse::<usize>().unwrap().. {
        store.pair_failed(&message.to_string(), RECIPIENT, LastError::Io, now());
        let recipient = format!("{message}@recipient.example");
        let kept = store.remember(&[(envelope(&recipient), reply(250))], &number(message), now()).await;
        if kept == Kept::OnDisk && writeln!(std::io::stdout(), "\nkept {message}").is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_disk_that_is_full_costs_what_it_would_have_kept_until_there_is_room() {
    if let Some(state) = is_played() {
        return fill_the_disk(&state).await;
    }
    let scratch = Scratch::new("full");
    let mount = format!("mount -t tmpfs -o size=16m,mode=700 tmpfs {} && exec \"$0\" \"$@\"", scratch.0.display());
    let test = "a_disk_that_is_full_costs_what_it_would_have_kept_until_there_is_room";
    let played = play(test, &scratch.0, &["unshare", "--mount", "sh", "-c", &mount]).output().unwrap();
    let said = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success() && said.contains("it has been full"), "{said}");
}

async fn fill_the_disk(state: &Path) {
    let store = open(state).await;
    fill(&store).await;
    let filler = state.join("full");
    let mut filling = fs::File::create(&filler).unwrap();
    while filling.write_all(&[0; 512]).is_ok() {}
    drop(filling);
    // It may have had room of its own before.
    let mut message = 2;
    loop {
        let recipient = format!("{message}@recipient.example");
        if store.remember(&[(envelope(&recipient), reply(250))], &number(message), now()).await == Kept::InMemory {
            break;
        }
        assert!(message < 100_000, "it is not full");
        message += 1;
    }
    has_everything(&store);
    assert!((2..=message).all(|message| is_kept(&store, message)), "mail goes on");
    println!("it has been full");
    fs::remove_file(filler).unwrap();
    let begun = Instant::now();
    while store.remember(&[(envelope(RECIPIENT), reply(250))], &number(1), now()).await == Kept::InMemory {
        assert!(begun.elapsed() < Duration::from_secs(20), "there is room");
        sleep(Duration::from_millis(20)).await;
    }
    store.close().await;
    let next = open(state).await;
    has_everything(&next);
    assert!((2..=message).all(|message| is_kept(&next, message)), "and what was remembered meanwhile is written too");
    next.close().await;
    assert!(!file(state).with_extension("broken").exists());
}
