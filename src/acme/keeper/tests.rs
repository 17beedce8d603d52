//! What a keeper decides by what its cache holds. Nothing here asks anybody.

use std::fs;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::{
    acme::cache::SavedAccount,
    config::{Challenge, Position},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A keeper of a certificate for `mail.example.org`, with a cache of its own.
struct Bench {
    keeper: Keeper,
    cache: Cache,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.keeper.settings.cache);
    }
}

impl Bench {
    fn new(name: &str) -> Self {
        let settings = Acme {
            id: "test".to_owned(),
            at: Position { file: Arc::default(), line: 1, column: 1 },
            directory: "https://ca.example/directory".to_owned(),
            contact: Vec::new(),
            domains: vec!["mail.example.org".to_owned()],
            cache: std::env::temp_dir().join(format!("mailward-keeper-{name}-{}", std::process::id())),
            challenge: Challenge::Http01,
            key_types: vec![KeyType::EcdsaP256],
            reuse_key: true,
            renew_before: 30 * DAY,
            binding: None,
            profile: None,
            ca: Vec::new(),
            preferred_chain: None,
            default: false,
        };
        let cache = Cache::new(&settings);
        cache.prepare().unwrap();
        let (_, asked) = mpsc::channel(1);
        let (_, stopping) = watch::channel(false);
        let keeper = Keeper {
            settings: Arc::new(settings),
            key_type: KeyType::EcdsaP256,
            roots: Vec::new(),
            answers: Arc::default(),
            issued: Arc::default(),
            report: Arc::default(),
            asked,
            stopping,
            last_error: None,
        };
        Self { keeper, cache }
    }

    /// Puts a certificate into the cache, and what it was asked for by.
    fn issue(&self, names: &[&str], from: SystemTime, length: Duration) -> Loaded {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = from.into();
        params.not_after = (from + length).into();
        let certificate = params.self_signed(&key).unwrap();
        self.cache.keep_certificate(KeyType::EcdsaP256, &key.serialize_pem(), &certificate.pem()).unwrap();
        let loaded = self.cache.certificate(KeyType::EcdsaP256, SystemTime::now()).unwrap();
        self.state(|state| {
            state.certified = Some(Wanted::by(&self.keeper.settings));
            state.suggested = Some(Suggested::none(&loaded));
        });
        loaded
    }

    fn state(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.cache.state(KeyType::EcdsaP256);
        change(&mut state);
        self.cache.keep_state(KeyType::EcdsaP256, &state).unwrap();
    }

    fn settings(&mut self, change: impl FnOnce(&mut Acme)) {
        change(Arc::make_mut(&mut self.keeper.settings));
    }

    /// What is to be done, in a word.
    fn next(&self) -> String {
        match self.keeper.step(&self.cache, &Held::default(), SystemTime::now()) {
            Step::Wait(until, due) => {
                let days = until.duration_since(SystemTime::now()).unwrap().as_secs() / DAY.as_secs();
                format!("wait {days}: {}", due.why)
            }
            Step::AskWindow(_) => "ask".to_owned(),
            Step::Obtain(why) => why,
        }
    }
}

#[test]
fn without_a_certificate_one_is_asked_for_unless_an_attempt_has_just_failed() {
    let bench = Bench::new("none");
    assert_eq!(bench.next(), "there is no certificate yet");
    bench.state(|state| state.not_before = seconds(SystemTime::now() + 2 * DAY));
    assert_eq!(bench.next(), "wait 1: there is no certificate yet; waits after a failure");
}

#[test]
fn a_wait_that_was_written_down_by_a_clock_far_ahead_counts_for_nothing() {
    let bench = Bench::new("clock");
    bench.state(|state| state.not_before = seconds(SystemTime::now() + 400 * DAY));
    assert_eq!(bench.next(), "there is no certificate yet");
}

#[test]
fn a_valid_certificate_asks_for_nothing_until_it_is_due() {
    let bench = Bench::new("valid");
    bench.issue(&["mail.example.org"], SystemTime::now() - DAY, 90 * DAY);
    assert_eq!(bench.next(), "wait 0: renewal, by renew-before", "to ask again for renewal information");
    bench.issue(&["mail.example.org"], SystemTime::now() - 65 * DAY, 90 * DAY);
    assert_eq!(bench.next(), "renewal, by renew-before");
}

#[test]
fn an_operator_is_obeyed_whatever_is_due() {
    let bench = Bench::new("wanted");
    bench.issue(&["mail.example.org"], SystemTime::now(), 90 * DAY);
    bench.state(|state| state.not_before = seconds(SystemTime::now() + DAY));
    let held = Held { wanted: true, ..Held::default() };
    let step = bench.keeper.step(&bench.cache, &held, SystemTime::now());
    assert!(matches!(step, Step::Obtain(_)), "{step:?}");
}

#[test]
fn other_domains_another_directory_and_another_profile_make_another_certificate() {
    let mut bench = Bench::new("changed");
    bench.issue(&["mail.example.org", "added-by.the-authority.example"], SystemTime::now(), 90 * DAY);
    assert!(bench.next().starts_with("wait"), "{}", bench.next());
    bench.settings(|settings| settings.directory = "https://other.example/directory".to_owned());
    assert_eq!(bench.next(), "the directory has changed");
    bench.settings(|settings| settings.directory = "https://ca.example/directory".to_owned());
    bench.settings(|settings| settings.profile = Some("shortlived".to_owned()));
    assert_eq!(bench.next(), "the profile has changed");
    bench.settings(|settings| settings.domains.push("mx.example.org".to_owned()));
    assert_eq!(bench.next(), "the domains have changed");
}

#[test]
fn a_domain_less_makes_another_certificate_too() {
    let mut bench = Bench::new("fewer");
    bench.settings(|settings| settings.domains.push("mx.example.org".to_owned()));
    bench.issue(&["mail.example.org", "mx.example.org"], SystemTime::now(), 90 * DAY);
    bench.settings(|settings| settings.domains.truncate(1));
    assert_eq!(bench.next(), "the domains have changed");
}

#[test]
fn the_authoritys_window_counts_for_its_certificate_alone_and_one_in_the_past_at_once() {
    let bench = Bench::new("window");
    let loaded = bench.issue(&["mail.example.org"], SystemTime::now(), 90 * DAY);
    let at = |days: u32| seconds(SystemTime::now() + days * DAY);
    let suggest = |window, certificate: String| {
        let explanation = Some("https://ca.example/why".to_owned());
        bench.state(|state| {
            state.suggested = Some(Suggested { certificate, window: Some(window), explanation, ask_again: at(5) });
        });
    };
    suggest((at(2), at(2)), name_of(&loaded));
    assert_eq!(bench.next(), "wait 1: renewal, when the authority suggests it (https://ca.example/why)");
    suggest((0, 1), name_of(&loaded));
    assert_eq!(bench.next(), "renewal, when the authority suggests it (https://ca.example/why)");
    suggest((0, 1), "another".to_owned());
    assert_eq!(bench.next(), "ask");
}

#[test]
fn renewals_in_a_row_come_to_rest_whatever_is_said_of_each() {
    let bench = Bench::new("rest");
    let loaded = bench.issue(&["mail.example.org"], SystemTime::now(), 90 * DAY);
    let now = SystemTime::now();
    let issued = |ago: Duration| State { issued: seconds(now - ago), ..State::default() };
    assert_eq!(rest(&loaded, &State::default(), now), Duration::ZERO, "the first");
    assert_eq!(rest(&loaded, &issued(60 * DAY), now), Duration::ZERO, "one in good time");
    assert_eq!(rest(&loaded, &issued(DAY / 24), now), RENEWED_LATELY, "one at once");
    assert_eq!(rest(&loaded, &State::default(), now + 91 * DAY), RENEWED_LATELY, "one that is over on arrival");

    let certificate = name_of(&loaded);
    bench.state(|state| {
        let window = Some((0, 1));
        state.suggested = Some(Suggested { certificate, window, explanation: None, ask_again: u64::MAX });
    });
    assert_eq!(bench.next(), "renewal, when the authority suggests it");
    bench.state(|state| state.rest = seconds(now + DAY / 4));
    assert!(bench.next().starts_with("ask"), "{}", bench.next());
}

#[test]
fn renewal_information_that_is_old_is_asked_for_again() {
    let bench = Bench::new("again");
    bench.issue(&["mail.example.org"], SystemTime::now(), 90 * DAY);
    bench.state(|state| state.suggested.iter_mut().for_each(|suggested| suggested.ask_again = 1));
    assert_eq!(bench.next(), "ask");
}

#[test]
fn what_is_broken_or_open_to_others_is_as_good_as_none() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new("broken");
    bench.issue(&["mail.example.org"], SystemTime::now(), 90 * DAY);
    let file = bench.keeper.settings.file(KeyType::EcdsaP256);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(bench.next(), "there is no certificate yet");
    fs::write(&file, "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bench.next(), "there is no certificate yet");
}

#[test]
fn a_state_that_cannot_be_read_is_as_good_as_none_and_an_account_that_cannot_is_an_error() {
    let bench = Bench::new("state");
    let folder = bench.keeper.settings.folder();
    fs::write(folder.join("ecdsa-p256.json"), "{\"failures\": ").unwrap();
    assert_eq!(bench.cache.state(KeyType::EcdsaP256), State::default());
    fs::write(folder.join("account.json"), "{\"directory\": ").unwrap();
    let error = bench.cache.account().err().unwrap().to_string();
    assert!(error.contains("account.json"), "{error}");
}

#[test]
fn one_holds_the_lock_and_every_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new("lock");
    let first = bench.cache.lock().unwrap().unwrap();
    assert!(bench.cache.lock().unwrap().is_none());
    drop(first);
    assert!(bench.cache.lock().unwrap().is_some());
    let account = SavedAccount { directory: String::new(), key: String::new(), url: None, contact: Vec::new() };
    bench.cache.keep_account(&account).unwrap();
    bench.state(|state| state.failures = 1);
    let folder = bench.keeper.settings.folder();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn those_who_want_one_cache_at_once_wait_and_none_takes_it_for_broken() {
    let benches = [Bench::new("shared"), Bench::new("shared")];
    std::thread::scope(|scope| {
        for bench in &benches {
            scope.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
                runtime.block_on(async {
                    for _ in 0..100 {
                        assert!(bench.keeper.lock(&bench.cache, "test").await.unwrap().is_some());
                    }
                });
            });
        }
    });
}

#[tokio::test]
async fn who_waited_for_the_lock_heeds_the_wait_that_another_was_told() {
    let mut bench = Bench::new("heeds");
    bench.settings(|settings| settings.directory = "https://127.0.0.1:1/directory".to_owned());
    let cache = bench.cache.clone();
    let lock = cache.lock().unwrap().unwrap();
    let other = cache.clone();
    let failing = async move {
        sleep(Duration::from_millis(300)).await;
        let mut state = other.state(KeyType::EcdsaP256);
        (state.failures, state.not_before) = (1, seconds(SystemTime::now() + Duration::from_secs(600)));
        state.last_error = Some("the other's".to_owned());
        other.keep_state(KeyType::EcdsaP256, &state).unwrap();
        drop(lock);
    };
    let mut held = Held::default();
    tokio::join!(bench.keeper.attempt(&cache, None, "there is none", &mut held), failing);
    let state = cache.state(KeyType::EcdsaP256);
    assert_eq!((state.failures, state.last_error.as_deref()), (1, Some("the other's")));
    // What the operator wants is not put off.
    held.wanted = true;
    bench.keeper.attempt(&cache, None, "the operator asked for it", &mut held).await;
    assert_eq!(cache.state(KeyType::EcdsaP256).failures, 2);
}
