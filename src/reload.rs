//! Reading the configuration, at start and again: a whole new snapshot, or the reasons why not.

use std::path::Path;

use crate::{
    config::{self, Problems, Severity},
    snapshot::{Built, Lasting, Snapshot},
    tls,
};

/// Loads the file and builds a snapshot. The problems found are warnings where there is a snapshot.
///
/// # Errors
/// Everything that is wrong, warnings included, where there is an error among it.
pub fn load(path: &Path, lasting: &Lasting, keep: bool) -> Result<(Built, Problems), Problems> {
    let (config, mut problems) = config::load(path)?;
    tls::check_roots(&config, &mut problems);
    match Snapshot::build(config, lasting, keep, &mut problems) {
        Some(built) => Ok((built, problems)),
        None => Err(problems),
    }
}

/// Writes each problem to the log, in the words of `mailward check`.
pub fn log(problems: &Problems) {
    for problem in &problems.0 {
        match problem.severity {
            Severity::Error => tracing::error!("{problem}"),
            Severity::Warning => tracing::warn!("{problem}"),
        }
    }
}

/// Names what a reload cannot change in a running process.
pub fn warn_of_restart(old: &config::Config, new: &config::Config) {
    let (old, new) = (&old.server, &new.server);
    let changed = [
        ("server.workers", old.workers != new.workers),
        ("server.limit.handshakes", old.handshakes != new.handshakes),
        ("server.state", old.state != new.state),
        ("server.control", old.control != new.control),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "this setting takes effect at the next restart");
    }
}
