//! Ports for servers that cannot be told to choose one themselves.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::support::HOST;

/// Below the range that the kernel takes the ports of outgoing connections from, so that only a server can be in the way.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A port of [`HOST`] that no other test takes while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// The port with its address.
    pub fn address(&self) -> SocketAddr {
        (HOST, self.number).into()
    }

    /// The number alone, for configuration files.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Reserves a free port. Tests of one process count upwards; those of several processes start apart and lock what they take.
pub fn reserve_port() -> Port {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Relaxed)) % COUNT)
        .find_map(|number| try_reserve(u16::try_from(number).expect("FIRST + COUNT fits")))
        .expect("a free port")
}

fn try_reserve(number: u16) -> Option<Port> {
    let locks = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
    fs::create_dir_all(&locks).expect("target/tmp is writable");
    let lock = File::create(locks.join(number.to_string())).expect("target/tmp is writable");
    lock.try_lock().ok()?;
    TcpListener::bind((HOST, number)).ok()?;
    Some(Port { number, _lock: lock })
}
