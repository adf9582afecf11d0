//! The proof that a tool which freezes whatever it finds can find nothing but the benchmark's own disks.
//!
//! qemu-ga and hv_vss_daemon freeze every filesystem in their mount table, and a freeze is of the whole filesystem, however it is mounted: a bind
//! mount of this machine's root in that table would stop the machine. So the table is read from within the tool's own namespace, right before the
//! tool takes the process over, and whatever is not known to be harmless ends it there. Nothing here mounts or freezes.

use std::collections::BTreeSet;

/// A filesystem's device, "major:minor" as the mount table writes it.
pub(crate) type Device = String;

/// Filesystems without a disk: FIFREEZE refuses them, and no tool tries.
const WITHOUT_A_DISK: [&str; 3] = ["tmpfs", "proc", "fuse"];

/// Loop devices: the only disks the benchmark makes.
const LOOP_MAJOR: &str = "7:";

/// Claims that this mount table (/proc/self/mountinfo) holds exactly these disks below `place`, and beside them nothing that could be frozen.
///
/// # Errors
/// A sentence that names the first mount which should not be there, or the disks that are missing.
pub(crate) fn only_ours(mountinfo: &str, place: &str, ours: &BTreeSet<Device>) -> Result<(), String> {
    let mut found = BTreeSet::new();
    for line in mountinfo.lines() {
        let mount =
            Line::read(line).ok_or_else(|| format!("the mount table has a line that is not understood: {line}"))?;
        if mount.device.starts_with("0:") && WITHOUT_A_DISK.contains(&mount.fstype) {
            continue;
        }
        let known = ours.contains(mount.device) && mount.device.starts_with(LOOP_MAJOR) && mount.fstype == "ext4";
        if !known || !mount.on.strip_prefix(place).is_some_and(|rest| rest.starts_with('/')) {
            let Line { device, on, fstype } = mount;
            return Err(format!("{on} ({fstype}, device {device}) could be frozen, and is not the benchmark's"));
        }
        found.insert(mount.device.to_owned());
    }
    let missing: Vec<_> = ours.difference(&found).map(String::as_str).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("these disks are not in the mount table: {}", missing.join(", ")))
    }
}

struct Line<'a> {
    device: &'a str,
    on: &'a str,
    fstype: &'a str,
}

impl<'a> Line<'a> {
    /// "36 35 98:0 /root /mount/point options [tags...] - type source options"
    fn read(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let words: Vec<&str> = place.split(' ').collect();
        Some(Self { device: words.get(2)?, on: words.get(4)?, fstype: kind.split(' ').next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
1 0 0:50 / / rw,relatime - tmpfs tmpfs rw
2 1 0:5 / /proc rw - proc proc rw
3 1 0:60 / /dev/vmbus rw - fuse bench rw
4 1 7:3 / /disks/a rw,relatime - ext4 /dev/loop3 rw
5 1 7:4 / /disks/b rw,relatime shared:4 - ext4 /dev/loop4 rw
";

    fn ours() -> BTreeSet<Device> {
        ["7:3".to_owned(), "7:4".to_owned()].into()
    }

    fn judged(more: &str) -> Result<(), String> {
        only_ours(&format!("{GOOD}{more}"), "/disks", &ours())
    }

    #[test]
    fn a_table_of_our_own_disks_and_of_what_has_none_is_fit() {
        assert_eq!(judged(""), Ok(()));
    }

    #[test]
    fn whatever_else_has_a_disk_is_refused_by_name_however_it_is_mounted() {
        for (line, name) in [
            ("9 1 254:0 / /usr ro,relatime - ext4 /dev/vda rw", "/usr"),
            ("9 1 254:0 /etc /disks/etc rw - ext4 /dev/vda rw", "/disks/etc"),
            ("9 1 7:9 / /disks/c rw - ext4 /dev/loop9 rw", "/disks/c"),
            ("9 1 0:31 / /disks/d rw - btrfs /dev/vdb rw", "/disks/d"),
            ("9 1 0:32 / /overlay rw - overlay overlay rw", "/overlay"),
            ("9 1 0:33 / /nfs rw - nfs4 server:/x rw", "/nfs"),
            ("9 1 7:3 / /elsewhere rw - ext4 /dev/loop3 rw", "/elsewhere"),
            ("9 1 7:3 / /disksy/a rw - ext4 /dev/loop3 rw", "/disksy/a"),
            ("9 1 7:3 / /disks/a rw - xfs /dev/loop3 rw", "/disks/a"),
            ("9 1 8:3 / /disks/tmp rw - tmpfs tmpfs rw", "/disks/tmp"),
        ] {
            let why = judged(line).unwrap_err();
            assert!(why.starts_with(&format!("{name} (")), "{why}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused_too() {
        for line in ["nonsense", "9 1 7:3 / /disks/a rw", "- ext4 /dev/vda rw"] {
            assert!(judged(line).unwrap_err().contains("not understood"), "{line}");
        }
    }

    #[test]
    fn a_disk_of_ours_that_is_missing_is_named() {
        let most: String = GOOD.lines().take(4).map(|line| format!("{line}\n")).collect();
        assert!(only_ours(&most, "/disks", &ours()).unwrap_err().ends_with("7:4"));
    }
}
