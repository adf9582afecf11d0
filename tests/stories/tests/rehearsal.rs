//! A whole cycle without a host, as an operator starts it: all of it, without the freeze, of one script alone; and what a request of the real host
//! does to it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Stage, both_drivers};

/// Nearly as long as a rehearsal may hold here: one that ends sooner was ended.
const LONG: &str = "--hold=3900ms";

fn vssctl(guest: &Guest, arguments: &[&str]) -> Command {
    let mut command = Command::new(guest.stage().daemon_program().with_file_name("vssctl"));
    command.arg("--socket").arg(guest.stage().home().join("run/hv_vss.sock")).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit code, and all that it said.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[track_caller]
fn rehearses(guest: &Guest, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["rehearse", "--hold=100ms"][..], arguments].concat();
    ended(vssctl(guest, &all).spawn().expect("vssctl is built with the daemon"))
}

/// A rehearsal that has frozen so many disks.
#[track_caller]
fn a_rehearsal_holds(guest: &Guest, disks: usize) -> Child {
    let child = vssctl(guest, &["rehearse", LONG]).spawn().expect("vssctl is built with the daemon");
    guest.comes_to_hold(disks);
    child
}

fn with_hooks(stage: Stage) -> Stage {
    stage.disk("data").hook("10-a", "").hook("20-b", "").hook("30-c.post-thaw", "")
}

both_drivers! {
    fn a_rehearsal_is_a_whole_cycle_and_leaves_nothing_behind(stage: Stage) {
        let guest = with_hooks(stage).start();
        let (code, text) = rehearses(&guest, &[]);
        assert_eq!(code, Some(0), "{text}");
        guest.scripts_ran(["10-a freeze", "20-b freeze", "30-c.post-thaw thaw", "20-b thaw", "10-a thaw"]);
        assert_eq!(guest.frozen_in_order(), ["data"]);
        guest.runs();
        guest.host_may(Check);
    }

    fn with_only_one_script_is_run_and_with_no_freeze_nothing_is_frozen(stage: Stage) {
        let guest = with_hooks(stage).start();
        let (code, text) = rehearses(&guest, &["--no-freeze", "--only", "20-b"]);
        assert_eq!(code, Some(0), "{text}");
        guest.scripts_ran_with(["20-b freeze ok", "20-b thaw ok"]);
        assert!(guest.frozen_in_order().is_empty(), "{:?}", guest.frozen_in_order());
        assert!(text.contains("20-b") && !text.contains("10-a"), "{text}");

        // The backup that follows is whole.
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.scripts_ran([
            "20-b freeze", "20-b thaw",
            "10-a freeze", "20-b freeze", "30-c.post-thaw thaw", "20-b thaw", "10-a thaw",
        ]);
    }

    fn with_only_the_filesystems_are_frozen_around_the_one_script(stage: Stage) {
        let guest = with_hooks(stage).start();
        let (code, text) = rehearses(&guest, &["--only", "30-c.post-thaw"]);
        assert_eq!(code, Some(0), "{text}");
        guest.scripts_ran(["30-c.post-thaw thaw"]);
        assert_eq!(guest.frozen_in_order(), ["data"]);
        guest.runs();
    }

    fn a_script_that_is_not_there_cannot_be_rehearsed_and_is_named_with_the_directory(stage: Stage) {
        let guest = with_hooks(stage).start();
        let (code, text) = rehearses(&guest, &["--json", "--only", "21-b"]);
        assert_eq!(code, Some(1), "{text}");
        let directory = guest.stage().home().join("hooks.d");
        assert!(text.contains(&format!("no 21-b to rehearse in {}", directory.display())), "{text}");
        guest.scripts_ran([]);
        assert!(guest.frozen_in_order().is_empty());
        guest.host_may(Check);
    }

    fn without_the_plugin_for_scripts_there_is_no_script_to_rehearse(stage: Stage) {
        let guest = with_hooks(stage).exec_hook("enabled = false").start();
        let (code, text) = rehearses(&guest, &["--json", "--only", "20-b"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("exec_hook"), "{text}");
        guest.scripts_ran([]);
        assert!(guest.frozen_in_order().is_empty());
    }

    fn a_real_freeze_rolls_a_rehearsal_back_and_is_served(stage: Stage) {
        let guest = with_hooks(stage).start();
        let rehearsal = a_rehearsal_holds(&guest, 1);
        guest.host_may(Freeze);
        let (code, text) = ended(rehearsal);
        assert_eq!(code, Some(1), "{text}");
        guest.is_frozen();
        assert_eq!(guest.frozen_in_order(), ["data", "data"]);
        assert_eq!(guest.thawed_in_order(), ["data"]);
        guest.host_may(Thaw);
        guest.runs();
        guest.scripts_ran_with([
            "10-a freeze ok", "20-b freeze ok",
            "30-c.post-thaw thaw aborted", "20-b thaw aborted", "10-a thaw aborted",
            "10-a freeze ok", "20-b freeze ok",
            "30-c.post-thaw thaw ok", "20-b thaw ok", "10-a thaw ok",
        ]);
    }

    fn a_real_freeze_that_overrules_the_rehearsal_of_one_script_runs_them_all(stage: Stage) {
        let guest = with_hooks(stage.hook("25-slow", "[ $phase = freeze ] && sleep 3; exit 0")).start();
        let rehearsal = vssctl(&guest, &["rehearse", "--only", "25-slow"]).spawn().expect("vssctl");
        guest.script_starts("25-slow freeze");
        std::fs::write(guest.stage().home().join("hooks.d/25-slow"), "#!/bin/sh\n").expect("it can be made fast");
        guest.host_may(Freeze);
        assert_eq!(ended(rehearsal).0, Some(1));
        guest.host_may(Thaw);
        guest.scripts_ran([
            "25-slow freeze",
            "10-a freeze", "20-b freeze", "30-c.post-thaw thaw", "20-b thaw", "10-a thaw",
        ]);
        guest.runs();
    }

    fn a_thaw_during_a_rehearsal_is_answered_as_without_it(stage: Stage) {
        let guest = with_hooks(stage).start();
        // Never asked before, the daemon can't vouch for anything.
        guest.host_may_not(Thaw);
        let rehearsal = a_rehearsal_holds(&guest, 1);
        guest.host_may_not(Thaw);
        assert_eq!(ended(rehearsal).0, Some(1));
        guest.runs();

        guest.host_may(Freeze);
        guest.host_may(Thaw);
        let rehearsal = a_rehearsal_holds(&guest, 1);
        let answered = guest.host_may(Thaw);
        assert!(answered.took < Duration::from_secs(3), "{:?}", answered.took);
        assert_eq!(ended(rehearsal).0, Some(1));
        guest.runs();
    }
}
