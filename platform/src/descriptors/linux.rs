//! Linux: /proc/self/fd. Stricter and looser than FreeBSD as the simulator is: FUSE is left out because the simulated device nodes live there.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::os::unix::fs::FileTypeExt;

use nix::libc;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, PROC_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use crate::{OsError, Result};

pub(super) fn disk_files(known: &[RawFd]) -> Result<Vec<(RawFd, String)>> {
    const LIST: &str = "/proc/self/fd";
    let cannot = |cause| OsError::new(format!("list this process's descriptors in {LIST}"), cause);
    let mut files = Vec::new();
    for entry in fs::read_dir(LIST).map_err(cannot)? {
        let link = entry.map_err(cannot)?.path();
        let Some(fd) = link.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        if known.contains(&fd) {
            continue;
        }
        let kind = match fs::metadata(&link) {
            Ok(metadata) => metadata.file_type(),
            // Closed since it was listed: the list's own descriptor, or another thread's.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(cannot(error)),
        };
        if kind.is_socket() || kind.is_fifo() || kind.is_char_device() || !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        // A memfd lies on a tmpfs, too.
        let harmless =
            statfs(&link).map(|on| [FUSE_SUPER_MAGIC, TMPFS_MAGIC, PROC_SUPER_MAGIC].contains(&on.filesystem_type()));
        if !harmless.unwrap_or(false) {
            let name = fs::read_link(&link).map_or_else(|_| "a file".to_owned(), |path| path.display().to_string());
            files.push((fd, name));
        }
    }
    files.sort_unstable();
    Ok(files)
}

pub(super) fn close_from(first: RawFd) {
    let first = libc::c_uint::try_from(first).unwrap_or(0);
    // SAFETY: no memory is involved; that nobody owns these descriptors is the caller's promise.
    unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
}
