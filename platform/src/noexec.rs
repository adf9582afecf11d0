//! Whether programs may be executed where a file lies.

use std::path::Path;

/// Whether the filesystem of this path is mounted noexec. Also false when the kernel doesn't tell.
#[cfg(target_os = "freebsd")]
#[must_use]
pub fn holds(path: &Path) -> bool {
    use nix::mount::MntFlags;
    nix::sys::statfs::statfs(path).is_ok_and(|filesystem| filesystem.flags().contains(MntFlags::MNT_NOEXEC))
}

/// Whether the filesystem of this path is mounted noexec. Also false when the kernel doesn't tell.
#[cfg(not(target_os = "freebsd"))]
#[must_use]
pub fn holds(path: &Path) -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    statvfs(path).is_ok_and(|filesystem| filesystem.flags().contains(FsFlags::ST_NOEXEC))
}
