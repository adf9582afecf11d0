//! FreeBSD: the sysctl dev.hvvssb.0.timeout_ms of our kernel module.

use std::time::Duration;

use crate::sysctl_freebsd::int;

pub(super) fn time_limit() -> Option<Duration> {
    let milliseconds = int(c"dev.hvvssb.0.timeout_ms").ok()?;
    u64::try_from(milliseconds).ok().filter(|limit| *limit > 0).map(Duration::from_millis)
}
