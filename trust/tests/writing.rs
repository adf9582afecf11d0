//! Root writes into a directory that is somebody else's, and they have prepared it. What they prepare is made here as they would make it; the
//! stories of the whole daemon (tests/stories) have a real user do it.

// A test's own set-up may panic; clippy.toml's permission covers only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use hv_vss_testbed::needs;
use hv_vss_trust::{Distrust, Holder, place, replace};
use nix::sys::stat::{Mode, umask};

const NOBODY: u32 = 65534;

/// A directory of root's, and in it one of a collector's that root writes into.
struct Ground {
    root: PathBuf,
    theirs: PathBuf,
}

impl Ground {
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        needs!(Root);
        let name = format!("hv_vss-writing-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        let theirs = root.join("theirs");
        fs::create_dir_all(&theirs).unwrap();
        fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::write(root.join("precious"), "precious").unwrap();
        Some(Self { root, theirs })
    }

    fn precious(&self) -> PathBuf {
        self.root.join("precious")
    }

    /// Writes as the daemon does, and claims that nothing of root's was touched.
    #[track_caller]
    fn writes(&self, text: &str) -> std::io::Result<()> {
        let path = place(&self.theirs.join("file"), Holder::Anyone).unwrap();
        let done = replace(&path, text.as_bytes(), 0o644);
        assert_eq!(fs::read_to_string(self.precious()).unwrap(), "precious");
        assert_eq!(fs::metadata(self.precious()).unwrap().uid(), 0);
        done
    }

    #[track_caller]
    fn holds(&self, text: &str) {
        let meta = fs::symlink_metadata(self.theirs.join("file")).unwrap();
        assert!(meta.is_file() && meta.uid() == 0 && meta.mode() & 0o7777 == 0o644, "{meta:?}");
        assert_eq!(fs::read_to_string(self.theirs.join("file")).unwrap(), text);
        assert!(!self.theirs.join("file.new").exists());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn a_file_is_replaced_as_a_whole_with_the_bits_that_were_asked_for_under_any_umask() {
    let Some(ground) = Ground::new() else { return };
    for bits in [0, 0o077, 0o777] {
        let before = umask(Mode::from_bits_truncate(bits));
        let done = ground.writes("new");
        umask(before);
        done.unwrap();
        ground.holds("new");
    }
}

#[test]
fn a_link_that_lies_in_wait_is_replaced_and_never_followed() {
    let Some(ground) = Ground::new() else { return };
    for name in ["file", "file.new"] {
        symlink(ground.precious(), ground.theirs.join(name)).unwrap();
        ground.writes(name).unwrap();
        ground.holds(name);
    }
}

#[test]
fn another_name_of_a_file_of_roots_is_replaced_and_the_file_is_not_written_to() {
    let Some(ground) = Ground::new() else { return };
    for name in ["file", "file.new"] {
        let _ = fs::remove_file(ground.theirs.join(name));
        fs::hard_link(ground.precious(), ground.theirs.join(name)).unwrap();
        ground.writes(name).unwrap();
        ground.holds(name);
    }
}

#[test]
fn a_pipe_that_nobody_reads_makes_nobody_wait() {
    let Some(ground) = Ground::new() else { return };
    for name in ["file", "file.new"] {
        let _ = fs::remove_file(ground.theirs.join(name));
        nix::unistd::mkfifo(&ground.theirs.join(name), Mode::from_bits_truncate(0o666)).unwrap();
        ground.writes(name).unwrap();
        ground.holds(name);
    }
}

#[test]
fn what_can_not_be_removed_is_an_error_and_what_was_there_stays() {
    let Some(ground) = Ground::new() else { return };
    ground.writes("old").unwrap();
    fs::create_dir_all(ground.theirs.join("file.new/full")).unwrap();
    assert_eq!(ground.writes("new").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(ground.theirs.join("file")).unwrap(), "old");
}

#[test]
fn a_descriptor_kept_from_before_writes_into_what_nobody_reads_any_more() {
    let Some(ground) = Ground::new() else { return };
    fs::write(ground.theirs.join("file"), "").unwrap();
    let mut kept = fs::OpenOptions::new().append(true).open(ground.theirs.join("file")).unwrap();
    ground.writes("new").unwrap();
    kept.write_all(b"forged").unwrap();
    ground.holds("new");
}

#[test]
fn a_directory_that_was_swapped_for_a_link_after_it_was_judged_is_not_written_to() {
    let Some(ground) = Ground::new() else { return };
    let path = place(&ground.theirs.join("file"), Holder::Anyone).unwrap();
    let elsewhere = ground.root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&ground.theirs, ground.root.join("aside")).unwrap();
    symlink(&elsewhere, &ground.theirs).unwrap();
    assert!(replace(&path, b"x", 0o644).is_err());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_place_of_roots_is_refused_when_it_is_somebody_elses_and_a_place_of_anyones_when_the_way_to_it_is() {
    let Some(ground) = Ground::new() else { return };
    let theirs = ground.theirs.join("file");
    assert!(matches!(place(&theirs, Holder::Root), Err(Distrust::Owner { uid: NOBODY, .. })));
    assert_eq!(place(&theirs, Holder::Anyone).unwrap(), theirs);
    fs::create_dir(ground.theirs.join("deeper")).unwrap();
    let deeper = ground.theirs.join("deeper/file");
    assert!(matches!(place(&deeper, Holder::Anyone), Err(Distrust::Owner { path, .. }) if path == ground.theirs));
    assert_eq!(place(&ground.root.join("file"), Holder::Root).unwrap(), ground.root.join("file"));
    assert!(place(&ground.precious().join("file"), Holder::Anyone).is_err(), "a file is no directory");
    for nothing in ["/", "..", ""] {
        assert!(place(nothing.as_ref(), Holder::Root).is_err(), "\"{nothing}\"");
    }
}
