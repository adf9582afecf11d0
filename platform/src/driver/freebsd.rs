//! FreeBSD: the sysctls dev.hvvssb.0.timeout_ms and freeze_timeout_ms of our kernel module.

use std::ffi::CStr;
use std::time::Duration;

use crate::sysctl_freebsd::int;

pub(super) fn time_limit() -> Option<Duration> {
    span(c"dev.hvvssb.0.timeout_ms")
}

/// 0, or an older module without it: as the others.
pub(super) fn freeze_time_limit() -> Option<Duration> {
    span(c"dev.hvvssb.0.freeze_timeout_ms").or_else(time_limit)
}

fn span(sysctl: &CStr) -> Option<Duration> {
    let milliseconds = int(sysctl).ok()?;
    u64::try_from(milliseconds).ok().filter(|limit| *limit > 0).map(Duration::from_millis)
}
