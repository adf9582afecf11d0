//! `/dev/ufssuspend`: one descriptor holds one filesystem (FreeBSD: sys/ufs/ffs/ffs_suspend.c).
//!
//! The hold ends with [`resume`], with the last close of the descriptor, and so with the death of the process that owns it. The rules for who
//! may suspend (one thread, no descriptor of a disk file) are the caller's to check before; here they come back as the kernel's errno.

#![allow(unsafe_code)] // nix's ioctl macros make unsafe functions.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use crate::mounts::FsId;
use crate::{OsError, Result};

mod ioctl {
    nix::ioctl_write_ptr!(suspend, b'U', 1, [u8; 8]);
    nix::ioctl_none!(resume, b'U', 2);

    #[cfg(target_os = "freebsd")]
    const _: () = {
        assert!(nix::request_code_write!(b'U', 1, size_of::<[u8; 8]>()) == 0x8008_5501);
        assert!(nix::request_code_none!(b'U', 2) == 0x2000_5502);
        assert!(size_of::<nix::libc::fsid_t>() == 8);
    };
}

/// Opens the device: `/dev/ufssuspend`, or what stands for it.
///
/// # Errors
/// ENOENT and the like: no such device; EACCES: it is root's.
pub fn open(path: &Path) -> Result<OwnedFd> {
    // Close-on-exec matters more here than anywhere: an inherited copy would keep the filesystem frozen after our death.
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
    file.map(OwnedFd::from).map_err(|cause| OsError::new(format!("open {}", path.display()), cause))
}

/// Suspends writing to a filesystem. Sleeps uninterruptibly until the kernel has written out what was dirty.
///
/// # Errors
/// As `explain` below puts them; after any of them this descriptor holds nothing.
pub fn suspend(fd: impl AsFd, filesystem: FsId) -> Result<()> {
    let fd = fd.as_fd();
    // SAFETY: the kernel reads eight bytes from a valid pointer and keeps none.
    match unsafe { ioctl::suspend(fd.as_raw_fd(), &raw const filesystem.0) } {
        Ok(_) => Ok(()),
        Err(errno) => Err(OsError::new(format!("suspend the filesystem {filesystem} ({})", explain(errno)), errno)),
    }
}

/// Lets go of what this descriptor holds.
///
/// # Errors
/// ENOENT: it holds nothing.
pub fn resume(fd: impl AsFd) -> Result<()> {
    // SAFETY: the command has no argument.
    match unsafe { ioctl::resume(fd.as_fd().as_raw_fd()) } {
        Ok(_) => Ok(()),
        Err(errno) => Err(OsError::new("resume the filesystem this descriptor suspended", errno)),
    }
}

/// What the kernel means by each refusal of a suspend (ffs_suspend.c, facts checked there).
fn explain(errno: Errno) -> &'static str {
    match errno {
        Errno::EBUSY => "it is suspended already, or this descriptor holds another one",
        Errno::EDEADLK => "the calling process has threads, or a descriptor open for writing on it",
        Errno::EPERM => "not allowed inside a jail",
        Errno::ENOENT => "no mounted filesystem has this id",
        Errno::EINVAL => "it is not a UFS",
        Errno::ENXIO | Errno::ENOTTY => "the device does not know this command",
        _ => "for a reason this program does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_named() {
        let error = open(Path::new("/nonexistent/ufssuspend")).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(error.to_string().starts_with("can't open /nonexistent/ufssuspend: "), "{error}");
    }

    #[test]
    fn a_file_that_is_no_ufssuspend_refuses_both_commands_with_its_errno() {
        let null = open(Path::new("/dev/null")).unwrap();
        let error = suspend(&null, FsId([1, 2, 3, 4, 5, 6, 7, 8])).unwrap_err();
        // Linux says ENOTTY, FreeBSD's /dev/null ENOIOCTL, which arrives as ENOTTY.
        assert_eq!(error.errno(), Some(Errno::ENOTTY));
        assert!(error.to_string().contains("suspend the filesystem 0102030405060708"), "{error}");
        assert_eq!(resume(&null).unwrap_err().errno(), Some(Errno::ENOTTY));
    }
}
