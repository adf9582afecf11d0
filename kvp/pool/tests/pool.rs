//! A pool's file: what is changed, what is left alone, and what a bad disk takes.
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod stage;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant, SystemTime};

use hv_vss_kvp_pool::{Change, MOST_RECORDS, PoolError, RECORD_SIZE, Until};
use stage::*;

/// Heap overflow from 101 records on, in FreeBSD's hv_kvp_daemon.
#[test]
fn a_pool_of_10000_records_is_read_and_changed_whole() {
    let stage = Stage::new();
    let mut pool = stage.pool().lock(&soon()).unwrap();
    let changes: Vec<Change> = (0..10_000).map(|at| Change::set(format!("Key{at}"), format!("{at}"))).collect();
    // One at a time around the sizes at which blocks of 50 records end.
    for at in 0..=202 {
        pool.change(&changes[at..=at]).unwrap();
    }
    pool.change(&changes).unwrap();
    drop(pool);
    assert_eq!(fs::metadata(stage.file()).unwrap().len() as usize, 10_000 * RECORD_SIZE);
    let mut pool = stage.pool().lock(&soon()).unwrap();
    for at in [0, 99, 100, 101, 150, 9_999] {
        assert_eq!(pool.records().get(&format!("Key{at}")), Some(at.to_string().as_bytes()));
    }
    pool.change(&[Change::delete("Key5"), Change::set("Key9999", "last")]).unwrap();
    drop(pool);
    let pool = stage.pool().lock(&soon()).unwrap();
    assert_eq!((pool.records().len(), pool.records().get("Key5")), (9_999, None));
    assert_eq!(pool.records().get("Key9999"), Some(&b"last"[..]));
}

/// Uninitialised memory goes to the file, in FreeBSD's hv_kvp_daemon.
#[test]
fn every_byte_behind_a_text_is_zero() {
    let stage = Stage::new();
    let mut pool = stage.pool().lock(&soon()).unwrap();
    pool.change(&[Change::set("Key", "long ".repeat(300)), Change::set("Other", "x")]).unwrap();
    pool.change(&[Change::set("Key", "v"), Change::delete("Other")]).unwrap();
    let bytes = fs::read(stage.file()).unwrap();
    let mut expected = vec![0; RECORD_SIZE];
    expected[..3].copy_from_slice(b"Key");
    expected[512] = b'v';
    assert!(bytes == expected);
}

#[test]
fn a_file_that_is_made_is_roots_alone_and_a_missing_one_is_not_made_by_reading() {
    let stage = Stage::new();
    assert!(stage.pool().read(&soon()).unwrap().is_none() && stage.pool().stamp().unwrap().is_none());
    assert!(!stage.file().exists());
    stage.pool().lock(&soon()).unwrap();
    assert_eq!(fs::metadata(stage.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(stage.pool().read(&soon()).unwrap().is_some());
}

#[test]
fn a_link_in_the_files_place_is_not_followed() {
    let stage = Stage::new();
    let elsewhere = stage.0.join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, stage.file()).unwrap();
    assert!(matches!(stage.pool().lock(&soon()), Err(PoolError::NotAFile(_))));
    assert!(matches!(stage.pool().read(&soon()), Err(PoolError::NotAFile(_))));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
}

#[test]
fn a_full_pool_takes_no_more_and_still_takes_other_values() {
    let stage = Stage::new();
    let record = [&b"Key"[..], &[0; RECORD_SIZE - 3]].concat();
    fs::write(stage.file(), record.repeat(MOST_RECORDS)).unwrap();
    let mut pool = stage.pool().lock(&soon()).unwrap();
    assert!(matches!(pool.change(&[Change::set("New", "1")]), Err(PoolError::Full(_))));
    pool.change(&[Change::set("Key", "2")]).unwrap();
}

#[test]
fn another_program_that_keeps_the_lock_is_waited_for_until_the_instant_and_no_longer() {
    let stage = Stage::new();
    let ours = stage.pool().lock(&soon()).unwrap();
    let mut other = std::process::Command::new(hammer());
    let mut other = other.arg("set").arg(stage.file()).args(["Key", "value"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(other.try_wait().unwrap().is_none(), "the other program waits for our lock");
    drop(ours);
    assert!(other.wait().unwrap().success());

    let program = "import fcntl, sys\nf = open(sys.argv[1], 'r+b')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('locked', flush=True)\nsys.stdin.read()";
    let mut holder = std::process::Command::new("python3");
    holder.args(["-c", program]).arg(stage.file());
    holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut said).unwrap();
    let refused = stage.pool().lock(&Until(Instant::now() + Duration::from_millis(30)));
    assert!(matches!(&refused, Err(error @ PoolError::Locked(_)) if error.is_passing()), "{refused:?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn another_programs_change_shows_by_the_stamp_once_it_has_settled() {
    let stage = Stage::new();
    set(&stage.file(), "Key", "first");
    let young = stage.pool().stamp().unwrap().unwrap();
    assert!(!young.is_settled_at(SystemTime::now()));
    std::thread::sleep(Duration::from_millis(60));
    let settled = stage.pool().stamp().unwrap().unwrap();
    assert!(settled.is_settled_at(SystemTime::now()), "{settled:?}");
    set(&stage.file(), "Key", "other");
    assert_ne!(stage.pool().stamp().unwrap().unwrap(), settled);
}

#[cfg(target_os = "linux")]
mod bad_disks {
    use super::*;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    const NOWHERE: Option<&str> = None;

    /// A stage on a small disk, in a mount namespace of this thread's own.
    fn on_a_small_disk() -> Option<Stage> {
        hv_vss_testbed::needs!(Root);
        let stage = Stage::new();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(NOWHERE, "/", NOWHERE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOWHERE).unwrap();
        mount(Some("tmpfs"), &stage.0, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        Some(stage)
    }

    fn fill(stage: &Stage) {
        let mut filler = fs::File::create(stage.0.join("filler")).unwrap();
        while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    }

    /// A full disk empties a pool, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn on_a_full_disk_all_changes_are_made_or_none_and_nothing_that_was_there_is_lost() {
        let Some(stage) = on_a_small_disk() else { return };
        set(&stage.file(), "Stranger", "keeps still");
        set(&stage.file(), "Ours", "old");
        fill(&stage);
        let before = fs::read(stage.file()).unwrap();
        let mut pool = stage.pool().lock(&soon()).unwrap();
        let both = [Change::set("Ours", "new"), Change::set("More", "x".repeat(2000))];
        // The second record fits into the block that the file has already; 20 do not.
        let more: Vec<Change> = (0..20).map(|at| Change::set(format!("More{at}"), "x")).chain(both).collect();
        let error = pool.change(&more).unwrap_err().to_string();
        assert!(error.contains("can't write") && error.contains("No space left on device"), "{error}");
        assert!(fs::read(stage.file()).unwrap() == before);
        pool.change(&[Change::set("Ours", "new")]).unwrap();
        pool.change(&[Change::delete("Stranger")]).unwrap();
        drop(pool);
        assert_eq!(list(&stage.file()), [("Ours".to_owned(), "new".to_owned())]);
    }

    #[test]
    fn a_read_only_disk_is_said_and_nothing_is_lost() {
        let Some(stage) = on_a_small_disk() else { return };
        set(&stage.file(), "Ours", "old");
        let mut pool = stage.pool().lock(&soon()).unwrap();
        drop(pool.change(&[Change::set("Ours", "older")]));
        drop(pool);
        mount(NOWHERE, &stage.0, NOWHERE, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, NOWHERE).unwrap();
        let error = stage.pool().lock(&soon()).unwrap_err().to_string();
        assert!(error.contains("can't open") && error.contains("Read-only file system"), "{error}");
        assert_eq!(stage.pool().read(&soon()).unwrap().unwrap().0.get("Ours"), Some(&b"older"[..]));
    }
}
