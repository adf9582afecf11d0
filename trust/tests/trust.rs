//! Real files and real owners, so these stories need root.

// A test's own set-up may panic; clippy.toml's permission covers only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use hv_vss_testbed::needs;
use hv_vss_trust::{Distrust, directory, regular_file};

const NOBODY: u32 = 65534;

/// A directory of root's in the sticky `/tmp`, gone at the end of the test.
struct Ground(PathBuf);

impl Ground {
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        needs!(Root);
        let name = format!("hv_vss-trust-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        mode(&path, 0o755);
        Some(Self(fs::canonicalize(path).unwrap()))
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        mode(&path, 0o755);
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        mode(&path, 0o755);
        path
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

fn give_to_nobody(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn a_file_of_roots_in_directories_of_roots_is_trusted_also_below_a_sticky_directory() {
    let Some(ground) = Ground::new() else { return };
    let file = ground.file("10-ok");
    assert_eq!(regular_file(&file, None).unwrap(), file);
    assert_eq!(regular_file(&file, Some(&ground.0)).unwrap(), file);
    assert_eq!(directory(&ground.0).unwrap(), ground.0);
}

#[test]
fn of_all_the_modes_exactly_those_without_write_for_group_and_others_are_trusted() {
    let Some(ground) = Ground::new() else { return };
    let file = ground.file("10-modes");
    for bits in 0..=0o7777 {
        mode(&file, bits);
        let verdict = regular_file(&file, None);
        if bits & 0o022 == 0 {
            assert!(verdict.is_ok(), "mode {bits:04o}: {verdict:?}");
        } else {
            assert!(matches!(verdict, Err(Distrust::Writable { .. })), "mode {bits:04o}: {verdict:?}");
        }
    }
}

#[test]
fn a_file_of_somebody_elses_is_refused_with_the_command_that_repairs_it() {
    let Some(ground) = Ground::new() else { return };
    let file = ground.file("10-theirs");
    give_to_nobody(&file);
    let said = regular_file(&file, None).unwrap_err().to_string();
    let path = file.display();
    assert_eq!(said, format!("{path} belongs to uid 65534, not to root: chown root {path}"));
}

#[test]
fn a_writable_or_foreign_directory_anywhere_above_the_file_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let outer = ground.directory("outer");
    let inner = ground.directory("outer/inner");
    let file = ground.file("outer/inner/file");
    for directory in [&outer, &inner] {
        mode(directory, 0o775);
        assert!(matches!(regular_file(&file, None), Err(Distrust::Writable { path, .. }) if path == *directory));
        mode(directory, 0o757);
        assert!(matches!(regular_file(&file, None), Err(Distrust::Writable { path, .. }) if path == *directory));
        mode(directory, 0o755);
        give_to_nobody(directory);
        assert!(matches!(regular_file(&file, None), Err(Distrust::Owner { path, uid: NOBODY }) if path == *directory));
        chown(directory, Some(0), Some(0)).unwrap();
    }
    assert!(regular_file(&file, None).is_ok());
}

#[test]
fn a_sticky_directory_is_good_enough_on_the_way_but_not_to_hold_the_file() {
    let Some(ground) = Ground::new() else { return };
    let outer = ground.directory("sticky");
    ground.directory("sticky/inner");
    let deep = ground.file("sticky/inner/file");
    let shallow = ground.file("sticky/file");
    mode(&outer, 0o1777);
    assert!(regular_file(&deep, None).is_ok());
    // Somebody could have linked any other file of root's to this name.
    assert!(matches!(regular_file(&shallow, None), Err(Distrust::Writable { path, .. }) if path == outer));
    assert!(matches!(directory(&outer), Err(Distrust::Writable { .. })));
}

#[test]
fn a_sticky_directory_of_somebody_elses_is_refused_since_its_owner_may_rename_all_in_it() {
    let Some(ground) = Ground::new() else { return };
    let outer = ground.directory("sticky");
    ground.directory("sticky/inner");
    let deep = ground.file("sticky/inner/file");
    mode(&outer, 0o1777);
    give_to_nobody(&outer);
    assert!(matches!(regular_file(&deep, None), Err(Distrust::Owner { path, .. }) if path == outer));
}

#[test]
fn a_link_within_the_directory_is_followed_and_one_that_leaves_it_is_refused() {
    let Some(ground) = Ground::new() else { return };
    let hooks = ground.directory("hooks.d");
    let inside = ground.file("hooks.d/10-real");
    let outside = ground.file("elsewhere");
    symlink("10-real", hooks.join("20-inside")).unwrap();
    symlink(&outside, hooks.join("30-outside")).unwrap();
    symlink("../elsewhere", hooks.join("40-outside")).unwrap();
    symlink("30-outside", hooks.join("50-by-another")).unwrap();
    assert_eq!(regular_file(&hooks.join("20-inside"), None).unwrap(), inside);
    for name in ["30-outside", "40-outside", "50-by-another"] {
        let verdict = regular_file(&hooks.join(name), Some(&hooks));
        assert!(matches!(verdict, Err(Distrust::Elsewhere { target, .. }) if target == outside), "{name}");
    }
    // A directory next door whose name merely begins alike is not inside.
    let alike = ground.directory("hooks.d-old");
    ground.file("hooks.d-old/10-old");
    symlink(alike.join("10-old"), hooks.join("60-alike")).unwrap();
    assert!(matches!(regular_file(&hooks.join("60-alike"), Some(&hooks)), Err(Distrust::Elsewhere { .. })));
}

#[test]
fn a_directory_reached_by_a_link_is_judged_where_it_really_lies() {
    let Some(ground) = Ground::new() else { return };
    let real = ground.directory("real");
    let file = ground.file("real/10-file");
    let link = ground.0.join("link");
    symlink(&real, &link).unwrap();
    assert_eq!(regular_file(&link.join("10-file"), Some(&link)).unwrap(), file);
    mode(&real, 0o777);
    assert!(
        matches!(regular_file(&link.join("10-file"), Some(&link)), Err(Distrust::Writable { path, .. }) if path == real)
    );
}

#[test]
fn who_goes_on_with_the_path_that_was_given_back_uses_what_was_judged_whatever_is_swapped_since() {
    let Some(ground) = Ground::new() else { return };
    let (good, evil) = (ground.directory("good"), ground.directory("evil"));
    fs::write(ground.file("good/10-x"), "good").unwrap();
    fs::write(ground.file("evil/10-x"), "evil").unwrap();
    give_to_nobody(&evil.join("10-x"));
    give_to_nobody(&evil);
    // A directory of somebody else's with a link in it, to what is root's.
    let theirs = ground.directory("theirs");
    let link = theirs.join("hooks.d");
    symlink(&good, &link).unwrap();
    give_to_nobody(&theirs);
    let judged = regular_file(&link.join("10-x"), Some(&link)).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&evil, &link).unwrap();
    assert_eq!(fs::read_to_string(&judged).unwrap(), "good");
    // The counter-proof: by the name that was asked about it is another file by now.
    assert_eq!(fs::read_to_string(link.join("10-x")).unwrap(), "evil");
    assert!(matches!(regular_file(&link.join("10-x"), Some(&link)), Err(Distrust::Owner { uid: NOBODY, .. })));
}

#[test]
fn only_a_regular_file_is_one() {
    let Some(ground) = Ground::new() else { return };
    let pipe = ground.0.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(ground.0.join("socket")).unwrap();
    ground.directory("directory");
    for (name, kind) in [("pipe", "a named pipe"), ("socket", "a socket"), ("directory", "a directory")] {
        let path = ground.0.join(name);
        let said = regular_file(&path, None).unwrap_err().to_string();
        assert_eq!(said, format!("{} is {kind}, not a regular file", path.display()));
    }
    assert!(matches!(regular_file(Path::new("/dev/null"), None), Err(Distrust::OtherKind { kind: "a device", .. })));
    let file = ground.file("file");
    assert!(matches!(directory(&file), Err(Distrust::OtherKind { kind: "a regular file", .. })));
}

#[test]
fn what_is_not_there_and_a_dangling_or_circular_link_keep_the_systems_reason() {
    let Some(ground) = Ground::new() else { return };
    symlink("nowhere", ground.0.join("dangling")).unwrap();
    symlink("circle", ground.0.join("circle")).unwrap();
    for (name, errno) in [("missing", nix::libc::ENOENT), ("dangling", nix::libc::ENOENT), ("circle", nix::libc::ELOOP)]
    {
        match regular_file(&ground.0.join(name), None) {
            Err(Distrust::Unreadable { cause, .. }) => assert_eq!(cause.raw_os_error(), Some(errno), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
