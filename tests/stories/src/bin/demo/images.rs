//! Images as a host's backup copies them, and what ext4's own tools say of a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_stories::Guest;

/// Copies a disk's image file, as the host does it: from below, without the guest.
pub(crate) fn copy(guest: &Guest, disk: &str, kind: &str) -> PathBuf {
    let (from, to) = (guest.image(disk), guest.stage().scratch(&format!("{disk}.{kind}")));
    fs::copy(&from, &to).unwrap_or_else(|error| panic!("can't copy {}: {error}", from.display()));
    to
}

/// Whether the journal would have to be replayed before this copy can be used.
pub(crate) fn needs_recovery(image: &Path) -> bool {
    let features = tool("dumpe2fs", &["-h"], image).1;
    let line = features.lines().find(|line| line.starts_with("Filesystem features:"));
    line.unwrap_or_else(|| panic!("dumpe2fs says nothing of features:\n{features}")).contains("needs_recovery")
}

/// Claims that a full check, which may repair nothing, finds nothing.
pub(crate) fn is_clean(image: &Path) {
    let (code, said) = tool("fsck.ext4", &["-fn"], image);
    assert_eq!(code, Some(0), "fsck.ext4 of {}:\n{said}", image.display());
}

/// Both, in words.
pub(crate) fn judge(image: &Path) -> String {
    if needs_recovery(image) {
        return "needs recovery: its journal would have to be replayed".to_owned();
    }
    match tool("fsck.ext4", &["-fn"], image).0 {
        Some(0) => "needs no recovery; fsck.ext4 -fn: clean".to_owned(),
        code => format!("needs no recovery, but fsck.ext4 -fn ended with {code:?}"),
    }
}

fn tool(name: &str, arguments: &[&str], image: &Path) -> (Option<i32>, String) {
    let output = Command::new(name).args(arguments).arg(image).output();
    let output = output.unwrap_or_else(|error| panic!("can't run {name} (package e2fsprogs): {error}"));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
