//! The program itself: how it starts, who may start it twice, what it does when nobody listens or when its parts are replaced.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, Switches, line, our_driver};

fn run(guest: &Guest, arguments: &[&str]) -> Output {
    let mut command = Command::new(guest.stage().daemon_program());
    let configuration = guest.stage().home().join("hv_vss.toml");
    command.args(arguments).arg("--config").arg(configuration).output().expect("the daemon's program is there")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

our_driver! {
    fn a_hangup_reads_the_configuration_again_and_a_wrong_one_changes_nothing(stage: Stage) {
        let guest = stage.disk("data").mounted(line("zfs", "/tank")).start();
        guest.host_may_not(Check);
        let configuration = guest.stage().home().join("hv_vss.toml");
        let before = fs::read_to_string(&configuration).unwrap();
        let exempt = "[[filesystems.exempt]]\ntype = \"zfs\"\nmount = \"/tank\"\nreason = \"kept elsewhere\"\n";
        fs::write(&configuration, format!("{before}\n{exempt}")).unwrap();
        guest.daemon().signal(Signal::SIGHUP);
        guest.daemon().says(&["the configuration was read again"]);
        guest.host_may(Check);

        fs::write(&configuration, "[time]\nlimmit = \"15s\"\n").unwrap();
        guest.daemon().signal(Signal::SIGHUP);
        guest.daemon().says(&["limmit"]);
        guest.daemon().says(&["the configuration stays as it was"]);
        guest.host_may(Check);
    }
}

our_driver! {
    fn a_daemon_that_waits_says_so_once_and_serves_when_the_node_comes_back(stage: Stage) {
        let mut guest = stage.disk("data").start();
        guest.machine(Switches { present: Some(false), ..Switches::default() });
        assert_eq!(guest.daemon_ends(), Some(0));

        // What a supervisor starts again and again would say so each time; this one waits.
        guest.daemon_is_started(["--wait"]);
        guest.daemon().says(&["waiting until it is there"]);
        guest.machine(Switches { present: Some(true), ..Switches::default() });
        guest.daemon().says(&["ready:"]);
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        let said = guest.daemon().log().iter().filter(|line| line.contains("waiting until")).count();
        assert_eq!(said, 1);
    }
}

our_driver! {
    fn started_by_hand_it_goes_into_the_background_once_it_is_ready(stage: Stage) {
        let guest = stage.disk("data").without_a_daemon();
        let output = run(&guest, &[]);
        assert!(output.status.success(), "{}", said(&output));
        guest.host_may(Check);
        let pid = fs::read_to_string(guest.stage().home().join("run/pid")).unwrap();
        let pid: i32 = pid.trim().parse().unwrap();
        guest.process_is_there(pid);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn started_by_hand_it_tells_a_mistake_before_it_goes_into_the_background(stage: Stage) {
        let guest = stage.disk("data").configured("[tiem]").without_writers().without_a_daemon();
        let output = run(&guest, &[]);
        assert!(!output.status.success());
        assert!(said(&output).contains("tiem"), "{}", said(&output));
    }

    fn its_help_names_every_flag(stage: Stage) {
        let guest = stage.without_a_daemon();
        for flag in ["-h", "--help"] {
            let output = Command::new(guest.stage().daemon_program()).arg(flag).output().unwrap();
            assert!(output.status.success());
            for expected in ["-d", "--debug", "-n", "--foreground", "-h", "--help", "--log", "--config"] {
                assert!(said(&output).contains(expected), "{expected} is missing in: {}", said(&output));
            }
        }
    }

    fn a_node_that_another_program_has_open_is_told_so(stage: Stage) {
        let mut guest = stage.disk("data").without_writers().without_a_daemon();
        let mut other = guest.process();
        other.says("open hv_fsvss_dev rw", "fd 3");
        guest.daemon_is_started([]);
        assert_ne!(guest.daemon_ends(), Some(0));
        guest.daemon().says(&["hv_fsvss_dev", "another"]);
    }

    fn a_plugin_file_that_was_replaced_fails_a_freeze_and_is_taken_up_by_the_next_check(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Check);
        let before = guest.worker_of("ufs.so");
        let file = guest.stage().home().join("plugins/ufs.so");
        let new = guest.stage().scratch("ufs.so.new");
        fs::copy(&file, &new).unwrap();
        fs::rename(&new, &file).unwrap();
        guest.host_may_not(Freeze);
        guest.daemon().says(&["ufs", "replaced"]);
        guest.host_may(Check);
        assert_ne!(guest.worker_of("ufs.so"), before);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_log_that_nobody_reads_does_not_stop_it(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", "").without_a_daemon();
        guest.daemon_is_started(["--debug"]);
        guest.daemon().says(&["ready:"]);
        guest.daemon().falls_on_deaf_ears();
        let start = Instant::now();
        for _ in 0..60 {
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.host_may(Thaw);
            if start.elapsed() > Duration::from_secs(8) {
                break;
            }
        }
        guest.runs();
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
    }

    fn a_descriptor_it_inherited_keeps_nothing_from_being_frozen(stage: Stage) {
        let mut guest = stage.disk("data").without_a_daemon();
        // As from a shell with `exec 9>>/data/log`.
        guest.daemon_inherits("data");
        guest.daemon().says(&["ready:"]);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }
}

/// A process's nice value, as the kernel tells it.
#[track_caller]
fn nice(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // "pid (name) state ...": the 19th field, and the name may hold anything.
    let value = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(16));
    value.and_then(|value| value.parse().ok()).expect("it has one")
}

our_driver! {
    fn on_a_busy_machine_the_daemon_and_who_suspends_filesystems_go_first_and_scripts_do_not(stage: Stage) {
        let file = stage.scratch("nice");
        let guest = stage.disk("data").hook("10-app", &format!("nice > {}", file.display())).start();
        assert_eq!([nice(guest.daemon().pid()), nice(guest.worker_of("ufs.so"))], [-20, -20]);
        let script = |guest: &Guest| {
            guest.host_may(Freeze);
            guest.host_may(Thaw);
            assert_eq!(nice(guest.worker_of("exec_hook.so")), 0);
            fs::read_to_string(&file).expect("the script ran").trim().to_owned()
        };
        assert_eq!(script(&guest), "0");

        // Started by a daemon that goes first, it does so no more than before.
        let old = guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.process_is_gone(old);
        guest.comes_to_allow_backups();
        assert_eq!(script(&guest), "0");
    }
}
