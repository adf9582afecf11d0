//! The role observer, at the worker: what it is told, what it is never asked, and that its table may be shorter in all that it has no use for.

mod stage;

use hv_vss_platform::clock;
use hv_vss_wire::{Answer, Call, Event};
use hv_vss_worker::conformance::subject::Ended;
use stage::*;

/// An observer without any function that has to do with a freeze.
const OBSERVER: [&str; 2] = ["-DROLES=4", "-DNO_THAW"];

#[track_caller]
fn that(call: &str, what: &str) -> Stage {
    let mut stage = Stage::with(&OBSERVER);
    assert_eq!(stage.open(&[("in", call), ("do", what)]), done());
    stage
}

fn ended(record: &str) -> Call {
    Call::Ended { step: step(), record: record.to_owned() }
}

#[test]
fn an_observer_is_told_each_record_as_it_was_sent() {
    let mut stage = that("ended", "tell");
    let long = format!("{{\"sentence\":\"naïve \u{1f9ca} {}\"}}", "x".repeat(200));
    for record in ["{}", "{\"cycle\":\"c1\"}", &long] {
        assert_eq!(stage.worker.call(ended(record), SOON), done());
        let told = stage.worker.said.iter().any(|event| matches!(event, Event::Log { text, .. } if text == record));
        assert!(told, "{record} is not among {:?}", stage.worker.said);
    }
    assert_eq!(stage.worker.call(Call::Close, SOON), done());
    assert!(stage.ends_well());
}

#[test]
fn an_observer_is_asked_nothing_else_and_nobody_else_is_told() {
    let mut stage = that("never", "");
    assert_eq!(broken(stage.freeze()), "mischief has no such role: Application");
    // These it has, and could be asked; what it lacks is said rather than called.
    assert_eq!(broken(stage.thaw()), "its table lacks thaw");
    assert_eq!(stage.worker.call(ended("{}"), SOON), done());
    assert_eq!(stage.calls(), ["open -", "ended ok"]);

    let mut application = Stage::with(&[]);
    assert_eq!(application.open(&[]), done());
    assert_eq!(broken(application.worker.call(ended("{}"), SOON)), "its table lacks ended");
    assert_eq!(application.calls(), ["open -"]);
}

#[test]
fn a_plugin_whose_table_ends_before_the_member_was_appended_works_as_ever() {
    let mut stage = Stage::with(&["-DTABLE_SIZE=96"]);
    assert_eq!(stage.open(&[]), done());
    assert_eq!((stage.check(), stage.freeze(), stage.thaw()), (done(), done(), done()));
    assert_eq!(broken(stage.worker.call(ended("{}"), SOON)), "its table lacks ended");
}

#[test]
fn an_observer_at_work_hears_that_it_should_give_up() {
    let mut stage = that("ended", "wait-until-cancelled");
    let id = stage.worker.ask(ended("{}"));
    stage.worker.ask(Call::Cancel { call_id: id });
    let answer = stage.worker.answer(id, clock::now() + SOON);
    assert_eq!(answer, refused("given up, with time left: yes"));
}

#[test]
fn what_an_observer_does_wrong_is_one_sentence_or_the_end_of_its_own_process() {
    for (what, expected) in [
        ("refuse", refused("the queue is not empty")),
        ("refuse-silently", refused("ended refused and gave no reason")),
        ("break", Ended::Answered(Answer::Broken { reason: "lost my mind".into() })),
        ("garbage-code", Ended::Answered(Answer::Broken { reason: "ended returned 12345, which is no result".into() })),
        (
            "overrun",
            Ended::Answered(Answer::Broken { reason: "it wrote past the end of its reason buffer in ended".into() }),
        ),
        ("crash", Ended::Died("its process was ended by SIGSEGV".into())),
        // Unlike a plugin that may suspend a filesystem.
        ("thread", done()),
        ("keep-file-open", done()),
    ] {
        assert_eq!(that("ended", what).worker.call(ended("{}"), SOON), expected, "{what}");
    }
}
