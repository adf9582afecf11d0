//! The operator's signals, in every state: SIGUSR1 thaws and goes on, SIGTERM and SIGINT let everything go and end.

use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Fault, Guest, Moment, Signal, Stage, both_drivers, our_driver};

const MS: fn(u64) -> Duration = Duration::from_millis;

const SLOW_FREEZE: &str = "[ $phase = freeze ] && sleep 1; exit 0";
const SLOW_THAW: &str = "[ $phase = thaw ] && sleep 1; exit 0";

#[track_caller]
fn ends_well(guest: &mut Guest) {
    assert_eq!(guest.daemon_ends(), Some(0));
    guest.runs();
}

both_drivers! {
    fn while_idle_the_operators_thaw_changes_nothing(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.daemon().signal(Signal::SIGUSR1);
        // A signal may be late: once it is logged it has been heard, and what comes next is not of its making.
        guest.daemon().says(&["operator", "idle"]);
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn while_freezing_the_operators_thaw_fails_the_freeze_and_lets_everything_go(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", SLOW_FREEZE).start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.daemon().signal(Signal::SIGUSR1);
        let answered = guest.fails(freeze);
        assert!(answered.took < MS(900), "at once: {:?}", answered.took);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        guest.host_may(Check);
    }

    fn while_frozen_the_operators_thaw_lets_everything_go_and_the_daemon_goes_on(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.daemon().signal(Signal::SIGUSR1);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.host_may_not(Thaw);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
    }

    fn while_releasing_the_operators_thaw_changes_nothing(stage: Stage) {
        let guest = stage.disk("data").time("thaw_answer_after", "200ms").hook("50-app", SLOW_THAW).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.daemon().signal(Signal::SIGUSR1);
        guest.daemon().says(&["operator", "releasing"]);
        guest.host_may(Check);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn while_idle_a_termination_just_ends(stage: Stage) {
        let mut guest = stage.disk("data").start();
        guest.daemon().signal(Signal::SIGTERM);
        ends_well(&mut guest);
    }

    fn while_checking_a_termination_answers_fail_and_ends(stage: Stage) {
        let mut guest = stage.disk("data").start();
        guest.host_may(Check);
        let stopped = guest.worker_gets("zfs_veto.so", Signal::SIGSTOP);
        let check = guest.host_sends(Check);
        guest.daemon().signal(Signal::SIGTERM);
        guest.fails(check);
        ends_well(&mut guest);
        guest.process_is_gone(stopped);
    }

    fn while_releasing_a_termination_waits_for_the_thaw_hooks(stage: Stage) {
        let done = stage.scratch("done");
        let body = format!("[ $phase = thaw ] && {{ sleep 1; : > {}; }}; exit 0", done.display());
        let mut guest = stage.disk("data").time("thaw_answer_after", "200ms").hook("50-app", &body).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.daemon().signal(Signal::SIGTERM);
        ends_well(&mut guest);
        assert!(done.exists(), "it did not wait for the script");
    }

    fn a_second_termination_changes_nothing(stage: Stage) {
        let mut guest = stage.disk("data").disk("more").hook("50-app", SLOW_THAW).start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGTERM);
        guest.script_starts("50-app thaw");
        guest.daemon().signal(Signal::SIGTERM);
        ends_well(&mut guest);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn a_daemon_that_was_stopped_beyond_the_drivers_limit_lets_go_of_what_it_froze_too_late(stage: Stage) {
        let guest = stage.disk("data").limit(MS(2000)).hook("50-app", "[ $phase = freeze ] && sleep 0.3; exit 0").start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.daemon().signal(Signal::SIGSTOP);
        let answered = guest.fails(freeze);
        assert!(answered.took >= MS(2000), "by the driver: {:?}", answered.took);
        guest.daemon().signal(Signal::SIGCONT);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        guest.host_may(Check);
    }
}

our_driver! {
    fn while_a_suspend_hangs_in_the_kernel_everything_else_is_told_so_until_it_comes_back(stage: Stage) {
        // By UFSSUSPEND: a hold of vfsfreeze can be let go while it hangs.
        let guest = stage.with_ufssuspend().disk("one").disk("two").limit(MS(2500)).start();
        guest.goes_wrong("one", Moment::Suspend, Fault::Hang);
        guest.host_may_not(Freeze);
        // Its resume waits for the lock that the other one hangs with.
        guest.comes_to_hold(1);
        let answered = guest.host_may_not(Check);
        assert!(answered.took < MS(2400), "by ourselves: {:?}", answered.took);
        guest.goes_right("one", Moment::Suspend);
        guest.runs();
        // Only now: nothing is logged while something may be frozen.
        guest.daemon().says(&["CHECK", "FAIL", "not yet released", &guest.disk("two").to_string_lossy()]);
        guest.host_may(Check);
    }

    fn a_killed_daemons_successor_knows_that_something_went_wrong_before_it(stage: Stage) {
        let mut guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Freeze);
        guest.daemon_is_killed();
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.daemon_starts();
        guest.host_may_not(Thaw);
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
    }
}
