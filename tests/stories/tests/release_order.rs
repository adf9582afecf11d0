//! Filesystems are released inner first. A umount(8) that waits in the hold makes outer first hang the machine for good (FreeBSD 14, seen; the
//! simulated kernel has the rule).

use hv_vss_stories::Operation::{Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers};

/// Frozen, and a umount of the inner one waits.
fn with_a_umount_that_waits(stage: Stage) -> Guest {
    let guest = stage.disk("outer").disk_within("outer", "inner").start();
    guest.host_may(Freeze);
    guest.is_frozen();
    guest.umount_begins("inner");
    guest
}

both_drivers! {
    fn a_umount_that_waits_in_the_hold_does_not_hang_the_thaw(stage: Stage) {
        let guest = with_a_umount_that_waits(stage);
        guest.host_may(Thaw);
        guest.runs();
        assert_eq!(guest.thawed_in_order(), ["inner", "outer"]);
    }

    fn a_umount_that_waits_does_not_hang_a_worker_that_lets_go_by_itself(stage: Stage) {
        let mut guest = with_a_umount_that_waits(stage);
        guest.daemon_is_killed();
        guest.runs();
        assert_eq!(guest.thawed_in_order(), ["inner", "outer"]);
    }

    fn a_umount_that_waits_does_not_hang_the_end_of_a_killed_worker(stage: Stage) {
        let guest = with_a_umount_that_waits(stage);
        guest.worker_gets("ufs.so", Signal::SIGKILL);
        guest.daemon().says(&["plugin ufs was killed from outside (signal 9)"]);
        guest.runs();
        // vfsfreeze resumes each hold in a thread of its own, and needs no order: a waiting umount does not hang it.
        if !guest.stage().has_vfsfreeze() {
            assert_eq!(guest.thawed_in_order(), ["inner", "outer"]);
        }
        guest.host_may_not(Thaw);
    }
}
