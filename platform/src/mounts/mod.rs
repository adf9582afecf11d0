//! The mount table, with what a freeze has to know of each mount: whether it can be written, where its backing file lies, whether a swap file
//! lies on it.

mod file;
#[cfg(any(target_os = "freebsd", test))]
mod geom;
mod source;
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

#[doc(hidden)]
pub use file::parse as parse_table;
pub use hv_vss_types::{FsId, Mount, Table, holder};
pub use source::{MountsError, Source, read, read_bare};

/// Notes in the mounts which of these swap files lies on them.
fn note_swap_files(mounts: &mut [Mount], files: impl IntoIterator<Item = String>) {
    for file in files {
        let Some(id) = holder(mounts, &file).map(|mount| mount.fsid) else { continue };
        for mount in mounts.iter_mut().filter(|mount| mount.fsid == id && mount.swap.is_none()) {
            mount.swap = Some(file.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u8, on: &str) -> Mount {
        let fsid = FsId([id, 0, 0, 0, 0, 0, 0, 0]);
        Mount {
            fsid,
            fstype: "ufs".into(),
            on: on.into(),
            from: "x".into(),
            read_only: false,
            backing: None,
            swap: None,
        }
    }

    #[test]
    fn a_swap_file_is_noted_at_every_mount_of_the_filesystem_it_lies_on() {
        let mut mounts = [mount(1, "/"), mount(2, "/data"), mount(2, "/again")];
        note_swap_files(&mut mounts, ["/data/swap0".to_owned()]);
        assert_eq!(mounts.map(|mount| mount.swap.is_some()), [false, true, true]);
    }
}
