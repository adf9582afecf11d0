//! A real filesystem, really frozen: FIFREEZE and FITHAW of Linux.
#![allow(unsafe_code)] // Two ioctls.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

nix::ioctl_readwrite!(fifreeze, b'X', 119, i32);
nix::ioctl_readwrite!(fithaw, b'X', 120, i32);

/// A frozen filesystem; dropping it thaws. On Linux the kernel would not do that by itself.
pub(crate) struct Frozen(File);

impl Frozen {
    pub(crate) fn freeze(on: &Path) -> Result<Self, Errno> {
        let directory = File::open(on).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        // SAFETY: a directory of the filesystem is all the ioctl needs; its argument is ignored.
        unsafe { fifreeze(directory.as_raw_fd(), std::ptr::null_mut()) }?;
        Ok(Self(directory))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: as for the freeze. It fails only where somebody else has thawed it already.
        let _ = unsafe { fithaw(self.0.as_raw_fd(), std::ptr::null_mut()) };
    }
}

/// Thaws a filesystem whoever froze it: the last thing a test does with one.
pub(crate) fn thaw_by_force(on: &Path) {
    if let Ok(directory) = File::open(on) {
        drop(Frozen(directory));
    }
}
