//! FreeBSD: the sysctl vfs.numvnodes (sys/kern/vfs_subr.c).

use crate::sysctl_freebsd::unsigned;

pub(super) fn cached() -> Option<u64> {
    unsigned(c"vfs.numvnodes").ok()
}
