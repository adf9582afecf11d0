//! The claims themselves: each is seen to fail where it is not true. A story is worth no more than this.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Stage, our_driver};

/// Whether a claim fails.
fn is_denied(claim: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(claim)).is_err()
}

fn running(stage: Stage) -> Guest {
    stage.disk("data").hook("50-app", "").start()
}

our_driver! {
    fn what_runs_is_not_frozen(stage: Stage) {
        let guest = running(stage);
        assert!(is_denied(|| guest.is_frozen()));
        let from = guest.host_may(Check);
        guest.writers().run();
        assert!(is_denied(|| guest.stood_still_between(&from, hv_vss_platform::clock::now())));
    }

    fn what_is_frozen_does_not_run(stage: Stage) {
        let guest = running(stage.time("max_frozen", "60s"));
        guest.host_may(Freeze);
        assert!(is_denied(|| guest.writers().run()));
        assert!(is_denied(|| guest.holds_nothing()));
    }

    fn an_answer_is_what_it_is(stage: Stage) {
        let guest = running(stage);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        assert!(is_denied(|| drop(guest.host_may_not(Check))));
        assert!(is_denied(|| drop(guest.host_may_not(Thaw))));
        guest.host_may(Freeze);
        assert!(is_denied(|| drop(guest.host_may(Freeze))));
        guest.host_may(Thaw);
    }

    fn scripts_that_ran_otherwise_are_told_apart(stage: Stage) {
        let guest = running(stage);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        assert!(is_denied(|| guest.scripts_ran(["50-app freeze"])));
        assert!(is_denied(|| guest.scripts_ran(["50-app thaw", "50-app freeze"])));
        assert!(is_denied(|| guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"])));
    }
}
