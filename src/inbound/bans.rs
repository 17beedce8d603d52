//! Who is banned, over reloads and restarts: what `policy::bans` decides, in a file of the state directory.
//!
//! Promises that a file which cannot be read or written changes nothing but that it is said, and that nothing of a
//! malformed one counts.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::sleep};

use crate::{
    policy::{
        bans::{self, Ban, Bans, Fault},
        client::Client,
    },
    replace::replace,
};

/// How long changes are gathered before they are written.
const GATHERED: Duration = Duration::from_secs(1);

/// A ban as the file and `mailward bans` have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Banned {
    /// The address, or the network of an IPv6 address.
    pub client: String,
    /// What for: `auth`, `abuse`, `loiter` or `scan`.
    pub reason: String,
    /// Its end, in seconds since 1970.
    pub until: u64,
}

/// The bans of the process.
#[derive(Debug, Default)]
pub struct Register {
    bans: RwLock<Bans>,
    changed: Notify,
    retired: AtomicBool,
}

impl Register {
    /// Bans a client for so long; says whether it was not before.
    pub(super) fn ban(&self, client: Client, fault: Fault, duration: Duration) -> bool {
        let now = SystemTime::now();
        let ban = Ban { until: bans::end(now, duration), fault };
        let is_new = self.write().ban(client.network(), ban, now);
        self.changed.notify_one();
        is_new
    }

    /// Whether a client is banned.
    pub(super) fn hold(&self, client: Client) -> bool {
        self.read().hold(client, SystemTime::now())
    }

    /// Lifts the bans that `whom` names: an address, a network, or with `None` all. Says how many those were.
    pub fn lift(&self, whom: Option<IpNet>) -> usize {
        let now = SystemTime::now();
        let lifted = match whom {
            Some(network) => self.write().lift(network, now),
            None => self.write().lift_all(now),
        };
        self.changed.notify_one();
        lifted
    }

    /// All that hold, those that end first in front.
    #[must_use]
    pub fn list(&self) -> Vec<Banned> {
        self.read().list(SystemTime::now()).iter().map(|(client, ban)| banned(*client, ban)).collect()
    }

    /// Takes the bans that the process before this one has left in the `state` directory.
    pub fn load(&self, state: &Path) {
        let path = file(state);
        match read(&path) {
            Ok(left) => {
                let now = SystemTime::now();
                let mut bans = self.write();
                for (client, ban) in left.into_iter().filter(|(_, ban)| ban.until > now) {
                    bans.ban(client, ban, now);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the bans cannot be read; nobody is banned for what was before");
            }
        }
    }

    /// Writes the bans down.
    pub fn save(&self, state: &Path) {
        let (path, all) = (file(state), self.list());
        if self.retired.load(Ordering::Relaxed) || (all.is_empty() && !path.exists()) {
            return;
        }
        let written = DirBuilder::new().recursive(true).mode(0o700).create(state).and_then(|()| {
            let lines = serde_json::to_vec_pretty(&all)?;
            replace(&path, &lines, 0o600)
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the bans cannot be written down; a restart will lift them");
        }
    }

    /// Leaves the file to the process that has taken over.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Writes the bans down whenever they have changed.
    pub async fn keep(self: std::sync::Arc<Self>, state: PathBuf) {
        loop {
            self.changed.notified().await;
            sleep(GATHERED).await;
            let (register, state) = (self.clone(), state.clone());
            // A panic was printed when it happened.
            let _ = tokio::task::spawn_blocking(move || register.save(&state)).await;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Bans> {
        self.bans.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Bans> {
        self.bans.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("bans.json")
}

fn read(path: &Path) -> io::Result<Vec<(IpNet, Ban)>> {
    let all: Vec<Banned> = serde_json::from_slice(&std::fs::read(path)?)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it names no client, or no reason that there is");
    all.iter().take(bans::MOST).map(|banned| parse(banned).ok_or_else(malformed)).collect()
}

fn parse(banned: &Banned) -> Option<(IpNet, Ban)> {
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == banned.reason)?;
    let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(banned.until))?;
    Some((network(&banned.client)?, Ban { until, fault }))
}

/// Reads an address or a network, as `mailward bans` writes it.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<std::net::IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|_| text.parse::<IpNet>()).ok().map(|network| network.trunc())
}

fn banned(client: IpNet, ban: &Ban) -> Banned {
    let alone = client.prefix_len() == client.max_prefix_len();
    Banned {
        client: if alone { client.addr().to_string() } else { client.to_string() },
        reason: ban.fault.name().to_owned(),
        until: ban.until.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn client(address: &str) -> Client {
        Client::of(address.parse().unwrap(), 64)
    }

    #[test]
    fn what_is_written_down_holds_in_the_next_process_and_nothing_of_a_broken_file() {
        let state = std::env::temp_dir().join(format!("mailward-bans-{}", std::process::id()));
        fs::create_dir_all(&state).unwrap();
        let register = Register::default();
        register.save(&state);
        assert!(!file(&state).exists(), "of nothing there is nothing to be written");
        for address in ["192.0.2.1", "2001:db8::1"] {
            register.ban(client(address), Fault::Scan, Duration::from_secs(100));
        }
        register.save(&state);
        let next = Register::default();
        next.load(&state);
        assert_eq!(next.list(), register.list());
        assert!(next.hold(client("192.0.2.1")) && next.hold(client("2001:db8::7")));
        assert_eq!(next.list()[1].client, "2001:db8::/64");
        register.lift(None);
        register.retire();
        register.save(&state);
        next.load(&state);
        assert_eq!(next.list().len(), 2, "the file is another's now");

        let text = fs::read_to_string(file(&state)).unwrap();
        let huge = format!("[{{\"client\":\"192.0.2.1\",\"reason\":\"auth\",\"until\":{}}}]", u64::MAX);
        for broken in
            ["", "{}", &text[..text.len() / 2], &text.replace("scan", "spam"), &text.replace("192.", "no."), &huge]
        {
            fs::write(file(&state), broken).unwrap();
            let next = Register::default();
            next.load(&state);
            assert!(next.list().is_empty(), "{broken}");
        }
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn who_is_named_is_an_address_or_a_network() {
        let of = |text| network(text).map(|network| network.to_string());
        assert_eq!(of("192.0.2.1").as_deref(), Some("192.0.2.1/32"));
        assert_eq!(of("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1/32"));
        assert_eq!(of("192.0.2.1/24").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(of("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(of("everybody"), None);
    }
}
