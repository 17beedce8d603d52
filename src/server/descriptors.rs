//! File descriptors: a session needs up to two, and a process that runs out refuses everybody.

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
    let mail = config.listeners.values().map(|listener| (2, listener.max_connections, listener.bind.len()));
    // Nothing is behind an HTTP listener.
    let http = config.http.values().map(|listener| (1, listener.max_connections, listener.bind.len()));
    let (mut sessions, mut needed) = (0, BESIDES);
    for (each, most, sockets) in mail.chain(http) {
        sessions += most;
        needed += each * most + RESERVE + sockets * config.server.workers;
    }
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
                    [server.listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\nmax-connections = 7\n\
                    [backend.mail]\naddress = \"127.0.0.1:1\"\n[certificate.main]\nself-signed = \"localhost\"\n";
        let (config, _) = crate::config::parse(text, Path::new("proxy.toml")).unwrap();
        assert_eq!(needed(&config), (1057, 2100 + 7 + 3 * RESERVE + 40 + BESIDES));
    }
}
