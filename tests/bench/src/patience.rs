//! Waiting for what has no event to wait for.

use std::time::{Duration, Instant};

/// How long for what should come at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at. Short, since some of it is timed.
const PACE: Duration = Duration::from_micros(200);
/// Between two freezes: right after a thaw the kernel freezes a hundred times faster than a guest ever sees it, as it saves itself the grace periods.
const REST: Duration = Duration::from_secs(1);

/// Waits until this is so.
///
/// # Panics
/// When it doesn't come.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(PACE);
    }
}

/// Until the kernel has forgotten the last freeze.
pub(crate) fn rest() {
    std::thread::sleep(REST);
}
