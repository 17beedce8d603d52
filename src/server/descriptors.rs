//! File descriptors: a session needs two, and a process that runs out refuses everybody.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What the process needs besides its sessions.
const BESIDES: u64 = 128;

/// Raises the limit to what the system allows at most.
pub(super) fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the warning below says what follows.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// What is wrong where the sessions that the configuration permits do not fit into the limit that can be had.
#[must_use]
pub fn fits(config: &Config) -> Option<String> {
    let sessions: u64 = config.listeners.values().map(|listener| listener.max_connections as u64).sum();
    let needed = sessions.saturating_mul(2) + BESIDES;
    let limit = getrlimit(Resource::Nofile).maximum?;
    (needed > limit).then(|| {
        format!(
            "max-connections of all listeners ({sessions}) needs {needed} file descriptors, and the hard limit is \
             {limit}; raise it (systemd: LimitNOFILE=) or lower max-connections"
        )
    })
}

pub(super) fn warn(config: &Config) {
    if let Some(what) = fits(config) {
        tracing::warn!("{what}");
    }
}
