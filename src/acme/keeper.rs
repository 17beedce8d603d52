//! The life of one certificate: asked for when there is none, renewed before its end, for ever.
//!
//! What is in force stays in force until something better is there, whatever fails. What is to be done is decided by what
//! the cache holds, so that a restart, and another process on the same cache, go on from there; memory ([`Held`]) stands in
//! only for what a full disk did not take.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use instant_acme::CertificateIdentifier;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    Answers, Report,
    account::Accounts,
    cache::{Cache, CacheError, Lock, State, Suggested, Wanted, moment, seconds},
    client::Https,
    fault::Fault,
    key,
    order::Ordering,
};
use crate::{
    config::{Acme, KeyType},
    policy::renewal::{self, Spread, Validity},
    tls::{self, Loaded},
};

/// The longest sleep: clocks are set, and machines sleep too.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// How often somebody else's lock is tried.
const LOCK_EVERY: Duration = Duration::from_secs(1);

/// How often the operator is warned of a certificate that nears its end.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon renewal information is asked for again, at least and at most, whatever the authority says.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));

/// Two renewals that are closer to each other than this are not followed by a third as soon.
const RENEWED_LATELY: Duration = Duration::from_secs(6 * 60 * 60);

/// No wait that was written down is longer than this; one that is comes of a clock that was wrong.
const LONGEST_WAIT: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// A clock that is this far from the authority's is worth a word.
const CLOCK_OFF: Duration = Duration::from_secs(10 * 60);

/// Keeps one certificate.
pub(super) struct Keeper {
    pub settings: Arc<Acme>,
    pub key_type: KeyType,
    /// Files with further roots.
    pub roots: Vec<PathBuf>,
    pub answers: Arc<Answers>,
    /// Told when a certificate is there.
    pub issued: Arc<Notify>,
    pub report: Arc<Mutex<Report>>,
    /// One word for each time that the operator wants a certificate now.
    pub asked: mpsc::Receiver<()>,
    pub stopping: watch::Receiver<bool>,
    /// Why the last attempt of this process failed; the cache may not have taken it.
    pub last_error: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
enum Step {
    /// Nothing until then.
    Wait(SystemTime, Due),
    /// Ask the authority when it suggests to renew.
    AskWindow(Box<Loaded>),
    /// Get a certificate, and why.
    Obtain(String),
}

impl Keeper {
    /// Keeps the certificate until it is told to stop.
    pub(super) async fn run(mut self) {
        let cache = Cache::new(&self.settings);
        let mut held = Held::default();
        let mut stopping = self.stopping.clone();
        while !*self.stopping.borrow() {
            // Seen before it is judged: what another process issues in between is seen to be another.
            let judged = name_in(&cache, self.key_type);
            let step = self.step(&cache, &held, SystemTime::now());
            self.warn_of_end(&cache, &mut held);
            match step {
                Step::Obtain(why) => {
                    self.attempt(&cache, judged, &why, &mut held).await;
                    held.wanted = false;
                }
                step => tokio::select! {
                    () = self.pass(step, &cache, &mut held) => {}
                    () = stopped(&mut stopping) => {}
                },
            }
        }
    }

    /// Does what may be left off at any moment.
    async fn pass(&mut self, step: Step, cache: &Cache, held: &mut Held) {
        match step {
            Step::Wait(until, due) => self.wait(until, &due, cache, held).await,
            Step::AskWindow(loaded) => self.ask_window(cache, &loaded, held).await,
            Step::Obtain(_) => {}
        }
    }

    /// What is to be done now, by what the cache holds.
    fn step(&self, cache: &Cache, held: &Held, now: SystemTime) -> Step {
        let (loaded, state) = (cache.certificate(self.key_type, now), cache.state(self.key_type));
        if held.wanted {
            return Step::Obtain("the operator asked for it".to_owned());
        }
        let due = self.due(loaded.as_ref(), &state);
        if due.at <= now {
            let not_before = held.not_before.max(plausible(moment(state.not_before), now));
            return match not_before {
                Some(until) if until > now => {
                    Step::Wait(until, Due { at: until, why: format!("{}; waits after a failure", due.why) })
                }
                _ => Step::Obtain(due.why),
            };
        }
        let Some(loaded) = loaded else { return Step::Obtain(due.why) };
        let ask_at = ask_again(&state, &loaded).max(held.ask_after.unwrap_or(SystemTime::UNIX_EPOCH));
        if ask_at <= now { Step::AskWindow(Box::new(loaded)) } else { Step::Wait(due.at.min(ask_at), due) }
    }

    /// When a certificate is to be got.
    fn due(&self, loaded: Option<&Loaded>, state: &State) -> Due {
        let Some(loaded) = loaded else { return Due::now("there is no certificate yet") };
        if let Some(what) = self.changed(loaded, state) {
            return Due::now(what);
        }
        let suggested = state.suggested_for(&name_of(loaded));
        let window = suggested.and_then(Suggested::window);
        let at = validity(loaded).renew_at(window, self.settings.renew_before, spread_of(loaded));
        let at = plausible(moment(state.rest), SystemTime::now()).map_or(at, |rest| at.max(rest));
        let why = match (window, suggested.and_then(|suggested| suggested.explanation.as_deref())) {
            (None, _) => "renewal, by renew-before".to_owned(),
            (Some(_), None) => "renewal, when the authority suggests it".to_owned(),
            (Some(_), Some(url)) => format!("renewal, when the authority suggests it ({url})"),
        };
        Due { at, why }
    }

    /// What the certificate in force is not any more what is wanted by.
    fn changed(&self, loaded: &Loaded, state: &State) -> Option<&'static str> {
        let wanted = Wanted::by(&self.settings);
        // An authority may have added a name that nobody asked for.
        if !wanted.domains.iter().all(|name| loaded.names.contains(name)) {
            return Some("the domains have changed");
        }
        let certified = state.certified.as_ref()?;
        (certified.domains != wanted.domains)
            .then_some("the domains have changed")
            .or_else(|| (certified.directory != wanted.directory).then_some("the directory has changed"))
            .or_else(|| (certified.profile != wanted.profile).then_some("the profile has changed"))
    }

    async fn wait(&mut self, until: SystemTime, due: &Due, cache: &Cache, held: &mut Held) {
        self.tell(cache, Some(due.at), &due.why);
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::select! {
            () = sleep(left.min(LONGEST_SLEEP)) => {}
            asked = self.asked.recv() => held.wanted = asked.is_some(),
        }
    }

    /// Asks for the certificate's window. That the authority cannot be reached is no fault yet: there is time.
    async fn ask_window(&self, cache: &Cache, loaded: &Loaded, held: &mut Held) {
        const WHY: &str = "asking the authority when to renew";
        self.tell(cache, None, WHY);
        let asked = self.window(cache, loaded).await;
        let kept = match self.lock(cache, WHY).await {
            Ok(Some(_lock)) => self.keep_window(cache, loaded, asked),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(acme = %self.settings.id, %error, "the cache cannot be written");
            // It would be asked for again at once.
            held.ask_after = Some(SystemTime::now() + ASK_AGAIN.0);
        }
    }

    /// Keeps what the authority said of the window, or the one that is known. The caller has the lock.
    fn keep_window(&self, cache: &Cache, loaded: &Loaded, asked: Result<Suggested, Fault>) -> Result<(), CacheError> {
        let mut state = cache.state(self.key_type);
        let suggested = asked.unwrap_or_else(|fault| {
            tracing::info!(acme = %self.settings.id, reason = %fault, "the authority does not say when to renew");
            let known = state.suggested_for(&name_of(loaded)).cloned();
            let ask_again = seconds(SystemTime::now() + Duration::from_secs(60 * 60));
            Suggested { ask_again, ..known.unwrap_or_else(|| Suggested::none(loaded)) }
        });
        state.suggested = Some(suggested);
        cache.keep_state(self.key_type, &state)
    }

    async fn window(&self, cache: &Cache, loaded: &Loaded) -> Result<Suggested, Fault> {
        let https = self.https()?;
        let accounts = Accounts { settings: &self.settings, cache, https: &https };
        let account = accounts.open().await?.account;
        let name = CertificateIdentifier::try_from(&loaded.key.cert[0]).map_err(Fault::refused)?;
        match account.renewal_info(&name).await {
            Ok((info, again)) => {
                let window = info.suggested_window;
                Ok(Suggested {
                    certificate: name_of(loaded),
                    window: Some((seconds(window.start.into()), seconds(window.end.into()))),
                    explanation: info.explanation_url,
                    ask_again: seconds(SystemTime::now() + again.clamp(ASK_AGAIN.0, ASK_AGAIN.1)),
                })
            }
            Err(instant_acme::Error::Unsupported(_)) => Ok(Suggested::none(loaded)),
            Err(error) => Err(Fault::of(error, https.heard.retry_at())),
        }
    }

    /// One attempt, under the lock, to get a certificate in place of the one that was `judged`.
    async fn attempt(&mut self, cache: &Cache, judged: Option<String>, why: &str, held: &mut Held) {
        let lock = match self.lock(cache, why).await {
            Ok(Some(lock)) => lock,
            Ok(None) => return,
            Err(error) => return self.failed(cache, &mut cache.state(self.key_type), held, Fault::from(error)),
        };
        // Whoever held it may have done the work, or was told to come again later.
        let is_due = matches!(self.step(cache, held, SystemTime::now()), Step::Obtain(_));
        if name_in(cache, self.key_type) != judged || !is_due {
            drop(lock);
            return;
        }
        self.tell(cache, None, why);
        tracing::info!(acme = %self.settings.id, key_type = %self.key_type, why, "asking for a certificate");
        let mut state = cache.state(self.key_type);
        match self.obtain(cache, &mut state).await {
            Ok(loaded) => self.succeeded(cache, &loaded, &state, held),
            // What was left off is gone on with at the next start.
            Err(_) if *self.stopping.borrow() => {}
            Err(fault) => self.failed(cache, &mut state, held, fault),
        }
        drop(lock);
    }

    async fn obtain(&self, cache: &Cache, state: &mut State) -> Result<Loaded, Fault> {
        let https = self.https()?;
        // An authority knows the certificates of its own alone.
        let is_theirs = state.certified.as_ref().is_some_and(|by| by.directory == self.settings.directory);
        let old = cache.certificate(self.key_type, SystemTime::now()).filter(|_| is_theirs);
        let mut ordering = Ordering {
            settings: &self.settings,
            key_type: self.key_type,
            cache,
            answers: &self.answers,
            https: &https,
            stopping: self.stopping.clone(),
        };
        let obtained = ordering.obtain(state, old.as_ref()).await;
        self.look_at_clock(&https);
        obtained
    }

    /// The lock of the cache, which can be written to, waited for; `None` where that is not worth while any more.
    async fn lock(&self, cache: &Cache, why: &str) -> Result<Option<Lock>, CacheError> {
        cache.prepare()?;
        while !*self.stopping.borrow() {
            if let Some(lock) = cache.lock()? {
                cache.prove()?;
                return Ok(Some(lock));
            }
            self.tell(cache, None, &format!("{why}; waits for another order on the same cache"));
            sleep(LOCK_EVERY).await;
        }
        Ok(None)
    }

    fn succeeded(&mut self, cache: &Cache, loaded: &Loaded, before: &State, held: &mut Held) {
        let now = SystemTime::now();
        *held = Held::default();
        self.last_error = None;
        let state = State {
            certified: Some(Wanted::by(&self.settings)),
            issued: seconds(now),
            rest: seconds(now + rest(loaded, before, now)),
            ..State::default()
        };
        let until = seconds(loaded.not_after);
        let names = loaded.names.join(" ");
        tracing::info!(acme = %self.settings.id, key_type = %self.key_type, %names, until, "a certificate was issued");
        // It is served while the disk may still be busy with the rest.
        self.issued.notify_one();
        if let Err(error) = cache.keep_state(self.key_type, &state) {
            tracing::warn!(acme = %self.settings.id, %error, "the cache cannot be written");
        }
    }

    fn failed(&mut self, cache: &Cache, state: &mut State, held: &mut Held, fault: Fault) {
        let now = SystemTime::now();
        let loaded = cache.certificate(self.key_type, now);
        state.failures = state.failures.saturating_add(1).max(held.failures.saturating_add(1));
        let left = loaded.as_ref().map(|loaded| validity(loaded).left(now)).unwrap_or_default();
        let asked = fault.retry_at.and_then(|at| at.duration_since(now).ok());
        let spread = spread_of_words(&format!("{}{:?}", self.settings.id, now));
        let wait = renewal::wait(fault.failing, state.failures, asked, left, spread);
        state.not_before = seconds(now + wait);
        state.last_error = Some(fault.words.clone());
        self.last_error = Some(fault.words.clone());
        // In memory too: where the disk is full, the next attempt would follow at once.
        (held.not_before, held.failures) = (Some(now + wait), state.failures);
        tracing::warn!(
            acme = %self.settings.id,
            key_type = %self.key_type,
            reason = %fault,
            failures = state.failures,
            seconds = wait.as_secs(),
            "no certificate was issued; the next attempt follows"
        );
        if let Err(error) = cache.keep_state(self.key_type, state) {
            tracing::warn!(acme = %self.settings.id, %error, "the cache cannot be written");
        }
    }

    fn https(&self) -> Result<Https, Fault> {
        Https::new(tls::roots_with_system(&self.roots).map_err(Fault::ours)?)
    }

    fn look_at_clock(&self, https: &Https) {
        let (now, Some(theirs)) = (SystemTime::now(), https.heard.clock()) else { return };
        let off = now.duration_since(theirs).or_else(|_| theirs.duration_since(now)).unwrap_or_default();
        if off > CLOCK_OFF {
            let seconds = off.as_secs();
            tracing::warn!(acme = %self.settings.id, seconds, "this machine's clock is not the authority's");
        }
    }

    /// A certificate that nears its end in spite of all attempts is the operator's business.
    fn warn_of_end(&self, cache: &Cache, held: &mut Held) {
        let now = SystemTime::now();
        let Some(loaded) = cache.certificate(self.key_type, now) else { return };
        let warned_lately = held.warned.is_some_and(|at| at.elapsed() < WARN_EVERY);
        if validity(&loaded).ends_soon(now) && !warned_lately {
            held.warned = Some(Instant::now());
            let names = loaded.names.join(" ");
            let hours = validity(&loaded).left(now).as_secs() / 3600;
            let reason = cache.state(self.key_type).last_error.unwrap_or_default();
            tracing::warn!(acme = %self.settings.id, %names, hours, reason, "a certificate nears its end");
        }
    }

    /// Notes for the operator what is done next.
    fn tell(&self, cache: &Cache, next: Option<SystemTime>, why: &str) {
        let state = cache.state(self.key_type);
        let next_key = key::known_next(self.key_type, cache).map(|key| key::digest_of(&key));
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Report {
            id: self.settings.id.clone(),
            key_type: self.key_type.name().to_owned(),
            domains: self.settings.domains.clone(),
            next: next.map(seconds),
            why: why.to_owned(),
            last_error: self.last_error.clone().or(state.last_error),
            next_key,
        };
    }
}

/// What is held in memory between two deeds, and may be lost.
#[derive(Debug, Default)]
struct Held {
    /// The operator wants a certificate now.
    wanted: bool,
    /// As in [`State`], which may not have come into the cache.
    not_before: Option<SystemTime>,
    failures: u32,
    /// No question for renewal information before this, where its answer could not be kept.
    ask_after: Option<SystemTime>,
    /// When the operator was warned of the end.
    warned: Option<Instant>,
}

/// When a certificate is to be got, and why.
#[derive(Debug)]
struct Due {
    at: SystemTime,
    why: String,
}

impl Due {
    fn now(why: &str) -> Self {
        Self { at: SystemTime::UNIX_EPOCH, why: why.to_owned() }
    }
}

impl Suggested {
    /// That the authority suggests nothing for a certificate; it is asked again in a day.
    fn none(loaded: &Loaded) -> Self {
        let ask_again = seconds(SystemTime::now() + ASK_AGAIN.1);
        Self { certificate: name_of(loaded), window: None, explanation: None, ask_again }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A moment that was written down, if it can be meant: not one of a clock that was far ahead.
fn plausible(at: SystemTime, now: SystemTime) -> Option<SystemTime> {
    (at <= now + LONGEST_WAIT).then_some(at)
}

fn ask_again(state: &State, loaded: &Loaded) -> SystemTime {
    let at = state.suggested_for(&name_of(loaded)).map(|suggested| moment(suggested.ask_again));
    at.and_then(|at| plausible(at, SystemTime::now())).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// How long a new certificate is left alone, if it came soon after the one before it or is over on arrival: where a clock
/// or an authority is out of its mind, one would follow the other without end.
fn rest(loaded: &Loaded, before: &State, now: SystemTime) -> Duration {
    let rest = RENEWED_LATELY.min(validity(loaded).length() / 3);
    let is_soon = now.duration_since(moment(before.issued)).is_ok_and(|age| age < rest);
    if is_soon || loaded.not_after <= now { rest } else { Duration::ZERO }
}

const fn validity(loaded: &Loaded) -> Validity {
    Validity { from: loaded.not_before, until: loaded.not_after }
}

/// A certificate's name for itself: the SHA-256 of it, in hexadecimal.
fn name_of(loaded: &Loaded) -> String {
    key::sha256_in_hex(&loaded.key.cert[0])
}

fn name_in(cache: &Cache, key_type: KeyType) -> Option<String> {
    cache.certificate(key_type, SystemTime::now()).map(|loaded| name_of(&loaded))
}

/// A certificate's place in every interval: by chance, and always the same.
fn spread_of(loaded: &Loaded) -> Spread {
    spread(&loaded.key.cert[0])
}

fn spread_of_words(words: &str) -> Spread {
    spread(words.as_bytes())
}

fn spread(bytes: &[u8]) -> Spread {
    let digest = key::sha256(bytes);
    Spread::from_be_bytes([digest[0], digest[1]])
}

#[cfg(test)]
mod tests;
