//! FreeBSD: the sysctls kern.proc.proc_td and kern.proc.vmmap (sys/kern/kern_proc.c, sys/sys/user.h).

use std::io;
use std::mem::{offset_of, size_of};

use nix::errno::Errno;
use nix::libc::{self, CTL_KERN, KERN_PROC, KERN_PROC_INC_THREAD, KERN_PROC_PID, KERN_PROC_PROC, KERN_PROC_VMMAP};
use nix::libc::{c_int, kinfo_proc, kinfo_vmentry};

use super::{Found, Process, vmmap};
use crate::sysctl_freebsd::{bytes, int_at};
use crate::{OsError, Result};

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(offset_of!(kinfo_vmentry, kve_flags) == vmmap::FLAGS);
    assert!(offset_of!(kinfo_vmentry, kve_protection) == vmmap::PROTECTION);
    assert!(offset_of!(kinfo_vmentry, kve_status) == vmmap::STATUS);
    assert!(offset_of!(kinfo_vmentry, kve_vn_fsid) == vmmap::DEVICE);
    assert!(offset_of!(kinfo_vmentry, kve_path) == vmmap::PATH);
};

pub(super) fn processes() -> Result<Vec<Process>> {
    let list = bytes(&[CTL_KERN, KERN_PROC, KERN_PROC_PROC])
        .map_err(|cause| OsError::new("list the processes (sysctl kern.proc.proc)", cause))?;
    let infos = list.chunks_exact(size_of::<kinfo_proc>());
    // The kernel's own processes have no mappings.
    let user = infos.filter(|info| int_at(info, offset_of!(kinfo_proc, ki_flag)) & libc::P_SYSTEM == 0);
    Ok(user.map(process).collect())
}

fn process(info: &[u8]) -> Process {
    let name = info.get(offset_of!(kinfo_proc, ki_comm)..).unwrap_or_default();
    Process { pid: int_at(info, offset_of!(kinfo_proc, ki_pid)), program: vmmap::text(name) }
}

pub(super) fn mappings(pid: i32) -> io::Result<Vec<Found>> {
    Ok(vmmap::shared_and_writable(&bytes(&[CTL_KERN, KERN_PROC, KERN_PROC_VMMAP, pid])?))
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// One entry for each thread. The kernel gives SSTOP to a thread of a stopped process that neither runs nor is about to.
pub(super) fn is_stopped(pid: i32) -> bool {
    let which: c_int = KERN_PROC_PID | KERN_PROC_INC_THREAD;
    let Ok(threads) = bytes(&[CTL_KERN, KERN_PROC, which, pid]) else { return false };
    let mut threads = threads.chunks_exact(size_of::<kinfo_proc>()).peekable();
    threads.peek().is_some()
        && threads.all(|thread| {
            thread.get(offset_of!(kinfo_proc, ki_stat)).is_some_and(|state| *state == libc::SSTOP.cast_unsigned())
        })
}
