//! Defaults that depend on the machine.

use std::{fs, thread};

use super::host;

/// The machine's name, if it can be said in a greeting.
pub(super) fn hostname() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    host::parse_hostname(name).ok()
}

/// How many threads can run at once.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How many TLS handshakes may be under way at once: an eighth of the memory at 64 KiB each.
pub(super) fn handshakes() -> usize {
    handshakes_in(memory())
}

fn handshakes_in(memory: u64) -> usize {
    usize::try_from(memory / 8 / (64 * 1024)).unwrap_or(usize::MAX).clamp(256, 65_536)
}

/// The memory in bytes that there is for this process: the machine's, or its container's share.
fn memory() -> u64 {
    let system = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion)] // `totalram` is as wide as the machine's words
    let machine = u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    container.and_then(|limit| limit.trim().parse().ok()).map_or(machine, |limit| machine.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_follow_the_memory_within_bounds() {
        assert_eq!(handshakes_in(0), 256);
        assert_eq!(handshakes_in(1 << 30), 2048);
        assert_eq!(handshakes_in(1 << 40), 65_536);
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        assert!(cores() >= 1);
        assert!(memory() > 1 << 24);
    }
}
