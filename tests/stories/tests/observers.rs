//! Observers: each is told how cycles ended, once nothing is frozen; and whatever one does or fails to do, no backup is later or another for it.
//!
//! The observer is the worker's own test plugin, told to misbehave.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers, our_driver};

/// How long something that comes by itself may take.
const SOON: Duration = Duration::from_secs(8);

/// The observer, compiled to this place in the plugin directory.
#[track_caller]
fn compiled(stage: &Stage, place: &str) {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let file = stage.home().join("plugins").join(place);
    fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    let status = Command::new("cc")
        .args(["-std=gnu11", "-g", "-shared", "-fPIC", "-pthread", "-DROLES=4", "-DNO_THAW", "-I"])
        .arg(plugins.join("api/include"))
        .arg("-o")
        .arg(&file)
        .arg(plugins.join("worker/tests/plugins/plugin.c"))
        .status()
        .expect("a C compiler, as cc");
    assert!(status.success(), "the observer does not compile");
}

/// A stage with one disk and an observer that does `what` in `call`, and writes down each call.
#[track_caller]
fn with_observer(stage: Stage, call: &str, what: &str) -> Stage {
    compiled(&stage, "mischief.so");
    let settings = settings(&stage, call, what);
    stage.disk("data").configured(&settings)
}

fn settings(stage: &Stage, call: &str, what: &str) -> String {
    let trace = stage.scratch("observed").display().to_string();
    format!("[plugin.mischief]\nin = \"{call}\"\ndo = \"{what}\"\ntrace = \"{trace}\"")
}

fn calls(guest: &Guest) -> Vec<String> {
    let text = fs::read_to_string(guest.stage().scratch("observed")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What `vssctl plugins` says of the observer.
#[track_caller]
fn an_operator_hears_of_it(guest: &Guest) -> String {
    let vssctl = guest.stage().daemon_program().with_file_name("vssctl");
    let output =
        Command::new(vssctl).arg("--config").arg(guest.stage().home().join("hv_vss.toml")).arg("plugins").output();
    let told = String::from_utf8_lossy(&output.expect("vssctl is built").stdout).into_owned();
    told.lines().find(|line| line.contains("mischief")).map(str::to_owned).unwrap_or_default()
}

/// Claims that it was called so by now, or is in a moment, and not otherwise.
#[track_caller]
fn is_called(guest: &Guest, expected: &[&str]) {
    let deadline = Instant::now() + SOON;
    while calls(guest) != expected {
        assert!(Instant::now() < deadline, "called: {:?}, expected: {expected:?}", calls(guest));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A whole backup that works, and whose answers take no longer than without an observer that is in the way.
#[track_caller]
fn a_backup_works(guest: &Guest) {
    guest.host_may(Freeze);
    guest.is_frozen();
    guest.host_may(Thaw);
    guest.runs();
}

both_drivers! {
    fn an_observer_is_told_of_each_check_and_each_backup_once_nothing_is_frozen(stage: Stage) {
        let guest = with_observer(stage, "never", "").start();
        guest.host_may(Check);
        is_called(&guest, &["open -", "ended ok"]);
        guest.host_may(Freeze);
        guest.is_frozen();
        assert_eq!(calls(&guest).len(), 2, "nobody was told anything while frozen");
        guest.host_may(Thaw);
        is_called(&guest, &["open -", "ended ok", "ended ok"]);
        guest.runs();
    }

    fn an_observer_that_is_still_at_work_when_a_freeze_comes_is_killed_before_the_first_suspend(stage: Stage) {
        let guest = with_observer(stage.time("observer_limit", "60s"), "ended", "loop").start();
        guest.host_may(Check);
        is_called(&guest, &["open -", "ended ok"]);
        let observer = guest.worker_of("mischief.so");
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.process_is_gone(observer);
        guest.daemon().says(&["observer mischief is still at work and is killed"]);
        assert_eq!(calls(&guest).len(), 2, "and no other was started while frozen");
        guest.host_may(Thaw);
        guest.runs();
        // It is started again, told of that backup, and in the way of none.
        is_called(&guest, &["open -", "ended ok", "open -", "ended ok"]);
        a_backup_works(&guest);
    }
}

our_driver! {
    fn an_observer_reads_the_record_with_its_sentence_as_json(stage: Stage) {
        let stage = with_observer(stage, "ended", "tell").mounted(hv_vss_stories::line("zfs", "/tank"));
        let guest = stage.without_writers().start();
        guest.host_may_not(Check);
        let said = guest.daemon().says(&["mischief: {", "\"kind\":\"check\"", "\"state\":\"refusing\"", "\"again\":false"]);
        assert!(said.contains("\"result\":\"refused\"") && said.contains("/tank") && said.contains("\"steps\":["), "{said}");
    }

    fn whatever_an_observer_does_wrong_no_check_and_no_freeze_fails(stage: Stage) {
        let mut guest = with_observer(stage.time("observer_limit", "60s"), "ended", "").without_a_daemon();
        let path = guest.stage().home().join("hv_vss.toml");
        let configuration = fs::read_to_string(&path).expect("the configuration");
        for (call, what) in [
            ("ended", "crash"), ("ended", "exit"), ("ended", "refuse"), ("ended", "break"), ("ended", "garbage-code"),
            ("ended", "loop"), ("ended", "flood"), ("ended", "close-descriptors"), ("open", "refuse"), ("open", "crash"), ("open", "loop"),
        ] {
            let changed = configuration.replace("in = \"ended\"\ndo = \"\"", &format!("in = \"{call}\"\ndo = \"{what}\""));
            fs::write(&path, changed).expect("the configuration");
            guest.daemon_starts();
            for _ in 0..2 {
                guest.host_may(Check);
                a_backup_works(&guest);
            }
            guest.daemon().signal(Signal::SIGTERM);
            assert_eq!(guest.daemon_ends(), Some(0), "{what} in {call}");
        }
    }

    fn an_observer_that_hangs_is_killed_at_its_limit_started_again_and_told_of_the_next_cycle(stage: Stage) {
        let stage = stage.time("observer_limit", "300ms");
        let once = format!("\nonce = \"{}\"", stage.scratch("once").display());
        let guest = with_observer(stage, "ended", "loop").configured(&once).start();
        guest.host_may(Check);
        guest.daemon().says(&["observer mischief was killed, since it did not answer in time while it was told of cycle"]);
        // Of what it died of it is not told again.
        is_called(&guest, &["open -", "ended ok", "open -"]);
        guest.host_may(Check);
        is_called(&guest, &["open -", "ended ok", "open -", "ended ok"]);
    }

    fn of_several_cycles_that_pile_up_a_slow_observer_is_told_only_the_latest(stage: Stage) {
        let guest = with_observer(stage, "never", "").start();
        let stopped = guest.worker_gets("mischief.so", Signal::SIGSTOP);
        for _ in 0..4 {
            guest.host_may(Check);
        }
        guest.daemon().says(&["observer mischief was busy and is not told of cycle"]);
        guest.worker_gets("mischief.so", Signal::SIGCONT);
        is_called(&guest, &["open -", "ended ok", "ended ok"]);
        guest.process_is_there(stopped);
    }

    fn an_observer_that_was_started_again_is_told_of_the_latest_cycle_once_more(stage: Stage) {
        let mut guest = with_observer(stage, "ended", "tell").start();
        guest.host_may(Check);
        guest.daemon().says(&["mischief: {", "\"again\":false"]);
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.daemon_starts();
        guest.daemon().says(&["mischief: {", "\"again\":true"]);
    }

    fn the_last_cycle_of_a_daemon_that_is_told_to_stop_is_observed(stage: Stage) {
        let mut guest = with_observer(stage, "never", "").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.runs();
        is_called(&guest, &["open -", "ended ok", "close -"]);
    }

    fn a_plugin_in_the_directory_of_optional_ones_is_on_by_one_line_and_off_without_it(stage: Stage) {
        compiled(&stage, "optional/mischief.so");
        let settings = settings(&stage, "never", "");
        let guest = stage.disk("data").start();
        a_backup_works(&guest);
        assert_eq!(calls(&guest), [""; 0]);

        let path = guest.stage().home().join("hv_vss.toml");
        let without = fs::read_to_string(&path).expect("the configuration");
        fs::write(&path, format!("{without}\n{settings}\nenabled = true\n")).expect("the configuration");
        guest.daemon().signal(Signal::SIGHUP);
        guest.daemon().says(&["the configuration was read again"]);
        // The latest backup is told at once, though it was before its time.
        is_called(&guest, &["open -", "ended ok"]);
        let told = an_operator_hears_of_it(&guest);
        assert!(told.contains("ready") && !told.contains("restarted"), "its first process is no restart: {told}");
        fs::write(&path, without).expect("the configuration");
        let observer = guest.worker_of("mischief.so");
        guest.daemon().signal(Signal::SIGHUP);
        guest.process_is_gone(observer);
        a_backup_works(&guest);
        assert_eq!(calls(&guest).len(), 2);
    }
}
