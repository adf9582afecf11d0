//! The mount table, with what a freeze has to know of each mount: whether it can be written, where its backing file lies, whether a swap file
//! lies on it.

use std::fmt;

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
        if text.len() != 16 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut id = [0; 8];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(id))
    }
}
