//! The mount table, as far as a freeze depends on it.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A filesystem's id as the kernel gives it out (FreeBSD's `fsid_t`): eight bytes in memory order. Shown, read and sent as 16 hexadecimal
/// digits, which is also how FreeBSD's `mount -v` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FsId(pub [u8; 8]);

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The filesystem's id. Two mounts with the same id are one filesystem.
    pub fsid: FsId,
    /// The filesystem's type as the kernel names it: `ufs`, `zfs`, `msdosfs` ...
    #[serde(rename = "type")]
    pub fstype: String,
    /// The directory it is mounted on.
    pub on: String,
    /// What is mounted: a device, a dataset, a directory (nullfs), a word (devfs).
    pub from: String,
    /// Mounted read-only.
    #[serde(default)]
    pub read_only: bool,
    /// The file that holds this filesystem, when `from` is a vnode-backed md(4) disk (Linux: a loop device).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// A swap file that lies on this filesystem and is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<String>,
}

/// The mount table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The mounts, the oldest first.
    pub mounts: Vec<Mount>,
    /// So many more are mounted and not listed: FreeBSD's getfsstat(2) passes over what is just being unmounted, which is written to until
    /// that is done, and is there as before if that fails.
    pub hidden: usize,
}

impl fmt::Display for FsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<FsId> for String {
    fn from(id: FsId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for FsId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = || format!("\"{text}\" is not a filesystem id: expected 16 hexadecimal digits");
        if text.len() != 16 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut id = [0; 8];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(id))
    }
}

/// The mount that a path lies on: the deepest directory above it, and of those mounted over each other the youngest. Judged by name alone: the
/// path is not looked at.
#[must_use]
pub fn holder<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| Path::new(path).starts_with(&mount.on));
    above.max_by_key(|mount| Path::new(&mount.on).components().count())
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
    fn a_path_lies_on_the_deepest_mount_above_it_and_names_are_matched_whole() {
        let mounts = [mount(1, "/"), mount(2, "/usr"), mount(3, "/usr/local")];
        let on = |path| holder(&mounts, path).map(|mount| mount.on.as_str());
        assert_eq!(on("/usr/local/swap0"), Some("/usr/local"));
        assert_eq!(on("/usr/locale/swap0"), Some("/usr"));
        assert_eq!(on("/usrswap"), Some("/"));
        assert_eq!(on("relative"), None);
    }

    #[test]
    fn of_two_mounts_on_one_directory_the_younger_holds_the_path() {
        let mounts = [mount(1, "/"), mount(2, "/data"), mount(3, "/data")];
        assert_eq!(holder(&mounts, "/data/x").map(|mount| mount.fsid.0[0]), Some(3));
    }

    #[test]
    fn an_id_is_shown_and_read_as_sixteen_digits_in_memory_order() {
        let id = FsId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!(FsId::try_from("0123456789abcdef".to_owned()), Ok(id));
        for wrong in ["", "0123", "0123456789abcdeg", "0123456789abcdef0", "+123456789abcdef"] {
            assert!(FsId::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
