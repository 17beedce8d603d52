//! The thread that has the file: it opens it, takes what is in it, writes what has changed, and lets go of it.
//!
//! What somebody waits for is written at once; while one commit is under way, all that comes is gathered for the next. A file that
//! another process has is tried until that lets go: a process that takes over gets it when the old one has closed it.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    GATHERED, Memory, Progress, Rung,
    file::{File, Unusable, set_aside},
};
use crate::policy::history::TOLERANCE;

/// How often a file that another process has is tried.
const TAKEN_PAUSE: Duration = Duration::from_millis(50);

/// How often everything is looked through for what is over.
const SWEEP: Duration = Duration::from_secs(600);

/// How long it is waited for better times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// How long a file that another process has is waited for before mail goes on without it.
    pub(super) taken: Duration,
    /// How long a disk is left alone that was full, or a file that is broken once more.
    pub(super) unreachable: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { taken: Duration::from_secs(5), unreachable: Duration::from_secs(10) }
    }
}

/// What the thread has.
pub(super) struct Keeper {
    path: PathBuf,
    pauses: Pauses,
    memory: Arc<Memory>,
    told: watch::Sender<Progress>,
    file: Option<File>,
    begun: Instant,
    /// When a file is tried that is not there.
    next_try: Instant,
    swept: (Instant, SystemTime),
    set_aside: Option<Instant>,
    served: u64,
    has_warned: bool,
}

impl Keeper {
    pub(super) fn new(path: PathBuf, pauses: Pauses, memory: Arc<Memory>, told: watch::Sender<Progress>) -> Self {
        let now = Instant::now();
        Self {
            path,
            pauses,
            memory,
            told,
            file: None,
            begun: now,
            next_try: now,
            swept: (now, SystemTime::now()),
            set_aside: None,
            served: 0,
            has_warned: false,
        }
    }

    /// Until the file is let go for good.
    pub(super) fn run(mut self) {
        loop {
            if self.file.is_none() && Instant::now() >= self.next_try {
                self.open();
                self.write(self.served);
            }
            let rung = self.wait();
            if self.swept.0.elapsed() >= SWEEP {
                self.sweep();
            }
            self.write(rung.asked);
            if rung.closing {
                return self.close();
            }
        }
    }

    /// Waits for something to do.
    fn wait(&self) -> Rung {
        let memory = self.memory.clone();
        let mut rung = memory.bell.lock();
        let mut due = self.swept.0 + SWEEP;
        if self.file.is_none() {
            due = due.min(self.next_try);
        }
        loop {
            let now = Instant::now();
            if rung.closing || (rung.asked > self.served && self.told.borrow().settled) || due <= now {
                rung.changed = false;
                return *rung;
            }
            if rung.changed && self.file.is_some() {
                rung.changed = false;
                due = due.min(now + GATHERED);
            }
            let waited = memory.bell.woken.wait_timeout(rung, due - now);
            rung = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn open(&mut self) {
        let secret = self.memory.secret();
        let opened = File::open(&self.path, &secret).and_then(|(file, before)| {
            match before.filter(|before| *before != secret) {
                // Another process has written it.
                Some(other) => self.memory.take(&file, other, SystemTime::now())?,
                // It is new, or lacks what could not be written: nobody knows what it has.
                None => self.memory.write_all(),
            }
            Ok(file)
        });
        match opened {
            Ok(file) => {
                if self.has_warned {
                    tracing::info!(path = %self.path.display(), "what is remembered of outbound mail is in its file again");
                }
                self.has_warned = false;
                self.file = Some(file);
                self.told.send_modify(|progress| progress.settled = true);
            }
            Err(why) => self.do_without(&why),
        }
    }

    /// Writes what has changed; `asked` is how many wait for that.
    fn write(&mut self, asked: u64) {
        if !self.told.borrow().settled {
            return;
        }
        if let Some(file) = &self.file {
            match self.memory.write(file) {
                Ok(()) => self.told.send_modify(|progress| progress.durable = asked),
                Err(why) => {
                    self.let_go();
                    self.do_without(&why);
                }
            }
        }
        self.served = asked;
        self.told.send_modify(|progress| progress.tried = asked);
    }

    /// Goes on without the file.
    fn do_without(&mut self, why: &Unusable) {
        self.next_try = Instant::now() + self.pauses.unreachable;
        match why {
            // The one before this process is about to let go.
            Unusable::Taken if self.begun.elapsed() < self.pauses.taken => {
                self.next_try = Instant::now() + TAKEN_PAUSE;
                return;
            }
            Unusable::Broken(_) if self.begin_anew(why) => {
                self.next_try = Instant::now();
                return;
            }
            Unusable::Taken | Unusable::Broken(_) | Unusable::Unreachable(_) => self.warn(why),
        }
        self.told.send_modify(|progress| progress.settled = true);
    }

    /// Puts a file that is of no use out of the way, unless that has just been done; says whether it is.
    fn begin_anew(&mut self, why: &Unusable) -> bool {
        if self.set_aside.is_some_and(|at| at.elapsed() < self.pauses.unreachable) {
            return false;
        }
        self.set_aside = Some(Instant::now());
        match set_aside(&self.path) {
            Ok(aside) => {
                tracing::warn!(
                    path = %self.path.display(), error = %why, aside = %aside.display(),
                    "the file with what is remembered of outbound mail is broken, or not mailward's; it is set aside, and begun anew",
                );
                true
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "a file that is of no use cannot be set aside");
                false
            }
        }
    }

    /// Once, until it is well again.
    fn warn(&mut self, why: &Unusable) {
        if !self.has_warned {
            tracing::warn!(
                path = %self.path.display(), error = %why,
                "what is remembered of outbound mail cannot be kept in its file; a restart will forget it, and a message may be sent twice",
            );
        }
        self.has_warned = true;
    }

    fn sweep(&mut self) {
        let (instant, time) = (Instant::now(), SystemTime::now());
        let elapsed = instant - self.swept.0;
        let expected = self.swept.1 + elapsed;
        let apart = time.duration_since(expected).unwrap_or_else(|error| error.duration());
        self.swept = (instant, time);
        // A clock that has just jumped may jump back: nothing is forgotten by it yet.
        if apart <= TOLERANCE {
            self.memory.sweep(time);
        }
    }

    fn let_go(&mut self) {
        if let Some(Err(error)) = self.file.take().map(File::close) {
            tracing::debug!(%error, "the file with what is remembered of outbound mail did not close well");
        }
    }

    fn close(mut self) {
        self.let_go();
        self.told.send_modify(|progress| progress.closed = true);
    }
}
