//! What becomes of a mount that nobody can freeze: decided by its type as a whole word and by whether it can be written, never by its path.

use hv_vss_plugin::{Claim, Mount};

/// Types that keep nothing on a disk of this machine, with what they keep instead. tmpfs is not among them: it does hold files that a
/// restored machine would miss, so to leave it out is the administrator's decision. Neither is nullfs, which shows another filesystem's.
const NOTHING_ON_DISK: [(&str, &str); 7] = [
    ("devfs", "devices"),
    ("procfs", "processes"),
    ("fdescfs", "descriptors"),
    ("linprocfs", "processes"),
    ("linsysfs", "devices"),
    ("mqueuefs", "message queues"),
    ("autofs", "mount points"),
];

/// The verdict on one mount.
pub(crate) fn on(mount: &Mount<'_>) -> Claim {
    if let Some((_, keeps)) = NOTHING_ON_DISK.iter().find(|(fstype, _)| *fstype == mount.fstype) {
        return Claim::Ignore(format!("{} shows {keeps} and keeps nothing on a disk", mount.fstype));
    }
    if mount.read_only {
        return Claim::Ignore("it is mounted read-only: nothing writes to it".to_owned());
    }
    Claim::Veto(format!(
        "{} ({}, from {}) can't be frozen: {}. To take backups without it being at rest, add to hv_vss.toml the lines {}",
        mount.on,
        mount.fstype,
        mount.from,
        why_not(mount.fstype),
        exemption(mount)
    ))
}

fn why_not(fstype: &str) -> &'static str {
    match fstype {
        "zfs" => {
            "ZFS has no way to suspend writing from outside (it is consistent on disk at any time, but its last seconds may be missing)"
        }
        "msdosfs" => "FAT can't be suspended",
        "tmpfs" => "it lives in memory, and no backup holds it",
        "nullfs" => "it shows a directory of another filesystem, which is judged by itself",
        "nfs" | "smbfs" | "fusefs" => "it is not this machine's alone",
        _ => "no plugin knows how to freeze this type",
    }
}

/// The lines that would exempt exactly this mount, each in backquotes so that they can be copied out of a log line.
fn exemption(mount: &Mount<'_>) -> String {
    format!(
        "`[[filesystems.exempt]]` `type = {}` `mount = {}` `reason = \"{}\"`",
        toml_string(mount.fstype),
        toml_string(mount.on),
        example_reason(mount.fstype)
    )
}

fn example_reason(fstype: &str) -> &'static str {
    match fstype {
        "zfs" => "ZFS is consistent on disk at any time",
        "msdosfs" => "written only by upgrades",
        "tmpfs" => "empty after every boot",
        "nullfs" => "its files lie on a filesystem that is frozen",
        _ => "say here why a backup may leave it out",
    }
}

fn toml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fstype: &'static str, on: &'static str) -> Mount<'static> {
        Mount { fsid: [1; 8], fstype, on, from: "x", read_only: false, backing: None, swap: None }
    }

    #[test]
    fn what_keeps_nothing_on_a_disk_is_ignored_wherever_it_is_mounted() {
        for (fstype, _) in NOTHING_ON_DISK {
            let on_chroot = mount(fstype, "/jails/a/dev");
            assert!(matches!(on(&on_chroot), Claim::Ignore(why) if why.contains(fstype)), "{fstype}");
        }
    }

    #[test]
    fn everything_else_that_can_be_written_is_vetoed_and_the_remedy_is_complete() {
        for fstype in ["zfs", "msdosfs", "tmpfs", "nullfs", "nfs", "ext2fs", "fusefs", "unheard_of"] {
            let Claim::Veto(why) = on(&mount(fstype, "/mnt")) else { panic!("{fstype} was not vetoed") };
            assert!(why.starts_with(&format!("/mnt ({fstype}, ")), "{why}");
            let lines: Vec<_> = why.split('`').skip(1).step_by(2).collect();
            assert_eq!(lines[..3], ["[[filesystems.exempt]]", &format!("type = \"{fstype}\""), "mount = \"/mnt\""]);
            assert!(lines[3].starts_with("reason = \""), "{why}");
        }
    }

    #[test]
    fn read_only_is_ignored_with_the_reason() {
        let cd = Mount { read_only: true, ..mount("cd9660", "/cdrom") };
        assert!(matches!(on(&cd), Claim::Ignore(why) if why.contains("read-only")));
    }

    #[test]
    fn a_mount_named_like_a_device_directory_is_still_vetoed() {
        assert!(matches!(on(&mount("zfs", "/devel")), Claim::Veto(_)));
        assert!(matches!(on(&mount("devfs2", "/dev")), Claim::Veto(_)));
    }

    #[test]
    fn an_odd_mount_point_is_quoted_as_toml_wants_it() {
        assert_eq!(toml_string("/a \"b\"\\\n"), r#""/a \"b\"\\\u000A""#);
    }
}
