//! Whose is a mount? Decided from its line in the mount table alone.

use hv_vss_plugin::{Claim, Mount};

/// The verdict on one mount.
pub(crate) fn on(mount: &Mount<'_>) -> Claim {
    if mount.fstype != "ufs" {
        return Claim::NotMine;
    }
    if mount.read_only {
        return Claim::Ignore("it is mounted read-only: nothing writes to it".to_owned());
    }
    if let Some(swap) = mount.swap {
        return Claim::Veto(format!(
            "the swap file {swap} lies on {}: when memory runs short while it is frozen, the machine hangs for good. Use a swap partition, or exempt the mount if it may miss from backups",
            mount.on
        ));
    }
    Claim::Freeze
}

#[cfg(test)]
mod tests {
    use super::*;

    const UFS: Mount<'static> = Mount {
        fsid: [1; 8],
        fstype: "ufs",
        on: "/data",
        from: "/dev/da1p1",
        read_only: false,
        backing: None,
        swap: None,
    };

    #[test]
    fn a_writable_ufs_is_frozen_on_md_or_not() {
        assert_eq!(on(&UFS), Claim::Freeze);
        assert_eq!(on(&Mount { backing: Some("/img/x"), ..UFS }), Claim::Freeze);
    }

    #[test]
    fn a_ufs_on_a_directory_whose_name_begins_with_dev_is_no_exception() {
        assert_eq!(on(&Mount { on: "/devel", ..UFS }), Claim::Freeze);
    }

    #[test]
    fn a_read_only_ufs_is_ignored_with_the_reason_even_under_swap() {
        let read_only = Mount { read_only: true, swap: Some("/data/swap0"), ..UFS };
        assert!(matches!(on(&read_only), Claim::Ignore(why) if why.contains("read-only")));
    }

    #[test]
    fn a_swap_file_is_a_veto_that_names_the_file_and_the_mount() {
        let Claim::Veto(why) = on(&Mount { swap: Some("/data/swap0"), ..UFS }) else { panic!("no veto") };
        assert!(why.contains("/data/swap0") && why.contains("lies on /data"), "{why}");
    }

    #[test]
    fn every_other_type_is_somebody_elses_case_and_all() {
        for fstype in ["zfs", "msdosfs", "ufs2", "UFS", "nullfs", ""] {
            assert_eq!(on(&Mount { fstype, ..UFS }), Claim::NotMine, "{fstype}");
        }
    }
}
