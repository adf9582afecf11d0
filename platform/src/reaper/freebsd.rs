//! FreeBSD: procctl(2). The kernel notes for each descendant of a reaper which of the reaper's children it stems from (`p_reapsubtree`) and
//! kills a whole subtree in one call, forks under way included. Structures from sys/sys/procctl.h.

use std::ffi::{c_int, c_uint};

use nix::errno::Errno;
use nix::libc::{self, PROC_REAP_ACQUIRE, PROC_REAP_GETPIDS, PROC_REAP_KILL, PROC_REAP_STATUS, pid_t};
use nix::unistd::{Pid, getpid};

use crate::{OsError, Result};

#[repr(C)]
#[derive(Default)]
struct Status {
    flags: c_uint,
    children: c_uint,
    descendants: c_uint,
    reaper: pid_t,
    pid: pid_t,
    pad: [c_uint; 15],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PidInfo {
    pid: pid_t,
    subtree: pid_t,
    flags: c_uint,
    pad: [c_uint; 15],
}

#[repr(C)]
struct Pids {
    count: c_uint,
    pad: [c_uint; 15],
    pids: *mut PidInfo,
}

#[repr(C)]
#[derive(Default)]
struct Kill {
    signal: c_int,
    flags: c_uint,
    subtree: pid_t,
    killed: c_uint,
    failed: pid_t,
    pad: [c_uint; 15],
}

const _: () = assert!(size_of::<Status>() == 80 && size_of::<PidInfo>() == 72 && size_of::<Kill>() == 80);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Pids>() == 72);

/// Signal those of one child only.
const REAPER_KILL_SUBTREE: c_uint = 2;
/// This entry of the list is filled.
const REAPER_PIDINFO_VALID: c_uint = 1;
/// The process has ended, and was not reaped.
const REAPER_PIDINFO_ZOMBIE: c_uint = 8;

pub(super) fn acquire() -> Result<()> {
    // SAFETY: this command takes no data.
    match unsafe { control(PROC_REAP_ACQUIRE, std::ptr::null_mut::<Status>()) } {
        // EBUSY: this process is a reaper already.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(OsError::new("become the reaper of this process's descendants", errno)),
    }
}

pub(super) fn kill_family(child: Pid, _mark: &str) -> Result<usize> {
    let mut kill =
        Kill { signal: libc::SIGKILL, flags: REAPER_KILL_SUBTREE, subtree: child.as_raw(), ..Kill::default() };
    // SAFETY: the structure is the one this command takes.
    match unsafe { control(PROC_REAP_KILL, &raw mut kill) } {
        Ok(()) => Ok(usize::try_from(kill.killed).unwrap_or(usize::MAX)),
        // Nobody of that subtree is left.
        Err(Errno::ESRCH) => Ok(0),
        Err(errno) => Err(OsError::new(format!("kill process {child} with its descendants"), errno)),
    }
}

pub(super) fn family(child: Pid, _mark: &str) -> Result<Vec<Pid>> {
    let alive = |info: &PidInfo| info.subtree == child.as_raw() && info.flags & REAPER_PIDINFO_ZOMBIE == 0;
    Ok(all()?.iter().filter(|info| alive(info)).map(|info| Pid::from_raw(info.pid)).collect())
}

pub(super) fn descendants() -> Result<Vec<Pid>> {
    Ok(all()?.iter().map(|info| Pid::from_raw(info.pid)).collect())
}

fn all() -> Result<Vec<PidInfo>> {
    let cannot = |errno| OsError::new("list this process's descendants", errno);
    let mut status = Status::default();
    // SAFETY: the structure is the one this command takes.
    unsafe { control(PROC_REAP_STATUS, &raw mut status) }.map_err(cannot)?;
    // Some more than were counted, for those that are born meanwhile.
    let count = status.descendants + 16;
    let mut infos = vec![PidInfo::default(); usize::try_from(count).unwrap_or(0)];
    let mut pids = Pids { count, pad: [0; 15], pids: infos.as_mut_ptr() };
    // SAFETY: the structure is the one this command takes, and its list has `count` places.
    unsafe { control(PROC_REAP_GETPIDS, &raw mut pids) }.map_err(cannot)?;
    infos.retain(|info| info.flags & REAPER_PIDINFO_VALID != 0);
    Ok(infos)
}

/// # Safety
/// `data` is null or points to what the command takes.
unsafe fn control<T>(command: c_int, data: *mut T) -> nix::Result<()> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::procctl(libc::P_PID, getpid().as_raw().into(), command, data.cast()) };
    Errno::result(result).map(drop)
}

pub(super) fn die_with_parent() -> std::result::Result<(), Errno> {
    let mut signal = libc::SIGKILL;
    // SAFETY: the command reads one number. An id of 0 is this process.
    let result = unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
    Errno::result(result).map(drop)
}
