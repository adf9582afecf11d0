//! Linux, where tests run: /proc/PID/maps, and the states in /proc/PID/task.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::stat::makedev;

use super::{Found, Process};
use crate::{OsError, Result};

pub(super) fn processes() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc").map_err(|cause| OsError::new("list the processes in /proc", cause))?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
    Ok(numbers.map(|pid| Process { pid, program: name(pid) }).collect())
}

pub(super) fn mappings(pid: i32) -> io::Result<Vec<Found>> {
    Ok(fs::read_to_string(format!("/proc/{pid}/maps"))?.lines().filter_map(shared_and_writable).collect())
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

pub(super) fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let state = |stat: &str| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    threads.flatten().all(|thread| {
        fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| matches!(state(&stat), Some('T' | 't')))
    })
}

/// One line: `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH` (proc_pid_maps(5)).
fn shared_and_writable(line: &str) -> Option<Found> {
    let mut words = line.splitn(6, ' ');
    let permissions = words.nth(1)?.as_bytes();
    if permissions.get(1) != Some(&b'w') || permissions.get(3) != Some(&b's') {
        return None;
    }
    let (major, minor) = words.nth(1)?.split_once(':')?;
    let device = makedev(u64::from_str_radix(major, 16).ok()?, u64::from_str_radix(minor, 16).ok()?);
    let path = words.nth(1)?.trim_start();
    let file = path.starts_with('/') && !path.ends_with(" (deleted)");
    Some(Found { device: Some(device), file: file.then(|| path.replace("\\012", "\n")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_writable_lines_count_and_a_deleted_file_has_no_name() {
        let found = |line: &str| shared_and_writable(line);
        let line = "7f00-7f10 rw-s 00000000 07:0c 13                         /data/a b";
        assert_eq!(found(line), Some(Found { device: Some(makedev(7, 12)), file: Some("/data/a b".into()) }));
        let deleted = "7f00-7f10 rw-s 00000000 07:0c 13                         /data/x (deleted)";
        assert_eq!(found(deleted), Some(Found { device: Some(makedev(7, 12)), file: None }));
        for other in [
            "7f00-7f10 rw-p 00000000 07:0c 13                         /data/x",
            "7f00-7f10 r--s 00000000 07:0c 13                         /data/x",
            "7f00-7f10 rw-p 00000000 00:00 0",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
