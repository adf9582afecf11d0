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
