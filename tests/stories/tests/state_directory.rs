//! The state directory full, read-only, missing, and there again: backups go on, what can't be written is said once and kept in memory, and
//! nothing is left behind that a later daemon would take for a debt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Stage, both_drivers, our_driver, wait_for};

#[track_caller]
fn run(program: &str, arguments: &[&str], on: &Path) {
    let done = Command::new(program).args(arguments).arg(on).status();
    assert!(done.is_ok_and(|status| status.success()), "{program} {arguments:?} {}", on.display());
}

fn state(guest: &Guest) -> PathBuf {
    guest.stage().home().join("state")
}

/// A disk with room for very little.
fn a_tiny_disk(stage: Stage) -> Stage {
    let state = stage.home().join("state");
    run("mount", &["-t", "tmpfs", "-o", "size=16k,mode=755", "tiny"], &state);
    stage
}

/// Nothing more can be written to it.
fn fills_up(guest: &Guest) {
    let filler = state(guest).join("filler");
    let mut size = 64 << 10;
    while size > 0 {
        if fs::write(&filler, vec![b'x'; size]).is_ok() {
            return;
        }
        size -= 4096;
    }
}

#[track_caller]
fn a_backup_works(guest: &Guest) {
    guest.host_may(Check);
    guest.host_may(Freeze);
    guest.is_frozen();
    guest.host_may(Thaw);
    guest.runs();
}

/// How often it was said.
fn times(guest: &Guest, words: &[&str]) -> usize {
    guest.daemon().log().iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[track_caller]
fn the_history_comes_to_have(guest: &Guest, lines: usize) {
    let path = state(guest).join("history.jsonl");
    let has = || fs::read_to_string(&path).unwrap_or_default().lines().count();
    wait_for(&format!("{lines} lines in {}", path.display()), || has() >= lines);
}

fn debts(guest: &Guest) -> Vec<PathBuf> {
    let entries = fs::read_dir(state(guest)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("owed-")).collect()
}

#[track_caller]
fn owes_nothing(guest: &Guest) {
    wait_for("all debts to be paid", || debts(guest).is_empty());
}

both_drivers! {
    fn on_a_full_disk_backups_go_on_with_one_warning_and_nothing_is_lost_once_there_is_room(stage: Stage) {
        let guest = a_tiny_disk(stage.disk("data").hook("50-app", "")).start();
        fills_up(&guest);
        for _ in 0..3 {
            a_backup_works(&guest);
        }
        guest.daemon().says(&["can't note in", "owed-exec_hook.json", "No space left on device", "the backup goes on"]);
        guest.daemon().says(&["can't write the history", "kept in memory"]);
        assert_eq!((times(&guest, &["can't note in"]), times(&guest, &["can't write the history"])), (1, 1));
        let litter: Vec<_> = fs::read_dir(state(&guest)).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(litter, ["filler"], "no pieces of files are left");
        fs::remove_file(state(&guest).join("filler")).unwrap();
        guest.host_may(Check);
        // Three CHECKs and backups from memory, and the last CHECK.
        the_history_comes_to_have(&guest, 7);
    }

    fn a_read_only_state_directory_is_one_warning_and_no_reason_to_refuse(stage: Stage) {
        let guest = a_tiny_disk(stage.disk("data").hook("50-app", "")).start();
        run("mount", &["-o", "remount,ro"], &state(&guest));
        for _ in 0..3 {
            a_backup_works(&guest);
        }
        guest.daemon().says(&["can't write the history", "Read-only file system"]);
        assert_eq!((times(&guest, &["can't note in"]), times(&guest, &["can't write the history"])), (1, 1));
        run("mount", &["-o", "remount,rw"], &state(&guest));
        guest.host_may(Check);
        the_history_comes_to_have(&guest, 7);
    }

    fn a_debt_that_is_paid_and_can_not_be_removed_is_removed_as_soon_as_it_can(stage: Stage) {
        let guest = a_tiny_disk(stage.disk("data").hook("50-app", "")).start();
        guest.host_may(Freeze);
        guest.is_frozen();
        assert_eq!(debts(&guest).len(), 1);
        run("mount", &["-o", "remount,ro"], &state(&guest));
        guest.host_may(Thaw);
        guest.runs();
        guest.daemon().says(&["can't remove", "owed-exec_hook.json", "Read-only file system"]);
        run("mount", &["-o", "remount,rw"], &state(&guest));
        guest.host_may(Check);
        owes_nothing(&guest);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw ok"]);
    }

    fn a_state_directory_that_vanishes_is_made_anew_and_the_history_is_whole_in_it(stage: Stage) {
        let guest = a_tiny_disk(stage.disk("data").hook("50-app", "")).start();
        a_backup_works(&guest);
        the_history_comes_to_have(&guest, 2);
        run("umount", &[], &state(&guest));
        fs::remove_dir(state(&guest)).expect("what was mounted over is empty");
        a_backup_works(&guest);
        the_history_comes_to_have(&guest, 4);
        owes_nothing(&guest);
        assert_eq!((times(&guest, &["can't note in"]), times(&guest, &["can't write the history"])), (0, 0));
    }
}

our_driver! {
    fn a_daemon_that_starts_without_a_state_directory_serves_and_says_so_once(stage: Stage) {
        let mut guest = a_tiny_disk(stage.disk("data").hook("50-app", "")).without_a_daemon();
        // A file in the place of its parent: nothing can be made there.
        run("umount", &[], &state(&guest));
        fs::remove_dir(state(&guest)).expect("it is empty");
        fs::write(state(&guest), "in the way").expect("the place is free");
        guest.daemon_starts();
        guest.daemon().says(&["is not a directory", "kept in memory only"]);
        for _ in 0..2 {
            a_backup_works(&guest);
        }
        assert_eq!(times(&guest, &["kept in memory only"]), 1);
    }
}
