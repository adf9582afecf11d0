//! Waiting for an instant of the clock that we were given, whichever that is. Nothing in the engine or its neighbours sleeps otherwise.

use hv_vss_platform::clock::{Clock, Monotonic};

/// Returns once `clock` shows `at`, or later.
pub(crate) async fn until(clock: &Clock, at: Monotonic) {
    match clock.hand() {
        None => tokio::time::sleep(clock.now().until(at)).await,
        Some(hand) => hand.until(at).await,
    }
}
