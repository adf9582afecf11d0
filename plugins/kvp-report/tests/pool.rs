//! The pool after cycles: what the keys say, that nobody else's are touched, and that whatever is wrong with the file is said and left as it is.
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod stage;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use hv_vss_wire::{Answer, Call};
use stage::*;

const RECORD_SIZE: usize = 512 + 2048;

fn good() -> String {
    record("backup", "ok", "20260201-020304", "as the host asked")
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn after_a_backup_the_host_reads_eight_keys() {
    let mut stage = Stage::new();
    stage.hears(&record("backup", "failed", "20260201-020304", "10-mysql.sh freeze: exit status 1"));
    let expected = [
        ("HvVssState", "idle"),
        ("HvVssDaemonVersion", "0.1.0"),
        ("HvVssLastResult", "failed"),
        ("HvVssLastReason", "10-mysql.sh freeze: exit status 1"),
        ("HvVssLastTrouble", ""),
        ("HvVssLastCycle", "20260201-020304"),
        ("HvVssLastTime", "2026-02-01T02:03:04Z"),
        ("HvVssFrozenMs", "137"),
    ];
    assert_eq!(stage.pool(), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(fs::metadata(stage.file()).unwrap().len() as usize, 8 * RECORD_SIZE);
}

#[test]
fn a_later_cycle_changes_the_values_where_they_are_and_other_programs_keys_stay() {
    let mut stage =
        Stage::with_pool(&[("First", "a"), ("HvVssLastReason", "of an earlier installation"), ("Second", "b")]);
    stage.hears(&good());
    set(&stage.file(), "Third", "c");
    let places: Vec<String> = stage.pool().into_iter().map(|(key, _)| key).collect();
    stage.hears(&record("backup", "expired", "next", &"a long sentence ".repeat(60)));
    stage.hears(&record("backup", "failed", "last", "short"));
    assert_eq!(stage.pool().into_iter().map(|(key, _)| key).collect::<Vec<_>>(), places);
    for (key, value) in
        [("First", "a"), ("Second", "b"), ("Third", "c"), ("HvVssLastReason", "short"), ("HvVssLastCycle", "last")]
    {
        assert_eq!(stage.value(key), value, "{key}");
    }
    // Behind a shorter text nothing is left of the longer one: the daemon copies all 2,048 bytes.
    let bytes = fs::read(stage.file()).unwrap();
    let at = places.iter().position(|key| key == "HvVssLastReason").unwrap() * RECORD_SIZE + 512;
    assert!(bytes[at + "short".len()..at + 2048].iter().all(|byte| *byte == 0));
}

#[test]
fn a_good_check_takes_a_refusal_away_and_never_a_failed_backup() {
    let mut stage = Stage::new();
    stage.hears(&record("check", "refused", "c1", "/tank (zfs) can't be frozen"));
    assert_eq!(stage.value("HvVssLastResult"), "refused");
    stage.hears(&record("check", "ok", "c2", "as the host asked"));
    assert_eq!((stage.value("HvVssLastResult"), stage.value("HvVssLastCycle")), ("ok".into(), "c2".into()));
    stage.hears(&record("backup", "failed", "c3", "no"));
    stage.hears(&record("check", "ok", "c4", "as the host asked"));
    stage.hears(&record("rehearsal", "ok", "c5", "as asked"));
    assert_eq!((stage.value("HvVssLastResult"), stage.value("HvVssLastCycle")), ("failed".into(), "c3".into()));
}

#[test]
fn when_the_daemon_ends_the_state_says_so_and_who_was_only_asked_writes_nothing() {
    let mut stage = Stage::new();
    stage.hears(&good());
    stage.closes();
    assert_eq!(stage.value("HvVssState"), "stopped");
    assert_eq!(stage.value("HvVssLastResult"), "ok");

    let mut asked = Stage::new();
    asked.closes();
    assert!(!asked.ground.join("hyperv").exists());
}

#[test]
fn a_sentence_is_cut_between_characters_to_what_the_driver_passes_on() {
    let mut stage = Stage::new();
    for c in ["x", "é", "€", "\u{1f9ca}"] {
        stage.hears(&record("backup", "failed", "c", &c.repeat(3000)));
        let reason = stage.value("HvVssLastReason");
        assert!(reason.ends_with('…') && reason.len() < 2048 && reason.encode_utf16().count() <= 1022, "{reason}");
        assert!(reason.encode_utf16().count() > 670, "{reason}");
    }
}

// Predecessor 22: hv_kvp_daemon took a directory that was there already for an error.

#[test]
fn a_missing_directory_is_made_with_those_above_it() {
    let mut stage = Stage::new();
    stage.hears(&good());
    assert_eq!((mode(&stage.ground.join("hyperv")), mode(&stage.directory())), (0o755, 0o755));
    assert_eq!(mode(&stage.file()), 0o600);
}

#[test]
fn a_directory_that_exists_is_success_and_stays_as_it_is() {
    let mut stage = Stage::with_pool(&[]);
    fs::set_permissions(stage.directory(), Permissions::from_mode(0o700)).unwrap();
    stage.hears(&good());
    stage.hears(&good());
    assert_eq!(mode(&stage.directory()), 0o700);
}

#[test]
fn a_file_in_the_directorys_place_is_a_clear_error_and_is_left_alone() {
    for name in ["hyperv", "hyperv/pool"] {
        let mut stage = Stage::new();
        let file = stage.ground.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "not a directory").unwrap();
        let why = stage.cannot(&good());
        assert!(why.starts_with(&format!("{} is not a directory", file.display())), "{why}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");
    }
}

#[test]
fn what_is_no_file_in_the_pools_place_is_said_and_left_alone() {
    let directory = Stage::with_pool(&[]);
    fs::create_dir(directory.file()).unwrap();
    let link = Stage::with_pool(&[]);
    let elsewhere = link.ground.join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, link.file()).unwrap();
    let pipe = Stage::with_pool(&[]);
    let made = std::process::Command::new("mkfifo").arg(pipe.file()).status().unwrap();
    assert!(made.success());
    for mut stage in [directory, link, pipe] {
        let why = stage.cannot(&good());
        assert!(why.contains(".kvp_pool_1 is not a file"), "{why}");
        if let Ok(text) = fs::read_to_string(stage.ground.join("elsewhere")) {
            assert_eq!(text, "precious");
        }
    }
}

#[test]
fn to_a_pool_that_ends_in_the_midst_of_a_record_nothing_is_added_and_nothing_is_taken() {
    let mut stage = Stage::with_pool(&[("First", "a")]);
    let mut bytes = fs::read(stage.file()).unwrap();
    bytes.extend_from_slice(b"Torn");
    fs::write(stage.file(), &bytes).unwrap();
    let why = stage.cannot(&good());
    assert!(why.contains("ends within a record (4 bytes of 2560)") && why.contains("truncate -s 2560"), "{why}");
    assert_eq!(fs::read(stage.file()).unwrap(), bytes);
    assert_eq!(stage.log(), ["the pool ends in the midst of a record, which is left as it is"]);

    // What it kept there before is brought up to date all the same.
    fs::write(stage.file(), &bytes[..RECORD_SIZE]).unwrap();
    stage.hears(&good());
    let mut bytes = fs::read(stage.file()).unwrap();
    bytes.extend_from_slice(&[b'x'; RECORD_SIZE - 1]);
    fs::write(stage.file(), &bytes).unwrap();
    stage.hears(&record("backup", "failed", "next", "no"));
    let after = fs::read(stage.file()).unwrap();
    assert_eq!(after.len(), bytes.len());
    assert!(after.ends_with(&[b'x'; RECORD_SIZE - 1]));
    fs::write(stage.file(), &after[..after.len() + 1 - RECORD_SIZE]).unwrap();
    assert_eq!(stage.value("HvVssLastCycle"), "next");
}

#[test]
fn a_file_far_too_long_for_a_pool_is_not_read_and_left_alone() {
    let mut stage = Stage::with_pool(&[("First", "a")]);
    let length = 1 << 40;
    fs::OpenOptions::new().write(true).open(stage.file()).unwrap().set_len(length).unwrap();
    let why = stage.cannot(&good());
    assert!(why.contains("has 1099511627776 bytes") && why.contains("left alone"), "{why}");
    assert_eq!(fs::metadata(stage.file()).unwrap().len(), length);
}

#[test]
fn a_lock_that_somebody_keeps_is_given_up_at_the_deadline_and_when_a_freeze_comes() {
    let mut stage = Stage::with_pool(&[("First", "a")]);
    stage.hears(&good());
    let before = fs::read(stage.file()).unwrap();
    let locked = fs::OpenOptions::new().read(true).write(true).open(stage.file()).unwrap();
    lock(&locked);
    let next = record("backup", "failed", "next", "no");
    let why = match stage.worker.call(ended(&next, Duration::from_millis(200)), SOON) {
        Ended::Answered(Answer::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("was locked by another program all the time"), "{why}");

    let id = stage.worker.ask(ended(&next, SOON));
    stage.worker.ask(Call::Cancel { call_id: id });
    let answered = stage.worker.answer(id, hv_vss_platform::clock::now() + SOON);
    assert!(matches!(answered, Ended::Answered(Answer::Refused { .. })), "{answered:?}");
    drop(locked);
    assert_eq!(fs::read(stage.file()).unwrap(), before);
    stage.hears(&next);
    assert_eq!(stage.value("HvVssLastCycle"), "next");
}

/// The daemon's lock, taken by this process.
fn lock(file: &fs::File) {
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as _,
        l_whence: nix::libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    };
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLK(&whole)).unwrap();
}

#[test]
fn a_wrong_setting_is_named_and_what_is_no_record_breaks_nothing() {
    let mut stage = Stage::new();
    for json in ["", "{\"cycle\":7}", "\u{1f9ca}"] {
        assert!(
            matches!(stage.told(json), Ended::Answered(Answer::Broken { reason }) if reason.contains("can't be understood"))
        );
    }
    stage.hears(&good());
    for (config, expected) in
        [("directory = \"pool\"", "is not an absolute path"), ("directroy = \"/pool\"", "directroy")]
    {
        let mut worker =
            hv_vss_worker::conformance::subject::Subject::start::<&str>(&built().worker, &built().plugin, &[]).unwrap();
        let (key, value) = config.split_once(" = ").unwrap();
        let config = [(key.to_owned(), value.trim_matches('"').into())].into_iter().collect();
        match worker.call(Call::Open { config }, SOON) {
            Ended::Answered(Answer::Refused { reason }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
