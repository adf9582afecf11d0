//! The keys that the host reads: of a refused backup, of a good one, of a daemon that ended; and never written while the pool's disk is frozen.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers, line, our_driver, pool};
use hv_vss_testbed::needs;

/// How long something that comes by itself may take.
const SOON: Duration = Duration::from_secs(8);

/// Turned on, with a pool on the disk.
fn reporting(stage: Stage) -> (Stage, PathBuf) {
    let stage = stage.disk("data");
    let directory = stage.scratch("data").join("hyperv/pool");
    let table = format!("[plugin.kvp_report]\nenabled = true\ndirectory = \"{}\"", directory.display());
    (stage.configured(&table), directory)
}

fn value(directory: &Path, key: &str) -> String {
    let pairs = pool::as_the_host_sees_it(directory);
    pairs.into_iter().find(|(have, _)| have == key).map(|(_, value)| value).unwrap_or_default()
}

/// Claims that the host reads this by now, or does in a moment.
#[track_caller]
fn host_reads(directory: &Path, key: &str, expected: &str) {
    let deadline = Instant::now() + SOON;
    while value(directory, key) != expected {
        assert!(Instant::now() < deadline, "{key} is \"{}\", not \"{expected}\"", value(directory, key));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Another program that holds the pool's lock until it is dropped.
struct Holder(Child);

impl Holder {
    #[track_caller]
    fn of(file: &Path) -> Self {
        let program = "import fcntl, sys\nf = open(sys.argv[1], 'r+b')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('locked', flush=True)\nsys.stdin.read()";
        let mut python = Command::new("python3");
        python.args(["-c", program]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().expect("python3");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("a line");
        assert_eq!(said, "locked\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[track_caller]
fn a_backup_works(guest: &Guest) {
    guest.host_may(Freeze);
    guest.is_frozen();
    guest.host_may(Thaw);
    guest.runs();
}

both_drivers! {
    fn a_pool_on_a_frozen_disk_is_not_written_while_it_is_frozen_and_no_freeze_waits_for_its_lock(stage: Stage) {
        needs!(Python);
        let (stage, directory) = reporting(stage);
        let guest = stage.start();
        guest.host_may(Check);
        host_reads(&directory, "HvVssLastResult", "ok");
        let file = directory.join(".kvp_pool_1");

        // Somebody else has the lock when the next CHECK is told, and still has it when the freeze comes.
        let holder = Holder::of(&file);
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.daemon().says(&["observer kvp_report", "was locked by another program all the time"]);
        let before = fs::read(&file).expect("it can be read");
        guest.is_frozen();
        assert_eq!(fs::read(&file).expect("it can be read"), before);
        guest.host_may(Thaw);
        guest.runs();
        drop(holder);
        let shown = guest.daemon().says(&["FREEZE answered success", "cycle"]);
        let cycle = shown.rsplit("cycle ").next().expect("its id").to_owned();
        host_reads(&directory, "HvVssLastCycle", &cycle);
        assert_ne!(value(&directory, "HvVssFrozenMs"), "0");
    }
}

our_driver! {
    fn the_host_reads_which_filesystem_refused_its_backup_and_what_to_do(stage: Stage) {
        let (stage, directory) = reporting(stage);
        let guest = stage.mounted(line("zfs", "/tank")).start();
        guest.host_may_not(Check);
        host_reads(&directory, "HvVssLastResult", "refused");
        assert_eq!(value(&directory, "HvVssState"), "refusing");
        let reason = value(&directory, "HvVssLastReason");
        assert!(reason.starts_with("/tank (zfs") && reason.contains("[[filesystems.exempt]]"), "{reason}");
        assert_eq!(value(&directory, "HvVssDaemonVersion"), env!("CARGO_PKG_VERSION"));
    }

    fn a_script_that_fails_is_named_to_the_host_until_a_backup_is_good(stage: Stage) {
        let (stage, directory) = reporting(stage);
        let once = stage.scratch("mended").display().to_string();
        let guest = stage.hook("10-mysql.sh", &format!("[ $phase = thaw ] || [ -e {once} ]")).start();
        guest.host_may(Check);
        guest.host_may_not(Freeze);
        host_reads(&directory, "HvVssLastResult", "failed");
        assert!(value(&directory, "HvVssLastReason").contains("10-mysql.sh"), "{}", value(&directory, "HvVssLastReason"));
        // A CHECK that works mends no backup.
        guest.host_may(Check);
        fs::write(&once, "").expect("a file");
        a_backup_works(&guest);
        host_reads(&directory, "HvVssLastResult", "ok");
    }

    fn a_daemon_that_ends_says_so_and_one_that_starts_takes_it_back(stage: Stage) {
        let (stage, directory) = reporting(stage);
        let mut guest = stage.start();
        a_backup_works(&guest);
        host_reads(&directory, "HvVssState", "idle");
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        assert_eq!(value(&directory, "HvVssState"), "stopped");
        guest.daemon_starts();
        host_reads(&directory, "HvVssState", "idle");
        assert_eq!(value(&directory, "HvVssLastResult"), "ok");
    }

    fn unless_it_is_turned_on_nothing_is_written_anywhere(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Check);
        a_backup_works(&guest);
        let children = guest.children_of_the_daemon();
        assert!(children.iter().all(|(_, command)| !command.contains("kvp_report")), "{children:?}");
    }

    fn a_directory_in_the_pools_place_is_said_and_changes_no_backup(stage: Stage) {
        let (stage, directory) = reporting(stage);
        let file = directory.join(".kvp_pool_1");
        fs::create_dir_all(&file).expect("a directory");
        let guest = stage.start();
        guest.host_may(Check);
        a_backup_works(&guest);
        guest.daemon().says(&["observer kvp_report", ".kvp_pool_1 is not a file"]);
        assert!(file.is_dir());
    }
}
