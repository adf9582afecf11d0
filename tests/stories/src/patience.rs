//! Waiting for what has no event to wait for.

use std::time::{Duration, Instant};

/// How long a story waits for something that should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at.
pub(crate) const PACE: Duration = Duration::from_millis(5);

/// Waits until this is so.
///
/// # Panics
/// When it doesn't come in time.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(PACE);
    }
}
