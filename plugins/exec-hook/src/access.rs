//! Whether the user as whom a hook runs gets to a file: by the mode bits of the file and of every directory above it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::user::Identity;

const READ: u32 = 4;
const EXECUTE: u32 = 1;

/// What is needed of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A program: it is executed.
    Execute,
    /// A script: its interpreter reads it, too.
    ReadAndExecute,
}

/// Judges a resolved path.
///
/// # Errors
/// What stands in the way and the command that removes it, as half a sentence.
pub(crate) fn judge(path: &Path, wanted: Wanted, who: Option<&Identity>) -> Result<(), String> {
    let Some(who) = who.filter(|who| !who.uid.is_root()) else { return Ok(()) };
    for directory in path.ancestors().skip(1) {
        if !permits(&look(directory)?, who, EXECUTE) {
            return Err(closed(directory, who, "o+x"));
        }
    }
    let (bits, change) = match wanted {
        Wanted::Execute => (EXECUTE, "o+x"),
        Wanted::ReadAndExecute => (READ | EXECUTE, "o+rx"),
    };
    if permits(&look(path)?, who, bits) { Ok(()) } else { Err(closed(path, who, change)) }
}

fn look(path: &Path) -> Result<Metadata, String> {
    fs::metadata(path).map_err(|cause| format!("{} can't be looked at: {cause}", path.display()))
}

fn permits(meta: &Metadata, who: &Identity, bits: u32) -> bool {
    let class = if meta.uid() == who.uid.as_raw() {
        meta.mode() >> 6
    } else if meta.gid() == who.gid.as_raw() || who.groups.iter().any(|gid| gid.as_raw() == meta.gid()) {
        meta.mode() >> 3
    } else {
        meta.mode()
    };
    class & bits == bits
}

fn closed(path: &Path, who: &Identity, change: &str) -> String {
    let path = path.display();
    format!("the user {} as whom it runs has no access to {path}: chmod {change} {path}", who.name)
}
