//! What our own kernel driver says of itself, beside its device files.

use std::time::Duration;

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// How long our driver waits for an answer. None: our driver is not there, or (Linux) there are no drivers at all.
#[must_use]
pub fn time_limit() -> Option<Duration> {
    system::time_limit()
}

/// How long our driver waits for the answer to a FREEZE, which may have a limit of its own. None: as [`time_limit`].
#[must_use]
pub fn freeze_time_limit() -> Option<Duration> {
    system::freeze_time_limit()
}
