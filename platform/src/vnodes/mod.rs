//! How many files the kernel has in mind: resuming a UFS reads the inode of each of them again.

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// The cached vnodes of the whole machine. None: the kernel doesn't tell, or resuming costs nothing that depends on them (Linux).
#[must_use]
pub fn cached() -> Option<u64> {
    system::cached()
}
