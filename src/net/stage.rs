//! What the process is doing, as its sessions see it. They are told in groups, so that those who have to go do not
//! all come back at once.

use tokio::sync::watch;

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Serving.
    Running,
    /// No new sessions; running ones end where their protocol lets them.
    Draining,
    /// Every session ends now.
    Stopping,
}

/// How many groups there are.
const GROUPS: usize = 64;

/// Tells the sessions.
#[derive(Debug)]
pub struct Teller(Vec<watch::Sender<Stage>>);

/// What the sessions are told.
#[derive(Clone, Debug)]
pub struct Stages(Vec<watch::Receiver<Stage>>);

/// Both ends, with everything running.
#[must_use]
pub fn stages() -> (Teller, Stages) {
    let (teller, stages) = (0..GROUPS).map(|_| watch::channel(Stage::Running)).unzip();
    (Teller(teller), Stages(stages))
}

impl Stages {
    /// What the session of this number watches.
    #[must_use]
    pub fn of(&self, session: u64) -> watch::Receiver<Stage> {
        let group = usize::try_from(session).unwrap_or_default() % self.0.len();
        self.0[group].clone()
    }
}

impl Teller {
    /// Tells one group after the other, whenever the caller is ready for the next.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &watch::Sender<Stage>> {
        self.0.iter()
    }

    /// Tells all at once.
    pub fn tell(&self, stage: Stage) {
        for group in self.groups() {
            group.send_replace(stage);
        }
    }
}
