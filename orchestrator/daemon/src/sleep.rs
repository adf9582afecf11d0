//! Waiting for an instant of the clock that we were given, whichever that is. Nothing in the engine or its neighbours sleeps otherwise.

use hv_vss_platform::clock::{Clock, Monotonic};

/// Returns once `clock` shows `at`, or later.
pub(crate) async fn until(clock: &Clock, at: Monotonic) {
    match clock.hand() {
        None => tokio::time::sleep(clock.now().until(at)).await,
        Some(hand) => hand.until(at).await,
    }
}

/// Something that is done at an instant, unless this is dropped before: then nobody is woken for what no longer matters.
pub(crate) struct Later(tokio::task::JoinHandle<()>);

impl Later {
    /// Does `what` when `clock` shows `at`.
    pub(crate) fn at(clock: Clock, at: Monotonic, what: impl FnOnce() + 'static) -> Self {
        Self(tokio::task::spawn_local(async move {
            until(&clock, at).await;
            what();
        }))
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.0.abort();
    }
}
