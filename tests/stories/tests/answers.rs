//! The table of answers in the design, row by row: what the host hears, and how the guest stands then.

use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Event, Fault, LIMIT, Moment, Signal, Stage, Switches, both_drivers, line, our_driver};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a script does to take its time in one phase, without a program from a disk that may be frozen by then.
const SLOW_FREEZE: &str = "[ $phase = freeze ] && sleep 0.6; exit 0";
const SLOW_THAW: &str = "[ $phase = thaw ] && sleep 1; exit 0";

both_drivers! {
    fn a_check_that_finds_everybody_fit_succeeds_and_changes_nothing(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        let answered = guest.host_may(Check);
        assert_eq!(answered.answer.vss_flags, Some(5), "no auto-recovery needed");
        guest.runs();
        guest.scripts_ran([]);
        assert_eq!(guest.frozen_in_order(), Vec::<String>::new());
    }

    fn a_check_with_a_veto_fails_and_changes_nothing(stage: Stage) {
        let guest = stage.disk("data").mounted(line("zfs", "/tank")).start();
        guest.host_may_not(Check);
        guest.host_may_not(Check);
        guest.runs();
    }

    fn a_check_with_a_plugin_that_cannot_be_used_fails(stage: Stage) {
        let guest = stage.disk("data").file_in_plugins("vendor.so", b"not a plugin").start();
        guest.host_may_not(Check);
        guest.runs();
    }

    fn a_plugin_whose_process_died_while_idle_is_started_anew(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Check);
        for plugin in ["ufs.so", "zfs_veto.so", "exec_hook.so"] {
            let dead = guest.worker_gets(plugin, Signal::SIGKILL);
            guest.process_is_gone(dead);
            guest.comes_to_allow_backups();
            assert_ne!(guest.worker_of(plugin), dead);
        }
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn a_check_with_a_hook_that_would_be_refused_fails(stage: Stage) {
        let guest = stage.disk("data").file_in_hooks_d("50-app", "#!/bin/sh\n", 0o777).start();
        guest.host_may_not(Check);
        guest.runs();
    }

    fn a_check_while_frozen_fails_and_everything_stays_frozen(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.host_may_not(Check);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_freeze_of_which_every_step_holds_succeeds_and_nothing_is_written_until_the_thaw(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Check);
        let frozen = guest.host_may(Freeze);
        guest.is_frozen();
        guest.scripts_ran(["50-app freeze"]);
        let until = hv_vss_platform::clock::now();
        guest.host_may(Thaw);
        guest.stood_still_between(&frozen, until);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw ok"]);
    }

    fn a_freeze_that_a_script_refuses_fails_and_what_was_done_is_undone(stage: Stage) {
        let guest = stage.disk("data").hook("10-good", "").hook("20-bad", "[ $phase != freeze ]").start();
        guest.host_may_not(Freeze);
        guest.runs();
        guest.scripts_ran_with(["10-good freeze ok", "20-bad freeze ok", "20-bad thaw aborted", "10-good thaw aborted"]);
        assert_eq!(guest.frozen_in_order(), Vec::<String>::new(), "the filesystems' turn never came");
    }

    fn a_freeze_whose_filesystem_worker_dies_fails_and_everything_is_let_go(stage: Stage) {
        let guest = stage.disk("data").disk("more").start();
        guest.goes_wrong("data", Moment::Suspend, Fault::DelayMs(500));
        let sent = guest.host_sends(Freeze);
        guest.comes_to_hold(1);
        guest.worker_gets("ufs.so", Signal::SIGKILL);
        guest.fails(sent);
        guest.runs();
        guest.goes_right("data", Moment::Suspend);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
    }

    fn a_freeze_that_runs_out_of_time_fails_within_the_drivers_limit(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 60; exit 0").start();
        let answered = guest.host_may_not(Freeze);
        assert!(answered.took < LIMIT - MS(100), "answered by ourselves, not by the driver: {:?}", answered.took);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
    }

    fn a_freeze_while_frozen_fails_and_everything_stays_frozen(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.host_may_not(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn a_thaw_of_a_filesystem_that_is_not_released_in_time_fails_and_the_rest_is_let_go(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.goes_wrong("data", Moment::Resume, Fault::DelayMs(4000));
        guest.host_may_not(Thaw);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.host_may(Check);
    }

    /// As a UFS with many cached vnodes is, whose writers stand still until the end of its resume.
    fn a_filesystem_that_is_released_slowly_is_waited_for_while_the_host_waits(stage: Stage) {
        let guest = stage.disk("data").time("thaw_answer_after", "300ms").hook("50-app", "").start();
        guest.host_may(Freeze);
        let ufs = guest.worker_of("ufs.so");
        guest.goes_wrong("data", Moment::Resume, Fault::DelayMs(1200));
        let answered = guest.host_may(Thaw);
        assert!(answered.took > MS(1100), "it was answered while the disk was frozen, after {:?}", answered.took);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        assert_eq!(guest.worker_of("ufs.so"), ufs, "who is only slow is not killed");
    }

    fn a_slow_application_does_not_change_the_answer_to_the_thaw(stage: Stage) {
        let guest = stage.disk("data").time("thaw_answer_after", "300ms").hook("50-app", SLOW_THAW).start();
        guest.host_may(Freeze);
        let answered = guest.host_may(Thaw);
        assert!(answered.took < MS(900), "the script takes a second, the host waited {:?}", answered.took);
        guest.runs();
    }

    fn a_thaw_while_idle_succeeds_once_a_backup_is_over(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.host_may(Thaw);
        guest.host_may(Check);
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_thaw_after_a_freeze_that_failed_succeeds(stage: Stage) {
        let guest = stage.disk("data").mounted(line("zfs", "/tank")).start();
        guest.host_may_not(Freeze);
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_thaw_after_the_watchdog_fails_each_time_until_the_next_freeze(stage: Stage) {
        let guest = stage.disk("data").time("max_frozen", "700ms").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw expired"]);
        guest.host_may_not(Thaw);
        guest.host_may_not(Thaw);
        guest.host_may(Check);
        guest.host_may_not(Thaw);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
    }

    fn a_thaw_after_an_operators_signal_fails(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.daemon().signal(Signal::SIGUSR1);
        guest.runs();
        guest.host_may_not(Thaw);
        guest.host_may(Check);
    }

    fn a_thaw_after_a_filesystem_host_died_fails_and_all_was_let_go_at_once(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.worker_gets("ufs.so", Signal::SIGKILL);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.host_may_not(Thaw);
        guest.host_may(Check);
    }

    fn a_thaw_after_an_applications_host_died_fails_and_all_was_let_go_at_once(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.worker_gets("exec_hook.so", Signal::SIGKILL);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.host_may_not(Thaw);
    }

    fn a_thaw_after_the_hosts_let_go_of_a_stopped_daemon_fails(stage: Stage) {
        let guest = stage.disk("data").limit(MS(1500)).time("max_frozen", "500ms").start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGSTOP);
        // READ + limit + max_frozen: the hosts need nobody to tell them.
        guest.runs();
        guest.daemon().signal(Signal::SIGCONT);
        guest.host_may_not(Thaw);
        guest.runs();
    }

    fn a_thaw_before_any_freeze_fails_for_an_earlier_daemon_may_have_died(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may_not(Thaw);
        // What the earlier one may have frozen is no better for a CHECK of what is to come.
        guest.host_may(Check);
        guest.host_may_not(Thaw);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
    }

    fn a_check_while_releasing_waits_for_its_turn(stage: Stage) {
        let guest = stage.disk("data").time("thaw_answer_after", "200ms").hook("50-app", SLOW_THAW).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let answered = guest.host_may(Check);
        assert!(answered.took > MS(300), "it had to wait for the script: {:?}", answered.took);
    }

    fn a_check_while_releasing_fails_when_its_turn_does_not_come_in_time(stage: Stage) {
        let stage = stage.disk("data").limit(MS(2500)).time("thaw_answer_after", "200ms");
        let guest = stage.hook("50-app", "[ $phase = thaw ] && sleep 4; exit 0").start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let answered = guest.host_may_not(Check);
        assert!(answered.took < MS(2400), "by ourselves: {:?}", answered.took);
        guest.runs();
    }

    fn a_termination_while_frozen_lets_everything_go_and_ends_well(stage: Stage) {
        let mut guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn a_termination_while_freezing_answers_fail_and_lets_everything_go(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", SLOW_FREEZE).start();
        let sent = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.daemon().signal(Signal::SIGTERM);
        guest.fails(sent);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
    }

    fn an_operation_the_daemon_does_not_know_is_answered_with_failure(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.machine(Switches { opt: Some(9), ..Switches::default() });
        let answered = guest.host_may_not(Check);
        assert!(answered.took < LIMIT - MS(100), "by ourselves: {:?}", answered.took);
        guest.machine(Switches { opt: Some(0), ..Switches::default() });
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.machine(Switches { opt: Some(9), ..Switches::default() });
        guest.host_may_not(Check);
        guest.is_frozen();
        guest.machine(Switches { opt: Some(0), ..Switches::default() });
        guest.host_may(Thaw);
        guest.runs();
    }
}

our_driver! {
    fn a_thaw_during_a_freeze_fails_the_freeze_and_lets_everything_go(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", SLOW_FREEZE).start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        let thaw = guest.host_sends(Thaw);
        guest.fails(freeze);
        guest.succeeds(thaw);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
    }

    fn a_thaw_during_a_check_fails_the_check_and_succeeds(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.worker_gets("ufs.so", Signal::SIGSTOP);
        let check = guest.host_sends(Check);
        let thaw = guest.host_sends(Thaw);
        guest.fails(check);
        guest.worker_gets("ufs.so", Signal::SIGCONT);
        guest.succeeds(thaw);
        guest.runs();
    }

    fn a_check_or_freeze_during_a_freeze_fails_and_the_freeze_goes_on(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", SLOW_FREEZE).start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.succeeds(freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_node_that_goes_away_lets_everything_go_and_ends_the_daemon_well(stage: Stage) {
        let mut guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.machine(Switches { present: Some(false), ..Switches::default() });
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }
}

both_drivers! {
    fn no_answer_is_given_twice_and_none_too_fast_for_the_driver(stage: Stage) {
        let guest = stage.disk("data").limit(MS(1500)).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        // Nothing to do but to say so: the fastest answer there is.
        for _ in 0..5 {
            guest.host_may(Thaw);
        }
        // A stray timer of the in-base driver would stop the simulated kernel by now.
        std::thread::sleep(MS(1600));
        guest.host_may(Check);
        let wire = guest.host().log().unwrap();
        let late = |event: &Event| matches!(event, Event::Note { text } if text.contains("nobody waits"));
        assert!(!wire.iter().any(|entry| late(&entry.event)));
        let answers = wire.iter().filter(|entry| matches!(entry.event, Event::ToHost { .. })).count();
        assert_eq!(answers, 8);
    }
}
