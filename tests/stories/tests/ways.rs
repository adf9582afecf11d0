//! Both ways of freezing, beside either driver: the same backups, the same refusals.

use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Fault, Moment, Signal, Stage, four_ways, our_driver};

const MS: fn(u64) -> Duration = Duration::from_millis;

four_ways! {
    fn a_backup_of_several_disks_holds_all_and_lets_all_go(stage: Stage) {
        let guest = stage.disk("one").disk("two").disk("three").start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn two_backups_in_a_row_are_as_good_as_one(stage: Stage) {
        let guest = stage.disk("data").start();
        for _ in 0..2 {
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may(Thaw);
            guest.runs();
        }
    }

    fn an_image_is_held_before_what_it_lies_on(stage: Stage) {
        let guest = stage.disk("outer").disk_on_an_image_in("outer", "image").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(guest.frozen_in_order(), ["image", "outer"]);
        assert_eq!(guest.thawed_in_order(), ["image", "outer"]);
    }

    fn a_disk_that_fails_to_freeze_fails_all_and_holds_nothing(stage: Stage) {
        let guest = stage.disk("one").disk("two").start();
        guest.goes_wrong("two", Moment::Suspend, Fault::Errno(5));
        guest.host_may_not(Freeze);
        guest.runs();
        guest.goes_right("two", Moment::Suspend);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
    }

    fn a_worker_that_dies_while_frozen_makes_the_thaw_fail(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.worker_gets("ufs.so", Signal::SIGKILL);
        guest.host_may_not(Thaw);
        guest.runs();
    }

    fn a_disk_that_takes_a_while_is_waited_for(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.goes_wrong("data", Moment::Suspend, Fault::DelayMs(300));
        let answered = guest.host_may(Freeze);
        assert!(answered.took >= MS(300), "{:?}", answered.took);
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_host_that_never_thaws_is_not_waited_for(stage: Stage) {
        let guest = stage.disk("data").time("max_frozen", "700ms").start();
        guest.host_may(Freeze);
        guest.runs();
        guest.host_may_not(Thaw);
    }

    fn a_daemon_that_is_killed_leaves_nothing_frozen(stage: Stage) {
        let guest = stage.disk("data").disk("more").start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGKILL);
        guest.runs();
    }
}

our_driver! {
    fn a_hold_that_the_kernel_ended_makes_the_thaw_fail(stage: Stage) {
        let guest = stage.disk("data").disk("more").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host().expire(guest.stage().table_line("data").fsid).expect("the machine is there");
        guest.comes_to_hold(1);
        guest.host_may_not(Thaw);
        guest.runs();
        guest.daemon().says(&["data", "time limit"]);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
    }

    fn a_hold_that_hangs_in_the_kernel_is_given_up_and_holds_up_no_other(stage: Stage) {
        let guest = stage.disk("one").disk("two").start();
        guest.goes_wrong("one", Moment::Suspend, Fault::Hang);
        guest.host_may_not(Freeze);
        guest.goes_right("one", Moment::Suspend);
        guest.runs();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
    }
}
