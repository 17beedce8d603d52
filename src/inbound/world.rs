//! What every session needs of the process.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Semaphore;

use super::gate::Gate;
use crate::net::{dns::Resolver, stage::Stages};

/// What every session is given of the process.
#[derive(Debug)]
pub struct World {
    /// Resolves backends' names.
    pub resolver: Resolver,
    /// One permit for each handshake that may be under way.
    pub handshakes: Arc<Semaphore>,
    /// What each client has, and may have.
    pub gate: Arc<Gate>,
    /// What the process is doing.
    pub stages: Stages,
    /// Numbers the sessions.
    pub sessions: Arc<AtomicU64>,
}

impl World {
    /// The number of the next session, from 1.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }
}
