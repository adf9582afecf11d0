//! The limit of what a tool could reach: the same calls in the same order, and nothing else. Open each directory, FIFREEZE it; FITHAW them in
//! the same order.
#![allow(unsafe_code)] // Two ioctls.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};

use crate::jail;

nix::ioctl_readwrite!(fifreeze, b'X', 119, i32);
nix::ioctl_readwrite!(fithaw, b'X', 120, i32);

/// What to do, as a byte on standard input; the answer is [`DONE`] on standard output, or a sentence.
pub(crate) const FREEZE: u8 = b'f';
/// See [`FREEZE`].
pub(crate) const THAW: u8 = b't';
/// It is done.
pub(crate) const DONE: u8 = b'd';

/// What `hv-vss-bench bare DIRECTORY ...` does, within a jail.
pub(crate) fn serve(disks: &[std::path::PathBuf]) -> Result<(), String> {
    let devices: BTreeSet<_> = disks.iter().map(|disk| device(disk)).collect::<Result<_, _>>()?;
    // Once more, since this is the process that does it.
    jail::prove(&devices)?;
    let mut held: Vec<File> = Vec::with_capacity(disks.len());
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut order = [0];
    while input.read_exact(&mut order).is_ok() {
        match order[0] {
            FREEZE => {
                for disk in disks {
                    held.push(freeze(disk).map_err(|error| format!("can't freeze {}: {error}", disk.display()))?);
                }
            }
            THAW => {
                for directory in held.drain(..) {
                    // SAFETY: a directory of the filesystem is all the ioctl needs; its argument is ignored.
                    unsafe { fithaw(directory.as_raw_fd(), std::ptr::null_mut()) }
                        .map_err(|errno| format!("can't thaw: {errno}"))?;
                }
            }
            other => return Err(format!("the order {other} is not understood")),
        }
        output.write_all(&[DONE]).and_then(|()| output.flush()).map_err(|error| format!("nobody listens: {error}"))?;
    }
    Ok(())
}

fn device(disk: &Path) -> Result<String, String> {
    let about = std::fs::metadata(disk).map_err(|error| format!("can't look at {}: {error}", disk.display()))?;
    Ok(format!("{}:{}", major(about.dev()), minor(about.dev())))
}

fn freeze(on: &Path) -> std::io::Result<File> {
    let directory = File::open(on)?;
    // SAFETY: as above.
    unsafe { fifreeze(directory.as_raw_fd(), std::ptr::null_mut()) }?;
    Ok(directory)
}

/// Thaws, whoever froze it. What is not frozen stays as it is.
pub(crate) fn thaw(on: &Path) {
    if let Ok(directory) = File::open(on) {
        // SAFETY: as above. It fails where nothing is frozen.
        let _ = unsafe { fithaw(directory.as_raw_fd(), std::ptr::null_mut()) };
    }
}
