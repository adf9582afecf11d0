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
        "thaw /disk1 Ok",
        "thaw /disk0 Ok",
        "thaw exec_hook Ok",
        "thaw app Ok",
    ];
    assert_eq!(done, expected);
    let kinds: Vec<_> = harness.history().iter().map(|record| (record.kind, record.ending.result)).collect();
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
fn a_worker_that_dies_while_frozen_releases_all_and_one_that_hangs_is_killed() {
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

fn with_an_observer() -> Harness {
    let mut cast = Cast::default();
    // The fourth by name.
    cast.parts.push(Part::observer("watch"));
    Harness::new(cast)
}

/// Everybody does as he is asked, but for the observer.
fn all_but_the_observer_answer(harness: &mut Harness) {
    loop {
        let before = harness.calls().len();
        match harness.next_by_itself() {
            Some(next) if !matches!(next, Answers(3, _)) => harness.happens(next),
            _ => {
                // The one beside the applications, the last one, and one of an earlier CHECK.
                (0..3).for_each(|_| harness.happens(Happening::FlushEnds));
                if harness.calls().len() == before {
                    return;
                }
            }
        }
    }
}

#[test]
fn an_observer_at_work_is_told_to_give_up_when_a_freeze_comes_and_killed_before_the_first_suspend() {
    let mut harness = with_an_observer();
    harness.happens(Asks(Check));
    all_but_the_observer_answer(&mut harness);
    assert_eq!(harness.heard(), [Heard::Success]);
    harness.happens(Asks(Freeze));
    all_but_the_observer_answer(&mut harness);
    assert_eq!(state(&mut harness), "frozen");
    let calls = whats(&harness);
    let at = |what: &str| calls.iter().position(|call| call == what).unwrap();
    assert!(at("ended") < at("cancel") && at("cancel") < at("freeze app"), "{calls:?}");
    harness.happens(Asks(Thaw));
    harness.all_answer();
    // No time has passed: nobody waited for anything.
    assert_eq!(harness.heard(), [Heard::Success; 3]);
    // It is started again after a pause, and told of the backup.
    harness.happens(Passes { ms: 1_000 });
    harness.all_answer();
    assert_eq!(whats(&harness).iter().filter(|what| *what == "ended").count(), 2);
    harness.invariants();
}

#[test]
fn an_observer_that_can_not_even_be_killed_delays_a_freeze_by_a_quarter_of_a_second_and_no_more() {
    let mut harness = with_an_observer();
    harness.happens(Asks(Check));
    all_but_the_observer_answer(&mut harness);
    harness.happens(Misbehaves(3, Trouble::GetsStuck));
    harness.happens(Asks(Freeze));
    harness.all_answer();
    assert_eq!(state(&mut harness), "freezing: waiting for observers");
    harness.happens(Passes { ms: 249 });
    assert_eq!(state(&mut harness), "freezing: waiting for observers");
    harness.happens(Passes { ms: 1 });
    harness.all_answer();
    assert_eq!(state(&mut harness), "frozen");
    harness.happens(Asks(Thaw));
    harness.all_answer();
    assert_eq!(harness.heard(), [Heard::Success; 3]);
}

#[test]
fn whatever_happens_to_an_observer_it_is_told_nothing_while_something_is_suspended() {
    let mut seed = 11_u32;
    let mut byte = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    };
    let mut told = 0;
    for _ in 0..120 {
        let mut harness = with_an_observer();
        for _ in 0..60 {
            harness.happens(Happening::of([byte(), byte(), byte()]));
            harness.invariants();
        }
        told += whats(&harness).iter().filter(|what| *what == "ended").count();
    }
    assert!(told > 50, "it was told only {told} times: these stories say nothing");
}
