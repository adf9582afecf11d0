//! FreeBSD: the sysctl vfs.numdirtybuffers (sys/kern/vfs_bio.c).

use crate::sysctl_freebsd::int;

/// Of 32 KiB each at the most.
pub(super) const LITTLE: u64 = 32;
/// A page that was written through a mapping becomes a dirty buffer only when it is paged out or flushed (vfs_msync in sys/kern/vfs_subr.c).
pub(super) const COUNTS_MAPPINGS: bool = false;

pub(super) fn buffers() -> Option<u64> {
    u64::try_from(int(c"vfs.numdirtybuffers").ok()?).ok()
}
