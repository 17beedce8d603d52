//! File descriptors: a session needs two, and a process that runs out refuses everybody.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{config::Config, inbound::occupancy::RESERVE};

/// What the process needs besides its clients and listening sockets: runtimes, lookups of names, files being read.
const BESIDES: usize = 128;

/// Raises the limit to what the system allows at most.
pub(super) fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the warning below says what follows.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// What is wrong where the sessions that the configuration permits do not fit into the limit that can be had.
#[must_use]
pub fn fits(config: &Config) -> Option<String> {
    let (sessions, needed) = needed(config);
    let limit = getrlimit(Resource::Nofile).maximum?;
    (u64::try_from(needed).unwrap_or(u64::MAX) > limit).then(|| {
        format!(
            "max-connections of all listeners ({sessions}) needs {needed} file descriptors, and the hard limit is \
             {limit}; raise it (systemd: LimitNOFILE=) or lower max-connections"
        )
    })
}

/// How many sessions there can be, and how many descriptors everything needs then.
fn needed(config: &Config) -> (usize, usize) {
    let listeners = || config.listeners.values();
    let sessions: usize = listeners().map(|listener| listener.max_connections).sum();
    let sockets: usize = listeners().map(|listener| listener.bind.len()).sum();
    let needed = sessions * 2 + listeners().count() * RESERVE + sockets * config.server.workers + BESIDES;
    (sessions, needed)
}

pub(super) fn warn(config: &Config) {
    if let Some(what) = fits(config) {
        tracing::warn!("{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn sessions_refusals_and_the_sockets_of_all_workers_need_descriptors() {
        let text = "[server]\nworkers = 10\nmax-connections = 1000\n\
                    [server.listener.imap]\nbind = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nprotocol = \"imap\"\n\
                    [server.listener.pop3]\nbind = \"127.0.0.1:0\"\nprotocol = \"pop3\"\nmax-connections = 50\n\
                    [backend.mail]\naddress = \"127.0.0.1:1\"\n[certificate.main]\nself-signed = \"localhost\"\n";
        let (config, _) = crate::config::parse(text, Path::new("proxy.toml")).unwrap();
        assert_eq!(needed(&config), (1050, 2100 + 2 * RESERVE + 30 + BESIDES));
    }
}
