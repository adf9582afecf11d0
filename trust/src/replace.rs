//! Writing for others to read: a file is replaced as a whole, and nothing that somebody has put into the directory can lead root elsewhere.
//!
//! The directory is opened, its last component without following a link, and everything else is done relative to that descriptor. The new
//! content goes into a file that did not exist a moment ago, so no link, pipe or hard link that lies in wait is ever opened. What is in the
//! place of the file itself is never opened either: a rename replaces it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mode_t};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Puts `bytes` in place of the file `path`, whole or not at all, with these permission bits whatever the umask is. The name with `.new` behind
/// it is used on the way.
///
/// `path` is one that [`place`](crate::place) gave, or whose directory [`directory`](crate::directory) gave. Nothing is synced.
///
/// # Errors
/// What the system says, when the directory can't be opened or written.
pub fn replace(path: &Path, bytes: &[u8], bits: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("a file has to have a name"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory =
        open(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut beside = OsString::from(name);
    beside.push(".new");
    match unlinkat(&directory, beside.as_os_str(), UnlinkatFlags::NoRemoveDir) {
        // Something is in its place that can't be removed, or the disk is read-only: to make the file anew tells which.
        Ok(()) | Err(Errno::ENOENT | Errno::EISDIR | Errno::EPERM | Errno::EROFS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mode = Mode::from_bits_truncate(mode_t::try_from(bits).unwrap_or(0o600));
    let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&directory, beside.as_os_str(), new, mode)?;
    fchmod(file.as_fd(), mode)?;
    let mut file = File::from(file);
    let written = file.write_all(bytes);
    drop(file);
    let placed = written.and_then(|()| Ok(renameat(&directory, beside.as_os_str(), &directory, name)?));
    if placed.is_err() {
        // A full disk is not to be kept full by half a file.
        let _ = unlinkat(&directory, beside.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
    placed
}
