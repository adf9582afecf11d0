//! What the kernel demands of a process that suspends: one thread, and no descriptor that its own suspension could block.
//!
//! FUSE tells the caller's thread id, and /proc takes that as well as a process id.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::statfs::{PROC_SUPER_MAGIC, TMPFS_MAGIC, statfs};

const O_ACCMODE: u32 = 3;

/// Whether process `pid` may suspend the filesystem mounted on `on`; else why not.
pub(crate) fn may_suspend(pid: u32, on: &Path, nodes: &Path) -> Result<(), String> {
    let threads =
        fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| format!("can't see its threads: {error}"))?;
    let threads = threads.count();
    if threads > 1 {
        return Err(format!("it has {threads} threads"));
    }
    let filesystem = device_of(on)?;
    let nodes = (nodes, device_of(nodes)?);
    let descriptors =
        fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| format!("can't see its descriptors: {error}"))?;
    for descriptor in descriptors.flatten() {
        let fd = descriptor.file_name().to_string_lossy().into_owned();
        judge(pid, &fd, filesystem, nodes)?;
    }
    Ok(())
}

fn device_of(path: &Path) -> Result<u64, String> {
    fs::metadata(path).map(|about| about.dev()).map_err(|error| format!("can't look at {}: {error}", path.display()))
}

fn judge(pid: u32, fd: &str, filesystem: u64, nodes: (&Path, u64)) -> Result<(), String> {
    let link = format!("/proc/{pid}/fd/{fd}");
    let target = fs::read_link(&link).unwrap_or_default();
    // By name first: a holder of many has many of these, and each look at one is a question to ourselves. In another root it has another name.
    if target.starts_with(nodes.0) {
        return Ok(());
    }
    // Closed since it was listed: the caller sits in its ioctl, so only a descriptor of no concern can go.
    let Ok(about) = fs::metadata(&link) else { return Ok(()) };
    let kind = about.file_type();
    if kind.is_socket() || kind.is_fifo() || kind.is_char_device() || about.dev() == nodes.1 {
        return Ok(());
    }
    if about.dev() == filesystem && is_writable(pid, fd) {
        return Err(format!("its descriptor {fd} ({}) is open for writing on that filesystem", target.display()));
    }
    // Stricter than the kernel's check, as strict as what follows: the close of any disk file can block, and a holder that was killed would
    // hang in its exit before it let go.
    if (kind.is_file() || kind.is_dir()) && !keeps_nothing_on_a_disk(&link) {
        return Err(format!("its descriptor {fd} ({}) is a disk file", target.display()));
    }
    Ok(())
}

/// tmpfs (memfd's files are of it, too) and procfs.
fn keeps_nothing_on_a_disk(link: &str) -> bool {
    statfs(link).is_ok_and(|about| [TMPFS_MAGIC, PROC_SUPER_MAGIC].contains(&about.filesystem_type()))
}

fn is_writable(pid: u32, fd: &str) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")) else { return false };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & O_ACCMODE != 0)
}
