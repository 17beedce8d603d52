//! Waiting for something that another program does.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to answer, or a message to arrive. Only a broken test waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer and returns it; `None` when [`PATIENCE`] ran out.
///
/// This is the one place of the tests that sleeps: another program's progress can be seen in no other way than by looking.
pub fn eventually<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    eventually_within(PATIENCE, ask)
}

/// Like [`eventually`], with a patience of its own.
pub fn eventually_within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}
