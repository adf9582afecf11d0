//! FreeBSD: the sysctl vfs.numdirtybuffers (sys/kern/vfs_bio.c).

use crate::sysctl_freebsd::int;

pub(super) fn buffers() -> Option<u64> {
    u64::try_from(int(c"vfs.numdirtybuffers").ok()?).ok()
}
