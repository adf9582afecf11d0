//! The harness itself: it plays a whole backup, its judge sees what is wrong, and the same bytes make the same story.

use std::time::{Duration, Instant};

use hv_vss_device::Operation::{Check, Freeze, Thaw};

use super::*;
use Happening::{Answers, Asks, Misbehaves, Passes, Sleeps};

#[track_caller]
fn state(harness: &mut Harness) -> String {
    harness.invariants();
    harness.status().map_or("ended".to_owned(), |status| status.state)
}

fn whats(harness: &Harness) -> Vec<String> {
    harness.calls().into_iter().map(|call| call.what).collect()
}

#[test]
fn a_whole_backup_is_played_step_by_step() {
    let mut harness = Harness::new(Cast::default());
    harness.happens(Asks(Check));
    harness.all_answer();
    assert_eq!(state(&mut harness), "idle");
    harness.happens(Asks(Freeze));
    assert_eq!(state(&mut harness), "freezing: asking the plugins");
    harness.all_answer();
    assert_eq!(state(&mut harness), "frozen");
    harness.happens(Asks(Thaw));
    assert_eq!(state(&mut harness), "releasing");
    harness.all_answer();
    assert_eq!(state(&mut harness), "idle");
    assert_eq!(harness.heard(), [Heard::Success; 3]);
    let done: Vec<String> = whats(&harness).into_iter().filter(|what| what != "check" && what != "claim").collect();
    let expected = [
        "freeze app",
        "freeze exec_hook",
        "freeze /disk1",
        "freeze /disk0",
        "thaw /disk0 Ok",
        "thaw /disk1 Ok",
        "thaw exec_hook Ok",
        "thaw app Ok",
    ];
    assert_eq!(done, expected);
    let kinds: Vec<_> = harness.history().iter().map(|record| (record.kind, record.result)).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}

#[test]
fn nothing_happens_until_time_passes_and_then_all_that_is_due_on_the_way() {
    let mut harness = Harness::new(Cast::default());
    harness.happens(Asks(Freeze));
    harness.all_answer();
    harness.happens(Passes { ms: 59_999 });
    assert_eq!(state(&mut harness), "frozen");
    harness.happens(Passes { ms: 1 });
    assert_eq!(state(&mut harness), "releasing");
    harness.all_answer();
    harness.happens(Asks(Thaw));
    assert_eq!(harness.heard(), [Heard::Success, Heard::Fail]);
}

#[test]
fn a_host_that_dies_while_frozen_releases_all_and_one_that_hangs_is_killed() {
    let mut harness = Harness::new(Cast::default());
    harness.happens(Asks(Freeze));
    harness.all_answer();
    // The third by name is the filesystem plugin.
    harness.happens(Misbehaves(2, Trouble::Dies));
    harness.all_answer();
    assert_eq!(state(&mut harness), "idle");
    harness.happens(Asks(Check));
    harness.happens(Misbehaves(0, Trouble::GetsStuck));
    harness.all_answer();
    assert_eq!(harness.heard(), [Heard::Success, Heard::Nothing]);
    harness.happens(Passes { ms: 14_000 });
    assert_eq!(harness.heard(), [Heard::Success, Heard::Fail]);
    assert_eq!(state(&mut harness), "idle");
}

#[test]
fn the_judge_sees_a_plugin_that_lies_and_then_claims_nothing_more_of_what_is_held() {
    let mut harness = Harness::new(Cast::default());
    harness.happens(Asks(Freeze));
    while !whats(&harness).contains(&"freeze /disk1".to_owned()) {
        harness.happens(harness.next_by_itself().unwrap());
    }
    harness.happens(Answers(2, Reaction::Lies));
    harness.all_answer();
    assert_eq!(harness.heard(), [Heard::Success]);
    harness.invariants();
}

#[test]
#[should_panic(expected = "is not answered")]
fn the_judge_sees_a_request_that_nobody_answers() {
    let mut harness = Harness::new(Cast::default());
    // Behind the engine's back: it never hears of this one.
    let _ = harness.stage.borrow_mut().host_asks(Check, 0, 0);
    harness.happens(Passes { ms: 15_000 });
    harness.invariants();
}

#[test]
fn the_same_bytes_are_the_same_story_and_any_bytes_are_one() {
    let mut seed = 7_u32;
    let mut byte = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    };
    let began = Instant::now();
    for _ in 0..60 {
        let bytes: Vec<[u8; 3]> = (0..60).map(|_| [byte(), byte(), byte()]).collect();
        let play = || {
            let mut harness = Harness::new(Cast::default());
            for bytes in &bytes {
                harness.happens(Happening::of(*bytes));
                harness.invariants();
            }
            (harness.heard(), harness.calls())
        };
        assert_eq!(play(), play());
    }
    println!("7,200 happenings in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_machine_that_sleeps_wakes_to_what_became_due() {
    let mut harness = Harness::new(Cast::default());
    harness.happens(Asks(Freeze));
    harness.all_answer();
    harness.happen_at_once([Asks(Thaw), Sleeps { ms: 3_600_000, counted: true }]);
    harness.all_answer();
    assert_eq!(state(&mut harness), "idle");
    // The driver has given up on it, and told the host so.
    assert_eq!(harness.heard(), [Heard::Success, Heard::GaveUp]);
}
