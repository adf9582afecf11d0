//! Linux: no driver; in tests the configuration says what the simulator's limit is.

use std::time::Duration;

pub(super) fn time_limit() -> Option<Duration> {
    None
}
