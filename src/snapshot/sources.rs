//! Whether mailward may connect from its clients' addresses (`identity = "transparent"`).

use crate::{
    config::{Config, Identity, Problems},
    net::connect,
};

/// Notes what is missing for backends that want it: an error for a process that is to serve, and a warning for one that
/// only checks, as it may well run under another account.
pub(super) fn check(config: &Config, serves: bool, problems: &mut Problems) {
    let wanted = config.backends.values().find(|backend| backend.identity.contains(&Identity::Transparent));
    let Some((backend, error)) = wanted.and_then(|backend| Some((backend, connect::may_come_from_anywhere().err()?)))
    else {
        return;
    };
    let key = format!("backend.{}.identity", backend.id);
    let what = format!("\"transparent\" cannot be had: no socket may take a client's address ({error})");
    let right = "give mailward the capability CAP_NET_RAW or CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_RAW)";
    if serves {
        problems.error(&backend.at, &key, what, right);
    } else {
        problems.warning(&backend.at, &key, what, format!("{right}, or run this check with it"));
    }
}
