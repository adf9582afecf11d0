//! The rc.d script, under stand-ins for rc.subr, service(8) and daemon(8).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hv_vss_packaging::{FreeBsd, eventually};
use nix::sys::signal::Signal;

fn enabled() -> FreeBsd {
    FreeBsd::with("hv_vss_enable=YES\n")
}

#[test]
fn start_runs_the_daemon_under_its_supervisor_and_stop_ends_both() {
    let machine = enabled();
    assert_eq!(machine.service("start").well(), "Starting hv_vss.\n");
    let daemon = machine.runs();
    let status = machine.service("status").well();
    let supervisor = machine.supervisor().unwrap();
    assert_eq!(status, format!("hv_vss is running as pid {daemon}, supervised by pid {supervisor}.\n"));

    machine.service("stop").well();
    assert_eq!(machine.processes("daemon"), []);
    assert_eq!(machine.processes("hv_vss_daemon"), []);
    assert_eq!(machine.service("status").badly(), "hv_vss is not running.\n");
}

#[test]
fn without_a_node_start_refuses_with_a_sentence() {
    let machine = enabled();
    machine.goes();
    for said in [machine.service("start").badly(), machine.service("quietstart").badly(), machine.boots().badly()] {
        assert!(said.contains("hv_vss: not started: there is no ") && said.contains("/dev/hv_fsvss_dev"), "{said}");
        assert!(said.contains("Integration Services"), "what to do is said: {said}");
    }
    assert_eq!(machine.log(), "");
}

#[test]
fn freebsds_own_daemon_is_named_and_left_alone() {
    let machine = FreeBsd::with("");
    machine.acts("service hv_vss quietstart").well();
    machine.hears("runs: ");
    // The shell that is to become its sleep looks like another one for a moment.
    eventually("it is alone", || machine.processes("hv_vss_daemon").len() == 1);
    let [base] = machine.processes("hv_vss_daemon")[..] else { panic!("one daemon") };

    let said = machine.service("onestart").badly();
    assert!(said.contains(&format!("end it with 'kill {base}', then start hv_vss again")), "{said}");
    assert_eq!(machine.processes("hv_vss_daemon"), [base]);

    machine.signal(base, Signal::SIGTERM);
    eventually("it is gone", || machine.processes("hv_vss_daemon").is_empty());
    machine.service("onestart").well();
    machine.runs();
}

#[test]
fn a_process_of_somebody_elses_that_took_its_name_hinders_nothing() {
    hv_vss_testbed::needs!(Root);
    let machine = enabled();
    for open in ["", "home"] {
        fs::create_dir_all(machine.path(open)).expect("a directory");
        fs::set_permissions(machine.path(open), Permissions::from_mode(0o755)).expect("a mode");
    }
    let impostor = machine.path("home/hv_vss_daemon");
    fs::write(&impostor, "#!/bin/sh\necho here\nwhile read -r line; do :; done\n").expect("a script");
    fs::set_permissions(&impostor, Permissions::from_mode(0o755)).expect("a mode");
    // It ends with its input.
    let mut other = Command::new(&impostor)
        .uid(65_534)
        .gid(65_534)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nobody can run it");
    let mut here = [0; 5];
    other.stdout.take().expect("its output").read_exact(&mut here).expect("it runs");
    machine.service("start").well();
    machine.runs();
    assert!(other.try_wait().expect("a child").is_none(), "it was there all the time");
    machine.service("stop").well();
    drop(other.stdin.take());
    other.wait().expect("its end");
}

#[test]
fn started_twice_there_is_still_one_daemon() {
    let machine = enabled();
    machine.service("start").well();
    machine.runs();
    let said = machine.service("start").badly();
    assert!(said.contains("already running?"), "{said}");
    assert_eq!(machine.service("quietstart").badly(), "");
    assert_eq!(machine.log().matches("runs: ").count(), 1);
}

#[test]
fn while_booting_it_is_no_error_that_devd_was_faster() {
    let machine = enabled();
    machine.acts("service hv_vss quietstart").well();
    machine.runs();
    assert_eq!(machine.boots().well(), "");
    assert_eq!(machine.log().matches("runs: ").count(), 1);
}

#[test]
fn a_daemon_that_dies_is_started_again() {
    let machine = enabled();
    machine.service("start").well();
    let first = machine.runs();
    machine.signal(first, Signal::SIGKILL);
    eventually("another one runs", || machine.log().matches("runs: ").count() == 2);
    assert_ne!(machine.runs(), first);

    // As FreeBSD's devd rule would do it.
    machine.acts("pkill -j none -u root -x hv_vss_daemon").well();
    eventually("a third one runs", || machine.log().matches("runs: ").count() == 3);
    machine.service("stop").well();
    assert_eq!(machine.processes("hv_vss_daemon"), []);
}

#[test]
fn a_stop_in_the_second_in_which_daemon8_is_deaf_ends_all_the_same() {
    let machine = enabled();
    machine.write("deaf", "1");
    machine.service("start").well();
    let daemon = machine.runs();
    machine.signal(daemon, Signal::SIGKILL);
    eventually("it is dead", || machine.processes("hv_vss_daemon").is_empty());
    let began = Instant::now();
    machine.service("stop").well();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(machine.processes("daemon"), []);
    assert_eq!(machine.processes("hv_vss_daemon"), []);
}

#[test]
fn a_supervisor_that_never_ends_is_killed_at_the_limit() {
    let machine = enabled();
    machine.write("deaf", "6");
    machine.limits_stops_to(1);
    machine.service("start").well();
    let daemon = machine.runs();
    machine.signal(daemon, Signal::SIGKILL);
    eventually("it is dead", || machine.processes("hv_vss_daemon").is_empty());
    let said = machine.service("stop").well();
    assert!(said.contains("has not ended within 1 s: it is killed"), "{said}");
    assert_eq!(machine.processes("daemon"), []);
}

#[test]
fn stop_waits_until_the_daemon_has_let_go_of_everything() {
    let machine = enabled();
    machine.service("start").well();
    machine.runs();
    machine.write("slow", "");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| machine.service("stop").well());
        machine.hears("told to end\n");
        eventually("the supervisor is gone", || machine.supervisor().is_none());
        assert!(!stopping.is_finished(), "the daemon still holds something");
        fs::remove_file(machine.path("slow")).unwrap();
        stopping.join().unwrap();
    });
    assert!(machine.log().ends_with("ends\n"));
}

#[test]
fn restart_gives_a_new_daemon_and_a_new_supervisor() {
    let machine = enabled();
    machine.service("start").well();
    let (daemon, supervisor) = (machine.runs(), machine.supervisor());
    machine.service("restart").well();
    assert_ne!(machine.runs(), daemon);
    assert_ne!(machine.supervisor(), supervisor);
    assert_eq!(machine.processes("daemon").len(), 1);
}

#[test]
fn reload_reaches_the_daemon_and_not_the_supervisor() {
    let machine = enabled();
    machine.service("start").well();
    let daemon = machine.runs();
    machine.service("reload").well();
    machine.hears("reads its configuration\n");
    assert_eq!(machine.runs(), daemon);
}

#[test]
fn a_configuration_with_an_error_is_neither_started_with_nor_loaded() {
    let machine = enabled();
    machine.service("start").well();
    machine.runs();
    machine.write("usr/local/etc/hv_vss/hv_vss.toml", "mistake\n");
    let said = machine.service("reload").badly();
    assert!(said.contains("line 1: mistake") && said.contains("what was read before stays in force"), "{said}");
    assert!(!machine.log().contains("reads its configuration"));

    machine.service("stop").well();
    let said = machine.service("start").badly();
    assert!(said.contains("line 1: mistake") && said.contains("then start hv_vss again"), "{said}");
    assert_eq!(machine.processes("hv_vss_daemon"), []);
}

#[test]
fn reload_of_nothing_says_so() {
    let machine = enabled();
    let said = machine.service("reload").badly();
    assert!(said.contains("not reloaded: hv_vss_daemon is not running"), "{said}");
}

#[test]
fn flags_and_configuration_reach_the_daemon_and_not_its_supervisor() {
    let machine = FreeBsd::with("hv_vss_enable=YES\nhv_vss_flags=-d\nhv_vss_config=/etc/other.toml\n");
    machine.service("start").well();
    machine.hears("runs: -n --wait --log syslog --config /etc/other.toml -d in /\n");
}

#[test]
fn a_daemon_that_waits_for_its_node_shows_in_the_status_and_is_stopped() {
    let machine = enabled();
    machine.service("start").well();
    let daemon = machine.runs();
    machine.goes();
    machine.signal(daemon, Signal::SIGTERM);
    machine.hears("waits for the node\n");
    let said = machine.service("status").badly();
    assert!(said.contains("and hv_vss_daemon waits for "), "{said}");
    assert_eq!(machine.log().matches("waits for the node\n").count(), 1, "it is said once");
    machine.service("quietstop").well();
    assert_eq!(machine.processes("daemon"), []);
    eventually("the one that waits ends, too", || machine.processes("hv_vss_daemon").is_empty());
}

#[test]
fn a_daemon_that_does_not_stay_up_shows_in_the_status() {
    let machine = enabled();
    machine.write("broken", "");
    machine.service("start").well();
    machine.hears("breaks\n");
    let said = machine.service("status").badly();
    assert!(said.contains("does not stay up: see the log"), "{said}");
    machine.service("stop").well();
    assert_eq!(machine.processes("daemon"), []);
}

#[test]
fn what_it_does_not_know_it_refuses() {
    assert!(enabled().service("strat").badly().contains("unknown directive"));
}
