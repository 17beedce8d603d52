//! What a service manager is told (sd_notify(3), sd_watchdog_enabled(3)). Without one, nothing is said to anybody.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::worker::Pulse;

/// How much longer than its own limit stopping may take before the manager ends the process.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Every listener is served.
pub(super) fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being read anew; [`ready`] follows whatever comes of it.
pub(super) fn reloading() {
    // A manager that awaits the end of a reload compares this time with that of its signal.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
    }
}

/// Sessions are given `limit` to end.
pub(super) fn stopping(limit: Duration) {
    let limit = u32::try_from((limit + STOP_MARGIN).as_micros()).unwrap_or(u32::MAX);
    let status = NotifyState::Status("stopping: running sessions may end");
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit), status]);
}

/// The process `id` is the service from now on.
pub(super) fn succeeded_by(id: u32) {
    notify(&[NotifyState::MainPid(id)]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Tells the manager that this process lives, as often as it wants to hear it: the thread that this runs on, and
/// every worker. Where one of them answers no more nothing is said, and the manager does what it was told to do then.
pub(super) async fn watchdog(workers: Vec<Pulse>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut due = interval(limit / 2);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let alive = async {
            for worker in &workers {
                worker.feel().await;
            }
        };
        match timeout(limit / 2, alive).await {
            Ok(()) => notify(&[NotifyState::Watchdog]),
            Err(_) => tracing::error!("a worker does not answer; the service manager is not told that all is well"),
        }
    }
}
