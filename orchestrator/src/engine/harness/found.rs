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
