//! Linux, where only tests run: /proc/self/mountinfo, loop devices' files from /sys, swap files from /proc/swaps.
//!
//! The device number of a filesystem stands for its id: it is in the table, while statfs(2) would touch the mount itself and could hang on a
//! dead server.

use std::fs;

use super::{FsId, Mount, Table, note_swap_files};
use crate::{OsError, Result};

/// Nothing is hidden here: what is mounted is listed until it is gone.
pub(super) fn mounts() -> Result<Table> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table =
        fs::read_to_string(TABLE).map_err(|cause| OsError::new(format!("read the mount table {TABLE}"), cause))?;
    Ok(Table { mounts: table.lines().filter_map(mount).collect(), hidden: 0 })
}

pub(super) fn with_files(mut mounts: Vec<Mount>) -> Vec<Mount> {
    for mount in &mut mounts {
        mount.backing = loop_file(mount);
    }
    note_swap_files(&mut mounts, swap_files(&fs::read_to_string("/proc/swaps").unwrap_or_default()));
    mounts
}

/// One line: `ID PARENT MAJOR:MINOR ROOT ON OPTIONS [TAGS...] - TYPE FROM SUPER_OPTIONS` (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<Mount> {
    let (place, what) = line.split_once(" - ")?;
    let (place, what): (Vec<_>, Vec<_>) = (place.split(' ').collect(), what.split(' ').collect());
    let (major, minor) = place.get(2)?.split_once(':')?;
    let mut id = [0; 8];
    id[..4].copy_from_slice(&major.parse::<u32>().ok()?.to_le_bytes());
    id[4..].copy_from_slice(&minor.parse::<u32>().ok()?.to_le_bytes());
    let has_ro =
        |options: Option<&&str>| options.is_some_and(|options| options.split(',').any(|option| option == "ro"));
    Some(Mount {
        fsid: FsId(id),
        fstype: (*what.first()?).to_owned(),
        on: unescaped(place.get(4)?),
        from: unescaped(what.get(1)?),
        read_only: has_ro(place.get(5)) || has_ro(what.get(2)),
        backing: None,
        swap: None,
    })
}

fn loop_file(mount: &Mount) -> Option<String> {
    let disk = mount.from.strip_prefix("/dev/loop")?.split('p').next()?;
    let path = fs::read_to_string(format!("/sys/block/loop{disk}/loop/backing_file")).ok()?;
    Some(path.trim_end().to_owned())
}

fn swap_files(table: &str) -> Vec<String> {
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|words| words.get(1) == Some(&"file")).map(|words| unescaped(words[0])).collect()
}

/// Space, tab, newline and backslash come as `\` and three octal digits.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\').then(|| after.get(..3)).flatten();
        match code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()) {
            Some(code) => (bytes.push(code), rest = &after[3..]),
            None => (bytes.push(byte), rest = after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_mount_with_its_escapes_undone() {
        let line = r"36 35 7:12 / /mnt/a\040b rw,noatime shared:1 - ext4 /dev/loop12 rw,errors=continue";
        let mount = mount(line).unwrap();
        assert_eq!(mount.fsid.to_string(), "070000000c000000");
        assert_eq!(
            (mount.fstype.as_str(), mount.on.as_str(), mount.from.as_str()),
            ("ext4", "/mnt/a b", "/dev/loop12")
        );
        assert!(!mount.read_only);
    }

    #[test]
    fn read_only_counts_whether_the_mount_or_the_filesystem_is() {
        assert!(mount("1 2 0:5 / /a ro - ext4 x rw").unwrap().read_only);
        assert!(mount("1 2 0:5 / /a rw - ext4 x ro").unwrap().read_only);
        assert!(!mount("1 2 0:5 / /a rw,errors=remount-ro - ext4 x rw").unwrap().read_only);
    }

    #[test]
    fn swap_files_are_told_from_swap_partitions() {
        let table = "Filename Type Size Used Priority\n/swap\\040file file 1 0 -2\n/dev/sda2 partition 1 0 -3\n";
        assert_eq!(swap_files(table), ["/swap file"]);
    }
}
