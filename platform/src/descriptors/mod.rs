//! A process's own descriptors: which of them are of disk files, closing those nobody meant to inherit, moving one out of the way.
//!
//! Descriptors decide whether a dead process lets go: at exit they are closed in ascending order, and the close of a file on a suspended
//! filesystem waits for its resume. One disk file below the descriptor of `/dev/ufssuspend`, and the filesystem stays frozen for good.

#![allow(unsafe_code)] // Closing descriptors by number.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

use crate::{OsError, Result};

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// This process's descriptors whose close could wait for a disk, with what they are, in ascending order.
///
/// FreeBSD: every vnode but a device of devfs. Linux: regular files and directories, except on FUSE, tmpfs, procfs and memfd, which no freeze
/// can stop there.
///
/// # Errors
/// When the kernel doesn't tell; then nothing may be suspended, since nobody knows whether this process's death would let go.
pub fn disk_files() -> Result<Vec<(RawFd, String)>> {
    disk_files_except(&[])
}

/// The same, without a look at these, which the caller knows to be device nodes: who holds many of them need not have each of them judged each time.
///
/// # Errors
/// As [`disk_files`].
pub fn disk_files_except(known: &[RawFd]) -> Result<Vec<(RawFd, String)>> {
    system::disk_files(known)
}

/// Closes every descriptor from `first` on.
///
/// # Safety
/// Nothing in this process may own one of them any more: to be called first thing in `main`, or between fork and exec.
pub unsafe fn close_from(first: RawFd) {
    system::close_from(first);
}

/// Moves a descriptor to the lowest free number from `lowest` on, close-on-exec. For the one disk file a daemon has to keep (the lock on its
/// pid file): above all sockets and device nodes it can no longer keep these open when the process dies.
///
/// # Errors
/// When no such number is free (EMFILE) or `lowest` is beyond the process's limit (EINVAL).
pub fn move_up(fd: OwnedFd, lowest: RawFd) -> Result<OwnedFd> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))
        .map_err(|errno| OsError::new(format!("move descriptor {} to {lowest} or above", fd.as_raw_fd()), errno))?;
    // SAFETY: fcntl just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[track_caller]
    fn listed(fd: impl AsFd) -> Option<String> {
        let files = disk_files().unwrap();
        files.into_iter().find(|(number, _)| *number == fd.as_fd().as_raw_fd()).map(|(_, name)| name)
    }

    /// A file on a disk: the test program itself was read from one.
    fn program() -> File {
        File::open(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_file_and_a_directory_on_a_disk_count_even_when_only_open_for_reading() {
        let name = listed(program()).expect("the program's own file is a disk file");
        assert_eq!(name, std::env::current_exe().unwrap().display().to_string());
        let directory = std::env::current_exe().unwrap();
        assert!(listed(File::open(directory.parent().unwrap()).unwrap()).is_some());
    }

    #[test]
    fn what_the_caller_knows_is_left_out_and_nothing_else() {
        let (known, other) = (program(), program());
        let files = disk_files_except(&[known.as_raw_fd()]).unwrap();
        let listed = |file: &File| files.iter().any(|(number, _)| *number == file.as_raw_fd());
        assert_eq!((listed(&known), listed(&other)), (false, true));
    }

    #[test]
    fn pipes_sockets_and_devices_do_not_count() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!((listed(&reader), listed(&writer)), (None, None));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!((listed(&ours), listed(&theirs)), (None, None));
        assert_eq!(listed(File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn a_descriptor_moved_up_is_the_same_file_and_is_not_inherited() {
        let before = program();
        let length = before.metadata().unwrap().len();
        let after = move_up(before.into(), 700).unwrap();
        assert!(after.as_raw_fd() >= 700);
        let flags = fcntl(&after, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & nix::libc::FD_CLOEXEC, nix::libc::FD_CLOEXEC);
        assert_eq!(File::from(after).metadata().unwrap().len(), length);
    }

    #[test]
    fn moving_beyond_the_limit_is_an_error_that_says_where_to() {
        let error = move_up(program().into(), RawFd::MAX).unwrap_err().to_string();
        assert!(error.contains("2147483647 or above"), "{error}");
    }

    #[test]
    fn the_list_is_in_ascending_order() {
        let _open = [program(), program(), program()];
        let files = disk_files().unwrap();
        assert!(files.len() >= 3);
        assert!(files.is_sorted(), "{files:?}");
    }
}
