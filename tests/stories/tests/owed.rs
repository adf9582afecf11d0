//! What applications are owed when whoever owes it dies, is stopped, or wakes up on another machine: each thaw hook runs once, with the outcome
//! that tells why, and the record of it goes with the debt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Monotonic, Signal, Stage, both_drivers, our_driver};
use nix::mount::{MsFlags, mount};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// How long something that comes by itself may take.
const SOON: Duration = Duration::from_secs(5);

/// A hook whose thaw takes a while. It says when it is through.
const SLOW_THAW: &str = "[ $phase = thaw ] && sleep 1.5; exit 0";

/// What an operator would find in the state directory, hooks by name; none: there is no record.
fn owed(guest: &Guest) -> Option<String> {
    fs::read_to_string(record(guest.stage())).ok()
}

fn record(stage: &Stage) -> PathBuf {
    stage.home().join("state/owed-exec_hook.json")
}

/// Claims that the record is gone, or is in a moment.
#[track_caller]
fn owes_nothing(guest: &Guest) {
    let deadline = Instant::now() + SOON;
    while let Some(record) = owed(guest) {
        assert!(Instant::now() < deadline, "still on record: {record}");
        std::thread::sleep(MS(5));
    }
}

/// Claims that the record names these hooks and not those.
#[track_caller]
fn owes(guest: &Guest, these: &[&str], not_those: &[&str]) {
    let record = owed(guest).expect("there is a record");
    let substeps =
        record.split_once("\"substeps\":[").and_then(|(_, rest)| rest.split_once(']')).expect("with hooks").0;
    assert!(these.iter().all(|name| substeps.contains(name)), "{substeps} lacks one of {these:?}");
    assert!(!not_those.iter().any(|name| substeps.contains(name)), "{substeps} has one of {not_those:?}");
}

/// Kills the daemon and the process that runs the hooks, so that neither sees the other's end.
#[track_caller]
fn daemon_and_hook_worker_are_killed(guest: &mut Guest) {
    guest.daemon().signal(Signal::SIGSTOP);
    let host = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
    guest.daemon_is_killed();
    guest.process_is_gone(host);
}

/// The whole cycle works, and nothing is left of the last one.
#[track_caller]
fn is_as_good_as_new(guest: &Guest) {
    guest.comes_to_allow_backups();
    guest.host_may(Freeze);
    guest.host_may(Thaw);
    owes_nothing(guest);
}

both_drivers! {
    fn what_a_freeze_will_owe_is_on_record_until_it_is_thawed(stage: Stage) {
        let guest = stage.disk("data").hook("10-a", "").hook("50-app.pre-freeze", "").hook("60-note.post-thaw", "").start();
        assert_eq!(owed(&guest), None);
        guest.host_may(Freeze);
        // A hook without a thaw owes none.
        owes(&guest, &["10-a", "60-note.post-thaw"], &["50-app"]);
        guest.host_may(Thaw);
        owes_nothing(&guest);
    }

    fn a_freeze_that_fails_leaves_no_record(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = thaw ]").start();
        guest.host_may_not(Freeze);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        owes_nothing(&guest);
    }

    /// Row 11.
    fn the_daemon_is_killed_while_frozen_and_every_thaw_hook_runs_exactly_once(stage: Stage) {
        let mut guest = stage.disk("data").disk("more").hook("10-a", "").hook("50-app", "").hook("60-note.post-thaw", "").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        let host = guest.worker_of("exec_hook.so");
        guest.daemon_is_killed();
        guest.runs();
        let ran = [
            "10-a freeze ok", "50-app freeze ok",
            "60-note.post-thaw thaw recovered", "50-app thaw recovered", "10-a thaw recovered",
        ];
        guest.scripts_ran_with(ran);
        guest.process_is_gone(host);
        owes_nothing(&guest);
        guest.daemon_starts();
        guest.host_may(Check);
        guest.scripts_ran_with(ran);
        is_as_good_as_new(&guest);
    }

    fn the_daemon_is_killed_while_freezing_and_only_hooks_that_were_started_are_thawed(stage: Stage) {
        let slow = "[ $phase = freeze ] && sleep 30; exit 0";
        let mut guest = stage.disk("data").hook("10-a", "").hook("50-slow", slow).hook("90-late", "").start();
        guest.host_sends(Freeze);
        guest.script_starts("50-slow freeze");
        let host = guest.worker_of("exec_hook.so");
        guest.daemon_is_killed();
        guest.process_is_gone(host);
        guest.scripts_ran_with(["10-a freeze ok", "50-slow freeze ok", "50-slow thaw recovered", "10-a thaw recovered"]);
        owes_nothing(&guest);
        guest.runs();
    }

    fn daemon_and_hook_worker_are_killed_while_frozen_and_the_next_daemon_runs_what_is_owed(stage: Stage) {
        let mut guest = stage.disk("data").hook("10-a", "").hook("50-app", "").hook("60-note.post-thaw", "").start();
        guest.host_may(Freeze);
        daemon_and_hook_worker_are_killed(&mut guest);
        guest.runs();
        guest.scripts_ran(["10-a freeze", "50-app freeze"]);
        owes(&guest, &["10-a", "50-app", "60-note.post-thaw"], &[]);

        guest.daemon_starts();
        guest.daemon().says(&["an earlier daemon died in cycle", "exec_hook"]);
        let ran = [
            "10-a freeze ok", "50-app freeze ok",
            "60-note.post-thaw thaw recovered", "50-app thaw recovered", "10-a thaw recovered",
        ];
        guest.scripts_ran_with(ran);
        owes_nothing(&guest);

        // And a third one finds nothing to do.
        guest.daemon_is_killed();
        guest.daemon_starts();
        guest.host_may(Check);
        guest.scripts_ran_with(ran);
        is_as_good_as_new(&guest);
    }

    fn when_both_die_while_freezing_every_planned_hook_counts_as_started(stage: Stage) {
        let slow = "[ $phase = freeze ] && sleep 2; exit 0";
        let mut guest = stage.disk("data").hook("10-a", "").hook("50-slow", slow).hook("90-late", "").start();
        guest.host_sends(Freeze);
        guest.script_starts("50-slow freeze");
        daemon_and_hook_worker_are_killed(&mut guest);
        guest.daemon_starts();
        guest.scripts_ran_with([
            "10-a freeze ok", "50-slow freeze ok",
            "90-late thaw recovered", "50-slow thaw recovered", "10-a thaw recovered",
        ]);
        owes_nothing(&guest);
    }

    fn what_the_hook_worker_has_thawed_before_it_died_too_is_not_run_again(stage: Stage) {
        let once = stage.scratch("once");
        let slow_the_first_time = format!("[ $phase = thaw ] && [ ! -e {0} ] && {{ : > {0}; sleep 30; }}; exit 0", once.display());
        let mut guest = stage.disk("data").hook("10-a", &slow_the_first_time).hook("50-app", "").start();
        guest.host_may(Freeze);
        let host = guest.worker_of("exec_hook.so");
        guest.daemon_is_killed();
        guest.script_starts("10-a thaw");
        owes(&guest, &["10-a"], &["50-app"]);
        kill(host);
        guest.process_is_gone(host);

        guest.daemon_starts();
        guest.scripts_ran_with([
            "10-a freeze ok", "50-app freeze ok",
            "50-app thaw recovered", "10-a thaw recovered", "10-a thaw recovered",
        ]);
        owes_nothing(&guest);
        guest.host_may(Check);
    }

    fn a_daemon_that_is_stopped_while_frozen_loses_what_it_holds_at_the_expiry(stage: Stage) {
        let guest = stage.disk("data").limit(MS(2000)).time("reserve", "300ms").time("max_frozen", "500ms").hook("50-app", "").start();
        let frozen = guest.host_may(Freeze);
        guest.is_frozen();
        guest.daemon().signal(Signal::SIGSTOP);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        // Limit and longest freeze after it was read, and it can't have been read before it was sent.
        let expiry = frozen.at_ns - u64::try_from(frozen.took.as_nanos()).unwrap() + 2_500_000_000;
        guest.stood_still_between(&frozen, Monotonic::from_ns(expiry));

        guest.daemon().signal(Signal::SIGCONT);
        guest.host_may_not(Thaw);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        is_as_good_as_new(&guest);
    }

    fn a_thaw_that_waits_when_a_stopped_daemon_goes_on_is_answered_fail(stage: Stage) {
        let guest = stage.disk("data").limit(MS(2000)).time("reserve", "300ms").time("max_frozen", "500ms").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGSTOP);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        let thaw = guest.host_sends(Thaw);
        guest.daemon().signal(Signal::SIGCONT);
        guest.fails(thaw);
        is_as_good_as_new(&guest);
    }

    fn what_was_let_go_at_the_expiry_is_not_run_again_when_both_are_then_killed(stage: Stage) {
        let mut guest = stage.disk("data").limit(MS(2000)).time("reserve", "300ms").time("max_frozen", "500ms").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGSTOP);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        // The next write to the record comes once the script has ended, not when it has begun.
        owes_nothing(&guest);
        daemon_and_hook_worker_are_killed(&mut guest);
        guest.daemon_starts();
        guest.host_may(Check);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        owes_nothing(&guest);
    }

    fn a_daemon_that_is_restarted_waits_for_a_slow_thaw_hook_of_the_old_one_and_refuses_freezes_meanwhile(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", SLOW_THAW).start();
        guest.host_may(Freeze);
        let old = guest.worker_of("exec_hook.so");
        guest.daemon_is_killed();
        guest.script_starts("50-app thaw");
        guest.daemon_starts();
        guest.host_may_not(Freeze);
        guest.daemon().says(&["exec_hook still owes", "earlier daemon", "at work; try again shortly"]);
        guest.process_is_there(old);
        guest.runs();
        guest.comes_to_allow_backups();
        guest.process_is_gone(old);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw recovered"]);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw recovered", "50-app freeze ok", "50-app thaw ok"]);
        owes_nothing(&guest);
    }

    /// Row 27.
    fn a_machine_that_was_started_from_the_backup_says_so_and_runs_no_hooks(stage: Stage) {
        let mut guest = stage.disk("root").hook("50-app", "").installed_on("root").start();
        boots_from_a_backup_of_itself(&mut guest);
        guest.daemon_starts();
        guest.daemon().says(&["started from the backup of cycle", "was reset", "run_after_restore"]);
        guest.host_may_not(Thaw);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw ok"]);
        owes_nothing(&guest);
        is_as_good_as_new(&guest);
    }

    /// Row 27, for an application that wants to be told.
    fn a_machine_that_was_started_from_the_backup_runs_its_thaw_hooks_where_it_is_configured_so(stage: Stage) {
        let stage = stage.disk("root").exec_hook("run_after_restore = true").hook("50-app", "").hook("60-note.post-thaw", "");
        let mut guest = stage.installed_on("root").start();
        boots_from_a_backup_of_itself(&mut guest);
        guest.daemon_starts();
        guest.daemon().says(&["started from the backup of cycle", "its thaw hooks are run"]);
        guest.scripts_ran_with([
            "50-app freeze ok", "60-note.post-thaw thaw ok", "50-app thaw ok",
            "60-note.post-thaw thaw restored", "50-app thaw restored",
        ]);
        owes_nothing(&guest);
        is_as_good_as_new(&guest);
    }
}

our_driver! {
    fn what_a_plugin_owes_that_was_removed_since_is_owed_until_it_is_back(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Freeze);
        daemon_and_hook_worker_are_killed(&mut guest);
        let (file, away) = (guest.stage().home().join("plugins/exec_hook.so"), guest.stage().scratch("away.so"));
        fs::rename(&file, &away).unwrap();
        guest.daemon_starts();
        guest.daemon().says(&["exec_hook still owes", "50-app", "disabled or removed since; put it back", "vssctl forgive"]);
        guest.host_may_not(Check);
        fs::rename(&away, &file).unwrap();
        guest.host_sends(Check);
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw recovered"]);
        owes_nothing(&guest);
        guest.comes_to_allow_backups();
    }

    fn a_record_that_is_damaged_is_said_and_stops_no_backup(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        fs::write(record(&stage), "{\"version\":1,\"cyc").unwrap();
        let guest = stage.start();
        guest.daemon().says(&["can't read", "owed-exec_hook.json", "remove it once"]);
        guest.host_may(Check);
        guest.scripts_ran([]);
    }
}

/// The host freezes the guest, copies the image its system lies on, and thaws it. Then the machine is switched off, and started from the copy:
/// another boot, with a record in its state directory that tells of a freeze.
#[track_caller]
fn boots_from_a_backup_of_itself(guest: &mut Guest) {
    guest.host_may(Freeze);
    let copy = guest.stage().scratch("backup.img");
    fs::copy(guest.image("root"), &copy).expect("a copy of the image");
    guest.host_may(Thaw);
    guest.daemon().signal(Signal::SIGTERM);
    assert_eq!(guest.daemon_ends(), Some(0));
    assert_eq!(owed(guest), None, "on the machine that was backed up all is well");

    let output = Command::new("mount")
        .args(["-t", "ext4", "-o", "loop"])
        .arg(&copy)
        .arg(guest.disk("root"))
        .output()
        .expect("mount(8)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let another_boot = guest.stage().scratch("boot_id");
    fs::write(&another_boot, "b00710c0-ffee-4bad-8000-000000000001\n").expect("a file");
    covers(&another_boot, Path::new("/proc/sys/kernel/random/boot_id"));
    owes(guest, &["50-app"], &[]);
}

/// In this test's mount namespace only.
fn covers(file: &Path, what: &Path) {
    let nothing: Option<&str> = None;
    mount(Some(file), what, nothing, MsFlags::MS_BIND, nothing).expect("a bind mount");
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("it is there");
}
