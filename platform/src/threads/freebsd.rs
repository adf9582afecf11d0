//! FreeBSD: `ki_numthreads` of this process's own kinfo_proc.

use std::mem::offset_of;

use nix::libc::kinfo_proc;
use nix::unistd::getpid;

use crate::sysctl_freebsd::{int_at, process};
use crate::{OsError, Result};

pub(super) fn count() -> Result<usize> {
    let own = process(getpid().as_raw())
        .map_err(|cause| OsError::new("count this process's threads (sysctl kern.proc.pid)", cause))?;
    Ok(usize::try_from(int_at(&own, offset_of!(kinfo_proc, ki_numthreads))).unwrap_or(0))
}
