//! The kernel's wall clock, from which a request's id is taken, is an hour off: in each state the host hears what it would have heard anyway,
//! and in time. The machine's own clock is left alone: the simulated driver's is shifted. What a jump of the daemon's clocks does at every other
//! place, the engine's own tests enumerate (orchestrator/daemon/src/engine/tests/jumps.rs).

use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, LIMIT, Stage, Switches, both_drivers, our_driver};

const HOUR_MS: i64 = 3_600_000;

/// From now on the kernel's clock is so far ahead of the daemon's.
fn the_kernels_clock_is_off_by(guest: &Guest, ms: i64) {
    guest.machine(Switches { clock_shift_ms: Some(ms), ..Switches::default() });
}

both_drivers! {
    fn a_clock_an_hour_off_changes_no_answer_while_idle_frozen_and_releasing(stage: Stage) {
        // Of an age that can't be true, a request is planned with half of the limit; a CHECK that waits for the script needs some of it.
        let stage = stage.limit(Duration::from_secs(8)).time("thaw_answer_after", "400ms");
        let guest = stage.disk("data").hook("50-app", "[ $phase = thaw ] && sleep 0.5; exit 0").start();
        for (at_check, at_freeze, at_thaw) in
            [(HOUR_MS, 0, 0), (-HOUR_MS, 0, 0), (0, HOUR_MS, -HOUR_MS), (0, -HOUR_MS, HOUR_MS), (HOUR_MS, HOUR_MS, HOUR_MS)]
        {
            the_kernels_clock_is_off_by(&guest, at_check);
            guest.host_may(Check);
            the_kernels_clock_is_off_by(&guest, at_freeze);
            guest.host_may(Freeze);
            guest.is_frozen();
            the_kernels_clock_is_off_by(&guest, at_thaw);
            guest.host_may_not(Check);
            guest.is_frozen();
            guest.host_may(Thaw);
            // Releasing, until the script ends: this one waits its turn.
            guest.host_may(Check);
            guest.runs();
        }
        the_kernels_clock_is_off_by(&guest, 0);
        guest.host_may(Check);
    }

    fn a_freeze_of_unknown_age_that_takes_too_long_is_still_answered_before_the_driver_gives_up(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 60; exit 0").start();
        for ms in [HOUR_MS, -HOUR_MS] {
            the_kernels_clock_is_off_by(&guest, ms);
            let answered = guest.host_may_not(Freeze);
            assert!(answered.took < LIMIT - Duration::from_millis(100), "by ourselves: {:?}", answered.took);
            guest.runs();
            guest.comes_to_allow_backups();
        }
    }
}

our_driver! {
    fn a_clock_an_hour_off_changes_no_answer_while_freezing(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 0.6; exit 0").start();
        for ms in [HOUR_MS, -HOUR_MS] {
            the_kernels_clock_is_off_by(&guest, 0);
            let runs = guest.script_lines().len();
            let freeze = guest.host_sends(Freeze);
            guest.more_scripts_than(runs);
            the_kernels_clock_is_off_by(&guest, ms);
            guest.host_may_not(Check);
            let thaw = guest.host_sends(Thaw);
            guest.fails(freeze);
            guest.succeeds(thaw);
            guest.runs();
        }
    }
}
