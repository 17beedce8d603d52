//! A timer of each worker that is due before those of its sessions, while sessions come.
//!
//! Where a timer is set that is due before all that there were when the runtime last slept, tokio has itself woken: a system call,
//! and a turn of its loop in which nothing is due. The time limits of a session's beginning and end are such timers, two or three of
//! them. Behind a beat that is nearer they are not, and a worker to which nobody comes has no beat.

use std::time::Duration;

use tokio::{sync::Notify, time::sleep};

/// The time to the next beat: shorter than what sessions wait for.
const TIME: Duration = Duration::from_secs(1);

/// Keeps time.
#[derive(Debug, Default)]
pub(super) struct Beat(Notify);

impl Beat {
    /// Has there be a beat: a session has come.
    pub(super) fn keep(&self) {
        self.0.notify_one();
    }

    /// Beats for as long as it is kept.
    pub(super) async fn run(&self) {
        loop {
            self.next().await;
        }
    }

    /// The next beat.
    async fn next(&self) {
        self.0.notified().await;
        sleep(TIME).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn it_beats_while_sessions_come_and_not_without_them() {
        let beat = Beat::default();
        let is_silent = async || timeout(Duration::from_secs(3600), beat.next()).await.is_err();
        assert!(is_silent().await);
        let start = Instant::now();
        for _ in 0..1000 {
            beat.keep();
        }
        beat.next().await;
        assert_eq!(start.elapsed(), TIME);
        assert!(is_silent().await);
    }
}
