//! Disks that are full or read-only: said, nobody's key is lost, and all is well as soon as the disk is.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod stage;

use std::fs;
use std::path::Path;

use hv_vss_testbed::needs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use stage::*;

/// A stage on a small disk of its own, in a mount namespace of this thread's own. None where the test is skipped.
fn stage_on_a_small_disk(options: &str) -> Option<Stage> {
    needs!(Root);
    built();
    let nowhere: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(nowhere, "/", nowhere, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nowhere).unwrap();
    let ground = std::env::temp_dir().join(format!("hv_vss-kvp-disk-{}-{options}", std::process::id()));
    fs::create_dir(&ground).unwrap();
    mount(Some("tmpfs"), &ground, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
    Some(Stage::on(ground))
}

fn filled(ground: &Path) {
    let mut filler = fs::File::create(ground.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
}

#[test]
fn on_a_full_disk_nothing_is_left_half_done_and_the_next_cycle_after_it_is_told() {
    let Some(mut stage) = stage_on_a_small_disk("size=256k") else { return };
    fs::create_dir_all(stage.directory()).unwrap();
    set(&stage.file(), "Stranger", "keeps still");
    filled(&stage.ground);
    let before = fs::read(stage.file()).unwrap();
    let failed = record("backup", "failed", "c1", "no");
    let why = stage.cannot(&failed);
    assert!(why.contains("can't write") && why.contains("No space left on device"), "{why}");
    assert_eq!(fs::read(stage.file()).unwrap(), before);

    fs::remove_file(stage.ground.join("filler")).unwrap();
    stage.hears(&failed);
    filled(&stage.ground);
    // What is there already needs no room.
    stage.hears(&record("backup", "ok", "c2", "as the host asked"));
    assert_eq!((stage.value("HvVssLastCycle"), stage.value("Stranger")), ("c2".into(), "keeps still".into()));
}

#[test]
fn on_a_full_disk_without_a_pool_that_is_said_and_no_torn_file_stays() {
    let Some(mut stage) = stage_on_a_small_disk("size=64k") else { return };
    filled(&stage.ground);
    let why = stage.cannot(&record("backup", "failed", "c1", "no"));
    assert!(why.contains("No space left on device"), "{why}");
    assert_eq!(fs::metadata(stage.file()).map_or(0, |about| about.len()), 0);
}

#[test]
fn on_a_read_only_disk_that_is_said_and_after_it_all_is_well() {
    let Some(mut stage) = stage_on_a_small_disk("size=1m") else { return };
    stage.hears(&record("backup", "ok", "c1", "as the host asked"));
    let remounted = |flags| {
        let nowhere: Option<&str> = None;
        mount(nowhere, &stage.ground, nowhere, MsFlags::MS_REMOUNT | flags, nowhere).unwrap();
    };
    remounted(MsFlags::MS_RDONLY);
    let failed = record("backup", "failed", "c2", "no");
    let why = match stage.worker.call(ended(&failed, SOON), SOON) {
        Ended::Answered(hv_vss_wire::Answer::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("can't open") && why.contains("Read-only file system"), "{why}");
    remounted(MsFlags::empty());
    assert_eq!(stage.value("HvVssLastCycle"), "c1");
    stage.hears(&failed);
    assert_eq!(stage.value("HvVssLastCycle"), "c2");
}
