//! Out of descriptors, out of memory: in the daemon and in its plugins' processes, before a cycle and in the middle of one. A backup is refused
//! with a sentence, nothing stays frozen, and all goes on by itself once there is enough again.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers, line, our_driver};

/// Sets a soft limit of a running process, as `prlimit` (util-linux) does: "nofile=3:".
#[track_caller]
fn limit(pid: i32, what: &str) {
    let done = Command::new("prlimit").arg("--pid").arg(pid.to_string()).arg(format!("--{what}")).status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit --{what} of {pid}");
}

/// Nothing more can be opened.
const NO_DESCRIPTORS: &str = "nofile=3:";
const ENOUGH_DESCRIPTORS: &str = "nofile=256:";
/// Nothing more can be had from the kernel; what is free in the heap still can.
const NO_MEMORY: &str = "as=4096:";

/// A whole backup works.
#[track_caller]
fn a_backup_works(guest: &Guest) {
    guest.comes_to_allow_backups();
    guest.host_may(Freeze);
    guest.is_frozen();
    guest.host_may(Thaw);
    guest.runs();
}

both_drivers! {
    fn a_daemon_without_descriptors_refuses_with_a_sentence_and_goes_on_when_it_has_some(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Check);
        limit(guest.daemon().pid(), NO_DESCRIPTORS);
        guest.host_may_not(Check);
        guest.daemon().says(&["CHECK answered FAIL", "Too many open files"]);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["FREEZE answered FAIL", "Too many open files"]);
        guest.runs();
        guest.scripts_ran([]);
        limit(guest.daemon().pid(), ENOUGH_DESCRIPTORS);
        a_backup_works(&guest);
    }

    fn descriptors_that_run_out_in_the_middle_of_a_freeze_fail_it_and_everything_is_let_go(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook_that_waits().start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        limit(guest.daemon().pid(), NO_DESCRIPTORS);
        guest.hook_goes_on();
        guest.fails(freeze);
        guest.daemon().says(&["FREEZE answered FAIL", "Too many open files"]);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        limit(guest.daemon().pid(), ENOUGH_DESCRIPTORS);
        guest.host_may(Check);
    }

    fn descriptors_that_run_out_while_everything_is_held_keep_nothing_frozen(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        limit(guest.daemon().pid(), NO_DESCRIPTORS);
        // What is mounted can't be read from a file, so nobody knows whether the images are whole.
        guest.host_may_not(Thaw);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        limit(guest.daemon().pid(), ENOUGH_DESCRIPTORS);
        a_backup_works(&guest);
    }

    fn a_filesystem_worker_without_descriptors_fails_the_freeze_with_a_sentence(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        let ufs = guest.worker_of("ufs.so");
        limit(ufs, NO_DESCRIPTORS);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["FREEZE answered FAIL", "Too many open files"]);
        guest.runs();
        limit(ufs, ENOUGH_DESCRIPTORS);
        a_backup_works(&guest);
    }

    fn a_worker_of_scripts_without_descriptors_fails_the_freeze_with_a_sentence(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        let hooks = guest.worker_of("exec_hook.so");
        limit(hooks, NO_DESCRIPTORS);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["FREEZE answered FAIL", "Too many open files"]);
        guest.runs();
        guest.scripts_ran([]);
        limit(hooks, ENOUGH_DESCRIPTORS);
        a_backup_works(&guest);
    }

    fn a_thaw_for_which_there_is_no_descriptor_is_tried_again_until_there_is_one(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Freeze);
        let hooks = guest.worker_of("exec_hook.so");
        limit(hooks, NO_DESCRIPTORS);
        let thaw = guest.host_sends(Thaw);
        guest.daemon().says(&["exec_hook", "50-app thaw can't be started yet and is tried again", "Too many open files"]);
        limit(hooks, ENOUGH_DESCRIPTORS);
        guest.succeeds(thaw);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn a_worker_that_can_not_allocate_dies_and_is_one_failed_step(stage: Stage) {
        // So many mounts that the question about them needs memory of its own.
        let stage = stage.limit(std::time::Duration::from_secs(15)).disk("data").table(|table| table.extend((0..1500).map(|at| line("devfs", &format!("/j/{at}/dev")))));
        let guest = stage.start();
        guest.host_may(Check);
        for plugin in ["ufs.so", "zfs_veto.so"] {
            let pid = guest.worker_of(plugin);
            limit(pid, NO_MEMORY);
            guest.host_may_not(Freeze);
            guest.process_is_gone(pid);
            guest.runs();
            a_backup_works(&guest);
        }
    }

    fn a_daemon_that_dies_for_want_of_memory_leaves_nothing_frozen_and_the_scripts_let_go(stage: Stage) {
        let mut guest = stage.disk("data").disk("more").hook("50-app", "").without_a_daemon();
        // A long history: to tell it takes more memory at once than a heap has lying about.
        let mut history = String::new();
        for cycle in 0..400 {
            let sentence = "so it was said ".repeat(140);
            writeln!(
                history,
                r#"{{"version":1,"cycle":"{cycle}","kind":"check","began_ms":1,"budget_ms":1,"result":"ok","sentence":"{sentence}","steps":[],"frozen_ms":null}}"#
            )
            .expect("a String takes all");
        }
        fs::write(guest.stage().home().join("state/history.jsonl"), history).expect("the state directory is there");
        guest.daemon_starts();
        guest.host_may(Freeze);
        guest.is_frozen();
        limit(guest.daemon().pid(), NO_MEMORY);
        assert!(!guest.vssctl(&["history", "-n", "400"]).status.success(), "it died of the answer");
        assert_eq!(guest.daemon_ends(), None, "by a signal");
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.daemon_starts();
        guest.host_may_not(Thaw);
        a_backup_works(&guest);
    }
}

our_driver! {
    fn with_however_few_descriptors_it_starts_or_says_why_not_and_never_hangs(stage: Stage) {
        let mut guest = stage.disk("data").without_writers().without_a_daemon();
        let (mut refused, mut served) = (0, 0);
        for most in [4, 6, 7, 8, 9, 10, 12, 16, 20, 24, 28, 30, 31, 32, 33, 34, 36, 40, 48] {
            guest.daemon_is_started_by(&format!("exec prlimit --nofile={most}:{most} \"$@\""));
            match guest.daemon_gets_ready_or_ends() {
                Some(how) => {
                    assert_ne!(how, Some(0), "with {most} descriptors it ended well");
                    assert!(how.is_some(), "with {most} descriptors it was ended by a signal: {:?}", guest.daemon().log());
                    // The loader's word, where it has not even its libraries.
                    guest.daemon().says(&["hv_vss_daemon"]);
                    refused += 1;
                }
                None => {
                    // Whatever it can do, it answers, and a backup that it calls good is one.
                    let sent = guest.host_sends(Check);
                    let answered = guest.answer_within(sent, std::time::Duration::from_secs(20)).expect("it answers");
                    if answered.answer.is_ok() {
                        served += 1;
                    }
                    guest.daemon().signal(Signal::SIGTERM);
                    assert_eq!(guest.daemon_ends(), Some(0), "with {most} descriptors: {:?}", guest.daemon().log());
                }
            }
            let panicked = guest.daemon().log().into_iter().find(|line| line.contains("panicked"));
            assert_eq!(panicked, None, "with {most} descriptors");
        }
        assert!(refused >= 3 && served >= 1, "{refused} starts were refused, {served} served");
    }

    fn a_dying_daemon_writes_no_core_dump_for_that_could_wait_for_what_it_holds(stage: Stage) {
        let guest = stage.disk("data").without_writers().start();
        let limits = fs::read_to_string(format!("/proc/{}/limits", guest.daemon().pid())).expect("it runs");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line of that name");
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
}
