//! Linux: no driver; in tests the configuration says what the simulator's limit is.

use std::time::Duration;

pub(super) fn time_limit() -> Option<Duration> {
    None
}

pub(super) fn freeze_time_limit() -> Option<Duration> {
    None
}
