//! FreeBSD: `ki_start` of the process's kinfo_proc less the kernel's boot time, in microseconds since boot.
//!
//! The kernel keeps a process's start as time since boot, and adds the boot time to it for `ki_start` (sys/kern/kern_proc.c,
//! fill_kinfo_proc_only). A step of the wall clock moves the boot time (sys/kern/kern_tc.c, tc_setclock), and `ki_start` with it.

use std::mem::offset_of;

use nix::libc::{kinfo_proc, timeval};
use nix::unistd::Pid;

use super::Reading;
use crate::sysctl_freebsd::{bytes, numbers, process};

const SECONDS: usize = offset_of!(kinfo_proc, ki_start) + offset_of!(timeval, tv_sec);
const MICROSECONDS: usize = offset_of!(kinfo_proc, ki_start) + offset_of!(timeval, tv_usec);

pub(super) fn start_time(pid: Pid) -> Option<u64> {
    super::since_boot(|| {
        let boot_before_us = boot_us()?;
        let info = process(pid.as_raw()).ok()?;
        Some(Reading { boot_before_us, start_us: time_us(&info, SECONDS, MICROSECONDS)?, boot_after_us: boot_us()? })
    })
}

fn boot_us() -> Option<i64> {
    let value = bytes(&numbers(c"kern.boottime").ok()?).ok()?;
    time_us(&value, offset_of!(timeval, tv_sec), offset_of!(timeval, tv_usec))
}

fn time_us(structure: &[u8], seconds: usize, microseconds: usize) -> Option<i64> {
    let number = |at: usize| Some(i64::from_ne_bytes(*structure.get(at..)?.first_chunk()?));
    Some(number(seconds)? * 1_000_000 + number(microseconds)?)
}
