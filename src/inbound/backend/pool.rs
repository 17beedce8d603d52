//! What is known of each address of a backend: its health, its sessions, and whose turn it is. It outlives reloads, and
//! all listeners of a protocol that use the backend share it.
//!
//! Promises one line in the log when an address fails and one when it answers again, and that of many sessions that
//! want to know whether an address is back, one at a time finds out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::target::Target;
use crate::{
    config,
    policy::{
        balance::{self, Candidate, Chance},
        health::{Health, Standing},
    },
    proto::Protocol,
};

/// The most addresses that are remembered without need.
const REMEMBERED: usize = 64;

/// How long an address is remembered then that nobody asks for: a name may mean others at any time.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// The addresses of one backend, as one protocol knows them.
#[derive(Debug)]
pub struct Pool {
    id: String,
    protocol: Protocol,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<Target, Known>,
    /// Whether the operator was told that none answers.
    failing: bool,
}

/// What is known of one address.
#[derive(Debug)]
struct Known {
    health: Health,
    /// Why it failed last; empty where it has answered since.
    reason: String,
    sessions: usize,
    turn: i64,
    asked_for: Instant,
    /// Of a name: what it meant when it was last looked up.
    meant: Vec<Target>,
}

/// A hold on an address: it counts as a session of it until this is dropped.
#[derive(Debug)]
pub struct Hold {
    pool: Arc<Pool>,
    target: Target,
    in_trial: bool,
}

impl Pool {
    /// Nothing known yet.
    #[must_use]
    pub fn new(id: &str, protocol: Protocol) -> Self {
        Self { id: id.to_owned(), protocol, state: Mutex::default() }
    }

    /// Takes the address that the next session is to use out of `candidates`, each with its weight; `None` where none
    /// of them is fit. Where `eager` is false, this may be so because of a slow start alone.
    pub(super) fn choose(
        self: &Arc<Self>,
        backend: &config::Backend,
        candidates: &mut Vec<(Target, u32)>,
        eager: bool,
    ) -> Option<Hold> {
        let now = Instant::now();
        let mut state = self.state();
        state.forget(now);
        let fact = |(target, weight): &(Target, u32)| {
            let known = state.known(target, now);
            let standing = known.health.standing(now, backend.slow_start);
            Candidate { weight: *weight, standing, sessions: known.sessions, turn: known.turn }
        };
        let mut facts: Vec<_> = candidates.iter().map(fact).collect();
        let place = balance::choose(backend.order, &mut facts, eager, chance());
        for ((target, _), fact) in candidates.iter().zip(facts) {
            state.known(target, now).turn = fact.turn;
        }
        let (target, _) = candidates.remove(place?);
        Some(self.hold(&mut state, target, now))
    }

    /// Takes this very address; `None` while it is left out, or somebody is finding out whether it is back. A check
    /// does not wait until the next trial is due.
    pub(super) fn take(self: &Arc<Self>, target: &Target, is_check: bool) -> Option<Hold> {
        let now = Instant::now();
        let mut state = self.state();
        let is_fit = match state.known(target, now).health {
            Health::Down { on_trial, .. } if is_check => !on_trial,
            health => health.standing(now, None) != Standing::Out,
        };
        is_fit.then(|| self.hold(&mut state, target.clone(), now))
    }

    fn hold(self: &Arc<Self>, state: &mut State, target: Target, now: Instant) -> Hold {
        let known = state.known(&target, now);
        let in_trial = matches!(known.health, Health::Down { .. });
        known.health = known.health.tried();
        known.sessions += 1;
        Hold { pool: self.clone(), target, in_trial }
    }

    /// Whether all that `target` is known to mean is left out now.
    pub(super) fn is_out(&self, target: &Target) -> bool {
        let (now, mut state) = (Instant::now(), self.state());
        let known = state.known(target, now);
        if known.is_out(now) {
            return true;
        }
        let meant = known.meant.clone();
        !meant.is_empty() && meant.iter().all(|target| state.known(target, now).is_out(now))
    }

    /// Tells the operator, once, that no session has a place to go to.
    pub(super) fn none_answers(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.failing, true) {
            return;
        }
        let failing = state.addresses.iter().filter(|(_, known)| !known.reason.is_empty());
        let mut reasons: Vec<_> = failing.map(|(target, known)| format!("{target}: {}", known.reason)).collect();
        reasons.sort();
        let reasons = reasons.join("; ");
        tracing::warn!(backend = self.id, protocol = %self.protocol, reasons, "no address of the backend answers");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&mut self, target: &Target, now: Instant) -> &mut Known {
        let known = self.addresses.entry(target.clone()).or_insert_with(|| Known::new(now));
        known.asked_for = now;
        known
    }

    fn forget(&mut self, now: Instant) {
        if self.addresses.len() > REMEMBERED {
            self.addresses.retain(|_, known| known.sessions > 0 || now - known.asked_for < FORGET_AFTER);
        }
    }
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            health: Health::default(),
            reason: String::new(),
            sessions: 0,
            turn: 0,
            asked_for: now,
            meant: Vec::new(),
        }
    }

    fn is_out(&self, now: Instant) -> bool {
        self.health.standing(now, None) == Standing::Out
    }
}

impl Hold {
    /// Where it is.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The address answered.
    pub(super) fn answered(&mut self) {
        self.in_trial = false;
        let now = Instant::now();
        let mut state = self.pool.state();
        let known = state.known(&self.target, now);
        let was_down = matches!(known.health, Health::Down { .. });
        known.health = known.health.answered(now);
        known.reason.clear();
        if was_down {
            known.turn = 0;
            tracing::info!(backend = self.pool.id, protocol = %self.pool.protocol, address = %self.target,
                "an address of the backend answers again");
        }
        // That a name is known says nothing yet of what it means.
        if !matches!(self.target, Target::Name(..)) && std::mem::take(&mut state.failing) {
            tracing::info!(backend = self.pool.id, protocol = %self.pool.protocol, "the backend answers again");
        }
    }

    /// The address did not answer; why not is for the log.
    pub(super) fn failed(&mut self, reason: &str) {
        let now = Instant::now();
        let mut state = self.pool.state();
        let known = state.known(&self.target, now);
        let was_up = matches!(known.health, Health::Up { .. });
        known.health = known.health.failed(now, std::mem::take(&mut self.in_trial));
        known.reason.replace_range(.., reason);
        if was_up {
            tracing::warn!(backend = self.pool.id, protocol = %self.pool.protocol, address = %self.target, reason,
                "an address of the backend does not answer; it is left out for a while");
        }
    }

    /// The address was lost after it had greeted, and for this session alone, as far as anybody can tell: a backend
    /// that cuts off whom it does not like is not left out for the others.
    pub(super) fn failed_for_one(&mut self, reason: &str) {
        self.pool.state().known(&self.target, Instant::now()).reason.replace_range(.., reason);
    }

    /// What the name that this is means.
    pub(super) fn means(&mut self, targets: &[Target]) {
        self.answered();
        self.pool.state().known(&self.target, Instant::now()).meant = targets.to_vec();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.pool.state();
        let known = state.known(&self.target, now);
        known.sessions = known.sessions.saturating_sub(1);
        if self.in_trial {
            known.health = known.health.untried();
        }
    }
}

/// A number by chance, of which nothing depends that an attacker could want.
pub(super) fn chance() -> Chance {
    let mut bytes = [0; 2];
    // Without random numbers nothing here works, but sessions might.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    Chance::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::SocketAddr, path::Path};

    fn backend() -> Arc<config::Backend> {
        let text = "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\n\
                    [backend.mail]\naddress = \"mail.internal\"\norder = \"round-robin\"\n\
                    [certificate.main]\nself-signed = \"localhost\"\n";
        config::parse(text, Path::new("proxy.toml")).unwrap().0.backends["mail"].clone()
    }

    fn target(last: u8) -> Target {
        Target::Tcp(SocketAddr::from(([192, 0, 2, last], 143)), None)
    }

    fn choose(pool: &Arc<Pool>, targets: &[Target]) -> Option<Hold> {
        let mut candidates = targets.iter().map(|target| (target.clone(), 1)).collect();
        pool.choose(&backend(), &mut candidates, true)
    }

    /// As it is when the pause after a failure is over.
    fn wait_out(pool: &Pool, target: &Target) {
        let mut state = pool.state();
        let known = state.known(target, Instant::now());
        let Health::Down { failures, on_trial, .. } = known.health else { panic!("{:?}", known.health) };
        known.health = Health::Down { failures, until: Instant::now(), on_trial };
    }

    #[test]
    fn each_address_of_a_name_has_its_own_health() {
        let pool = Arc::new(Pool::new("mail", Protocol::Imap));
        let name = Target::Name("mail.internal".to_owned(), 143);
        let targets = [target(1), target(2)];
        pool.take(&name, false).unwrap().means(&targets);
        pool.take(&targets[0], false).unwrap().failed("no");
        for _ in 0..3 {
            assert_eq!(*choose(&pool, &targets).unwrap().target(), targets[1]);
        }
        assert!(pool.is_out(&targets[0]) && !pool.is_out(&name), "one of two is left");
        pool.take(&targets[1], false).unwrap().failed("no");
        assert!(choose(&pool, &targets).is_none() && pool.is_out(&name));
    }

    #[test]
    fn one_session_at_a_time_finds_out_and_who_gives_up_leaves_it_to_the_next() {
        let pool = Arc::new(Pool::new("mail", Protocol::Imap));
        let target = [target(1)];
        choose(&pool, &target).unwrap().failed("no");
        assert!(choose(&pool, &target).is_none());
        assert!(pool.take(&target[0], true).is_some(), "a check does not wait");
        wait_out(&pool, &target[0]);
        let trial = choose(&pool, &target).unwrap();
        assert!(choose(&pool, &target).is_none() && pool.take(&target[0], true).is_none());
        drop(trial);
        let mut trial = choose(&pool, &target).unwrap();
        trial.answered();
        assert!(choose(&pool, &target).is_some());
    }

    #[test]
    fn what_is_lost_for_one_session_is_not_left_out_for_the_others() {
        let pool = Arc::new(Pool::new("mail", Protocol::Imap));
        let target = [target(1)];
        choose(&pool, &target).unwrap().failed_for_one("cut off");
        assert!(choose(&pool, &target).is_some());
    }

    #[test]
    fn addresses_that_nobody_asks_for_are_forgotten() {
        let pool = Arc::new(Pool::new("mail", Protocol::Imap));
        let _held = choose(&pool, &[target(0)]);
        for last in 1..=200 {
            drop(choose(&pool, &[target(last)]));
        }
        let later = Instant::now() + FORGET_AFTER;
        let mut state = pool.state();
        state.forget(later);
        assert_eq!(state.addresses.keys().collect::<Vec<_>>(), [&target(0)]);
    }
}
