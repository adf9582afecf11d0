//! A thaw that could not be run is owed until it has run, or until an operator writes it off: whatever was short, whatever was removed, and whoever died.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers, our_driver};

const SOON: Duration = Duration::from_secs(8);

fn hook(guest: &Guest, name: &str) -> PathBuf {
    guest.stage().home().join("hooks.d").join(name)
}

fn record(guest: &Guest) -> PathBuf {
    guest.stage().home().join("state/owed-exec_hook.json")
}

#[track_caller]
fn comes_true(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < deadline, "this did not come true: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn descriptors(pid: i32, most: u64) {
    let (pid, limit) = (pid.to_string(), format!("--nofile={most}:"));
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit(1)").success());
}

fn status(guest: &Guest) -> (Option<i32>, String) {
    let output = guest.vssctl(&["status"]);
    let words = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code(), words)
}

both_drivers! {
    fn a_hook_that_is_removed_in_the_hold_is_owed_until_it_is_back(stage: Stage) {
        let guest = stage.disk("data").hook("10-a", "").hook("20-b", "").start();
        guest.host_may(Freeze);
        let (file, away) = (hook(&guest, "10-a"), guest.stage().scratch("away"));
        fs::rename(&file, &away).unwrap();
        guest.host_sends(Thaw);
        guest.runs();
        guest.daemon().says(&["plugin exec_hook still owes the thaw of 10-a", "put it back", "vssctl forgive exec_hook"]);
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        let (code, said) = status(&guest);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("Owed exec_hook (10-a)") && said.contains("vssctl forgive exec_hook writes it off"), "{said}");
        assert!(record(&guest).exists(), "it would outlive the daemon, too");

        fs::rename(&away, &file).unwrap();
        guest.scripts_ran(["10-a freeze", "20-b freeze", "20-b thaw", "10-a thaw"]);
        guest.comes_to_allow_backups();
        comes_true("the record is gone", || !record(&guest).exists());
    }

    fn a_worker_that_is_killed_in_the_hold_while_none_can_be_started_is_made_up_for(stage: Stage) {
        let guest = stage.disk("data").hook("10-a", "").hook("20-b", "").start();
        guest.host_may(Freeze);
        let daemon = guest.daemon().pid();
        // No socket for another worker is to be had.
        descriptors(daemon, 8);
        let worker = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.process_is_gone(worker);
        guest.runs();
        guest.daemon().says(&["plugin exec_hook still owes the thaw of 10-a, 20-b"]);
        thread::sleep(Duration::from_millis(400));
        descriptors(daemon, 1024);
        guest.host_may_not(Thaw);
        guest.scripts_ran(["10-a freeze", "20-b freeze", "20-b thaw", "10-a thaw"]);
        guest.comes_to_allow_backups();
    }

    fn a_new_worker_that_is_killed_while_it_makes_up_for_a_dead_daemon_is_not_the_end_of_it(stage: Stage) {
        let once = stage.scratch("once");
        let slow = format!("[ $phase = thaw ] && [ ! -e {0} ] && {{ : > {0}; sleep 30; }}; exit 0", once.display());
        let mut guest = stage.disk("data").hook("10-a", &slow).start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGSTOP);
        let worker = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.daemon_is_killed();
        guest.process_is_gone(worker);
        guest.daemon_starts();
        guest.script_starts("10-a thaw");
        let worker = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.process_is_gone(worker);
        guest.scripts_ran_with(["10-a freeze ok", "10-a thaw recovered", "10-a thaw recovered"]);
        guest.comes_to_allow_backups();
        assert!(!record(&guest).exists());
    }
}

both_drivers! {
    fn what_a_script_has_started_is_ended_with_its_worker(stage: Stage) {
        let (up, late) = (stage.scratch("up"), stage.scratch("late"));
        // Of another user, whom no signal of its parent's death reaches, and away from the script. What it writes to was opened before.
        let child = "echo up >&4; sleep 1.5; echo late >&3";
        let away = format!("setsid setpriv --reuid 65534 sh -c '{child}' 3>>{} 4>>{} &", late.display(), up.display());
        let body = format!("[ $phase = thaw ] || {{ {away} sleep 30; }}");
        let guest = stage.disk("data").hook("10-a", &body).start();
        guest.host_sends(Freeze);
        comes_true("the script's child is up", || fs::read(&up).is_ok_and(|said| !said.is_empty()));
        let worker = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.process_is_gone(worker);
        guest.scripts_ran(["10-a freeze", "10-a thaw"]);
        guest.daemon().says(&["plugin exec_hook:", "that 10-a had started", "killed"]);
        thread::sleep(Duration::from_millis(2000));
        assert_eq!(fs::read(&late).unwrap(), b"", "it went on behind the daemon's back");
        guest.comes_to_allow_backups();
    }

    fn a_service_that_an_earlier_thaw_has_started_outlives_the_worker(stage: Stage) {
        let pid = stage.scratch("pid");
        let body = format!("[ $phase = freeze ] || [ -s {0} ] || {{ sleep 600 >/dev/null 2>&1 & echo $! >{0}; }}", pid.display());
        let guest = stage.disk("data").hook("10-svc", &body).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.comes_to_allow_backups();
        let service: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        guest.host_may(Freeze);
        let worker = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.process_is_gone(worker);
        guest.host_may_not(Thaw);
        guest.scripts_ran(["10-svc freeze", "10-svc thaw", "10-svc freeze", "10-svc thaw"]);
        guest.process_is_there(service);
        guest.comes_to_allow_backups();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(service), Signal::SIGKILL).unwrap();
        // The daemon is its parent now, and reaps it.
        guest.process_is_gone(service);
    }
}

our_driver! {
    fn a_debt_that_an_operator_writes_off_is_not_tried_again(stage: Stage) {
        let guest = stage.disk("data").hook("10-a", "").start();
        guest.host_may(Freeze);
        let (file, away) = (hook(&guest, "10-a"), guest.stage().scratch("away"));
        fs::rename(&file, &away).unwrap();
        guest.host_sends(Thaw);
        guest.daemon().says(&["plugin exec_hook still owes the thaw of 10-a"]);
        assert!(!guest.vssctl(&["forgive", "ufs"]).status.success(), "that one owes nothing");
        comes_true("it is written off", || guest.vssctl(&["forgive", "exec_hook"]).status.success());
        guest.daemon().says(&["an operator has written off what plugin exec_hook still owed (10-a)"]);
        guest.comes_to_allow_backups();
        fs::rename(&away, &file).unwrap();
        thread::sleep(Duration::from_millis(1500));
        guest.scripts_ran(["10-a freeze"]);
        assert!(!record(&guest).exists());
    }

    fn what_a_plugin_owes_that_is_not_required_refuses_nothing(stage: Stage) {
        let guest = stage.disk("data").exec_hook("required = false").hook("10-a", "").start();
        guest.host_may(Freeze);
        let (file, away) = (hook(&guest, "10-a"), guest.stage().scratch("away"));
        fs::rename(&file, &away).unwrap();
        guest.host_sends(Thaw);
        guest.daemon().says(&["plugin exec_hook still owes the thaw of 10-a"]);
        guest.comes_to_allow_backups();
        assert!(status(&guest).1.contains("Owed exec_hook (10-a)"));
        fs::rename(&away, &file).unwrap();
        guest.scripts_ran(["10-a freeze", "10-a thaw"]);
    }
}
