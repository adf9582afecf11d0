//! The contract of hooks.d, from outside: order, groups, limits, what is refused, and scripts that behave badly.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Stage, our_driver};

const MS: fn(u64) -> Duration = Duration::from_millis;

our_driver! {
    fn lower_numbers_freeze_first_and_thaw_last(stage: Stage) {
        let stage = stage.disk("data").hook("10-database.sh", "").hook("20-cache", "").hook("05-web", "");
        let guest = stage.hook("15-only.pre-freeze", "").hook("12-only.post-thaw", "").start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.scripts_ran([
            "05-web freeze",
            "10-database.sh freeze",
            "15-only.pre-freeze freeze",
            "20-cache freeze",
            "20-cache thaw",
            "12-only.post-thaw thaw",
            "10-database.sh thaw",
            "05-web thaw",
        ]);
    }

    fn equal_numbers_run_at_once(stage: Stage) {
        let slow = "[ $phase = freeze ] && sleep 0.4; exit 0";
        let guest = stage.disk("data").hook("50-a", slow).hook("50-b", slow).hook("50-c", slow).start();
        let answered = guest.host_may(Freeze);
        assert!(answered.took < MS(1100), "three times 400 ms, one after the other, would take 1.2 s: {:?}", answered.took);
        guest.host_may(Thaw);
    }

    fn a_script_gets_a_clean_environment_and_its_cycle(stage: Stage) {
        let to = stage.scratch("environment");
        let body = format!("[ $phase = freeze ] && {{ env; cat; }} > {}; exit 0", to.display());
        let guest = stage.disk("data").hook("50-app", &body).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let seen = fs::read_to_string(to).unwrap();
        for expected in ["HV_VSS_PHASE=freeze", "HV_VSS_CYCLE=", "HV_VSS_OUTCOME=ok", "HV_VSS_TIME_LEFT_MS=", "\"mounts\""] {
            assert!(seen.contains(expected), "{expected} is missing in: {seen}");
        }
        assert!(!seen.contains("CARGO"), "the daemon's own environment: {seen}");
    }

    fn when_one_script_fails_only_those_that_started_are_thawed(stage: Stage) {
        let stage = stage.disk("data").hook("10-a", "").hook("20-b", "[ $phase = thaw ]").hook("30-never", "");
        let guest = stage.hook("40-always.post-thaw", "").start();
        guest.host_may_not(Freeze);
        guest.scripts_ran_with([
            "10-a freeze ok",
            "20-b freeze ok",
            "40-always.post-thaw thaw aborted",
            "20-b thaw aborted",
            "10-a thaw aborted",
        ]);
        guest.runs();
    }

    fn a_failing_post_thaw_script_changes_no_answer_and_the_others_still_run(stage: Stage) {
        let stage = stage.disk("data").hook("10-a", "").hook("20-b", "[ $phase = freeze ]").hook("30-c.post-thaw", "exit 9");
        let guest = stage.start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.scripts_ran([
            "10-a freeze",
            "20-b freeze",
            "30-c.post-thaw thaw",
            "20-b thaw",
            "10-a thaw",
        ]);
        guest.daemon().says(&["30-c.post-thaw", "9"]);
    }

    fn a_script_beyond_its_own_limit_is_killed_with_its_descendants_in_time_for_an_answer(stage: Stage) {
        let pid = stage.scratch("pid");
        let body = format!("[ $phase = freeze ] || exit 0\nsleep 200 &\necho $! > {}\nwait", pid.display());
        let guest = stage.disk("data").exec_hook("limit = \"300ms\"").hook("50-app", &body).start();
        let answered = guest.host_may_not(Freeze);
        assert!(answered.took < MS(1300), "{:?}", answered.took);
        guest.process_is_gone(fs::read_to_string(pid).unwrap().trim().parse().unwrap());
        guest.runs();
    }

    fn a_background_child_is_left_alone_after_success(stage: Stage) {
        let pid = stage.scratch("pid");
        // As qemu's sample for MySQL does: the child keeps the lock, and both pipes, until the thaw.
        let body = format!(
            "if [ $phase = freeze ]; then sleep 100 & echo $! > {0}; else read p < {0}; kill $p; fi",
            pid.display()
        );
        let guest = stage.disk("data").hook("50-mysql", &body).start();
        let answered = guest.host_may(Freeze);
        assert!(answered.took < MS(1500), "nobody waits for its pipes: {:?}", answered.took);
        let child = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        guest.process_is_there(child);
        guest.host_may(Thaw);
        guest.process_is_gone(child);
    }

    fn a_script_that_floods_its_output_is_bounded_and_not_blocked(stage: Stage) {
        let flood = "[ $phase = freeze ] && head -c 3000000 /dev/zero | tr '\\0' 'x'; exit 0";
        let guest = stage.disk("data").hook("50-loud", flood).start();
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let said: usize = guest.daemon().log().iter().map(String::len).sum();
        assert!(said < 200_000, "{said} bytes of log");
    }

    fn a_script_that_closes_its_pipes_and_lingers_is_still_waited_for(stage: Stage) {
        let done = stage.scratch("done");
        let body = format!("exec >&- 2>&- <&-\nsleep 0.4\n: > {}", done.display());
        let guest = stage.disk("data").hook("50-quiet", &format!("[ $phase = freeze ] || exit 0\n{body}")).start();
        guest.host_may(Freeze);
        assert!(done.exists(), "the freeze went on before the script had ended");
        guest.host_may(Thaw);
    }

    fn a_link_that_leads_out_of_the_directory_is_refused(stage: Stage) {
        let outside = stage.scratch("outside.sh");
        fs::write(&outside, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        symlink(&outside, stage.home().join("hooks.d/50-link")).unwrap();
        let guest = stage.disk("data").start();
        guest.host_may_not(Check);
        guest.daemon().says(&["50-link"]);
    }

    fn a_hook_that_belongs_to_somebody_else_is_refused(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        std::os::unix::fs::chown(stage.home().join("hooks.d/50-app"), Some(65_534), None).unwrap();
        let guest = stage.start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["50-app", "belongs to", "chown root"]);
        guest.scripts_ran([]);
        guest.runs();
    }

    fn a_directory_that_others_may_write_to_is_refused_with_all_in_it(stage: Stage) {
        let stage = stage.disk("data").hook("50-app", "");
        fs::set_permissions(stage.home().join("hooks.d"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let guest = stage.start();
        guest.host_may_not(Check);
        guest.host_may_not(Freeze);
        guest.daemon().says(&["hooks.d", "written to", "chmod go-w"]);
        guest.scripts_ran([]);
    }

    fn a_script_that_was_changed_into_something_unsafe_after_the_check_is_not_run(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        guest.host_may(Check);
        let hook = guest.stage().home().join("hooks.d/50-app");
        fs::set_permissions(hook, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        guest.host_may_not(Freeze);
        guest.scripts_ran([]);
        guest.runs();
    }

    fn nothing_in_hooks_d_means_nothing_to_run(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.scripts_ran([]);
    }
}
