//! Flushing before a freeze: beside the applications, and once more after them; not twice at once.

use hv_vss_device::Operation::Freeze;

use crate::engine::harness::{Cast, Happening, Harness, Part, Reaction};
use Happening::{Answers, Asks, FlushEnds};

/// An application whose freeze is under way, while the flush beside it is at work.
fn while_an_application_freezes() -> Harness {
    let mut harness =
        Harness::new(Cast { parts: vec![Part::app("app", 50), Part::ufs()], disks: 1, ..Cast::default() });
    harness.happens(Asks(Freeze));
    while !has_called(&harness, "freeze app") {
        let next = harness.next_by_itself().expect("the freeze is on its way");
        harness.happens(next);
    }
    harness
}

fn has_called(harness: &Harness, what: &str) -> bool {
    harness.calls().iter().any(|called| called.what == what)
}

#[test]
fn a_flush_that_is_still_at_work_when_the_applications_rest_is_the_last_one() {
    let mut harness = while_an_application_freezes();
    harness.happens(Answers(0, Reaction::Well));
    assert!(!has_called(&harness, "freeze /disk0"), "it is waited for");
    harness.happens(FlushEnds);
    assert!(has_called(&harness, "freeze /disk0"), "and there is no other");
}

#[test]
fn what_applications_have_written_since_the_flush_beside_them_ended_is_flushed_too() {
    let mut harness = while_an_application_freezes();
    harness.happens(FlushEnds);
    harness.happens(Answers(0, Reaction::Well));
    assert!(!has_called(&harness, "freeze /disk0"), "there is one more flush");
    harness.happens(FlushEnds);
    assert!(has_called(&harness, "freeze /disk0"));
}

#[test]
fn a_flush_is_waited_for_no_longer_than_its_slice_of_the_time() {
    let mut harness = while_an_application_freezes();
    harness.happens(Answers(0, Reaction::Well));
    harness.happens(Happening::Passes { ms: 7_000 });
    harness.invariants();
    assert!(has_called(&harness, "freeze /disk0"));
}
