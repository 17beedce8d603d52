//! A timer of each worker that is due before those of its sessions, while sessions come and go.
//!
//! Where a timer is set that is due before all that there were when the runtime last slept, tokio has itself woken: a system call,
//! and a turn of its loop in which nothing is due. The time limits of a session's beginning and end are such timers, two or three of
//! them. Behind a beat that is nearer they are not. With each beat, and once more when there are no others, the worker's thread gives
//! back the memory that it keeps at hand. A worker to which nobody comes has no beat.

use std::{rc::Rc, time::Duration};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// The time to the next beat: no longer than what sessions wait for.
const TIME: Duration = Duration::from_millis(500);

/// Keeps time.
#[derive(Debug, Default)]
pub(super) struct Beat(Notify);

/// There is a beat when a session comes, which gets this, and when it goes, which drops it.
#[derive(Debug)]
pub(super) struct Kept(Rc<Beat>);

impl Beat {
    /// Has there be a beat: a session has come.
    pub(super) fn keep(self: &Rc<Self>) -> Kept {
        self.0.notify_one();
        Kept(self.clone())
    }

    /// Beats for as long as it is kept.
    pub(super) async fn run(&self, give_back: fn()) {
        loop {
            self.0.notified().await;
            self.bout(give_back).await;
        }
    }

    /// Beats until there was nothing to beat for. What sessions give back when they are silent, they have given back by then.
    async fn bout(&self, give_back: fn()) {
        let mut goes_on = true;
        while goes_on {
            sleep(TIME).await;
            give_back();
            goes_on = timeout(TIME, self.0.notified()).await.is_ok();
        }
        give_back();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static GIVEN: Cell<usize> = const { Cell::new(0) };
    }

    fn given_back() -> usize {
        GIVEN.get()
    }

    #[tokio::test(start_paused = true)]
    async fn it_beats_while_sessions_come_and_go_and_not_without_them() {
        let beat = Rc::new(Beat::default());
        let beating = beat.run(|| GIVEN.set(GIVEN.get() + 1));
        let check = async {
            let silence = Duration::from_secs(3600);
            sleep(silence).await;
            assert_eq!(given_back(), 0, "nobody came");
            let kept = beat.keep();
            sleep(silence).await;
            assert_eq!(given_back(), 2, "once with the beat, and once when there was no other");
            drop(kept);
            sleep(silence).await;
            assert_eq!(given_back(), 4, "it went");
            for _ in 0..10 {
                sleep(TIME / 2).await;
                beat.keep();
            }
            assert!(given_back() > 6, "as long as they come");
        };
        tokio::select! { () = beating => {}, () = check => {} }
    }
}
