//! FreeBSD: `ki_start` of the process's kinfo_proc, in microseconds since 1970.

use std::mem::offset_of;

use nix::libc::{kinfo_proc, timeval};
use nix::unistd::Pid;

use crate::sysctl_freebsd::process;

const SECONDS: usize = offset_of!(kinfo_proc, ki_start) + offset_of!(timeval, tv_sec);
const MICROSECONDS: usize = offset_of!(kinfo_proc, ki_start) + offset_of!(timeval, tv_usec);

pub(super) fn start_time(pid: Pid) -> Option<u64> {
    let info = process(pid.as_raw()).ok()?;
    let number = |at: usize| Some(i64::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    u64::try_from(number(SECONDS)? * 1_000_000 + number(MICROSECONDS)?).ok()
}
