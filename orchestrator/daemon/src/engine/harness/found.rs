//! Stories in which the engine once did what it must not. Found by fuzzers, or while they were written; each is here so that it is told again.

use hv_vss_device::Operation::{Freeze, Thaw};

use super::*;
use Happening::{Asks, Misbehaves, NoProcesses, Passes};

#[test]
fn a_plugin_that_alone_can_release_a_filesystem_and_can_not_be_started_is_tried_again_after_a_breath() {
    // No process is to be had: it used to be tried again at once, and at once again, and nothing else was done any more.
    let mut harness = Harness::new(Cast { parts: vec![Part::fifreeze()], ..Cast::default() });
    harness.happens(Asks(Freeze));
    harness.all_answer();
    harness.happens(NoProcesses(true));
    harness.happens(Misbehaves(0, Trouble::Dies));
    harness.happens(Passes { ms: 5_000 });
    harness.invariants();
    assert_eq!(harness.status().map(|status| status.state).as_deref(), Some("releasing"));

    harness.happens(NoProcesses(false));
    harness.happens(Passes { ms: 1_000 });
    harness.all_answer();
    harness.happens(Asks(Thaw));
    harness.invariants();
    assert_eq!(harness.status().map(|status| status.state).as_deref(), Some("idle"));
    assert_eq!(harness.heard(), [Heard::Success, Heard::Fail]);
}

/// Our driver can give a FREEZE longer than the rest: what lies beyond the others' limit is not too late for it.
#[test]
fn a_freeze_with_a_limit_of_its_own_may_take_as_long() {
    for (freeze_limit, heard) in [(None, Heard::Fail), (Some(Duration::from_secs(120)), Heard::Success)] {
        let mut harness = Harness::new(Cast { freeze_limit, ..Cast::default() });
        harness.happens(Asks(Freeze));
        harness.happens(Passes { ms: 60_000 });
        harness.all_answer();
        harness.invariants();
        assert_eq!(harness.heard(), [heard], "{freeze_limit:?}");
    }
}

/// A script that was started behind what could not be understood had not been heard of, and was never let go.
#[test]
fn a_plugin_that_broke_the_conversation_off_while_it_froze_may_owe_all_that_it_had_planned() {
    let scripts = Part::scripts("exec_hook", 50, &["10-a", "20-b"]);
    let mut harness = Harness::new(Cast { parts: vec![scripts, Part::ufs()], ..Cast::default() });
    harness.happens(Asks(Freeze));
    while !harness.calls().iter().any(|called| called.what == "freeze exec_hook") {
        let next = harness.next_by_itself().expect("the freeze is on its way");
        harness.happens(next);
    }
    harness.happens(Misbehaves(0, Trouble::Babbles));
    harness.all_answer();
    harness.invariants();
    let thaws: Vec<_> =
        harness.calls().into_iter().filter(|called| called.what.starts_with("thaw exec_hook")).collect();
    assert_eq!(thaws.last().map(|thaw| thaw.owed.clone()), Some(vec!["10-a".to_owned(), "20-b".to_owned()]));
    assert_eq!(harness.heard(), [Heard::Fail]);
}

/// The kernel lets go of what a dead process held before the orchestrator can hear of its death. A THAW that came in between used to be good.
#[test]
fn a_plugin_that_died_in_the_hold_makes_the_backup_none_even_if_that_is_heard_of_behind_the_thaw() {
    for who in [0, 1] {
        for trouble in [Trouble::Dies, Trouble::Crashes] {
            let scripts = Part::scripts("exec_hook", 50, &["10-a"]);
            let mut harness = Harness::new(Cast { parts: vec![scripts, Part::ufs()], ..Cast::default() });
            harness.happens(Asks(Freeze));
            harness.all_answer();
            harness.happen_at_once([Misbehaves(who, trouble), Asks(Thaw)]);
            harness.all_answer();
            harness.happens(Passes { ms: 5_000 });
            harness.all_answer();
            harness.invariants();
            assert_eq!(harness.heard(), [Heard::Success, Heard::Fail], "{who}, {trouble:?}");
        }
    }
}

/// It used to be started again at once, and again, and nothing ended that, not even SIGTERM.
#[test]
fn a_plugin_that_owes_a_thaw_and_dies_in_its_start_is_given_up_and_the_daemon_can_end() {
    let scripts = Part::scripts("exec_hook", 50, &["10-a"]);
    let mut harness = Harness::new(Cast { parts: vec![scripts, Part::ufs()], ..Cast::default() });
    harness.happens(Asks(Freeze));
    harness.all_answer();
    harness.happens(Misbehaves(0, Trouble::Dies));
    // Where it hangs until it dies.
    harness.happens(Happening::NextStarts(0, Reaction::Lies));
    while harness.calls().iter().filter(|call| call.what.starts_with("thaw /disk")).count() < 2 {
        harness.happens(harness.next_by_itself().expect("the filesystems are being released"));
    }
    // The answer to the last of them lets it be started anew.
    harness.happens(Happening::Answers(1, Reaction::Well));
    harness.happens(Misbehaves(0, Trouble::Dies));
    harness.invariants();
    assert_eq!(harness.status().map(|status| status.state).as_deref(), Some("idle"));
    harness.happens(Happening::Operator(Wish::Stop));
    harness.all_answer();
    assert!(harness.has_ended());
}

/// A plugin that alone can release a filesystem and dies of it each time is tried again, but not without a pause.
#[test]
fn a_plugin_that_dies_in_each_thaw_of_what_it_alone_can_release_is_started_again_after_a_breath() {
    let mut harness = Harness::new(Cast { parts: vec![Part::fifreeze()], disks: 1, ..Cast::default() });
    harness.happens(Asks(Freeze));
    harness.all_answer();
    harness.happens(Misbehaves(0, Trouble::Dies));
    let mut thaws = 0;
    let mut waited = 0;
    while waited < 10 {
        let thawing = |harness: &Harness| harness.calls().iter().filter(|call| call.what.starts_with("thaw")).count();
        if thawing(&harness) > thaws {
            thaws = thawing(&harness);
            harness.happens(Misbehaves(0, Trouble::Dies));
            continue;
        }
        match harness.next_by_itself() {
            Some(next) => harness.happens(next),
            None => {
                waited += 1;
                harness.happens(Passes { ms: 500 });
            }
        }
    }
    harness.invariants();
    assert!((6..=9).contains(&thaws), "three at once, then one a second: {thaws} thaws in five seconds");
}
